//! The debugging of locks: a wrap around whatever functions are set, that ends the program where a lock is taken again that
//! is not recursive, is let go of by a thread that does not hold it, or is freed while held.

use super::{
    CONDITIONS, Conditions, LOCKS, Locks, evthread_condition_callbacks, evthread_lock_callbacks, id_fn,
};
use crate::{lock, log, mem};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use libc::timeval;

/// The program's own functions, while the debugging is on.
pub static REAL_LOCKS: Locks = Locks::none();
/// As [`REAL_LOCKS`].
pub static REAL_CONDITIONS: Conditions = Conditions::none();
static ON: AtomicBool = AtomicBool::new(false);

/// EVTHREAD_LOCKTYPE_READWRITE, and the modes that go with it.
const READWRITE: c_uint = 2;
const READ_OR_WRITE: c_uint = 0x04 | 0x08;

/// Tells a debug lock from something else.
const SIGNATURE: u32 = 0xd00b_10c5;

/// What the library holds for a lock. The changing part is the holder's, that is: whoever has `real`.
struct DebugLock {
    signature: u32,
    kind: c_uint,
    real: *mut c_void,
    held: UnsafeCell<Held>,
}

struct Held {
    by: c_ulong,
    times: u32,
}

pub fn is_on() -> bool {
    ON.load(Relaxed)
}

/// From here on all locks are debug locks: none may have been made before.
pub fn turn_on() {
    if ON.swap(true, Relaxed) {
        return;
    }
    REAL_LOCKS.set(&LOCKS.get());
    REAL_CONDITIONS.set(&CONDITIONS.get());
    LOCKS.set(&evthread_lock_callbacks {
        lock_api_version: 1,
        supported_locktypes: lock::RECURSIVE,
        alloc: Some(alloc),
        free: Some(free),
        lock: Some(take),
        unlock: Some(let_go),
    });
    CONDITIONS.set(&evthread_condition_callbacks { wait_condition: Some(wait), ..CONDITIONS.get() });
}

#[track_caller]
fn check(holds: bool, what: &str) {
    if !holds {
        let at = core::panic::Location::caller();
        log::fatal(log::ABORT, format_args!("{}:{}: Assertion failed: {what}", at.file(), at.line()));
    }
}

/// # Safety
/// `lock` is from [`alloc`] and not freed.
unsafe fn debug_lock<'a>(lock: *mut c_void) -> &'a DebugLock {
    check(!lock.is_null(), "there is a lock");
    // SAFETY: the caller's; the signature says more.
    let lock = unsafe { &*lock.cast::<DebugLock>() };
    check(lock.signature == SIGNATURE, "the lock was made with lock debugging on");
    lock
}

unsafe extern "C" fn alloc(kind: c_uint) -> *mut c_void {
    let memory = mem::malloc(size_of::<DebugLock>()).cast::<DebugLock>();
    if memory.is_null() {
        return null_mut();
    }
    let mut real = null_mut();
    if let Some(alloc) = REAL_LOCKS.alloc() {
        // The real one is recursive always: what is wrong is ours to say, not a hang.
        // SAFETY: the program's function.
        real = unsafe { alloc(kind | lock::RECURSIVE) };
        if real.is_null() {
            // SAFETY: allocated above.
            unsafe { mem::free(memory.cast()) };
            return null_mut();
        }
    }
    let held = UnsafeCell::new(Held { by: 0, times: 0 });
    // SAFETY: fresh memory of the right size, aligned to 16.
    unsafe { memory.write(DebugLock { signature: SIGNATURE, kind, real, held }) };
    memory.cast()
}

unsafe extern "C" fn free(lock: *mut c_void, kind: c_uint) {
    // SAFETY: from `alloc`, and nobody's any more.
    unsafe {
        let debug = debug_lock(lock);
        check((*debug.held.get()).times == 0, "a lock that is freed is not held");
        check(debug.kind == kind, "a lock is freed as the kind it was made as");
        if let Some(free) = REAL_LOCKS.free()
            && !debug.real.is_null()
        {
            free(debug.real, debug.kind | lock::RECURSIVE);
        }
        (*lock.cast::<DebugLock>()).signature = 0;
        mem::free(lock);
    }
}

/// The mode fits the kind of lock.
fn check_mode(mode: c_uint, lock: &DebugLock) {
    let says = mode & READ_OR_WRITE != 0;
    check(says == (lock.kind & READWRITE != 0), "read or write is said of read-write locks and of no others");
}

/// # Safety
/// The real lock is held.
unsafe fn note_taken(lock: &DebugLock) {
    // SAFETY: ours, while the real lock is.
    let held = unsafe { &mut *lock.held.get() };
    held.times += 1;
    check(held.times == 1 || lock.kind & lock::RECURSIVE != 0, "a lock that is not recursive is taken once");
    if let Some(id) = id_fn() {
        // SAFETY: the program's function.
        let me = unsafe { id() };
        check(held.times == 1 || held.by == me, "a lock that is held belongs to its holder");
        held.by = me;
    }
}

/// # Safety
/// The real lock is held: that is what is checked, as far as it can be.
unsafe fn note_let_go(lock: &DebugLock) {
    // SAFETY: as in `note_taken`.
    let held = unsafe { &mut *lock.held.get() };
    check(held.times > 0, "a lock that is let go of is held");
    if let Some(id) = id_fn() {
        // SAFETY: the program's function.
        check(held.by == unsafe { id() }, "a lock is let go of by the thread that holds it");
    }
    held.times -= 1;
    if held.times == 0 {
        held.by = 0;
    }
}

unsafe extern "C" fn take(mode: c_uint, lock: *mut c_void) -> c_int {
    // SAFETY: from `alloc`.
    unsafe {
        let debug = debug_lock(lock);
        check_mode(mode, debug);
        if let Some(lock) = REAL_LOCKS.lock()
            && !debug.real.is_null()
        {
            let failed = lock(mode, debug.real);
            if failed != 0 {
                return failed;
            }
        }
        note_taken(debug);
    }
    0
}

unsafe extern "C" fn let_go(mode: c_uint, lock: *mut c_void) -> c_int {
    // SAFETY: from `alloc`.
    unsafe {
        let debug = debug_lock(lock);
        check_mode(mode, debug);
        note_let_go(debug);
        match REAL_LOCKS.unlock() {
            Some(unlock) if !debug.real.is_null() => unlock(mode, debug.real),
            _ => 0,
        }
    }
}

unsafe extern "C" fn wait(condition: *mut c_void, lock: *mut c_void, timeout: *const timeval) -> c_int {
    // SAFETY: from `alloc`, and held, which is checked.
    unsafe {
        let debug = debug_lock(lock);
        check(is_held(lock), "who waits for a condition holds its lock");
        note_let_go(debug);
        let result = match REAL_CONDITIONS.wait() {
            Some(wait) => wait(condition, debug.real, timeout),
            None => 0,
        };
        note_taken(debug);
        result
    }
}

/// Whether this thread holds `lock`.
///
/// # Safety
/// `lock` is from [`alloc`] and not freed.
pub unsafe fn is_held(lock: *mut c_void) -> bool {
    // SAFETY: the caller's. Where it is not held this reads what another thread writes: a wrong answer at worst, as a
    // program that asks without holding deserves.
    let held = unsafe { &*debug_lock(lock).held.get() };
    // SAFETY: the program's function.
    held.times > 0 && id_fn().is_none_or(|id| held.by == unsafe { id() })
}
