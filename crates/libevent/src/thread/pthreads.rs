//! POSIX threads as one set of thread functions.

use super::{evthread_condition_callbacks, evthread_lock_callbacks};
use crate::{lock, mem};
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use libc::{pthread_cond_t, pthread_mutex_t, pthread_mutexattr_t, timeval};

/// EVTHREAD_TRY.
const TRY: c_uint = 0x10;

pub const LOCK_CALLBACKS: evthread_lock_callbacks = evthread_lock_callbacks {
    lock_api_version: 1,
    supported_locktypes: lock::RECURSIVE,
    alloc: Some(lock_alloc),
    free: Some(lock_free),
    lock: Some(lock),
    unlock: Some(unlock),
};

pub const CONDITION_CALLBACKS: evthread_condition_callbacks = evthread_condition_callbacks {
    condition_api_version: 1,
    alloc_condition: Some(condition_alloc),
    free_condition: Some(condition_free),
    signal_condition: Some(signal),
    wait_condition: Some(wait),
};

unsafe extern "C" fn lock_alloc(kind: c_uint) -> *mut c_void {
    let mutex = mem::malloc(size_of::<pthread_mutex_t>());
    if mutex.is_null() {
        return mutex;
    }
    // SAFETY: fresh memory of a mutex's size and libc's alignment; the attributes live in this frame and are initialised
    // before they are used.
    let failed = unsafe {
        let mut attributes: pthread_mutexattr_t = core::mem::zeroed();
        libc::pthread_mutexattr_init(&mut attributes);
        if kind & lock::RECURSIVE != 0 {
            libc::pthread_mutexattr_settype(&mut attributes, libc::PTHREAD_MUTEX_RECURSIVE);
        }
        let failed = libc::pthread_mutex_init(mutex.cast(), &attributes) != 0;
        libc::pthread_mutexattr_destroy(&mut attributes);
        failed
    };
    if failed {
        // SAFETY: allocated above, and nobody's.
        unsafe { mem::free(mutex) };
        return core::ptr::null_mut();
    }
    mutex
}

unsafe extern "C" fn lock_free(mutex: *mut c_void, _: c_uint) {
    // SAFETY: from `lock_alloc`, and nobody's any more.
    unsafe {
        libc::pthread_mutex_destroy(mutex.cast());
        mem::free(mutex);
    }
}

unsafe extern "C" fn lock(mode: c_uint, mutex: *mut c_void) -> c_int {
    // SAFETY: from `lock_alloc`.
    unsafe {
        if mode & TRY != 0 {
            libc::pthread_mutex_trylock(mutex.cast())
        } else {
            libc::pthread_mutex_lock(mutex.cast())
        }
    }
}

unsafe extern "C" fn unlock(_: c_uint, mutex: *mut c_void) -> c_int {
    // SAFETY: from `lock_alloc`, and held.
    unsafe { libc::pthread_mutex_unlock(mutex.cast()) }
}

pub unsafe extern "C" fn id() -> c_ulong {
    // SAFETY: takes nothing.
    unsafe { libc::pthread_self() }
}

unsafe extern "C" fn condition_alloc(_: c_uint) -> *mut c_void {
    let condition = mem::malloc(size_of::<pthread_cond_t>());
    // Waits are told for how long; the clock that only goes forward keeps them so when somebody sets the other one.
    // SAFETY: fresh memory of a condition's size; the attributes live in this frame.
    unsafe {
        if !condition.is_null() {
            let mut attributes: libc::pthread_condattr_t = core::mem::zeroed();
            libc::pthread_condattr_init(&mut attributes);
            libc::pthread_condattr_setclock(&mut attributes, libc::CLOCK_MONOTONIC);
            let failed = libc::pthread_cond_init(condition.cast(), &attributes) != 0;
            libc::pthread_condattr_destroy(&mut attributes);
            if failed {
                mem::free(condition);
                return core::ptr::null_mut();
            }
        }
    }
    condition
}

unsafe extern "C" fn condition_free(condition: *mut c_void) {
    // SAFETY: from `condition_alloc`, and nobody waits.
    unsafe {
        libc::pthread_cond_destroy(condition.cast());
        mem::free(condition);
    }
}

unsafe extern "C" fn signal(condition: *mut c_void, all: c_int) -> c_int {
    // SAFETY: from `condition_alloc`.
    let failed = unsafe {
        if all != 0 {
            libc::pthread_cond_broadcast(condition.cast())
        } else {
            libc::pthread_cond_signal(condition.cast())
        }
    };
    if failed == 0 { 0 } else { -1 }
}

unsafe extern "C" fn wait(condition: *mut c_void, mutex: *mut c_void, timeout: *const timeval) -> c_int {
    // SAFETY: from the functions above, the mutex held; the timeout null or the caller's.
    let result = unsafe {
        match timeout.as_ref() {
            None => libc::pthread_cond_wait(condition.cast(), mutex.cast()),
            Some(timeout) => {
                let mut until: libc::timespec = core::mem::zeroed();
                libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut until);
                let nanoseconds = until.tv_nsec + timeout.tv_usec.clamp(0, 999_999) * 1000;
                until.tv_sec =
                    until.tv_sec.saturating_add(timeout.tv_sec).saturating_add(nanoseconds / 1_000_000_000);
                until.tv_nsec = nanoseconds % 1_000_000_000;
                libc::pthread_cond_timedwait(condition.cast(), mutex.cast(), &until)
            }
        }
    };
    match result {
        0 => 0,
        libc::ETIMEDOUT => 1,
        _ => -1,
    }
}
