//! The hierarchical wheel: every timer whose tick is after the cursor's.
//!
//! A tick is a deadline without its low 20 bits. Written in digits of 6 bits, a timer is on the level of the
//! highest digit in which its tick differs from the cursor's, in the slot of that digit. From that follow
//! (a) a level's occupied slots are all after the cursor's digit, so nothing wraps around and the lowest set
//!     bit is the earliest slot;
//! (b) everything on a level is due before everything on the next, so the earliest slot of all is the lowest
//!     bit of the lowest occupied level;
//! (c) the cursor may move freely up to the start of that slot: no timer's place changes by it.
//!
//! Eight levels hold all 44 bits of a tick: the full range of deadlines, "for ever" included, is on the wheel.

use super::slab::{NIL, Place, Rank, Slab};
use super::tick::Record;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// 2^20 ns, about 1 ms: short enough that few timers share a tick, long enough that most move down twice.
const TICK_BITS: u32 = 20;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// A slot's timers are in so many lists, by their index. Moving a slot down follows all of them in turn, so that
/// the processor waits for several cache misses at once instead of one after the other: with a million timers
/// in memory far apart, those waits are most of the cost of firing.
const LANES: usize = 8;
const LEVELS: usize = (u64::BITS - TICK_BITS).div_ceil(DIGIT_BITS) as usize;

const _: () = assert!(LEVELS.is_power_of_two());

/// The tick that a time in nanoseconds is in.
pub(super) const fn tick_of(nanos: u64) -> u64 {
    nanos >> TICK_BITS
}

#[derive(Clone, Copy)]
struct Slot {
    /// Not after any deadline in the slot. Equal to the earliest unless that one was cancelled: finding the
    /// next one then means a walk, which a server that re-arms its oldest timeout each turn would pay each
    /// turn. It is put right when the slot is entered. `u64::MAX` in an empty slot.
    min_deadline: u64,
    heads: [u32; LANES],
}

impl Slot {
    const EMPTY: Slot = Slot { min_deadline: u64::MAX, heads: [NIL; LANES] };

    fn is_empty(&self) -> bool {
        self.heads == Slot::EMPTY.heads
    }
}

fn lane_of(index: u32) -> usize {
    index as usize % LANES
}

pub(super) struct Wheel {
    /// A tick. Every timer on the wheel is in a later one.
    cursor: u64,
    /// Bit `l`: level `l` has an occupied slot.
    levels: u64,
    /// Bit `s` of `occupied[l]`: slot `s` of level `l` has timers.
    occupied: [u64; LEVELS],
    slots: Box<[Slot; LEVELS * SLOTS]>,
}

impl Wheel {
    pub(super) fn new(cursor: u64) -> Self {
        let slots = Box::new([Slot::EMPTY; LEVELS * SLOTS]);
        Wheel { cursor, levels: 0, occupied: [0; LEVELS], slots }
    }

    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Puts an entry where its deadline belongs. False, and nothing done, if its tick is not after the cursor.
    #[inline(always)]
    pub(super) fn insert(&mut self, slab: &mut Slab, index: u32, deadline: u64) -> bool {
        let Some((level, digit)) = self.level_and_digit(tick_of(deadline)) else { return false };
        self.levels |= 1 << level;
        self.occupied[level] |= 1 << digit;
        let at = level * SLOTS + digit;
        let slot = &mut self.slots[at];
        slot.min_deadline = slot.min_deadline.min(deadline);
        let head = &mut slot.heads[lane_of(index)];
        slab.link_front(index, *head, Place::Slot(at as u16));
        *head = index;
        true
    }

    /// Whether an entry of slot `at` may stay in it with that deadline; then the slot knows of it.
    #[inline]
    pub(super) fn stays(&mut self, at: u16, deadline: u64) -> bool {
        let at = usize::from(at);
        let stays = self.level_and_digit(tick_of(deadline)) == Some((at / SLOTS, at % SLOTS));
        if stays {
            self.slots[at].min_deadline = self.slots[at].min_deadline.min(deadline);
        }
        stays
    }

    /// Takes an entry out of slot `at`, which is where it is.
    #[inline]
    pub(super) fn remove(&mut self, slab: &mut Slab, at: u16, index: u32) {
        let at = usize::from(at);
        let (prev, next) = slab.unlink(index);
        if prev == NIL {
            self.slots[at].heads[lane_of(index)] = next;
            if self.slots[at].is_empty() {
                self.slots[at] = Slot::EMPTY;
                self.mark_empty(at);
            }
        }
    }

