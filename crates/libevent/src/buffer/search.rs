//! Looking for bytes and for ends of lines.

use super::look::{NOWHERE, loaded, position};
use super::reference::{bytes_of, check};
use super::take::eol;
use super::{Entered, evbuffer, told};
use crate::layout::evbuffer_ptr;
use core::ffi::{c_char, c_int};
use core::ptr::{null, null_mut};
use duolu_core::buffer::Line;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_search(
    this: *mut evbuffer,
    what: *const c_char,
    len: usize,
    start: *const evbuffer_ptr,
) -> evbuffer_ptr {
    // SAFETY: the header's contract.
    unsafe { evbuffer_search_range(this, what, len, start, null()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_search_range(
    this: *mut evbuffer,
    what: *const c_char,
    len: usize,
    start: *const evbuffer_ptr,
    end: *const evbuffer_ptr,
) -> evbuffer_ptr {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        let there = (*this).buffer.len();
        let start = start.as_ref().copied().unwrap_or_else(|| position(this, 0, there));
        if len == 0 || check(len).is_err() {
            return start; // as libevent has it
        }
        let to = end.as_ref().map_or(Ok(there), |end| usize::try_from(end.pos));
        let (Ok(from), Ok(to)) = (usize::try_from(start.pos), to) else { return NOWHERE };
        let needle = bytes_of(what.cast(), len);
        let found = loaded(&mut (*this).buffer).and_then(|buffer| buffer.find(needle, from, to));
        told(found).flatten().map_or(NOWHERE, |at| position(this, at, there))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_search_eol(
    this: *mut evbuffer,
    start: *mut evbuffer_ptr,
    eol_len_out: *mut usize,
    style: c_int,
) -> evbuffer_ptr {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        let there = (*this).buffer.len();
        let from = start.as_ref().map_or(Ok(0), |start| usize::try_from(start.pos));
        let line = from.ok().zip(eol(style)).and_then(|(from, style)| {
            told(loaded(&mut (*this).buffer).and_then(|buffer| buffer.find_line(from, style))).flatten()
        });
        if let Some(eol_len_out) = eol_len_out.as_mut() {
            *eol_len_out = line.map_or(0, |line| line.eol);
        }
        line.map_or(NOWHERE, |Line { end, .. }| position(this, end, there))
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_find(this: *mut evbuffer, what: *const u8, len: usize) -> *mut u8 {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        let found = evbuffer_search(this, what.cast(), len, null());
        let Ok(at) = usize::try_from(found.pos) else { return null_mut() };
        let Ok(size) = isize::try_from(at.saturating_add(len)) else { return null_mut() };
        let bytes = super::look::evbuffer_pullup(this, size);
        if bytes.is_null() { bytes } else { bytes.add(at) }
    }
}
