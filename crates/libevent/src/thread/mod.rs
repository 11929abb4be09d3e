//! event2/thread.h: which functions the library locks, waits and tells threads apart with. They are set once, before
//! anything is made; POSIX threads are one set of them ([`pthreads`]), the debugging of locks a wrap around any ([`debug`]).

pub mod debug;
mod pthreads;
#[cfg(test)]
mod tests;

pub use crate::layout_more::{evthread_condition_callbacks, evthread_lock_callbacks};
use crate::log;
use core::ffi::{c_int, c_uint, c_ulong, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering::Relaxed};
use libc::timeval;

pub type LockAlloc = unsafe extern "C" fn(c_uint) -> *mut c_void;
pub type LockFree = unsafe extern "C" fn(*mut c_void, c_uint);
pub type Locking = unsafe extern "C" fn(c_uint, *mut c_void) -> c_int;
pub type CondAlloc = unsafe extern "C" fn(c_uint) -> *mut c_void;
pub type CondFree = unsafe extern "C" fn(*mut c_void);
pub type CondSignal = unsafe extern "C" fn(*mut c_void, c_int) -> c_int;
pub type CondWait = unsafe extern "C" fn(*mut c_void, *mut c_void, *const timeval) -> c_int;
pub type IdFn = unsafe extern "C" fn() -> c_ulong;

/// Functions read by every thread: each an atomic word, so that setting them late is no data race. Null is none.
#[derive(Debug)]
pub struct Locks {
    version: AtomicU32,
    types: AtomicU32,
    alloc: AtomicPtr<c_void>,
    free: AtomicPtr<c_void>,
    pub lock: AtomicPtr<c_void>,
    unlock: AtomicPtr<c_void>,
}

/// As [`Locks`].
#[derive(Debug)]
pub struct Conditions {
    version: AtomicU32,
    alloc: AtomicPtr<c_void>,
    free: AtomicPtr<c_void>,
    signal: AtomicPtr<c_void>,
    wait: AtomicPtr<c_void>,
}

macro_rules! function {
    ($name:ident: $type:ty) => {
        #[inline]
        pub fn $name(&self) -> Option<$type> {
            // SAFETY: null is None; nothing but a $type, or null, is ever stored in this field.
            unsafe { core::mem::transmute::<*mut c_void, Option<$type>>(self.$name.load(Relaxed)) }
        }
    };
}

/// A function's address, null for none.
macro_rules! address {
    ($function:expr) => {
        $function.map_or(null_mut(), |function| function as *mut c_void)
    };
}

impl Locks {
    const fn none() -> Self {
        Self {
            version: AtomicU32::new(0),
            types: AtomicU32::new(0),
            alloc: AtomicPtr::new(null_mut()),
            free: AtomicPtr::new(null_mut()),
            lock: AtomicPtr::new(null_mut()),
            unlock: AtomicPtr::new(null_mut()),
        }
    }

    function!(alloc: LockAlloc);
    function!(free: LockFree);
    function!(lock: Locking);
    function!(unlock: Locking);

    fn get(&self) -> evthread_lock_callbacks {
        evthread_lock_callbacks {
            lock_api_version: self.version.load(Relaxed).cast_signed(),
            supported_locktypes: self.types.load(Relaxed),
            alloc: self.alloc(),
            free: self.free(),
            lock: self.lock(),
            unlock: self.unlock(),
        }
    }

    fn set(&self, from: &evthread_lock_callbacks) {
        self.version.store(from.lock_api_version.cast_unsigned(), Relaxed);
        self.types.store(from.supported_locktypes, Relaxed);
        self.alloc.store(address!(from.alloc), Relaxed);
        self.free.store(address!(from.free), Relaxed);
        self.lock.store(address!(from.lock), Relaxed);
        self.unlock.store(address!(from.unlock), Relaxed);
    }
}

impl Conditions {
    const fn none() -> Self {
        Self {
            version: AtomicU32::new(0),
            alloc: AtomicPtr::new(null_mut()),
            free: AtomicPtr::new(null_mut()),
            signal: AtomicPtr::new(null_mut()),
            wait: AtomicPtr::new(null_mut()),
        }
    }

    function!(alloc: CondAlloc);
    function!(free: CondFree);
    function!(signal: CondSignal);
    function!(wait: CondWait);

    fn get(&self) -> evthread_condition_callbacks {
        evthread_condition_callbacks {
            condition_api_version: self.version.load(Relaxed).cast_signed(),
            alloc_condition: self.alloc(),
            free_condition: self.free(),
            signal_condition: self.signal(),
            wait_condition: self.wait(),
        }
    }

    fn set(&self, from: &evthread_condition_callbacks) {
        self.version.store(from.condition_api_version.cast_unsigned(), Relaxed);
        self.alloc.store(address!(from.alloc_condition), Relaxed);
        self.free.store(address!(from.free_condition), Relaxed);
        self.signal.store(address!(from.signal_condition), Relaxed);
        self.wait.store(address!(from.wait_condition), Relaxed);
    }
}

