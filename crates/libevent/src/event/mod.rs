//! event2/event.h and event_compat.h, what is about one event: assigned, added, removed, made active, asked.

pub mod add;
pub mod ask;
pub mod debug;
pub mod ev;
pub mod names;
pub mod version;

use crate::base::{Base, current};
use crate::event_base;
use crate::layout::{Socket, event, event_callback_fn};
use crate::{log, mem};
use core::ffi::{c_int, c_short, c_void};
use core::ptr::null_mut;
use ev::{EV_PERSIST, EV_SIGNAL, INIT, IO, closure};

pub use add::{event_active, event_add, event_del, event_del_noblock};
pub use ev::Ev;

/// event_self_cbarg's answer: its address stands for the event itself.
static SELF: u8 = 0;

#[unsafe(no_mangle)]
pub extern "C" fn event_self_cbarg() -> *mut c_void {
    (&raw const SELF).cast_mut().cast()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_assign(
    this: *mut event,
    base: *mut event_base,
    fd: Socket,
    events: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> c_int {
    let base = if base.is_null() { current::get() } else { base };
    let arg = if arg == event_self_cbarg() { this.cast() } else { arg };
    // SAFETY: the caller's memory.
    unsafe { debug::assert_not_added("event_assign", this) };
    if events & EV_SIGNAL == 0 {
        debug::assert_nonblocking(fd);
    }
    // SAFETY: the caller's memory, 128 bytes; nobody else uses it yet.
    let ev = unsafe { Ev::of(this) };
    ev.set_base(base);
    ev.set_callback(callback);
    ev.set_arg(arg);
    ev.set_fd(fd);
    ev.set_events(events);
    ev.set_res(0);
    ev.set_flags(INIT);
    ev.set_slot(0);
    ev.set_ncalls_word(0);
    ev.set_pncalls(0);
    if events & EV_SIGNAL != 0 {
        if events & IO != 0 {
            log::warnx(format_args!(
                "event_assign: EV_SIGNAL is not compatible with EV_READ, EV_WRITE or EV_CLOSED"
            ));
            return -1;
        }
        ev.set_closure(closure::SIGNAL);
    } else {
        ev.set_closure(if events & EV_PERSIST != 0 { closure::PERSIST } else { closure::EVENT });
    }
    // SAFETY: null or a base.
    if let Some(base) = unsafe { Base::of(base) } {
        ev.set_priority(middle_priority(base));
    }
    debug::note_setup(this);
    0
}

/// Where an event goes that is not told where.
fn middle_priority(base: Base) -> u8 {
    // SAFETY: a base; only a number is read, which changes while nothing runs.
    (unsafe { (*base.as_ptr()).priorities } / 2) as u8
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_new(
    base: *mut event_base,
    fd: Socket,
    events: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
) -> *mut event {
    let ev: *mut event = mem::malloc(size_of::<event>()).cast();
    if ev.is_null() {
        return null_mut();
    }
    // SAFETY: fresh memory of that size.
    unsafe {
        if event_assign(ev, base, fd, events, callback, arg) < 0 {
            mem::free(ev.cast());
            return null_mut();
        }
    }
    ev
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_free(ev: *mut event) {
    if ev.is_null() {
        return;
    }
    // SAFETY: from `event_new`, and the caller gives it up.
    unsafe {
        event_del(ev);
        debug::note_teardown(ev);
        free_memory(ev);
    }
}

/// # Safety
/// From `event_new`, neither pending nor active, and used by nobody any more.
pub(crate) unsafe fn free_memory(ev: *mut event) {
    // SAFETY: the caller's.
    unsafe { mem::free(ev.cast()) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_debug_unassign(ev: *mut event) {
    // SAFETY: the caller's event.
    unsafe { debug::assert_not_added("event_debug_unassign", ev) };
    debug::note_teardown(ev);
    // SAFETY: the caller's.
    unsafe { Ev::of(ev) }.change_flags(0, INIT);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_set(base: *mut event_base, ev: *mut event) -> c_int {
    // SAFETY: null or a base, and the caller's event.
    let (Some(held), ev) = (unsafe { (Base::of(base), Ev::of(ev)) }) else { return -1 };
    // Not once it is pending, active, or more than that.
    if ev.flags() != INIT || ev.slot() != 0 {
        return -1;
    }
    debug::assert_is_setup("event_base_set", ev);
    ev.set_base(base);
    ev.set_priority(middle_priority(held));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_priority_set(ev: *mut event, priority: c_int) -> c_int {
    // SAFETY: the caller's event, with its base.
    let ev = unsafe { Ev::of(ev) };
    debug::assert_is_setup("event_priority_set", ev);
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(ev.base()) }) else { return -1 };
    let mut base = base.enter();
    let Ok(priority) = u8::try_from(priority) else { return -1 };
    if u16::from(priority) >= base.priorities {
        return -1;
    }
    if let Some(id) = ev.id()
        && !base.engine.set_priority(id, priority)
    {
        return -1;
    }
    ev.set_priority(priority);
    0
}
