//! From evbuffer_new to evbuffer_free, with locks, flags and freezing.

use super::callback::{self, extra};
use super::{
    DRAINS_TO_FD, Entered, FREED, INPUT, LOCKED, OUTPUT, evbuffer, len, lock_of, reference, unobserved,
};
use crate::{lock, mem};
use core::ffi::{c_int, c_void};
use duolu_core::buffer::End;

#[unsafe(no_mangle)]
pub extern "C-unwind" fn evbuffer_new() -> *mut evbuffer {
    let this = mem::malloc(size_of::<evbuffer>()).cast::<evbuffer>();
    if !this.is_null() {
        // SAFETY: as many bytes were just given.
        unsafe { this.write(evbuffer::new()) };
    }
    this
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_free(this: *mut evbuffer) {
    // SAFETY: the header's contract. A bufferevent's buffers are freed with it.
    unsafe {
        if this.is_null() || (*this).flags & (INPUT | OUTPUT) != 0 {
            return;
        }
        let _entered = Entered::new(this);
        (*this).flags |= FREED;
    }
}

/// Frees an evbuffer that stands alone and that nobody uses any more.
///
/// # Safety
/// It came from [`evbuffer_new`]; it is not locked.
#[cold]
pub(super) unsafe fn destroy(this: *mut evbuffer) {
    // SAFETY: the caller's.
    unsafe {
        let own_lock = match (*this).extra {
            Some(extra) if (*extra.as_ptr()).own_lock => (*extra.as_ptr()).lock,
            _ => core::ptr::null_mut(),
        };
        callback::forget_all(this);
        this.drop_in_place();
        lock::free(own_lock, true);
        mem::free(this.cast());
        reference::release_all();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_enable_locking(this: *mut evbuffer, given: *mut c_void) -> c_int {
    // SAFETY: the header's contract: nobody else uses it yet.
    unsafe {
        if !lock_of(this).is_null() {
            return -1;
        }
        let own = given.is_null();
        let lock = if own { lock::new(true) } else { given };
        if lock.is_null() {
            return -1;
        }
        let extra = extra(this);
        ((*extra).lock, (*extra).own_lock) = (lock, own);
        (*this).flags |= LOCKED;
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_lock(this: *mut evbuffer) {
    // SAFETY: the header's contract.
    unsafe { lock::acquire(lock_of(this)) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_unlock(this: *mut evbuffer) {
    // SAFETY: the header's contract.
    unsafe { lock::release(lock_of(this)) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_set_flags(this: *mut evbuffer, flags: u64) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*this).flags |= flags as u16 & DRAINS_TO_FD;
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_clear_flags(this: *mut evbuffer, flags: u64) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*this).flags &= !(flags as u16 & DRAINS_TO_FD);
    }
    0
}

fn end(at_front: c_int) -> End {
    if at_front != 0 { End::Front } else { End::Back }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_freeze(this: *mut evbuffer, at_front: c_int) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*this).buffer.freeze(end(at_front));
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_unfreeze(this: *mut evbuffer, at_front: c_int) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*this).buffer.thaw(end(at_front));
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_get_length(this: *const evbuffer) -> usize {
    // SAFETY: the header's contract.
    unsafe {
        let this = this.cast_mut();
        match unobserved(this) {
            Some(buffer) => buffer.len(),
            None => len_entered(this),
        }
    }
}

#[inline(never)]
unsafe fn len_entered(this: *mut evbuffer) -> usize {
    // SAFETY: of `evbuffer_get_length`.
    unsafe {
        let _entered = Entered::new(this);
        len(this)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_get_contiguous_space(this: *const evbuffer) -> usize {
    use duolu_core::buffer::Piece;
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this.cast_mut());
        match (*this).buffer.pieces(0).next() {
            Some(Piece::Bytes(bytes)) => bytes.len(),
            Some(Piece::File(.., len)) => len,
            None => 0,
        }
    }
}
