//! How a function works on an evbuffer: it takes the lock, works on the buffer, and then tells what has changed. Most
//! evbuffers have no lock and nobody to tell, and most calls are small: so that is asked first ([`unobserved`]).

use super::{FREED, INPUT, LOCKED, OUTPUT, callback, evbuffer, life, pair_of, reference};
use crate::lock;
use core::ffi::c_void;
use core::hint::cold_path;
use core::ptr::null_mut;
use duolu_core::buffer::Buffer;

/// The lock of an evbuffer, or null.
#[inline]
pub(super) unsafe fn lock_of(this: *mut evbuffer) -> *mut c_void {
    // SAFETY: `this` is an evbuffer.
    unsafe { if (*this).flags & (LOCKED | INPUT | OUTPUT) == 0 { null_mut() } else { lock_behind(this) } }
}

unsafe fn lock_behind(this: *mut evbuffer) -> *mut c_void {
    // SAFETY: `this` is an evbuffer, and what its flags say of it is so.
    unsafe {
        let flags = (*this).flags;
        match (*this).extra {
            Some(extra) if flags & LOCKED != 0 => (*extra.as_ptr()).lock,
            _ if flags & (INPUT | OUTPUT) != 0 => (*pair_of(this, flags)).lock,
            _ => null_mut(),
        }
    }
}

/// The buffer of an evbuffer that has no lock, stands alone and was never given callbacks: work on it needs nothing
/// before, and afterwards only that its changes are forgotten and [`release`]. None also where its buffer is put away.
///
/// # Safety
/// `this` is an evbuffer that is not freed, and nothing borrows its buffer while this is used.
#[inline]
pub(super) unsafe fn unobserved<'a>(this: *mut evbuffer) -> Option<&'a mut Buffer> {
    // SAFETY: the caller's.
    unsafe {
        let alone = (*this).extra.is_none() && (*this).flags & (LOCKED | INPUT | OUTPUT) == 0;
        if alone { (*this).buffer.there() } else { None }
    }
}

/// What remains to be done after work on the buffer of [`unobserved`], apart from [`Buffer::forget_change`].
///
/// # Safety
/// As [`with`].
#[inline]
pub(super) unsafe fn release(this: *mut evbuffer) {
    if reference::was_ever_due() {
        // SAFETY: the caller's.
        unsafe { release_due(this) };
    }
}

#[cold]
#[inline(never)]
unsafe fn release_due(this: *mut evbuffer) {
    // SAFETY: of `release`.
    unsafe { Entered::new(this).tell() };
}

/// Holds an evbuffer's lock; in the end it frees the evbuffer, if that was asked for meanwhile and nobody else needs it.
pub(super) struct Entered {
    this: *mut evbuffer,
    lock: *mut c_void,
}

impl Entered {
    /// # Safety
    /// `this` is an evbuffer that is not freed before this is dropped, other than by evbuffer_free.
    #[inline]
    pub(super) unsafe fn new(this: *mut evbuffer) -> Self {
        // SAFETY: the caller's.
        unsafe {
            let lock = lock_of(this);
            lock::acquire(lock);
            Entered { this, lock }
        }
    }

    /// Calls what is due after work on the buffer.
    ///
    /// # Safety
    /// Nothing borrows the buffer.
    #[inline]
    pub(super) unsafe fn tell(&self) {
        // SAFETY: the caller's, and of `new`.
        unsafe {
            if reference::is_due() {
                self.release_references();
            }
            callback::tell(self.this);
        }
    }

    #[cold]
    unsafe fn release_references(&self) {
        // SAFETY: the evbuffer stays while it has a user; the lock is held again before that is looked at.
        unsafe {
            let _user = User::of(self.this);
            lock::release(self.lock);
            let _again = TakenAgain(self.lock);
            reference::release_all();
        }
    }
}

/// Takes a lock again that was let go of, also when something is thrown.
struct TakenAgain(*mut c_void);

