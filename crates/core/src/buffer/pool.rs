//! Blocks to read into, shared by all connections of a loop: an idle connection has none.
//!
//! A read goes into a block. What is short is copied out of it, and the block is used again; what fills a good part of it
//! becomes a chunk, block and all, without a copy, and the block comes back when that chunk has been sent.
//!
//! There are small ones too, for short messages of which many are on their way at once: thousands of large ones with a few
//! bytes in each would be more memory than the processor's caches and their tables hold.

use super::chunk::{Chunk, Store};
use super::{Buffer, BufferError, End};
use alloc::vec;
use alloc::vec::Vec;

/// A message that fills less than this part of its block is copied out of it.
const SHORT: usize = 4;

/// What blocks begin at a multiple of: a cache line. The kernel copies 16 KiB by 3 % faster so than to where malloc
/// has its blocks begin, 16 bytes behind.
const ALIGNED: usize = 64;

/// What a small block holds.
const SMALL_BYTES: usize = 1024;
const SMALL_MEMORY: usize = SMALL_BYTES + ALIGNED;
/// So many small ones are kept for each large one.
const SMALL_FOR_EACH: usize = 16;

/// Memory of one size, initialised.
#[derive(Debug)]
pub struct Block(Vec<u8>);

impl Block {
    #[inline]
    fn start(&self) -> usize {
        self.0.as_ptr().addr().wrapping_neg() % ALIGNED
    }

    /// The memory of a chunk that is given up, if that is a block of a pool of so large ones, or a small block.
    #[inline(always)]
    pub(super) fn of(chunk: &mut Chunk, block_bytes: usize) -> Option<Self> {
        match &mut chunk.store {
            Store::Own(own) if own.len() == block_bytes + ALIGNED || own.len() == SMALL_MEMORY => {
                Some(Block(core::mem::take(own)))
            }
            _ => None,
        }
    }

    /// All of it, to read into.
    #[inline]
    pub fn bytes(&mut self) -> &mut [u8] {
        let (start, len) = (self.start(), self.0.len() - ALIGNED);
        &mut self.0[start..start + len]
    }
}

/// Blocks that nobody uses just now.
#[derive(Debug)]
pub struct Pool {
    blocks: Vec<Block>,
    small: Vec<Block>,
    block_bytes: usize,
    most: usize,
}

impl Pool {
    /// Blocks of `block_bytes`, of which at most `most` are kept, and half as much memory again in small ones at most.
    pub const fn new(block_bytes: usize, most: usize) -> Self {
        Pool { blocks: Vec::new(), small: Vec::new(), block_bytes, most }
    }

    /// Keeps at most so many from now on.
    pub fn keep(&mut self, most: usize) {
        self.most = most;
        self.blocks.truncate(most);
        self.small.truncate(self.most_small());
    }

    fn most_small(&self) -> usize {
        self.most.saturating_mul(SMALL_FOR_EACH)
    }

    /// A block, from the pool or new.
    #[inline]
    pub fn take(&mut self) -> Block {
        self.blocks.pop().unwrap_or_else(|| Block(vec![0; self.memory_bytes()]))
    }

    /// A block for so many bytes: a small one, or as [`Pool::take`].
    #[inline]
    pub fn take_for(&mut self, bytes: usize) -> Block {
        if bytes > SMALL_BYTES || self.block_bytes <= SMALL_BYTES {
            return self.take();
        }
        self.small.pop().unwrap_or_else(|| Block(vec![0; SMALL_MEMORY]))
    }

    /// A block that is not used any more.
    #[inline]
    pub fn put(&mut self, block: Block) {
        if block.0.len() == self.memory_bytes() {
            if self.blocks.len() < self.most {
                self.blocks.push(block);
            }
        } else if block.0.len() == SMALL_MEMORY && self.small.len() < self.most_small() {
            self.small.push(block);
        }
    }

    fn memory_bytes(&self) -> usize {
        self.block_bytes + ALIGNED
    }

    /// How many blocks lie in it, small ones left out.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    #[inline]
    pub(super) fn put_chunk(&mut self, chunk: &mut Chunk) {
        if let Some(block) = Block::of(chunk, self.block_bytes) {
            self.put(block);
        }
    }
}

impl Buffer {
    /// Appends the first `filled` bytes of a block: copied where they are few, else with the block itself.
    pub fn append_block(
        &mut self,
        mut block: Block,
        filled: usize,
        pool: &mut Pool,
    ) -> Result<(), BufferError> {
        if filled < block.bytes().len() / SHORT {
            let outcome = self.append(&block.bytes()[..filled]);
            pool.put(block);
            return outcome;
        }
        let start = block.start();
        self.link(Store::Own(block.0), start, start + filled)
    }

