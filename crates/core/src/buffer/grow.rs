//! How bytes come into a buffer.

use super::chunk::{Chunk, FileRegion, Region, Store};
use super::{Buffer, BufferError, End, Reserve};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::cold_path;

/// The smallest chunk: with malloc's own bytes half a kibibyte.
const SMALL: usize = 512 - 16;
/// A buffer that keeps growing by small pieces gets chunks that double up to this.
const LARGE: usize = 16 * 1024 - 16;

impl Buffer {
    /// Copies bytes to the end. Amortised O(bytes).
    #[inline(always)]
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), BufferError> {
        self.may(End::Back)?;
        self.fits(bytes.len())?;
        self.reserve = Reserve::None;
        // Mostly there is a last chunk, and it has room; or there is none.
        match self.chunks.back_mut() {
            Some(last) => {
                if last.is_empty() || !last.fill_all(bytes) {
                    cold_path();
                    self.append_beyond(bytes)?;
                }
            }
            None => self.append_first(bytes)?,
        }
        self.grew(bytes.len());
        Ok(())
    }

    /// Into the first chunk of all.
    #[inline(never)]
    fn append_first(&mut self, bytes: &[u8]) -> Result<(), BufferError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut own = Vec::new();
        own.try_reserve_exact(bytes.len().max(SMALL)).map_err(|_| BufferError::NoMemory)?;
        own.extend_from_slice(bytes);
        self.chunks.set_first(Chunk::new(Store::Own(own), 0, bytes.len()));
        Ok(())
    }

    #[inline(never)]
    fn append_beyond(&mut self, bytes: &[u8]) -> Result<(), BufferError> {
        if self.chunks.back_mut().is_some_and(|last| last.is_empty()) && self.append_to_room(bytes) {
            return Ok(());
        }
        let room = self.chunks.back_mut().map_or(0, |chunk| chunk.room());
        let (here, beyond) = bytes.split_at(bytes.len().min(room));
        if !beyond.is_empty() {
            // First, because it may fail; the order is put right below.
            let mut chunk = Chunk::with_room(self.next_size(beyond.len()))?;
            chunk.fill(beyond);
            if let Some(last) = self.chunks.back_mut() {
                last.fill(here);
            }
            if let Err(error) = self.chunks.push_back(chunk) {
                if let Some(last) = self.chunks.back_mut() {
                    last.end -= here.len();
                }
                return Err(error);
            }
        } else if let Some(last) = self.chunks.back_mut() {
            last.fill(here);
        }
        Ok(())
    }

    /// As [`Buffer::append`], in one piece; the last of `text_and_nul` lies behind them without being the buffer's, so
    /// that who looks at all of it as a C string finds its end.
    #[inline]
    pub fn append_text(&mut self, text_and_nul: &[u8]) -> Result<(), BufferError> {
        let Some(text) = text_and_nul.len().checked_sub(1) else { return Ok(()) };
        self.may(End::Back)?;
        self.fits(text_and_nul.len())?;
        self.reserve = Reserve::None;
        if self.chunks.back_mut().is_none() && text > 0 {
            self.append_first(text_and_nul)?;
        } else if !self.chunks.back_mut().is_some_and(|last| !last.is_empty() && last.fill_all(text_and_nul))
        {
            return self.append_text_beyond(text_and_nul);
        }
        if let Some(last) = self.chunks.back_mut() {
            last.end -= 1;
        }
        self.grew(text);
        Ok(())
    }

    #[inline(never)]
    fn append_text_beyond(&mut self, text_and_nul: &[u8]) -> Result<(), BufferError> {
        let wanted = text_and_nul.len();
        self.expand(wanted)?;
        let piece = self.room().enumerate().find(|(_, room)| room.len() >= wanted);
        let Some((at, room)) = piece else { return Err(BufferError::NoMemory) };
        room[..wanted].copy_from_slice(text_and_nul);
        self.commit_pieces(at, &[wanted - 1])
    }

    /// Copies bytes in front of all others. O(bytes).
    pub fn prepend(&mut self, bytes: &[u8]) -> Result<(), BufferError> {
        self.may(End::Front)?;
        self.fits(bytes.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.reserve = Reserve::None;
        if !self.chunks.front_mut().is_some_and(|chunk| chunk.fill_front(bytes)) {
            // The bytes at its end, so that the next ones in front find room.
            let size = bytes.len().max(SMALL);
            let mut chunk = Chunk::with_room(size)?;
            chunk.spare()[size - bytes.len()..size].copy_from_slice(bytes);
            (chunk.start, chunk.end) = (size - bytes.len(), size);
            self.chunks.push_front(chunk)?;
        }
        self.grew(bytes.len());
        Ok(())
    }

    /// Has memory of others be the next bytes, without a copy. It is dropped when its last byte has left the last
    /// buffer it came into. O(1).
    pub fn append_region(&mut self, region: Arc<dyn Region>) -> Result<(), BufferError> {
        let len = region.bytes().len();
        self.link(Store::Shared(region), 0, len)
    }

    /// Takes bytes that are on the heap already, without a copy. O(1).
    pub fn append_vec(&mut self, bytes: Vec<u8>) -> Result<(), BufferError> {
        let len = bytes.len();
        self.link(Store::Own(bytes), 0, len)
    }

    /// Has a part of a file be the next bytes, without reading it: it is sent by sendfile(2) where the other side is a
    /// socket, and read where it must be looked at. A file that becomes shorter meanwhile fails when its turn comes. Beyond
    /// the first `isize::MAX` bytes of a file is [`BufferError::TooLong`]. O(1).
    pub fn append_file(
        &mut self,
        file: Arc<dyn FileRegion>,
        offset: u64,
        len: usize,
    ) -> Result<(), BufferError> {
        let start = usize::try_from(offset).map_err(|_| BufferError::TooLong)?;
        let end = start.checked_add(len).filter(|end| isize::try_from(*end).is_ok());
        self.link(Store::File(file), start, end.ok_or(BufferError::TooLong)?)
    }

    #[inline]
    pub(super) fn link(&mut self, store: Store, start: usize, end: usize) -> Result<(), BufferError> {
        self.may(End::Back)?;
        self.fits(end - start)?;
        if start == end {
            return Ok(());
        }
        self.settle();
        self.chunks.push_back(Chunk::new(store, start, end))?;
        self.grew(end - start);
        Ok(())
    }

    /// Room to read into, `at_least` so many bytes in up to two pieces: what is left of the last chunk, and a new one.
    /// [`Buffer::commit`] says how many were filled. Every byte of it is initialised, once for each chunk.
    pub fn spare(&mut self, at_least: usize) -> Result<[&mut [u8]; 2], BufferError> {
        self.may(End::Back)?;
        self.fits(at_least)?;
        self.settle();
        let room = self.chunks.back_mut().map_or(0, |chunk| chunk.room());
        if room < at_least {
            let chunk = Chunk::with_room(self.next_size(at_least - room))?;
            self.chunks.push_back(chunk)?;
        }
        let spare: [&mut [u8]; 2] = match self.chunks.last_two() {
            (Some(last), Some(before)) if last.is_empty() => [before.spare(), last.spare()],
            (Some(last), _) => [last.spare(), &mut []],
            (None, _) => [&mut [], &mut []],
        };
        self.reserve = Reserve::InTwo;
        Ok(spare)
    }

    /// As [`Buffer::spare`], in one piece.
    pub fn spare_in_one(&mut self, at_least: usize) -> Result<&mut [u8], BufferError> {
        self.may(End::Back)?;
        self.fits(at_least)?;
        self.settle();
        let room = self.chunks.back_mut().map_or(0, |chunk| chunk.room());
        if room < at_least.max(1) {
            let chunk = Chunk::with_room(self.next_size(at_least))?;
            self.chunks.push_back(chunk)?;
        }
        Ok(self.reserve_last())
    }

    pub(super) fn reserve_last(&mut self) -> &mut [u8] {
        self.reserve = Reserve::InOne;
        self.chunks.back_mut().map_or(&mut [][..], |chunk| chunk.spare())
    }

    /// The first `bytes` of the last [`Buffer::spare`] or [`Buffer::spare_in_one`] were filled and are the buffer's now.
    /// Any other change in between gives the reserve up, and then nothing but 0 can be committed.
    pub fn commit(&mut self, bytes: usize) -> Result<(), BufferError> {
        self.may(End::Back)?;
        self.fits(bytes)?;
        let (last, before) = self.chunks.last_two();
        let in_two = self.reserve == Reserve::InTwo && last.as_ref().is_some_and(|last| last.is_empty());
        let before = before.filter(|_| in_two);
        let last = last.filter(|_| self.reserve != Reserve::None);
        let room = |chunk: &Option<&mut Chunk>| chunk.as_ref().map_or(0, |chunk| chunk.room());
        if bytes > room(&before) + room(&last) {
            return Err(BufferError::TooShort);
        }
        let mut left = bytes;
        for chunk in [before, last].into_iter().flatten() {
            let taken = left.min(chunk.room());
            chunk.end += taken;
            left -= taken;
        }
        self.grew(bytes);
        self.settle();
        Ok(())
    }

    /// Gives up room that was not used: no empty chunk stays at the end.
    #[inline]
    pub(super) fn settle(&mut self) {
        self.reserve = Reserve::None;
        if self.chunks.back_mut().is_some_and(|chunk| chunk.is_empty()) {
            self.drop_empty();
        }
    }

    #[inline(never)]
    fn drop_empty(&mut self) {
        while self.chunks.back_mut().is_some_and(|chunk| chunk.is_empty()) {
            self.chunks.pop_back();
        }
    }

    /// How large the next chunk is to be: twice the last one's, as long as that is small.
    pub(super) fn next_size(&mut self, at_least: usize) -> usize {
        let last = self.chunks.back_mut().map_or(0, |chunk| chunk.capacity());
        at_least.max((2 * last.min(LARGE)).clamp(SMALL, LARGE))
    }
}
