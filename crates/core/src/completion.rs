//! The second door to the hands: streams by completion instead of readiness.
//!
//! A [`crate::Backend`] says that a descriptor is *ready* and the program then reads. A [`Completion`] has *done* the work:
//! connections arrive accepted, bytes arrive received. It is a trait of its own because the two differ in who
//! owns the buffers: here the hands do, and lend them for one turn.
//!
//! The turn, in the order of calls:
//! 1. [`Completion::wait`]: hands over what was asked for since the last turn, sleeps, collects;
//! 2. [`Completion::next_report`] until `None`; for each report any number of `send*`, `close`, ... calls;
//! 3. again from 1. The bytes lent in this turn ([`Chunk`]) end here.

use crate::backend::Errno;
use core::fmt;
use core::ops::Range;

/// One connection. The generation changes whenever the slot gets another connection, so a late report and a
/// late call reach nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnId {
    slot: u32,
    generation: u32,
}

impl ConnId {
    /// The connection in `slot`, the `generation`-th one there.
    pub const fn new(slot: u32, generation: u32) -> Self {
        ConnId { slot, generation }
    }
    /// Its slot: small, dense numbers, fit to index an array of the program's own state.
    pub const fn slot(self) -> u32 {
        self.slot
    }
    /// Which connection of that slot.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {} gen {}", self.slot, self.generation)
    }
}

/// One listener, in the order of [`Completion::listen`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ListenerId(pub u32);

/// Received bytes that lie in a buffer of the hands: a value, read with [`Completion::bytes`] and sent on
/// with [`Completion::send_chunk`]. Good until the next [`Completion::wait`]; after that it is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    turn: u32,
    start: u32,
    len: u32,
}

impl Chunk {
    /// The bytes `start .. start + len` of the hands' memory, lent in turn `turn`.
    pub const fn new(turn: u32, start: u32, len: u32) -> Self {
        Chunk { turn, start, len }
    }
    /// The turn it was lent in.
    pub const fn turn(self) -> u32 {
        self.turn
    }
    /// Where it starts in the hands' memory.
    pub const fn start(self) -> u32 {
        self.start
    }
    /// How many bytes.
    pub const fn len(self) -> u32 {
        self.len
    }
    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }
    /// A part of it, cut to what there is.
    pub const fn part(self, range: Range<u32>) -> Self {
        let start = if range.start < self.len { range.start } else { self.len };
        let end = if range.end < self.len { range.end } else { self.len };
        let len = end.saturating_sub(start);
        Chunk { turn: self.turn, start: self.start + start, len }
    }
}

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// A connection has arrived. Nothing is received on it before [`Completion::receive`].
    Accepted {
        /// Where.
        listener: ListenerId,
        /// Its name from now on.
        conn: ConnId,
    },
    /// A connection that the program has dialled is there. Nothing is received on it before [`Completion::receive`].
    Connected {
        /// Which.
        conn: ConnId,
    },
    /// Bytes have arrived.
    Received {
        /// From whom.
        conn: ConnId,
        /// Where they lie, never empty.
        chunk: Chunk,
    },
    /// The peer has shut its sending side: no more bytes come. It may still read: send the rest, then close.
    PeerFinished {
        /// Whose.
        conn: ConnId,
    },
    /// Output that the kernel had no room for is gone now: [`Completion::pending_bytes`] is 0 again.
    Drained {
        /// Whose.
        conn: ConnId,
    },
    /// The connection broke (ECONNRESET, ETIMEDOUT, EPIPE, ...). It has been closed and the id is stale from
    /// now on; what was still to be sent is lost.
    Failed {
        /// Whose.
        conn: ConnId,
        /// Why.
        errno: Errno,
    },
    /// Nothing is accepted any more, as [`Completion::unlisten`] asked or because accepting fails for good.
    Unlistened {
        /// Which; its descriptor is closed.
        listener: ListenerId,
        /// Why, where nobody asked for it.
        errno: Option<Errno>,
    },
    /// A watched descriptor (a waker, a signalfd) has become readable: told once for each time it does.
    Readable {
        /// As given to [`Completion::watch`].
        user: u64,
    },
}

