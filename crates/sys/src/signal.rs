//! Signals for several loops at once.
//!
//! One handler for the process counts each arrival in the box of every hub that subscribed, and writes to the
//! hub's eventfd, which its loop watches. What arrives between two `take`s is counted, not lost; but the kernel
//! itself merges a standard signal (1 to 31) that is already pending for the same thread or process: two
//! SIGCHLD at once may count as one (signal(7), "Queueing and delivery semantics").
//!
//! Traps:
//! (a) The handler may interrupt anything, malloc and locks included: it only touches atomics, getpid(2) and
//!     write(2), all async-signal-safe, and leaves errno as it was.
//! (b) Boxes are never freed, only used again: the handler may be walking the list in another thread. And
//!     before a hub's eventfd is closed its number is taken out of the box and handlers that may have read it
//!     are waited for; or they would write into whatever file gets the number next.
//! (c) A forked child inherits handler, boxes and eventfds: a signal to the child would wake the parent's
//!     loop. Each box carries its process, and the handler passes by those of others. Until `reinit` a child
//!     ignores its subscribed signals.
//! (d) Returning from a handler of SIGSEGV, SIGBUS, SIGFPE or SIGILL repeats the fault, for ever: refused. Who must take them
//!     all the same, because somebody may send them (`subscribe_to_any`), gets those that were sent; at a fault the handler
//!     gives way to the default, and the program ends.
//! (e) On `unsubscribe` the former disposition comes back only if the handler is still ours: someone else may
//!     have taken the signal since.
//! (f) Handlers run with every signal blocked, so they cannot interrupt each other; with SA_RESTART, so that
//!     other threads' reads go on; with SA_ONSTACK, for threads of other languages that have small stacks.

use crate::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Mutex, lock};
use crate::syscall;
use crate::waker::{eventfd, replace, take_all, write_one};
use duolu_core::Errno;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Signals are 1 to 64 on Linux.
const SIGNALS: usize = 65;

/// A hub's box, where the handler finds it. Trap (b): leaked on purpose, one per hub that is open at a time.
struct Mailbox {
    /// Written before the box is published.
    next: *mut Mailbox,
    taken: AtomicBool,
    /// Trap (c).
    pid: AtomicI32,
    /// -1 while there is no hub.
    eventfd: AtomicI32,
    /// Handlers between reading `eventfd` and having written to it.
    inside: AtomicU32,
    /// Bit n: subscribed to signal n. (Signal 64 has bit 0, which no signal has.)
    wanted: AtomicU64,
    /// Bit n: signal n has arrived since the last take.
    arrived: AtomicU64,
    counts: [AtomicU32; SIGNALS],
}

// SAFETY: all fields are atomics but `next`, which is not written any more once the box is published.
unsafe impl Send for Mailbox {}
// SAFETY: as above.
unsafe impl Sync for Mailbox {}

static MAILBOXES: AtomicPtr<Mailbox> = AtomicPtr::new(std::ptr::null_mut());

/// What `unsubscribe` needs: how many hubs want a signal, and what was there before. Never touched by the handler.
static DISPOSITIONS: Mutex<[Option<Disposition>; SIGNALS]> = Mutex::new([const { None }; SIGNALS]);

struct Disposition {
    subscribers: usize,
    former: libc::sigaction,
}

fn bit(signo: i32) -> u64 {
    1u64 << (signo % 64)
}

fn walk() -> impl Iterator<Item = &'static Mailbox> {
    let mut at = MAILBOXES.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: either null or a published box; boxes are never freed or moved.
        let mailbox: &'static Mailbox = unsafe { at.as_ref() }?;
        at = mailbox.next;
        Some(mailbox)
    })
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

/// The handler. Trap (a).
extern "C" fn on_signal(signo: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let errno = syscall::last_errno();
    // SAFETY: the kernel's, with SA_SIGINFO. Above zero it is the kernel that tells.
    if is_fault(signo) && unsafe { (*info).si_code } > 0 {
        // Trap (d).
        // SAFETY: async-signal-safe; the default needs no function.
        unsafe { libc::signal(signo, libc::SIG_DFL) };
        return syscall::set_errno(errno);
    }
    // SAFETY: no arguments, async-signal-safe.
    let pid = unsafe { libc::getpid() };
    for mailbox in walk() {
        if mailbox.wanted.load(Ordering::Acquire) & bit(signo) == 0
            || mailbox.pid.load(Ordering::Acquire) != pid
        {
            continue;
        }
        mailbox.counts[signo as usize].fetch_add(1, Ordering::Relaxed);
        if mailbox.arrived.fetch_or(bit(signo), Ordering::AcqRel) == 0 {
            // Trap (b): SeqCst on both, here and in `drop`: either we see -1, or it sees us inside.
            mailbox.inside.fetch_add(1, Ordering::SeqCst);
            let number = mailbox.eventfd.load(Ordering::SeqCst);
            if number >= 0 {
                // SAFETY: the hub is open as long as the number stands in its box and we are `inside`.
                write_one(unsafe { BorrowedFd::borrow_raw(number) });
            }
            mailbox.inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
    syscall::set_errno(errno);
}

/// Why a signal cannot be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignalError {
    /// Not 1 to 64.
    OutOfRange(i32),
    /// SIGKILL, SIGSTOP: no process can catch them.
    Uncatchable(i32),
    /// SIGSEGV, SIGBUS, SIGFPE, SIGILL: returning from their handler repeats the fault.
    Fault(i32),
    /// The kernel or the C library refused, for instance EINVAL for 32 and 33, which the C library keeps.
    Refused(i32, Errno),
}

impl SignalError {
    /// EINVAL, or what the kernel said.
    pub fn errno(&self) -> Errno {
        match *self {
            SignalError::Refused(_, errno) => errno,
            _ => Errno(libc::EINVAL),
        }
    }
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SignalError::OutOfRange(signo) => write!(f, "{signo} is not a signal; signals are 1 to 64"),
            SignalError::Uncatchable(signo) => {
                write!(
                    f,
                    "signal {signo} (SIGKILL or SIGSTOP) cannot be caught by any process; use SIGTERM or SIGTSTP"
                )
            }
            SignalError::Fault(signo) => {
                write!(
                    f,
                    "signal {signo} reports a fault of the program itself; a loop cannot handle it, because returning from the handler repeats the fault"
                )
            }
            SignalError::Refused(signo, errno) => {
                write!(f, "signal {signo} cannot be caught: {}", syscall::describe(errno))
            }
        }
    }
}

