//! The four pairs of hands, and how one of them is chosen at run time.
//!
//! | | cost of a wait | timeout | edge | peer closed | descriptors |
//! |---|---|---|---|---|---|
//! | select | O(highest number) | ns | no | no | the process's limit, past 1024 |
//! | poll | O(watched) | ns | no | yes | the process's limit |
//! | epoll | O(ready) | ns from Linux 5.11, else ms rounded up | yes | yes | the process's limit |
//! | io_uring | O(ready) | ns | yes | yes | the process's limit |

mod epoll;
mod poll;
mod select;
mod uring;

pub use epoll::Epoll;
pub use poll::Poll;
pub use select::Select;
pub use uring::Uring;

use crate::syscall::describe;
use duolu_core::{Backend, Errno, Interest, Ready};
use std::fmt;
use std::str::FromStr;

/// One of the kernel's ways to wait for many descriptors.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BackendKind {
    /// select(2) with own bit sets, so that descriptors past FD_SETSIZE work.
    Select,
    /// poll(2).
    Poll,
    /// epoll(7).
    Epoll,
    /// io_uring(7), for readiness: poll requests.
    IoUring,
}

impl BackendKind {
    /// All of them, the oldest first.
    pub const ALL: [BackendKind; 4] =
        [BackendKind::Select, BackendKind::Poll, BackendKind::Epoll, BackendKind::IoUring];

    /// What is tried when nobody prefers anything. io_uring is missing on purpose: it is taken only by name.
    pub const DEFAULT_ORDER: [BackendKind; 3] = [BackendKind::Epoll, BackendKind::Poll, BackendKind::Select];

    /// `select`, `poll`, `epoll` or `io_uring`.
    pub const fn name(self) -> &'static str {
        match self {
            BackendKind::Select => "select",
            BackendKind::Poll => "poll",
            BackendKind::Epoll => "epoll",
            BackendKind::IoUring => "io_uring",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no backend's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownBackend(String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no backend is called {:?}; there are select, poll, epoll and io_uring", self.0)
    }
}

impl std::error::Error for UnknownBackend {}

impl FromStr for BackendKind {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        BackendKind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

/// Why a backend cannot be had on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unavailable {
    /// Which.
    pub kind: BackendKind,
    /// What the kernel said, and what to do; one line.
    pub reason: String,
}

impl Unavailable {
    pub(crate) fn refused(kind: BackendKind, call: &str, errno: Errno) -> Self {
        let text = describe(errno);
        let hint = match errno.0 {
            libc::EMFILE => "; this process is out of descriptors, raise RLIMIT_NOFILE",
            libc::ENFILE => "; the machine is out of descriptors, raise fs.file-max",
            _ => "",
        };
        Unavailable { kind, reason: format!("{call}: {text}{hint}") }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not available ({})", self.kind, self.reason)
    }
}

impl std::error::Error for Unavailable {}

/// Opens the backend `kind`, or says why not.
pub fn open(kind: BackendKind) -> Result<Box<dyn Backend>, Unavailable> {
    Ok(match kind {
        BackendKind::Select => Box::new(Select::new()),
        BackendKind::Poll => Box::new(Poll::new()),
        BackendKind::Epoll => {
            Box::new(Epoll::new().map_err(|e| Unavailable::refused(kind, "epoll_create1", e))?)
        }
        BackendKind::IoUring => Box::new(Uring::new()?),
    })
}

/// A backend, and how it came to be this one.
pub struct Choice {
    /// Opened and empty.
    pub backend: Box<dyn Backend>,
    /// Which it is.
    pub kind: BackendKind,
    /// One line for a person, where another one was wanted or tried before.
    pub fallback: Option<String>,
    /// The same, where it was to move streams' bytes ([`choose_completing`]) and cannot.
    pub readiness: Option<String>,
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut choice = f.debug_struct("Choice");
        choice.field("kind", &self.kind).field("fallback", &self.fallback);
        choice.field("readiness", &self.readiness).finish()
    }
}

/// Opens `preferred` or, where there is none or it cannot be had, the first of epoll, poll and select that can
/// be had and is not in `avoid`. io_uring comes only when preferred. Fails with the reasons when nothing is left,
/// which takes an `avoid` that names them all: poll and select need nothing from the kernel to be opened.
pub fn choose(preferred: Option<BackendKind>, avoid: &[BackendKind]) -> Result<Choice, String> {
    let others = BackendKind::DEFAULT_ORDER.into_iter().filter(|kind| Some(*kind) != preferred);
    let mut missing: Vec<String> = Vec::new();
    for kind in preferred.into_iter().chain(others) {
        if avoid.contains(&kind) {
            if Some(kind) == preferred {
                missing.push(format!("{kind} is both preferred and to be avoided"));
            }
            continue;
        }
        match open(kind) {
            Ok(backend) => {
                let fallback = (!missing.is_empty()).then(|| format!("{}: using {kind}", missing.join("; ")));
                return Ok(Choice { backend, kind, fallback, readiness: None });
            }
            Err(unavailable) => missing.push(unavailable.to_string()),
        }
    }
    missing.push("every other backend is to be avoided: allow at least one of epoll, poll and select".into());
    Err(missing.join("; "))
}

