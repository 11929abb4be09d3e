//! The loop's decisions and nothing else: what is pending, what becomes active, what is due next.
//!
//! One turn, driven by [`crate::Engine`]: changes go out, reports come in by `collect`, due events leave by
//! `next_active`. Nothing is borrowed while a callback runs, so a callback may add, remove or stop anything.

use crate::active::ActiveQueues;
use crate::backend::{Change, Errno, RawFd, Report, Token};
use crate::event::{
    ACTIVE, EDGE, Event, EventId, EventSpec, INTERNAL, LISTED, NONE, ON_FD, ON_SIGNAL, OWNED, PENDING,
    SIMPLE, Source,
};
use crate::interest::{Interest, Ready};
use crate::signals::Signals;
use crate::slots::Slots;
use crate::time::Instant;
use crate::timers::{CommonTimeout, Timers};
use crate::watch::Watches;
use alloc::vec::Vec;
use pass::Pass;
pub use pass::{Budget, Rules};
use straight::Waiting;

mod apart;
mod lent;
mod pass;
mod straight;
mod timeouts;
mod words;

/// Why an event cannot be created or added, and whose fault it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The id is stale: the event was destroyed.
    NoSuchEvent,
    /// The descriptor's number is negative or absurd.
    BadDescriptor(RawFd),
    /// Signals are 1 to 64.
    BadSignal(i32),
    /// An event on a descriptor that asks for nothing.
    NoInterest,
    /// All events on one descriptor must be level, or edge, or one-shot: the kernel keeps one mode for each.
    MixedTriggers,
    /// An exclusive event cannot share its descriptor with another event of the same loop.
    NotAlone,
    /// The loop has fewer priorities than that.
    BadPriority(u8),
    /// The backend cannot tell this (named).
    Unsupported(&'static str),
    /// The kernel refused the descriptor.
    Kernel(Errno),
    /// A table cannot grow: there is no memory. Everything is as it was.
    NoMemory,
}

/// When an event is to time out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timeout {
    /// No change: none, or the one it has.
    Keep,
    /// None from now on.
    Never,
    /// So many nanoseconds from now; a persistent event's starts anew whenever it fires.
    After(u64),
    /// At a point in time, once.
    At(Instant),
    /// As `After` with the queue's duration, in O(1) however many share it. A persistent event's starts anew from
    /// the turn in which it ran out, not from the schedule, as a queue is in order of arming.
    Common(CommonTimeout),
}

/// What the loop has done since it was made. Plain additions, always on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Times the kernel was asked to wait.
    pub waits: u64,
    /// Changes told to the kernel.
    pub changes: u64,
    /// Reports that came back.
    pub reports: u64,
    /// Reports for registrations that no longer exist, or for what nobody asks for any more.
    pub stale_reports: u64,
    /// Descriptors found not to be open, or refused in a merged change.
    pub lost_descriptors: u64,
    /// Times the kernel's side was opened anew to be rid of stale registrations.
    pub rebuilds: u64,
    /// Due events handed out.
    pub activations: u64,
    /// Timeouts that ran out.
    pub timeouts: u64,
}

/// The brain of one loop.
#[derive(Debug)]
pub struct Reactor {
    events: Slots<Event>,
    watches: Watches,
    signals: Signals,
    timers: Timers,
    active: ActiveQueues,
    waiting: Waiting,
    pass: Pass,
    /// Callbacks of the program's own (not internal) handed out since the last poll.
    told: u32,
    /// Events whose timers ran out in this turn, from the last to the first: where memory will be needed, no more.
    ahead: Vec<u32>,
    budget: Budget,
    rules: Rules,
    /// One priority and no budget: see `straight`.
    may_go_straight: bool,
    /// The hands' [`crate::Features::exact_edges`].
    pub(crate) exact_edges: bool,
    pending: usize,
    internal_active: usize,
    /// There was a stale report since `is_haunted` was last asked, or in the wait before.
    suspicious: bool,
    /// Stale reports that `is_haunted` has not looked at yet.
    stale: u32,
    /// Waits in a row that brought some.
    stale_streak: u32,
    pub(crate) counters: Counters,
}

