//! Room at the end for whoever writes through pointers of its own (libevent's evbuffer_reserve_space): it stays where it is
//! until it is filled, although bytes leave at the front meanwhile, and it can be had in any number of pieces.
//!
//! [`Buffer::spare`] is the simpler way: one writer, at once.

use super::chunk::{Chunk, Store};
use super::{Buffer, BufferError, End, Reserve};

/// Bytes that are worth copying so that the room before them is not wasted.
const COPIED: usize = 4096;

impl Buffer {
    /// Sees to it that `at_least` bytes can be appended without asking for memory, into one piece; a freeze is no hindrance.
    /// At most 4 KiB are copied for it.
    pub fn expand(&mut self, at_least: usize) -> Result<(), BufferError> {
        self.fits(at_least)?;
        self.reserve = Reserve::None;
        let wanted = at_least.max(1);
        // Mostly there is one chunk, here and below.
        if self.chunks.only_mut().is_some_and(|only| only.room() >= wanted) {
            return Ok(());
        }
        let first = self.first_with_room();
        if self.chunks.iter().skip(first).any(|chunk| chunk.room() >= wanted) {
            return Ok(());
        }
        self.settle();
        if self.make_longer(wanted)? {
            return Ok(());
        }
        let chunk = Chunk::with_room(self.next_size(wanted))?;
        self.chunks.push_back(chunk)
    }

    /// Makes the last chunk longer instead of leaving its room behind: else a writer that asks for much and fills little
    /// would have a chunk for each little.
    fn make_longer(&mut self, wanted: usize) -> Result<bool, BufferError> {
        let size = self.next_size(wanted);
        let Some(last) = self.chunks.back_mut() else { return Ok(false) };
        let (len, room) = (last.len(), last.room());
        let Store::Own(own) = &mut last.store else { return Ok(false) };
        if own.capacity() - len >= wanted && len < own.capacity() / 2 && len <= COPIED / 2 {
            own.copy_within(last.start..last.end, 0);
            (last.start, last.end) = (0, len);
            return Ok(true);
        }
        if room < own.capacity() / 8 || len > COPIED {
            return Ok(false);
        }
        let mut longer = Chunk::with_room(size.max(len + wanted))?;
        longer.fill(&own[last.start..last.end]);
        *last = longer;
        Ok(true)
    }

    /// Sees to it that the first `most` pieces of [`Buffer::room`] have `at_least` bytes together. Nothing is copied and no
    /// piece is moved, unless there are `most` already: then those without bytes before them become a larger one.
    pub fn extend(&mut self, at_least: usize, most: usize) -> Result<(), BufferError> {
        self.may(End::Back)?;
        self.fits(at_least)?;
        self.reserve = Reserve::None;
        let first = self.first_with_room();
        let (mut pieces, mut there) = (0, 0);
        for chunk in self.chunks.iter().skip(first).take(most) {
            (pieces, there) = (pieces + 1, there + chunk.room());
        }
        if there >= at_least && pieces > 0 {
            return Ok(());
        }
        if pieces == most {
            self.settle();
            there = self.chunks.back_mut().map_or(0, |last| last.room());
        }
        let chunk = Chunk::with_room(self.next_size(at_least - there.min(at_least)))?;
        self.chunks.push_back(chunk)
    }

    /// The room at the end, piece by piece, in the order in which it is filled. All of it is initialised, once for each
    /// chunk.
    pub fn room(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let first = self.first_with_room();
        self.chunks.iter_mut().skip(first).map(Chunk::spare)
    }

    /// The room's pieces from the one with number `first` on were filled with so many bytes each, from their beginnings.
    pub fn commit_pieces(&mut self, first: usize, filled: &[usize]) -> Result<(), BufferError> {
        self.may(End::Back)?;
        if let ([bytes], 0) = (filled, first)
            && let Some(only) = self.chunks.only_mut()
            && *bytes <= only.initialised_room()
        {
            only.end += bytes;
            // That is room, so no buffer is longer than memory by it.
            self.reserve = Reserve::None;
            self.grew(*bytes);
            return Ok(());
        }
        let mut total: usize = 0;
        let pieces = self.first_with_room();
        let mut chunks = self.chunks.iter().skip(pieces + first);
        for bytes in filled {
            let room = chunks.next().map_or(0, Chunk::initialised_room);
            if *bytes > room {
                return Err(BufferError::TooShort);
            }
            total = total.saturating_add(*bytes);
        }
        drop(chunks);
        self.fits(total)?;
        self.reserve = Reserve::None;
        let (mut empty, mut gap) = (false, false);
        for (at, chunk) in self.chunks.iter_mut().skip(pieces).enumerate() {
            chunk.end += at.checked_sub(first).and_then(|at| filled.get(at)).unwrap_or(&0);
            gap |= empty && !chunk.is_empty();
            empty |= chunk.is_empty();
        }
        if gap {
            self.chunks.drop_empty();
        }
        self.grew(total);
        Ok(())
    }

    /// Fills what [`Buffer::expand`] and its like made, if all of `bytes` fits into the last chunk with bytes and the first
    /// one without. False: the room is too small, and was given up.
    pub(super) fn append_to_room(&mut self, bytes: &[u8]) -> bool {
        let first = self.first_with_room();
        let mut pieces = self.chunks.iter_mut().skip(first);
        let (one, two) = (pieces.next(), pieces.next());
        let room = |chunk: &Option<&mut Chunk>| chunk.as_ref().map_or(0, |chunk| chunk.room());
        // Only what is next to bytes may be left half full.
        if room(&one) + room(&two) < bytes.len() {
            drop(pieces);
            self.settle();
            return false;
        }
        let mut left = bytes;
        for chunk in [one, two].into_iter().flatten() {
            let taken = chunk.fill(left);
            left = &left[taken..];
        }
        true
    }

