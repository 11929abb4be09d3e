use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

#[test]
fn it_is_full_at_first_and_fills_by_the_time_that_passes() {
    let mut bucket = Bucket::new(Rate { bytes_per_second: 1000, burst: 100 });
    assert_eq!(bucket.available(at(5)), 100);
    bucket.take(100);
    assert_eq!(bucket.available(at(5)), 0);
    assert_eq!(bucket.ready_at(), at(15), "ten bytes: a hundredth of a second");
    assert_eq!(bucket.available(at(15)), 10);
    assert_eq!(bucket.available(at(10_000)), 100, "never more than the burst");
    assert_eq!(bucket.available(at(1)), 100, "a clock that steps back takes nothing away");
}

#[test]
fn asking_often_neither_gains_nor_loses() {
    for rate in [1, 7, 999, 3_333_333, 1_000_000_007] {
        // A burst that holds what comes between two looks.
        let mut bucket = Bucket::new(Rate { bytes_per_second: rate, burst: 10_000 });
        bucket.available(at(0));
        bucket.take(10_000);
        let mut moved = 0;
        for ns in (0..=1_000_000_000).step_by(4_000) {
            let available = bucket.available(Instant::from_nanos(ns));
            bucket.take(available);
            moved += available;
        }
        assert_eq!(moved, rate, "a second's worth, to the byte");
    }
}

#[test]
fn ready_at_is_the_first_moment() {
    for rate in [1, 3, 100, 12_345, 999_999_937] {
        for burst in [1, 50, 100_000] {
            let mut bucket = Bucket::new(Rate { bytes_per_second: rate, burst });
            bucket.available(Instant::from_nanos(17));
            bucket.take(burst);
            for _ in 0..20 {
                let ready = bucket.ready_at();
                let before = Instant::from_nanos(ready.as_nanos() - 1);
                assert!(bucket.available(before) < bucket.share(), "{rate}, {burst}");
                let available = bucket.available(ready);
                assert!(available >= bucket.share(), "{rate}, {burst}: {available}");
                bucket.take(available);
            }
        }
    }
}

#[test]
fn ticks_bring_all_at_once() {
    let mut bucket = Bucket::new(Ticks { bytes_per_tick: 10, burst: 25, tick_ns: 100 * MS });
    assert_eq!(bucket.available(at(250)), 10, "one tick's bytes, not the burst");
    bucket.take(10);
    assert_eq!((bucket.available(at(299)), bucket.ready_at()), (0, at(300)));
    assert_eq!(bucket.available(at(300)), 10);
    assert_eq!(bucket.available(at(399)), 10);
    assert_eq!(bucket.available(at(400)), 20);
    assert_eq!(bucket.available(at(900)), 25);
    bucket.take(60);
    assert_eq!((bucket.left(at(950)), bucket.available(at(950))), (-35, 0));
    assert_eq!(bucket.ready_at(), at(1300), "the debt first");
    bucket.charge(-6);
    assert_eq!((bucket.left(at(950)), bucket.ready_at()), (-29, at(1200)));
    bucket.charge(-1000);
    assert_eq!(bucket.left(at(950)), 971, "as with libevent, more than the burst");
    bucket.charge(1);
    assert_eq!(bucket.left(at(999)), 970);
    assert_eq!(bucket.left(at(1000)), 25, "until the next tick");
}

#[test]
fn another_pace_keeps_what_was_taken() {
    let slow = Rate { bytes_per_second: 10, burst: 100 };
    let mut bucket = Bucket::new(slow);
    bucket.available(at(0));
    bucket.take(100);
    for _ in 0..1000 {
        bucket.set_pace(slow);
    }
    assert_eq!(bucket.available(at(0)), 0);
    assert_eq!(bucket.available(at(100)), 1);
    bucket.set_pace(Rate { bytes_per_second: 1000, burst: 50 });
    assert_eq!(bucket.available(at(100)), 1);
    assert_eq!(bucket.ready_at(), at(109));
    assert_eq!(bucket.available(at(1000)), 50);
    bucket.set_pace(Rate { bytes_per_second: 1000, burst: 5 });
    assert_eq!(bucket.available(at(1000)), 5);
}

#[test]
fn extremes_do_not_overflow() {
    let most = i64::MAX as u64;
    let mut bucket = Bucket::new(Rate { bytes_per_second: u64::MAX, burst: u64::MAX });
    assert_eq!(bucket.available(Instant::ZERO), most);
    bucket.take(u64::MAX);
    assert_eq!(bucket.ready_at(), Instant::from_nanos(510_000_001), "a debt of half of that, and a share");
    assert_eq!(bucket.available(Instant::MAX), most);
    for _ in 0..5 {
        bucket.take(u64::MAX);
    }
    assert_eq!(bucket.left(Instant::MAX), i64::MIN);
    assert_eq!(bucket.ready_at(), Instant::MAX);
    bucket.charge(i64::MIN);
    assert_eq!(bucket.left(Instant::MAX), 0, "what was taken is given back");
    bucket.charge(-1);
    assert_eq!(bucket.left(Instant::MAX), 1);
    bucket.charge(i64::MIN);
    assert_eq!(bucket.left(Instant::MAX), i64::MAX);
    let mut slow = Bucket::new(Rate { bytes_per_second: 0, burst: 0 });
    assert_eq!(slow.available(Instant::MAX), 1);
    slow.take(1);
    assert_eq!(slow.ready_at(), Instant::MAX);
    for (bytes_per_tick, burst, tick_ns) in [(0, 0, 0), (u64::MAX, u64::MAX, u64::MAX), (u64::MAX, 0, 1)] {
        let mut ticks = Bucket::new(Ticks { bytes_per_tick, burst, tick_ns });
        assert!(ticks.available(Instant::ZERO) >= 1);
        ticks.take(u64::MAX);
        ticks.take(u64::MAX);
        assert!(ticks.holds_at(u64::MAX) >= ticks.ready_at());
        ticks.available(Instant::MAX);
        ticks.ready_at();
    }
}
