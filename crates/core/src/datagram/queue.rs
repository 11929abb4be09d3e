//! What waits to be sent: bytes of all messages in one arena, so that a message costs no allocation.

use super::address::{Address, Local};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

/// Segments that one call may have the kernel cut (UDP_MAX_SEGMENTS in its udp.h, before 6.9).
pub const MOST_SEGMENTS: usize = 64;
/// Bytes of a UDP datagram over IPv4: 65,535 without 20 for IP's header and 8 for UDP's. IPv6 would allow 20 more.
const MOST_DATAGRAM: usize = 65_507;

/// Why a message was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendRefused {
    /// The kernel takes no more for now, and as much as may wait does. `Writable` is told when there is room again.
    Full,
    /// It is longer than everything that may ever wait.
    TooBig {
        /// Bytes that may wait.
        most: usize,
    },
    /// Segments of no bytes, or of more than a datagram holds.
    BadSegment,
    /// The socket is being closed.
    Closed,
    /// There is no memory for it.
    NoMemory,
}

impl fmt::Display for SendRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendRefused::Full => f.write_str(
                "the send queue is full: drop the message, or wait for Writable; DatagramOptions::send_limit is its size",
            ),
            SendRefused::TooBig { most } => {
                write!(f, "the message is longer than the send queue, {most} bytes: raise DatagramOptions::send_limit")
            }
            SendRefused::BadSegment => write!(f, "a segment must have 1 to {MOST_DATAGRAM} bytes"),
            SendRefused::Closed => f.write_str("the socket is being closed, nothing is sent any more"),
            SendRefused::NoMemory => f.write_str("there is no memory to keep the message in"),
        }
    }
}

impl core::error::Error for SendRefused {}

#[derive(Clone, Copy, Debug)]
struct Entry {
    to: Address,
    from: Option<Local>,
    len: usize,
    /// 0: one message.
    segment: u16,
}

/// What one header of sendmmsg(2) sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece<'a> {
    /// To whom; unnamed: to whom the socket is connected to.
    pub to: &'a Address,
    /// From which of the machine's addresses, if it matters.
    pub from: Option<Local>,
    /// The payload.
    pub bytes: &'a [u8],
    /// The kernel is to cut it into datagrams of so many bytes (UDP_SEGMENT); 0: it is one.
    pub segment: u16,
}

impl Piece<'_> {
    /// How many datagrams it is.
    pub fn datagrams(&self) -> u64 {
        match self.segment {
            0 => 1,
            segment => self.bytes.len().div_ceil(usize::from(segment)) as u64,
        }
    }
}

/// A bounded queue of messages.
#[derive(Debug)]
pub struct SendQueue {
    entries: VecDeque<Entry>,
    /// The payloads of all entries, one behind the other, from `head` on.
    arena: Vec<u8>,
    head: usize,
    most_messages: usize,
    most_bytes: usize,
}

impl SendQueue {
    /// One that holds so many messages and bytes at most. Memory is taken as it is needed.
    pub const fn new(most_messages: usize, most_bytes: usize) -> Self {
        SendQueue { entries: VecDeque::new(), arena: Vec::new(), head: 0, most_messages, most_bytes }
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
    /// Messages that wait; what is to be cut into segments counts as one for each [`MOST_SEGMENTS`].
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.arena.len() - self.head
    }
    /// At most half of what may wait does.
    pub fn is_half_empty(&self) -> bool {
        self.len() <= self.most_messages / 2 && self.bytes() <= self.most_bytes / 2
    }

    /// Keeps a message, to be cut into datagrams of `segment` bytes where that is not 0. All of it or nothing.
    pub fn push(
        &mut self,
        to: Address,
        from: Option<Local>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        let segment = match u16::try_from(segment) {
            Ok(segment) if usize::from(segment) <= MOST_DATAGRAM => segment,
            _ => return Err(SendRefused::BadSegment),
        };
        // What goes into one call: whole segments, no more of them and no more bytes than the kernel takes.
        let most = match usize::from(segment) {
            0 => bytes.len().max(1),
            segment => segment * (MOST_DATAGRAM / segment).min(MOST_SEGMENTS),
        };
        let entries = bytes.len().div_ceil(most).max(1);
        if bytes.len() > self.most_bytes || entries > self.most_messages {
            return Err(SendRefused::TooBig { most: self.most_bytes });
        }
        if self.len() + entries > self.most_messages || self.bytes() + bytes.len() > self.most_bytes {
            return Err(SendRefused::Full);
        }
        if self.arena.len() + bytes.len() > self.arena.capacity() {
            self.arena.copy_within(self.head.., 0);
            self.arena.truncate(self.arena.len() - self.head);
            self.head = 0;
        }
        self.entries.try_reserve(entries).map_err(|_| SendRefused::NoMemory)?;
        self.arena.try_reserve(bytes.len()).map_err(|_| SendRefused::NoMemory)?;
        self.arena.extend_from_slice(bytes);
        let mut left = bytes.len();
        for _ in 0..entries {
            let len = left.min(most);
            left -= len;
            self.entries.push_back(Entry { to, from, len, segment });
        }
        Ok(())
    }

    /// What is to be sent, in order. Segments of `split_from` bytes and more come one by one, for kernels and devices that do
    /// not cut them.
    pub fn pieces(&self, split_from: usize) -> impl Iterator<Item = Piece<'_>> {
        let mut at = self.head;
        self.entries.iter().flat_map(move |entry| {
            let bytes = &self.arena[at..at + entry.len];
            at += entry.len;
            let (step, segment) = entry.step(split_from);
            let count = if step == 0 { 1 } else { entry.len.div_ceil(step) };
            (0..count).map(move |index| {
                let part =
                    if count == 1 { bytes } else { &bytes[index * step..entry.len.min((index + 1) * step)] };
                Piece { to: &entry.to, from: entry.from, bytes: part, segment }
            })
        })
    }

    /// Drops the first piece of [`SendQueue::pieces`], which was sent, or will not be.
    pub fn drop_piece(&mut self, split_from: usize) {
        let Some(entry) = self.entries.front_mut() else { return };
        let (step, _) = entry.step(split_from);
        let taken = if step == 0 { entry.len } else { entry.len.min(step) };
        entry.len -= taken;
        self.head += taken;
        if entry.len == 0 {
            self.entries.pop_front();
        }
        if self.entries.is_empty() {
            (self.head, _) = (0, self.arena.clear());
        }
    }
}

impl Entry {
    /// How much of it is one piece (0: all), and how the kernel is to cut that.
    fn step(&self, split_from: usize) -> (usize, u16) {
        let segment = usize::from(self.segment);
        if segment == 0 || self.len <= segment {
            (0, 0)
        } else if segment >= split_from {
            (segment, 0)
        } else {
            (0, self.segment)
        }
    }
}
