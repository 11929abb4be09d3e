//! What callbacks may do, the order they are told in, user activation and signals.

use crate::stage::MS;
use duolu_core::{Budget, Engine, EventSpec, Interest, Ready, Refused, Timeout};

const READ: Interest = Interest::READ;
const WRITE: Interest = Interest::WRITE;

scenarios! {
    fn removed_by_an_earlier_callback_of_the_turn(s) {
        let ((a, b), (c, d)) = (s.world.stream_pair(), s.world.stream_pair());
        let (one, two) = (s.watch(a, READ), s.watch(c, READ));
        s.write(b, b"x");
        s.write(d, b"x");
        let told = s.turn_with(MS, |s, active| s.del(if active.id == one { two } else { one }));
        assert_eq!(told.len(), 1, "the other was due, and was removed");
        s.engine.del(told[0].id);
        s.quiet();
    }

    fn destroyed_by_an_earlier_callback_and_its_slot_used_again(s) {
        let ((a, b), (c, d)) = (s.world.stream_pair(), s.world.stream_pair());
        let (one, two) = (s.watch(a, READ), s.watch(c, READ));
        s.write(b, b"x");
        s.write(d, b"x");
        let mut next = None;
        let told = s.turn_with(MS, |s, active| {
            assert!(s.engine.destroy(if active.id == one { two } else { one }));
            next = Some(s.user_event(0));
        });
        assert_eq!(told.len(), 1);
        let next = next.expect("made in the callback");
        assert!(next != one && next != two && !s.engine.is_active(next));
    }

    fn a_due_timer_removed_by_an_earlier_callback(s) {
        let (first, second) = (s.timer(Timeout::After(1)), s.timer(Timeout::After(2)));
        let third = s.timer(Timeout::After(3));
        s.world.sleep(MS);
        let told = s.turn_with(0, |s, active| {
            if active.id == first {
                s.del(second);
                assert!(s.engine.destroy(third));
            }
        });
        assert_eq!(told.len(), 1);
        s.quiet();
    }

    fn an_event_removes_itself(s) {
        let (a, b) = s.world.stream_pair();
        s.watch(a, READ);
        s.write(b, b"x");
        assert_eq!(s.turn_with(MS, |s, active| s.del(active.id)).len(), 1);
        s.quiet();
    }

    fn an_event_destroys_itself_and_closes(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.world.close(b);
        let told = s.turn_with(MS, |s, active| {
            assert!(s.engine.destroy(active.id));
            s.world.close(a);
        });
        assert_eq!(told.len(), 1);
        assert!(!s.engine.exists(event) && s.engine.pending_count() == 0);
        s.quiet();
    }

    fn added_again_in_its_own_callback_costs_nothing_where_owned(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(EventSpec { owned: true, persist: false, ..EventSpec::fd(a, READ) });
        s.write(b, b"x");
        let before = s.changes();
        for _ in 0..5 {
            let told = s.turn_with(MS, |s, active| s.add(active.id, Timeout::Keep));
            assert_eq!(told.len(), 1);
        }
        assert_eq!(s.changes(), before);
        s.del(event);
    }

    fn removed_and_added_in_one_turn_costs_nothing_where_owned(s) {
        let (a, _b) = s.world.stream_pair();
        let event = s.watch_owned(a, READ);
        s.quiet();
        let before = s.changes();
        s.del(event);
        s.add(event, Timeout::Keep);
        s.quiet();
        assert_eq!(s.changes(), before);
    }

    fn a_second_event_come_and_gone_in_one_turn_costs_nothing_where_owned(s) {
        let (a, b) = s.world.stream_pair();
        let reader = s.watch_owned(a, READ);
        s.quiet();
        let before = s.changes();
        let writer = s.watch_owned(a, WRITE);
        s.del(writer);
        s.quiet();
        assert_eq!(s.changes(), before);
        s.write(b, b"x");
        assert_eq!(s.turn(), [(reader, Ready::READ)]);
    }

    fn the_urgent_first_and_the_rest_after_the_next_poll(s) {
        let (low, high, low_too) = (s.user_event(5), s.user_event(1), s.user_event(5));
        for id in [low, high, low_too] {
            assert!(s.engine.activate(id, Ready::USER));
        }
        assert_eq!(s.turn(), [(high, Ready::USER)], "the most urgent queue only, until the kernel is asked again");
        assert_eq!(s.turn(), [(low, Ready::USER), (low_too, Ready::USER)]);
        s.quiet();
    }

    fn a_more_urgent_event_overtakes_within_the_turn(s) {
        let (one, two, urgent) = (s.user_event(3), s.user_event(3), s.user_event(0));
        s.engine.activate(one, Ready::USER);
        s.engine.activate(two, Ready::USER);
        let mut order = Vec::new();
        for _ in 0..3 {
            s.turn_with(0, |s, active| {
                order.push(active.id);
                if active.id == one {
                    s.engine.activate(urgent, Ready::USER);
                }
            });
        }
        assert_eq!(order, [one, urgent, two]);
    }

    fn urgent_readiness_before_idle_readiness(s) {
        let ((a, b), (c, d)) = (s.world.stream_pair(), s.world.stream_pair());
        let idle = s.add_spec(EventSpec { priority: 7, ..EventSpec::fd(a, READ) });
        let urgent = s.add_spec(EventSpec { priority: 0, ..EventSpec::fd(c, READ) });
        s.write(b, b"x");
        s.write(d, b"x");
        assert_eq!(s.turn(), [(urgent, Ready::READ)]);
        s.drain(c);
        assert_eq!(s.turn(), [(idle, Ready::READ)]);
    }

    fn all_256_priorities_in_order(s) {
        let clock = crate::stage::AnyClock(s.engine.clock().0.clone());
        let mut engine = Engine::new(Box::new(Nothing), clock, 256);
        let spec = |priority| EventSpec { priority, ..EventSpec::new() };
        let ids: Vec<_> = (0..=255).rev().map(|p| engine.create(spec(p)).expect("256 priorities")).collect();
        ids.iter().for_each(|&id| assert!(engine.activate(id, Ready::USER)));
        let mut told = Vec::new();
        for _ in 0..256 {
            engine.poll(Some(0)).expect("a wait");
            told.extend(std::iter::from_fn(|| engine.next_active()).map(|active| active.id));
        }
        assert!(told.iter().eq(ids.iter().rev()));
    }

    fn activated_by_the_program(s) {
        let (a, b) = s.world.stream_pair();
        let pending = s.watch(a, READ);
        let idle = s.user_event(0);
        assert!(s.engine.activate(pending, Ready::WRITE) && s.engine.activate(idle, Ready::NONE));
        assert!(s.engine.is_active(idle) && !s.engine.is_pending(idle));
        assert_eq!(s.turn(), [(pending, Ready::WRITE), (idle, Ready::USER)]);
        assert!(s.engine.is_pending(pending), "persistent");
        s.quiet();
        s.write(b, b"x");
        s.engine.activate(pending, Ready::USER);
        assert_eq!(s.turn(), [(pending, Ready::READ | Ready::USER)], "merged into one call");
    }

    fn activated_twice_is_told_once(s) {
        let event = s.user_event(0);
        s.engine.activate(event, Ready::USER);
        s.engine.activate(event, Ready::READ);
        assert_eq!(s.turn(), [(event, Ready::USER | Ready::READ)]);
        s.engine.activate(event, Ready::USER);
        s.del(event);
        s.quiet();
    }

    fn a_callback_that_activates_itself_does_not_starve_io(s) {
        let (a, b) = s.world.stream_pair();
        let reader = s.watch(a, READ);
        let greedy = s.user_event(0);
        s.write(b, b"x");
        s.engine.activate(greedy, Ready::USER);
        let mut read = false;
        for _ in 0..3 {
            let told = s.turn_with(0, |s, active| {
                if active.id == greedy {
                    s.engine.activate(greedy, Ready::USER);
                }
            });
            assert!(told.len() <= 2, "each at most once a turn");
            read |= told.iter().any(|active| active.id == reader);
        }
        assert!(read);
    }

    fn something_due_does_not_let_the_loop_sleep(s) {
        let event = s.user_event(0);
        s.engine.activate(event, Ready::USER);
        s.engine.poll(None).expect("a wait that would last for ever");
        assert_eq!(s.engine.next_active().map(|active| active.id), Some(event));
    }

    fn a_budget_cuts_the_turn_and_loses_nothing(s) {
        s.engine.set_budget(Budget { max_callbacks: 2, from_priority: 0 });
        let events: Vec<_> = (0..5).map(|_| s.user_event(0)).collect();
        events.iter().for_each(|&id| assert!(s.engine.activate(id, Ready::USER)));
        let turns: Vec<_> = (0..3).map(|_| s.turn().into_iter().map(|(id, _)| id).collect::<Vec<_>>()).collect();
        assert_eq!(turns, [&events[..2], &events[2..4], &events[4..]]);
        s.quiet();
    }

    fn a_turn_left_early_goes_on_after_the_next_poll(s) {
        let events: Vec<_> = (0..3).map(|_| s.user_event(0)).collect();
        events.iter().for_each(|&id| assert!(s.engine.activate(id, Ready::USER)));
        s.engine.poll(Some(0)).expect("a wait");
        assert_eq!(s.engine.next_active().map(|active| active.id), Some(events[0]));
        let rest: Vec<_> = s.turn().into_iter().map(|(id, _)| id).collect();
        assert_eq!(rest, events[1..]);
    }

    fn signals_are_counted(s) {
        let (one, two) = (s.signal_event(10), s.signal_event(10));
        let other = s.signal_event(12);
        s.engine.deliver_signal(10, 1);
        s.engine.deliver_signal(10, 2);
        let mut told = s.turn_with(0, |_, _| {});
        told.sort_by_key(|active| active.id);
        let counts: Vec<_> = told.iter().map(|active| (active.id, active.ready, active.count)).collect();
        assert_eq!(counts, [(one, Ready::SIGNAL, 3), (two, Ready::SIGNAL, 3)]);
        s.quiet();
        s.engine.deliver_signal(12, 100_000);
        let told = s.turn_with(0, |_, _| {});
        assert_eq!((told[0].id, told[0].count), (other, u16::MAX));
        s.del(one);
        s.engine.deliver_signal(10, 1);
        assert_eq!(s.turn(), [(two, Ready::SIGNAL)]);
        s.engine.deliver_signal(63, 1);
        s.quiet();
    }

    fn a_stale_id_does_nothing(s) {
        let event = s.user_event(0);
        assert!(s.engine.destroy(event));
        let successor = s.user_event(0);
        assert!(!s.engine.destroy(event) && !s.engine.del(event) && !s.engine.activate(event, Ready::USER));
        assert_eq!(s.engine.add(event, Timeout::After(0)), Err(Refused::NoSuchEvent));
        assert_eq!(s.engine.set_interest(event, READ), Err(Refused::NoSuchEvent));
        assert!(s.engine.exists(successor) && !s.engine.is_active(successor) && !s.engine.is_pending(successor));
        s.quiet();
    }

    fn internal_events_do_not_count_as_pending(s) {
        let (a, b) = s.world.stream_pair();
        let internal = s.add_spec(EventSpec { internal: true, ..EventSpec::fd(a, READ) });
        assert_eq!(s.engine.pending_count(), 0);
        s.write(b, b"x");
        assert_eq!(s.turn(), [(internal, Ready::READ)]);
        let timer = s.timer(Timeout::After(3_600_000 * MS));
        assert_eq!(s.engine.pending_count(), 1);
        s.del(timer);
        assert_eq!(s.engine.pending_count(), 0);
    }
}

/// A backend with nothing in it.
struct Nothing;

impl duolu_core::Backend for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }
    fn features(&self) -> duolu_core::Features {
        duolu_core::Features::default()
    }
    fn apply(&mut self, _: duolu_core::Change) -> Result<(), duolu_core::Errno> {
        Ok(())
    }
    fn wait(&mut self, _: Option<u64>, _: &mut Vec<duolu_core::Report>) -> Result<(), duolu_core::Errno> {
        Ok(())
    }
    fn reinit(&mut self) -> Result<(), duolu_core::Errno> {
        Ok(())
    }
    fn descriptor(&mut self) -> Option<duolu_core::RawFd> {
        None
    }
}
