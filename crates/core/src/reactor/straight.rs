//! Reports that go straight to their callbacks.
//!
//! By rule every report of a wait first makes its events active, in a queue, and the queue is then handed out. With
//! one priority and an empty queue that is a detour: the reports, in their order, *are* the queue. So they
//! stay where the backend put them, and each is turned into a due event when its turn comes. Whatever could tell the
//! difference calls `settle` first, which takes the detour for all that are left:
//!
//! - everything that changes an event, a descriptor's list or the queue: add, remove, activate, a signal, a timeout;
//! - a report that is not the usual one: stale, trouble, several events on its descriptor, an event
//!   that being handed out changes (not persistent, one-shot) by more than a timeout that starts anew, an edge of hands that may tell
//!   it twice in one wait ([`crate::Features::exact_edges`]): it is told once.
//!
//! Whatever only looks (`is_active`, `active_count`) counts the waiting reports in.

use super::Reactor;
use super::pass::{Pass, State};
use super::words::Words;
use crate::backend::Report;
use crate::event::{Active, EDGE, NONE, PERSIST, SIMPLE};
use crate::interest::{Interest, Ready};
use crate::time::Instant;
use crate::timers::TimerId;
use crate::watch::Watches;
use alloc::vec::Vec;

const TROUBLE: Ready = Ready::HANGUP.with(Ready::ERROR).with(Ready::INVALID);

/// The reports of the last wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) reports: Vec<Report>,
    /// Those before it have been handed out or settled.
    pub(super) next: usize,
    /// Those before it are in the pass and the counters: brought up to `next` once, not with each report.
    counted: usize,
    /// What is known of each before its turn: [`super::words`].
    pub(super) words: Words,
}

impl Waiting {
    /// Reports handed out straight that are not in the counters yet.
    #[inline]
    fn uncounted(&self) -> u64 {
        (self.next - self.counted) as u64
    }

    /// The same; from now on they are counted.
    #[inline]
    pub(super) fn take_uncounted(&mut self) -> u64 {
        let uncounted = self.uncounted();
        self.counted = self.next;
        uncounted
    }
}

/// What a report tells an event that asks for `interest`; nothing where it is not concerned.
#[inline]
pub(super) fn told(report: &Report, interest: Interest) -> Ready {
    const ALL: Ready = Ready::READ.with(Ready::WRITE).with(Ready::PEER_CLOSED);
    let trouble = report.ready & TROUBLE;
    let ready = if trouble.is_empty() { report.ready } else { ALL };
    let hit = ready & interest.as_ready();
    if hit.is_empty() { Ready::NONE } else { hit | trouble }
}

impl Reactor {
    /// Where the backend is to put its reports. Those before have been settled.
    #[inline]
    pub(crate) fn room_for_reports(&mut self) -> &mut Vec<Report> {
        debug_assert_eq!((self.waiting.next, self.uncounted()), (self.waiting.reports.len(), 0));
        (self.waiting.next, self.waiting.counted) = (0, 0);
        self.waiting.reports.clear();
        self.waiting.words.forget();
        &mut self.waiting.reports
    }

    /// Takes in what the wait brought.
    #[inline]
    pub(crate) fn collect(&mut self) {
        self.counters.reports += self.waiting.reports.len() as u64;
        let first = self.waiting.reports.first();
        if !self.active.is_empty() || first.is_none_or(|first| self.watches.plain_event(first).is_none()) {
            self.settle_unless_usual();
        }
        if self.rules.lends {
            self.look_up_words();
        }
    }

    /// Settles what cannot go straight, and where the first report is not a usual one: so that something is due
    /// where `has_active` says so, and a wait that brought only stale reports is known as such at once.
    #[inline(never)]
    fn settle_unless_usual(&mut self) {
        let first = self.waiting.reports.first();
        let straight = self.may_go_straight && self.active.is_empty();
        if !straight || first.is_none_or(|first| self.usual(first).is_none()) {
            self.settle();
        }
    }

    /// The event and what it is told, where a report concerns one event and handing it out changes nothing about it.
    #[inline(never)]
    fn usual(&self, report: &Report) -> Option<(u32, Ready)> {
        let watched = self.watches.resolve(report.token)?;
        let event = self.events.get(watched.head)?;
        let known = event.has(SIMPLE) || event.is_periodic() || self.rules.lends && event.is_brief();
        let alone = event.next == NONE && known;
        if report.ready.intersects(TROUBLE) || !alone {
            return None;
        }
        if event.is(EDGE) && !self.exact_edges {
            return None;
        }
        let ready = report.ready & event.interest.as_ready();
        if ready.is_empty() {
            return None;
        }
        Some((watched.head, ready))
    }