impl Reactor {
    /// A brain with 1 to 256 priorities.
    pub fn new(now: Instant, priorities: u16) -> Self {
        let active = ActiveQueues::new(priorities);
        Reactor {
            may_go_straight: active.priorities() == 1,
            exact_edges: false,
            events: Slots::new(),
            watches: Watches::new(),
            signals: Signals::new(),
            timers: Timers::new(now),
            active,
            waiting: Waiting::default(),
            pass: Pass::OVER,
            told: 0,
            ahead: Vec::new(),
            budget: Budget { max_callbacks: u32::MAX, from_priority: 0 },
            rules: Rules::default(),
            pending: 0,
            internal_active: 0,
            suspicious: false,
            stale: 0,
            stale_streak: 0,
            counters: Counters::default(),
        }
    }

    /// Has ids start elsewhere, so that an id of another loop names nothing here. To be called before the first event.
    pub fn number_from(&mut self, seed: u32) {
        self.events.number_from(seed);
    }

    /// Makes an event known, not yet pending. O(1).
    pub fn create(&mut self, spec: &EventSpec) -> Result<EventId, Refused> {
        if usize::from(spec.priority) >= self.active.priorities() {
            return Err(Refused::BadPriority(spec.priority));
        }
        if let Source::Signal(signo) = spec.source {
            Signals::check(signo)?;
        }
        self.events.insert(Event::new(spec)).map_err(|_| Refused::NoMemory)
    }

    /// An addition begins: the event's slot.
    #[inline]
    pub(crate) fn find(&mut self, id: EventId) -> Option<u32> {
        self.settle();
        self.events.resolve(id)
    }

    /// Whether the event waits for a descriptor or a signal, and is not in its list.
    #[inline]
    pub(crate) fn is_to_attach(&self, index: u32) -> bool {
        let event = &self.events[index];
        event.is(ON_FD | ON_SIGNAL) && !event.has(LISTED)
    }

    /// Links an event where that leaves nothing to tell the kernel. False, and nothing done: `attach` must look closer.
    #[inline(never)]
    pub(crate) fn reattach(&mut self, index: u32) -> bool {
        let done = self.watches.reattach(&mut self.events, index);
        if done {
            self.update_pending(index);
        }
        done
    }

    /// First half of an addition: links the event. `Some` change must be applied at once; where the kernel
    /// refuses it, `refuse` undoes the link.
    pub(crate) fn attach(&mut self, index: u32) -> Result<Option<Change>, Refused> {
        let mut change = None;
        if self.events[index].is(ON_FD) {
            change = self.watches.attach(&mut self.events, index)?;
        } else {
            self.signals.attach(&mut self.events, index);
        }
        self.update_pending(index);
        Ok(change)
    }

    /// The kernel has refused what `attach` asked.
    pub(crate) fn refuse(&mut self, index: u32, change: Change) {
        self.watches.detach(&mut self.events, index);
        self.update_pending(index);
        let fd = change.token().fd();
        self.watches.lost(fd);
        if matches!(change, Change::Modify { .. }) {
            self.activate_all_on(fd, Ready::ERROR);
        }
    }

    fn deactivate(&mut self, index: u32) {
        self.active.remove(&mut self.events, index);
        let event = &mut self.events[index];
        event.set_ready(Ready::NONE);
        event.count = 0;
        if event.is(INTERNAL) {
            self.internal_active -= 1;
        }
    }