impl Drop for TakenAgain {
    fn drop(&mut self) {
        // SAFETY: its owner, an evbuffer with a user, is there.
        unsafe { lock::acquire(self.0) };
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: of `new`. Who asked for the end is gone once its users are.
        unsafe {
            let flags = (*self.this).flags;
            if flags & (INPUT | OUTPUT) != 0 {
                // Of bufferevents many are idle. What stands alone was made to be used.
                (*self.this).buffer.rest();
            }
            let end = flags & FREED != 0 && (*self.this).users == 0;
            lock::release(self.lock);
            if end {
                life::destroy(self.this);
            }
        }
    }
}

/// Keeps an evbuffer from being freed.
pub(super) struct User(pub(super) *mut evbuffer);

impl User {
    /// # Safety
    /// `this` lives and is locked, and is locked when this is dropped.
    pub(super) unsafe fn of(this: *mut evbuffer) -> Self {
        // SAFETY: the caller's.
        unsafe { (*this).users = (*this).users.saturating_add(1) };
        User(this)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: of `of`.
        unsafe { (*self.0).users -= 1 };
    }
}

/// Works on the buffer of `this` under its lock, and then tells what has changed. `work` must not call the program.
///
/// # Safety
/// `this` is an evbuffer that is not freed, and nothing borrows its buffer.
#[inline]
pub unsafe fn with<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: the caller's.
    unsafe {
        let entered = Entered::new(this);
        let result = work(&mut (*this).buffer);
        entered.tell();
        result
    }
}

/// [`with`] beside a way without it for [`unobserved`], which is the one to be laid out for.
///
/// # Safety
/// As [`with`].
#[inline(always)]
pub(super) unsafe fn with_entered<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    cold_path();
    // SAFETY: the caller's.
    unsafe { with_apart(this, work) }
}

#[inline(never)]
unsafe fn with_apart<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: of `with`.
    unsafe { with(this, work) }
}

/// As [`with`], for work that adds and removes nothing: nobody is told, not even of a change that somebody else is about to
/// tell (of the second of two buffers, while the first one's callbacks run).
///
/// # Safety
/// As [`with`].
pub(super) unsafe fn with_untold<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: the caller's.
    unsafe {
        if let Some(buffer) = unobserved(this) {
            let result = work(buffer);
            release(this);
            return result;
        }
        let entered = Entered::new(this);
        let result = work(&mut (*this).buffer);
        if reference::is_due() {
            entered.release_references();
        }
        result
    }
}

/// As [`with`] on two different ones, of which `first`'s callbacks are told first. Where the work is None, there was nothing to
/// do and nobody is told: within a callback of one there may be a change of the other that is about to be.
///
/// # Safety
/// As [`with`], of both.
pub(super) unsafe fn with_two<R>(
    first: *mut evbuffer,
    second: *mut evbuffer,
    work: impl FnOnce(&mut Buffer, &mut Buffer) -> Option<R>,
) -> Option<R> {
    // SAFETY: the caller's.
    unsafe {
        let (one, two) = enter_two(first, second);
        let result = work(&mut (*first).buffer, &mut (*second).buffer)?;
        // A callback of one may free the other.
        let _users = (User::of(first), User::of(second));
        one.tell();
        two.tell();
        Some(result)
    }
}

/// As [`with_two`], for work that leaves `source` as it is: nobody is told of that one.
///
/// # Safety
/// As [`with`], of both.
pub(super) unsafe fn with_source<R>(
    source: *mut evbuffer,
    out: *mut evbuffer,
    work: impl FnOnce(&mut Buffer, &mut Buffer) -> R,
) -> R {
    // SAFETY: the caller's.
    unsafe {
        let (_source, out_entered) = enter_two(source, out);
        let result = work(&mut (*source).buffer, &mut (*out).buffer);
        let _users = (User::of(source), User::of(out));
        out_entered.tell();
        result
    }
}

/// Everybody takes two locks in the order of their addresses.
#[inline]
unsafe fn enter_two(first: *mut evbuffer, second: *mut evbuffer) -> (Entered, Entered) {
    // SAFETY: of `with`, of both.
    unsafe {
        if lock_of(first) <= lock_of(second) {
            let one = Entered::new(first);
            (one, Entered::new(second))
        } else {
            let two = Entered::new(second);
            (Entered::new(first), two)
        }
    }
}
