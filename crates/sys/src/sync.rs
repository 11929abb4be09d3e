//! The one place that names a mutex, a reference count or an atomic, so that a build for loom or shuttle can
//! put theirs here and ThreadSanitizer builds can avoid std's mutex.

pub use std::sync::{Arc, Mutex, MutexGuard, Weak};

/// Atomics, as in [`std::sync::atomic`].
pub mod atomic {
    pub use std::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// Locks, and goes on with the data where another thread panicked while it held the lock: nothing in this
/// crate leaves its data half changed across a call that can panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
