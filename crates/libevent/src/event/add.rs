//! event_add, event_del, event_active, and their kin: the lock taken, and callbacks in other threads waited for.

use super::ev::{EV_FINALIZE, EV_SIGNAL, INSERTED, TIMEOUT};
use super::{Ev, debug};
use crate::base::finalize::event_finalize_callback_fn;
use crate::base::{Base, event_base, pending};
use crate::layout::event;
use crate::log;
use core::ffi::{c_int, c_short, c_uint};
use libc::timeval;

/// The base of an event, which a program may have forgotten to give it.
#[inline(always)]
fn base_of(ev: Ev, function: &str) -> Option<Base> {
    // SAFETY: null or a base, as the header says.
    let base = unsafe { Base::of(ev.base()) };
    if base.is_none() {
        no_base(function);
    }
    base
}

#[cold]
fn no_base(function: &str) {
    log::warnx(format_args!("{function}: event has no event_base set."));
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_add(ev: *mut event, tv: *const timeval) -> c_int {
    // SAFETY: the caller's event, and null or a time.
    let (ev, tv) = unsafe { (Ev::of(ev), tv.as_ref()) };
    let Some(base) = base_of(ev, "event_add") else { return -1 };
    if tv.is_none() && base.readd_alone(ev) {
        return 0;
    }
    add(base, ev, tv)
}

/// Apart from event_add, whose quick way needs no stack then.
#[inline(never)]
fn add(base: Base, ev: Ev, tv: Option<&timeval>) -> c_int {
    let mut held = base.enter();
    let done = match tv {
        Some(tv) if held.is_lent(ev) && held.readd_timed(ev, tv) => Some(0),
        Some(tv) => held.add_timer(ev, tv),
        None => held.readd(ev).then_some(0),
    };
    if let Some(result) = done {
        return result;
    }
    if ev.events() & EV_SIGNAL != 0 {
        drop(held);
        await_return(base, ev);
        held = base.enter();
    }
    held.add(ev, tv)
}

/// Waits until a call of the event's callback that runs in another thread is over.
fn await_return(base: Base, ev: Ev) -> bool {
    let held = base.enter();
    let runs = held.runs_elsewhere(ev);
    if runs {
        // SAFETY: the lock is held once, by this thread, which is not the loop's; `held` is not used until it has the lock
        // again.
        unsafe { event_base::await_callback(base) };
    }
    drop(held);
    runs
}

/// How event_del treats a callback that runs now in another thread.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blocking {
    Never,
    /// Unless the event is an EV_FINALIZE one.
    Usually,
    Always,
}

#[inline(always)]
unsafe fn del(ev: *mut event, blocking: Blocking) -> c_int {
    // SAFETY: the caller's event.
    let ev = unsafe { Ev::of(ev) };
    // With threads an event is only looked at under its base's lock.
    if !crate::lock::enabled() && ev.slot() == 0 && ev.flags() & (INSERTED | TIMEOUT) == 0 {
        // Nothing to remove. Its base may be gone by now, as programs have it that free it first.
        if ev.base().is_null() {
            return no_base_del();
        }
        debug::note_added(ev, false);
        if ev.events() & EV_SIGNAL != 0 {
            pending::stop_calls(ev);
        }
        return 0;
    }
    let Some(base) = base_of(ev, "event_del") else { return -1 };
    let waits = match blocking {
        Blocking::Never => false,
        Blocking::Usually => ev.events() & EV_FINALIZE == 0,
        Blocking::Always => true,
    };
    loop {
        let mut held = base.enter();
        let result = held.del(ev, false);
        if held.holds_late(ev.fd()) {
            // SAFETY: the lock is held, the loop waits in another thread, and `held` is not used until it has the lock again.
            unsafe { event_base::await_let_go(base, ev.fd()) };
        }
        if !waits || !held.runs_elsewhere(ev) {
            return result;
        }
        // First removed, then waited, so that it is not called anew meanwhile; then removed once more, because its own
        // callback may have added it.
        drop(held);
        await_return(base, ev);
    }
}

#[cold]
fn no_base_del() -> c_int {
    no_base("event_del");
    -1
}

/// Returns when the event is not pending, not active, and its callback does not run, unless in this thread. Waits for a
/// callback in the loop's thread; not where the event was made with EV_FINALIZE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del(ev: *mut event) -> c_int {
    // SAFETY: the caller's.
    unsafe { del(ev, Blocking::Usually) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del_block(ev: *mut event) -> c_int {
    // SAFETY: the caller's.
    unsafe { del(ev, Blocking::Always) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_del_noblock(ev: *mut event) -> c_int {
    // SAFETY: the caller's.
    unsafe { del(ev, Blocking::Never) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_remove_timer(ev: *mut event) -> c_int {
    // SAFETY: the caller's event.
    let ev = unsafe { Ev::of(ev) };
    let Some(base) = base_of(ev, "event_remove_timer") else { return -1 };
    debug::assert_is_setup("event_remove_timer", ev);
    base.enter().remove_timer(ev)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_active(ev: *mut event, res: c_int, ncalls: c_short) {
    // SAFETY: the caller's event.
    let ev = unsafe { Ev::of(ev) };
    let Some(base) = base_of(ev, "event_active") else { return };
    debug::assert_is_setup("event_active", ev);
    if ev.events() & EV_SIGNAL != 0 {
        await_return(base, ev);
    }
    base.enter().activate(ev, res as c_short, ncalls);
}

unsafe fn finalize(ev: *mut event, callback: event_finalize_callback_fn, free: bool) -> c_int {
    // SAFETY: the caller's event.
    let ev = unsafe { Ev::of(ev) };
    let Some(base) = base_of(ev, "event_finalize") else { return -1 };
    base.enter().finalize(ev, callback, free);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_finalize(
    _flags: c_uint,
    ev: *mut event,
    callback: event_finalize_callback_fn,
) -> c_int {
    // SAFETY: the caller's.
    unsafe { finalize(ev, callback, false) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_free_finalize(
    _flags: c_uint,
    ev: *mut event,
    callback: event_finalize_callback_fn,
) -> c_int {
    // SAFETY: the caller's.
    unsafe { finalize(ev, callback, true) }
}
