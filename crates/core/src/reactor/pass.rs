//! Handing out what is due, between two polls.

use super::Reactor;
use crate::event::{Active, INTERNAL, ONE_SHOT, PENDING, PERSIST, SIMPLE};
use crate::interest::Ready;
use crate::time::Instant;
use crate::timers::TimerId;

/// Where the handing out between two polls stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) state: State,
    /// The queue that is being handed out.
    pub(super) priority: u8,
    /// How many of it are left; 0 unless `Running`.
    pub(super) left: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Fresh,
    Running,
    Over,
}

impl Pass {
    pub(super) const FRESH: Pass = Pass { state: State::Fresh, priority: 0, left: 0 };
    pub(super) const OVER: Pass = Pass { state: State::Over, priority: 0, left: 0 };
}

/// Most callbacks between two polls (libevent's max_dispatch_callbacks).
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Callbacks; `u32::MAX` for no limit.
    pub max_callbacks: u32,
    /// Only queues of this priority and less urgent ones are cut short.
    pub from_priority: u8,
}

/// How due events are handed out. By default a pass over a queue is as long as the queue was when its turn came, and an
/// event exists until it is destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rules {
    /// A queue is handed out until it is empty: what a callback makes due in its own queue runs before the kernel is asked
    /// again (libevent's way; a callback that activates itself for ever starves I/O, unless a [`Budget`] ends the pass).
    /// What it makes due in a more urgent queue ends the pass: the kernel is asked first.
    pub until_empty: bool,
    /// An event that is handed out and not pending any more is forgotten before its callback, its slot and its id with it:
    /// for faces whose events live in their callers' memory, which may be gone without a word ([`Active::released`]).
    pub release_done: bool,
    /// Of the events of one descriptor the one that was added last is told first, as with libevent; else they are told in
    /// the order in which they were added. For events that are added from now on.
    pub newest_first: bool,
    /// Where an event that does not hold its descriptor open ([`EventSpec::owned`](crate::EventSpec::owned)) comes to a descriptor
    /// that the kernel knows, the kernel is told before the next wait and not at once: removing and adding costs nothing
    /// until then. A refusal is then told as an error of the descriptor.
    pub tells_late: bool,
    /// `tells_late`, and the face takes reports by [`Engine::next_lent`](crate::Engine::next_lent), and lends what is brief.
    pub lends: bool,
    /// What the last event of a descriptor has left may be closed at once: where that matters to the hands they let go of it then,
    /// and not with the next wait. For faces whose descriptors are their callers'.
    pub lets_go: bool,
}

impl Rules {
    /// libevent's way in everything, for its C face: events that are not pending any more are forgotten before their callbacks.
    pub const LIBEVENT: Rules = Rules {
        until_empty: true,
        release_done: true,
        newest_first: true,
        tells_late: true,
        lends: true,
        lets_go: true,
    };
}

impl Reactor {
    /// Sets how due events are handed out.
    pub fn set_rules(&mut self, rules: Rules) {
        self.settle();
        // By some rules promises are made with words, by others without.
        self.watches.none_plain();
        self.rules = rules;
        self.watches.newest_first = rules.newest_first;
        self.watches.tells_late = rules.tells_late;
    }

    /// A poll begins: the next `next_active` starts with the most urgent queue.
    #[inline]
    pub(crate) fn begin_pass(&mut self) {
        self.counters.activations += self.waiting.take_uncounted();
        self.pass = Pass::FRESH;
        self.told = 0;
    }

    /// The next due event, in libevent's order: the most urgent queue that is not empty, as long as it was when
    /// its turn came; a more urgent event that becomes due meanwhile goes first; less urgent ones wait
    /// until the kernel has been asked again. `None`: poll again. A callback that activates itself is
    /// called again after the next poll, so that it cannot starve I/O. `now` is asked only for what must be
    /// timed anew.
    #[inline(always)]
    pub(crate) fn next_active(&mut self, mut now: impl FnMut() -> Instant) -> Option<Active> {
        if self.is_waiting()
            && let Some(active) = self.next_straight(&mut now)
        {
            return Some(active);
        }
        if self.active.is_empty() {
            return None;
        }
        self.count_straight();
        let Pass { priority, left, .. } = self.pass;
        let goes_on =
            left > 0 && self.active.is_most_urgent(priority) && self.told < self.budget.max_callbacks;
        if !goes_on && !self.next_queue() {
            return None;
        }
        self.pass.left -= 1;
        let (index, event) = self.active.pop(&mut self.events, self.pass.priority)?;
        self.counters.activations += 1;
        let (ready, count) = (event.ready(), core::mem::take(&mut event.count));
        event.set_ready(Ready::NONE);
        let is_plain = event.state & (SIMPLE | PENDING) == SIMPLE | PENDING;
        // A timeout that has run out, mostly: nothing is left of the event.
        let is_done = !event.is(PERSIST | INTERNAL) && !event.has(PENDING);
        let id = self.events.id(index);
        let mut released = false;
        if is_plain {
            self.told += 1;
        } else if is_done && self.rules.release_done {
            self.told += 1;
            self.events.release(index);
            released = true;
        } else {
            released = self.follow_up(index, ready, now);
        }
        Some(Active { id, ready, count, released })
    }

