//! The loop: its turns, what they tell, and the quiet at the end.

use super::{MAX_EVENTS, Program};
use duolu_core::{Backend, Counters, Trigger};
use duolu_sim::errno;

impl Program {
    fn any_limit(&mut self) -> Option<u64> {
        match self.rng.below(4) {
            0 => Some(0),
            1 => Some(self.rng.below(1_000)),
            2 if self.model.next_deadline_ns().is_some_and(|at_ns| at_ns < u64::MAX) => None,
            _ => Some(self.rng.below(20_000_000)),
        }
    }

    pub(super) fn turn(&mut self) {
        let limit_ns = self.any_limit();
        if !self.clean && self.rng.chance(20) {
            self.sim.kernel().faults.fail_waits.push_back(errno::ENOMEM);
            assert_eq!(self.engine.poll(limit_ns), Err(errno::ENOMEM));
            note!(self, "poll fails");
            self.stale_streak = 0; // a turn without stale reports
            return self.taint_everything();
        }
        self.poll(limit_ns);
        let mut first = true;
        let mut reached = u8::MAX;
        loop {
            let most_urgent = self.most_urgent();
            let Some(active) = self.engine.next_active() else {
                assert!(!first || most_urgent.is_none(), "something is due and nothing is told after a poll");
                break;
            };
            first = false;
            self.check_told(&active, most_urgent);
            let priority = most_urgent.unwrap_or(u8::MAX);
            assert!(priority <= reached, "a less urgent queue before the kernel was asked again");
            reached = priority;
            for _ in 0..self.rng.below(3) {
                note!(self, "  inside the callback:");
                self.step();
            }
            self.verify();
            if self.rng.chance(30) {
                break; // loopbreak: the rest waits
            }
        }
    }

    fn most_urgent(&self) -> Option<u8> {
        let active = self.model.events.iter().filter(|event| self.engine.is_active(event.id));
        active.map(|event| event.spec.priority).min()
    }

    fn check_told(&mut self, active: &duolu_core::Active, most_urgent: Option<u8>) {
        note!(self, "told {active:?}");
        self.summary.told += 1;
        let priority = self.model.find(active.id).map(|event| event.spec.priority);
        assert_eq!(priority, most_urgent, "a more urgent event is due");
        let now_ns = self.engine.now().as_nanos();
        self.model.told(active, now_ns, self.lies);
    }

    fn poll(&mut self, limit_ns: Option<u64>) {
        self.summary.polls += 1;
        let start_ns = self.sim.kernel().now_ns();
        let was_active = self.most_urgent().is_some();
        let before = self.engine.counters();
        let refused_before = self.engine.backend().stats().refused;
        let deadline_ns = self.model.next_deadline_ns();
        self.engine.poll(limit_ns).expect("no fault was scripted");
        let now_ns = self.sim.kernel().now_ns();
        assert_eq!(self.engine.now().as_nanos(), now_ns, "the time of a turn is that after its wait");
        note!(self, "poll {limit_ns:?}: {start_ns} to {now_ns}, {:?}", self.engine.counters());
        self.check_stale(before);
        if self.engine.backend().stats().refused > refused_before {
            self.taint_refused();
        }
        self.model.polled(&self.sim.kernel());
        self.model.expire(now_ns);
        if self.clean {
            for id in self.model.must_be_active(&self.sim.kernel()) {
                assert!(self.engine.is_active(id), "not told: {:?}", self.model.find(id));
            }
            let excused = self.model.woke_for_cancelled(now_ns);
            let stale = self.engine.counters().stale_reports > before.stale_reports;
            let quiet = !excused && !stale && !was_active && self.most_urgent().is_none();
            let until_ns =
                limit_ns.map(|ns| start_ns.saturating_add(ns)).into_iter().chain(deadline_ns).min();
            let until_ns = until_ns.unwrap_or(u64::MAX);
            assert!(!quiet || now_ns >= until_ns, "woke at {now_ns} for nothing, {until_ns} was the time");
        }
        self.verify();
    }