    /// As [`Buffer::append_block`], and never copied: for bytes that are likely to leave soon. [`Buffer::give_back`] makes
    /// good where they have not. The rest of the block is room to append to.
    #[inline]
    pub fn append_whole_block(
        &mut self,
        block: Block,
        filled: usize,
        pool: &mut Pool,
    ) -> Result<(), BufferError> {
        if filled == 0 {
            pool.put(block);
            return Ok(());
        }
        let start = block.start();
        self.link(Store::Own(block.0), start, start + filled)
    }

    /// As [`Buffer::append`], into a block where that spares an allocation: for bytes that are likely to leave soon.
    pub fn append_pooled(&mut self, bytes: &[u8], pool: &mut Pool) -> Result<(), BufferError> {
        let room = self.chunks.back_mut().map_or(0, |chunk| chunk.room());
        let few = !self.is_empty() && bytes.len() < pool.block_bytes / SHORT;
        if bytes.is_empty() || bytes.len() <= room || few || bytes.len() > pool.block_bytes {
            return self.append(bytes);
        }
        let mut block = pool.take();
        block.bytes()[..bytes.len()].copy_from_slice(bytes);
        self.append_whole_block(block, bytes.len(), pool)
    }

    /// As [`Buffer::spare_in_one`], and what is new is a block where `at_least` fits into one.
    pub fn spare_pooled(&mut self, at_least: usize, pool: &mut Pool) -> Result<&mut [u8], BufferError> {
        self.may(End::Back)?;
        self.fits(at_least)?;
        self.settle();
        let room = self.chunks.back_mut().map_or(0, |chunk| chunk.room());
        if room >= at_least.max(1) || at_least > pool.block_bytes {
            return self.spare_in_one(at_least);
        }
        let block = pool.take();
        let start = block.start();
        self.chunks.push_back(Chunk::new(Store::Own(block.0), start, start))?;
        Ok(self.reserve_last())
    }

    /// As [`Buffer::pull_up`], to change them where they are. Memory of others is copied first, into a block where they
    /// fit into one.
    pub fn pull_up_mut(&mut self, bytes: usize, pool: &mut Pool) -> Result<&mut [u8], BufferError> {
        let is_own = |chunk: &Chunk| matches!(chunk.store, Store::Own(_));
        let in_place = self.chunks.front().is_none_or(|first| is_own(first) && first.len() >= bytes);
        if in_place || bytes > pool.block_bytes || bytes > self.len {
            self.pull_up(bytes)?;
            if !self.chunks.front().is_none_or(is_own) {
                self.gather(bytes)?;
            }
        } else if bytes > 0 {
            self.settle();
            self.chunks.make_room()?;
            let mut block = pool.take();
            self.copy_out(0, &mut block.bytes()[..bytes])?;
            self.drop_front(bytes, &mut |chunk| pool.put_chunk(chunk));
            let start = block.start();
            self.chunks.push_front(Chunk::new(Store::Own(block.0), start, start + bytes))?;
        }
        match self.chunks.front_mut() {
            Some(Chunk { store: Store::Own(own), start, .. }) => Ok(&mut own[*start..*start + bytes]),
            _ => Ok(&mut []),
        }
    }

    /// If the last chunk is a block with few bytes in it, they are copied out and the block goes back: so that what is
    /// kept waiting does not take a block for each line. Without memory for the copy it stays.
    #[inline]
    pub fn give_back(&mut self, pool: &mut Pool) {
        let few =
            |chunk: &Chunk| chunk.capacity() == pool.memory_bytes() && chunk.len() < pool.block_bytes / SHORT;
        if !self.is_empty() && self.chunks.back_mut().is_some_and(|chunk| few(chunk)) {
            self.copy_last_out(pool);
        }
    }

    fn copy_last_out(&mut self, pool: &mut Pool) {
        self.settle();
        let Some(mut last) = self.chunks.pop_back() else { return };
        let bytes = last.bytes().unwrap_or_default();
        let room = self.chunks.back_mut().map_or(0, |before| before.room());
        if room >= bytes.len() {
            if let Some(before) = self.chunks.back_mut() {
                before.fill(bytes);
            }
        } else {
            let Ok(mut copy) = Chunk::with_room(self.next_size(bytes.len())) else {
                // Its link was there a moment ago, so this asks for no memory.
                return self.chunks.push_back(last).unwrap_or_default();
            };
            copy.fill(bytes);
            self.chunks.push_back(copy).unwrap_or_default();
        }
        pool.put_chunk(&mut last);
    }
}
