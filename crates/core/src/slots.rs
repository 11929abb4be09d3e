//! Generational slots: an id given out once never resolves to a later tenant of the same slot.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::fmt;

/// An event's name: which slot, and which tenant of it. Eight bytes, copied freely; a stale one resolves to
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    index: u32,
    generation: u32,
}

impl EventId {
    /// The slot's number: dense, reused, good as an index into a table kept beside the slots.
    pub const fn index(self) -> usize {
        self.index as usize
    }
    /// Both halves in one word.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }
    /// The id that [`EventId::to_bits`] came from. Other bits give an id as well, of an event or of none.
    pub const fn from_bits(bits: u64) -> Self {
        // Tenants have odd generations; an even one, made up, would resolve to a slot that is vacant.
        EventId { index: bits as u32, generation: (bits >> 32) as u32 | 1 }
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {}.{}", self.index, self.generation)
    }
}

/// Room for `len` rows in a table that lives as long as its loop. A small one grows to double; beyond some pages it
/// takes enough to get pages of its own from the system (malloc: from 128 KiB on), and then a quarter more
/// each time. Of such a table what is not used yet takes no memory, moving it is remapping its pages, and it leaves
/// no holes behind where it was. An error: there is no memory, and the table is as it was.
#[inline]
pub fn reserve_table<T>(table: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    if len <= table.capacity() { Ok(()) } else { grow_table(table, len) }
}

#[cold]
fn grow_table<T>(table: &mut Vec<T>, len: usize) -> Result<(), TryReserveError> {
    // Half of what gets its own pages: with less, tables of words would be counted several times their size.
    const SMALL_BYTES: usize = 64 << 10;
    const OWN_PAGES_BYTES: usize = 132 << 10;
    if len * size_of::<T>() <= SMALL_BYTES {
        return table.try_reserve(len - table.len());
    }
    let rows = (len + len / 4).max(OWN_PAGES_BYTES / size_of::<T>());
    table.try_reserve_exact(rows - table.len())
}

/// A table of `T` with generational ids. All operations are O(1).
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Entry<T>>,
    vacant: Vec<u32>,
    /// The generation of a slot's first tenant; odd.
    first: u32,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    /// Odd while the slot has a tenant; wraps after 2^31 tenants of one slot.
    generation: u32,
}

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Slots { entries: Vec::new(), vacant: Vec::new(), first: 1 }
    }

    /// Slots made from now on number their tenants from `seed`: an id of another table, numbered from elsewhere, then
    /// resolves to nothing here.
    pub(crate) fn number_from(&mut self, seed: u32) {
        self.first = seed | 1;
    }

    /// An error: there is no memory for another slot.
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Result<EventId, TryReserveError> {
        self.next_index()?;
        Ok(self.insert_next(value))
    }

    /// The slot that the next tenant gets. An error: there is no memory for another.
    #[inline(always)]
    pub(crate) fn next_index(&mut self) -> Result<u32, TryReserveError> {
        if let Some(&index) = self.vacant.last() {
            return Ok(index);
        }
        let index = self.entries.len();
        // Releasing cannot be refused: its room is made here.
        if index >= self.entries.capacity() || index >= self.vacant.capacity() {
            self.grow()?;
        }
        Ok(index as u32)
    }

    /// After [`Slots::next_index`], in that slot.
    #[inline(always)]
    pub(crate) fn insert_next(&mut self, value: T) -> EventId {
        if let Some(index) = self.vacant.pop() {
            let entry = &mut self.entries[index as usize];
            entry.generation = entry.generation.wrapping_add(1);
            entry.value = value;
            return EventId { index, generation: entry.generation };
        }
        let index = self.entries.len() as u32;
        self.entries.push(Entry { value, generation: self.first });
        EventId { index, generation: self.first }
    }

    #[cold]
    fn grow(&mut self) -> Result<(), TryReserveError> {
        let rows = self.entries.len() + 1;
        assert!(rows < u32::MAX as usize, "fewer than 2^32 events fit into memory");
        reserve_table(&mut self.entries, rows)?;
        reserve_table(&mut self.vacant, rows)
    }

    /// The slot's index if `id` is not stale.
    #[inline]
    pub(crate) fn resolve(&self, id: EventId) -> Option<u32> {
        match self.entries.get(id.index as usize) {
            Some(entry) if entry.generation == id.generation => Some(id.index),
            _ => None,
        }
    }

    /// What is in a slot, if there is such a slot.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.entries.get(index as usize).map(|entry| &entry.value)
    }

    /// Reads something of each of these slots. One after the other each would be a wait for memory; so the processor
    /// waits for all of them at once, and what comes later finds them near.
    #[inline]
    pub(crate) fn touch(&self, indices: impl Iterator<Item = u32>) {
        let rows = indices.filter_map(|index| self.entries.get(index as usize));
        core::hint::black_box(rows.fold(0, |seen, entry| seen ^ entry.generation));
    }

    /// The id of the present tenant of a slot.
    #[inline]
    pub(crate) fn id(&self, index: u32) -> EventId {
        EventId { index, generation: self.entries[index as usize].generation }
    }

    #[inline]
    pub(crate) fn release(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        debug_assert!(entry.generation % 2 == 1, "released twice");
        entry.generation = entry.generation.wrapping_add(1);
        self.vacant.push(index);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.vacant.len()
    }

    /// All tenants, for verification.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let tenants = self.entries.iter().enumerate().filter(|(_, entry)| entry.generation % 2 == 1);
        tenants.map(|(index, entry)| (index as u32, &entry.value))
    }
}

impl<T> core::ops::Index<u32> for Slots<T> {
    type Output = T;
    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.entries[index as usize].value
    }
}

impl<T> core::ops::IndexMut<u32> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.entries[index as usize].value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_resolves_to_nothing_even_after_the_slot_is_reused() {
        let mut slots = Slots::new();
        let first = slots.insert('a').unwrap();
        slots.release(first.index);
        let second = slots.insert('b').unwrap();
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.resolve(first), None);
        assert_eq!(slots.resolve(second), Some(second.index));
        assert_eq!(EventId::from_bits(second.to_bits()), second);
        assert_eq!(slots.len(), 1);
        slots.release(second.index);
        for generation in 0..8u64 {
            assert_eq!(slots.resolve(EventId::from_bits(generation << 32)), None, "nobody is in");
        }
    }
}