    /// The earliest deadline, or one before it (see [`Slot::min_deadline`]).
    pub(super) fn min_deadline(&self) -> Option<u64> {
        self.first_slot().map(|(at, _)| self.slots[at].min_deadline)
    }

    /// Moves the cursor forward to tick `to`, or only to the first tick before it that has timers; these are
    /// then taken out into `near`, unsorted. Costs a move for each timer of the slots entered; the empty ones
    /// are stepped over.
    pub(super) fn advance(&mut self, slab: &mut Slab, to: u64, near: &mut Vec<Record>) {
        while near.is_empty() {
            match self.first_slot() {
                Some((at, start)) if start <= to => self.enter(slab, at, start, near),
                _ => {
                    // A clock that stepped back must not take the cursor with it: (c) holds only forward.
                    self.cursor = self.cursor.max(to);
                    return;
                }
            }
        }
    }

    /// Moves the cursor to the start of slot `at` and the slot's timers down, or into `near`.
    fn enter(&mut self, slab: &mut Slab, at: usize, start: u64, near: &mut Vec<Record>) {
        let mut lanes = core::mem::replace(&mut self.slots[at], Slot::EMPTY).heads;
        self.mark_empty(at);
        self.cursor = start;
        while lanes != Slot::EMPTY.heads {
            for lane in &mut lanes {
                if *lane != NIL {
                    *lane = self.move_down(slab, *lane, near);
                }
            }
        }
    }

    /// Moves one entry of the slot just entered, and gives the one after it.
    fn move_down(&mut self, slab: &mut Slab, index: u32, near: &mut Vec<Record>) -> u32 {
        let (next, rank) = (slab.next(index), slab.rank(index));
        if !self.insert(slab, index, rank.deadline) {
            slab.set_place(index, Place::Near);
            near.push(Record { rank, index });
        }
        next
    }

    /// The earliest occupied slot and the tick at which it starts: (a), (b).
    fn first_slot(&self) -> Option<(usize, u64)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let digit = self.occupied[level as usize].trailing_zeros();
        let above = DIGIT_BITS * (level + 1);
        let start = self.cursor >> above << above | u64::from(digit) << (DIGIT_BITS * level);
        Some((level as usize * SLOTS + digit as usize, start))
    }

    /// Where a tick belongs; `None` where it is not after the cursor.
    #[inline(always)]
    fn level_and_digit(&self, tick: u64) -> Option<(usize, usize)> {
        if tick <= self.cursor {
            return None;
        }
        // A tick has 44 bits: the mask takes nothing away, and spares the checks of what is looked up with it.
        let level = ((tick ^ self.cursor).ilog2() / DIGIT_BITS) & (LEVELS as u32 - 1);
        let digit = tick >> (DIGIT_BITS * level) & (SLOTS as u64 - 1);
        Some((level as usize, digit as usize))
    }

    fn mark_empty(&mut self, at: usize) {
        let level = at / SLOTS;
        self.occupied[level] &= !(1 << (at % SLOTS));
        if self.occupied[level] == 0 {
            self.levels &= !(1 << level);
        }
    }

    /// Asserts the invariants and counts the timers.
    pub(super) fn verify(&self, slab: &Slab) -> usize {
        let mut count = 0;
        for (at, slot) in self.slots.iter().enumerate() {
            let occupied = self.occupied[at / SLOTS] >> (at % SLOTS) & 1 == 1;
            assert_eq!(occupied, !slot.is_empty(), "slot {at}'s bit tells whether it has timers");
            assert!(occupied || slot.min_deadline == u64::MAX, "slot {at} is empty");
            for head in slot.heads {
                slab.verify_list(head, Place::Slot(at as u16), |rank: Rank| {
                    let belongs = self.level_and_digit(tick_of(rank.deadline));
                    assert_eq!(belongs, Some((at / SLOTS, at % SLOTS)), "{rank:?} is in its slot");
                    assert!(slot.min_deadline <= rank.deadline, "slot {at}'s minimum is not after {rank:?}");
                    count += 1;
                });
            }
        }
        for (level, bits) in self.occupied.iter().enumerate() {
            assert_eq!(
                self.levels >> level & 1 == 1,
                *bits != 0,
                "level {level}'s bit tells whether it is in use"
            );
        }
        count
    }
}
