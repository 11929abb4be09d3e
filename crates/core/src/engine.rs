//! Joins a brain to a pair of hands: the turn's first three steps, and additions that fail at once.
//!
//! ```text
//! engine.poll(limit)                  prepare: merged changes go out, the timeout is worked out
//!                                     wait: one system call
//!                                     collect: ids become active, stale reports fall out
//! while let Some(active) = engine.next_active() { face.call(active) }     dispatch: the face's
//! ```

use crate::backend::{Backend, Clock, Errno, RawFd};
use crate::event::{Active, EventId, EventSpec};
use crate::interest::{Interest, Ready, Trigger};
use crate::reactor::{Budget, Counters, Reactor, Refused, Timeout};
use crate::time::Instant;
use crate::timers::Timers;
use alloc::boxed::Box;

mod apart;

/// A brain, a pair of hands and a clock.
pub struct Engine<B: Backend + ?Sized, C: Clock> {
    reactor: Reactor,
    clock: C,
    /// Read at most once a turn: a clock costs 24 ns, a turn has many callbacks.
    turn_now: Option<Instant>,
    /// Asked once: it does not change.
    edge: bool,
    exact_edges: bool,
    peer_closed: bool,
    exclusive: bool,
    /// [`crate::Rules::lets_go`], and it matters to the hands.
    lets_go: bool,
    backend: Box<B>,
}

impl<B: Backend + ?Sized, C: Clock> Engine<B, C> {
    /// Joins them; `priorities` is cut to 1 to 256.
    pub fn new(backend: Box<B>, clock: C, priorities: u16) -> Self {
        let features = backend.features();
        let mut reactor = Reactor::new(clock.now(), priorities);
        reactor.exact_edges = features.exact_edges;
        Engine {
            reactor,
            clock,
            turn_now: None,
            edge: features.edge,
            exact_edges: features.exact_edges,
            peer_closed: features.peer_closed,
            exclusive: features.exclusive,
            lets_go: false,
            backend,
        }
    }

    /// See [`Reactor::number_from`].
    pub fn number_from(&mut self, seed: u32) {
        self.reactor.number_from(seed);
    }

    /// Makes an event known, not yet pending. Edge and one-shot fall back to what the backend has, which
    /// tells a superset; an event that asks for nothing but PEER_CLOSED or URGENT is refused where that is never told.
    pub fn create(&mut self, mut spec: EventSpec) -> Result<EventId, Refused> {
        if spec.trigger == Trigger::Edge && !self.edge {
            spec.trigger = Trigger::Level;
        }
        spec.exclusive &= self.exclusive;
        spec.interest = self.can_tell(spec.interest)?;
        self.reactor.create(&spec)
    }

    /// What of it the backend tells. What is nothing but what it never tells is refused.
    fn can_tell(&self, interest: Interest) -> Result<Interest, Refused> {
        let told = if self.exact_edges { interest } else { interest - Interest::URGENT };
        if told == Interest::PEER_CLOSED && !self.peer_closed {
            return Err(Refused::Unsupported("PEER_CLOSED"));
        }
        if told.is_empty() && !interest.is_empty() {
            return Err(Refused::Unsupported("URGENT"));
        }
        Ok(told)
    }

    /// Makes an event pending. What the kernel refuses is told here, and the event is then as it was.
    #[inline]
    pub fn add(&mut self, id: EventId, timeout: Timeout) -> Result<(), Refused> {
        let index = self.reactor.find(id).ok_or(Refused::NoSuchEvent)?;
        if timeout != Timeout::Keep {
            self.reactor.make_room_for_timer()?;
        }
        if self.reactor.is_to_attach(index) && !self.reactor.reattach(index) {
            self.attach(index)?;
        }
        if timeout != Timeout::Keep {
            let now = self.now();
            self.reactor.schedule(index, timeout, now);
        }
        Ok(())
    }

    #[inline(never)]
    fn attach(&mut self, index: u32) -> Result<(), Refused> {
        if let Some(change) = self.reactor.attach(index)? {
            self.reactor.counters.changes += 1;
            if let Err(errno) = self.backend.apply(change) {
                self.reactor.refuse(index, change);
                return Err(Refused::Kernel(errno));
            }
            self.look_what_holds();
        }
        Ok(())
    }

