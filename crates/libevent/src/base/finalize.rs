//! Finalizers: what is called on the loop when a callback cannot be running any more.

use super::rows::Row;
use super::{Base, deferred::Deferred, deliver, event_base};
use crate::event::Ev;
use crate::event::ev::{EV_FINALIZE, FINALIZING, closure};
use crate::event::{debug, free_memory};
use crate::layout::event;
use core::ffi::c_void;
use duolu_core::{EventId, EventSpec, Ready};

/// event_finalize_callback_fn.
pub type event_finalize_callback_fn = Option<unsafe extern "C-unwind" fn(*mut event, *mut c_void)>;

/// One call that is due.
#[derive(Debug)]
pub struct Finalizer {
    done: unsafe fn(*mut c_void),
    arg: *mut c_void,
    priority: u8,
}

/// Removes these, and calls `done(arg)` on the loop: callbacks run there one after the other, so none of them runs then. It
/// comes in the first event's queue, behind what is due there: a program sees it by when its descriptor is closed. If the loop does not run any more event_base_free calls it, event_base_free_nofinalize does not.
///
/// # Safety
/// `base` is a base, of which nothing is locked or borrowed; the events are assigned to it; all stay until `done` is called.
pub unsafe fn finalize_later(
    base: *mut event_base,
    callbacks: &[*mut event],
    deferred: &[*mut Deferred],
    done: unsafe fn(*mut c_void),
    arg: *mut c_void,
) {
    // SAFETY: the caller's.
    let Some(held) = (unsafe { Base::of(base) }) else { return };
    for &this in deferred {
        // SAFETY: the caller's.
        unsafe { Deferred::cancel(this, base) };
    }
    let mut held = held.enter();
    // SAFETY: the caller's.
    let events = || callbacks.iter().map(|&ev| unsafe { Ev::of(ev) });
    events().for_each(|ev| {
        held.del(ev, false);
    });
    let priority = events().next().map_or(0, Ev::priority).min((held.priorities - 1) as u8);
    let finalizer = Box::into_raw(Box::new(Finalizer { done, arg, priority }));
    if let Ok(id) = held.engine.create(EventSpec { priority, ..EventSpec::new() }) {
        if !held.rows.set(id.index(), Row::Finalizer(finalizer)) {
            held.engine.release(id);
            return;
        }
        held.engine.activate(id, Ready::USER);
        held.wake();
    }
}

/// # Safety
/// As `deliver::pass`; from `finalize_later`.
pub(super) unsafe fn call(base: Base, finalizer: *mut Finalizer) -> u8 {
    // SAFETY: boxed there, and due once.
    unsafe {
        let Finalizer { done, arg, priority } = *Box::from_raw(finalizer);
        deliver::begin_call(base, core::ptr::null_mut());
        done(arg);
        deliver::end_call(base);
        priority
    }
}

/// The base ends.
pub(super) fn run_at_end(base: Base, finalizer: *mut Finalizer, id: EventId, run: bool) {
    base.enter().engine.release(id);
    // SAFETY: as in `call`.
    unsafe {
        let Finalizer { done, arg, .. } = *Box::from_raw(finalizer);
        if run {
            done(arg);
        }
    }
}

impl event_base {
    /// event_finalize: the event is removed, and its callback is from now on `callback`, due once.
    pub(crate) fn finalize(&mut self, ev: Ev, callback: event_finalize_callback_fn, free: bool) {
        self.del(ev, false);
        ev.set_closure(if free { closure::FINALIZE_FREE } else { closure::FINALIZE });
        // SAFETY: a function pointer, kept in the place of another (libevent's struct has a union there); `callback_of`
        // takes it out as what it is.
        let kept = unsafe {
            core::mem::transmute::<event_finalize_callback_fn, crate::layout::event_callback_fn>(callback)
        };
        ev.set_callback(kept);
        self.activate(ev, EV_FINALIZE, 1);
        ev.change_flags(FINALIZING, 0);
    }
}

fn callback_of(ev: Ev) -> event_finalize_callback_fn {
    // SAFETY: put there by `finalize`.
    unsafe {
        core::mem::transmute::<crate::layout::event_callback_fn, event_finalize_callback_fn>(ev.callback())
    }
}

/// # Safety
/// As `deliver::pass`; the event is being finalized.
pub(super) unsafe fn call_event(base: Base, ev: Ev) {
    let (callback, arg, free) = (callback_of(ev), ev.arg(), ev.closure() == closure::FINALIZE_FREE);
    debug::note_teardown(ev.as_ptr());
    // SAFETY: the caller's; the event is there until its finalizer is called, and after it where we are to free it.
    unsafe {
        deliver::begin_call(base, core::ptr::null_mut());
        if let Some(callback) = callback {
            callback(ev.as_ptr(), arg);
        }
        if free {
            free_memory(ev.as_ptr());
        }
        deliver::end_call(base);
    }
}

/// The base ends: an event that waits for its finalizer gets it now.
pub(super) fn run_for_event(_: Base, ev: Ev) {
    if !ev.has(FINALIZING) {
        return;
    }
    let (callback, arg, free) = (callback_of(ev), ev.arg(), ev.closure() == closure::FINALIZE_FREE);
    // SAFETY: as in `call_event`.
    unsafe {
        if let Some(callback) = callback {
            callback(ev.as_ptr(), arg);
        }
        if free {
            free_memory(ev.as_ptr());
        }
    }
}
