//! Clocks that only go forward.

use crate::mem;
use core::ffi::c_int;
use libc::timeval;

/// EV_MONOT_*.
const PRECISE: c_int = 1;
const FALLBACK: c_int = 2;

/// struct evutil_monotonic_timer.
#[derive(Debug)]
pub struct evutil_monotonic_timer {
    clock: libc::clockid_t,
    /// Of the wall clock (EV_MONOT_FALLBACK), which somebody may set back: the latest that was told, and what has been
    /// added since.
    latest_us: i64,
    added_us: i64,
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_monotonic_timer_new() -> *mut evutil_monotonic_timer {
    // SAFETY: all zeroes are one: of the wall clock, until it is configured.
    unsafe { mem::zeroed() }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_monotonic_timer_free(timer: *mut evutil_monotonic_timer) {
    // SAFETY: from `evutil_monotonic_timer_new`, or null.
    unsafe { mem::free(timer.cast()) }
}

/// The coarse clock unless asked for more: it costs a third, and is at most a tick (1 to 10 ms) late.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_configure_monotonic_time(
    timer: *mut evutil_monotonic_timer,
    flags: c_int,
) -> c_int {
    let clock = if flags & FALLBACK != 0 {
        libc::CLOCK_REALTIME
    } else if flags & PRECISE != 0 {
        libc::CLOCK_MONOTONIC
    } else {
        libc::CLOCK_MONOTONIC_COARSE
    };
    // SAFETY: from `evutil_monotonic_timer_new`.
    unsafe { (*timer).clock = clock };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_gettime_monotonic(
    timer: *mut evutil_monotonic_timer,
    time: *mut timeval,
) -> c_int {
    // SAFETY: from `evutil_monotonic_timer_new`; a timeval of the caller's; a timespec of this frame.
    unsafe {
        let timer = &mut *timer;
        let mut now: libc::timespec = core::mem::zeroed();
        if libc::clock_gettime(timer.clock, &mut now) != 0 {
            return -1;
        }
        *time = timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 };
        if timer.clock == libc::CLOCK_REALTIME {
            let now_us =
                timer.forward(now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000));
            *time = timeval { tv_sec: now_us / 1_000_000, tv_usec: now_us % 1_000_000 };
        }
    }
    0
}

impl evutil_monotonic_timer {
    /// A wall clock's time, with what it was set back by added.
    fn forward(&mut self, wall_us: i64) -> i64 {
        let now_us = wall_us.saturating_add(self.added_us);
        if now_us < self.latest_us {
            self.added_us = self.added_us.saturating_add(self.latest_us.saturating_sub(now_us));
        } else {
            self.latest_us = now_us;
        }
        self.latest_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_stands_still_and_goes_on() {
        let mut timer = evutil_monotonic_timer { clock: 0, latest_us: 0, added_us: 0 };
        let told: Vec<_> = [100, 110, 50, 60, 55, 200].into_iter().map(|wall| timer.forward(wall)).collect();
        assert_eq!(told, [100, 110, 110, 120, 120, 265]);
    }
}