    /// Neither pending nor active; may be added again. The kernel is told before the next wait. False where
    /// it was neither.
    #[inline]
    pub fn del(&mut self, id: EventId) -> bool {
        self.reactor.del(id)
    }

    /// See [`Reactor::watch_by_levels`].
    pub fn watch_by_levels(&mut self, id: EventId) -> bool {
        self.reactor.watch_by_levels(id)
    }

    /// Gone for good. The kernel is told at once, so the descriptor may be closed after. False where stale.
    pub fn destroy(&mut self, id: EventId) -> bool {
        let Some(change) = self.reactor.destroy(id) else { return false };
        if let Some(change) = change {
            self.reactor.counters.changes += 1;
            // A removal fails only where there is nothing to remove.
            let _ = self.backend.apply(change);
        }
        true
    }

    /// Replaces what the event asks of its descriptor, from the next poll on.
    pub fn set_interest(&mut self, id: EventId, interest: Interest) -> Result<(), Refused> {
        let interest = self.can_tell(interest)?;
        self.reactor.set_interest(id, interest)
    }

    /// [`crate::Features::exact_edges`] of the backend.
    pub fn has_exact_edges(&self) -> bool {
        self.exact_edges
    }

    /// See [`Reactor::adopt`].
    pub fn adopt(&mut self, id: EventId, fd: RawFd, interest: Interest) -> Result<(), Refused> {
        let interest = self.can_tell(interest)?;
        self.reactor.adopt(id, fd, interest)
    }

    /// Makes an event due by the program's own will; READ, WRITE and so on are told as given, nothing is told
    /// as USER. False where the id is stale.
    pub fn activate(&mut self, id: EventId, ready: Ready) -> bool {
        self.reactor.activate(id, ready)
    }

    /// A signal has arrived `count` times.
    pub fn deliver_signal(&mut self, signo: i32, count: u32) {
        self.reactor.deliver_signal(signo, count);
    }

    /// Tells the kernel what has been put off: part of `poll`, and needed before the loop's own descriptor
    /// is watched by another loop.
    #[inline]
    pub fn flush(&mut self) {
        self.reactor.settle();
        if self.reactor.has_changes() {
            self.apply_changes();
        }
    }

    #[inline(never)]
    fn apply_changes(&mut self) {
        while let Some(change) = self.reactor.next_change() {
            self.reactor.counters.changes += 1;
            if let Err(errno) = self.backend.apply(change) {
                self.reactor.change_failed(change, errno);
            }
        }
        self.look_what_holds();
    }

    /// How long the loop may sleep, in nanoseconds: 0 if something is due, `None` for ever.
    pub fn sleep_ns(&mut self) -> Option<u64> {
        if self.reactor.has_active() {
            return Some(0);
        }
        let timers = self.reactor.timers();
        if timers.is_empty() {
            return None;
        }
        let deadline = timers.next_deadline()?;
        if deadline == Instant::MAX {
            return None;
        }
        Some(deadline.saturating_nanos_since(self.clock.now()))
    }

    /// One poll: changes out, one wait not longer than `limit_ns`, reports in, timers expired. Sleeps only if
    /// nothing is due.
    #[inline(always)]
    pub fn poll(&mut self, limit_ns: Option<u64>) -> Result<(), Errno> {
        let timeout_ns = self.prepare(limit_ns);
        self.backend.wait(timeout_ns, self.reactor.room_for_reports())?;
        self.reactor.collect();
        if !self.reactor.timers().is_empty() {
            self.expire();
        }
        Ok(())
    }

    /// All of a poll that comes before the wait; gives the wait's limit.
    #[inline(always)]
    fn prepare(&mut self, limit_ns: Option<u64>) -> Option<u64> {
        self.flush();
        if self.reactor.is_haunted() {
            self.exorcise();
        }
        let timeout_ns = if self.reactor.has_queued() {
            Some(0)
        } else if self.reactor.timers().is_empty() {
            limit_ns
        } else {
            self.until_next(limit_ns)
        };
        self.turn_now = None;
        self.reactor.begin_pass();
        self.reactor.counters.waits += 1;
        timeout_ns
    }

