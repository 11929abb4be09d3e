//! The links in order. The first one lies in the chain itself: most buffers never have a second, and an idle connection
//! should not pay for a table of links.

use super::BufferError;
use super::chunk::Chunk;
use alloc::collections::VecDeque;

#[derive(Default)]
pub(super) struct Chain {
    /// `None` only where the chain is empty.
    first: Option<Chunk>,
    rest: VecDeque<Chunk>,
}

impl Chain {
    pub(super) const fn new() -> Self {
        Chain { first: None, rest: VecDeque::new() }
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Chunk> {
        self.first.as_ref()
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Chunk> {
        self.first.as_mut()
    }

    #[inline]
    pub(super) fn back_mut(&mut self) -> Option<&mut Chunk> {
        if self.rest.is_empty() { self.first.as_mut() } else { self.rest.back_mut() }
    }

    #[inline]
    pub(super) fn push_back(&mut self, chunk: Chunk) -> Result<(), BufferError> {
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.make_room()?;
            self.rest.push_back(chunk);
        }
        Ok(())
    }

    pub(super) fn push_front(&mut self, chunk: Chunk) -> Result<(), BufferError> {
        self.make_room()?;
        if let Some(second) = self.first.replace(chunk) {
            self.rest.push_front(second);
        }
        Ok(())
    }

    /// The next link beside the first one will be had without asking for memory.
    pub(super) fn make_room(&mut self) -> Result<(), BufferError> {
        if self.first.is_none() {
            return Ok(());
        }
        self.rest.try_reserve(1).map_err(|_| BufferError::NoMemory)
    }

    /// So many links more will be had without asking for memory.
    pub(super) fn make_room_for(&mut self, links: usize) -> Result<(), BufferError> {
        self.rest.try_reserve(links).map_err(|_| BufferError::NoMemory)
    }

    /// Moves all links of `other` behind (or before) these. O(fewer of the two, plus a move of links).
    pub(super) fn append(&mut self, other: &mut Chain) -> Result<(), BufferError> {
        if self.first.is_none() {
            core::mem::swap(self, other);
            return Ok(());
        }
        self.rest.try_reserve(other.rest.len() + 1).map_err(|_| BufferError::NoMemory)?;
        self.rest.extend(other.first.take());
        self.rest.append(&mut other.rest);
        other.rest = VecDeque::new();
        Ok(())
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Chunk> {
        let popped = self.first.take();
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        } else if self.rest.capacity() > 0 {
            self.rest = VecDeque::new();
        }
        popped
    }

    pub(super) fn pop_back(&mut self) -> Option<Chunk> {
        if self.rest.is_empty() { self.first.take() } else { self.rest.pop_back() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Chunk> {
        self.first.iter().chain(&self.rest)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    /// The last two, the last one first.
    pub(super) fn last_two(&mut self) -> (Option<&mut Chunk>, Option<&mut Chunk>) {
        let mut from_back = self.rest.iter_mut().rev();
        match (from_back.next(), from_back.next()) {
            (None, _) => (self.first.as_mut(), None),
            (last, None) => (last, self.first.as_mut()),
            both => both,
        }
    }
}
