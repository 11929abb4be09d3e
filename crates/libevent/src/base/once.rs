//! event_base_once: a callback without an event of the program's.

use super::{Base, event_base};
use crate::event::ev::{EV_PERSIST, EV_SIGNAL, EV_TIMEOUT, IO};
use crate::event::{Ev, debug, event_assign};
use crate::layout::{Socket, event, event_callback_fn};
use crate::mem;
use core::ffi::{c_int, c_short, c_void};
use core::ptr::{addr_of_mut, null_mut};
use libc::timeval;

/// The event, and what it stands for. All that wait are linked, so that they can be freed with their base.
#[repr(C)]
#[allow(missing_debug_implementations)]
pub struct Once {
    event: event,
    callback: event_callback_fn,
    arg: *mut c_void,
    next: *mut Once,
    prev: *mut Once,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_once(
    base: *mut event_base,
    fd: Socket,
    events: c_short,
    callback: event_callback_fn,
    arg: *mut c_void,
    tv: *const timeval,
) -> c_int {
    // SAFETY: the header's: null or a base.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    if events & (EV_SIGNAL | EV_PERSIST) != 0 || events & (IO | EV_TIMEOUT) == 0 {
        return -1;
    }
    // SAFETY: null or the caller's.
    let tv = unsafe { tv.as_ref() };
    let (fd, asked) = if events & IO != 0 { (fd, events & IO) } else { (-1, 0) };
    // A descriptor's waits for it even where its timeout is over at once.
    let at_once = asked == 0 && tv.is_none_or(|tv| tv.tv_sec == 0 && tv.tv_usec == 0);
    // SAFETY: zeroes are a value of all its fields.
    let once: *mut Once = unsafe { mem::zeroed() };
    if once.is_null() {
        return -1;
    }
    // SAFETY: fresh, and ours until it is linked.
    let ev = unsafe {
        ((*once).callback, (*once).arg) = (callback, arg);
        event_assign(addr_of_mut!((*once).event), base.as_ptr(), fd, asked, Some(run), once.cast());
        Ev::of(addr_of_mut!((*once).event))
    };
    let mut held = base.enter();
    let added = if at_once {
        held.activate(ev, EV_TIMEOUT, 1);
        0
    } else {
        held.add(ev, tv)
    };
    // SAFETY: the lock is held, and what is linked lives.
    unsafe {
        if added != 0 {
            debug::note_teardown(ev.as_ptr());
            mem::free(once.cast());
            return added;
        }
        (*once).next = held.onces;
        if !held.onces.is_null() {
            (*held.onces).prev = once;
        }
        held.onces = once;
    }
    0
}

unsafe extern "C-unwind" fn run(fd: Socket, what: c_short, arg: *mut c_void) {
    let once: *mut Once = arg.cast();
    /// What the callback throws must not keep the memory.
    struct Unlink(*mut Once);
    impl Drop for Unlink {
        fn drop(&mut self) {
            let once = self.0;
            // SAFETY: made above, not pending any more, and linked.
            unsafe {
                if let Some(base) = Base::of((*once).event.base) {
                    let mut held = base.enter();
                    let (next, prev) = ((*once).next, (*once).prev);
                    if !next.is_null() {
                        (*next).prev = prev;
                    }
                    if prev.is_null() { held.onces = next } else { (*prev).next = next }
                }
                debug::note_teardown(addr_of_mut!((*once).event));
                mem::free(once.cast());
            }
        }
    }
    let _unlink = Unlink(once);
    // SAFETY: made above; the callback is the program's.
    unsafe {
        if let Some(callback) = (*once).callback {
            callback(fd, what, (*once).arg);
        }
    }
}

/// The base ends, and its events are removed: they will not be called.
pub(super) fn free_all(base: Base) {
    let mut held = base.enter();
    while !held.onces.is_null() {
        let once = held.onces;
        // SAFETY: linked, and not pending any more.
        unsafe {
            held.onces = (*once).next;
            debug::note_teardown(addr_of_mut!((*once).event));
            mem::free(once.cast());
        }
    }
    held.onces = null_mut();
}

/// loopexit's: at the end of the pass in which it is called the loop ends.
unsafe extern "C-unwind" fn exit(_: Socket, _: c_short, base: *mut c_void) {
    // SAFETY: the base that the event belongs to.
    if let Some(base) = unsafe { Base::of(base.cast()) } {
        base.enter().exit_asked = true;
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopexit(base: *mut event_base, tv: *const timeval) -> c_int {
    // SAFETY: the caller's.
    unsafe { event_base_once(base, -1, EV_TIMEOUT, Some(exit), base.cast(), tv) }
}
