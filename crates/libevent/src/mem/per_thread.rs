//! What each thread keeps, and who frees it when the thread ends.
//!
//! std's `thread_local!` would do, but a value that needs dropping has glibc note a destructor the first time it is used, and
//! glibc ends the program if there is no memory for the note (__cxa_thread_atexit_impl, tried with glibc 2.36). A key of
//! pthread_key_create(3) is one note for all of them, made once, and refused at worst: then the values of that thread are
//! not freed.

use core::cell::{Cell, UnsafeCell};
use core::ffi::c_void;
use core::mem::ManuallyDrop;
use core::ptr::null;
use std::sync::OnceLock;

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Not used yet.
    Fresh,
    /// In the thread's list.
    Listed,
    /// The thread ends; nobody would free it any more.
    Ended,
}

/// A link of the thread's list.
struct Node {
    next: Cell<*const Node>,
    state: Cell<State>,
    /// Drops the value and makes a new one, which holds nothing.
    empty: unsafe fn(*const Node),
}

thread_local! {
    /// The thread's list.
    static FIRST: Cell<*const Node> = const { Cell::new(null()) };
}

/// A value of a thread: to be the whole of a `thread_local!` variable, which then has nothing to drop.
#[repr(C)]
pub struct PerThread<T> {
    node: Node,
    value: UnsafeCell<ManuallyDrop<T>>,
    new: fn() -> T,
}

impl<T> PerThread<T> {
    /// `value` is what `new` makes, and neither holds memory.
    pub const fn new(value: T, new: fn() -> T) -> Self {
        let node = Node { next: Cell::new(null()), state: Cell::new(State::Fresh), empty: Self::empty };
        PerThread { node, value: UnsafeCell::new(ManuallyDrop::new(value)), new }
    }

    /// # Safety
    /// `node` is that of a `PerThread<T>`, whose value nobody borrows.
    unsafe fn empty(node: *const Node) {
        // SAFETY: the caller's; the node is the first field.
        unsafe {
            let this = &*node.cast::<Self>();
            let old = core::mem::replace(&mut *this.value.get(), ManuallyDrop::new((this.new)()));
            drop(ManuallyDrop::into_inner(old));
        }
    }

    /// Where the value is; None: the thread ends. Not to be kept: the value goes when the thread does.
    #[inline]
    pub fn get(&self) -> Option<*mut T> {
        match self.node.state.get() {
            State::Listed => {}
            State::Fresh => self.node.list(),
            State::Ended => return None,
        }
        Some(self.value.get().cast())
    }

    /// Works on the value; None: the thread ends.
    ///
    /// # Safety
    /// It lies in a `thread_local!` variable, and `work` does not come here again.
    #[inline]
    pub unsafe fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> Option<R> {
        // SAFETY: the thread's own, and nothing else borrows it: the caller's.
        self.get().map(|value| work(unsafe { &mut *value }))
    }
}

impl Node {
    #[cold]
    fn list(&self) {
        static KEY: OnceLock<Option<libc::pthread_key_t>> = OnceLock::new();
        let key = KEY.get_or_init(|| {
            let mut key = 0;
            // SAFETY: a key of this frame, and a function that stays (the object is never unloaded).
            (unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0).then_some(key)
        });
        let first = FIRST.with(|first| first.replace(self));
        if let (Some(key), true) = (key, first.is_null()) {
            // Any value but null has `end` called.
            // SAFETY: a key that was made.
            unsafe { libc::pthread_setspecific(*key, (&raw const KEY).cast()) };
        }
        self.next.set(first);
        self.state.set(State::Listed);
    }
}

/// Gives back what this thread keeps; it may begin to keep anew.
pub fn give_back() {
    let mut at = FIRST.with(Cell::get);
    // SAFETY: nodes of this thread's variables, which are there as long as it is; nobody works on one of them here.
    unsafe {
        while let Some(node) = at.as_ref() {
            (node.empty)(node);
            at = node.next.get();
        }
    }
}

/// The thread ends. Its variables are still there: the C library frees them after this.
unsafe extern "C" fn end(_: *mut c_void) {
    let mut at = FIRST.with(|first| first.replace(null()));
    // SAFETY: as in `give_back`.
    unsafe {
        while let Some(node) = at.as_ref() {
            at = node.next.get();
            node.state.set(State::Ended);
            (node.empty)(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Default)]
    struct Counted(Vec<u8>);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(self.0.len(), SeqCst);
        }
    }

    thread_local! {
        static ONE: PerThread<Counted> = const { PerThread::new(Counted(Vec::new()), Counted::default) };
        static OTHER: PerThread<Counted> = const { PerThread::new(Counted(Vec::new()), Counted::default) };
    }

    #[test]
    fn values_are_dropped_when_their_thread_ends() {
        assert!(!core::mem::needs_drop::<PerThread<Counted>>());
        for _ in 0..3 {
            let before = DROPPED.load(SeqCst);
            std::thread::spawn(move || {
                // SAFETY: short work on a thread's own.
                unsafe {
                    ONE.with(|one| one.with(|one| one.0.push(1)));
                    OTHER.with(|other| other.with(|other| other.0.extend([1, 2])));
                    give_back();
                    assert_eq!(DROPPED.load(SeqCst) - before, 3);
                    assert_eq!(ONE.with(|one| one.with(|one| one.0.len())), Some(0));
                    ONE.with(|one| one.with(|one| one.0.extend([1; 10])));
                }
            })
            .join()
            .unwrap();
            assert_eq!(DROPPED.load(SeqCst) - before, 13);
        }
    }
}
