//! Timers and timeouts. Nothing here says how soon something happened, only that it was not early and in order.

use crate::stage::MS;
use duolu_core::{EventId, EventSpec, Instant, Interest, Ready, Timeout};

const READ: Interest = Interest::READ;

fn at(ns: u64) -> Timeout {
    Timeout::At(Instant::from_nanos(ns))
}

fn deadline_ns(s: &Stage, id: EventId) -> Option<u64> {
    s.engine.reactor().deadline(id).map(Instant::as_nanos)
}

scenarios! {
    fn exact_order_however_late(s) {
        let start_ns = s.now_ns();
        let offsets_ns = [900, 5, 2 * MS, 7, MS, 6, 2 * MS - 1, 2 * MS + 1, 0];
        let mut timers: Vec<_> = offsets_ns.iter().map(|ns| (start_ns + ns, s.timer(at(start_ns + ns)))).collect();
        s.world.sleep(3 * MS);
        timers.sort();
        let told: Vec<_> = timers.iter().map(|&(_, id)| (id, Ready::TIMEOUT)).collect();
        assert_eq!(s.turn(), told);
    }

    fn equal_deadlines_in_the_order_they_were_added(s) {
        let deadline_ns = s.now_ns() + MS;
        let timers: Vec<_> = (0..20).map(|_| s.timer(at(deadline_ns))).collect();
        s.add(timers[3], at(deadline_ns)); // added again: now the last
        s.world.sleep(2 * MS);
        let mut told: Vec<_> = s.turn().into_iter().map(|(id, _)| id).collect();
        assert_eq!(told.pop(), Some(timers[3]));
        let rest: Vec<_> = timers.iter().copied().filter(|&id| id != timers[3]).collect();
        assert_eq!(told, rest);
    }

    fn common_timeouts_keep_the_same_order(s) {
        let common = s.engine.timers().common(MS).expect("a queue");
        let mut timers = Vec::new();
        for _ in 0..5 {
            timers.push(s.timer(Timeout::Common(common)));
            timers.push(s.timer(Timeout::After(MS)));
        }
        s.del(timers.remove(4));
        s.world.sleep(2 * MS);
        let told: Vec<_> = s.turn().into_iter().map(|(id, _)| id).collect();
        assert_eq!(told, timers);
    }

    fn never_early(s) {
        let timer = s.timer(Timeout::After(2 * MS));
        let deadline_ns = deadline_ns(s, timer).expect("armed");
        assert_eq!(s.turn(), [(timer, Ready::TIMEOUT)]);
        assert!(s.now_ns() >= deadline_ns);
        s.quiet();
    }

    fn waiting_for_ever_ends_at_the_nearest_timer(s) {
        let (a, _b) = s.world.stream_pair();
        s.watch(a, READ);
        s.timer(Timeout::After(3_600_000 * MS));
        let near = s.timer(Timeout::After(MS));
        let mut told = Vec::new();
        while told.is_empty() {
            s.engine.poll(None).expect("a wait");
            while let Some(active) = s.engine.next_active() {
                told.push(active.id);
            }
        }
        assert_eq!(told, [near]);
    }

    fn a_limit_ends_a_wait_before_the_timer(s) {
        s.timer(Timeout::After(3_600_000 * MS));
        let start_ns = s.now_ns();
        assert_eq!(s.turn_with(MS, |_, _| {}), []);
        assert!(s.now_ns() - start_ns >= MS);
    }

    fn zero_and_past_deadlines_are_due_in_the_next_turn(s) {
        s.world.sleep(2 * MS);
        let past = s.timer(at(s.now_ns() - MS));
        let zero = s.timer(Timeout::After(0));
        let start = s.timer(at(0));
        assert!(!s.engine.is_active(zero));
        assert_eq!(s.turn(), [(start, Ready::TIMEOUT), (past, Ready::TIMEOUT), (zero, Ready::TIMEOUT)]);
        s.quiet();
    }

    fn for_ever_is_for_ever(s) {
        let timers = [s.timer(Timeout::After(u64::MAX)), s.timer(at(u64::MAX)), s.timer(Timeout::After(u64::MAX - 1))];
        assert_eq!(s.turn_with(MS, |_, _| {}), []);
        assert!(timers.iter().all(|&id| s.engine.is_pending(id)));
        timers.into_iter().for_each(|id| s.del(id));
    }

    fn a_cancelled_timer_is_never_told(s) {
        let (gone, stays) = (s.timer(Timeout::After(10)), s.timer(Timeout::After(20)));
        s.del(gone);
        s.world.sleep(MS);
        assert_eq!(s.turn(), [(stays, Ready::TIMEOUT)]);
        s.quiet();
    }

    fn an_armed_timer_is_moved_by_adding_again(s) {
        let timer = s.timer(Timeout::After(10));
        s.add(timer, Timeout::After(3_600_000 * MS));
        s.world.sleep(MS);
        s.quiet();
        s.add(timer, Timeout::After(0));
        assert_eq!(s.turn(), [(timer, Ready::TIMEOUT)]);
    }

    fn a_period_does_not_drift(s) {
        let timer = s.engine.create(EventSpec { persist: true, ..EventSpec::new() }).expect("an event");
        s.add(timer, Timeout::After(MS));
        let first_ns = deadline_ns(s, timer).expect("armed");
        s.world.sleep(MS + MS / 2); // late, but not by a whole period (a slow machine may make it more)
        assert_eq!(s.turn(), [(timer, Ready::TIMEOUT)]);
        let turn_ns = s.engine.now().as_nanos();
        let next_ns = deadline_ns(s, timer).expect("armed again");
        if turn_ns < first_ns + MS {
            assert_eq!(next_ns, first_ns + MS);
        } else {
            assert_eq!(next_ns, turn_ns + MS);
        }
    }

    fn missed_periods_are_not_made_up_for(s) {
        let timer = s.engine.create(EventSpec { persist: true, ..EventSpec::new() }).expect("an event");
        s.add(timer, Timeout::After(MS / 10));
        s.world.sleep(5 * MS);
        assert_eq!(s.turn(), [(timer, Ready::TIMEOUT)], "once, not fifty times");
        assert!(deadline_ns(s, timer).expect("armed again") > s.engine.now().as_nanos());
    }

    fn a_timeout_on_a_descriptor_fires_without_activity(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec::fd(a, READ)).expect("an event");
        s.add(event, Timeout::After(MS));
        assert_eq!(s.turn(), [(event, Ready::TIMEOUT)]);
        assert!(s.engine.is_pending(event) && deadline_ns(s, event).is_some(), "persistent: both go on");
        s.write(b, b"x");
        s.add(event, Timeout::Never);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn a_timeout_ends_a_not_persistent_event(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec { persist: false, ..EventSpec::fd(a, READ) }).expect("an event");
        s.add(event, Timeout::After(10));
        assert_eq!(s.turn(), [(event, Ready::TIMEOUT)]);
        assert!(!s.engine.is_pending(event));
        s.write(b, b"x");
        s.quiet();
    }

    fn activity_ends_the_timeout_of_a_not_persistent_event(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec { persist: false, ..EventSpec::fd(a, READ) }).expect("an event");
        s.write(b, b"x");
        s.add(event, Timeout::After(3_600_000 * MS));
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert_eq!((deadline_ns(s, event), s.engine.pending_count()), (None, 0));
    }

    fn activity_starts_the_timeout_anew(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec::fd(a, READ)).expect("an event");
        s.add(event, Timeout::After(3_600_000 * MS));
        let before_ns = deadline_ns(s, event).expect("armed");
        s.world.sleep(MS);
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        let after_ns = deadline_ns(s, event).expect("still armed");
        assert!(after_ns >= before_ns + MS);
        assert_eq!(after_ns, s.engine.now().as_nanos() + 3_600_000 * MS);
    }

    fn keep_keeps_and_never_takes_away(s) {
        let (a, _b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec::fd(a, READ)).expect("an event");
        s.add(event, Timeout::After(3_600_000 * MS));
        let deadline = deadline_ns(s, event);
        s.add(event, Timeout::Keep);
        assert_eq!(deadline_ns(s, event), deadline);
        s.add(event, Timeout::Never);
        assert_eq!(deadline_ns(s, event), None);
        assert!(s.engine.is_pending(event));
    }

    /// What was removed with its timeout comes back without it.
    fn a_removed_timeout_does_not_come_back(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec::fd(a, READ)).expect("an event");
        s.add(event, Timeout::After(3_600_000 * MS));
        s.del(event);
        s.add(event, Timeout::Keep);
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert_eq!(deadline_ns(s, event), None);
        s.del(event);
        assert!(s.engine.activate(event, Ready::USER));
        assert_eq!(s.turn(), [(event, Ready::USER)]);
        assert!(!s.engine.is_pending(event));
    }

    /// The timer ran out, but before its callback the event is added with another timeout.
    fn an_old_timeout_is_taken_back_by_a_new_one(s) {
        let (first, second) = (s.timer(Timeout::After(1)), s.timer(Timeout::After(2)));
        s.world.sleep(MS);
        let told = s.turn_with(0, |s, active| {
            if active.id == first {
                s.add(second, Timeout::After(3_600_000 * MS));
            }
        });
        assert_eq!(told.len(), 1);
        assert!(s.engine.is_pending(second) && !s.engine.is_active(second));
    }
}
