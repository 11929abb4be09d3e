//! The clock of production: CLOCK_MONOTONIC.

use duolu_core::{Clock, Instant};

/// CLOCK_MONOTONIC (clock_gettime(2)): never steps back, does not count the time a machine is suspended, and
/// is read through the vdso, without a system call: some 25 ns.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock;

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` outlives the call. The call cannot fail: the clock exists since Linux 2.6.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
        Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_with_stds_clock_and_never_back() {
        let (ours, theirs) = (MonotonicClock.now(), std::time::Instant::now());
        std::thread::sleep(std::time::Duration::from_millis(3));
        let passed_ns = MonotonicClock.now().saturating_nanos_since(ours);
        assert!(passed_ns >= 3_000_000, "{passed_ns} ns passed in 3 ms");
        assert!(u128::from(passed_ns) <= theirs.elapsed().as_nanos() + 1_000_000_000);
        let mut last = MonotonicClock.now();
        for _ in 0..10_000 {
            let now = MonotonicClock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