const NO_LOCKS: evthread_lock_callbacks = evthread_lock_callbacks {
    lock_api_version: 0,
    supported_locktypes: 0,
    alloc: None,
    free: None,
    lock: None,
    unlock: None,
};
const NO_CONDITIONS: evthread_condition_callbacks = evthread_condition_callbacks {
    condition_api_version: 0,
    alloc_condition: None,
    free_condition: None,
    signal_condition: None,
    wait_condition: None,
};

/// What the library calls: the program's functions, or those of [`debug`] around them.
pub static LOCKS: Locks = Locks::none();
/// As [`LOCKS`].
pub static CONDITIONS: Conditions = Conditions::none();
static ID: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// event_enable_debug_mode was called.
pub static DEBUG_MODE: AtomicBool = AtomicBool::new(false);
/// A lock has been asked for in debug mode.
pub static THREADABLE_MADE: AtomicBool = AtomicBool::new(false);

/// The program's function that tells threads apart.
pub fn id_fn() -> Option<IdFn> {
    // SAFETY: null is None, and nothing but such functions are stored.
    unsafe { core::mem::transmute::<*mut c_void, Option<IdFn>>(ID.load(Relaxed)) }
}

#[unsafe(no_mangle)]
pub extern "C" fn evthread_set_id_callback(id: Option<IdFn>) {
    ID.store(address!(id), Relaxed);
}

/// In debug mode: thread functions come before everything else, or the program ends.
fn check_not_too_late() {
    if DEBUG_MODE.load(Relaxed) && THREADABLE_MADE.load(Relaxed) {
        log::fatal(1, format_args!("evthread initialization must be called BEFORE anything else!"));
    }
}

fn same_locks(one: &evthread_lock_callbacks, other: &evthread_lock_callbacks) -> bool {
    one.lock_api_version == other.lock_api_version
        && one.supported_locktypes == other.supported_locktypes
        && address!(one.alloc) == address!(other.alloc)
        && address!(one.free) == address!(other.free)
        && address!(one.lock) == address!(other.lock)
        && address!(one.unlock) == address!(other.unlock)
}

fn same_conditions(one: &evthread_condition_callbacks, other: &evthread_condition_callbacks) -> bool {
    one.condition_api_version == other.condition_api_version
        && address!(one.alloc_condition) == address!(other.alloc_condition)
        && address!(one.free_condition) == address!(other.free_condition)
        && address!(one.signal_condition) == address!(other.signal_condition)
        && address!(one.wait_condition) == address!(other.wait_condition)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_set_lock_callbacks(callbacks: *const evthread_lock_callbacks) -> c_int {
    check_not_too_late();
    let target = if debug::is_on() { &debug::REAL_LOCKS } else { &LOCKS };
    let old = target.get();
    // SAFETY: null, or the caller's struct.
    let Some(new) = (unsafe { callbacks.as_ref() }) else {
        if old.alloc.is_some() {
            log::warn("lock functions are taken away after they were set: what is locked by them may hang");
        }
        target.set(&NO_LOCKS);
        return 0;
    };
    if old.alloc.is_some() {
        if same_locks(&old, new) {
            return 0;
        }
        log::warn("lock functions cannot be changed once they are set");
        return -1;
    }
    if new.alloc.is_none() || new.free.is_none() || new.lock.is_none() || new.unlock.is_none() {
        return -1;
    }
    target.set(new);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_set_condition_callbacks(
    callbacks: *const evthread_condition_callbacks,
) -> c_int {
    check_not_too_late();
    let target = if debug::is_on() { &debug::REAL_CONDITIONS } else { &CONDITIONS };
    let old = target.get();
    // SAFETY: null, or the caller's struct.
    let Some(new) = (unsafe { callbacks.as_ref() }) else {
        if old.alloc_condition.is_some() {
            log::warn("condition functions are taken away after they were set: who waits for them may hang");
        }
        target.set(&NO_CONDITIONS);
        return 0;
    };
    if old.alloc_condition.is_some() {
        if same_conditions(&old, new) {
            return 0;
        }
        log::warn("condition functions cannot be changed once they are set");
        return -1;
    }
    if new.alloc_condition.is_some()
        && new.free_condition.is_some()
        && new.signal_condition.is_some()
        && new.wait_condition.is_some()
    {
        target.set(new);
    }
    // Only waiting is wrapped by the debugging; the rest goes straight to the program's.
    if debug::is_on() {
        CONDITIONS
            .set(&evthread_condition_callbacks { wait_condition: CONDITIONS.get().wait_condition, ..*new });
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn evthread_use_pthreads() -> c_int {
    // SAFETY: structs of our own.
    unsafe {
        evthread_set_lock_callbacks(&pthreads::LOCK_CALLBACKS);
        evthread_set_condition_callbacks(&pthreads::CONDITION_CALLBACKS);
    }
    evthread_set_id_callback(Some(pthreads::id));
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn evthread_enable_lock_debugging() {
    debug::turn_on();
}

/// The name with libevent's misspelling, which programs still use.
#[unsafe(no_mangle)]
pub extern "C" fn evthread_enable_lock_debuging() {
    debug::turn_on();
}
