//! Timers: nanosecond deadlines, given back in exact order.
//!
//! Exact means: by deadline, and among equal deadlines by order of arming, whatever the granularity of
//! the structure inside and however late the caller comes. Four parts hold the armed timers:
//!
//! - `wheel`: deadlines after the current tick (a tick is 2^20 ns, about 1 ms). Eight levels of 64 slots,
//!   each slot an unordered list. A timer moves down at most once a level, so arming and cancelling are
//!   O(1) and firing is O(1) moves and a share of one small sort.
//! - `tick`: deadlines in the current tick or before it, sorted.
//! - `common`: one queue for each duration that many timers share; in order by construction.
//! - `slab`: the timers themselves, 32 bytes each; the other three hold indices into it.
//!
//! Time comes in as an argument. Nothing is allocated once the structures have grown to the largest number
//! of timers armed at once. A caller's call order in one turn: `next_deadline`, sleep, then `pop_due` with
//! one reading of the clock until it gives `None`.
//!
//! What it costs elsewhere: moving a crowded slot down is one walk over its timers, so a hundred thousand
//! timeouts that lie within the same 70 s are touched together when that slot's time comes. Timeouts of one
//! duration belong into a common queue, where nothing ever moves.

mod common;
mod slab;
mod tick;
mod wheel;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use crate::time::Instant;
use alloc::collections::TryReserveError;
use common::Common;
use core::fmt;
use slab::{NIL, Place, Rank, Slab};
use tick::{From, Tick};
use wheel::{Wheel, tick_of};

/// Names one armed timer until it is popped or cancelled; afterwards the number may name another timer, so
/// the owner forgets it then (and stores [`TimerId::NONE`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimerId(u32);

impl TimerId {
    /// No timer: what an owner stores while nothing is armed.
    pub const NONE: TimerId = TimerId(NIL);

    /// Whether this is [`TimerId::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == NIL
    }
}

/// Names the queue of one duration within the [`Timers`] that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommonTimeout(u16);

/// All armed timers of one loop.
pub struct Timers {
    slab: Slab,
    wheel: Wheel,
    /// Everything here is due before everything in `wheel`.
    tick: Tick,
    common: Common,
    /// Of the timer armed last. 64 bits do not run out.
    seq: u64,
}

impl Timers {
    /// No timers; `now` is where the wheel starts. Takes 20 KiB.
    pub fn new(now: Instant) -> Self {
        Timers {
            slab: Slab::new(),
            wheel: Wheel::new(tick_of(now.as_nanos())),
            tick: Tick::new(),
            common: Common::new(),
            seq: 0,
        }
    }

    /// Room for one more timer, wherever it goes. An error: there is no memory.
    #[inline(always)]
    pub fn make_room(&mut self) -> Result<(), TryReserveError> {
        self.slab.make_room()?;
        self.tick.make_room()
    }

    /// Arms a timer. `key` is the owner's own number and comes back from [`Timers::pop_due`]. A deadline in
    /// the past is due at once, in its place among the others. O(1); O(log n) in the number of such timers
    /// where the deadline is in the current millisecond or past.
    ///
    /// # Panics
    /// With 2^32 - 1 timers armed, which take 128 GiB.
    #[inline(always)]
    pub fn arm(&mut self, deadline: Instant, key: u32) -> TimerId {
        let rank = self.next_rank(deadline);
        let index = self.slab.insert(rank, key);
        if !self.wheel.insert(&mut self.slab, index, rank.deadline) {
            self.tick.insert(&mut self.slab, index);
        }
        TimerId(index)
    }

    /// `cancel` and `arm` in one: the timer's new name. As [`Timers::arm`] where `id` names none.
    ///
    /// # Panics
    /// As [`Timers::arm`].
    #[inline]
    pub fn rearm(&mut self, id: TimerId, deadline: Instant, key: u32) -> TimerId {
        let rank = self.next_rank(deadline);
        if let Place::Slot(at) = self.slab.place(id.0)
            && self.wheel.stays(at, rank.deadline)
        {
            self.slab.renew(id.0, rank, key);
            return id;
        }
        let index = self.renewed(id, rank, key);
        if !self.wheel.insert(&mut self.slab, index, rank.deadline) {
            self.tick.insert(&mut self.slab, index);
        }
        TimerId(index)
    }

