//! A queue of bytes as a chain of chunks: what streams read into and write from (libevent's evbuffer).
//!
//! Bytes go in at the back (or the front) and leave at the front. Whole chunks move between buffers without a copy;
//! memory of others and parts of files can be links of the chain. An empty buffer owns no memory on the heap.
//!
//! ```text
//! append, append_region, append_file, spare + commit ->  [chunk][chunk]...[chunk]  <- prepend (at the other end)
//! drain, remove, read_line                           <-
//! ```
//!
//! Nothing here reads or writes descriptors: the hands do, with [`Buffer::pieces`] and [`Buffer::spare`]. Whoever calls
//! back for changes asks [`Buffer::take_change`] after each operation; [`Observed`] does.
//!
//! Reading order: `chunk` is a link; then `grow`, `room` (memory at the end that others write into), `shrink`, `transfer` (between buffers), `search`, `pool`, `observed`.

mod chain;
mod chunk;
mod grow;
mod observed;
mod pool;
mod room;
mod search;
mod shrink;
mod transfer;

use crate::backend::Errno;
use chain::Chain;
use chunk::Chunk;
use core::fmt;

pub use chunk::{FileRegion, Piece, Region};
pub use observed::{Observed, ObserverId};
pub use pool::{Block, Pool};
pub use search::{Eol, Line};

/// Why an operation on a buffer was refused. The buffer is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BufferError {
    /// That end is frozen ([`Buffer::freeze`]).
    Frozen(End),
    /// A buffer holds at most `isize::MAX` bytes.
    TooLong,
    /// There is no memory for it.
    NoMemory,
    /// It has fewer bytes than that.
    TooShort,
    /// A part of it is a file that could not be read.
    File(Errno),
    /// A part of it is a file, whose bytes are not looked at; [`Buffer::load`] brings them into memory.
    NotInMemory,
}

impl fmt::Display for BufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BufferError::Frozen(End::Front) => {
                f.write_str("the buffer's front is frozen: nothing may leave it")
            }
            BufferError::Frozen(End::Back) => {
                f.write_str("the buffer's back is frozen: nothing may be added")
            }
            BufferError::TooLong => f.write_str("a buffer holds at most isize::MAX bytes"),
            BufferError::NoMemory => f.write_str("there is no memory for so many bytes"),
            BufferError::TooShort => f.write_str("the buffer has fewer bytes than were asked for"),
            BufferError::File(errno) => {
                write!(f, "a file in the buffer could not be read (errno {})", errno.0)
            }
            BufferError::NotInMemory => f.write_str("a part of the buffer is a file that is not in memory"),
        }
    }
}

impl core::error::Error for BufferError {}

/// An end of a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Where bytes leave.
    Front,
    /// Where bytes come in.
    Back,
}

/// What happened to a buffer since it was last asked: what its callbacks are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// Its length before.
    pub before: usize,
    /// Bytes that came.
    pub added: usize,
    /// Bytes that left.
    pub removed: usize,
}

/// What `commit` may still make the buffer's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Reserve {
    #[default]
    None,
    /// The last chunk's room.
    InOne,
    /// That, and where the last chunk is empty its neighbour's before it.
    InTwo,
}

/// A queue of bytes; see the module's head. Appending and draining are O(bytes copied), moving is O(chunks moved).
#[derive(Default)]
pub struct Buffer {
    /// No chunk is empty, but the last ones may be: they are room that was made.
    chunks: Chain,
    len: usize,
    added: usize,
    removed: usize,
    reserve: Reserve,
    frozen_front: bool,
    frozen_back: bool,
}

impl Buffer {
    /// An empty one; no memory is allocated.
    pub const fn new() -> Self {
        Buffer {
            chunks: Chain::new(),
            len: 0,
            added: 0,
            removed: 0,
            reserve: Reserve::None,
            frozen_front: false,
            frozen_back: false,
        }
    }

    /// How many bytes it holds, those of files included.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is nothing in it to lose: no bytes, no room that was made, no change that was not asked for.
    #[inline]
    pub fn holds_nothing(&self) -> bool {
        let changed = self.added != 0 || self.removed != 0;
        self.chunks.front().is_none() && !changed && self.reserve == Reserve::None
    }

