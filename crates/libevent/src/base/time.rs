//! Timeouts and times: libevent's timevals, and the engine's nanoseconds.

use super::config::NO_CACHE_TIME;
use super::{Base, base_or_current, event_base};
use crate::event::Ev;
use crate::event::ev::{ACTIVE, EV_SIGNAL};
use core::ffi::c_int;
use duolu_core::{Clock, CommonTimeout, Instant, Ready, Timeout};
use duolu_sys::MonotonicClock;
use libc::timeval;

/// A timeval's microseconds take 20 bits. In a common timeout those above say that it is one, and which.
const MICROSECONDS: i64 = 0x000f_ffff;
const INDEX: i64 = 0x0ff0_0000;
const INDEX_SHIFT: u32 = 20;
const MAGIC_MASK: i64 = 0xf000_0000;
const MAGIC: i64 = 0x5000_0000;

/// A century: so many nanoseconds fit.
const MOST_SECONDS: u64 = 100 * 366 * 86_400;

/// How long the difference of the two clocks is believed, in seconds. libevent looks every 5 seconds, too.
const DIFFERENCE_SECONDS: u64 = 5;

/// A base's own times.
#[derive(Debug, Default)]
pub struct Times {
    /// The program holds pointers to these.
    common: Vec<(Box<timeval>, CommonTimeout)>,
    /// Wall clock less monotonic clock, in nanoseconds, and when that was found.
    difference_ns: i64,
    found: Option<Instant>,
}

/// Nanoseconds of a timeout; less than nothing is nothing.
#[inline]
pub fn nanos(tv: &timeval) -> u64 {
    let (seconds, micros) = (tv.tv_sec, tv.tv_usec);
    if seconds < 0 {
        return 0;
    }
    (seconds as u64).saturating_mul(1_000_000_000).saturating_add_signed(micros.saturating_mul(1_000))
}

fn timeval_of(ns: i64) -> timeval {
    timeval { tv_sec: ns.div_euclid(1_000_000_000), tv_usec: ns.rem_euclid(1_000_000_000) / 1_000 }
}

