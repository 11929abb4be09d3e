//! The current tick: timers due in the cursor's tick or before it, in exact order.
//!
//! `near` is what the wheel gave up when it entered the tick, sorted once. Timers armed after that, into this
//! tick or into the past, go to the queue `run` as long as they come in order, as those of one duration do, and
//! to the heap `late` where they do not; the earliest of the three heads is next. Cancelling leaves the
//! record behind (its number in the order no longer matches the entry's), because finding it would be a
//! search; when the dead outnumber the living they are swept out, so that arming and cancelling a short timer
//! a million times within one tick takes no memory.

use super::slab::{Place, Rank, Slab};
use super::wheel::tick_of;
use alloc::collections::{BinaryHeap, TryReserveError, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// So many dead records are left lying without a sweep, which is a walk.
const SWEEP_FROM: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Record {
    pub rank: Rank,
    pub index: u32,
}

impl Record {
    fn is_live(&self, slab: &Slab) -> bool {
        slab.rank(self.index).seq == self.rank.seq
    }
}

pub(super) struct Tick {
    /// Latest first, so that the next one is popped from the end.
    near: Vec<Record>,
    near_dead: usize,
    /// Earliest first.
    run: VecDeque<Record>,
    late: BinaryHeap<Reverse<Record>>,
    /// Of `run` and `late`.
    late_dead: usize,
}

/// Where the earliest timer is.
#[derive(Clone, Copy)]
pub(super) enum From {
    Near,
    Run,
    Late,
}

impl Tick {
    pub(super) const fn new() -> Self {
        Tick { near: Vec::new(), near_dead: 0, run: VecDeque::new(), late: BinaryHeap::new(), late_dead: 0 }
    }

    /// Whether no live timer is here.
    pub(super) fn is_empty(&self) -> bool {
        self.near.len() + self.run.len() + self.late.len() == self.dead()
    }

    /// Records of cancelled timers.
    pub(super) fn dead(&self) -> usize {
        self.near_dead + self.late_dead
    }

    /// Lets `fill` put the next tick's timers into an emptied `near`, and sorts them. Only while
    /// [`Tick::is_empty`].
    pub(super) fn refill(&mut self, fill: impl FnOnce(&mut Vec<Record>)) {
        self.near.clear();
        self.run.clear();
        self.late.clear();
        (self.near_dead, self.late_dead) = (0, 0);
        fill(&mut self.near);
        self.near.sort_unstable_by_key(|record| Reverse(record.rank));
    }

    /// The next [`Tick::insert`] asks for no memory.
    #[inline(always)]
    pub(super) fn make_room(&mut self) -> Result<(), TryReserveError> {
        if self.late.len() < self.late.capacity() && self.run.len() < self.run.capacity() {
            return Ok(());
        }
        self.grow()
    }

    #[cold]
    fn grow(&mut self) -> Result<(), TryReserveError> {
        self.run.try_reserve(1)?;
        self.late.try_reserve(1)
    }

    #[inline(never)]
    pub(super) fn insert(&mut self, slab: &mut Slab, index: u32) {
        slab.set_place(index, Place::Late);
        let record = Record { rank: slab.rank(index), index };
        if self.run.back().is_none_or(|last| last.rank < record.rank) {
            self.run.push_back(record);
        } else {
            self.late.push(Reverse(record));
        }
    }

    /// The earliest timer. Drops the dead records before it.
    pub(super) fn first(&mut self, slab: &Slab) -> Option<(Rank, From)> {
        if self.near_dead + self.late_dead > 0 {
            self.drop_dead(slab);
        }
        let mut first = self.near.last().map(|record| (record.rank, From::Near));
        let run = self.run.front().map(|record| (record.rank, From::Run));
        let late = self.late.peek().map(|Reverse(record)| (record.rank, From::Late));
        for other in [run, late].into_iter().flatten() {
            if first.is_none_or(|(rank, _)| other.0 < rank) {
                first = Some(other);
            }
        }
        first
    }

    /// The dead among the heads go.
    #[inline(never)]
    fn drop_dead(&mut self, slab: &Slab) {
        while self.near_dead > 0 && self.near.pop_if(|record| !record.is_live(slab)).is_some() {
            self.near_dead -= 1;
        }
        while self.late_dead > 0 && self.run.pop_front_if(|record| !record.is_live(slab)).is_some() {
            self.late_dead -= 1;
        }
        while self.late_dead > 0 && self.late.peek().is_some_and(|Reverse(record)| !record.is_live(slab)) {
            self.late.pop();
            self.late_dead -= 1;
        }
    }

    /// Takes the record out that is first where [`Tick::first`] has said. The caller frees its entry.
    pub(super) fn pop(&mut self, from: From) -> Option<u32> {
        let record = match from {
            From::Near => self.near.pop(),
            From::Run => self.run.pop_front(),
            From::Late => self.late.pop().map(|Reverse(record)| record),
        };
        record.map(|record| record.index)
    }

    /// Whether there is something, and all of it in `near`, and none of it is dead.
    #[inline]
    pub(super) fn is_only_near(&self) -> bool {
        !self.near.is_empty() && self.run.len() | self.late.len() | self.near_dead == 0
    }

    /// As `pop`, where [`Tick::is_only_near`], if it is due: deadline and entry.
    pub(super) fn pop_near(&mut self, now: u64) -> Option<(u64, u32)> {
        let record = self.near.pop_if(|record| record.rank.deadline <= now)?;
        Some((record.rank.deadline, record.index))
    }

    /// Whether there is something, and all of it in `run`, and none of it is dead.
    #[inline]
    pub(super) fn is_only_run(&self) -> bool {
        !self.run.is_empty() && self.near.len() | self.late.len() | self.late_dead == 0
    }

    /// As `pop`, where [`Tick::is_only_run`], if it is due: deadline and entry.
    #[inline]
    pub(super) fn pop_run(&mut self, now: u64) -> Option<(u64, u32)> {
        let record = self.run.pop_front_if(|record| record.rank.deadline <= now)?;
        Some((record.rank.deadline, record.index))
    }

    /// The last `most` of `near`, the dead among them; the next one first.
    pub(super) fn upcoming(&self, most: usize) -> impl Iterator<Item = u32> {
        self.near.iter().rev().take(most).map(|record| record.index)
    }

    /// Called after a cancelled timer's entry was freed, with the place where it was.
    pub(super) fn forget(&mut self, slab: &Slab, place: Place) {
        match place {
            Place::Near => {
                self.near_dead += 1;
                if self.near_dead > SWEEP_FROM + self.near.len() / 2 {
                    self.near.retain(|record| record.is_live(slab));
                    self.near_dead = 0;
                }
            }
            Place::Late => {
                self.late_dead += 1;
                if self.late_dead > SWEEP_FROM + (self.run.len() + self.late.len()) / 2 {
                    self.run.retain(|record| record.is_live(slab));
                    self.late.retain(|Reverse(record)| record.is_live(slab));
                    self.late_dead = 0;
                }
            }
            Place::Free | Place::Slot(_) | Place::Queue(_) => {}
        }
    }

    /// Asserts the invariants and counts the live timers.
    pub(super) fn verify(&self, slab: &Slab, cursor: u64) -> usize {
        assert!(self.near.is_sorted_by(|a, b| a.rank > b.rank), "near is sorted, latest first");
        let in_order = |(a, b): (&Record, &Record)| a.rank < b.rank;
        assert!(self.run.iter().zip(self.run.iter().skip(1)).all(in_order), "run is in order");
        let near = self.near.iter().filter(|record| verify_record(slab, record, Place::Near, cursor)).count();
        let late = self.late.iter().map(|Reverse(record)| record).chain(&self.run);
        let late = late.filter(|record| verify_record(slab, record, Place::Late, cursor)).count();
        assert_eq!(near + self.near_dead, self.near.len(), "near's dead are counted");
        let (run, heap) = (self.run.len(), self.late.len());
        assert_eq!(late + self.late_dead, run + heap, "late's dead are counted");
        near + late
    }
}

fn verify_record(slab: &Slab, record: &Record, place: Place, cursor: u64) -> bool {
    let live = record.is_live(slab);
    if live {
        assert_eq!((slab.rank(record.index), slab.place(record.index)), (record.rank, place));
        assert!(tick_of(record.rank.deadline) <= cursor, "{record:?} is not after the cursor's tick");
    }
    live
}
