//! The timers themselves, in one vector with a free list through the unused entries.

use crate::slots::reserve_table;
use alloc::collections::TryReserveError;
use alloc::vec::Vec;
use core::cmp::Ordering;

/// No entry.
pub(super) const NIL: u32 = u32::MAX;

/// What timers are ordered by: the deadline, then the order of arming.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Rank {
    /// Nanoseconds on the loop's clock.
    pub deadline: u64,
    /// The how-manieth timer ever armed; never 0 for an armed one, so 0 marks a free entry.
    pub seq: u64,
}

impl Rank {
    /// After every timer's.
    pub(super) const NEVER: Rank = Rank { deadline: u64::MAX, seq: u64::MAX };
}

impl Ord for Rank {
    /// As one number: two instructions less a branch, in a sort of many.
    #[inline]
    fn cmp(&self, other: &Rank) -> Ordering {
        let number = |rank: &Rank| u128::from(rank.deadline) << 64 | u128::from(rank.seq);
        number(self).cmp(&number(other))
    }
}

impl PartialOrd for Rank {
    #[inline]
    fn partial_cmp(&self, other: &Rank) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which structure an entry is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// In the free list.
    Free,
    /// In this slot of the wheel.
    Slot(u16),
    /// In the sorted part of the current tick.
    Near,
    /// In the heap of the current tick.
    Late,
    /// In this common queue.
    Queue(u16),
}

struct Entry {
    rank: Rank,
    /// In the slot's or queue's list; in a free entry, the next free one.
    next: u32,
    /// In the slot's or queue's list.
    prev: u32,
    key: u32,
    place: Place,
}

// Two to a cache line: the wheel's cost with many timers is the lines it touches.
const _: () = assert!(size_of::<Entry>() == 32);

/// All entries. Indices given to its methods are of entries in use, except where it says otherwise.
pub(super) struct Slab {
    entries: Vec<Entry>,
    free: u32,
    len: usize,
}

impl Slab {
    pub(super) const fn new() -> Self {
        Slab { entries: Vec::new(), free: NIL, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// The next entry will be had without asking for memory.
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> Result<(), TryReserveError> {
        if self.free != NIL {
            return Ok(());
        }
        let rows = self.entries.len() + 1;
        reserve_table(&mut self.entries, rows)
    }

    /// A new entry, in no place yet: the caller links it.
    #[inline(always)]
    pub(super) fn insert(&mut self, rank: Rank, key: u32) -> u32 {
        self.len += 1;
        let entry = Entry { rank, next: NIL, prev: NIL, key, place: Place::Free };
        if self.free != NIL {
            let index = self.free;
            let slot = &mut self.entries[index as usize];
            self.free = slot.next;
            *slot = entry;
            return index;
        }
        let index = self.entries.len();
        assert!(index < NIL as usize, "2^32 - 1 timers are armed; no number is left for another");
        self.entries.push(entry);
        index as u32
    }

    /// Another rank for an entry.
    #[inline]
    pub(super) fn renew(&mut self, index: u32, rank: Rank, key: u32) {
        let entry = &mut self.entries[index as usize];
        (entry.rank, entry.key) = (rank, key);
    }

    /// Frees an entry that is in no list any more, and tells where it was.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) -> Place {
        let entry = &mut self.entries[index as usize];
        let place = core::mem::replace(&mut entry.place, Place::Free);
        entry.rank.seq = 0;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
        place
    }

    /// Where an entry is; any number may be asked for.
    #[inline]
    pub(super) fn place(&self, index: u32) -> Place {
        self.entries.get(index as usize).map_or(Place::Free, |entry| entry.place)
    }

    #[inline]
    pub(super) fn set_place(&mut self, index: u32, place: Place) {
        self.entries[index as usize].place = place;
    }

    #[inline]
    pub(super) fn rank(&self, index: u32) -> Rank {
        self.entries[index as usize].rank
    }

    #[inline]
    pub(super) fn key(&self, index: u32) -> u32 {
        self.entries[index as usize].key
    }

    #[inline]
    pub(super) fn next(&self, index: u32) -> u32 {
        self.entries[index as usize].next
    }

    /// Puts an entry before `head` (or [`NIL`]: an empty list), as the new head.
    #[inline(always)]
    pub(super) fn link_front(&mut self, index: u32, head: u32, place: Place) {
        let entry = &mut self.entries[index as usize];
        entry.prev = NIL;
        entry.next = head;
        entry.place = place;
        if head != NIL {
            self.entries[head as usize].prev = index;
        }
    }

    /// Puts an entry after `tail` (or [`NIL`]: an empty list), as the new tail.
    #[inline]
    pub(super) fn link_back(&mut self, index: u32, tail: u32, place: Place) {
        let entry = &mut self.entries[index as usize];
        entry.prev = tail;
        entry.next = NIL;
        entry.place = place;
        if tail != NIL {
            self.entries[tail as usize].next = index;
        }
    }

    /// Takes an entry out of its list: joins its neighbours, which come back (previous, next).
    #[inline]
    pub(super) fn unlink(&mut self, index: u32) -> (u32, u32) {
        let Entry { prev, next, .. } = self.entries[index as usize];
        if prev != NIL {
            self.entries[prev as usize].next = next;
        }
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        (prev, next)
    }

    /// Walks the free list and counts it.
    pub(super) fn verify(&self) -> usize {
        let mut free = 0;
        let mut index = self.free;
        while index != NIL {
            let entry = &self.entries[index as usize];
            assert_eq!((entry.place, entry.rank.seq), (Place::Free, 0), "entry {index} is on the free list");
            free += 1;
            assert!(free <= self.entries.len(), "the free list has a cycle");
            index = entry.next;
        }
        free
    }

    /// Walks a list that starts at `head`: each entry is in `place` and linked both ways. Gives the tail.
    pub(super) fn verify_list(&self, head: u32, place: Place, mut each: impl FnMut(Rank)) -> u32 {
        let (mut prev, mut index) = (NIL, head);
        while index != NIL {
            let entry = &self.entries[index as usize];
            assert_eq!(entry.place, place, "entry {index} is in the list of {place:?}");
            assert_eq!(entry.prev, prev, "entry {index} points back to its neighbour");
            each(entry.rank);
            (prev, index) = (index, entry.next);
        }
        prev
    }
}