/// The wall clock, in nanoseconds.
fn wall_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` outlives the call, which cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

impl event_base {
    /// When `ev` is to time out. Persistent events start anew each time; a signal's times out once.
    #[inline]
    pub(crate) fn timeout_of(&mut self, ev: Ev, tv: &timeval) -> Timeout {
        // Times count from this turn's time within the loop, and from now outside.
        if !self.running || self.flags & NO_CACHE_TIME != 0 {
            self.engine.forget_now();
        }
        // The usual: no more than the microseconds of a second, and so not a common one either; nothing overflows.
        if tv.tv_sec as u64 <= MOST_SECONDS
            && tv.tv_usec as u64 <= MICROSECONDS as u64
            && ev.events() & EV_SIGNAL == 0
        {
            return Timeout::After(tv.tv_sec as u64 * 1_000_000_000 + tv.tv_usec as u64 * 1_000);
        }
        match self.common_index(tv) {
            Some(index) if ev.events() & EV_SIGNAL == 0 => Timeout::Common(self.time.common[index].1),
            _ => self.unusual_timeout(ev, tv),
        }
    }

    #[inline(never)]
    fn unusual_timeout(&mut self, ev: Ev, tv: &timeval) -> Timeout {
        let ns = match self.common_index(tv) {
            None => nanos(tv),
            Some(_) => nanos(&timeval { tv_usec: tv.tv_usec & MICROSECONDS, ..*tv }),
        };
        if ev.events() & EV_SIGNAL != 0 {
            return Timeout::At(self.engine.now().saturating_add_nanos(ns));
        }
        Timeout::After(ns)
    }

    #[inline]
    fn common_index(&self, tv: &timeval) -> Option<usize> {
        if tv.tv_usec & MAGIC_MASK != MAGIC {
            return None;
        }
        let index = ((tv.tv_usec & INDEX) >> INDEX_SHIFT) as usize;
        (index < self.time.common.len()).then_some(index)
    }

    fn init_common(&mut self, duration: &timeval) -> *const timeval {
        let micros = match self.common_index(duration) {
            Some(_) => duration.tv_usec & MICROSECONDS,
            None => duration.tv_usec,
        };
        let (tv_sec, tv_usec) = (duration.tv_sec + micros / 1_000_000, micros % 1_000_000);
        let ns = nanos(&timeval { tv_sec, tv_usec });
        let index = self.time.common.len();
        let Some(queue) = self.engine.timers().common(ns) else {
            crate::log::warnx(format_args!(
                "event_base_init_common_timeout: 256 common timeouts are in use already, which is all a base has"
            ));
            return core::ptr::null();
        };
        if let Some((known, _)) = self.time.common.iter().find(|(_, known)| *known == queue) {
            return &**known;
        }
        let magic = MAGIC | (index as i64) << INDEX_SHIFT;
        let made = Box::new(timeval { tv_sec, tv_usec: tv_usec | magic });
        let address: *const timeval = &*made;
        self.time.common.push((made, queue));
        address
    }

    /// Wall clock less monotonic clock, as it was found at most 5 seconds ago.
    fn difference_ns(&mut self) -> i64 {
        let now = self.engine.now();
        let old = |found: Instant| now.saturating_nanos_since(found) > DIFFERENCE_SECONDS * 1_000_000_000;
        if self.time.found.is_none_or(old) {
            self.time.difference_ns = wall_ns() - MonotonicClock.now().as_nanos() as i64;
            self.time.found = Some(now);
        }
        self.time.difference_ns
    }

    /// When an event that is pending or active for EV_TIMEOUT times out. One whose timeout is over and was not told yet does
    /// so now.
    pub(crate) fn times_out_at(&mut self, ev: Ev) -> Instant {
        let id = ev.id().filter(|id| ev.has(ACTIVE) || !self.engine.due(*id).intersects(Ready::TIMEOUT));
        let deadline = id.and_then(|id| self.engine.reactor().deadline(id));
        deadline.unwrap_or_else(|| self.engine.now())
    }

    /// An instant by the wall clock.
    pub(crate) fn wall_time(&mut self, at: Instant) -> timeval {
        timeval_of((at.as_nanos() as i64).saturating_add(self.difference_ns()))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_init_common_timeout(
    base: *mut event_base,
    duration: *const timeval,
) -> *const timeval {
    // SAFETY: the header's: a base, and a timeval.
    let (base, duration) = unsafe { (Base::of(base), duration.as_ref()) };
    match (base, duration) {
        (Some(base), Some(duration)) => base.enter().init_common(duration),
        _ => core::ptr::null(),
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_gettimeofday_cached(base: *mut event_base, tv: *mut timeval) -> c_int {
    // SAFETY: null or the caller's.
    let (base, Some(tv)) = (unsafe { (base_or_current(base), tv.as_mut()) }) else { return -1 };
    *tv = match base {
        Some(base) => {
            let mut base = base.enter();
            if base.running && base.flags & NO_CACHE_TIME == 0 && !base.waiting {
                let now = base.engine.now();
                base.wall_time(now)
            } else {
                timeval_of(wall_ns())
            }
        }
        None => timeval_of(wall_ns()),
    };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_update_cache_time(base: *mut event_base) -> c_int {
    // SAFETY: null or the caller's.
    let Some(base) = (unsafe { base_or_current(base) }) else { return -1 };
    let mut base = base.enter();
    if base.running {
        base.engine.forget_now();
        base.engine.now();
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_gettime_monotonic(base: *mut event_base, tv: *mut timeval) -> c_int {
    // SAFETY: null or the caller's.
    match unsafe { tv.as_mut() } {
        Some(tv) if !base.is_null() => {
            *tv = timeval_of(MonotonicClock.now().as_nanos() as i64);
            0
        }
        _ => -1,
    }
}
