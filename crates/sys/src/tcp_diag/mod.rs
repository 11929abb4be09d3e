//! Every TCP socket of this network namespace, from the kernel itself: sock_diag(7), what ss(8) asks too.
//!
//! A question is answered in datagrams of up to 32 KiB; no privilege is needed. [`Ports`] and
//! [`StateSet`] are filters that the kernel applies.
//!
//! Traps:
//! (a) A dump is no snapshot: the kernel walks its tables while connections come and go. One that changes its state
//!     meanwhile may be told twice, or not at all. What says NLM_F_DUMP_INTR is asked for again, some times.
//! (b) Where the answer is cut (a datagram longer than the buffer) or lost (ENOBUFS), the rest of that dump is worth
//!     nothing and would come mixed with the next: a new socket asks anew.
//! (c) A kernel that does not finish its answer (an emulated one) would keep recv(2) waiting for ever: SO_RCVTIMEO.
//! (d) Minisockets (TIME-WAIT, half-open, an orphan's FIN-WAIT-2) have no inode, no user, no attributes.
//! (e) The queue of a listener stands in the fields for bytes: recv_q is its length, send_q its bound.
//! (f) Root in the same namespace may send to our port: only answers with our sequence number count.

mod bytes;
mod error;
mod info;
mod message;
mod request;
mod state;

#[cfg(test)]
mod tests;

pub use error::DiagError;
pub use info::{TcpInfo, tcp_info};
pub use message::{Memory, Shut, TcpSocket, Timer, TimerKind, canonical};
pub use request::{Details, Families, Ports, Query};
pub use state::{StateSet, TcpState, UnknownState};

use crate::syscall;
use crate::syscall::{own, retry};
use bytes::Bytes;
use duolu_core::Errno;
use request::{ANY, BY_FAMILY, Whose};
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel never answers in datagrams longer than 32 KiB (since Linux 4.4; before, 16).
const BUFFER: usize = 32 * 1024;
/// But should it, the buffer grows up to this.
const LARGEST: usize = 1024 * 1024;
/// How often an answer is asked for that came interrupted or incomplete.
const TRIES: u32 = 4;
/// The whole answer is made while we read it, so that nothing is ever waited for; see (c).
const PATIENCE_S: i64 = 5;

/// What was told.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dump {
    /// The sockets, in no order.
    pub sockets: Vec<TcpSocket>,
    /// The tables changed under the kernel's hands each time it was asked: see (a).
    pub interrupted: bool,
    /// Replies that could not be understood: a state or family that this program does not know.
    pub unknown: usize,
}

/// The way to the kernel; one can be used for many questions.
#[derive(Debug)]
pub struct Diag {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
    /// Until the older form of the question has been refused.
    knows_any: bool,
}

impl Diag {
    /// Opens it.
    ///
    /// # Errors
    /// A sandbox that forbids netlink, a kernel without it, no descriptor left.
    pub fn open() -> Result<Self, DiagError> {
        Ok(Diag { socket: open()?, sequence: 0, buffer: vec![0; BUFFER], knows_any: true })
    }

    /// Asks, and waits for the whole answer. O(sockets of the namespace), but those that the filters leave out cost
    /// some nanoseconds each.
    ///
    /// # Errors
    /// See [`DiagError`].
    pub fn dump(&mut self, query: &Query) -> Result<Dump, DiagError> {
        let mut dump = Dump::default();
        for (at, whose) in query.families.questions(self.knows_any).iter().enumerate() {
            match self.answer(*whose, query, &mut dump) {
                Err(DiagError::Unsupported(..)) if *whose == Whose::Any => {
                    self.knows_any = false;
                    return self.dump(query);
                }
                // A kernel built without IPv6 has no such table; IPv4 has answered.
                Err(DiagError::Unsupported(..)) if at > 0 => {}
                other => other?,
            }
        }
        Ok(dump)
    }

    fn answer(&mut self, whose: Whose, query: &Query, dump: &mut Dump) -> Result<(), DiagError> {
        let (before, unknown) = (dump.sockets.len(), dump.unknown);
        for left in (0..TRIES).rev() {
            let walk = self.ask(whose, query).and_then(|()| self.collect(dump));
            match walk {
                Ok(Walk::Whole) => return Ok(()),
                Ok(Walk::Interrupted) if left == 0 => {
                    dump.interrupted = true;
                    return Ok(());
                }
                Ok(Walk::Interrupted) => {}
                // Trap (b).
                Ok(Walk::Cut(length)) => {
                    self.buffer.resize(length.clamp(self.buffer.len(), LARGEST), 0);
                    self.socket = open()?;
                }
                Err(DiagError::Failed(_, Errno(libc::ENOBUFS))) if left > 0 => self.socket = open()?,
                Err(error) => {
                    // The next question must not meet what is left of this answer.
                    self.socket = open()?;
                    return Err(error);
                }
            }
            dump.sockets.truncate(before);
            dump.unknown = unknown;
        }
        Err(DiagError::Incomplete("the kernel's answer was cut off each time"))
    }

