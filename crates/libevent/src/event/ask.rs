//! What can be asked of an event.

use super::ev::{EV_SIGNAL, EV_TIMEOUT, INIT, INSERTED, IO, TIMEOUT};
use super::{Ev, debug};
use crate::base::Base;
use crate::event_base;
use crate::layout::{Socket, event, event_callback_fn};
use crate::log;
use core::ffi::{c_int, c_short, c_void};
use libc::timeval;

/// Which of `events` it is pending or active for; with EV_TIMEOUT among them, when it times out by the wall clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_pending(ev: *const event, events: c_short, tv: *mut timeval) -> c_int {
    // SAFETY: the caller's event, its base, and null or room for a time.
    let (ev, tv) = unsafe { (Ev::of(ev.cast_mut()), tv.as_mut()) };
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(ev.base()) }) else {
        log::warnx(format_args!("event_pending: event has no event_base set."));
        return 0;
    };
    let mut base = base.enter();
    debug::assert_is_setup("event_pending", ev);
    let mut is = base.active_as(ev);
    if ev.has(INSERTED) {
        is |= ev.events() & (IO | EV_SIGNAL);
    }
    if ev.has(TIMEOUT) {
        is |= EV_TIMEOUT;
    }
    is &= events & (IO | EV_SIGNAL | EV_TIMEOUT);
    if let Some(tv) = tv
        && is & EV_TIMEOUT != 0
    {
        let at = base.times_out_at(ev);
        *tv = base.wall_time(at);
    }
    c_int::from(is)
}

/// Whether event_assign or event_set was there. Only a guess for memory that was never written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_initialized(ev: *const event) -> c_int {
    // SAFETY: the caller's memory.
    c_int::from(unsafe { Ev::of(ev.cast_mut()) }.has(INIT))
}

macro_rules! getters {
    ($($name:ident: $type:ty = $get:ident;)*) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(ev: *const event) -> $type {
            // SAFETY: the caller's event.
            let ev = unsafe { Ev::of(ev.cast_mut()) };
            debug::assert_is_setup(stringify!($name), ev);
            ev.$get().into()
        }
    )* };
}

getters! {
    event_get_fd: Socket = fd;
    event_get_base: *mut event_base = base;
    event_get_events: c_short = events;
    event_get_callback: event_callback_fn = callback;
    event_get_callback_arg: *mut c_void = arg;
    event_get_priority: c_int = priority;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_get_assignment(
    ev: *const event,
    base: *mut *mut event_base,
    fd: *mut Socket,
    events: *mut c_short,
    callback: *mut event_callback_fn,
    arg: *mut *mut c_void,
) {
    // SAFETY: the caller's event, and nulls or places of the caller's.
    unsafe {
        let ev = Ev::of(ev.cast_mut());
        debug::assert_is_setup("event_get_assignment", ev);
        put(base, ev.base());
        put(fd, ev.fd());
        put(events, ev.events());
        put(callback, ev.callback());
        put(arg, ev.arg());
    }
}

unsafe fn put<T>(at: *mut T, value: T) {
    if !at.is_null() {
        // SAFETY: the caller's.
        unsafe { at.write(value) }
    }
}

/// The event whose callback this thread is in, or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_running_event(base: *mut event_base) -> *mut event {
    // SAFETY: null or a base.
    unsafe { Base::of(base) }.map_or(core::ptr::null_mut(), |base| base.enter().running_event())
}

#[unsafe(no_mangle)]
pub extern "C" fn event_get_struct_event_size() -> usize {
    size_of::<event>()
}