    /// Bytes of its own chunks' memory, used or not; memory of others is not counted.
    pub fn capacity(&self) -> usize {
        self.chunks.iter().map(Chunk::capacity).sum()
    }

    /// The chain from `skip` bytes on, as pieces: for writev(2) and sendfile(2), or to look without removing.
    pub fn pieces(&self, skip: usize) -> impl Iterator<Item = Piece<'_>> {
        let mut skip = skip;
        self.chunks.iter().filter_map(move |chunk| {
            let left_out = skip.min(chunk.len());
            skip -= left_out;
            (left_out < chunk.len()).then(|| chunk.piece(left_out))
        })
    }

    /// Whether a part of it is a file.
    #[inline]
    pub fn has_files(&self) -> bool {
        self.chunks.any(|chunk| matches!(chunk.store, chunk::Store::File(_)))
    }

    /// The bytes at the front that lie in one piece of memory: empty where the buffer is, or begins with a file.
    #[inline]
    pub fn front(&self) -> &[u8] {
        match self.chunks.front() {
            Some(Chunk { store: chunk::Store::Own(own), start, end }) => {
                own.get(*start..*end).unwrap_or_default()
            }
            first => first.and_then(Chunk::bytes).unwrap_or_default(),
        }
    }

    /// Refuses changes at one end until [`Buffer::thaw`]: front, nothing leaves and nothing is prepended; back, nothing
    /// is added. So a stream keeps others from its ends.
    #[inline]
    pub fn freeze(&mut self, end: End) {
        *self.frozen(end) = true;
    }

    /// Allows changes at that end again.
    #[inline]
    pub fn thaw(&mut self, end: End) {
        *self.frozen(end) = false;
    }

    /// Whether that end is frozen.
    #[inline]
    pub fn is_frozen(&self, end: End) -> bool {
        match end {
            End::Front => self.frozen_front,
            End::Back => self.frozen_back,
        }
    }

    #[inline]
    fn frozen(&mut self, end: End) -> &mut bool {
        match end {
            End::Front => &mut self.frozen_front,
            End::Back => &mut self.frozen_back,
        }
    }

    #[inline]
    fn may(&self, end: End) -> Result<(), BufferError> {
        if self.is_frozen(end) { Err(BufferError::Frozen(end)) } else { Ok(()) }
    }

    /// Whether `more` bytes fit.
    #[inline]
    fn fits(&self, more: usize) -> Result<(), BufferError> {
        const MOST: usize = isize::MAX as usize;
        if more > MOST - self.len { Err(BufferError::TooLong) } else { Ok(()) }
    }

    /// What has changed since it was last asked; `None` if nothing has.
    #[inline]
    pub fn take_change(&mut self) -> Option<Change> {
        if self.added == 0 && self.removed == 0 {
            return None;
        }
        let (added, removed) = (core::mem::take(&mut self.added), core::mem::take(&mut self.removed));
        // Both counts stop at the top rather than wrap, for a buffer that nobody asks.
        Some(Change { before: self.len.saturating_add(removed).saturating_sub(added), added, removed })
    }

    /// Forgets what has changed: nobody is to be told of it.
    #[inline]
    pub fn forget_change(&mut self) {
        (self.added, self.removed) = (0, 0);
    }

    #[inline]
    fn grew(&mut self, bytes: usize) {
        self.len += bytes;
        self.added = self.added.saturating_add(bytes);
    }

    #[inline]
    fn shrank(&mut self, bytes: usize) {
        self.len -= bytes;
        self.removed = self.removed.saturating_add(bytes);
    }

    /// Asserts its invariants: for tests, fuzzing and simulation.
    pub fn verify(&self) {
        assert_eq!(self.len, self.chunks.iter().map(Chunk::len).sum::<usize>(), "the length is the chunks'");
        let mut chunks = self.chunks.iter().peekable();
        while let Some(chunk) = chunks.next() {
            assert!(chunk.start <= chunk.end, "{chunk:?}");
            let inside = chunks.peek().is_some_and(|next| !next.is_empty());
            assert!(!chunk.is_empty() || !inside, "an empty chunk inside the chain");
            chunk.verify();
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer of {} bytes ", self.len)?;
        f.debug_list().entries(self.chunks.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
