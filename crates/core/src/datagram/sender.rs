//! What came of sending, and what to do about it.
//!
//! Traps:
//! (a) A connected UDP socket tells an ICMP error with the next call, whichever that is: the message of that call was not
//!     sent, but it is not its fault. So a message that fails is tried once more; if it goes then, the error was an
//!     earlier one's. ECONNREFUSED always is: nothing in this machine refuses a UDP datagram so.
//! (b) An unconnected Unix socket is writable even where the peer's queue is full (EAGAIN): waiting for that would spin. So
//!     where writable was told and nothing could be sent, the socket rests, 1 ms at first and up to 50. So it does after
//!     ENOBUFS, of whose end nobody tells.
//! (c) UDP_SEGMENT fails with EIO where the device cannot compute checksums, and with EINVAL (EMSGSIZE from Linux 6.14 on)
//!     where a segment does not fit the path. Neither says that the datagrams themselves cannot be sent.

use super::queue::{Piece, SendQueue, SendRefused};
use super::{Address, Local};
use crate::backend::Errno;
use alloc::vec::Vec;

const EIO: Errno = Errno(5);
const EAGAIN: Errno = Errno(11);
const ENOMEM: Errno = Errno(12);
const EINVAL: Errno = Errno(22);
const EMSGSIZE: Errno = Errno(90);
const EOPNOTSUPP: Errno = Errno(95);
const ENOBUFS: Errno = Errno(105);
const ECONNREFUSED: Errno = Errno(111);

/// The first rest (b): as short as is worth a timer.
const FIRST_REST_NS: u64 = 1_000_000;
/// The longest.
const LONGEST_REST_NS: u64 = 50_000_000;

/// Errors of earlier datagrams that wait to be told; more of them than this at once say nothing more.
const MOST_REPORTS: usize = 64;

/// What is to be told beside what was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// An earlier datagram did not arrive (an ICMP message came back): the socket goes on.
    Error {
        /// What the message said: ECONNREFUSED, EHOSTUNREACH, EMSGSIZE and the like.
        errno: Errno,
        /// To whom the datagram was; unnamed where that is not known: to whom the socket is connected.
        to: Address,
    },
    /// Messages that the kernel refused, with the same error since the last report: they are lost.
    Unsent {
        /// Why. EMSGSIZE: too big for the path, or at all.
        errno: Errno,
        /// To whom the first of them was.
        to: Address,
        /// How many.
        messages: u64,
    },
    /// After [`SendRefused::Full`]: half of the queue is free again.
    Writable,
}

/// What was sent so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendStats {
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Messages refused with `Full`.
    pub refused: u64,
    /// Datagrams that the kernel refused: told as `Unsent`.
    pub failed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// The kernel may take something.
    Some,
    /// It told EAGAIN; it will say when it takes more.
    Asked,
    /// It has said so since, and nothing was sent yet.
    Promised,
    /// Nobody will say: (b).
    Resting,
}

/// The sending side of a datagram socket.
#[derive(Debug)]
pub struct Sender {
    queue: SendQueue,
    reports: Vec<Report>,
    stats: SendStats,
    /// Segments of so many bytes and more are sent one by one: (c).
    split_from: usize,
    late_errors: bool,
    /// How the first message failed at its first try: (a).
    suspect: Option<Errno>,
    room: Room,
    rest_ns: u64,
    /// `Full` was said and `Writable` was not yet.
    owes_writable: bool,
}

impl Sender {
    /// With a queue of that size. `segments`: the kernel can cut them. `late_errors`: a call may tell the error of an earlier
    /// one (a).
    pub const fn new(most_messages: usize, most_bytes: usize, segments: bool, late_errors: bool) -> Self {
        Sender {
            queue: SendQueue::new(most_messages, most_bytes),
            reports: Vec::new(),
            stats: SendStats { sent: 0, refused: 0, failed: 0 },
            split_from: if segments { usize::MAX } else { 0 },
            late_errors,
            suspect: None,
            room: Room::Some,
            rest_ns: 0,
            owes_writable: false,
        }
    }

    /// What waits.
    pub fn queue(&self) -> &SendQueue {
        &self.queue
    }
    /// What was sent so far.
    pub fn stats(&self) -> SendStats {
        self.stats
    }
    /// From how many bytes on segments are sent one by one, because the kernel or the device does not cut them.
    pub fn split_from(&self) -> usize {
        self.split_from
    }

