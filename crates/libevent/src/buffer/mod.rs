//! event2/buffer.h and buffer_compat.h: struct evbuffer, a [`Buffer`] with a lock, callbacks and an owner.
//!
//! Every function comes through [`with`] or [`with_two`]: they take the lock, work on the buffer, and afterwards, when nothing
//! is borrowed any more, call the program: first the release hooks of memory that it added by reference, without the lock;
//! then the callbacks for what has changed, with the lock, as the header says (it is recursive). Whatever they do, the
//! evbuffer is there until the last of them has returned.
//!
//! An evbuffer has few bytes, because an idle bufferevent has two: what few buffers need stands in [`Extra`], and the two of
//! a bufferevent find their lock and their owner by where they lie ([`Pair`]).
//!
//! Where libevent's documentation leaves something open, its behaviour is kept as far as a program can see it: a freeze is
//! looked at only where libevent looks, an empty buffer cannot be written (-1), one evbuffer_read reads at most 4096 bytes.
//! What depends on the sizes of chunks (how many pieces evbuffer_peek shows) differs.

pub(crate) mod add;
mod callback;
mod descriptor;
mod enter;
pub mod hook;
mod lazy;
pub(crate) mod life;
mod look;
pub mod pool;
mod reference;
mod room;
mod search;
mod segment;
pub(crate) mod take;
mod turn;
pub(crate) mod two;

use crate::layout::bufferevent;

use callback::Extra;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, BufferError};
use duolu_sys::syscall::set_errno;
use enter::{Entered, User, lock_of, release, unobserved, with_entered, with_source, with_two, with_untold};
use lazy::Lazy;

pub use add::duolu_add_vprintf;
pub use enter::with;
pub use reference::release_all;
pub use turn::deferred_of;

/// EVBUFFER_FLAG_DRAINS_TO_FD: files may be sent by sendfile(2), since nobody looks at the bytes.
pub const DRAINS_TO_FD: u16 = 1;
/// The input of a [`Pair`].
const INPUT: u16 = 1 << 8;
/// The output of a [`Pair`].
const OUTPUT: u16 = 1 << 9;
/// It has a lock of its own, or one that evbuffer_enable_locking was given.
const LOCKED: u16 = 1 << 10;
/// evbuffer_free was called; the last user frees it.
const FREED: u16 = 1 << 11;

/// Its callbacks are put off to the loop.
const DEFERRED: u16 = 1 << 12;
/// The program was given a pointer to its bytes, which is good until they change.
const SHOWN: u16 = 1 << 13;

/// struct evbuffer: opaque to programs.
#[derive(Debug)]
pub struct evbuffer {
    buffer: Lazy,
    /// EVBUFFER_FLAG_* of the program's, and the bits above.
    flags: u16,
    /// Who needs it to exist although it may have been freed: callbacks that run, and one that is put off.
    users: u16,
    extra: Option<NonNull<Extra>>,
}

impl evbuffer {
    /// An empty one that stands alone.
    pub const fn new() -> Self {
        evbuffer { buffer: Lazy::new(), flags: 0, users: 0, extra: None }
    }
}

impl Default for evbuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// The two buffers of a bufferevent and the lock they share with it. It lies directly behind the public struct, in the
/// same allocation, and does not move.
///
/// What changes in them is told to [`hook`] after the program's callbacks.
#[derive(Debug)]
#[repr(C)]
pub struct Pair {
    /// Null where there are no threads. Not freed here.
    pub lock: *mut c_void,
    pub input: evbuffer,
    pub output: evbuffer,
}

impl Pair {
    pub const fn new(lock: *mut c_void) -> Self {
        let mut pair = Pair { lock, input: evbuffer::new(), output: evbuffer::new() };
        pair.input.flags = INPUT;
        pair.output.flags = OUTPUT;
        pair
    }
}

/// The pair that an evbuffer is in; null if it is in none.
#[inline]
fn pair_of(this: *mut evbuffer, flags: u16) -> *mut Pair {
    let offset = match flags & (INPUT | OUTPUT) {
        0 => return null_mut(),
        INPUT => offset_of!(Pair, input),
        _ => offset_of!(Pair, output),
    };
    this.wrapping_byte_sub(offset).cast()
}

/// The bufferevent that an evbuffer belongs to, null if to none.
///
/// # Safety
/// `this` is an evbuffer.
pub unsafe fn parent(this: *mut evbuffer) -> *mut bufferevent {
    // SAFETY: the caller's.
    let pair = pair_of(this, unsafe { (*this).flags });
    if pair.is_null() { null_mut() } else { pair.wrapping_byte_sub(size_of::<bufferevent>()).cast() }
}

/// As [`with`], and tells nobody of what changed, and does not look for locks: for who holds the lock and tells itself.
///
/// # Safety
/// As [`with`].
pub unsafe fn quietly<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: the caller's.
    unsafe {
        let result = work(&mut (*this).buffer);
        let _ = (*this).buffer.take_change();
        result
    }
}

/// How long it is: for who holds the lock.
///
/// # Safety
/// As [`with`].
#[inline]
pub unsafe fn len(this: *mut evbuffer) -> usize {
    // SAFETY: the caller's.
    unsafe { (*this).buffer.len() }
}

/// Whether the program may have a pointer to its bytes, since `forget_shown`.
///
/// # Safety
/// As [`with`], and the lock is held.
#[inline]
pub unsafe fn is_shown(this: *mut evbuffer) -> bool {
    // SAFETY: the caller's.
    unsafe { (*this).flags & SHOWN != 0 }
}

/// Its bytes are about to change: pointers to them are good no more.
///
/// # Safety
/// As `is_shown`.
#[inline]
pub unsafe fn forget_shown(this: *mut evbuffer) {
    // SAFETY: the caller's.
    unsafe { (*this).flags &= !SHOWN };
}

/// Frees what an evbuffer of a [`Pair`] holds. It is empty, without callbacks, afterwards.
///
/// # Safety
/// As [`with`]; no callback of it runs and none is due.
pub unsafe fn retire(this: *mut evbuffer) {
    // SAFETY: the caller's.
    unsafe {
        drop(core::mem::take(&mut (*this).buffer));
        callback::forget_all(this);
        reference::release_all();
    }
}

/// The result of an operation, with errno set where it was refused.
#[inline(always)]
fn told<T>(result: Result<T, BufferError>) -> Option<T> {
    result.map_err(refused).ok()
}

#[cold]
#[inline(never)]
fn refused(error: BufferError) {
    set_errno(errno_of(error));
}

/// The same as C says it: 0 or -1.
#[inline(always)]
fn status<T>(result: Result<T, BufferError>) -> core::ffi::c_int {
    if told(result).is_some() { 0 } else { -1 }
}

fn errno_of(error: BufferError) -> Errno {
    Errno(match error {
        BufferError::Frozen(_) => libc::EPERM,
        BufferError::TooLong => libc::EOVERFLOW,
        BufferError::NoMemory => libc::ENOMEM,
        BufferError::TooShort | BufferError::NotInMemory => libc::EINVAL,
        BufferError::File(errno) => return errno,
    })
}