    /// Chooses the queue to go on with; false when it is time to ask the kernel again.
    #[inline(never)]
    fn next_queue(&mut self) -> bool {
        let Some(top) = self.active.most_urgent() else { return false };
        let Pass { state, priority, left } = self.pass;
        let (priority, left) = match state {
            State::Over => return false,
            State::Running if priority == top && left > 0 => (priority, left),
            State::Running if priority == top && self.rules.until_empty => (top, self.active.queue_len(top)),
            // Its queue is done, and it told the program something: time to ask the kernel again.
            State::Running if (priority <= top || self.rules.until_empty) && self.told > 0 => {
                self.pass = Pass::OVER;
                return false;
            }
            _ => (top, self.active.queue_len(top)),
        };
        if self.told >= self.budget.max_callbacks && priority >= self.budget.from_priority {
            self.pass = Pass::OVER;
            return false;
        }
        self.pass = Pass { state: State::Running, priority, left };
        true
    }

    /// What handing out means for an event that is not simply persistent. True: it is gone, by the rules.
    #[inline(never)]
    fn follow_up(&mut self, index: u32, ready: Ready, now: impl FnMut() -> Instant) -> bool {
        let event = &mut self.events[index];
        if event.is(INTERNAL) {
            self.internal_active -= 1;
        } else {
            self.told += 1;
        }
        if !event.is(PERSIST) || event.is(ONE_SHOT) {
            if !event.timer.is_none() {
                self.timers.cancel(event.timer);
                event.timer = TimerId::NONE;
            }
            if event.has(PENDING) {
                self.unlink(index);
            }
        } else if event.period_ns.get() > 0 && ready - Ready::TIMEOUT != Ready::NONE {
            // Activity restarts the timeout; one that ran out was restarted when it did.
            self.restart(index, now);
        }
        let gone = self.rules.release_done && !self.events[index].has(PENDING);
        if gone {
            self.events.release(index);
        }
        gone
    }

    /// Cuts passes short; see [`Budget`].
    pub fn set_budget(&mut self, budget: Budget) {
        self.settle();
        self.budget = budget;
        self.may_go_straight = self.active.priorities() == 1 && budget.max_callbacks == u32::MAX;
        self.watches.none_plain();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventId, EventSpec, Interest, Source};
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn of_one_descriptor_the_newest_event_is_told_first_if_the_rules_say_so() {
        for newest_first in [false, true] {
            let mut reactor = Reactor::new(Instant::ZERO, 1);
            reactor.set_rules(Rules { newest_first, ..Rules::default() });
            let spec = EventSpec { source: Source::Fd(5), interest: Interest::READ, ..EventSpec::new() };
            let ids: Vec<EventId> = (0..3).map(|_| reactor.create(&spec).unwrap()).collect();
            let add = |reactor: &mut Reactor, id: EventId| {
                let index = reactor.find(id).unwrap();
                reactor.attach(index).unwrap();
                reactor.verify();
            };
            ids.iter().for_each(|id| add(&mut reactor, *id));
            let told = |reactor: &Reactor| reactor.on_descriptor(5).collect::<Vec<_>>();
            let (first, last) = if newest_first { (2, 0) } else { (0, 2) };
            assert_eq!(told(&reactor), vec![ids[first], ids[1], ids[last]]);
            // Added anew it is the newest.
            reactor.del(ids[1]);
            reactor.verify();
            add(&mut reactor, ids[1]);
            let again = if newest_first { [1, 2, 0] } else { [0, 2, 1] };
            assert_eq!(told(&reactor), again.map(|which| ids[which]));
        }
    }
}