    /// Makes active what the reports still waiting are for.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.waiting.next < self.waiting.reports.len() {
            self.settle_now();
        }
    }

    #[inline(never)]
    fn settle_now(&mut self) {
        self.count_straight();
        while let Some(&report) = self.waiting.reports.get(self.waiting.next) {
            self.waiting.next += 1;
            self.take_in(report);
        }
        self.waiting.counted = self.waiting.next;
        if matches!(self.pass.state, State::Running) {
            // The pass goes on with what is left of it, and with nothing that becomes due from now on.
            self.pass.left = self.active.queue_len(0);
        }
    }

    /// The next waiting report as a due event. `None` when none is waiting, or they had to be settled.
    #[inline]
    pub(super) fn next_straight(&mut self, now: impl FnMut() -> Instant) -> Option<Active> {
        let (index, ready) = match self.next_plain() {
            Some(plain) => plain,
            None => {
                let lends = self.rules.lends; // then promises are made with words only
                let promise = |watches: &mut Watches, report: &Report, _| {
                    if !lends {
                        watches.promise_plain(report);
                    }
                };
                self.next_usual(now, promise)?
            }
        };
        let id = self.events.id(index);
        let released = !self.events[index].is(PERSIST);
        if released {
            self.unlink(index);
            self.events.release(index);
        }
        Some(Active { id, ready, count: 0, released })
    }

    /// The next waiting report, where its descriptor's row alone says whose it is. The event is known to exist.
    #[inline(always)]
    pub(crate) fn next_plain(&mut self) -> Option<(u32, Ready)> {
        let report = self.waiting.reports.get(self.waiting.next)?;
        let index = self.watches.plain_event(report)?;
        self.waiting.next += 1;
        Some((index, report.ready))
    }

    /// As `next_plain` where the row promises nothing yet; whatever is not usual has all that wait settled. Where
    /// the row may promise from now on, `promise` says so.
    #[inline(never)]
    pub(super) fn next_usual(
        &mut self,
        now: impl FnMut() -> Instant,
        promise: impl Fn(&mut Watches, &Report, u32),
    ) -> Option<(u32, Ready)> {
        let report = *self.waiting.reports.get(self.waiting.next)?;
        let Some((index, ready)) = self.usual(&report) else {
            self.settle_now();
            return None;
        };
        self.waiting.next += 1;
        let event = &self.events[index];
        if event.is_periodic() {
            self.restart(index, now);
        } else if !event.is(PERSIST) && !event.timer.is_none() {
            self.timers.cancel(event.timer);
            self.events[index].timer = TimerId::NONE;
        } else if ready == report.ready {
            promise(&mut self.watches, &report, index);
        }
        Some((index, ready))
    }

    /// Reports handed out straight that are not in the counters yet.
    #[inline]
    pub(crate) fn uncounted(&self) -> u64 {
        self.waiting.uncounted()
    }

    /// Notes what has been handed out straight, before anything looks at the pass.
    #[inline]
    pub(super) fn count_straight(&mut self) {
        let handed_out = self.waiting.take_uncounted();
        if handed_out > 0 {
            self.told = self.told.saturating_add(handed_out as u32);
            self.counters.activations += handed_out;
            self.pass = Pass { state: State::Running, priority: 0, left: 0 };
        }
    }

    /// The events that the waiting reports will make active, an event once for each of its reports.
    pub(super) fn still_waiting(&self) -> impl Iterator<Item = u32> {
        let left = self.waiting.reports[self.waiting.next..].iter();
        left.filter_map(|report| Some((report, self.watches.resolve(report.token)?.head))).flat_map(
            move |(report, head)| {
                let listed = move |at: u32| (at != NONE).then_some(at);
                core::iter::successors(listed(head), move |at| listed(self.events[*at].next))
                    .filter(move |at| !told(report, self.events[*at].interest).is_empty())
            },
        )
    }

    /// How many events the waiting reports will make active.
    pub(super) fn waiting_count(&self) -> usize {
        let mut events: Vec<u32> = self.still_waiting().collect();
        events.sort_unstable();
        events.dedup();
        events.iter().filter(|at| !self.events[**at].is(crate::event::INTERNAL)).count()
    }

    /// How many reports are waiting.
    pub(super) fn reports_waiting(&self) -> usize {
        self.waiting.reports.len() - self.waiting.next
    }

    /// Whether reports are waiting.
    #[inline(always)]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.next < self.waiting.reports.len()
    }
}
