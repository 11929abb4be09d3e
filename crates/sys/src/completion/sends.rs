//! What a turn sends: pieces in three kinds of memory, handed over in one submission.
//!
//! Every send is tried without waiting (MSG_DONTWAIT). So it is decided when the submission returns: it has
//! taken all, or a completion says how much. No send is ever in flight while the program runs, so no memory
//! has to outlive anything, buffers come back at the end of their turn, and a send that went well needs no
//! completion. Several pieces of one connection go as one gathered send: two sends in one submission could
//! leave a hole when the first is short.

use super::conns::NONE;
use std::ptr::NonNull;

/// Bytes that stay where they are until the end of the turn.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub start: NonNull<u8>,
    pub len: u32,
    pub next: u32,
    /// Lies in the area of the receive buffers, so that a neighbour there belongs to the same allocation.
    received: bool,
}

/// A block of memory that is only ever reached through its pointer: a reference to the whole would claim the
/// parts that the kernel is to read.
struct Block(NonNull<[u8]>);

impl Block {
    fn new(bytes: Box<[u8]>) -> Self {
        Block(NonNull::from(Box::leak(bytes)))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: leaked in `new`, and freed only here.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Copies live here until the end of the turn.
const BLOCK_BYTES: usize = 64 * 1024;

/// Linux takes so many parts in one call (UIO_MAXIOV).
const MAX_PARTS: usize = 1024;

/// The pieces of a turn, and the copies among them.
#[derive(Default)]
pub(super) struct Outbox {
    pieces: Vec<Piece>,
    /// Blocks of [`BLOCK_BYTES`]; the last is being filled up to `used`. A few are kept from turn to turn.
    blocks: Vec<Block>,
    filling: usize,
    used: usize,
    /// Copies that are larger than a block.
    large: Vec<Block>,
    copied: usize,
    /// Headers and parts of gathered sends; boxed, because the kernel reads them in place.
    #[expect(clippy::vec_box, reason = "a header must not move when the list grows")]
    headers: Vec<Box<libc::msghdr>>,
    parts: Vec<Box<[libc::iovec]>>,
}

impl Outbox {
    /// Bytes copied in this turn.
    pub(super) fn copied(&self) -> usize {
        self.copied
    }

    /// Copies bytes to a place that is stable until `clear`.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> NonNull<u8> {
        self.copied += bytes.len();
        if bytes.len() > BLOCK_BYTES {
            let block = Block::new(bytes.into());
            let start = block.0.cast();
            self.large.push(block);
            return start;
        }
        if !self.blocks.is_empty() && BLOCK_BYTES - self.used < bytes.len() {
            self.filling += 1;
            self.used = 0;
        }
        if self.filling >= self.blocks.len() {
            self.blocks.push(Block::new(vec![0; BLOCK_BYTES].into_boxed_slice()));
            self.filling = self.blocks.len() - 1;
            self.used = 0;
        }
        // SAFETY: used + len <= BLOCK_BYTES, so inside the block; nothing refers to what lies after `used`.
        let place = unsafe {
            let place = self.blocks[self.filling].0.cast::<u8>().add(self.used);
            place.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
            place
        };
        self.used += bytes.len();
        place
    }

    /// Appends a piece to the chain `first..=last`.
    #[inline]
    pub(super) fn append(
        &mut self,
        (first, last): (&mut u32, &mut u32),
        start: NonNull<u8>,
        len: u32,
        received: bool,
    ) {
        let index = self.pieces.len() as u32;
        if *first == NONE {
            *first = index;
        } else {
            let before = &mut self.pieces[*last as usize];
            // A message that came in two receives lies in one piece as a rule.
            // SAFETY: one past the end of the piece is within or just past its memory.
            let neighbours = unsafe { before.start.add(before.len as usize) } == start;
            if let (true, true, true, Some(sum)) =
                (neighbours, received, before.received, before.len.checked_add(len))
            {
                before.len = sum;
                return;
            }
            before.next = index;
        }
        *last = index;
        self.pieces.push(Piece { start, len, next: NONE, received });
    }

    #[inline]
    pub(super) fn piece(&self, index: u32) -> Option<Piece> {
        self.pieces.get(index as usize).copied()
    }

    /// The header of a gathered send of the chain from `first`, as many parts as the kernel takes.
    pub(super) fn gather(&mut self, first: u32) -> *const libc::msghdr {
        let mut parts = Vec::new();
        let mut next = first;
        while let Some(piece) = self.piece(next) {
            if parts.len() == MAX_PARTS {
                break;
            }
            let iov_len = piece.len as usize;
            parts.push(libc::iovec { iov_base: piece.start.as_ptr().cast(), iov_len });
            next = piece.next;
        }
        let mut parts = parts.into_boxed_slice();
        // SAFETY: a msghdr of zeroes is an empty message.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len() as _;
        self.parts.push(parts);
        self.headers.push(Box::new(header));
        &raw const **self.headers.last().expect("just pushed")
    }

    /// Bytes in the chain from `first`, up to the limit of one gathered send.
    pub(super) fn chain_len(&self, first: u32) -> (u64, bool) {
        let (mut bytes, mut count, mut next) = (0, 0, first);
        while let Some(piece) = self.piece(next) {
            if count == MAX_PARTS {
                return (bytes, false);
            }
            bytes += u64::from(piece.len);
            count += 1;
            next = piece.next;
        }
        (bytes, true)
    }

    /// Walks the chain from `first` after its first `skip` bytes.
    ///
    /// # Safety
    /// The pieces' memory is still what it was when they were appended.
    pub(super) unsafe fn after(&self, first: u32, mut skip: u64, mut each: impl FnMut(&[u8])) {
        let mut next = first;
        while let Some(piece) = self.piece(next) {
            next = piece.next;
            let len = u64::from(piece.len);
            if skip >= len {
                skip -= len;
                continue;
            }
            // SAFETY: the caller's promise; skip < len.
            each(unsafe {
                std::slice::from_raw_parts(piece.start.as_ptr().add(skip as usize), (len - skip) as usize)
            });
            skip = 0;
        }
    }

    /// Forgets all pieces and copies. Nothing may refer to them any more.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.headers.clear();
        self.parts.clear();
        self.large.clear();
        self.blocks.truncate(4);
        (self.filling, self.used, self.copied) = (0, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outbox: &Outbox, first: u32, skip: u64) -> Vec<u8> {
        let mut all = Vec::new();
        // SAFETY: the copies are still in the outbox.
        unsafe { outbox.after(first, skip, |part| all.extend_from_slice(part)) };
        all
    }

    #[test]
    fn chains_of_several_connections_do_not_mix() {
        let mut outbox = Outbox::default();
        let mut ends = [(NONE, NONE); 3];
        let mut expected = [const { Vec::new() }; 3];
        for i in 0..300usize {
            let bytes = vec![i as u8; i * 7 % 500 + 1];
            let start = outbox.copy(&bytes);
            let (first, last) = &mut ends[i % 3];
            outbox.append((first, last), start, bytes.len() as u32, false);
            expected[i % 3].extend_from_slice(&bytes);
        }
        for ((first, _), expected) in ends.into_iter().zip(&expected) {
            for skip in [0, 1, 100, expected.len() - 1, expected.len()] {
                assert_eq!(text(&outbox, first, skip as u64), expected[skip..]);
            }
            assert_eq!(outbox.chain_len(first), (expected.len() as u64, true));
        }
    }

    #[test]
    fn neighbours_become_one_piece_and_large_copies_hold() {
        let mut outbox = Outbox::default();
        let (mut first, mut last) = (NONE, NONE);
        let whole = outbox.copy(b"one two three");
        for (at, part) in [(0, &b"one "[..]), (4, b"two "), (8, b"three")] {
            // SAFETY: inside the copy.
            let start = unsafe { whole.add(at) };
            outbox.append((&mut first, &mut last), start, part.len() as u32, true);
        }
        assert_eq!(outbox.piece(first).unwrap().next, NONE);
        let large = vec![b'x'; BLOCK_BYTES + 1];
        let start = outbox.copy(&large);
        outbox.append((&mut first, &mut last), start, large.len() as u32, false);
        assert_eq!(text(&outbox, first, 13), large);
        outbox.clear();
        assert_eq!(outbox.copied(), 0);
    }
}
