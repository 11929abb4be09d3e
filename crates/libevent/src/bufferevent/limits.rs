//! Rate limits: of one bufferevent here, of many in [`super::groups`]. Both are the core's buckets, by ticks.

use super::events::Own;
use super::lifetime::{Held, Locked};
use super::rare::MOST_AT_ONCE;
use super::{Bev, groups, why};
use crate::event::ask::event_initialized;
use crate::layout::{bufferevent, event};
use crate::mem;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_short, c_void};
use duolu_core::stream::{Bucket, Direction, Pace, Ticks};
use duolu_core::{Clock, Instant};
use duolu_sys::MonotonicClock;
use libc::timeval;

/// What a tick is without a length: a second.
const SECOND: timeval = timeval { tv_sec: 1, tv_usec: 0 };
/// EV_RATE_LIMIT_MAX.
const MOST: usize = isize::MAX as usize;
/// Microseconds of a tick are these bits, as with common timeouts.
const MICROSECONDS: i64 = 0x000f_ffff;

/// struct ev_token_bucket_cfg: opaque to programs.
#[derive(Clone, Copy)]
pub struct ev_token_bucket_cfg {
    pub read: Ticks,
    pub write: Ticks,
}

/// A bufferevent's own limits.
pub struct Limit {
    /// What the program gave, only to be shown to it again; what it says was copied.
    cfg: *const ev_token_bucket_cfg,
    read: Bucket,
    write: Bucket,
}

