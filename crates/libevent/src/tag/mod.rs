//! event2/tag.h: tagged data in evbuffers, as rpcgen's programs speak it.
//!
//! A tag is 7 bits to a byte, the least significant first, the high bit set in all but the last. A length and every other
//! number is half bytes: the first says how many follow, less one; then the least significant, and so on. Then the payload.
//!
//! What comes from elsewhere says how long it is, and lies (CVE-2026-63383, CVE-2026-63384): lengths are compared with what
//! the buffer holds before anything is read, never as a negative int; a number is read within the payload that it is said to be in;
//! sums are checked. Nothing here looks at more than 16 bytes at once.

mod marshal;
mod unmarshal;
mod wire;

use crate::buffer::evbuffer;
use core::ffi::{c_int, c_void};
use wire::{Encoded, INT, INT64, number_in, tag_in};

// Rust is at the other side, too.
#[allow(improper_ctypes)]
unsafe extern "C-unwind" {
    fn evbuffer_add(buffer: *mut evbuffer, data: *const c_void, size: usize) -> c_int;
    fn evbuffer_add_buffer(to: *mut evbuffer, from: *mut evbuffer) -> c_int;
    fn evbuffer_copyout(buffer: *mut evbuffer, to: *mut c_void, most: usize) -> isize;
    fn evbuffer_drain(buffer: *mut evbuffer, size: usize) -> c_int;
    fn evbuffer_expand(buffer: *mut evbuffer, size: usize) -> c_int;
    fn evbuffer_get_length(buffer: *const evbuffer) -> usize;
    fn evbuffer_remove(buffer: *mut evbuffer, to: *mut c_void, most: usize) -> c_int;
    fn evbuffer_remove_buffer(from: *mut evbuffer, to: *mut evbuffer, most: usize) -> c_int;
}

/// The first bytes of a buffer, for looking at.
///
/// # Safety
/// `buffer` is an evbuffer.
unsafe fn front(buffer: *mut evbuffer) -> Encoded {
    let mut front = Encoded::default();
    // SAFETY: the caller's; as much room as is said.
    let copied = unsafe { evbuffer_copyout(buffer, front.bytes.as_mut_ptr().cast(), front.bytes.len()) };
    front.length = usize::try_from(copied).unwrap_or(0);
    front
}

/// Takes a tag off the front.
///
/// # Safety
/// `buffer` is an evbuffer.
unsafe fn take_tag(buffer: *mut evbuffer) -> Option<(u32, usize)> {
    // SAFETY: the caller's.
    unsafe {
        let found = tag_in(front(buffer).as_slice())?;
        (evbuffer_drain(buffer, found.1) == 0).then_some(found)
    }
}

/// Takes a number off the front.
///
/// # Safety
/// `buffer` is an evbuffer.
unsafe fn take_number(buffer: *mut evbuffer, most: usize) -> Option<u64> {
    // SAFETY: the caller's.
    unsafe {
        let (number, length) = number_in(front(buffer).as_slice(), most)?;
        (evbuffer_drain(buffer, length) == 0).then_some(number)
    }
}

/// Takes a tag and a length off the front, if as much payload is there, and an int can say how much. The tag is given as
/// soon as it is known.
///
/// # Safety
/// `buffer` is an evbuffer, `found` null or the caller's.
unsafe fn take_header(buffer: *mut evbuffer, found: *mut u32) -> Option<(u32, usize)> {
    // SAFETY: the caller's.
    unsafe {
        let (tag, _) = take_tag(buffer)?;
        give(found, tag);
        let length = c_int::try_from(take_number(buffer, INT)?).ok()?;
        let length = usize::try_from(length).ok()?;
        (length <= evbuffer_get_length(buffer)).then_some((tag, length))
    }
}

/// What the functions that give an int say.
fn told(result: Option<usize>) -> c_int {
    result.and_then(|length| c_int::try_from(length).ok()).unwrap_or(-1)
}

