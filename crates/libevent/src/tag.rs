//! event2/tag.h: tagged data in evbuffers, as rpcgen's programs speak it.
//!
//! A tag is 7 bits to a byte, the least significant first, the high bit set in all but the last. A length and every other
//! number is half bytes: the first says how many follow, less one; then the least significant, and so on. Then the payload.
//!
//! What comes from elsewhere says how long it is, and lies (CVE-2026-63383, CVE-2026-63384): lengths are compared with what
//! the buffer holds before anything is read, never as a negative int; a number is read within the payload that it is said to be in;
//! sums are checked. Nothing here looks at more than 16 bytes at once.

use crate::buffer::evbuffer;
use crate::{log, mem};
use core::ffi::{c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;
use libc::timeval;

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

/// A few encoded bytes: at most a tag (5) and a number of 64 bits (9).
#[derive(Default)]
struct Encoded {
    bytes: [u8; 16],
    length: usize,
}

impl Encoded {
    fn push(&mut self, byte: u8) {
        if let Some(to) = self.bytes.get_mut(self.length) {
            *to = byte;
            self.length += 1;
        }
    }

    fn tag(&mut self, mut tag: u32) -> &mut Self {
        while tag > 0x7f {
            self.push(tag as u8 | 0x80);
            tag >>= 7;
        }
        self.push(tag as u8);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        let halves = (64 - number.leading_zeros()).div_ceil(4).max(1);
        // The count's byte has the least significant half; then pairs, the lesser one above.
        self.push(((halves as u8 - 1) << 4) | (number & 0xf) as u8);
        let mut rest = number >> 4;
        for _ in 0..halves / 2 {
            let (lesser, greater) = (rest & 0xf, (rest >> 4) & 0xf);
            self.push((lesser << 4 | greater) as u8);
            rest >>= 8;
        }
        self
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// # Safety
    /// `buffer` is an evbuffer.
    unsafe fn add_to(&self, buffer: *mut evbuffer) -> bool {
        // SAFETY: the caller's; our own bytes.
        unsafe { evbuffer_add(buffer, self.bytes.as_ptr().cast(), self.length) == 0 }
    }
}

/// A tag at the front, and how many bytes it has. None: it does not end, or is more than 32 bits.
fn tag_in(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut tag = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        tag |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(tag).ok().map(|tag| (tag, index + 1));
        }
    }
    None
}

/// A number at the front, of at most `most` half bytes, and how many bytes it has.
fn number_in(bytes: &[u8], most: usize) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let halves = usize::from(first >> 4) + 1;
    let length = halves / 2 + 1;
    let bytes = bytes.get(..length).filter(|_| halves <= most)?;
    let half = |index: usize| {
        let byte = bytes.get(index / 2).copied().unwrap_or(0);
        u64::from(if index % 2 == 1 { byte & 0xf } else { byte >> 4 })
    };
    Some(((1..=halves).rev().fold(0, |number, index| number << 4 | half(index)), length))
}

/// Half bytes of the two kinds of numbers.
const INT: usize = 8;
const INT64: usize = 16;

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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn numbers_and_tags_come_back() {
        let mut numbers: Vec<u64> = (0..64).flat_map(|bit| [1u64 << bit, (1u64 << bit) - 1]).collect();
        numbers.push(u64::MAX);
        for number in numbers {
            let mut encoded = Encoded::default();
            encoded.number(number);
            assert_eq!(number_in(encoded.as_slice(), INT64), Some((number, encoded.length)), "{number:x}");
            assert_eq!(number_in(encoded.as_slice(), INT).is_some(), number <= u32::MAX.into());
            assert_eq!(number_in(&encoded.as_slice()[..encoded.length - 1], INT64), None);
            let tag = number as u32;
            let mut encoded = Encoded::default();
            encoded.tag(tag);
            assert_eq!(tag_in(encoded.as_slice()), Some((tag, encoded.length)));
            assert_eq!(tag_in(&encoded.as_slice()[..encoded.length - 1]), None);
        }
        assert_eq!(Encoded::default().number(0xdead_beef).as_slice(), [0x7f, 0xee, 0xbd, 0xae, 0xd0]);
        assert_eq!(Encoded::default().tag(0x166).as_slice(), [0xe6, 0x02]);
        assert_eq!(tag_in(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some((u32::MAX, 5)));
        assert_eq!(tag_in(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(tag_in(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]), None);
    }
}