/// As [`choose`], but io_uring that also moves streams' bytes ([`duolu_core::Transfers`]) comes first, unless another
/// backend is preferred. Where that cannot be had `Choice::readiness` says why.
pub fn choose_completing(preferred: Option<BackendKind>, avoid: &[BackendKind]) -> Result<Choice, String> {
    const KIND: BackendKind = BackendKind::IoUring;
    let why = match preferred {
        Some(other) if other != KIND => format!("{other} was preferred, and only io_uring can"),
        _ if avoid.contains(&KIND) => "only io_uring can, and it is to be avoided".to_owned(),
        _ => match Uring::with_transfers() {
            Ok(uring) => {
                let backend = Box::new(uring);
                return Ok(Choice { backend, kind: KIND, fallback: None, readiness: None });
            }
            Err(unavailable) => unavailable.to_string(),
        },
    };
    let mut choice = choose(preferred, avoid)?;
    choice.readiness = Some(format!("streams are not moved by completions: {why}"));
    Ok(choice)
}

// What poll(2), epoll(7) and io_uring's poll share: the bits. They are the same numbers on x86, Arm and RISC-V.
const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
const ERR: u32 = libc::EPOLLERR as u32;
const HUP: u32 = libc::EPOLLHUP as u32;
const RDHUP: u32 = libc::EPOLLRDHUP as u32;
const _: () = assert!(IN == 1 && OUT == 4 && ERR == 8 && HUP == 0x10 && RDHUP == 0x2000);
const _: () = assert!(libc::POLLIN == 1 && libc::POLLOUT == 4 && libc::POLLRDHUP == 0x2000);
const _: () = assert!(libc::POLLERR == 8 && libc::POLLHUP == 0x10 && libc::POLLNVAL == 0x20);

// They are `Ready`'s own, too.
const _: () = assert!(Ready::READ.bits() == IN && Ready::WRITE.bits() == OUT);
const _: () = assert!(Ready::ERROR.bits() == ERR && Ready::HANGUP.bits() == HUP);
const _: () = assert!(Ready::URGENT.bits() == libc::EPOLLPRI as u32);
const _: () = assert!(Ready::PEER_CLOSED.bits() == RDHUP && Ready::INVALID.bits() == libc::POLLNVAL as u32);

/// What of the kernel's bits a report may say.
#[inline(always)]
fn ready_of(bits: u32) -> Ready {
    Ready::from_bits(bits & (IN | OUT | ERR | HUP | RDHUP))
}

/// What to ask the kernel for. ERR and HUP come unasked.
#[inline]
fn bits_of(interest: Interest) -> u32 {
    interest.as_ready().bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_bit_finds_its_place() {
        for (bits, ready) in [
            (IN, Ready::READ),
            (OUT, Ready::WRITE),
            (ERR, Ready::ERROR),
            (HUP, Ready::HANGUP),
            (RDHUP, Ready::PEER_CLOSED),
            (libc::EPOLLPRI as u32, Ready::NONE),
            (IN | HUP | RDHUP, Ready::READ.with(Ready::HANGUP).with(Ready::PEER_CLOSED)),
            (u32::MAX, Ready::from_bits(IN | OUT | ERR | HUP | RDHUP)),
        ] {
            assert_eq!(ready_of(bits), ready, "{bits:#x}");
        }
        assert_eq!(bits_of(Interest::from_bits(7)), IN | OUT | RDHUP);
        assert_eq!(bits_of(Interest::WRITE), OUT);
    }

    #[test]
    fn names_go_there_and_back() {
        for kind in BackendKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "kqueue".parse::<BackendKind>().unwrap_err().to_string();
        assert_eq!(error, "no backend is called \"kqueue\"; there are select, poll, epoll and io_uring");
    }

    #[test]
    fn epoll_is_the_default_and_io_uring_never_is() {
        let choice = choose(None, &[]).unwrap();
        assert_eq!((choice.kind, choice.fallback), (BackendKind::Epoll, None));
        let choice = choose(None, &[BackendKind::Epoll]).unwrap();
        assert_eq!((choice.kind, choice.fallback), (BackendKind::Poll, None));
        let choice = choose(Some(BackendKind::Select), &[]).unwrap();
        assert_eq!((choice.kind, choice.backend.name()), (BackendKind::Select, "select"));
        assert!(choose(None, &BackendKind::DEFAULT_ORDER).unwrap_err().contains("allow at least one"));
    }

    #[test]
    fn a_contradiction_is_told_and_survived() {
        let choice = choose(Some(BackendKind::Poll), &[BackendKind::Poll]).unwrap();
        assert_eq!(choice.kind, BackendKind::Epoll);
        assert_eq!(choice.fallback.unwrap(), "poll is both preferred and to be avoided: using epoll");
    }
}