    /// Neither pending nor active any more; may be added again. The kernel is told before the next wait.
    pub fn del(&mut self, id: EventId) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        let event = &self.events[index];
        let was = event.has(PENDING | ACTIVE);
        self.unschedule(index);
        // Else activity after a later `add` or `activate` would bring the removed timeout back.
        self.events[index].set_period(0);
        if self.events[index].has(ACTIVE) {
            self.deactivate(index);
        }
        self.unlink(index);
        was
    }

    fn unlink(&mut self, index: u32) {
        let event = &self.events[index];
        if event.has(LISTED) {
            if event.is(ON_FD) {
                self.watches.detach(&mut self.events, index);
            } else {
                self.signals.detach(&mut self.events, index);
            }
        }
        self.update_pending(index);
    }

    /// Gone for good; the id is stale from now on. `Some` change must reach the kernel before the descriptor
    /// is closed. `None` outside where the id was stale already.
    pub(crate) fn destroy(&mut self, id: EventId) -> Option<Option<Change>> {
        let index = self.events.resolve(id)?;
        self.del(id);
        let event = &self.events[index];
        let change = if event.is(ON_FD) && self.watches.knows(event.number) {
            self.watches.forget(event.number)
        } else {
            None
        };
        self.events.release(index);
        Some(change)
    }

    /// Replaces what an event asks of its descriptor; the kernel is told before the next wait.
    pub fn set_interest(&mut self, id: EventId, interest: Interest) -> Result<(), Refused> {
        self.settle();
        let index = self.events.resolve(id).ok_or(Refused::NoSuchEvent)?;
        if !self.events[index].is(ON_FD) || interest.is_empty() {
            return Err(Refused::NoInterest);
        }
        self.events[index].interest = interest;
        if self.events[index].has(LISTED) {
            self.watches.recompute(&self.events, self.events[index].number);
        }
        Ok(())
    }

    /// Gives an event that waits for nothing but time and the program a descriptor, once, which the loop holds open as long as
    /// the event exists ([`EventSpec::owned`]). It is not watched until the event is added again; a timeout that runs goes on.
    pub fn adopt(&mut self, id: EventId, fd: RawFd, interest: Interest) -> Result<(), Refused> {
        self.settle();
        let index = self.events.resolve(id).ok_or(Refused::NoSuchEvent)?;
        let event = &mut self.events[index];
        if fd < 0 || event.is(ON_FD | ON_SIGNAL) {
            return Err(Refused::BadDescriptor(fd));
        }
        event.number = fd;
        event.interest = interest;
        event.kind |= ON_FD | OWNED;
        Ok(())
    }

    /// Where an event is watched by edges, it is by levels as soon as it is added again; until then it is not pending, and
    /// its timeout is gone. False where it was not, and is as it was.
    pub fn watch_by_levels(&mut self, id: EventId) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id).filter(|index| self.events[*index].is(EDGE)) else {
            return false;
        };
        self.del(id);
        self.events[index].kind &= !EDGE;
        true
    }

    /// What an event asks of its descriptor.
    pub fn interest(&self, id: EventId) -> Option<Interest> {
        self.events.resolve(id).map(|index| self.events[index].interest)
    }

    #[inline]
    fn update_pending(&mut self, index: u32) {
        note_pending(&mut self.events[index], &mut self.pending);
    }

    /// Makes an event due by the program's own will, pending or not. False where the id is stale.
    pub fn activate(&mut self, id: EventId, ready: Ready) -> bool {
        self.settle();
        let Some(index) = self.events.resolve(id) else { return false };
        self.make_active(index, if ready.is_empty() { Ready::USER } else { ready });
        true
    }

    #[inline]
    fn make_active(&mut self, index: u32, ready: Ready) {
        let event = &mut self.events[index];
        event.set_ready(event.ready() | ready);
        if !event.has(ACTIVE) {
            if event.is(INTERNAL) {
                self.internal_active += 1;
            }
            self.active.push(&mut self.events, index);
        }
    }

    /// A signal arrived `count` times: everyone who waits for it is due.
    pub fn deliver_signal(&mut self, signo: i32, count: u32) {
        self.settle();
        let mut at = self.signals.head(signo);
        while at != NONE {
            let event = &mut self.events[at];
            event.count = event.count.saturating_add(u16::try_from(count).unwrap_or(u16::MAX));
            let next = event.next;
            self.make_active(at, Ready::SIGNAL);
            at = next;
        }
    }

    /// Whether there may be something to tell the kernel before waiting.
    #[inline]
    pub(crate) fn has_changes(&self) -> bool {
        self.watches.has_dirty()
    }

    /// The next merged change to tell the kernel before waiting.
    #[inline]
    pub(crate) fn next_change(&mut self) -> Option<Change> {
        self.watches.next_change()
    }

    /// A merged change was refused: whoever watches is told that the descriptor is in error, once.
    pub(crate) fn change_failed(&mut self, change: Change, errno: Errno) {
        const EBADF: i32 = 9;
        if matches!(change, Change::Remove { .. }) {
            return;
        }
        self.counters.lost_descriptors += 1;
        let fd = change.token().fd();
        self.watches.lost(fd);
        self.activate_all_on(fd, if errno.0 == EBADF { Ready::INVALID } else { Ready::ERROR });
    }

    fn activate_all_on(&mut self, fd: RawFd, why: Ready) {
        let mut at = self.watches.head(fd);
        while at != NONE {
            let next = self.events[at].next;
            let asked = self.events[at].interest.as_ready();
            self.make_active(at, asked | why);
            at = next;
        }
    }

    /// Makes active what one report is for; a stale one falls out.
    #[inline]
    fn take_in(&mut self, report: Report) {
        let Some(watched) = self.watches.resolve(report.token) else {
            return self.note_stale();
        };
        let mut at = watched.head;
        if report.ready.intersects(Ready::INVALID) {
            self.counters.lost_descriptors += 1;
            self.watches.lost(report.token.fd());
        } else if watched.is_one_shot() {
            self.watches.disarmed(report.token.fd());
        }
        let mut concerned = false;
        while at != NONE {
            let event = &self.events[at];
            let next = event.next;
            let ready = straight::told(&report, event.interest);
            if !ready.is_empty() {
                concerned = true;
                self.make_active(at, ready);
            }
            at = next;
        }
        // What nobody asks for comes from an older registration under the same token: the number was closed and
        // reopened, a duplicate keeps the old file alive, and the change of interest went to the new one.
        if !concerned {
            self.note_stale();
        }
    }

    #[cold]
    fn note_stale(&mut self) {
        self.counters.stale_reports += 1;
        self.stale = self.stale.saturating_add(1);
        self.suspicious = true;
    }

    /// The last wait's stale reports have an innocent reason.
    pub(crate) fn excuse_stale(&mut self) {
        self.settle();
        self.stale = 0;
    }

    /// After a wait that was reported in full: whether stale registrations keep waking us. Twice in a row
    /// cannot be a report that crossed a removal: a duplicate of a closed descriptor holds it alive.
    #[inline]
    pub(crate) fn is_haunted(&mut self) -> bool {
        self.suspicious && self.is_haunted_again()
    }

    #[cold]
    fn is_haunted_again(&mut self) -> bool {
        let streak = if core::mem::take(&mut self.stale) == 0 { 0 } else { self.stale_streak + 1 };
        self.stale_streak = streak % 2;
        self.suspicious = self.stale_streak > 0;
        streak == 2
    }

    /// Whether something is due.
    #[inline]
    pub fn has_active(&self) -> bool {
        !self.active.is_empty() || self.is_waiting()
    }

    /// How many events are due, if every report that waits is for one of its own. O(priorities).
    #[inline]
    pub fn due_at_most(&self) -> usize {
        if self.active.is_empty() {
            return self.reports_waiting();
        }
        self.active.len() - self.internal_active + self.reports_waiting()
    }

    /// Whether the queue has anything; reports that wait are not in it.
    #[inline(always)]
    pub(crate) fn has_queued(&self) -> bool {
        !self.active.is_empty()
    }

    /// Events of the program's own that are pending.
    pub fn pending_count(&self) -> usize {
        self.pending
    }

    /// Events of the program's own that are due.
    pub fn active_count(&self) -> usize {
        self.active.len() - self.internal_active + self.waiting_count()
    }

    /// Whether the event waits for something.
    pub fn is_pending(&self, id: EventId) -> bool {
        self.events.resolve(id).is_some_and(|index| self.events[index].has(PENDING))
    }

    /// Whether the event is due.
    pub fn is_active(&self, id: EventId) -> bool {
        self.events.resolve(id).is_some_and(|index| {
            self.events[index].has(ACTIVE) || self.still_waiting().any(|waiting| waiting == index)
        })
    }

    /// Whether the id still names an event.
    #[inline]
    pub fn exists(&self, id: EventId) -> bool {
        self.events.resolve(id).is_some()
    }

    /// The id of the present tenant of a slot, which an event was handed out from.
    pub(crate) fn id(&self, index: u32) -> EventId {
        self.events.id(index)
    }

    /// What the event waits on.
    pub fn source(&self, id: EventId) -> Option<Source> {
        let event = &self.events[self.events.resolve(id)?];
        Some(if event.is(ON_FD) {
            Source::Fd(event.number)
        } else if event.is(ON_SIGNAL) {
            Source::Signal(event.number)
        } else {
            Source::None
        })
    }

    /// The event's queue.
    pub fn priority(&self, id: EventId) -> Option<u8> {
        self.events.resolve(id).map(|index| self.events[index].priority)
    }

    /// Whether the event waits for its descriptor or signal (as opposed to for time only).
    pub fn is_listed(&self, id: EventId) -> bool {
        self.events.resolve(id).is_some_and(|index| self.events[index].has(LISTED))
    }

    /// Whether a timeout of the event's runs.
    #[inline]
    pub fn is_timed(&self, id: EventId) -> bool {
        self.events.resolve(id).is_some_and(|index| !self.events[index].timer.is_none())
    }

    /// When the event times out, if it does.
    pub fn deadline(&self, id: EventId) -> Option<Instant> {
        let index = self.events.resolve(id)?;
        self.timers.deadline(self.events[index].timer)
    }

    /// The timers, for common timeouts.
    pub fn timers(&mut self) -> &mut Timers {
        &mut self.timers
    }

    pub(crate) fn start_anew(&mut self) {
        self.settle();
        self.watches.start_anew();
        self.stale_streak = 0;
    }

    /// The token reports for `fd` carry now; for tests and diagnosis.
    pub fn token(&self, fd: RawFd) -> Option<Token> {
        self.watches.token(fd)
    }

    /// Walks every structure and asserts its invariants. O(everything): for tests, simulation, debug builds.
    pub fn verify(&self) {
        self.active.verify(&self.events);
        self.watches.verify(&self.events);
        self.timers.verify();
        self.verify_words();
        let (mut pending, mut armed) = (0, 0);
        for (_, event) in self.events.iter() {
            let timed = !event.timer.is_none();
            assert_eq!(event.has(PENDING), event.has(LISTED) || timed);
            pending += usize::from(event.has(PENDING) && !event.is(INTERNAL));
            armed += usize::from(timed);
            assert!(!timed || self.timers.deadline(event.timer).is_some());
            assert_eq!(event.has(SIMPLE), event.is_simple());
            assert!(event.has(ACTIVE) || event.ready().is_empty() && event.count == 0);
            assert!(!event.has(ACTIVE) || !event.ready().is_empty());
        }
        assert_eq!((self.pending, self.timers.len()), (pending, armed));
    }
}

/// Brings PENDING up to date after the event's list or timer has changed.
#[inline]
fn note_pending(event: &mut Event, pending: &mut usize) {
    let is_pending = event.has(LISTED) || !event.timer.is_none();
    if is_pending != event.has(PENDING) {
        event.state ^= PENDING;
        if !event.is(INTERNAL) {
            *pending = if is_pending { *pending + 1 } else { *pending - 1 };
        }
    }
}
