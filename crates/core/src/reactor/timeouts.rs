//! Timeouts: armed, taken back, run out, started anew.

use super::{Reactor, Refused, Timeout, note_pending};
use crate::event::{ACTIVE, COMMON, Event, EventId, EventSpec, INTERNAL, ON_FD, ON_SIGNAL, PENDING, PERSIST};
use crate::interest::Ready;
use crate::time::Instant;
use crate::timers::TimerId;

/// So many rows are touched at once; a processor has 10 to 16 line buffers.
const BATCH: usize = 16;

impl Reactor {
    /// Room for one more timer, so that [`Reactor::schedule`] cannot be refused.
    #[inline(always)]
    pub(crate) fn make_room_for_timer(&mut self) -> Result<(), Refused> {
        self.timers.make_room().map_err(|_| Refused::NoMemory)
    }

    /// `create` of what waits for time only, and its addition, in one: what the halves ask about a descriptor is known here.
    #[inline(always)]
    pub(crate) fn create_timer(
        &mut self,
        persist: bool,
        priority: u8,
        timeout: Timeout,
        now: Instant,
    ) -> Result<EventId, Refused> {
        self.settle();
        if usize::from(priority) >= self.active.priorities() {
            return Err(Refused::BadPriority(priority));
        }
        self.make_room_for_timer()?;
        let index = self.events.next_index().map_err(|_| Refused::NoMemory)?;
        if let Timeout::After(ns) = timeout {
            let timer = self.timers.arm(now.saturating_add_nanos(ns), index);
            return Ok(self.insert_timer(timer, persist, priority, ns));
        }
        Ok(self.create_other_timer(index, persist, priority, timeout, now))
    }

    /// In the slot that `next_index` gave: an event whose timer is armed.
    #[inline(always)]
    fn insert_timer(&mut self, timer: TimerId, persist: bool, priority: u8, period_ns: u64) -> EventId {
        self.pending += 1;
        let id = self.events.insert_next(Event::timer(timer, priority));
        if persist {
            self.events[id.index() as u32].make_periodic(period_ns);
        }
        id
    }

