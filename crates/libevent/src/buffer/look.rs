//! Looking at the bytes of an evbuffer where they are.
//!
//! A position is its `pos`; the fields behind it tell C code that a position exists (libevent keeps a chunk there) and are not
//! believed here: a position that an earlier change made stale is a wrong place, never wrong memory.

use super::{Entered, SHOWN, evbuffer, status, told, with_untold};
use crate::layout::evbuffer_ptr;
use core::ffi::c_int;
use core::ptr::null_mut;
use duolu_core::buffer::{Buffer, BufferError, Piece};
use libc::iovec;

/// EVBUFFER_PTR_SET and EVBUFFER_PTR_ADD.
const SET: c_int = 0;

/// The buffer with its files brought into memory: who looks at bytes gets them, also where they were to be sent by
/// sendfile(2).
pub(super) fn loaded(buffer: &mut Buffer) -> Result<&mut Buffer, BufferError> {
    if buffer.has_files() {
        buffer.load()?;
    }
    Ok(buffer)
}

/// A position of a buffer with `len` bytes.
pub(super) fn position(this: *mut evbuffer, at: usize, len: usize) -> evbuffer_ptr {
    let inside = at < len;
    evbuffer_ptr {
        pos: at as isize,
        chain: if inside { this.cast() } else { null_mut() },
        pos_in_chain: if inside { at } else { 0 },
    }
}

/// No position.
pub(super) const NOWHERE: evbuffer_ptr = evbuffer_ptr { pos: -1, chain: null_mut(), pos_in_chain: 0 };

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_ptr_set(
    this: *mut evbuffer,
    position_out: *mut evbuffer_ptr,
    by: usize,
    how: c_int,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        let len = (*this).buffer.len();
        let from = if how == SET { 0 } else { (*position_out).pos };
        let Some(at) = usize::try_from(from).ok().and_then(|from| from.checked_add(by)) else {
            return status::<()>(Err(BufferError::TooLong)); // left as it is
        };
        *position_out = if at <= len { position(this, at, len) } else { NOWHERE };
        if at <= len { 0 } else { status::<()>(Err(BufferError::TooShort)) }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_pullup(this: *mut evbuffer, size: isize) -> *mut u8 {
    // SAFETY: the header's contract.
    unsafe {
        (*this).flags |= SHOWN;
        with_untold(this, |buffer| {
            let size = usize::try_from(size).unwrap_or(buffer.len());
            if size == 0 {
                return null_mut();
            }
            told(buffer.pull_up(size)).map_or(null_mut(), |bytes| bytes.as_ptr().cast_mut())
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_peek(
    this: *mut evbuffer,
    len: isize,
    start: *mut evbuffer_ptr,
    vectors: *mut iovec,
    count: c_int,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*this).flags |= SHOWN;
        let Some(buffer) = told(loaded(&mut (*this).buffer)) else { return 0 };
        let from = start.as_ref().map_or(Ok(0), |start| usize::try_from(start.pos));
        let Ok(from) = from else { return 0 };
        // Without vectors, everything is what is there.
        let wanted = match usize::try_from(len) {
            Ok(len) => Some(len),
            Err(_) if count <= 0 => Some(buffer.len().saturating_sub(from)),
            Err(_) => None,
        };
        let count = usize::try_from(count).unwrap_or(0);
        let (mut given, mut so_far) = (0, 0);
        for piece in buffer.pieces(from) {
            let Piece::Bytes(bytes) = piece else { break };
            // Where there is a start, what it points into is always told.
            if wanted.is_some_and(|wanted| so_far >= wanted) && (given > 0 || start.is_null()) {
                break;
            }
            if given < count {
                let iov_base = bytes.as_ptr().cast_mut().cast();
                *vectors.add(given) = iovec { iov_base, iov_len: bytes.len() };
            } else if wanted.is_none() {
                break;
            }
            (given, so_far) = (given + 1, so_far + bytes.len());
        }
        c_int::try_from(given).unwrap_or(c_int::MAX)
    }
}
