//! One test for each trap. [`super::model`] looks for the ones nobody thought of.

use super::*;
use std::collections::BTreeSet;
use std::vec::Vec;

const TICK_NS: u64 = 1 << 20;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Everything due at `now`, as (deadline, key).
fn drain(timers: &mut Timers, now: u64) -> Vec<(u64, u32)> {
    let due =
        core::iter::from_fn(|| timers.pop_due(at(now))).map(|(deadline, key)| (deadline.as_nanos(), key));
    let due = due.collect();
    timers.verify();
    due
}

fn armed(deadlines: &[u64]) -> Timers {
    let mut timers = Timers::new(Instant::ZERO);
    for (key, deadline) in deadlines.iter().enumerate() {
        timers.arm(at(*deadline), key as u32);
        timers.verify();
    }
    timers
}

#[test]
fn nothing_armed_is_nothing_due() {
    let mut timers = Timers::new(at(5));
    assert_eq!((timers.next_deadline(), timers.pop_due(Instant::MAX), timers.len()), (None, None, 0));
    assert!(timers.is_empty());
    timers.cancel(TimerId::NONE);
    assert_eq!(timers.deadline(TimerId::NONE), None);
    timers.verify();
}

#[test]
fn equal_deadlines_fire_in_order_of_arming() {
    for deadline in [0, 1, TICK_NS, 100 * TICK_NS, 1 << 40, u64::MAX] {
        let mut timers = Timers::new(Instant::ZERO);
        let queue = timers.common(deadline).unwrap();
        for key in 0..100 {
            match key % 3 {
                0 => timers.arm_common(queue, Instant::ZERO, key),
                _ => timers.arm(at(deadline), key),
            };
        }
        let want: Vec<_> = (0..100).map(|key| (deadline, key)).collect();
        assert_eq!(drain(&mut timers, deadline), want);
    }
}

#[test]
fn a_nanosecond_apart_is_in_order_and_not_early() {
    let mut timers = armed(&[5 * TICK_NS + 2, 5 * TICK_NS + 1, 5 * TICK_NS + 3]);
    assert_eq!(drain(&mut timers, 5 * TICK_NS), []);
    assert_eq!(drain(&mut timers, 5 * TICK_NS + 2), [(5 * TICK_NS + 1, 1), (5 * TICK_NS + 2, 0)]);
    assert_eq!(timers.next_deadline(), Some(at(5 * TICK_NS + 3)));
}

#[test]
fn armed_in_the_past_while_popping_comes_in_its_place() {
    let mut timers = armed(&[100, 300, 500 * TICK_NS]);
    let now = at(900 * TICK_NS);
    assert_eq!(timers.pop_due(now), Some((at(100), 0)));
    timers.arm(at(50), 10);
    timers.arm(at(300), 11);
    timers.arm(at(200 * TICK_NS), 12);
    timers.verify();
    let want = [(50, 10), (300, 1), (300, 11), (200 * TICK_NS, 12), (500 * TICK_NS, 2)];
    assert_eq!(drain(&mut timers, now.as_nanos()), want);
}

#[test]
fn a_timer_that_is_armed_anew_goes_behind_its_equals() {
    for deadline in [0, 7, TICK_NS, 100 * TICK_NS, 1 << 40, u64::MAX] {
        let mut timers = Timers::new(Instant::ZERO);
        let queue = timers.common(deadline).unwrap();
        let first = timers.arm(at(deadline), 0);
        let second = timers.arm_common(queue, Instant::ZERO, 1);
        timers.arm(at(deadline), 2);
        let first = timers.rearm(first, at(deadline), 3);
        let second = timers.rearm_common(second, queue, Instant::ZERO, 4);
        timers.verify();
        assert_eq!(timers.len(), 3);
        assert_eq!([first, second].map(|id| timers.deadline(id)), [Some(at(deadline)); 2]);
        let last = timers.rearm(TimerId::NONE, at(deadline), 5);
        assert_ne!(last, first);
        assert_eq!(drain(&mut timers, deadline), [2, 3, 4, 5].map(|key| (deadline, key)));
    }
}

#[test]
fn a_queue_of_another_loop_takes_the_timer_away() {
    let mut other = Timers::new(Instant::ZERO);
    let queue = other.common(5).unwrap();
    let mut timers = armed(&[9]);
    let id = timers.rearm(TimerId::NONE, at(7), 1);
    assert!(timers.rearm_common(id, queue, Instant::ZERO, 2).is_none());
    assert_eq!((timers.deadline(id), drain(&mut timers, 9)), (None, Vec::from([(9, 0)])));
}

#[test]
fn timers_of_now_stay_in_order_whatever_is_cancelled_between_them() {
    let mut timers = Timers::new(at(50));
    let ids: Vec<TimerId> =
        [10, 20, 15, 30, 5, 40, 40].map(|deadline| timers.arm(at(deadline), deadline as u32)).into();
    timers.verify();
    for cancelled in [0, 3, 4] {
        timers.cancel(ids[cancelled]);
        timers.verify();
    }
    timers.arm(at(12), 12);
    timers.arm(at(40), 41);
    let want = [(12, 12), (15, 15), (20, 20), (40, 40), (40, 40), (40, 41)];
    assert_eq!(drain(&mut timers, 50), want);
}

