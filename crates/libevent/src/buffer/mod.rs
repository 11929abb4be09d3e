//! event2/buffer.h and buffer_compat.h: struct evbuffer, a [`Buffer`] with a lock, callbacks and an owner.
//!
//! Every function comes through [`with`]: it takes the lock, works on the buffer, and afterwards, when nothing is borrowed
//! any more, tells what has changed. As the header says, the lock is held while callbacks run (it is recursive); the
//! release hooks of memory that was added by reference run without it.
//!
//! An evbuffer has few bytes, because an idle bufferevent has two: what few buffers need stands in [`Extra`], and the two of
//! a bufferevent find their lock and their owner by where they lie ([`Pair`]).

mod callback;
pub mod hook;

use crate::layout::bufferevent;
use callback::Extra;
use core::ffi::c_void;
use core::mem::offset_of;
use core::ptr::{NonNull, null_mut};
use duolu_core::buffer::Buffer;

/// EVBUFFER_FLAG_DRAINS_TO_FD: files may be sent by sendfile(2), since nobody looks at the bytes.
pub const DRAINS_TO_FD: u32 = 1;
/// The input of a [`Pair`].
const INPUT: u32 = 1 << 16;
/// The output of a [`Pair`].
const OUTPUT: u32 = 1 << 17;

/// struct evbuffer: opaque to programs.
#[derive(Debug)]
pub struct evbuffer {
    buffer: Buffer,
    /// EVBUFFER_FLAG_* of the program's, and the bits above.
    flags: u32,
    extra: Option<NonNull<Extra>>,
}

impl evbuffer {
    /// An empty one that stands alone.
    pub const fn new() -> Self {
        evbuffer { buffer: Buffer::new(), flags: 0, extra: None }
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
/// What changes in them is told to [`hook`] before the program's callbacks.
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
fn pair_of(this: *mut evbuffer, flags: u32) -> *mut Pair {
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

/// Works on the buffer of `this` under its lock, and then tells what has changed. `work` must not call the program.
///
/// # Safety
/// `this` is an evbuffer that is not freed, and nothing borrows its buffer.
pub unsafe fn with<R>(this: *mut evbuffer, work: impl FnOnce(&mut Buffer) -> R) -> R {
    // SAFETY: the caller's.
    unsafe {
        let result = work(&mut (*this).buffer);
        callback::tell(this);
        result
    }
}

/// As [`with`], and tells nobody: for who tells itself.
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

/// Frees what an evbuffer of a [`Pair`] holds. It is empty, without callbacks, afterwards.
///
/// # Safety
/// As [`with`]; no callback of it runs and none is due.
pub unsafe fn retire(this: *mut evbuffer) {
    // SAFETY: the caller's.
    unsafe {
        drop(core::mem::take(&mut (*this).buffer));
        callback::forget_all(this);
    }
}
