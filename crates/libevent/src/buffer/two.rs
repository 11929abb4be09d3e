//! From one evbuffer into another.

use super::{evbuffer, status, told, with_two};
use core::ffi::c_int;
use duolu_core::buffer::{BufferError, End};

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_buffer(out: *mut evbuffer, from: *mut evbuffer) -> c_int {
    if out == from {
        return 0;
    }
    // SAFETY: the header's contract.
    unsafe {
        with_two(from, out, |from, out| if from.is_empty() { 0 } else { status(out.append_buffer(from)) })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_prepend_buffer(out: *mut evbuffer, from: *mut evbuffer) -> c_int {
    if out == from {
        return 0;
    }
    // SAFETY: the header's contract.
    unsafe {
        with_two(from, out, |from, out| if from.is_empty() { 0 } else { status(out.prepend_buffer(from)) })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_remove_buffer(
    from: *mut evbuffer,
    out: *mut evbuffer,
    len: usize,
) -> c_int {
    if len == 0 || out == from {
        return 0;
    }
    // SAFETY: the header's contract. Who is told first is libevent's: the one it empties, or the one it adds to.
    unsafe {
        let all = super::life::evbuffer_get_length(from) <= len;
        if all {
            return with_two(from, out, |from, out| {
                if out.is_frozen(End::Back) {
                    return status::<()>(Err(BufferError::Frozen(End::Back)));
                }
                if from.is_frozen(End::Front) {
                    return status::<()>(Err(BufferError::Frozen(End::Front)));
                }
                told(out.take_from(from, len)).map_or(-1, |moved| moved as c_int)
            });
        }
        with_two(out, from, |out, from| told(out.take_from(from, len)).map_or(-1, |moved| moved as c_int))
    }
}