/// Null for rates that cannot be: none at all, or more than the burst.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ev_token_bucket_cfg_new(
    read_rate: usize,
    read_burst: usize,
    write_rate: usize,
    write_burst: usize,
    tick: *const timeval,
) -> *mut ev_token_bucket_cfg {
    let ordered = read_rate <= read_burst && write_rate <= write_burst && read_rate >= 1 && write_rate >= 1;
    if !ordered || read_burst > MOST || write_burst > MOST {
        return core::ptr::null_mut();
    }
    // SAFETY: the caller's, or null.
    let tick = unsafe { tick.as_ref() }.unwrap_or(&SECOND);
    // Fractions of a millisecond are ignored; a tick of none is taken as the shortest there is.
    let tick_ms = (tick.tv_sec.saturating_mul(1000)).saturating_add((tick.tv_usec & MICROSECONDS) / 1000);
    let tick_ns = u64::try_from(tick_ms).unwrap_or(0).max(1).saturating_mul(1_000_000);
    let ticks =
        |rate: usize, burst: usize| Ticks { bytes_per_tick: rate as u64, burst: burst as u64, tick_ns };
    let cfg =
        ev_token_bucket_cfg { read: ticks(read_rate, read_burst), write: ticks(write_rate, write_burst) };
    let memory = mem::malloc(size_of::<ev_token_bucket_cfg>()).cast::<ev_token_bucket_cfg>();
    if !memory.is_null() {
        // SAFETY: fresh memory of its size, aligned as malloc aligns.
        unsafe { memory.write(cfg) };
    }
    memory
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn ev_token_bucket_cfg_free(cfg: *mut ev_token_bucket_cfg) {
    // SAFETY: from ev_token_bucket_cfg_new, and not used any more.
    unsafe { mem::free(cfg.cast()) };
}

pub fn now() -> Instant {
    MonotonicClock.now()
}

/// A time from now, for event_add; at least a microsecond, because none at all is no timeout.
pub fn until(deadline: Instant, now: Instant) -> timeval {
    let us = deadline.saturating_nanos_since(now).div_ceil(1000).max(1);
    timeval { tv_sec: (us / 1_000_000) as i64, tv_usec: (us % 1_000_000) as i64 }
}

impl Limit {
    fn bucket(&mut self, direction: Direction) -> &mut Bucket {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Bev {
    /// Its own limits, if it has any.
    fn limit<R>(self, work: impl FnOnce(&mut Limit) -> R) -> Option<R> {
        let limit = self.rare()?.limit.get();
        // SAFETY: under the lock, and `work` only counts: nothing in it comes back here.
        unsafe { (*limit).as_deref_mut() }.map(work)
    }

    /// The timer that says when there is more to be had; None where none was needed yet.
    pub(super) fn limit_timer(self) -> Option<*mut event> {
        let timer = self.rare()?.timer.get();
        // SAFETY: under the lock; it is set once.
        unsafe { (*timer).as_deref().map(UnsafeCell::get) }
    }

    pub(super) fn limit_timer_or_new(self) -> Own {
        let place = self.rare_or_new().timer.get();
        // SAFETY: as above. An event of zeroes is one that is not initialised.
        let timer =
            unsafe { (*place).get_or_insert_with(|| Box::new(UnsafeCell::new(core::mem::zeroed()))).get() };
        // SAFETY: an event that lives.
        if unsafe { event_initialized(timer) } == 0 {
            Own(timer).assign(self.base.get(), -1, 0, refill, self.public().cast());
        }
        Own(timer)
    }

    /// How many bytes may move at once. Where a group has none left it queues there.
    pub(super) fn allowance(self, direction: Direction) -> usize {
        let most = self.most_at_once(direction);
        if self.rare().is_none() {
            return most;
        }
        let now = now();
        // The header's "no matter how big our bucket gets" does not hold in libevent, either.
        let own = self.limit(|limit| limit.bucket(direction).available(now) as usize);
        let shared = groups::allowed(self, direction, now);
        own.unwrap_or(most).min(shared.unwrap_or(usize::MAX))
    }

    pub(super) fn most_at_once(self, direction: Direction) -> usize {
        let set = self.rare().map_or(0, |rare| match direction {
            Direction::Read => rare.max_single_read.get(),
            Direction::Write => rare.max_single_write.get(),
        });
        if set == 0 { MOST_AT_ONCE } else { set }
    }

    /// So many bytes have moved: where nothing is left it rests.
    #[inline]
    pub(super) fn moved(self, direction: Direction, bytes: usize) {
        if self.rare().is_some() {
            self.count(direction, bytes);
        }
    }

    #[cold]
    fn count(self, direction: Direction, bytes: usize) {
        let now = now();
        let left = self.limit(|limit| {
            limit.bucket(direction).take(bytes as u64);
            limit.bucket(direction).left(now)
        });
        if let Some(left) = left {
            self.rest_or_not(direction, left);
        }
        groups::moved(self, direction, bytes, now);
    }

    /// Rests where its bucket is empty, and goes on where it is not.
    fn rest_or_not(self, direction: Direction, left: i64) {
        let rests = self.suspended(direction) & why::LIMIT != 0;
        if left <= 0 && !rests {
            self.suspend(direction, why::LIMIT);
            self.wait_for_tick(now());
        } else if left > 0 && rests {
            self.resume(direction, why::LIMIT);
        }
    }

    /// Has the timer ring when a bucket that is waited for holds something.
    fn wait_for_tick(self, now: Instant) -> bool {
        let waits = |direction| self.suspended(direction) & why::LIMIT != 0;
        let at = [Direction::Read, Direction::Write].into_iter().filter(|direction| waits(*direction));
        let at = at.filter_map(|direction| self.limit(|limit| limit.bucket(direction).ready_at())).min();
        at.is_none_or(|at| self.limit_timer_or_new().add(until(at, now)))
    }

    pub(super) fn suspended(self, direction: Direction) -> u8 {
        match direction {
            Direction::Read => self.read_suspended.get(),
            Direction::Write => self.write_suspended.get(),
        }
    }

    pub(super) fn suspend(self, direction: Direction, why: u8) {
        match direction {
            Direction::Read => self.suspend_read(why),
            Direction::Write => self.suspend_write(why),
        }
    }

    pub(super) fn resume(self, direction: Direction, why: u8) {
        match direction {
            Direction::Read => self.resume_read(why),
            Direction::Write => self.resume_write(why),
        }
    }

    fn set_limit(self, cfg: *const ev_token_bucket_cfg) -> bool {
        // SAFETY: the caller's, or null.
        let Some(paces) = (unsafe { cfg.as_ref() }) else {
            // Who has never had one goes on as it is: beginning anew would be seen (a write callback, bytes of a pair).
            if let Some(rare) = self.rare().filter(|_| self.limit_timer().is_some()) {
                // SAFETY: under the lock.
                let in_group = unsafe {
                    *rare.limit.get() = None;
                    (*rare.membership.get()).is_some()
                };
                if !in_group {
                    self.limit_timer_or_new().del(); // or the loop would wait for it
                }
                self.resume_read(why::LIMIT);
                self.resume_write(why::LIMIT);
            }
            return true;
        };
        if self.limit(|limit| limit.cfg) == Some(cfg) {
            return true;
        }
        self.limit_timer_or_new();
        let (now, place) = (now(), self.rare_or_new().limit.get());
        // SAFETY: under the lock.
        let limit = unsafe {
            (*place).get_or_insert_with(|| {
                Box::new(Limit { cfg, read: Bucket::new(paces.read), write: Bucket::new(paces.write) })
            })
        };
        limit.cfg = cfg;
        // What was taken stays taken.
        limit.read.set_pace(paces.read);
        limit.write.set_pace(paces.write);
        let left = (limit.read.left(now), limit.write.left(now));
        for (direction, left) in [(Direction::Read, left.0), (Direction::Write, left.1)] {
            if left > 0 {
                self.resume(direction, why::LIMIT);
            } else {
                self.suspend(direction, why::LIMIT);
            }
        }
        self.wait_for_tick(now)
    }

    /// What is left of its own limit.
    fn left(self, direction: Direction) -> isize {
        let _locked = Locked::of(self);
        let now = now();
        self.limit(|limit| limit.bucket(direction).left(now)).map_or(isize::MAX, |left| left as isize)
    }

    /// Takes `bytes` from its own limit; negative, it gives them.
    fn charge(self, direction: Direction, bytes: isize) -> c_int {
        let _held = Held::of(self);
        let now = now();
        let left = self.limit(|limit| {
            limit.bucket(direction).left(now);
            limit.bucket(direction).charge(bytes as i64);
            limit.bucket(direction).left(now)
        });
        let Some(left) = left else { return -1 };
        self.rest_or_not(direction, left);
        0
    }
}

/// The limit's timer has rung, or the group has let it go.
unsafe extern "C-unwind" fn refill(_: c_int, _: c_short, bev: *mut c_void) {
    // SAFETY: the bufferevent that the timer belongs to.
    let bev = unsafe { Bev::of(bev.cast()) };
    let Some(_held) = Held::unless_dying(bev) else { return };
    let now = now();
    for direction in [Direction::Read, Direction::Write] {
        if bev.suspended(direction) & why::LIMIT != 0 {
            let left = bev.limit(|limit| limit.bucket(direction).left(now));
            if left.is_none_or(|left| left > 0) {
                bev.resume(direction, why::LIMIT);
            }
        }
        if bev.suspended(direction) & why::GROUP != 0 && !groups::rests(bev, direction) {
            bev.resume(direction, why::GROUP);
        }
    }
    bev.wait_for_tick(now);
}

/// The pace of one direction.
pub fn pace(cfg: &ev_token_bucket_cfg, direction: Direction) -> Pace {
    match direction {
        Direction::Read => cfg.read.into(),
        Direction::Write => cfg.write.into(),
    }
}

/// Null takes the limits away. The cfg is the program's, and copied.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_set_rate_limit(
    bev: *mut bufferevent,
    cfg: *mut ev_token_bucket_cfg,
) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    match mem::fallible(|| bev.set_limit(cfg), |_| {}) {
        Some(true) => 0,
        _ => -1,
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_token_bucket_cfg(
    bev: *const bufferevent,
) -> *const ev_token_bucket_cfg {
    // SAFETY: the caller's bufferevent, here and below.
    let bev = unsafe { Bev::of(bev.cast_mut()) };
    let _locked = Locked::of(bev);
    bev.limit(|limit| limit.cfg).unwrap_or(core::ptr::null())
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_read_limit(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.left(Direction::Read)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_write_limit(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.left(Direction::Write)
}

/// -1 without a limit.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_decrement_read_limit(
    bev: *mut bufferevent,
    bytes: isize,
) -> c_int {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.charge(Direction::Read, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_decrement_write_limit(
    bev: *mut bufferevent,
    bytes: isize,
) -> c_int {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.charge(Direction::Write, bytes)
}

fn get_most(bev: Bev, direction: Direction) -> isize {
    let _locked = Locked::of(bev);
    bev.most_at_once(direction) as isize
}

/// What may move now, by all limits.
fn get_allowance(bev: Bev, direction: Direction) -> isize {
    let _locked = Locked::of(bev);
    bev.allowance(direction).min(MOST) as isize
}

fn set_most(bev: Bev, direction: Direction, bytes: usize) -> c_int {
    let _locked = Locked::of(bev);
    let bytes = if bytes > MOST { 0 } else { bytes };
    if bytes == 0 && bev.rare().is_none() {
        return 0;
    }
    let Some(rare) = mem::fallible(|| bev.rare_or_new(), |_| {}) else { return -1 };
    match direction {
        Direction::Read => rare.max_single_read.set(bytes),
        Direction::Write => rare.max_single_write.set(bytes),
    }
    0
}

/// 0, or more than there can be: as much as is good.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_set_max_single_read(
    bev: *mut bufferevent,
    bytes: usize,
) -> c_int {
    // SAFETY: as above.
    set_most(unsafe { Bev::of(bev) }, Direction::Read, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_set_max_single_write(
    bev: *mut bufferevent,
    bytes: usize,
) -> c_int {
    // SAFETY: as above.
    set_most(unsafe { Bev::of(bev) }, Direction::Write, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_max_single_read(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    get_most(unsafe { Bev::of(bev) }, Direction::Read)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_max_single_write(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    get_most(unsafe { Bev::of(bev) }, Direction::Write)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_max_to_read(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    get_allowance(unsafe { Bev::of(bev) }, Direction::Read)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_max_to_write(bev: *mut bufferevent) -> isize {
    // SAFETY: as above.
    get_allowance(unsafe { Bev::of(bev) }, Direction::Write)
}
