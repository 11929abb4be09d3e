//! Blocks to read into, shared by all connections of a loop: an idle connection has none.
//!
//! A read goes into a block. What is short is copied out of it, and the block is used again; what fills a good part of it
//! becomes a chunk, block and all, without a copy, and the block comes back when that chunk has been sent.

use super::chunk::{Chunk, Store};
use super::{Buffer, BufferError};
use alloc::vec;
use alloc::vec::Vec;

/// A message that fills less than this part of its block is copied out of it.
const SHORT: usize = 8;

/// Memory of one size, initialised.
#[derive(Debug)]
pub struct Block(Vec<u8>);

impl Block {
    /// All of it, to read into.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Blocks that nobody uses just now.
#[derive(Debug)]
pub struct Pool {
    blocks: Vec<Block>,
    block_bytes: usize,
    most: usize,
}

impl Pool {
    /// Blocks of `block_bytes`, of which at most `most` are kept.
    pub const fn new(block_bytes: usize, most: usize) -> Self {
        Pool { blocks: Vec::new(), block_bytes, most }
    }

    /// A block, from the pool or new.
    pub fn take(&mut self) -> Block {
        self.blocks.pop().unwrap_or_else(|| Block(vec![0; self.block_bytes]))
    }

    /// A block that is not used any more.
    pub fn put(&mut self, block: Block) {
        if self.blocks.len() < self.most && block.0.len() == self.block_bytes {
            self.blocks.push(block);
        }
    }

    /// How many blocks lie in it.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn put_chunk(&mut self, chunk: Chunk) {
        if let Store::Own(own) = chunk.store
            && own.len() == self.block_bytes
        {
            self.put(Block(own));
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
        if filled < block.0.len() / SHORT {
            let outcome = self.append(&block.bytes()[..filled]);
            pool.put(block);
            return outcome;
        }
        self.link(Store::Own(block.0), 0, filled)
    }
}
