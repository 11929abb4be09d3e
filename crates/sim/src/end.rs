//! One open file of the simulated kernel and what poll(2) would say about it.

use duolu_core::Ready;
use std::collections::VecDeque;

/// What sort of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndKind {
    /// One end of a connected stream.
    Stream,
    /// The reading end of a pipe.
    PipeReader,
    /// The writing end of a pipe.
    PipeWriter,
    /// An eventfd.
    Counter,
    /// A file on disk: always ready, and epoll will not have it.
    Regular,
    /// A listening socket.
    Listener,
    /// A datagram socket with a port.
    Datagram,
}

/// How long bytes travel between the ends of a pair. Order is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delay {
    /// Least travel time.
    pub min_ns: u64,
    /// Most travel time of a packet that is not lost.
    pub max_ns: u64,
    /// Packets lost per thousand; each loss costs another `max_ns` times four (the retransmission).
    pub loss_permille: u32,
}

/// Which open file; never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct FileId(pub u64);

/// An open file description: what dup'd descriptors share.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub kind: EndKind,
    /// Descriptors, and holds of the kernel itself (io_uring's armed polls).
    pub references: u32,
    pub peer: Option<FileId>,
    pub inbox: VecDeque<u8>,
    /// How many bytes the inbox holds, those on their way included.
    pub capacity: usize,
    /// On their way to this inbox.
    pub in_flight: usize,
    pub delay: Delay,
    /// When the last thing sent from here arrives: nothing overtakes it.
    pub last_arrival_ns: u64,
    /// The peer will send no more.
    pub fin_received: bool,
    /// This side will send no more.
    pub fin_sent: bool,
    /// The peer is closed, and that is known here.
    pub peer_gone: bool,
    /// A reset that no read or write has told yet.
    pub reset_pending: bool,
    /// A reset arrived once.
    pub was_reset: bool,
    /// Packets that arrived (connections, for a listener; additions, for a counter).
    pub arrivals: u64,
    pub count: u64,
    pub queue: VecDeque<FileId>,
    /// A datagram socket's: who sent what.
    pub messages: VecDeque<(u16, Vec<u8>)>,
    pub port: u16,
    /// An earlier datagram met a port without a socket, which is not yet told.
    pub refused: bool,
}

impl OpenFile {
    pub fn new(kind: EndKind, capacity: usize) -> Self {
        OpenFile {
            kind,
            references: 0,
            peer: None,
            inbox: VecDeque::new(),
            capacity,
            in_flight: 0,
            delay: Delay::default(),
            last_arrival_ns: 0,
            fin_received: false,
            fin_sent: false,
            peer_gone: false,
            reset_pending: false,
            was_reset: false,
            arrivals: 0,
            count: 0,
            queue: VecDeque::new(),
            messages: VecDeque::new(),
            port: 0,
            refused: false,
        }
    }

    /// Room in the inbox for what the peer writes.
    pub fn room(&self) -> usize {
        self.capacity - self.inbox.len() - self.in_flight
    }

    /// What poll(2) would say. `peer_room` is the room in the peer's inbox.
    pub fn readiness(&self, peer_room: usize) -> Ready {
        let mut ready = Ready::NONE;
        let mut set = |condition: bool, flag: Ready| {
            if condition {
                ready |= flag;
            }
        };
        match self.kind {
            EndKind::Stream => {
                // As Linux answers for a Unix stream pair (unix_poll) and, before FINs cross, for TCP.
                let shut = self.fin_sent || self.peer_gone || self.was_reset;
                let ended = self.fin_received || self.peer_gone || self.was_reset;
                set(!self.inbox.is_empty() || ended, Ready::READ);
                set(peer_room > 0 || shut, Ready::WRITE);
                set(ended, Ready::PEER_CLOSED);
                set(shut && ended, Ready::HANGUP);
                set(self.reset_pending, Ready::ERROR);
            }
            EndKind::PipeReader => {
                set(!self.inbox.is_empty(), Ready::READ);
                set(self.peer_gone, Ready::HANGUP);
            }
            EndKind::PipeWriter => {
                set(peer_room > 0 || self.peer_gone, Ready::WRITE);
                set(self.peer_gone, Ready::ERROR);
            }
            EndKind::Counter => {
                set(self.count > 0, Ready::READ);
                set(self.count < u64::MAX - 1, Ready::WRITE);
            }
            EndKind::Regular => ready = Ready::READ | Ready::WRITE,
            EndKind::Listener => set(!self.queue.is_empty(), Ready::READ),
            EndKind::Datagram => {
                // As udp_poll: an error is told beside, and a send buffer with room is writable.
                set(!self.messages.is_empty(), Ready::READ);
                set(self.in_flight < self.capacity, Ready::WRITE);
                set(self.refused, Ready::ERROR);
            }
        }
        ready
    }
}