/// Puts `value` where the caller wants it, if anywhere.
///
/// # Safety
/// `to` is null or the caller's.
unsafe fn give<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: the caller's.
        unsafe { to.write(value) };
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn evtag_init() {}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_encode_tag(buffer: *mut evbuffer, tag: u32) -> c_int {
    let mut encoded = Encoded::default();
    encoded.tag(tag);
    // SAFETY: an evbuffer or null, for knowing how long it would be: what the header asks.
    if !buffer.is_null() && !unsafe { encoded.add_to(buffer) } {
        return -1;
    }
    encoded.length as c_int
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_decode_tag(tag: *mut u32, buffer: *mut evbuffer) -> c_int {
    // SAFETY: what the header asks.
    unsafe { told(take_tag(buffer).map(|(found, length)| (give(tag, found), length).1)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_peek(buffer: *mut evbuffer, tag: *mut u32) -> c_int {
    // SAFETY: what the header asks.
    unsafe { told(tag_in(front(buffer).as_slice()).map(|(found, length)| (give(tag, found), length).1)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_encode_int(buffer: *mut evbuffer, number: u32) {
    // SAFETY: what the header asks.
    unsafe { evtag_encode_int64(buffer, number.into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_encode_int64(buffer: *mut evbuffer, number: u64) {
    // SAFETY: what the header asks.
    unsafe { Encoded::default().number(number).add_to(buffer) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_decode_int(number: *mut u32, buffer: *mut evbuffer) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        // 8 half bytes are 32 bits.
        told(take_number(buffer, INT).map(|found| (give(number, found as u32), 0).1))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_decode_int64(number: *mut u64, buffer: *mut evbuffer) -> c_int {
    // SAFETY: what the header asks.
    unsafe { told(take_number(buffer, INT64).map(|found| (give(number, found), 0).1)) }
}

/// The lengths at the front: tag, length, and the payload that it says.
///
/// # Safety
/// `buffer` is an evbuffer.
unsafe fn lengths(buffer: *mut evbuffer) -> Option<(usize, u32)> {
    // SAFETY: the caller's.
    let front = unsafe { front(buffer) };
    let (_, tag) = tag_in(front.as_slice())?;
    let (payload, length) = number_in(front.as_slice().get(tag..)?, INT)?;
    Some((tag + length, u32::try_from(payload).ok()?))
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_payload_length(buffer: *mut evbuffer, length: *mut u32) -> c_int {
    // SAFETY: what the header asks.
    unsafe { told(lengths(buffer).map(|(_, payload)| (give(length, payload), 0).1)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_peek_length(buffer: *mut evbuffer, length: *mut u32) -> c_int {
    // SAFETY: what the header asks.
    unsafe {
        let whole =
            lengths(buffer).and_then(|(header, payload)| payload.checked_add(u32::try_from(header).ok()?));
        told(whole.map(|whole| (give(length, whole), 0).1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use unmarshal::evtag_unmarshal_header;

    // Rust is at the other side, too.
    #[allow(improper_ctypes)]
    unsafe extern "C-unwind" {
        fn evbuffer_new() -> *mut evbuffer;
        fn evbuffer_free(buffer: *mut evbuffer);
    }

    /// Header and payload together are more than 32 bits can say: libevent answers 5.
    #[test]
    fn a_length_that_wraps_is_none() {
        // SAFETY: an evbuffer of our own.
        unsafe {
            let (buffer, mut length) = (evbuffer_new(), 7);
            evtag_encode_tag(buffer, 1);
            evtag_encode_int(buffer, u32::MAX);
            assert_eq!((evtag_payload_length(buffer, &mut length), length), (0, u32::MAX));
            assert_eq!((evtag_peek_length(buffer, &mut length), length), (-1, u32::MAX));
            assert_eq!((evtag_unmarshal_header(buffer, &mut length), length), (-1, 1));
            evbuffer_free(buffer);
        }
    }
}
