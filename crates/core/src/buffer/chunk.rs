//! One link of a chain: bytes of the buffer's own, bytes of somebody else's, or a part of a file.

use super::BufferError;
use crate::backend::{Errno, RawFd};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hint::cold_path;

/// Memory that a buffer refers to without owning it alone. It must not change while it is referred to; dropping it is
/// the release hook, and happens when the last buffer has no byte of it left.
pub trait Region: Send + Sync {
    /// The bytes: the same at each call.
    fn bytes(&self) -> &[u8];
    /// Whether [`Buffer::lends`] allows it. It is only asked, never enforced, here.
    ///
    /// [`Buffer::lends`]: super::Buffer::lends
    fn may_be_lent(&self) -> bool {
        true
    }
}

impl Region for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Region for &'static [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// An open file of which a buffer sends a part without reading it into memory (sendfile(2)). Dropping it closes it,
/// when the last buffer has no byte of it left.
pub trait FileRegion: Send + Sync {
    /// The descriptor, to send from.
    fn fd(&self) -> RawFd;
    /// Reads at an offset without moving the file's position (pread(2)); 0 at its end. For whoever must look at the
    /// bytes after all.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno>;
}

/// A piece of the chain, to look at.
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A part of a file: where it begins, and how long it is.
    File(&'a Arc<dyn FileRegion>, u64, usize),
}

pub(super) enum Store {
    /// All of it is initialised; what lies beyond the chunk's end may be written.
    Own(Vec<u8>),
    Shared(Arc<dyn Region>),
    /// As `Shared`, and it came from another buffer that still has it.
    Lent(Arc<dyn Region>),
    /// `start` and `end` are offsets in the file.
    File(Arc<dyn FileRegion>),
}

/// `start..end` of its store, not empty unless it is the reserve at the end of a chain.
pub(super) struct Chunk {
    pub(super) store: Store,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Chunk {
    #[inline]
    pub(super) fn new(store: Store, start: usize, end: usize) -> Self {
        Chunk { store, start, end }
    }

    /// An empty chunk that has room for `room` bytes, not yet initialised.
    #[inline]
    pub(super) fn with_room(room: usize) -> Result<Self, BufferError> {
        let mut own = Vec::new();
        own.try_reserve_exact(room).map_err(|_| BufferError::NoMemory)?;
        Ok(Chunk::new(Store::Own(own), 0, 0))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes, where they are in memory of its own.
    #[inline(always)]
    pub(super) fn own_bytes(&self) -> Option<&[u8]> {
        if let Store::Own(own) = &self.store { own.get(self.start..self.end) } else { None }
    }

    /// The bytes, where they are in memory.
    #[inline]
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match &self.store {
            Store::Own(own) => Some(&own[self.start..self.end]),
            Store::Shared(region) | Store::Lent(region) => Some(&region.bytes()[self.start..self.end]),
            Store::File(..) => None,
        }
    }

    #[inline]
    pub(super) fn piece(&self, skip: usize) -> Piece<'_> {
        match &self.store {
            Store::File(file) => Piece::File(file, (self.start + skip) as u64, self.len() - skip),
            Store::Own(own) => Piece::Bytes(&own[self.start + skip..self.end]),
            Store::Shared(region) | Store::Lent(region) => {
                Piece::Bytes(&region.bytes()[self.start + skip..self.end])
            }
        }
    }

    /// How many bytes may be written behind the end.
    #[inline]
    pub(super) fn room(&self) -> usize {
        match &self.store {
            Store::Own(own) => own.capacity() - self.end,
            _ => 0,
        }
    }

    /// How much of the room can be made the chunk's own without writing on it.
    #[inline]
    pub(super) fn initialised_room(&self) -> usize {
        match &self.store {
            Store::Own(own) => own.len() - self.end,
            _ => 0,
        }
    }