    /// An entry of that rank in no place yet: the timer's, if it was in one that it can leave without a trace.
    fn renewed(&mut self, id: TimerId, rank: Rank, key: u32) -> u32 {
        match self.slab.place(id.0) {
            Place::Slot(at) => self.wheel.remove(&mut self.slab, at, id.0),
            Place::Queue(queue) => self.common.remove(&mut self.slab, queue, id.0),
            Place::Free | Place::Near | Place::Late => {
                self.cancel(id);
                return self.slab.insert(rank, key);
            }
        }
        self.slab.renew(id.0, rank, key);
        id.0
    }

    /// The queue for timers that all run `duration_ns` nanoseconds: found, or made. `None` when 256 other
    /// durations have one; then [`Timers::arm`] does as well. O(queues): ask once and keep the answer.
    pub fn common(&mut self, duration_ns: u64) -> Option<CommonTimeout> {
        self.common.find_or_make(duration_ns).map(CommonTimeout)
    }

    /// The duration of a queue, in nanoseconds; `None` where these timers have no such queue.
    pub fn common_duration_ns(&self, queue: CommonTimeout) -> Option<u64> {
        self.common.duration_ns(queue.0)
    }

    /// Arms a timer `queue`'s duration after `now`. O(1) and nothing moves later, as long as `now` does not
    /// step back from one call to the next; where it does, the timer is armed on the wheel and still exact.
    /// [`TimerId::NONE`], and nothing armed, where these timers have no such queue.
    ///
    /// # Panics
    /// As [`Timers::arm`].
    #[inline(always)]
    pub fn arm_common(&mut self, queue: CommonTimeout, now: Instant, key: u32) -> TimerId {
        let Some(duration_ns) = self.common.duration_ns(queue.0) else { return TimerId::NONE };
        let rank = self.next_rank(now.saturating_add_nanos(duration_ns));
        let index = self.slab.insert(rank, key);
        self.place_common(queue, index, rank);
        TimerId(index)
    }

    /// `cancel` and `arm_common` in one. Where these timers have no such queue nothing is armed any more.
    ///
    /// # Panics
    /// As [`Timers::arm`].
    pub fn rearm_common(&mut self, id: TimerId, queue: CommonTimeout, now: Instant, key: u32) -> TimerId {
        let Some(duration_ns) = self.common.duration_ns(queue.0) else {
            self.cancel(id);
            return TimerId::NONE;
        };
        let rank = self.next_rank(now.saturating_add_nanos(duration_ns));
        let index = self.renewed(id, rank, key);
        self.place_common(queue, index, rank);
        TimerId(index)
    }

    #[inline(always)]
    fn place_common(&mut self, queue: CommonTimeout, index: u32, rank: Rank) {
        if self.common.takes(&self.slab, queue.0, rank.deadline) {
            self.common.append(&mut self.slab, queue.0, index);
        } else {
            self.place(index, rank);
        }
    }

    #[inline(never)]
    fn place(&mut self, index: u32, rank: Rank) {
        if !self.wheel.insert(&mut self.slab, index, rank.deadline) {
            self.tick.insert(&mut self.slab, index);
        }
    }

    /// Disarms a timer. O(1). Without effect for [`TimerId::NONE`] and where nothing is armed under that
    /// number; but a number kept after its timer was popped or cancelled may name another timer by now.
    #[inline(always)]
    pub fn cancel(&mut self, id: TimerId) {
        match self.slab.place(id.0) {
            Place::Free => return,
            Place::Slot(slot) => self.wheel.remove(&mut self.slab, slot, id.0),
            Place::Queue(queue) => self.common.remove(&mut self.slab, queue, id.0),
            Place::Near | Place::Late => return self.cancel_soon(id),
        }
        self.slab.remove(id.0);
    }

