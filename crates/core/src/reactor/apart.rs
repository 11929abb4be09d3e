//! For faces whose events live apart from the loop, in their callers' memory: an event exists here only while it is pending or
//! due, and its caller may change its mind about everything.

use super::{Reactor, Timeout};
use crate::backend::RawFd;
use crate::event::{ACTIVE, COMMON, EventId, INTERNAL, NONE, ON_FD, ON_SIGNAL, PENDING};
use crate::interest::Ready;
use crate::time::Instant;

impl Reactor {
    /// Gone for good, but the kernel is told only before the next wait: for an event that does not hold its descriptor open
    /// (what comes for it until then resolves to nothing). An event that comes to the descriptor meanwhile takes over what
    /// the kernel knows (`watch`, rule (c)). False where the id is stale.
    #[inline(always)]
    pub fn release(&mut self, id: EventId) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        let event = &self.events[index];
        if event.is(ON_FD | ON_SIGNAL | INTERNAL) || event.has(ACTIVE) {
            self.disentangle(index);
        } else {
            // Pending for its timer, or not at all.
            self.pending -= usize::from(event.has(PENDING));
            self.timers.cancel(event.timer);
        }
        self.events.release(index);
        true
    }

    #[inline(never)]
    fn disentangle(&mut self, index: u32) {
        self.unschedule(index);
        if self.events[index].has(ACTIVE) {
            self.deactivate(index);
        }
        self.unlink(index);
    }

    /// [`super::Rules::lets_go`].
    pub(crate) fn lets_go(&self) -> bool {
        self.rules.lets_go
    }

    /// The descriptor that the last removal has left without an event, if the kernel knows it; once.
    pub(crate) fn take_left(&mut self) -> Option<RawFd> {
        self.watches.take_left()
    }

    /// Takes an event's timeout from it, also one that has run out and is not told yet. False where the id is stale.
    pub fn remove_timer(&mut self, id: EventId) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        self.schedule(index, Timeout::Never, Instant::ZERO);
        true
    }

    /// Makes a periodic event due as if its timeout had run out now: it keeps its schedule, but for the time that is left out.
    /// False where there is no such timeout, or the id is stale.
    pub fn time_out(&mut self, id: EventId) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        let event = &self.events[index];
        let (timer, period_ns) = (event.timer, event.period_ns.get());
        let Some(deadline) = self.timers.deadline(timer).filter(|_| period_ns > 0 && !event.has(COMMON))
        else {
            return false;
        };
        self.timers.cancel(timer);
        self.events[index].timer = self.timers.arm(deadline.saturating_add_nanos(period_ns), index);
        self.make_active(index, Ready::TIMEOUT);
        true
    }

    /// Moves an event that is not due to another queue. False where it is due, or the id is stale.
    pub fn set_priority(&mut self, id: EventId, priority: u8) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        let free = !self.events[index].has(ACTIVE) && usize::from(priority) < self.active.priorities();
        if free {
            self.events[index].priority = priority;
        }
        free
    }

    /// Has 1 to 256 priorities from now on; false where something is due. Events keep theirs.
    pub fn set_priorities(&mut self, priorities: u16) -> bool {
        self.settle();
        let free = self.active.is_empty();
        if free {
            self.active.set_priorities(priorities);
            self.set_budget(self.budget);
        }
        free
    }

    /// Why an event is due; empty where it is not.
    pub fn due(&mut self, id: EventId) -> Ready {
        self.settle();
        self.events.resolve(id).map_or(Ready::NONE, |index| self.events[index].ready())
    }

    /// The pending events of a descriptor, in the order in which they are told.
    pub fn on_descriptor(&self, fd: RawFd) -> impl Iterator<Item = EventId> {
        let listed = |at: u32| (at != NONE).then_some(at);
        let first = listed(self.watches.head(fd));
        let slots = core::iter::successors(first, move |at| listed(self.events[*at].next));
        slots.map(|at| self.events.id(at))
    }

    /// Every event that exists.
    pub fn ids(&self) -> impl Iterator<Item = EventId> {
        self.events.iter().map(|(index, _)| self.events.id(index))
    }
}