    /// The number of the first chunk that has room.
    fn first_with_room(&mut self) -> usize {
        if let Some(only) = self.chunks.only_mut() {
            return usize::from(!only.is_empty() && only.room() == 0);
        }
        let empty = self.chunks.iter().rev().take_while(|chunk| chunk.is_empty()).count();
        let full = self.chunks.len() - empty;
        let last_has_room = self.chunks.iter().rev().nth(empty).is_some_and(|last| last.room() > 0);
        full - usize::from(last_has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    fn rooms(buffer: &mut Buffer) -> Vec<(*const u8, usize)> {
        buffer.verify();
        buffer.room().map(|room| (room.as_ptr(), room.len())).collect()
    }

    fn all(buffer: &Buffer) -> Vec<u8> {
        let mut into = vec![0; buffer.len()];
        assert_eq!(buffer.copy_out(0, &mut into), Ok(buffer.len()));
        into
    }

    #[test]
    fn room_stays_in_place_while_bytes_leave_and_come() {
        let mut buffer = Buffer::new();
        buffer.append(b"abcdef").unwrap();
        buffer.extend(2000, 2).unwrap();
        let made = rooms(&mut buffer);
        assert_eq!(made.len(), 2);
        buffer.drain(3).unwrap();
        buffer.prepend(b"-").unwrap();
        assert_eq!(buffer.pull_up(4), Ok(&b"-def"[..]));
        assert_eq!(buffer.take_from(&mut Buffer::new(), 7), Ok(0));
        let mut pieces = buffer.room();
        pieces.next().unwrap()[..2].copy_from_slice(b"gh");
        pieces.next().unwrap()[..1].copy_from_slice(b"i");
        drop(pieces);
        buffer.commit_pieces(0, &[1]).unwrap();
        assert_eq!(rooms(&mut buffer)[1], made[1], "not given up by a commit");
        buffer.append(b"H").unwrap();
        assert_eq!(rooms(&mut buffer)[1], made[1], "nor by what fits before it");
        assert_eq!(buffer.commit_pieces(0, &[1, made[1].1 + 1]), Err(BufferError::TooShort));
        assert_eq!(buffer.commit_pieces(1, &[1, 1]), Err(BufferError::TooShort), "there is no third one");
        assert_eq!(buffer.commit_pieces(0, &[usize::MAX, 1]), Err(BufferError::TooShort));
        assert_eq!(all(&buffer), b"-defgH");
        buffer.commit_pieces(1, &[1]).unwrap();
        assert_eq!((all(&buffer), buffer.take_change().unwrap().before), (b"-defgHi".to_vec(), 0));
        buffer.drain(7).unwrap();
        assert_eq!(rooms(&mut buffer), [], "an empty buffer owns no memory");
    }

    #[test]
    fn a_piece_that_stays_empty_before_a_filled_one_is_dropped() {
        let mut buffer = Buffer::new();
        for (bytes, most) in [(100, 1), (1000, 2), (3000, 3)] {
            buffer.extend(bytes, most).unwrap();
            assert_eq!(rooms(&mut buffer).len(), most);
        }
        let second = rooms(&mut buffer)[1].0;
        buffer.room().nth(1).unwrap()[..2].copy_from_slice(b"ab");
        buffer.commit_pieces(0, &[0, 2]).unwrap();
        assert_eq!((all(&buffer), buffer.front().as_ptr()), (b"ab".to_vec(), second));
        buffer.extend(100_000, 2).unwrap();
        assert_eq!(rooms(&mut buffer).len(), 2, "those without bytes became one");
        buffer.append_vec(b"c".to_vec()).unwrap();
        assert_eq!((all(&buffer), rooms(&mut buffer).len()), (b"abc".to_vec(), 0));
    }

    #[test]
    fn much_room_and_few_bytes_again_and_again_do_not_pile_up() {
        let mut buffer = Buffer::new();
        for byte in 0..100 {
            buffer.expand(4096).unwrap();
            let (at, _) = buffer.room().enumerate().find(|(_, room)| room.len() >= 4096).unwrap();
            buffer.room().nth(at).unwrap()[0] = byte;
            buffer.commit_pieces(at, &[1]).unwrap();
        }
        assert_eq!(all(&buffer), (0..100).collect::<Vec<u8>>());
        assert!(buffer.capacity() < 40_000, "{} bytes", buffer.capacity());
        // What was made is what appending uses, and a freeze does not hinder.
        let mut buffer = Buffer::new();
        buffer.freeze(End::Back);
        buffer.expand(20_000).unwrap();
        buffer.thaw(End::Back);
        let place = rooms(&mut buffer)[0].0;
        buffer.append(&[b'x'; 15_000]).unwrap();
        buffer.append(&[b'y'; 5_000]).unwrap();
        assert_eq!((buffer.front().as_ptr(), buffer.front().len()), (place, 20_000));
        assert_eq!(buffer.expand(usize::MAX), Err(BufferError::TooLong));
        assert_eq!(buffer.extend(isize::MAX as usize - 20_000, 2), Err(BufferError::NoMemory));
        assert_eq!(buffer.len(), 20_000);
    }

    #[test]
    fn bytes_at_the_end_of_their_chunk_move_to_its_beginning() {
        let mut buffer = Buffer::new();
        buffer.append(&[b'x'; 490]).unwrap();
        let place = buffer.front().as_ptr();
        buffer.drain(489).unwrap();
        buffer.expand(40).unwrap();
        assert_eq!((buffer.front().as_ptr(), buffer.front()), (place, &b"x"[..]));
    }
}
