//! Text: comparing without case, numbers, dates. Printing is in [`crate::variadic`].

use core::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use core::mem::MaybeUninit;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_ascii_strcasecmp(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: C strings: what the header asks.
    unsafe { compare(one, other, usize::MAX) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_ascii_strncasecmp(
    one: *const c_char,
    other: *const c_char,
    most: usize,
) -> c_int {
    // SAFETY: C strings, or at least `most` bytes of each.
    unsafe { compare(one, other, most) }
}

/// -1, 0 or 1, whatever the locale. What is beyond ASCII is compared as C's char, which is signed on some machines.
///
/// # Safety
/// Both can be read up to a NUL, to a difference, or for `most` bytes.
unsafe fn compare(one: *const c_char, other: *const c_char, most: usize) -> c_int {
    let lower = |character: c_char| character.to_ne_bytes()[0].to_ascii_lowercase() as c_char;
    for index in 0..most {
        // SAFETY: the caller's.
        let (one, other) = unsafe { (lower(*one.add(index)), lower(*other.add(index))) };
        if one != other {
            return if one < other { -1 } else { 1 };
        }
        if one == 0 {
            break;
        }
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_strtoll(
    text: *const c_char,
    end: *mut *mut c_char,
    base: c_int,
) -> c_longlong {
    // SAFETY: as strtoll(3) has it.
    unsafe { libc::strtoll(text, end, base) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_vsnprintf(
    to: *mut c_char,
    room: usize,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    // SAFETY: what the header asks. A va_list is passed by address on x86-64 and aarch64.
    unsafe { crate::variadic::duolu_vsnprintf(to, room, format, arguments) }
}

const DAYS: [&CStr; 7] = [c"Sun", c"Mon", c"Tue", c"Wed", c"Thu", c"Fri", c"Sat"];
const MONTHS: [&CStr; 12] =
    [c"Jan", c"Feb", c"Mar", c"Apr", c"May", c"Jun", c"Jul", c"Aug", c"Sep", c"Oct", c"Nov", c"Dec"];

/// RFC 1123, section 5.2.14, as HTTP has it (RFC 9110, section 5.6.7). The length that it has or would have; a day or month that
/// there is not is `???`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_date_rfc1123(to: *mut c_char, room: usize, time: *const libc::tm) -> c_int {
    let mut now = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: the caller's buffer of `room` bytes, and time or null; ours is filled, or stays zeroes.
    unsafe {
        let time = match time.as_ref() {
            Some(time) => time,
            None => {
                let seconds = libc::time(core::ptr::null_mut());
                libc::gmtime_r(&seconds, now.as_mut_ptr());
                now.assume_init_ref()
            }
        };
        let name = |names: &[&'static CStr], index: c_int| {
            usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or(c"???").as_ptr()
        };
        if room == 0 {
            return 0;
        }
        libc::snprintf(
            to,
            room,
            c"%s, %02d %s %4d %02d:%02d:%02d GMT".as_ptr(),
            name(&DAYS, time.tm_wday),
            time.tm_mday,
            name(&MONTHS, time.tm_mon),
            time.tm_year.saturating_add(1900),
            time.tm_hour,
            time.tm_min,
            time.tm_sec,
        )
    }
}
