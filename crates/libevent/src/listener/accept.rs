//! Accepting, and pausing where that fails.

use super::{CLOSE_ON_EXEC, LEAVE_SOCKETS_BLOCKING, PAUSE_US, dispose, evconnlistener, event_add, event_del};
use crate::layout::Socket;
use crate::{lock, log};
use core::ffi::{c_int, c_short, c_void};
use core::mem::MaybeUninit;
use core::ptr::{addr_of_mut, null};
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};
use duolu_core::Errno;
use duolu_sys::syscall::last_errno;
use libc::{sockaddr_storage, timeval};

/// A way into a listener: while it lives, the listener does. Goes out of scope also when a callback throws.
struct Inside(*mut evconnlistener);

impl Inside {
    /// # Safety
    /// A listener that is not freed, or that a way in keeps; its lock is held.
    unsafe fn of(this: *mut evconnlistener) -> Self {
        // SAFETY: the caller's.
        unsafe { (*this).running += 1 };
        Self(this)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let this = self.0;
        // SAFETY: alive because of us. With threads the loop disposes of it, after this callback.
        unsafe {
            let guard = lock::Guard::of((*this).lock);
            (*this).running -= 1;
            let last = (*this).freed && (*this).running == 0 && (*this).lock.is_null();
            drop(guard);
            if last {
                dispose(this);
            }
        }
    }
}

/// Begins to accept, or goes on after a pause.
///
/// # Safety
/// A listener that is not freed; its lock is held.
pub unsafe fn resume(this: *mut evconnlistener) -> c_int {
    // SAFETY: the caller's. The end of a pause that is not needed any more may run at this moment: it does no harm.
    unsafe {
        event_del_without_wait(addr_of_mut!((*this).rested));
        event_add(addr_of_mut!((*this).readable), null())
    }
}

// Rust is at the other side, too.
#[allow(improper_ctypes)]
unsafe extern "C" {
    fn event_del_noblock(event: *mut crate::layout::event) -> c_int;
}

/// Takes an event away under the lock that its callback wants.
///
/// # Safety
/// An assigned event.
pub unsafe fn event_del_without_wait(event: *mut crate::layout::event) {
    // SAFETY: the caller's.
    unsafe { event_del_noblock(event) };
}

/// Accepts nothing for a while.
///
/// # Safety
/// As [`resume`], in the loop's thread.
unsafe fn pause(this: *mut evconnlistener) {
    let pause = timeval { tv_sec: 0, tv_usec: PAUSE_US };
    // SAFETY: the caller's. Without memory for the pause it asks again at once.
    unsafe {
        if event_add(addr_of_mut!((*this).rested), &pause) == 0 {
            event_del(addr_of_mut!((*this).readable));
        }
    }
}

/// The event `rested`: the pause is over.
pub unsafe extern "C-unwind" fn rested(_: Socket, _: c_short, this: *mut c_void) {
    let this = this.cast::<evconnlistener>();
    // SAFETY: the event is the listener's: it lives.
    unsafe {
        let guard = lock::Guard::of((*this).lock);
        let goes_on = (*this).enabled && (*this).callback.is_some() && resume(this) == 0;
        drop(guard);
        if goes_on {
            accept_all(this);
        }
    }
}

/// The event `readable`: somebody connects.
pub unsafe extern "C-unwind" fn readable(_: Socket, _: c_short, this: *mut c_void) {
    // SAFETY: the event is the listener's: it lives.
    unsafe { accept_all(this.cast()) }
}

/// Whether there is somebody to accept for.
///
/// # Safety
/// A listener whose lock is held.
unsafe fn goes_on(this: *const evconnlistener) -> bool {
    // SAFETY: the caller's.
    unsafe { (*this).enabled && !(*this).freed }
}

/// Hands out who waits, until nobody does or the program has had enough.
///
/// # Safety
/// A listener that is not freed, in the loop's thread, its lock not held.
unsafe fn accept_all(this: *mut evconnlistener) {
    // SAFETY: the caller's; `inside` keeps it alive while callbacks run, without the lock: they may free it.
    unsafe {
        let lock = (*this).lock;
        let mut guard = lock::Guard::of(lock);
        let inside = Inside::of(this);
        while goes_on(this) {
            let mut address = MaybeUninit::<sockaddr_storage>::zeroed();
            match accept(this, &mut address) {
                Ok((fd, length)) => {
                    let Some(callback) = (*this).callback.filter(|_| length > 0) else {
                        // Nobody to give it to; or a scan that old kernels report.
                        libc::close(fd);
                        if (*this).callback.is_none() {
                            break;
                        }
                        continue;
                    };
                    let arg = (*this).arg;
                    drop(guard);
                    callback(this, fd, address.as_mut_ptr().cast(), length, arg);
                    guard = lock::Guard::of(lock);
                }
                // Nobody waits, or no longer.
                Err(Errno(libc::EAGAIN | libc::EINTR | libc::ECONNABORTED)) => break,
                Err(_) => {
                    let (callback, arg) = ((*this).error_callback, (*this).arg);
                    match callback {
                        Some(callback) => {
                            drop(guard);
                            callback(this, arg);
                            guard = lock::Guard::of(lock);
                        }
                        None => complain(),
                    }
                    if goes_on(this) {
                        pause(this);
                    }
                    break;
                }
            }
        }
        drop(guard);
        drop(inside);
    }
}

/// The next connection, with the length of its peer's address. errno is the failure's, also for the error callback.
///
/// # Safety
/// A listener whose descriptor is open.
unsafe fn accept(
    this: *mut evconnlistener,
    address: &mut MaybeUninit<sockaddr_storage>,
) -> Result<(Socket, c_int), Errno> {
    let room = size_of::<sockaddr_storage>();
    let mut length = room as libc::socklen_t;
    // SAFETY: the caller's; room as long as is said.
    unsafe {
        let blocking = if (*this).flags & LEAVE_SOCKETS_BLOCKING == 0 { libc::SOCK_NONBLOCK } else { 0 };
        let exec = if (*this).flags & CLOSE_ON_EXEC != 0 { libc::SOCK_CLOEXEC } else { 0 };
        let fd = libc::accept4((*this).fd, address.as_mut_ptr().cast(), &mut length, blocking | exec);
        if fd < 0 {
            return Err(last_errno());
        }
        // The kernel says how long the address is, also if it did not fit.
        Ok((fd, (length as usize).min(room) as c_int))
    }
}

/// Says that accepting failed, once a second for all listeners: it fails over and over.
fn complain() {
    /// Milliseconds of the monotonic clock.
    static LATEST_MS: AtomicI64 = AtomicI64::new(i64::MIN);
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    let errno = last_errno();
    // SAFETY: a timespec of this frame.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, now.as_mut_ptr());
        now.assume_init()
    };
    let now_ms = now.tv_sec * 1000 + now.tv_nsec / 1_000_000;
    let latest = LATEST_MS.load(Relaxed);
    let due = latest == i64::MIN || now_ms - latest >= 1000;
    if due && LATEST_MS.compare_exchange(latest, now_ms, Relaxed, Relaxed).is_ok() {
        log::warnx(format_args!("accept: {}; the listener pauses", log::Strerror(errno)));
    }
}
