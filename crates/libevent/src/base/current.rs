//! The base that nobody names: event_init's, and the functions of event_compat.h that use it.

use super::birth::event_base_new_with_config;
use super::control::{event_base_loopbreak, event_base_priority_init};
use super::once::{event_base_loopexit, event_base_once};
use super::run::event_base_loop;
use super::{Base, event_base};
use crate::layout::{Socket, event, event_callback_fn};
use crate::log;
use core::ffi::{c_char, c_int, c_short, c_void};
use core::ptr::{null, null_mut};
use core::sync::atomic::{AtomicPtr, Ordering};
use libc::timeval;

static CURRENT: AtomicPtr<event_base> = AtomicPtr::new(null_mut());

/// The base that event_init made last, or null.
pub fn get() -> *mut event_base {
    CURRENT.load(Ordering::Acquire)
}

/// It ends.
pub(super) fn forget(base: Base) {
    let _ = CURRENT.compare_exchange(base.as_ptr(), null_mut(), Ordering::AcqRel, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
pub extern "C" fn event_init() -> *mut event_base {
    // SAFETY: null is allowed.
    let base = unsafe { event_base_new_with_config(null()) };
    if base.is_null() {
        log::fatal(1, format_args!("event_init: Unable to construct event_base"));
    }
    CURRENT.store(base, Ordering::Release);
    base
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_dispatch() -> c_int {
    // SAFETY: the current base, if there is one.
    unsafe { event_base_loop(get(), 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_loop(flags: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { event_base_loop(get(), flags) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopexit(tv: *const timeval) -> c_int {
    // SAFETY: as above; the time is the caller's.
    unsafe { event_base_loopexit(get(), tv) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_loopbreak() -> c_int {
    // SAFETY: as above.
    unsafe { event_base_loopbreak(get()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_once(
    fd: Socket,
    events: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: as above.
    unsafe { event_base_once(get(), fd, events, callback, arg, tv) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_priority_init(priorities: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { event_base_priority_init(get(), priorities) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_method() -> *const c_char {
    // SAFETY: as above.
    unsafe { super::control::event_base_get_method(get()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_set(
    ev: *mut event,
    fd: Socket,
    events: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) {
    // SAFETY: the caller's memory.
    if unsafe { crate::event::event_assign(ev, get(), fd, events, callback, arg) } != 0 {
        log::fatal(log::ABORT, format_args!("event_set: what is asked for cannot be one event"));
    }
}