    /// The same for one of the current tick.
    #[inline(never)]
    fn cancel_soon(&mut self, id: TimerId) {
        let place = self.slab.remove(id.0);
        self.tick.forget(&self.slab, place);
    }

    /// When that timer is due; `None` where it is not armed.
    pub fn deadline(&self, id: TimerId) -> Option<Instant> {
        match self.slab.place(id.0) {
            Place::Free => None,
            _ => Some(Instant::from_nanos(self.slab.rank(id.0).deadline)),
        }
    }

    /// When to wake up: never later than the earliest deadline, `None` when nothing is armed. Exact, unless
    /// the earliest timer of a stretch of time was cancelled: then its deadline may be told instead. Popping
    /// at that time sets this right, so it costs one early wake-up, not one each turn. O(1).
    pub fn next_deadline(&mut self) -> Option<Instant> {
        let own = match self.tick.first(&self.slab) {
            Some((rank, _)) => Some(rank.deadline),
            None => self.wheel.min_deadline(),
        };
        let common = self.common.first();
        let common = (common != Rank::NEVER).then_some(common.deadline);
        own.into_iter().chain(common).min().map(Instant::from_nanos)
    }

    /// Takes out the earliest timer if its deadline is `now` or before: its deadline and its key. Call until
    /// `None`. Timers may be armed and cancelled in between; a deadline earlier than the one just popped
    /// comes next. O(1) amortised over the timers that it gives, plus a sort of each tick's timers; empty
    /// stretches of time cost nothing, so `now` may jump.
    #[inline(always)]
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        let now = now.as_nanos();
        // Mostly there is nothing but what the wheel gave up, or what was armed for a moment ago.
        let popped = if !self.common.is_unused() {
            self.pop_earliest(now)
        } else if self.tick.is_only_near() {
            self.tick.pop_near(now)
        } else if self.tick.is_only_run() {
            self.tick.pop_run(now)
        } else {
            self.pop_earliest(now)
        };
        let (deadline, index) = popped?;
        let key = self.slab.key(index);
        self.slab.remove(index);
        Some((Instant::from_nanos(deadline), key))
    }

    #[inline(never)]
    fn pop_earliest(&mut self, now: u64) -> Option<(u64, u32)> {
        let mut own = Rank::NEVER;
        let mut from = From::Near;
        if self.tick.is_empty() && self.wheel.cursor() < tick_of(now) {
            self.tick.refill(|near| self.wheel.advance(&mut self.slab, tick_of(now), near));
        }
        if !self.tick.is_empty()
            && let Some(first) = self.tick.first(&self.slab)
        {
            (own, from) = first;
        }
        let common = self.common.first();
        if common < own {
            return (common.deadline <= now).then(|| (common.deadline, self.common.pop(&mut self.slab)));
        }
        if own.deadline > now || own == Rank::NEVER {
            return None;
        }
        Some((own.deadline, self.tick.pop(from)?))
    }

    /// Keys of the timers that come next, as far as it is known without a search; at most `most`.
    pub(crate) fn upcoming(&self, most: usize) -> impl Iterator<Item = u32> {
        self.tick.upcoming(most).map(|index| self.slab.key(index))
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Walks every structure and asserts its invariants, for tests and debug builds. O(everything).
    ///
    /// # Panics
    /// Where one does not hold: a bug in this module.
    pub fn verify(&self) {
        let free = self.slab.verify();
        let placed = self.wheel.verify(&self.slab)
            + self.tick.verify(&self.slab, self.wheel.cursor())
            + self.common.verify(&self.slab);
        assert_eq!(placed, self.len(), "every armed timer is in exactly one place");
        assert_eq!(free + placed, self.slab.capacity(), "no entry is lost");
    }

    fn next_rank(&mut self, deadline: Instant) -> Rank {
        self.seq += 1;
        Rank { deadline: deadline.as_nanos(), seq: self.seq }
    }

    /// Records of cancelled timers that still take memory.
    #[cfg(test)]
    fn garbage(&self) -> usize {
        self.tick.dead()
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("len", &self.len()).field("cursor", &self.wheel.cursor()).finish()
    }
}
