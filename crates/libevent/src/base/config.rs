//! struct event_config: what a base is to be like, before it is made.

use crate::mem;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;
use libc::timeval;

pub const NOLOCK: u32 = 1;
pub const IGNORE_ENV: u32 = 2;
pub const NO_CACHE_TIME: u32 = 8;
pub const EPOLL_USE_CHANGELIST: u32 = 0x10;
pub const PRECISE_TIMER: u32 = 0x20;

/// When a pass over the due callbacks ends early, so that the kernel is asked for more urgent ones.
#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    /// After so long, in nanoseconds.
    pub interval_ns: Option<u64>,
    /// After so many callbacks.
    pub max_callbacks: u32,
    /// Only in queues of this priority and less urgent ones.
    pub from_priority: u8,
}

impl Dispatch {
    pub const NO_LIMIT: Dispatch = Dispatch { interval_ns: None, max_callbacks: u32::MAX, from_priority: 1 };
}

/// Opaque to programs.
#[derive(Debug)]
pub struct event_config {
    pub(crate) avoid: Vec<Vec<u8>>,
    pub(crate) features: c_int,
    pub(crate) flags: u32,
    pub(crate) dispatch: Dispatch,
}

#[unsafe(no_mangle)]
pub extern "C" fn event_config_new() -> *mut event_config {
    let config = event_config { avoid: Vec::new(), features: 0, flags: 0, dispatch: Dispatch::NO_LIMIT };
    let memory = mem::malloc(size_of::<event_config>()).cast::<event_config>();
    if !memory.is_null() {
        // SAFETY: fresh, large enough, and malloc's alignment is enough.
        unsafe { ptr::write(memory, config) };
    }
    memory
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_free(config: *mut event_config) {
    if config.is_null() {
        return;
    }
    // SAFETY: from `event_config_new`, and the caller gives it up.
    unsafe {
        ptr::drop_in_place(config);
        mem::free(config.cast());
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_avoid_method(config: *mut event_config, name: *const c_char) -> c_int {
    if config.is_null() || name.is_null() {
        set_errno(Errno(libc::EINVAL));
        return -1;
    }
    // SAFETY: from `event_config_new`, and a C string.
    let (config, name) = unsafe { (&mut *config, CStr::from_ptr(name)) };
    let mut copy = Vec::new();
    let room = config.avoid.try_reserve(1).and_then(|()| copy.try_reserve_exact(name.to_bytes().len()));
    if room.is_err() {
        set_errno(Errno(libc::ENOMEM));
        return -1;
    }
    copy.extend_from_slice(name.to_bytes());
    config.avoid.push(copy);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_require_features(config: *mut event_config, features: c_int) -> c_int {
    change(config, |config| config.features = features)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_flag(config: *mut event_config, flag: c_int) -> c_int {
    change(config, |config| config.flags |= flag as u32)
}

/// A hint for Windows' completion ports: nothing to do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_num_cpus_hint(config: *mut event_config, _cpus: c_int) -> c_int {
    change(config, |_| ())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_config_set_max_dispatch_interval(
    config: *mut event_config,
    interval: *const timeval,
    callbacks: c_int,
    min_priority: c_int,
) -> c_int {
    // SAFETY: null or the caller's.
    let interval = unsafe { interval.as_ref() };
    change(config, |config| {
        config.dispatch = Dispatch {
            interval_ns: interval.filter(|tv| tv.tv_sec >= 0).map(super::time::nanos),
            max_callbacks: match u32::try_from(callbacks) {
                // No limit is written as INT_MAX, too.
                // None at all is one, as with libevent: nothing would ever be told.
                Ok(callbacks) if callbacks < c_int::MAX as u32 => callbacks.max(1),
                _ => u32::MAX,
            },
            from_priority: min_priority.clamp(0, 255) as u8,
        };
    })
}

fn change(config: *mut event_config, change: impl FnOnce(&mut event_config)) -> c_int {
    // SAFETY: null or from `event_config_new`, used by one thread.
    match unsafe { config.as_mut() } {
        Some(config) => {
            change(config);
            0
        }
        None => -1,
    }
}