#[test]
fn both_sides_of_every_slot_boundary() {
    let mut edges = BTreeSet::from([0, 1, u64::MAX - 1, u64::MAX]);
    for bit in 19..64 {
        for around in [1u64 << bit, 3 << (bit - 1), u64::MAX >> (63 - bit)] {
            edges.extend([around - 1, around, around.saturating_add(1)]);
        }
    }
    let edges: Vec<u64> = edges.into_iter().collect();
    let backwards: Vec<u64> = edges.iter().rev().copied().collect();
    for step in [false, true] {
        let mut timers = armed(&backwards);
        let mut got = Vec::new();
        while let Some(next) = timers.next_deadline() {
            let now = if step { next.as_nanos() } else { u64::MAX };
            let due = drain(&mut timers, now);
            assert!(!due.is_empty(), "nothing was cancelled, so no wake-up at {next:?} is in vain");
            got.extend(due.into_iter().map(|(deadline, _)| deadline));
        }
        assert_eq!(got, edges);
    }
}

#[test]
fn starting_anywhere_and_far_jumps_are_exact() {
    for start in [0, TICK_NS - 1, 0x0fff_ffff_ffff, u64::MAX / 3, u64::MAX - 5 * TICK_NS] {
        let mut timers = Timers::new(at(start));
        let gaps = [0, 1, TICK_NS, 63 * TICK_NS, 64 * TICK_NS, 1 << 36, 1 << 50, u64::MAX];
        for (key, gap) in gaps.iter().enumerate() {
            timers.arm(at(start.saturating_add(*gap)), key as u32);
        }
        assert_eq!(timers.next_deadline(), Some(at(start)));
        let keys: Vec<u32> = drain(&mut timers, u64::MAX).into_iter().map(|(_, key)| key).collect();
        assert_eq!(keys, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn for_ever_stays_and_does_not_hide_the_others() {
    let mut timers = armed(&[u64::MAX, 3_600_000_000_000]);
    let queue = timers.common(u64::MAX).unwrap();
    timers.arm_common(queue, at(7), 2);
    assert_eq!(timers.next_deadline(), Some(at(3_600_000_000_000)));
    assert_eq!(drain(&mut timers, u64::MAX - 1), [(3_600_000_000_000, 1)]);
    assert_eq!(timers.next_deadline(), Some(Instant::MAX));
    assert_eq!(timers.len(), 2);
}

#[test]
fn asking_for_the_next_deadline_does_not_move_the_wheel() {
    let hour = 3_600_000_000_000;
    let mut timers = armed(&[hour]);
    for now in [0, 1, hour / 2, hour - 1] {
        assert_eq!(timers.next_deadline(), Some(at(hour)));
        assert_eq!(timers.pop_due(at(now)), None);
    }
    timers.arm(at(hour - 1), 1);
    timers.verify();
    assert_eq!(timers.next_deadline(), Some(at(hour - 1)));
    assert_eq!(drain(&mut timers, hour), [(hour - 1, 1), (hour, 0)]);
}

#[test]
fn a_cancelled_minimum_costs_one_early_wake_up() {
    let mut timers = armed(&[]);
    let deadlines = [3000 * TICK_NS, 3001 * TICK_NS, 3002 * TICK_NS + 7];
    let first = timers.arm(at(deadlines[0]), 0);
    timers.arm(at(deadlines[1]), 1);
    timers.arm(at(deadlines[2]), 2);
    timers.cancel(first);
    timers.verify();
    let wake = timers.next_deadline().unwrap().as_nanos();
    assert!(wake <= deadlines[1]);
    if wake < deadlines[1] {
        assert_eq!(drain(&mut timers, wake), []);
        assert_eq!(timers.next_deadline(), Some(at(deadlines[1])));
    }
    assert_eq!(drain(&mut timers, deadlines[1]), [(deadlines[1], 1)]);
    assert_eq!(timers.next_deadline(), Some(at(deadlines[2])));
}

#[test]
fn cancelling_the_only_timer_leaves_no_deadline() {
    for deadline in [0, 1, 2 * TICK_NS, 1 << 45, u64::MAX] {
        let mut timers = Timers::new(at(1));
        let id = timers.arm(at(deadline), 0);
        assert_eq!(timers.deadline(id), Some(at(deadline)));
        timers.cancel(id);
        timers.verify();
        assert_eq!((timers.deadline(id), timers.next_deadline(), timers.len()), (None, None, 0));
        timers.cancel(id);
        timers.verify();
        assert_eq!(drain(&mut timers, u64::MAX), []);
    }
}

#[test]
fn a_cancelled_timers_number_is_given_again_and_its_record_does_not_fire() {
    let mut timers = armed(&[]);
    let old = timers.arm(at(10), 1);
    timers.cancel(old);
    let new = timers.arm(at(20), 2);
    assert_eq!(new, old, "the entry is used again");
    assert_eq!(timers.next_deadline(), Some(at(20)));
    assert_eq!(drain(&mut timers, 15), []);
    assert_eq!(drain(&mut timers, 20), [(20, 2)]);
}

#[test]
fn garbage_within_one_tick_is_bounded() {
    let mut timers = Timers::new(Instant::ZERO);
    timers.arm(at(500_000), 0);
    for key in 1..=1_000_000 {
        let id = timers.arm(at(100_000), key);
        timers.cancel(id);
        assert!(timers.garbage() < 100, "{} records of cancelled timers", timers.garbage());
    }
    assert_eq!(timers.slab.capacity(), 2);
    assert_eq!(drain(&mut timers, 500_000), [(500_000, 0)]);
}

#[test]
fn garbage_of_a_crowded_tick_is_bounded() {
    let mut timers = Timers::new(Instant::ZERO);
    let ids: Vec<_> = (0..10_000).map(|key| timers.arm(at(10 * TICK_NS + u64::from(key)), key)).collect();
    assert_eq!(timers.pop_due(at(10 * TICK_NS)), Some((at(10 * TICK_NS), 0)));
    for (left, id) in (0..9_999usize).rev().zip(&ids[1..]) {
        timers.cancel(*id);
        assert!(timers.garbage() <= left + 100, "{} dead, {left} live", timers.garbage());
    }
    assert_eq!((timers.len(), timers.next_deadline()), (0, None));
    timers.verify();
}

#[test]
fn common_queues_and_the_wheel_fire_in_one_order() {
    let mut timers = Timers::new(Instant::ZERO);
    let (short, long) = (timers.common(10 * TICK_NS).unwrap(), timers.common(30 * TICK_NS).unwrap());
    timers.arm_common(long, at(0), 0);
    timers.arm(at(30 * TICK_NS), 1);
    timers.arm_common(short, at(20 * TICK_NS), 2);
    timers.arm_common(short, at(21 * TICK_NS), 3);
    timers.arm(at(31 * TICK_NS - 1), 4);
    assert_eq!(timers.next_deadline(), Some(at(30 * TICK_NS)));
    let keys: Vec<u32> = drain(&mut timers, 31 * TICK_NS).into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys, [0, 1, 2, 4, 3]);
}

#[test]
fn a_common_queue_survives_a_clock_that_steps_back() {
    let mut timers = Timers::new(at(1000));
    let queue = timers.common(50).unwrap();
    timers.arm_common(queue, at(1000), 0);
    let early = timers.arm_common(queue, at(900), 1);
    timers.arm_common(queue, at(1000), 2);
    timers.verify();
    assert_eq!(timers.deadline(early), Some(at(950)));
    assert_eq!(drain(&mut timers, 1050), [(950, 1), (1050, 0), (1050, 2)]);
}

#[test]
fn a_queue_for_each_duration_up_to_256() {
    let mut timers = Timers::new(Instant::ZERO);
    let queues: Vec<_> = (0..256).map(|n| timers.common(1000 - n).unwrap()).collect();
    assert_eq!((timers.common(5), timers.common(1000 - 17)), (None, Some(queues[17])));
    assert_eq!(timers.common_duration_ns(queues[255]), Some(745));
    for (key, queue) in queues.iter().enumerate() {
        timers.arm_common(*queue, Instant::ZERO, key as u32);
        timers.verify();
    }
    let keys: Vec<u32> = drain(&mut timers, 1000).into_iter().map(|(_, key)| key).collect();
    assert!(keys.into_iter().eq((0..256).rev()));
}

#[test]
fn a_queue_of_other_timers_arms_nothing() {
    let queue = Timers::new(Instant::ZERO).common(5).unwrap();
    let mut timers = Timers::new(Instant::ZERO);
    assert_eq!(timers.common_duration_ns(queue), None);
    assert!(timers.arm_common(queue, Instant::ZERO, 0).is_none());
    assert!(timers.is_empty());
}

#[test]
fn an_idle_wheel_follows_the_clock_and_never_runs_ahead() {
    let mut timers = armed(&[5000 * TICK_NS]);
    // Left behind, it would put short timers on high levels; 69 is a clock that steps back.
    for (now, cursor) in [(0, 0), (70, 70), (69, 70), (4095, 4095), (4999, 4999)] {
        assert_eq!(timers.pop_due(at(now * TICK_NS)), None);
        assert_eq!(timers.next_deadline(), Some(at(5000 * TICK_NS)));
        assert_eq!(timers.wheel.cursor(), cursor);
        timers.verify();
    }
}

#[test]
fn a_common_queue_takes_every_timer_of_a_steady_clock() {
    let mut timers = Timers::new(Instant::ZERO);
    let queue = timers.common(50).unwrap();
    for now in [0, 0, 1, 1, u64::MAX - 60, u64::MAX - 1, u64::MAX] {
        let id = timers.arm_common(queue, at(now), 0);
        assert_eq!(timers.slab.place(id.0), Place::Queue(queue.0));
    }
    timers.verify();
}