    #[inline(never)]
    fn expire(&mut self) {
        let now = self.now();
        self.reactor.expire(now);
    }

    /// The time to the earliest deadline, at most `limit_ns`.
    #[inline(never)]
    fn until_next(&mut self, limit_ns: Option<u64>) -> Option<u64> {
        match (self.sleep_ns(), limit_ns) {
            (Some(sleep), Some(limit)) => Some(sleep.min(limit)),
            (sleep, limit) => sleep.or(limit),
        }
    }

    /// Rids the kernel's side of stale registrations; see [`Reactor::is_haunted`].
    #[cold]
    fn exorcise(&mut self) {
        self.reactor.counters.rebuilds += 1;
        let _ = self.reinit();
    }

    /// The next due event, or `None` when it is time to poll again: see `Reactor::next_active`.
    #[inline(always)]
    pub fn next_active(&mut self) -> Option<Active> {
        let (turn_now, clock) = (&mut self.turn_now, &self.clock);
        // Only a timeout that starts anew needs the time.
        self.reactor.next_active(|| *turn_now.get_or_insert_with(|| clock.now()))
    }

    /// What `next_active` would give, where it is the only event of its descriptor and being told changes nothing
    /// about it: its slot ([`EventId::index`]) and why. In a few instructions; `None`: ask `next_active`.
    #[inline(always)]
    pub fn next_plain(&mut self) -> Option<(usize, Ready)> {
        self.reactor.next_plain().map(|(index, ready)| (index as usize, ready))
    }

    /// Whether `next_active` has something to give beside the reports that `next_plain` goes through.
    #[inline(always)]
    pub fn has_queued(&self) -> bool {
        self.reactor.has_queued()
    }

    /// Whether there is a report that `next_plain` has not given.
    #[inline(always)]
    pub fn has_reports(&self) -> bool {
        self.reactor.is_waiting()
    }

    /// Slots of events that are likely to come next, now and then, else none: to have the face's own rows near in time.
    #[inline]
    pub fn due_batch(&mut self) -> &[u32] {
        self.reactor.due_batch()
    }

    /// The id of the event in a slot, as long as it is not destroyed.
    pub fn id_at(&self, index: usize) -> EventId {
        self.reactor.id(index as u32)
    }

    /// The time of this turn: read from the clock at the first question after a poll.
    #[inline]
    pub fn now(&mut self) -> Instant {
        *self.turn_now.get_or_insert_with(|| self.clock.now())
    }

    /// Opens the kernel's side anew and tells it everything again: in the child after a fork.
    pub fn reinit(&mut self) -> Result<(), Errno> {
        self.backend.reinit()?;
        self.reactor.start_anew();
        self.flush();
        Ok(())
    }

    /// Cuts dispatch short; see [`Budget`].
    pub fn set_budget(&mut self, budget: Budget) {
        self.reactor.set_budget(budget);
    }

    /// The brain, to ask it.
    pub fn reactor(&self) -> &Reactor {
        &self.reactor
    }
    /// The hands.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }
    /// The clock.
    pub fn clock(&self) -> &C {
        &self.clock
    }
    /// The timers, for common timeouts.
    pub fn timers(&mut self) -> &mut Timers {
        self.reactor.timers()
    }
    /// What the loop has done so far.
    pub fn counters(&self) -> Counters {
        let counters = self.reactor.counters;
        Counters { activations: counters.activations + self.reactor.uncounted(), ..counters }
    }
    /// Whether the event waits for something.
    pub fn is_pending(&self, id: EventId) -> bool {
        self.reactor.is_pending(id)
    }
    /// Whether the event is due.
    pub fn is_active(&self, id: EventId) -> bool {
        self.reactor.is_active(id)
    }
    /// Whether the id still names an event.
    #[inline]
    pub fn exists(&self, id: EventId) -> bool {
        self.reactor.exists(id)
    }
    /// Pending events of the program's own.
    pub fn pending_count(&self) -> usize {
        self.reactor.pending_count()
    }
    /// Walks every structure and asserts its invariants.
    pub fn verify(&self) {
        self.reactor.verify();
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
