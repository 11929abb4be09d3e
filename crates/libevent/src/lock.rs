//! Locks and conditions as the library uses them: the program's own functions if it gave some (see [`crate::thread`]).
//!
//! A lock is a pointer of theirs. It is null while threads are off, and then nothing here does anything. Locks are not
//! poisoned: what a callback throws passes through guards, which let go.

use crate::thread::{CONDITIONS, DEBUG_MODE, LOCKS, THREADABLE_MADE, id_fn};
use core::ffi::{c_int, c_uint, c_void};
use core::marker::PhantomData;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use libc::timeval;

/// EVTHREAD_LOCKTYPE_RECURSIVE.
pub const RECURSIVE: c_uint = 1;
/// EVTHREAD_TRY: a mode of locking.
const TRY: c_uint = 0x10;

const fn kind(recursive: bool) -> c_uint {
    if recursive { RECURSIVE } else { 0 }
}

/// Whether threads are on: then locks are made.
pub fn enabled() -> bool {
    !LOCKS.lock.load(Relaxed).is_null()
}

/// For debug mode (event_enable_debug_mode): from here on it is too late to give thread functions.
fn note_made() {
    if DEBUG_MODE.load(Relaxed) {
        THREADABLE_MADE.store(true, Relaxed);
    }
}

/// A new lock: null where threads are off, or where the program's function has none to give. To be freed with [`free`].
pub fn new(recursive: bool) -> *mut c_void {
    note_made();
    match LOCKS.alloc() {
        // SAFETY: the program's function, with a kind it said it supports.
        Some(alloc) => unsafe { alloc(kind(recursive)) },
        None => null_mut(),
    }
}

/// # Safety
/// `lock` is null or from [`new`] with the same `recursive`, held and used by nobody.
pub unsafe fn free(lock: *mut c_void, recursive: bool) {
    if let Some(free) = LOCKS.free()
        && !lock.is_null()
    {
        // SAFETY: the caller's.
        unsafe { free(lock, kind(recursive)) }
    }
}

/// Waits for `lock` and takes it.
///
/// # Safety
/// `lock` is null or from [`new`] and not freed.
#[inline]
pub unsafe fn acquire(lock: *mut c_void) {
    if !lock.is_null() {
        // SAFETY: the caller's.
        unsafe { call_lock(0, lock) };
    }
}

/// Takes `lock` if it is free (or ours, and recursive). True: taken.
///
/// # Safety
/// As [`acquire`].
pub unsafe fn attempt(lock: *mut c_void) -> bool {
    // SAFETY: the caller's.
    lock.is_null() || unsafe { call_lock(TRY, lock) } == 0
}

unsafe fn call_lock(mode: c_uint, lock: *mut c_void) -> c_int {
    match LOCKS.lock() {
        // SAFETY: the caller's.
        Some(function) => unsafe { function(mode, lock) },
        None => 0,
    }
}

/// # Safety
/// `lock` is null or held by this thread.
#[inline]
pub unsafe fn release(lock: *mut c_void) {
    if let Some(unlock) = LOCKS.unlock()
        && !lock.is_null()
    {
        // SAFETY: the caller's.
        unsafe { unlock(0, lock) };
    }
}

/// Holds a lock while it lives.
#[derive(Debug)]
pub struct Guard {
    lock: *mut c_void,
    // Let go of by the thread that took it.
    here: PhantomData<*mut ()>,
}

impl Guard {
    /// Takes `lock`.
    ///
    /// # Safety
    /// As [`acquire`], and the lock outlives the guard.
    #[inline]
    pub unsafe fn of(lock: *mut c_void) -> Self {
        // SAFETY: the caller's.
        unsafe { acquire(lock) };
        Self { lock, here: PhantomData }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken in `of`, by this thread.
        unsafe { release(self.lock) }
    }
}

/// A new condition, or null as with [`new`].
pub fn cond_new() -> *mut c_void {
    note_made();
    match CONDITIONS.alloc() {
        // SAFETY: the program's function; 0 is the one kind of this version.
        Some(alloc) => unsafe { alloc(0) },
        None => null_mut(),
    }
}

/// # Safety
/// `condition` is null or from [`cond_new`], and nobody waits for it.
pub unsafe fn cond_free(condition: *mut c_void) {
    if let Some(free) = CONDITIONS.free()
        && !condition.is_null()
    {
        // SAFETY: the caller's.
        unsafe { free(condition) }
    }
}

/// Wakes one waiting thread, or `all`.
///
/// # Safety
/// `condition` is null or from [`cond_new`]; the lock that its waiters gave is held.
pub unsafe fn cond_signal(condition: *mut c_void, all: bool) {
    if let Some(signal) = CONDITIONS.signal()
        && !condition.is_null()
    {
        // SAFETY: the caller's.
        unsafe { signal(condition, c_int::from(all)) };
    }
}

/// Lets go of `lock` until the condition is signalled or `timeout` is over; spurious wakes happen. 0: signalled, 1: over,
/// -1: failed.
///
/// # Safety
/// `condition` is null or from [`cond_new`]; `lock` is held once by this thread.
pub unsafe fn cond_wait(condition: *mut c_void, lock: *mut c_void, timeout: Option<&timeval>) -> c_int {
    let timeout = timeout.map_or(core::ptr::null(), |timeout| timeout as *const timeval);
    match CONDITIONS.wait() {
        // SAFETY: the caller's.
        Some(wait) if !condition.is_null() => unsafe { wait(condition, lock, timeout) },
        _ => 0,
    }
}

/// The calling thread, as the program's function has it; 1 without one.
#[inline]
pub fn thread_id() -> core::ffi::c_ulong {
    // SAFETY: the program's function, which takes nothing.
    id_fn().map_or(1, |id| unsafe { id() })
}

/// Whether this thread holds `lock`. Known only with lock debugging; without it the answer is yes.
///
/// # Safety
/// As [`acquire`].
pub unsafe fn is_held(lock: *mut c_void) -> bool {
    // SAFETY: the caller's; with lock debugging each lock is a debug lock.
    lock.is_null() || !crate::thread::debug::is_on() || unsafe { crate::thread::debug::is_held(lock) }
}
