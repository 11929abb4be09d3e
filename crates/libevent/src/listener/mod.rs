//! event2/listener.h: listeners, which accept and hand out.
//!
//! (a) Any call may come from within the callback, freeing too: `running` counts the ways in, and the last one out frees.
//! (b) With LEV_OPT_THREADSAFE other threads call as well. The lock is held for everything but callbacks and waits.
//!     event_del waits for a running callback, which wants the lock: so it is called without. Freeing does not wait: the
//!     descriptor is closed under the lock, where nobody accepts, and the memory goes when the loop is through with both
//!     events (event_finalize).
//! (c) Out of descriptors a listener stays readable: asking again at once takes a core and fills the log. So accepting pauses
//!     for [`PAUSE_US`], whatever the error, and one line a second is said.
//! (d) An unnamed Unix peer has an address of 2 bytes. What is handed out is zero behind it (CVE-2026-63388).

mod accept;
mod create;

use crate::layout::{Socket, event};
use crate::{event_base, lock, mem};
use core::ffi::{c_int, c_short, c_uint, c_void};
use core::ptr::addr_of_mut;
use libc::{sockaddr, timeval};

/// 50 ms: 20 tries a second cost nothing, and who was out of descriptors accepts again within a tenth of a second.
const PAUSE_US: i64 = 50_000;

const LEAVE_SOCKETS_BLOCKING: c_uint = 1 << 0;
const CLOSE_ON_FREE: c_uint = 1 << 1;
const CLOSE_ON_EXEC: c_uint = 1 << 2;
const REUSEABLE: c_uint = 1 << 3;
const THREADSAFE: c_uint = 1 << 4;
const DISABLED: c_uint = 1 << 5;
const DEFERRED_ACCEPT: c_uint = 1 << 6;
const REUSEABLE_PORT: c_uint = 1 << 7;
const BIND_IPV6ONLY: c_uint = 1 << 8;

pub type Callback =
    unsafe extern "C-unwind" fn(*mut evconnlistener, Socket, *mut sockaddr, c_int, *mut c_void);
pub type ErrorCallback = unsafe extern "C-unwind" fn(*mut evconnlistener, *mut c_void);
type EventCallback = unsafe extern "C-unwind" fn(Socket, c_short, *mut c_void);
type FinalizeCallback = unsafe extern "C-unwind" fn(*mut event, *mut c_void);

// Rust is at the other side, too.
#[allow(improper_ctypes)]
unsafe extern "C" {
    fn event_assign(
        event: *mut event,
        base: *mut event_base,
        fd: Socket,
        what: c_short,
        callback: Option<EventCallback>,
        arg: *mut c_void,
    ) -> c_int;
    fn event_add(event: *mut event, timeout: *const timeval) -> c_int;
    fn event_del(event: *mut event) -> c_int;
    fn event_finalize(flags: c_uint, event: *mut event, callback: Option<FinalizeCallback>) -> c_int;
    fn event_debug_unassign(event: *mut event);
}

/// struct evconnlistener: opaque to programs.
pub struct evconnlistener {
    /// Readable: there is somebody to accept.
    readable: event,
    /// The end of a pause: (c).
    rested: event,
    base: *mut event_base,
    /// Null without LEV_OPT_THREADSAFE, or without threads.
    lock: *mut c_void,
    fd: Socket,
    callback: Option<Callback>,
    error_callback: Option<ErrorCallback>,
    arg: *mut c_void,
    flags: c_uint,
    /// Ways in that have not come out: (a).
    running: u32,
    enabled: bool,
    freed: bool,
}

/// Ends the listener: nobody has it any more.
///
/// # Safety
/// Its events are neither pending nor running.
unsafe fn dispose(this: *mut evconnlistener) {
    // SAFETY: the caller's.
    unsafe {
        event_debug_unassign(addr_of_mut!((*this).readable));
        event_debug_unassign(addr_of_mut!((*this).rested));
        let lock = (*this).lock;
        // Who freed it may still hold the lock.
        lock::acquire(lock);
        lock::release(lock);
        lock::free(lock, true);
        mem::free(this.cast());
    }
}

unsafe extern "C-unwind" fn finalized_one(_: *mut event, this: *mut c_void) {
    let this = this.cast::<evconnlistener>();
    // SAFETY: the first event was the listener's, which lives until the second is finalized, too.
    unsafe { event_finalize(0, addr_of_mut!((*this).rested), Some(finalized_both)) };
}

unsafe extern "C-unwind" fn finalized_both(_: *mut event, this: *mut c_void) {
    // SAFETY: the loop is through with both events, and the listener was freed.
    unsafe { dispose(this.cast()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_free(this: *mut evconnlistener) {
    // SAFETY: a listener that nobody frees twice: what the header asks.
    unsafe {
        let guard = lock::Guard::of((*this).lock);
        (*this).callback = None;
        (*this).error_callback = None;
        (*this).enabled = false;
        (*this).freed = true;
        let threaded = !(*this).lock.is_null();
        if threaded {
            if event_finalize(0, addr_of_mut!((*this).readable), Some(finalized_one)) != 0 {
                // No memory to wait with: nothing calls it any more, but somebody may be on the way in, so it stays.
                accept::event_del_without_wait(addr_of_mut!((*this).readable));
                accept::event_del_without_wait(addr_of_mut!((*this).rested));
            }
        } else {
            event_del(addr_of_mut!((*this).readable));
            event_del(addr_of_mut!((*this).rested));
        }
        // After the kernel was told.
        if (*this).flags & CLOSE_ON_FREE != 0 {
            libc::close((*this).fd);
        }
        // With threads `finalized_both` may wait for the lock already: behind the guard it is the loop's.
        let unused = !threaded && (*this).running == 0;
        drop(guard);
        if unused {
            dispose(this);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_enable(this: *mut evconnlistener) -> c_int {
    // SAFETY: a listener: what the header asks.
    unsafe {
        let _guard = lock::Guard::of((*this).lock);
        (*this).enabled = true;
        if (*this).callback.is_some() { accept::resume(this) } else { 0 }
    }
}

/// When it returns, no callback runs in another thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_disable(this: *mut evconnlistener) -> c_int {
    // SAFETY: a listener: what the header asks.
    unsafe {
        let guard = lock::Guard::of((*this).lock);
        (*this).enabled = false;
        drop(guard);
        // (b)
        let result = event_del(addr_of_mut!((*this).readable)) | event_del(addr_of_mut!((*this).rested));
        let _guard = lock::Guard::of((*this).lock);
        // Somebody may have enabled it in between.
        if (*this).enabled && (*this).callback.is_some() { accept::resume(this) } else { result }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_get_base(this: *mut evconnlistener) -> *mut event_base {
    // SAFETY: a listener: what the header asks. Never changed.
    unsafe { (*this).base }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_get_fd(this: *mut evconnlistener) -> Socket {
    // SAFETY: a listener: what the header asks. Never changed.
    unsafe { (*this).fd }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_set_cb(
    this: *mut evconnlistener,
    callback: Option<Callback>,
    arg: *mut c_void,
) {
    // SAFETY: a listener: what the header asks.
    unsafe {
        let _guard = lock::Guard::of((*this).lock);
        let begins = (*this).enabled && (*this).callback.is_none() && callback.is_some();
        (*this).callback = callback;
        (*this).arg = arg;
        if begins {
            accept::resume(this);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_set_error_cb(
    this: *mut evconnlistener,
    callback: Option<ErrorCallback>,
) {
    // SAFETY: a listener: what the header asks.
    unsafe {
        let _guard = lock::Guard::of((*this).lock);
        (*this).error_callback = callback;
    }
}
