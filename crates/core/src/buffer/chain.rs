//! The links in order. The first one lies in the chain itself: most buffers never have a second, and an idle connection
//! should not pay for a table of links.

use super::BufferError;
use super::chunk::{Chunk, Store};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

#[derive(Default)]
pub(super) struct Chain {
    /// `None` only where the chain is empty.
    first: Option<Chunk>,
    /// All others. One word as long as there was none: a stream has two chains. An array of one, because that is what
    /// can be had on the heap by a request that may be refused.
    rest: Option<Box<[VecDeque<Chunk>; 1]>>,
}

/// A table of links that may be refused.
fn table() -> Result<Box<[VecDeque<Chunk>; 1]>, BufferError> {
    let mut one = Vec::new();
    one.try_reserve_exact(1).map_err(|_| BufferError::NoMemory)?;
    one.push(VecDeque::new());
    one.into_boxed_slice().try_into().map_err(|_| BufferError::NoMemory)
}

impl Chain {
    pub(super) const fn new() -> Self {
        Chain { first: None, rest: None }
    }

    #[inline]
    pub(super) fn front(&self) -> Option<&Chunk> {
        self.first.as_ref()
    }

    #[inline]
    pub(super) fn front_mut(&mut self) -> Option<&mut Chunk> {
        self.first.as_mut()
    }

    #[inline(always)]
    pub(super) fn back_mut(&mut self) -> Option<&mut Chunk> {
        match &mut self.rest {
            Some(rest) if !rest[0].is_empty() => rest[0].back_mut(),
            _ => self.first.as_mut(),
        }
    }

    #[inline]
    pub(super) fn push_back(&mut self, chunk: Chunk) -> Result<(), BufferError> {
        if self.first.is_none() {
            self.first = Some(chunk);
        } else {
            self.reserve(1)?.push_back(chunk);
        }
        Ok(())
    }

    /// The first link of an empty chain. Where there is one, it is dropped.
    #[inline]
    pub(super) fn set_first(&mut self, chunk: Chunk) {
        self.first = Some(chunk);
    }

    pub(super) fn push_front(&mut self, chunk: Chunk) -> Result<(), BufferError> {
        if self.first.is_none() {
            self.first = Some(chunk);
            return Ok(());
        }
        self.reserve(1)?;
        if let (Some(second), Some(rest)) = (self.first.replace(chunk), &mut self.rest) {
            rest[0].push_front(second);
        }
        Ok(())
    }

    /// The next link beside the first one will be had without asking for memory.
    pub(super) fn make_room(&mut self) -> Result<(), BufferError> {
        if self.first.is_none() { Ok(()) } else { self.make_room_for(1) }
    }

    /// So many links more will be had without asking for memory.
    pub(super) fn make_room_for(&mut self, links: usize) -> Result<(), BufferError> {
        self.reserve(links).map(drop)
    }

    fn reserve(&mut self, links: usize) -> Result<&mut VecDeque<Chunk>, BufferError> {
        let rest = match &mut self.rest {
            Some(rest) => &mut rest[0],
            none => &mut none.insert(table()?)[0],
        };
        rest.try_reserve(links).map_err(|_| BufferError::NoMemory)?;
        Ok(rest)
    }

    /// Moves all links of `other` behind (or before) these. O(fewer of the two, plus a move of links).
    #[inline]
    pub(super) fn append(&mut self, other: &mut Chain) -> Result<(), BufferError> {
        if self.first.is_none() {
            core::mem::swap(self, other);
            return Ok(());
        }
        self.append_behind(other)
    }

    #[inline(never)]
    fn append_behind(&mut self, other: &mut Chain) -> Result<(), BufferError> {
        if other.first.is_none() {
            return Ok(());
        }
        let others = other.rest.as_ref().map_or(0, |rest| rest[0].len());
        let rest = self.reserve(others + 1)?;
        rest.extend(other.first.take());
        if let Some(mut others) = other.rest.take() {
            rest.append(&mut others[0]);
        }
        Ok(())
    }

    /// The first link, where there is no other.
    #[inline]
    pub(super) fn only_mut(&mut self) -> Option<&mut Chunk> {
        if self.rest.is_none() { self.first.as_mut() } else { None }
    }

    /// Drops what [`Chain::only_mut`] shows.
    #[inline(always)]
    pub(super) fn drop_only(&mut self) {
        if self.rest.is_none() {
            match self.first.take() {
                // Mostly: no look at what kind it is as it is dropped.
                Some(Chunk { store: Store::Own(own), .. }) => drop(own),
                other => drop(other),
            }
        }
    }

    /// Whether any link is such a one. Mostly there is one link, which is looked at without an iterator.
    #[inline]
    pub(super) fn any(&self, is_such: impl Fn(&Chunk) -> bool) -> bool {
        self.first.as_ref().is_some_and(&is_such)
            || self.rest.as_ref().is_some_and(|rest| rest[0].iter().any(is_such))
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Chunk> {
        let popped = self.first.take();
        if let Some(rest) = &mut self.rest {
            self.first = rest[0].pop_front();
            if self.first.is_none() {
                self.rest = None;
            }
        }
        popped
    }

    pub(super) fn pop_back(&mut self) -> Option<Chunk> {
        let last = self.rest.as_mut().and_then(|rest| rest[0].pop_back());
        last.or_else(|| self.first.take())
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Chunk> {
        self.first.iter().chain(self.rest.iter().flat_map(|rest| &rest[0]))
    }

    pub(super) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Chunk> {
        self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| &mut rest[0]))
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest[0].len())
    }

    /// Drops the links without bytes, wherever they are.
    pub(super) fn drop_empty(&mut self) {
        if let Some(rest) = &mut self.rest {
            rest[0].retain(|chunk| !chunk.is_empty());
        }
        if self.front().is_some_and(Chunk::is_empty) {
            self.pop_front();
        }
    }

    /// The last two, the last one first.
    pub(super) fn last_two(&mut self) -> (Option<&mut Chunk>, Option<&mut Chunk>) {
        let mut from_back = self.iter_mut().rev();
        (from_back.next(), from_back.next())
    }
}
