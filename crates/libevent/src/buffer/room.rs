//! evbuffer_expand, and room that the program fills itself: evbuffer_reserve_space and evbuffer_commit_space.
//!
//! Room stays where it is until it is committed, the buffer is drained of all its bytes, or something longer than the room is
//! added. It is initialised, once for each chunk: the program may commit what it did not write.

use super::{evbuffer, status, told, with, with_untold};
use core::ffi::c_int;
use duolu_core::buffer::{BufferError, End};
use libc::iovec;

/// Pieces that are given at most, however many were asked for.
const MOST: usize = 32;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_expand(this: *mut evbuffer, len: usize) -> c_int {
    // SAFETY: the header's contract.
    unsafe { with_untold(this, |buffer| status(buffer.expand(len))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_reserve_space(
    this: *mut evbuffer,
    size: isize,
    vectors: *mut iovec,
    count: c_int,
) -> c_int {
    let Ok(wanted) = usize::try_from(size) else { return status::<()>(Err(BufferError::TooLong)) };
    let Some(most) = usize::try_from(count).ok().filter(|count| *count > 0) else {
        return status::<()>(Err(BufferError::TooShort));
    };
    // SAFETY: the header's contract.
    unsafe {
        with_untold(this, |buffer| {
            if buffer.is_frozen(End::Back) {
                return status::<()>(Err(BufferError::Frozen(End::Back)));
            }
            let made = if most == 1 { buffer.expand(wanted) } else { buffer.extend(wanted, most.min(MOST)) };
            if told(made).is_none() {
                return -1;
            }
            // One piece: the first that suffices. Many: from the first on, as many as are needed.
            let least = if most == 1 { wanted.max(1) } else { 0 };
            let (mut given, mut room) = (0, 0);
            for piece in buffer.room().skip_while(|piece| piece.len() < least).take(most) {
                if room >= wanted && (room > 0 || most > 1) {
                    break;
                }
                *vectors.add(given) = iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() };
                (given, room) = (given + 1, room + piece.len());
            }
            given as c_int
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_commit_space(
    this: *mut evbuffer,
    vectors: *mut iovec,
    count: c_int,
) -> c_int {
    let count = usize::try_from(count).unwrap_or(0);
    let refused = || status::<()>(Err(BufferError::Frozen(End::Back)));
    // SAFETY: the header's contract.
    unsafe {
        if count == 0 {
            return with_untold(this, |buffer| if buffer.is_frozen(End::Back) { refused() } else { 0 });
        }
        with(this, |buffer| {
            if buffer.is_frozen(End::Back) {
                return refused();
            }
            let mut filled = [0; MOST];
            let Some(filled) = filled.get_mut(..count) else {
                return status::<()>(Err(BufferError::TooShort));
            };
            // They must be pieces that follow each other in the order in which they were given.
            let base = |at: usize| (*vectors.add(at)).iov_base;
            let mut first = None;
            let mut matched = 0;
            for (at, piece) in buffer.room().enumerate() {
                if matched < count && piece.as_mut_ptr().cast() == base(matched) {
                    first = first.or(Some(at));
                    filled[matched] = (*vectors.add(matched)).iov_len;
                    matched += 1;
                } else if first.is_some() {
                    break;
                }
            }
            match first {
                Some(first) if matched == count => status(buffer.commit_pieces(first, filled)),
                _ => status::<()>(Err(BufferError::TooShort)),
            }
        })
    }
}