    /// As [`SendQueue::push`]. After `Full` the caller may send, if [`Sender::may_send`], and try again; if not it says
    /// [`Sender::refuse`].
    pub fn push(
        &mut self,
        to: Address,
        from: Option<Local>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        self.queue.push(to, from, bytes, segment)
    }
    /// A message was refused for want of room.
    pub fn refuse(&mut self) {
        self.stats.refused += 1;
        self.owes_writable = true;
    }

    /// What the hands are to send, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.queue.pieces(self.split_from)
    }

    /// Whether the hands should try to send.
    #[inline]
    pub fn may_send(&self) -> bool {
        !self.queue.is_empty() && matches!(self.room, Room::Some | Room::Promised)
    }
    /// Whether the kernel is to be asked when there is room.
    #[inline]
    pub fn wants_writable(&self) -> bool {
        self.room == Room::Asked
    }
    /// How long it rests before [`Sender::handle_rested`] must be called, if it does.
    #[inline]
    pub fn rest_ns(&self) -> Option<u64> {
        (self.room == Room::Resting).then_some(self.rest_ns)
    }

    /// The kernel says that there is room.
    #[inline]
    pub fn handle_writable(&mut self) {
        if self.room == Room::Asked {
            self.room = Room::Promised;
        }
    }
    /// The rest is over.
    pub fn handle_rested(&mut self) {
        if self.room == Room::Resting {
            self.room = Room::Promised;
        }
    }

    /// What came of a call: so many pieces were taken, at least one; or an error.
    #[inline]
    pub fn handle_sent(&mut self, outcome: Result<usize, Errno>) {
        match outcome {
            Ok(pieces) => self.taken(pieces),
            Err(EAGAIN) if self.room == Room::Some => self.room = Room::Asked,
            Err(EAGAIN | ENOBUFS | ENOMEM) => {
                self.rest_ns = (self.rest_ns * 2).clamp(FIRST_REST_NS, LONGEST_REST_NS);
                self.room = Room::Resting;
            }
            Err(errno) => self.failed(errno),
        }
    }

    fn taken(&mut self, pieces: usize) {
        for _ in 0..pieces {
            let datagrams = self.pieces().next().map_or(0, |piece| piece.datagrams());
            self.stats.sent += datagrams;
            self.queue.drop_piece(self.split_from);
        }
        (self.room, self.rest_ns) = (Room::Some, 0);
        if let Some(errno) = self.suspect.take() {
            self.handle_error(errno, Address::Unnamed); // (a)
        }
    }

    #[cold]
    fn failed(&mut self, errno: Errno) {
        let Some(piece) = self.pieces().next() else { return };
        let (to, segment, datagrams) = (*piece.to, piece.segment, piece.datagrams());
        if segment != 0 && matches!(errno, EIO | EINVAL | EMSGSIZE | EOPNOTSUPP) {
            let lasts = errno == EIO || errno == EOPNOTSUPP;
            self.split_from = if lasts { 0 } else { usize::from(segment) }; // (c)
            return;
        }
        if self.late_errors && errno == ECONNREFUSED {
            return self.handle_error(errno, Address::Unnamed);
        }
        match self.suspect.take() {
            None if self.late_errors => {
                self.suspect = Some(errno);
                return;
            }
            Some(first) if first != errno => self.handle_error(first, Address::Unnamed),
            _ => {}
        }
        self.queue.drop_piece(self.split_from);
        self.stats.failed += datagrams;
        self.note_unsent(errno, to, datagrams);
    }

    fn note_unsent(&mut self, errno: Errno, first_to: Address, more: u64) {
        for report in &mut self.reports {
            if let Report::Unsent { errno: same, messages, .. } = report
                && *same == errno
            {
                *messages += more;
                return;
            }
        }
        self.reports.push(Report::Unsent { errno, to: first_to, messages: more });
    }

    /// An error of an earlier datagram, however it was met. The same one again is told once.
    pub fn handle_error(&mut self, errno: Errno, to: Address) {
        let report = Report::Error { errno, to };
        if self.reports.len() < MOST_REPORTS && !self.reports.contains(&report) {
            self.reports.push(report);
        }
    }

    /// The next thing to tell.
    #[inline]
    pub fn next_report(&mut self) -> Option<Report> {
        if !self.reports.is_empty() {
            return Some(self.reports.remove(0)); // there are few
        }
        let writable = self.owes_writable && self.queue.is_half_empty();
        if writable {
            self.owes_writable = false;
        }
        writable.then_some(Report::Writable)
    }
    /// Whether there is something to tell.
    #[inline]
    pub fn has_reports(&self) -> bool {
        !self.reports.is_empty() || self.owes_writable && self.queue.is_half_empty()
    }
}