    /// Appends as much as there is room for, and says how much that was.
    pub(super) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.fill_all(&bytes[..taken]);
        taken
    }

    /// Appends all of them, or nothing where there is too little room. An empty chunk is no hindrance.
    #[inline(always)]
    pub(super) fn fill_all(&mut self, bytes: &[u8]) -> bool {
        let Store::Own(own) = &mut self.store else { return bytes.is_empty() };
        if own.len() != self.end {
            cold_path();
            return self.fill_over(bytes);
        }
        let fits = own.capacity() - own.len() >= bytes.len();
        if fits {
            own.extend_from_slice(bytes);
            self.end += bytes.len();
        }
        fits
    }

    /// As [`Chunk::fill_all`] where something behind the end is initialised: from a reserve that was not used up, or
    /// because it is a block.
    #[inline(never)]
    fn fill_over(&mut self, bytes: &[u8]) -> bool {
        let Store::Own(own) = &mut self.store else { return false };
        if bytes.len() > own.capacity() - self.end {
            return false;
        }
        if let Some(over) = own.get_mut(self.end..self.end + bytes.len()) {
            over.copy_from_slice(bytes);
        } else {
            own.truncate(self.end);
            own.extend_from_slice(bytes);
        }
        self.end += bytes.len();
        true
    }

    /// The room behind the end, initialised (once for each chunk).
    pub(super) fn spare(&mut self) -> &mut [u8] {
        match &mut self.store {
            Store::Own(own) => {
                let room = own.capacity();
                own.resize(room, 0);
                &mut own[self.end..]
            }
            _ => &mut [],
        }
    }

    /// Bytes of memory of its own.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        if let Store::Own(own) = &self.store { own.capacity() } else { 0 }
    }

    pub(super) fn verify(&self) {
        match &self.store {
            Store::Own(own) => assert!(self.end <= own.len(), "{self:?} of {}", own.len()),
            Store::Shared(region) | Store::Lent(region) => {
                assert!(self.end <= region.bytes().len(), "{self:?}")
            }
            Store::File(..) => {}
        }
    }

    /// Puts bytes in front of the start, if there is room for all of them.
    pub(super) fn fill_front(&mut self, bytes: &[u8]) -> bool {
        let room = self.start;
        match &mut self.store {
            Store::Own(own) if bytes.len() <= room => {
                self.start -= bytes.len();
                own[self.start..room].copy_from_slice(bytes);
                true
            }
            _ => false,
        }
    }

    /// Copies from `skip` on, into all of `into`, which must not be longer than what is there.
    pub(super) fn copy_out(&self, skip: usize, into: &mut [u8]) -> Result<(), Errno> {
        match self.piece(skip) {
            Piece::Bytes(bytes) => into.copy_from_slice(&bytes[..into.len()]),
            Piece::File(file, offset, _) => read_all(file.as_ref(), offset, into)?,
        }
        Ok(())
    }

    /// As [`Chunk::share`], for a buffer beside the one that it is in.
    pub(super) fn lend(&mut self) -> Store {
        match self.share() {
            Store::Shared(region) => Store::Lent(region),
            other => other,
        }
    }

    /// Has the same bytes be reachable from a second chunk. The room behind the end is given up.
    pub(super) fn share(&mut self) -> Store {
        if let Store::Own(own) = &mut self.store {
            self.store = Store::Shared(Arc::new(core::mem::take(own)));
        }
        match &self.store {
            Store::Shared(region) => Store::Shared(Arc::clone(region)),
            Store::Lent(region) => Store::Lent(Arc::clone(region)),
            Store::File(file) => Store::File(Arc::clone(file)),
            Store::Own(_) => unreachable!("shared above"),
        }
    }
}

/// A file that has become shorter meanwhile gives EIO: its bytes are gone, and nothing else can stand for them.
fn read_all(file: &dyn FileRegion, offset: u64, into: &mut [u8]) -> Result<(), Errno> {
    const EIO: Errno = Errno(5);
    let mut done = 0;
    while done < into.len() {
        match file.read_at(offset + done as u64, &mut into[done..])? {
            0 => return Err(EIO),
            got => done += got.min(into.len() - done),
        }
    }
    Ok(())
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.store {
            Store::Own(_) => "own",
            Store::Shared(_) => "shared",
            Store::Lent(_) => "lent",
            Store::File(..) => "file",
        };
        write!(f, "{kind} {}..{}", self.start, self.end)
    }
}
