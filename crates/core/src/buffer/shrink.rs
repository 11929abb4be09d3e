//! How bytes leave a buffer, or are brought into one piece.

use super::chunk::{Chunk, Store};
use super::pool::{Block, Pool};
use super::{Buffer, BufferError, End, Reserve};
use alloc::vec::Vec;

impl Buffer {
    /// Drops bytes from the front, all of them if it has fewer; says how many. O(chunks dropped).
    pub fn drain(&mut self, bytes: usize) -> Result<usize, BufferError> {
        self.drain_with(bytes, |_| {})
    }

    /// As [`Buffer::drain`], giving blocks back to the pool they came from.
    pub fn drain_into(&mut self, bytes: usize, pool: &mut Pool) -> Result<usize, BufferError> {
        self.drain_with(bytes, |chunk| pool.put_chunk(chunk))
    }

    /// As [`Buffer::drain_into`] a pool of blocks of `block_bytes` that is asked for only where there is a block for it: for
    /// who keeps it where it takes time to get at.
    #[inline(always)]
    pub fn drain_to(
        &mut self,
        bytes: usize,
        block_bytes: usize,
        mut put: impl FnMut(Block),
    ) -> Result<usize, BufferError> {
        self.drain_with(bytes, move |chunk| {
            if let Some(block) = Block::of(chunk, block_bytes) {
                put(block);
            }
        })
    }

    /// `done` is shown each chunk that is given up.
    #[inline(always)]
    fn drain_with(&mut self, bytes: usize, mut done: impl FnMut(&mut Chunk)) -> Result<usize, BufferError> {
        self.may(End::Front)?;
        self.reserve = Reserve::None;
        if let Some(front) = self.chunks.front_mut()
            && front.len() > bytes
        {
            front.start += bytes;
            self.shrank(bytes);
            return Ok(bytes);
        }
        // Mostly it is all, and in one chunk.
        if bytes >= self.len
            && let Some(only) = self.chunks.only_mut()
        {
            done(only);
            self.chunks.drop_only();
            let len = self.len;
            self.shrank(len);
            return Ok(len);
        }
        Ok(self.drain_chunks(bytes, done))
    }

    #[inline(never)]
    fn drain_chunks(&mut self, bytes: usize, mut done: impl FnMut(&mut Chunk)) -> usize {
        if bytes >= self.len {
            self.settle();
        }
        let bytes = bytes.min(self.len);
        self.drop_front(bytes, &mut done);
        self.shrank(bytes);
        bytes
    }

    /// Copies bytes from position `from` on, as many as fit and are there, and says how many. Reads files.
    #[inline(always)]
    pub fn copy_out(&self, from: usize, into: &mut [u8]) -> Result<usize, BufferError> {
        // Mostly it lies in the first chunk.
        let front = self.chunks.front().and_then(Chunk::own_bytes).unwrap_or_default();
        if let Some(bytes) = front.get(from..).and_then(|rest| rest.get(..into.len())) {
            into.copy_from_slice(bytes);
            return Ok(into.len());
        }
        self.copy_out_of_many(from, into)
    }

    #[inline(never)]
    fn copy_out_of_many(&self, from: usize, into: &mut [u8]) -> Result<usize, BufferError> {
        let (mut skip, mut done) = (from, 0);
        for chunk in self.chunks.iter() {
            if done == into.len() {
                break;
            }
            let left_out = skip.min(chunk.len());
            skip -= left_out;
            let taken = (chunk.len() - left_out).min(into.len() - done);
            if taken > 0 {
                chunk.copy_out(left_out, &mut into[done..done + taken]).map_err(BufferError::File)?;
                done += taken;
            }
        }
        Ok(done)
    }

    /// As [`Buffer::copy_out`] from the front, and drops what was copied.
    pub fn remove(&mut self, into: &mut [u8]) -> Result<usize, BufferError> {
        self.may(End::Front)?;
        let copied = self.copy_out(0, into)?;
        self.drain(copied)
    }

    /// Removes the first `bytes` as a vector: without a copy where they are exactly one chunk of its own.
    pub fn remove_vec(&mut self, bytes: usize) -> Result<Vec<u8>, BufferError> {
        self.may(End::Front)?;
        if bytes > self.len {
            return Err(BufferError::TooShort);
        }
        self.settle();
        if let Some(Chunk { store: Store::Own(own), start: 0, end, .. }) = self.chunks.front_mut()
            && *end == bytes
            && bytes * 2 >= own.capacity()
        {
            let mut own = core::mem::take(own);
            own.truncate(bytes);
            self.chunks.pop_front();
            self.shrank(bytes);
            return Ok(own);
        }
        let mut into = Vec::new();
        into.try_reserve_exact(bytes).map_err(|_| BufferError::NoMemory)?;
        into.resize(bytes, 0);
        self.remove(&mut into)?;
        Ok(into)
    }

    /// Brings the first `bytes` into one piece of memory and shows them; files are read. O(1) where they lie in one
    /// piece, else O(bytes).
    pub fn pull_up(&mut self, bytes: usize) -> Result<&[u8], BufferError> {
        if bytes > self.len {
            return Err(BufferError::TooShort);
        }
        if bytes == 0 {
            return Ok(&[]);
        }
        self.reserve = Reserve::None;
        let in_place =
            self.chunks.front().is_none_or(|chunk| chunk.len() >= bytes && chunk.bytes().is_some());
        if !in_place {
            self.gather(bytes)?;
        }
        Ok(self.front().get(..bytes).unwrap_or_default())
    }

    /// Reads the parts that are files into memory.
    pub fn load(&mut self) -> Result<(), BufferError> {
        self.settle();
        for chunk in self.chunks.iter_mut() {
            if chunk.bytes().is_none() {
                let mut own = Chunk::with_room(chunk.len())?;
                chunk.copy_out(0, &mut own.spare()[..chunk.len()]).map_err(BufferError::File)?;
                own.end = chunk.len();
                *chunk = own;
            }
        }
        Ok(())
    }

    /// Makes the first `bytes` the first chunk, of the buffer's own.
    pub(super) fn gather(&mut self, bytes: usize) -> Result<(), BufferError> {
        // Bytes that are there already stay, if there is room behind them: reading lines from a long queue would else
        // copy the front again and again.
        let kept = matches!(self.chunks.front(),
            Some(Chunk { store: Store::Own(own), start, .. }) if own.capacity() - start >= bytes);
        if kept {
            let Some(mut first) = self.chunks.pop_front() else { return Ok(()) };
            let (len, wanted) = (first.len(), bytes - first.len());
            let gathered = self.copy_out(0, &mut first.spare()[..wanted]);
            if gathered.is_ok() {
                first.end += wanted;
                self.drop_front(wanted, &mut |_| {});
            }
            debug_assert!(gathered.is_err() || first.len() == len + wanted);
            self.chunks.push_front(first)?;
            return gathered.map(drop);
        }
        let mut gathered = Chunk::with_room(bytes)?;
        self.chunks.make_room()?;
        self.copy_out(0, &mut gathered.spare()[..bytes])?;
        gathered.end = bytes;
        self.drop_front(bytes, &mut |_| {});
        self.chunks.push_front(gathered)
    }

    /// Drops bytes that are somewhere else by now.
    pub(super) fn drop_front(&mut self, bytes: usize, done: &mut dyn FnMut(&mut Chunk)) {
        let mut left = bytes;
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > left {
                chunk.start += left;
                return;
            }
            left -= chunk.len();
            if let Some(mut chunk) = self.chunks.pop_front() {
                done(&mut chunk);
            }
        }
    }
}