    /// Leftovers of closed numbers wake the loop twice in a row at most before it gets rid of all there are;
    /// the program goes on making new ones. That it helps is seen in the end, by the loop's sleep.
    fn check_stale(&mut self, before: Counters) {
        let after = self.engine.counters();
        let stale = after.stale_reports > before.stale_reports;
        let rebuilt = after.rebuilds > before.rebuilds;
        // A poll rebuilds before it waits, so what it tells comes after.
        let streak = if rebuilt { 0 } else { self.stale_streak };
        self.stale_streak = if stale { streak + 1 } else { 0 };
        assert!(self.stale_streak <= 2, "a leftover registration wakes the loop again and again");
    }

    /// A merged change was refused: drawn by chance, or because the number is closed.
    fn taint_refused(&mut self) {
        if !self.clean {
            return self.taint_everything();
        }
        let closed: Vec<i32> = self.model.events.iter().filter_map(|event| event.fd()).collect();
        for fd in closed.into_iter().filter(|fd| !self.owned.contains_key(fd)) {
            self.model.taint(fd);
        }
    }

    /// No more faults, nothing on its way; each event is removed when told. Whatever is owed must come.
    pub(super) fn quiesce(&mut self) {
        note!(self, "quiet");
        let mut faults = duolu_sim::Faults::default();
        core::mem::swap(&mut self.sim.kernel().faults, &mut faults);
        self.engine.backend().max_reports = 1024;
        self.sim.kernel().settle();
        let turns = 4 * MAX_EVENTS + 8;
        let mut quiet = 0;
        for _ in 0..turns {
            self.poll(Some(0));
            let mut told = 0;
            loop {
                let most_urgent = self.most_urgent();
                let Some(active) = self.engine.next_active() else { break };
                self.check_told(&active, most_urgent);
                self.delete_event(active.id);
                told += 1;
            }
            quiet = if told == 0 { quiet + 1 } else { 0 };
            if quiet == 3 {
                break;
            }
        }
        assert_eq!(quiet, 3, "the loop does not come to rest in {turns} turns");
        let owed = self.model.must_be_active(&self.sim.kernel());
        let level = |event: &crate::model::Event| event.spec.trigger != Trigger::Edge;
        for event in self.model.events.iter().filter(|event| owed.contains(&event.id)) {
            assert!(!level(event), "never told: {event:?}");
        }
        assert!(
            self.model.events.iter().all(|event| !event.is_surely_active()),
            "something due was never told"
        );
        self.check_sleep();
        self.close_all();
    }

    /// With nothing to do, one poll is one wait that lasts to its limit.
    fn check_sleep(&mut self) {
        let start_ns = self.sim.kernel().now_ns();
        let next_ns = self.model.next_deadline_ns().unwrap_or(u64::MAX);
        let until_ns = next_ns.min(start_ns.saturating_add(1_000_000));
        while self.sim.kernel().now_ns() < until_ns {
            let left_ns = until_ns - self.sim.kernel().now_ns();
            let before = self.engine.backend().stats();
            self.engine.poll(Some(left_ns)).expect("no faults");
            let after = self.engine.backend().stats();
            assert_eq!(
                (after.waits - before.waits, after.changes() - before.changes()),
                (1, 0),
                "a quiet turn"
            );
            let now_ns = self.sim.kernel().now_ns();
            let excused = self.model.woke_for_cancelled(now_ns);
            assert!(now_ns == until_ns || excused, "a quiet turn sleeps until {until_ns}, not {now_ns}");
        }
    }

    /// Everything destroyed: the kernel watches nothing any more.
    fn close_all(&mut self) {
        while let Some(id) = self.any_event() {
            self.destroy_event(id);
        }
        assert_eq!((self.engine.pending_count(), self.engine.backend().watched_count()), (0, 0));
        self.engine.verify();
        assert!(self.engine.next_active().is_none());
        assert!(self.engine.backend().name().starts_with("sim-"));
    }
}
