//! The loop: event_base_loop.

use super::control::BREAK;
use super::{Base, NOBODY, deliver, event_base, threads, verbose};
use crate::{lock, log};
use core::ffi::c_int;
use core::sync::atomic::Ordering::Relaxed;
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;

const ONCE: c_int = 1;
const NONBLOCK: c_int = 2;
const NO_EXIT_ON_EMPTY: c_int = 4;

/// Holds a base's loop. A callback of a C++ program may throw through it: whatever happens, the base is usable after.
struct Running(Base);

impl Running {
    /// `None` where the loop runs already. The lock is held.
    fn begin(base: Base) -> Option<Self> {
        // SAFETY: the lock is held, and the reference is gone before anything is called.
        let this = unsafe { base.get() };
        if this.running {
            return None;
        }
        this.running = true;
        this.engine.forget_now();
        this.exit_asked = false;
        this.interrupt = 0;
        if !this.lock.is_null() {
            this.owner = lock::thread_id();
        }
        Some(Running(base))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the lock is held but for the time of a callback, which has thrown then.
        unsafe {
            let base = self.0.as_ptr();
            if (*base).in_callback {
                lock::acquire((*base).lock);
                (*base).in_callback = false;
            }
            (*base).current = NOBODY;
            self.0.get().give_up_lent();
            (*base).calls += 1;
            (*base).running = false;
            verbose::publish(&*base);
            (*base).engine.forget_now();
            if (*base).waiters > 0 {
                lock::cond_signal((*base).returned, true);
            }
            lock::release((*base).lock);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_base_loop(base: *mut event_base, flags: c_int) -> c_int {
    // SAFETY: a base, as the header says.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    // SAFETY: the lock does not change.
    unsafe { lock::acquire((*base.as_ptr()).lock) };
    let Some(running) = Running::begin(base) else {
        // SAFETY: taken above.
        unsafe { lock::release((*base.as_ptr()).lock) };
        log::warnx(format_args!(
            "event_base_loop: reentrant invocation.  Only one event_base_loop can run on each event_base at once."
        ));
        return -1;
    };
    // SAFETY: the lock is held.
    let result = unsafe { turns(base, flags) };
    drop(running);
    match result {
        Ok(result) => result,
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}

/// Which turn of the loop it is, from 1; it wraps.
///
/// # Safety
/// A base that is not freed.
#[inline]
pub unsafe fn turn_of(base: *mut event_base) -> u32 {
    // SAFETY: the caller's.
    unsafe { (*base).turn.load(Relaxed) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_base_dispatch(base: *mut event_base) -> c_int {
    // SAFETY: the caller's.
    unsafe { event_base_loop(base, 0) }
}

/// Turn after turn. 1: there was nothing left to wait for.
///
/// # Safety
/// The lock is held.
unsafe fn turns(base: Base, flags: c_int) -> Result<c_int, Errno> {
    loop {
        // SAFETY: the lock is held; the reference is gone before the wait and before callbacks.
        let this = unsafe { base.get() };
        // A loopbreak stays, for got_break.
        this.interrupt &= BREAK;
        this.deferred_now = 0;
        this.turn.store(this.turn.load(Relaxed).wrapping_add(1), Relaxed);
        if this.exit_asked || this.interrupt & BREAK != 0 {
            return Ok(0);
        }
        let active = this.has_active();
        if flags & NO_EXIT_ON_EMPTY == 0 && !active && !this.has_events() {
            return Ok(1);
        }
        let limit_ns = (active || flags & NONBLOCK != 0).then_some(0);
        if !this.later.is_empty() {
            this.begin_later();
        }
        verbose::publish(this);
        // SAFETY: the lock is held.
        unsafe { threads::poll(base, limit_ns)? };
        // SAFETY: as above.
        let this = unsafe { base.get() };
        if this.engine.reactor().has_active() {
            let active = this.engine.reactor().due_at_most();
            this.most.note_active(active);
            this.most.note_added(this.added + active);
            // SAFETY: the lock is held.
            let told = unsafe { deliver::pass(base) };
            // SAFETY: as above.
            let this = unsafe { base.get() };
            if flags & ONCE != 0 && told && !this.has_active() {
                return Ok(0);
            }
        } else if flags & NONBLOCK != 0 && this.later.is_empty() {
            return Ok(0);
        }
    }
}