impl std::error::Error for SignalError {}

fn is_fault(signo: i32) -> bool {
    matches!(signo, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL)
}

fn check(signo: i32) -> Result<(), SignalError> {
    match signo {
        libc::SIGKILL | libc::SIGSTOP => Err(SignalError::Uncatchable(signo)),
        1..=64 => Ok(()),
        _ => Err(SignalError::OutOfRange(signo)),
    }
}

/// One loop's share of the process's signals. Any number of hubs may subscribe to the same signal, and each
/// gets every arrival. Dropping it unsubscribes from all.
///
/// A signal that every thread has blocked stays pending in the kernel and does not come here
/// (pthread_sigmask(3)).
pub struct SignalHub {
    eventfd: OwnedFd,
    mailbox: &'static Mailbox,
}

impl fmt::Debug for SignalHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.mailbox.wanted.load(Ordering::Relaxed);
        f.debug_struct("SignalHub")
            .field("eventfd", &self.eventfd)
            .field("wanted", &format_args!("{wanted:#x}"))
            .finish()
    }
}

impl SignalHub {
    /// Without subscriptions. One descriptor; fails with EMFILE or ENFILE.
    pub fn new() -> Result<Self, Errno> {
        let eventfd = eventfd()?;
        let free = |mailbox: &&Mailbox| {
            mailbox.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let mailbox = walk().find(free).unwrap_or_else(publish);
        mailbox.open(eventfd.as_raw_fd());
        Ok(SignalHub { eventfd, mailbox })
    }

    /// From now on this hub gets `signo`. Nothing happens where it does already. The first subscriber in the
    /// process installs the handler: one system call.
    pub fn subscribe(&self, signo: i32) -> Result<(), SignalError> {
        if is_fault(signo) { Err(SignalError::Fault(signo)) } else { self.subscribe_to_any(signo) }
    }

    /// `subscribe`, also to SIGSEGV and its like, as far as they are sent: see trap (d).
    pub fn subscribe_to_any(&self, signo: i32) -> Result<(), SignalError> {
        check(signo)?;
        let mut dispositions = lock(&DISPOSITIONS);
        if self.mailbox.wanted.load(Ordering::Relaxed) & bit(signo) != 0 {
            return Ok(());
        }
        // First: what arrives from the moment the handler stands is counted.
        self.mailbox.wanted.fetch_or(bit(signo), Ordering::AcqRel);
        match &mut dispositions[signo as usize] {
            Some(disposition) => disposition.subscribers += 1,
            empty => match install(signo) {
                Ok(former) => *empty = Some(Disposition { subscribers: 1, former }),
                Err(errno) => {
                    self.mailbox.wanted.fetch_and(!bit(signo), Ordering::AcqRel);
                    return Err(SignalError::Refused(signo, errno));
                }
            },
        }
        Ok(())
    }

    /// This hub does not get `signo` any more, and forgets arrivals not yet taken. The last subscriber in the
    /// process puts back what was there before, trap (e). Nothing happens where it was not subscribed.
    pub fn unsubscribe(&self, signo: i32) {
        if self.is_subscribed(signo) {
            self.pause(signo);
            self.mailbox.counts[signo as usize].store(0, Ordering::Relaxed);
        }
    }

    /// `unsubscribe`, but arrivals not yet taken are given if it is subscribed again before the next take.
    pub fn pause(&self, signo: i32) {
        if !(1..=64).contains(&signo) {
            return;
        }
        let mut dispositions = lock(&DISPOSITIONS);
        if self.mailbox.wanted.fetch_and(!bit(signo), Ordering::AcqRel) & bit(signo) == 0 {
            return;
        }
        let Some(disposition) = &mut dispositions[signo as usize] else { return };
        disposition.subscribers -= 1;
        if disposition.subscribers == 0 {
            restore(signo, &disposition.former);
            dispositions[signo as usize] = None;
        }
    }

    /// Whether this hub is subscribed to `signo`.
    pub fn is_subscribed(&self, signo: i32) -> bool {
        (1..=64).contains(&signo) && self.mailbox.wanted.load(Ordering::Relaxed) & bit(signo) != 0
    }

    /// Gives every signal that arrived since the last take, with how often, lowest number first. To be called
    /// when the descriptor is readable; it is unreadable after. One system call.
    pub fn take(&self, mut each: impl FnMut(i32, u32)) {
        // In this order: an arrival after the swap finds no bit and writes again.
        take_all(self.eventfd.as_fd());
        let mut arrived = self.mailbox.arrived.swap(0, Ordering::AcqRel);
        let signal_64 = arrived & 1 != 0;
        arrived &= !1;
        while arrived != 0 {
            self.take_one(arrived.trailing_zeros() as i32, &mut each);
            arrived &= arrived - 1;
        }
        if signal_64 {
            self.take_one(64, &mut each);
        }
    }

    fn take_one(&self, signo: i32, each: &mut impl FnMut(i32, u32)) {
        let count = self.mailbox.counts[signo as usize].swap(0, Ordering::AcqRel);
        // Zero where an earlier take saw the count before its bit. Not subscribed where it was given up since,
        // or where the handler was late for the hub that had this box before us.
        if count > 0 && self.is_subscribed(signo) {
            each(signo, count);
        }
    }

    /// After a fork, in the child: from now on the child's own signals arrive here, and no longer the parent's.
    /// Subscriptions and the descriptor's number stay; what had arrived before is forgotten.
    pub fn reinit(&self) -> Result<(), Errno> {
        replace(self.eventfd.as_fd(), eventfd()?)?;
        // Handlers that were inside when the process forked are not in the child.
        self.mailbox.inside.store(0, Ordering::SeqCst);
        self.mailbox.open(self.eventfd.as_raw_fd());
        Ok(())
    }
}

impl AsFd for SignalHub {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

impl Drop for SignalHub {
    fn drop(&mut self) {
        for signo in 1..SIGNALS as i32 {
            self.unsubscribe(signo);
        }
        // Trap (b).
        self.mailbox.eventfd.store(-1, Ordering::SeqCst);
        // SAFETY: no arguments.
        let pid = unsafe { libc::getpid() };
        let own = self.mailbox.pid.load(Ordering::Acquire) == pid;
        while own && self.mailbox.inside.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now();
        }
        self.mailbox.taken.store(false, Ordering::Release);
    }
}

impl Mailbox {
    fn open(&self, eventfd: i32) {
        self.arrived.store(0, Ordering::SeqCst);
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.eventfd.store(eventfd, Ordering::SeqCst);
        // SAFETY: no arguments.
        self.pid.store(unsafe { libc::getpid() }, Ordering::SeqCst);
    }
}

/// A new box, taken, at the head of the list.
fn publish() -> &'static Mailbox {
    let mailbox = Box::leak(Box::new(Mailbox {
        next: std::ptr::null_mut(),
        taken: AtomicBool::new(true),
        pid: AtomicI32::new(0),
        eventfd: AtomicI32::new(-1),
        inside: AtomicU32::new(0),
        wanted: AtomicU64::new(0),
        arrived: AtomicU64::new(0),
        counts: [const { AtomicU32::new(0) }; SIGNALS],
    }));
    let address: *mut Mailbox = mailbox;
    loop {
        let head = MAILBOXES.load(Ordering::Acquire);
        // SAFETY: not published yet, so nobody else looks at it.
        unsafe { (*address).next = head };
        if MAILBOXES.compare_exchange(head, address, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: leaked, and from here on only shared.
            return unsafe { &*address };
        }
    }
}

/// Installs the handler, trap (f), and gives what was there.
fn install(signo: i32) -> Result<libc::sigaction, Errno> {
    // SAFETY: all zeroes are a valid sigaction (SIG_DFL).
    let (mut ours, mut former): (libc::sigaction, libc::sigaction) = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = on_signal as Handler as usize;
    ours.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK | libc::SA_SIGINFO;
    // SAFETY: `sa_mask` is writable.
    unsafe { libc::sigfillset(&mut ours.sa_mask) };
    // SAFETY: both outlive the call; the handler is async-signal-safe, trap (a).
    syscall!(unsafe { libc::sigaction(signo, &ours, &mut former) })?;
    Ok(former)
}

/// Puts `former` back, trap (e).
fn restore(signo: i32, former: &libc::sigaction) {
    // SAFETY: all zeroes are a valid sigaction.
    let mut current: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: only asks.
    let asked = unsafe { libc::sigaction(signo, std::ptr::null(), &mut current) };
    if asked == 0 && current.sa_sigaction == on_signal as Handler as usize {
        // SAFETY: what the kernel gave us when we installed ours.
        unsafe { libc::sigaction(signo, former, std::ptr::null_mut()) };
    }
}
