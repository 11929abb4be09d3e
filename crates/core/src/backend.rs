//! The only door to the hands: what every backend must provide, in one place.

use crate::interest::{Interest, Ready, Trigger};
use crate::time::Instant;
use crate::transfers::Transfers;
use alloc::vec::Vec;
use core::fmt;

/// A descriptor's number.
pub type RawFd = i32;

/// A kernel error number (errno), always positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

/// Who a report is for: the descriptor's number and the generation of its registration. The generation
/// changes whenever the number may have come to mean another file, so a late report resolves to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
// Aligned as the kernel's u64 in an epoll_event.
#[cfg_attr(not(any(target_arch = "x86_64", target_arch = "x86")), repr(align(8)))]
pub struct Token {
    generation: u32,
    fd: RawFd,
}

impl Token {
    /// The token of descriptor `fd` in its `generation`-th registration.
    pub const fn new(fd: RawFd, generation: u32) -> Self {
        Token { generation, fd }
    }
    /// The token inside the kernel's 64 bits of user data.
    pub const fn from_bits(bits: u64) -> Self {
        let (low, high) = (bits as u32, (bits >> 32) as u32);
        let (generation, fd) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Token { generation, fd: fd as RawFd }
    }
    /// The 64 bits to hand to the kernel: in memory they are the token itself.
    pub const fn bits(self) -> u64 {
        let (generation, fd) = (self.generation as u64, self.fd as u32 as u64);
        if cfg!(target_endian = "little") { fd << 32 | generation } else { generation << 32 | fd }
    }
    /// The descriptor's number.
    pub const fn fd(self) -> RawFd {
        self.fd
    }
    /// Which registration of that number.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd {} gen {}", self.fd(), self.generation())
    }
}

/// What the kernel is to watch for on one descriptor: the union over all its events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watch {
    /// What to watch for; never empty in a change.
    pub interest: Interest,
    /// How to be told. A backend without the feature takes `Edge` for `Level`, and disarms a `OneShot` itself.
    pub trigger: Trigger,
    /// Several loops watch this descriptor and it is enough to wake one (EPOLLEXCLUSIVE). Ignored where the
    /// backend lacks the feature. epoll refuses to modify such a registration: it is removed and added.
    pub exclusive: bool,
}

/// One thing to tell the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Start to watch. The brain believes that the kernel does not know this descriptor; where it does
    /// (EEXIST: a leftover), the new watch and token replace the old.
    Add {
        /// Reports carry this token.
        token: Token,
        /// What for.
        watch: Watch,
    },
    /// Replace the watch and the token of a descriptor. The brain believes that the kernel knows it; where
    /// it does not (ENOENT: closed and reopened behind our back), it is added. For `Edge` and `OneShot`
    /// this also re-arms: what is ready now is reported, even if it was reported before.
    Modify {
        /// Reports carry this token from now on.
        token: Token,
        /// What for.
        watch: Watch,
    },
    /// Stop watching. Errors that say "not there" (ENOENT, EBADF) are success.
    Remove {
        /// The token last given for this descriptor.
        token: Token,
    },
}

impl Change {
    /// The token the change is about.
    pub const fn token(&self) -> Token {
        match *self {
            Change::Add { token, .. } | Change::Modify { token, .. } | Change::Remove { token } => token,
        }
    }
}

/// One thing the kernel tells: this registration is ready for that. In memory it is Linux's `epoll_event`, so
/// that epoll's hands let the kernel write where the brain reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Report {
    /// What for: READ, WRITE, PEER_CLOSED, HANGUP, ERROR, INVALID, as the kernel said it. The brain adds
    /// READ and WRITE to HANGUP, ERROR and INVALID.
    pub ready: Ready,
    /// Whose.
    pub token: Token,
}

impl Report {
    /// What it says and of which registration, in one word: all that differs between a descriptor's reports.
    #[inline(always)]
    pub(crate) fn said(&self) -> u64 {
        said(self.ready, self.token.generation)
    }
}

