//! What only a simulated kernel does on demand: refusals, interruptions, lies, and time that jumps.

use crate::stage::{Hands, MS, Stage};
use duolu_core::{EventSpec, Instant, Interest, Ready, Refused, Timeout, Trigger};
use duolu_sim::{Delay, Personality, Sim, errno};

const READ: Interest = Interest::READ;

/// Plays a scenario on every imitation.
fn on_each(scenario: fn(&mut Stage)) {
    Personality::ALL.into_iter().for_each(|personality| Hands::Sim(personality).play(scenario));
}

fn sim(s: &Stage) -> Sim {
    s.world.sim().expect("a simulated world")
}

#[test]
fn a_refused_addition_is_told_at_once_and_leaves_the_event_as_it_was() {
    on_each(|s| {
        let (a, b) = s.world.stream_pair();
        let event = s.engine.create(EventSpec::fd(a, READ)).unwrap();
        for refusal in [errno::ENOSPC, errno::ENOMEM, errno::EPERM] {
            sim(s).kernel().faults.refuse_next.push_back(Some(refusal));
            assert_eq!(s.engine.add(event, Timeout::After(MS)), Err(Refused::Kernel(refusal)));
            assert!(!s.engine.is_pending(event) && s.engine.pending_count() == 0);
            s.engine.verify();
        }
        s.world.sleep(2 * MS);
        s.write(b, b"x");
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    });
}

#[test]
fn a_refused_second_event_tells_the_first_that_its_descriptor_is_in_error() {
    on_each(|s| {
        let (a, _b) = s.world.stream_pair();
        let first = s.watch(a, READ);
        let second = s.engine.create(EventSpec::fd(a, Interest::WRITE)).unwrap();
        sim(s).kernel().faults.refuse_next.push_back(Some(errno::ENOMEM));
        assert_eq!(s.engine.add(second, Timeout::Keep), Err(Refused::Kernel(errno::ENOMEM)));
        let told = s.turn_with(0, |_, _| {});
        assert_eq!(
            told.iter().map(|a| (a.id, a.ready)).collect::<Vec<_>>(),
            [(first, Ready::READ | Ready::ERROR)]
        );
        s.quiet();
    });
}

#[test]
fn a_refused_merged_change_is_told_as_an_error_once() {
    on_each(|s| {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.quiet();
        s.engine.set_interest(event, READ | Interest::WRITE).unwrap();
        sim(s).kernel().faults.refuse_next.push_back(Some(errno::ENOMEM));
        let told = s.turn_with(0, |_, _| {});
        assert_eq!((told.len(), told[0].id), (1, event));
        assert!(told[0].ready.contains(Ready::ERROR));
        s.quiet();
        s.write(b, b"x");
        s.del(event);
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ | Ready::WRITE)]);
    });
}

#[test]
fn an_interrupted_wait_is_an_early_turn() {
    on_each(|s| {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        sim(s).kernel().faults.interrupt_next = 3;
        for _ in 0..3 {
            assert_eq!(s.turn_with(1_000 * MS, |_, _| {}), []);
            assert_eq!(s.now_ns(), 0);
        }
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    });
}

#[test]
fn a_failed_wait_is_told_and_loses_nothing() {
    on_each(|s| {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        let timer = s.timer(Timeout::After(1));
        s.write(b, b"x");
        s.world.sleep(MS);
        sim(s).kernel().faults.fail_waits.push_back(errno::ENOMEM);
        assert_eq!(s.engine.poll(None), Err(errno::ENOMEM));
        s.engine.verify();
        assert_eq!(s.turn(), [(event, Ready::READ), (timer, Ready::TIMEOUT)]);
    });
}

#[test]
fn the_clock_jumps_a_year() {
    on_each(|s| {
        const DAY: u64 = 86_400_000 * MS;
        let days: Vec<_> =
            [200, 1, 364, 30, 7].iter().map(|day| (*day, s.timer(Timeout::After(day * DAY)))).collect();
        let later = s.timer(Timeout::After(366 * DAY));
        let periodic = s.engine.create(EventSpec { persist: true, ..EventSpec::new() }).unwrap();
        s.add(periodic, Timeout::After(2 * DAY));
        s.world.sleep(365 * DAY);
        let mut order = days;
        order.push((2, periodic));
        order.sort();
        let told: Vec<_> = order.into_iter().map(|(_, id)| (id, Ready::TIMEOUT)).collect();
        assert_eq!(s.turn(), told);
        s.quiet();
        assert!(s.engine.is_pending(later) && s.engine.is_pending(periodic));
        assert_eq!(s.turn_with(DAY, |_, _| {}).len(), 1);
    });
}

#[test]
fn a_timer_wakes_the_sleep_to_the_nanosecond() {
    on_each(|s| {
        for ns in [1, 999, 1_000_001, 123_456_789, 1 << 40] {
            let start_ns = s.now_ns();
            s.timer(Timeout::After(ns));
            s.engine.poll(None).unwrap();
            assert_eq!(s.now_ns(), start_ns + ns);
            assert!(s.engine.next_active().is_some());
        }
        s.timer(Timeout::At(Instant::from_nanos(u64::MAX - 1)));
        s.engine.poll(None).unwrap();
        assert_eq!(s.now_ns(), u64::MAX - 1);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn the_latest_deadline_there_is_never_comes() {
    Hands::SIM_EPOLL.play(|s| {
        s.timer(Timeout::At(Instant::MAX));
        let _ = s.engine.poll(None); // sleeps for ever: the simulation says so
    });
}

#[test]
fn false_and_late_and_shuffled_reports_lose_nothing() {
    on_each(|s| {
        let pairs: Vec<_> = (0..20).map(|_| s.world.stream_pair()).collect();
        let events: Vec<_> = pairs.iter().map(|&(a, _)| s.watch(a, READ)).collect();
        {
            let sim = sim(s);
            let mut kernel = sim.kernel();
            kernel.faults.delay_report_permille = 600;
            kernel.faults.false_report_permille = 200;
            kernel.faults.spurious_wake_permille = 300;
            kernel.faults.reorder = true;
        }
        pairs.iter().for_each(|&(_, b)| s.write(b, b"x"));
        let mut told = std::collections::BTreeSet::new();
        for _ in 0..100 {
            told.extend(s.turn_with(MS, |_, _| {}).into_iter().map(|active| active.id));
        }
        assert!(told.iter().eq(events.iter()));
    });
}

#[test]
fn an_echo_over_a_slow_lossy_network() {
    on_each(|s| {
        sim(s).kernel().delay = Delay { min_ns: MS, max_ns: 50 * MS, loss_permille: 100 };
        let (client, server) = s.world.stream_pair();
        let reader = s.watch(server, READ);
        let answers = s.add_spec(EventSpec { trigger: Trigger::Edge, ..EventSpec::fd(client, READ) });
        let mut received = Vec::new();
        let mut sent = 0_u8;
        let mut turns = 0;
        while received.len() < 200 {
            if sent < 200 {
                s.write(client, &[sent]);
                sent += 1;
            }
            s.turn_with(20 * MS, |s, active| {
                if active.id == reader {
                    let bytes = s.world.read(server, 99).expect("level: there is something");
                    s.write(server, &bytes);
                } else {
                    assert_eq!(active.id, answers);
                    while let Some(bytes) = s.world.read(client, 99) {
                        received.extend(bytes);
                    }
                }
            });
            turns += 1;
            assert!(turns < 2_000, "the echo does not come to an end");
        }
        assert!(received.iter().copied().eq(0..200));
    });
}
