//! Data with tags, off a buffer.

use super::wire::{INT, INT64, number_in};
use super::{
    evbuffer_drain, evbuffer_get_length, evbuffer_remove, evbuffer_remove_buffer, front, give, take_header,
    take_number, take_tag, told,
};
use crate::buffer::evbuffer;
use crate::{log, mem};
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;
use libc::timeval;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_header(buffer: *mut evbuffer, tag: *mut u32) -> c_int {
    // SAFETY: what the header asks.
    unsafe { told(take_header(buffer, tag).map(|(_, length)| length)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_consume(buffer: *mut evbuffer) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        let drained =
            take_header(buffer, null_mut()).filter(|(_, length)| evbuffer_drain(buffer, *length) == 0);
        told(drained.map(|_| 0))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal(
    from: *mut evbuffer,
    tag: *mut u32,
    to: *mut evbuffer,
) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        let Some((_, length)) = take_header(from, tag) else { return -1 };
        let moved = if length == 0 { 0 } else { evbuffer_remove_buffer(from, to, length) };
        if usize::try_from(moved) == Ok(length) { told(Some(length)) } else { -1 }
    }
}

/// A number that is a whole tagged payload. As with libevent, the payload is gone even if it is no number.
///
/// # Safety
/// `buffer` is an evbuffer.
unsafe fn take_tagged_number(buffer: *mut evbuffer, need: u32, most: usize) -> Option<(u64, usize)> {
    // SAFETY: the caller's.
    unsafe {
        take_tag(buffer).filter(|(tag, _)| *tag == need)?;
        let length = usize::try_from(take_number(buffer, INT)?).ok()?;
        if evbuffer_get_length(buffer) < length {
            return None;
        }
        let front = front(buffer);
        let payload = front.as_slice().get(..length.min(front.length));
        let found = payload.and_then(|payload| number_in(payload, most));
        evbuffer_drain(buffer, length);
        found
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_int(
    buffer: *mut evbuffer,
    need: u32,
    number: *mut u32,
) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        // 8 half bytes are 32 bits.
        told(
            take_tagged_number(buffer, need, INT)
                .map(|(found, length)| (give(number, found as u32), length).1),
        )
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_int64(
    buffer: *mut evbuffer,
    need: u32,
    number: *mut u64,
) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        told(take_tagged_number(buffer, need, INT64).map(|(found, length)| (give(number, found), length).1))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_fixed(
    buffer: *mut evbuffer,
    need: c_uint,
    data: *mut c_void,
    size: usize,
) -> c_int {
    // SAFETY: what the header asks: `size` bytes at `data`.
    unsafe {
        match take_header(buffer, null_mut()) {
            Some((tag, length)) if tag == need && length == size => {
                let removed = if size == 0 { 0 } else { evbuffer_remove(buffer, data, size) };
                if usize::try_from(removed) == Ok(size) { 0 } else { -1 }
            }
            _ => -1,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_string(
    buffer: *mut evbuffer,
    need: u32,
    text: *mut *mut c_char,
) -> c_int {
    // SAFETY: what the header asks. As many bytes as are in the buffer, and a NUL.
    unsafe {
        let Some((_, length)) = take_header(buffer, null_mut()).filter(|(tag, _)| *tag == need) else {
            return -1;
        };
        let copy = mem::malloc(length + 1).cast::<c_char>();
        if copy.is_null() {
            log::warn_errno(format_args!("a string of {length} bytes"));
            return -1;
        }
        if length > 0 && usize::try_from(evbuffer_remove(buffer, copy.cast(), length)) != Ok(length) {
            mem::free(copy.cast());
            return -1;
        }
        copy.add(length).write(0);
        text.write(copy);
        0
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_unmarshal_timeval(
    buffer: *mut evbuffer,
    need: u32,
    time: *mut timeval,
) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        let Some((tag, length)) = take_header(buffer, null_mut()) else { return -1 };
        let front = front(buffer);
        let payload = front.as_slice().get(..length.min(front.length)).unwrap_or_default();
        let found = number_in(payload, INT).filter(|_| tag == need).and_then(|(seconds, used)| {
            let (micros, _) = number_in(payload.get(used..)?, INT)?;
            // 32 bits each.
            Some(timeval { tv_sec: seconds as _, tv_usec: micros as _ })
        });
        evbuffer_drain(buffer, length);
        match found {
            Some(found) => {
                time.write(found);
                0
            }
            None => -1,
        }
    }
}