/// See [`Report::said`]. On x86-64 the two are neighbours, here and in a descriptor's row: one load.
#[inline(always)]
pub(crate) fn said(ready: Ready, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(ready.bits())
}

/// What a backend can do, to be asked at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Features {
    /// `Trigger::Edge` is honoured.
    pub edge: bool,
    /// A descriptor's edges come as one report in each wait, which says all that is so at that moment, `Interest::URGENT`
    /// included, and not only what has woken the wait. Streams are watched by such edges.
    pub exact_edges: bool,
    /// `Trigger::OneShot` is disarmed by the kernel itself (elsewhere by the brain: to the user the same).
    pub one_shot: bool,
    /// `Interest::PEER_CLOSED` is told.
    pub peer_closed: bool,
    /// A wait costs O(ready), not O(watched).
    pub o_ready: bool,
    /// A sleep ends within microseconds of its deadline (nanosecond timeouts), not on the next millisecond.
    pub nanosecond_timeout: bool,
    /// Changes ride on the waiting call: no system call of their own.
    pub batched_changes: bool,
    /// The loop's own descriptor can be watched by another loop.
    pub embeddable: bool,
    /// `Watch::exclusive` wakes one loop of several.
    pub exclusive: bool,
    /// Streams' bytes are moved by the hands themselves, along with their waiting ([`Transfers`]).
    pub transfers: bool,
    /// Highest descriptor number plus one that can be watched; `None` where only the process's limit counts.
    pub max_fd: Option<u32>,
}

/// A pair of hands. In order of use: `apply` each change, `wait`, collect the reports.
///
/// Contract, for every implementation:
/// - `apply` of an `Add` reports the kernel's refusal at once where the kernel can say it at once.
/// - A regular file is always ready for what was asked, as poll(2) has it; epoll's EPERM is emulated.
/// - A watched descriptor that turns out not to be open is let go of and reported once as INVALID where the
///   kernel says so; it never fails the whole wait and never spins.
/// - After `Remove`, no report with that token comes out of `wait` any more.
/// - `Level` reports come every wait as long as they last, once in each; `OneShot` at most once for each Add or Modify.
/// - EINTR ends a wait early, with `Ok` and whatever is there.
pub trait Backend {
    /// `select`, `poll`, `epoll`, `io_uring` or `sim`.
    fn name(&self) -> &'static str;

    /// What it can do.
    fn features(&self) -> Features;

    /// Tells the kernel one change. May be put off until `wait` where the kernel cannot refuse it.
    fn apply(&mut self, change: Change) -> Result<(), Errno>;

    /// Whether it matters that a descriptor which is closed before its removal is applied was `let_go` of: the watch would keep
    /// the file open, or outlive the descriptor together with a copy, at a price. May become so: ask after changes.
    fn holds_files(&self) -> bool {
        false
    }

    /// The descriptor may be closed before the change that is to come for it is applied: nothing is left of the watch when it is.
    /// Until that change it may be told or not. One system call at most.
    fn let_go(&mut self, _fd: RawFd) {}

    /// Sleeps until something is ready or `timeout_ns` nanoseconds have passed (`None`: for ever; 0: only
    /// look), and appends what is ready to `reports`. Costs one system call.
    fn wait(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno>;

    /// Opens the kernel's side anew, empty: after a fork, or to be rid of registrations that outlived their
    /// descriptor. The brain then adds again everything it watches.
    fn reinit(&mut self) -> Result<(), Errno>;

    /// A descriptor that becomes readable when `wait` would return reports, for embedding in another loop.
    fn descriptor(&mut self) -> Option<RawFd>;

    /// The second door of hands that move streams' bytes by themselves, where they were opened so.
    fn transfers(&mut self) -> Option<&mut dyn Transfers> {
        None
    }
}

/// Where the time comes from.
pub trait Clock {
    /// The time now. Never steps back.
    fn now(&self) -> Instant;
}