    /// The addition of an event with a timeout, where it waits once, for time only, and does already. False, and nothing done:
    /// the halves must look closer.
    #[inline(always)]
    pub(crate) fn restart_timer(&mut self, id: EventId, timeout: Timeout, now: Instant) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        let event = &self.events[index];
        if event.is(ON_FD | ON_SIGNAL | PERSIST | INTERNAL) || event.state & !COMMON != PENDING {
            return false;
        }
        if self.make_room_for_timer().is_err() {
            return false;
        }
        let event = &mut self.events[index];
        match timeout {
            Timeout::After(ns) => {
                event.state = PENDING;
                event.timer = self.timers.rearm(event.timer, now.saturating_add_nanos(ns), index);
            }
            Timeout::Common(queue) if self.timers.common_duration_ns(queue).is_some() => {
                event.state = PENDING | COMMON;
                event.timer = self.timers.rearm_common(event.timer, queue, now, index);
            }
            _ => return false,
        }
        true
    }

    #[inline(never)]
    fn create_other_timer(
        &mut self,
        index: u32,
        persist: bool,
        priority: u8,
        timeout: Timeout,
        now: Instant,
    ) -> EventId {
        if let Timeout::Common(queue) = timeout
            && let Some(ns) = self.timers.common_duration_ns(queue)
        {
            let timer = self.timers.arm_common(queue, now, index);
            let id = self.insert_timer(timer, persist, priority, ns);
            self.events[index].state |= COMMON;
            return id;
        }
        let id = self.events.insert_next(Event::new(&EventSpec { persist, priority, ..EventSpec::new() }));
        self.schedule(id.index() as u32, timeout, now);
        id
    }

    /// Second half of an addition: the timeout. O(1) but for a common timeout's first use.
    pub(crate) fn schedule(&mut self, index: u32, timeout: Timeout, now: Instant) {
        if self.events[index].has(ACTIVE) {
            self.take_due_back(index);
        }
        let event = &mut self.events[index];
        event.state &= !COMMON;
        let period_ns = match timeout {
            Timeout::After(ns) => {
                event.timer = self.timers.rearm(event.timer, now.saturating_add_nanos(ns), index);
                ns
            }
            Timeout::At(deadline) => {
                event.timer = self.timers.rearm(event.timer, deadline, index);
                0
            }
            Timeout::Common(queue) => {
                event.state |= COMMON;
                event.timer = self.timers.rearm_common(event.timer, queue, now, index);
                self.timers.common_duration_ns(queue).unwrap_or(0)
            }
            Timeout::Keep | Timeout::Never => {
                self.timers.cancel(event.timer);
                event.timer = TimerId::NONE;
                0
            }
        };
        // Another has none: it starts anew by being added.
        if event.is(PERSIST) {
            event.set_period(period_ns);
        }
        if event.is(ON_FD) {
            self.watches.not_plain(event.number);
        }
        note_pending(event, &mut self.pending);
    }

    /// Disarms the timer, and takes back a timeout that is due but not yet told: what is added anew must not
    /// time out for the old reason.
    #[inline]
    pub(super) fn unschedule(&mut self, index: u32) {
        let event = &self.events[index];
        if !event.timer.is_none() || event.has(ACTIVE) {
            self.take_timeout_back(index);
        }
    }

    #[inline(never)]
    fn take_timeout_back(&mut self, index: u32) {
        let event = &mut self.events[index];
        self.timers.cancel(event.timer);
        event.timer = TimerId::NONE;
        if event.has(ACTIVE) {
            self.take_due_back(index);
        }
    }

    /// The half of it for an event that is due.
    #[inline(never)]
    fn take_due_back(&mut self, index: u32) {
        let event = &mut self.events[index];
        if event.ready().intersects(Ready::TIMEOUT) {
            event.set_ready(event.ready() - Ready::TIMEOUT);
            if event.ready().is_empty() {
                self.deactivate(index);
            }
        }
    }

    /// Makes every event active whose deadline has come, in exact order.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.ahead.clear();
        while let Some((deadline, index)) = self.timers.pop_due(now) {
            self.settle();
            if self.ahead.len().is_multiple_of(BATCH) {
                self.events.touch(self.timers.upcoming(BATCH));
            }
            // For looking ahead only: without memory there is less of it.
            if self.ahead.try_reserve(1).is_ok() {
                self.ahead.push(index);
            }
            self.counters.timeouts += 1;
            let event = &mut self.events[index];
            event.timer = TimerId::NONE;
            let period_ns = event.period_ns.get();
            if period_ns == 0 {
                note_pending(event, &mut self.pending);
            } else {
                // From the scheduled time, so that a periodic timer does not drift; but never in the past,
                // or a loop that was held up would make up for every missed period at once.
                let mut next = deadline.saturating_add_nanos(period_ns);
                if next <= now {
                    next = now.saturating_add_nanos(period_ns);
                }
                self.rearm(index, period_ns, now, next);
            }
            self.make_active(index, Ready::TIMEOUT);
        }
        self.ahead.reverse();
    }

    /// Slots of events that are likely to be handed out next, once for every so many: a face with a table of its own beside
    /// them does well to touch their rows now, all at once. Touches the events.
    #[inline]
    pub(crate) fn due_batch(&mut self) -> &[u32] {
        let left = self.ahead.len();
        if self.ahead.pop().is_none() || !left.is_multiple_of(BATCH) {
            return &[];
        }
        let batch = &self.ahead[left.saturating_sub(BATCH)..];
        self.events.touch(batch.iter().copied());
        batch
    }

    /// The timeout of a periodic event starts anew.
    #[inline(never)]
    pub(super) fn restart(&mut self, index: u32, mut now: impl FnMut() -> Instant) {
        let (event, now) = (&mut self.events[index], now());
        let period_ns = event.period_ns.get();
        let common = if event.has(COMMON) { self.timers.common(period_ns) } else { None };
        event.timer = match common {
            Some(queue) => self.timers.rearm_common(event.timer, queue, now, index),
            None => self.timers.rearm(event.timer, now.saturating_add_nanos(period_ns), index),
        };
        note_pending(event, &mut self.pending);
    }

    #[inline(always)]
    pub(super) fn rearm(&mut self, index: u32, period_ns: u64, now: Instant, deadline: Instant) {
        let event = &mut self.events[index];
        let common = if event.has(COMMON) { self.timers.common(period_ns) } else { None };
        event.timer = match common {
            Some(queue) => self.timers.arm_common(queue, now, index),
            None => self.timers.arm(deadline, index),
        };
    }
}
