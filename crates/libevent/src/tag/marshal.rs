//! Data with tags, onto a buffer.

use super::wire::Encoded;
use super::{evbuffer_add, evbuffer_add_buffer, evbuffer_expand, evbuffer_get_length};
use crate::buffer::evbuffer;
use crate::log;
use core::ffi::{c_char, c_void};
use libc::timeval;

/// Header and payload, or nothing of them.
///
/// # Safety
/// `buffer` is an evbuffer, `data` holds `size` bytes.
unsafe fn put(buffer: *mut evbuffer, tag: u32, data: *const c_void, size: u32) {
    let mut header = Encoded::default();
    header.tag(tag).number(size.into());
    // SAFETY: the caller's.
    unsafe {
        if evbuffer_expand(buffer, header.length + size as usize) == 0 && header.add_to(buffer) {
            evbuffer_add(buffer, data, size as usize);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal(
    buffer: *mut evbuffer,
    tag: u32,
    data: *const c_void,
    size: u32,
) {
    // SAFETY: what the header asks.
    unsafe { put(buffer, tag, data, size) }
}

/// What a length cannot say would be taken for something else by the other side: nothing is sent.
fn refuse_long() {
    log::warn("tagged data of 4 GiB or more is not sent: its length cannot be told");
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal_buffer(buffer: *mut evbuffer, tag: u32, data: *mut evbuffer) {
    // SAFETY: what the header asks.
    unsafe {
        let Ok(size) = u32::try_from(evbuffer_get_length(data)) else { return refuse_long() };
        if Encoded::default().tag(tag).number(size.into()).add_to(buffer) {
            evbuffer_add_buffer(buffer, data);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal_int(buffer: *mut evbuffer, tag: u32, number: u32) {
    // SAFETY: what the header asks.
    unsafe { evtag_marshal_int64(buffer, tag, number.into()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal_int64(buffer: *mut evbuffer, tag: u32, number: u64) {
    let mut payload = Encoded::default();
    payload.number(number);
    // SAFETY: what the header asks; our own bytes.
    unsafe { put(buffer, tag, payload.bytes.as_ptr().cast(), payload.length as u32) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal_string(buffer: *mut evbuffer, tag: u32, text: *const c_char) {
    // SAFETY: what the header asks.
    unsafe {
        match u32::try_from(libc::strlen(text)) {
            Ok(size) => put(buffer, tag, text.cast(), size),
            Err(_) => refuse_long(),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evtag_marshal_timeval(buffer: *mut evbuffer, tag: u32, time: *mut timeval) {
    // SAFETY: what the header asks.
    unsafe {
        let time = &*time;
        // The format has 32 bits for each.
        let mut payload = Encoded::default();
        payload.number((time.tv_sec as u32).into()).number((time.tv_usec as u32).into());
        put(buffer, tag, payload.bytes.as_ptr().cast(), payload.length as u32);
    }
}
