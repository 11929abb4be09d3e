//! For faces whose events live apart from the loop, in their callers' memory, and whose other threads come to the engine while
//! it waits: giving up without a system call, lending, and a poll in halves.

use super::Engine;
use crate::backend::{Backend, Change, Clock, RawFd, Report};
#[cfg(doc)]
use crate::event::Active;
use crate::event::EventId;
use crate::interest::Ready;
#[cfg(doc)]
use crate::reactor::Reactor;
use crate::reactor::{Refused, Rules, Timeout};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl<B: Backend + ?Sized, C: Clock> Engine<B, C> {
    /// Gone for good; see [`Reactor::release`]: no system call now, unless the hands hold the file ([`Rules::lets_go`]).
    #[inline]
    pub fn release(&mut self, id: EventId) -> bool {
        let was = self.reactor.release(id);
        self.let_go();
        was
    }

    /// Where an event that was handed out has left its descriptor ([`Active::released`]), that may be closed by its callback:
    /// [`Rules::lets_go`]. Nothing to do after `release`.
    #[inline]
    pub fn let_go(&mut self) {
        if self.lets_go {
            self.let_go_now();
        }
    }

    #[cold]
    fn let_go_now(&mut self) {
        if let Some(fd) = self.reactor.take_left() {
            self.backend.let_go(fd);
        }
    }

    /// `create` of an event that waits for time only, and `add` with that timeout, in one.
    #[inline(always)]
    pub fn create_timer(
        &mut self,
        persist: bool,
        priority: u8,
        timeout: Timeout,
    ) -> Result<EventId, Refused> {
        let now = self.now();
        self.reactor.create_timer(persist, priority, timeout, now)
    }

    /// `add` for an event that waits for time only.
    #[inline(always)]
    pub fn set_timer(&mut self, id: EventId, timeout: Timeout) -> Result<(), Refused> {
        let now = self.now();
        if self.reactor.restart_timer(id, timeout, now) { Ok(()) } else { self.add(id, timeout) }
    }

    /// See [`Reactor::remove_timer`].
    pub fn remove_timer(&mut self, id: EventId) -> bool {
        self.reactor.remove_timer(id)
    }

    /// See [`Reactor::time_out`].
    pub fn time_out(&mut self, id: EventId) -> bool {
        self.reactor.time_out(id)
    }

    /// See [`Reactor::set_priority`].
    pub fn set_priority(&mut self, id: EventId, priority: u8) -> bool {
        self.reactor.set_priority(id, priority)
    }

    /// See [`Reactor::set_priorities`].
    pub fn set_priorities(&mut self, priorities: u16) -> bool {
        self.reactor.set_priorities(priorities)
    }

    /// See [`Reactor::set_rules`].
    pub fn set_rules(&mut self, rules: Rules) {
        self.reactor.set_rules(rules);
        self.look_what_holds();
    }

    /// After changes: [`Backend::holds_files`].
    #[inline]
    pub(super) fn look_what_holds(&mut self) {
        self.lets_go = self.reactor.lets_go() && self.backend.holds_files();
    }

    /// See [`Reactor::due`].
    pub fn due(&mut self, id: EventId) -> Ready {
        self.reactor.due(id)
    }

    /// The next question for the time asks the clock again.
    pub fn forget_now(&mut self) {
        self.turn_now = None;
    }

    /// What the face said itself, in `next_lent`, of the events that the waiting reports are for and of these reasons: all it needs
    /// for their callbacks; beside it which report is the first of them. A word whose lowest bit is set tells nothing: ask
    /// `next_word`.
    ///
    /// Before each callback the face says `handed_out`, and goes on only if `is_next` says after it that this is still the next
    /// report: else the callback has changed something, and `next_active` knows what is due. The list itself stays where
    /// it is, and as it is, until the next wait.
    #[inline(always)]
    pub fn known_words(&self) -> (usize, &[u64]) {
        self.reactor.known_words()
    }

    /// See `known_words`: the reports before `next` have been handed out.
    #[inline(always)]
    pub fn handed_out(&mut self, next: usize) {
        self.reactor.handed_out(next);
    }

    /// See `known_words`.
    #[inline(always)]
    pub fn is_next(&self, next: usize) -> bool {
        self.reactor.is_next(next)
    }

    /// The next report's word, of any event, also of one that is to be lent. `None`: ask `next_lent`.
    #[inline(always)]
    pub fn next_word(&mut self) -> Option<u64> {
        self.reactor.next_word()
    }

    /// After `next_word`, for a face that lends ([`Rules::lends`]): what `next_active` would give for the first time, and
    /// events that wait once. Those the face gives to `lend` before their callbacks. `None`: ask `next_active`.
    ///
    /// `word` says what `next_word` is to give from now on when the event in this slot is told just this, and is asked
    /// again after any change to the event. Its lowest bit says whether the event is to be lent. `None`: it always
    /// comes this way.
    #[inline(always)]
    pub fn next_lent(&mut self, word: impl Fn(usize, Ready) -> Option<u64>) -> Option<(usize, Ready)> {
        let (turn_now, clock) = (&mut self.turn_now, &self.clock);
        let now = || *turn_now.get_or_insert_with(|| clock.now());
        let next = self.reactor.next_lent(now, |index, ready| word(index as usize, ready));
        next.map(|(index, ready)| (index as usize, ready))
    }

    /// The event that `next_lent` gave for `fd` waits once, and is about to be called back: see the module `reactor::lent`. It
    /// is kept if the callback adds it again as it was (then that is all there is to do), else it is to be released.
    #[inline(always)]
    pub fn lend(&mut self, fd: RawFd) {
        self.reactor.lend(fd);
        if self.lets_go {
            self.backend.let_go(fd);
        }
    }

    /// What is lent is added again with a timeout: its own was disarmed. NoMemory: then it is as it was.
    pub fn time_lent(&mut self, id: EventId, timeout: Timeout) -> Result<(), Refused> {
        let now = self.now();
        self.reactor.time_lent(id.index() as u32, timeout, now)
    }

    /// `poll` in halves, for a face that lets other threads at the engine while one of them waits: the limit for
    /// [`Backend::wait`], and where to put the reports. The face takes the hands out meanwhile (`swap_backend`).
    pub fn begin_wait(&mut self, limit_ns: Option<u64>) -> (Option<u64>, Vec<Report>) {
        let timeout_ns = self.prepare(limit_ns);
        (timeout_ns, core::mem::take(self.reactor.room_for_reports()))
    }

    /// The other half. `disturbed`: the engine was used meanwhile, so that reports may be stale without anything being wrong.
    pub fn end_wait(&mut self, reports: Vec<Report>, disturbed: bool) {
        self.turn_now = None;
        *self.reactor.room_for_reports() = reports;
        self.reactor.collect();
        if disturbed {
            self.reactor.excuse_stale();
        }
        if !self.reactor.timers().is_empty() {
            self.expire();
        }
    }

    /// Has the hands let go of what others have removed meanwhile.
    pub fn let_go_late(&mut self, fd: RawFd) {
        self.backend.let_go(fd);
    }

    /// Tells the hands what others kept for them meanwhile; a refusal is then told to the descriptor's events.
    pub fn apply_late(&mut self, change: Change) {
        if let Err(errno) = self.backend.apply(change) {
            self.reactor.settle();
            self.reactor.change_failed(change, errno);
        }
    }

    /// Puts other hands in the place of the present ones.
    pub fn swap_backend(&mut self, other: Box<B>) -> Box<B> {
        core::mem::replace(&mut self.backend, other)
    }
}