/// A pair of hands that does the I/O itself. Not `Send` by contract: one thread, all its life.
///
/// Contract, for every implementation:
/// - Calls with a stale [`ConnId`] do nothing.
/// - Bytes of one connection are sent in the order of the `send*` calls, all of them or, after `Failed`, a
///   prefix.
/// - What the peer does not read is held back in memory. Above a limit (see the implementation's
///   configuration) nothing more is received from that connection until the peer has read; so a program
///   that answers what it gets needs no limit of its own.
/// - Out of buffers, descriptors or queue entries it goes slower, never wrong: nothing is lost and nothing
///   spins.
/// - No report about a connection follows its `Failed` or a `close` of it.
pub trait Completion {
    /// What owns a descriptor (`OwnedFd` outside of simulations).
    type Descriptor;

    /// `io_uring` or `sim`.
    fn name(&self) -> &'static str;

    /// Accepts on this listening socket from the next `wait` on. The listener is owned until `Unlistened`.
    fn listen(&mut self, listener: Self::Descriptor) -> Result<ListenerId, Errno>;

    /// Accepts no more there; `Unlistened` follows. Connections accepted before still come, before it.
    fn unlisten(&mut self, listener: ListenerId);

    /// Reports whenever the descriptor becomes readable, until the end.
    fn watch(&mut self, descriptor: Self::Descriptor, user: u64) -> Result<(), Errno>;

    /// Starts to receive: `Received` for all that comes, until `PeerFinished` or `Failed`.
    fn receive(&mut self, conn: ConnId);

    /// The bytes of a chunk of this turn; none of an older one.
    fn bytes(&self, chunk: Chunk) -> &[u8];

    /// Sends received bytes on, to the same or another connection, without copying them where the kernel
    /// takes them at once. A stale chunk sends nothing.
    fn send_chunk(&mut self, conn: ConnId, chunk: Chunk);

    /// Sends a copy of these bytes.
    fn send(&mut self, conn: ConnId, bytes: &[u8]);

    /// Sends bytes that live for ever, without copying them where the kernel takes them at once.
    fn send_static(&mut self, conn: ConnId, bytes: &'static [u8]);

    /// Bytes that the kernel has had no room for yet. What was sent in this turn is not counted.
    fn pending_bytes(&self, conn: ConnId) -> usize;

    /// Once everything is sent, tells the peer that no more comes (FIN). Receiving goes on.
    fn shutdown(&mut self, conn: ConnId);

    /// Once everything is sent, closes. Nothing more is reported about it, and the id is stale at once
    /// for `send*`, `shutdown` and `receive`.
    fn close(&mut self, conn: ConnId);

    /// Closes now; what is not sent yet is lost.
    fn cancel(&mut self, conn: ConnId);

    /// Hands over what was asked for, then sleeps until there is a report or `timeout_ns` nanoseconds have
    /// passed (`None`: for ever; 0: only look). With reports of the last turn left over it returns at once.
    /// Costs one system call as a rule. EINTR ends the sleep early, with `Ok`.
    fn wait(&mut self, timeout_ns: Option<u64>) -> Result<(), Errno>;

    /// The next report of this turn.
    fn next_report(&mut self) -> Option<Report>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_chunk_never_reaches_beyond_it() {
        let chunk = Chunk::new(7, 100, 10);
        assert_eq!(chunk.part(2..5), Chunk::new(7, 102, 3));
        assert_eq!(chunk.part(5..50), Chunk::new(7, 105, 5));
        assert!(chunk.part(50..60).is_empty());
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = chunk.part(6..2);
        assert!(reversed.is_empty());
        assert!(chunk.part(10..u32::MAX).is_empty());
    }
}
