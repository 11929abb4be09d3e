//! How bytes go from one buffer to another: by moving chunks, or by referring to the same ones.

use super::chain::Chain;
use super::chunk::{Chunk, Store};
use super::{Buffer, BufferError, End, Reserve};

/// A part of a chunk up to this long is copied rather than shared: a copy of so little is cheaper than a counted
/// reference, and leaves both sides memory they can write on in.
const COPIED: usize = 1024;

impl Buffer {
    /// Moves everything from `other` to the end of this one. O(chunks), no copy.
    #[inline]
    pub fn append_buffer(&mut self, other: &mut Buffer) -> Result<(), BufferError> {
        self.may(End::Back)?;
        other.may(End::Front)?;
        self.fits(other.len)?;
        if other.is_empty() {
            return Ok(());
        }
        if self.chunks.front().is_none() && other.chunks.only_mut().is_some() {
            // Mostly.
            (self.reserve, other.reserve) = (Reserve::None, Reserve::None);
            core::mem::swap(&mut self.chunks, &mut other.chunks);
        } else {
            self.settle();
            other.settle();
            self.chunks.append(&mut other.chunks)?;
        }
        self.moved(other);
        Ok(())
    }

    /// Moves everything from `other` in front of what is here. O(chunks), no copy.
    pub fn prepend_buffer(&mut self, other: &mut Buffer) -> Result<(), BufferError> {
        self.may(End::Front)?;
        other.may(End::Front)?;
        self.fits(other.len)?;
        if other.is_empty() {
            return Ok(());
        }
        self.reserve = Reserve::None;
        other.settle();
        other.chunks.append(&mut self.chunks)?;
        core::mem::swap(&mut self.chunks, &mut other.chunks);
        self.moved(other);
        Ok(())
    }

    fn moved(&mut self, other: &mut Buffer) {
        let bytes = other.len;
        other.shrank(bytes);
        self.grew(bytes);
    }

    /// Moves the first `bytes` of `other` (all, if it has fewer) to the end of this one; says how many. Whole chunks
    /// move; of the last one up to 1 KiB is copied, more is shared. O(chunks).
    pub fn take_from(&mut self, other: &mut Buffer, bytes: usize) -> Result<usize, BufferError> {
        if bytes >= other.len {
            let all = other.len;
            return self.append_buffer(other).map(|()| all);
        }
        self.may(End::Back)?;
        other.may(End::Front)?;
        self.fits(bytes)?;
        self.settle();
        other.reserve = Reserve::None;
        // Made beside both, so that a refusal leaves them as they are.
        let mut taken = Chain::new();
        let (mut whole, mut left) = (0, bytes);
        for chunk in other.chunks.iter_mut() {
            if chunk.len() > left {
                if left > 0 {
                    taken.push_back(part(chunk, left)?)?;
                }
                break;
            }
            left -= chunk.len();
            whole += 1;
        }
        self.chunks.make_room_for(whole + 1)?;
        for _ in 0..whole {
            if let Some(chunk) = other.chunks.pop_front() {
                self.chunks.push_back(chunk)?;
            }
        }
        self.chunks.append(&mut taken)?;
        if let Some(chunk) = other.chunks.front_mut() {
            chunk.start += left;
        }
        other.shrank(bytes);
        self.grew(bytes);
        Ok(bytes)
    }

    /// Has the bytes of `other` be the next ones here too, without a copy; they stay where they are. Neither buffer sees
    /// what is added to or drained from the other afterwards. O(chunks).
    pub fn append_shared(&mut self, other: &mut Buffer) -> Result<(), BufferError> {
        self.may(End::Back)?;
        self.fits(other.len)?;
        if other.is_empty() {
            return Ok(());
        }
        self.settle();
        other.settle();
        let mut shared = Chain::new();
        for chunk in other.chunks.iter_mut() {
            shared.push_back(Chunk::new(chunk.lend(), chunk.start, chunk.end))?;
        }
        self.chunks.append(&mut shared)?;
        self.grew(other.len);
        Ok(())
    }
}

impl Buffer {
    /// Whether all of it is memory that came neither by [`Buffer::append_shared`] nor as a file, nor forbids it: what
    /// libevent's evbuffer_add_buffer_reference takes. `append_shared` takes everything.
    pub fn lends(&self) -> bool {
        self.chunks.iter().all(|chunk| match &chunk.store {
            Store::Own(_) => true,
            Store::Shared(region) => region.may_be_lent(),
            Store::Lent(_) | Store::File(_) => false,
        })
    }
}

/// The first `bytes` of a chunk, which keeps them.
fn part(chunk: &mut Chunk, bytes: usize) -> Result<Chunk, BufferError> {
    match chunk.bytes() {
        Some(all) if bytes <= COPIED => {
            let mut copy = Chunk::with_room(bytes)?;
            copy.fill(&all[..bytes]);
            Ok(copy)
        }
        _ => Ok(Chunk::new(chunk.share(), chunk.start, chunk.start + bytes)),
    }
}