    fn ask(&mut self, whose: Whose, query: &Query) -> Result<(), DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        let question = query.datagram(whose, self.sequence);
        let (fd, at) = (self.socket.as_raw_fd(), question.as_ptr().cast());
        // SAFETY: `question` is readable for its length.
        retry(|| syscall!(unsafe { libc::send(fd, at, question.len(), 0) }))
            .map(drop)
            .map_err(|errno| DiagError::of("send", errno))
    }

    /// Reads datagrams until the kernel says that this was the last.
    fn collect(&mut self, dump: &mut Dump) -> Result<Walk, DiagError> {
        let mut interrupted = false;
        loop {
            let (fd, at, room) =
                (self.socket.as_raw_fd(), self.buffer.as_mut_ptr().cast(), self.buffer.len());
            // With MSG_TRUNC the kernel tells the whole length even if it was cut.
            // SAFETY: the buffer is writable for `room` bytes.
            let got = retry(|| syscall!(unsafe { libc::recv(fd, at, room, libc::MSG_TRUNC) }))
                .map_err(|errno| DiagError::of("recv", errno))? as usize;
            let Some(datagram) = self.buffer.get(..got) else { return Ok(Walk::Cut(got)) };
            match take(datagram, self.sequence, dump)? {
                Part::More { interrupted: now } => interrupted |= now,
                Part::Last { interrupted: now } if interrupted || now => return Ok(Walk::Interrupted),
                Part::Last { .. } => return Ok(Walk::Whole),
            }
        }
    }
}

/// How an answer ended.
enum Walk {
    Whole,
    Interrupted,
    /// A datagram of this length did not fit.
    Cut(usize),
}

/// What one datagram was.
#[derive(PartialEq, Eq, Debug)]
enum Part {
    More { interrupted: bool },
    Last { interrupted: bool },
}

fn open() -> Result<OwnedFd, DiagError> {
    let failed = |errno| DiagError::of("socket", errno);
    let flags = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    let socket = syscall!(unsafe { libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_SOCK_DIAG) })
        .map(own)
        .map_err(failed)?;
    let patience = libc::timeval { tv_sec: PATIENCE_S as _, tv_usec: 0 };
    let (at, len) = ((&raw const patience).cast(), size_of::<libc::timeval>() as libc::socklen_t);
    // SAFETY: `at` is readable for `len` bytes, a timeval as SO_RCVTIMEO wants it.
    syscall!(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, len) })
        .map_err(failed)?;
    Ok(socket)
}

/// Takes one datagram apart: struct nlmsghdr, payload, up to 3 bytes of padding, and again.
fn take(mut rest: &[u8], sequence: u32, dump: &mut Dump) -> Result<Part, DiagError> {
    const HEADER: usize = 16;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    const DUMP_INTR: u16 = 0x10;
    let mut interrupted = false;
    while !rest.is_empty() {
        let header = rest.get(..HEADER).map(Bytes).ok_or(DiagError::Malformed("a message without a head"))?;
        let cut = DiagError::Malformed("a message longer than its datagram");
        let length = header.u32(0).ok_or(cut)? as usize;
        let payload = rest.get(HEADER..length).ok_or(cut)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        // Trap (f).
        if header.u32(8) != Some(sequence) {
            continue;
        }
        interrupted |= header.u16(6).is_some_and(|flags| flags & DUMP_INTR != 0);
        let status = || Errno(Bytes(payload).i32(0).unwrap_or(0).saturating_neg());
        match header.u16(4) {
            // A dump that broke off says so in its last message.
            Some(DONE) if status().0 > 0 => return Err(DiagError::of("dump", status())),
            Some(DONE) => return Ok(Part::Last { interrupted }),
            Some(ERROR) => return Err(DiagError::of("request", status())),
            Some(ANY | BY_FAMILY) => match message::socket(payload) {
                Some(socket) => dump.sockets.push(socket),
                None => dump.unknown += 1,
            },
            _ => {}
        }
    }
    Ok(Part::More { interrupted })
}
