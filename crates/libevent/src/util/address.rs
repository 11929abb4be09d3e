//! Addresses as text. inet_pton(3) and inet_ntop(3) do the work; here stands in what libevent differs from them:
//!
//! (a) IPv4 numbers may begin with zeros and are decimal all the same: "127.000.000.001".
//! (b) `::102:0` is written so, not as `::1.2.0.0`.
//! (c) An IPv6 address may name its zone ("fe80::1%eth0", "fe80::1%2"), and the zone must be something.
//!
//! libevent also takes addresses with blanks, signs and stray colons, and cuts off one that just does not fit. Those
//! fail here.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr::null;
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;
use libc::{AF_INET, AF_INET6};

unsafe extern "C" {
    fn inet_ntop(
        family: c_int,
        address: *const c_void,
        to: *mut c_char,
        room: libc::socklen_t,
    ) -> *const c_char;
    fn inet_pton(family: c_int, text: *const c_char, to: *mut c_void) -> c_int;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_ntop(
    family: c_int,
    address: *const c_void,
    to: *mut c_char,
    room: usize,
) -> *const c_char {
    let size = libc::socklen_t::try_from(room).unwrap_or(libc::socklen_t::MAX);
    // SAFETY: an address of the family and a buffer with `room` bytes: what the header asks.
    unsafe {
        if family == AF_INET6
            && let [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, 0] = *address.cast::<[u8; 16]>()
            && (high != 0 || low != 0)
        {
            // (b)
            let word = c_uint::from(u16::from_be_bytes([high, low]));
            let length = libc::snprintf(to, room, c"::%x:0".as_ptr(), word);
            if usize::try_from(length).is_ok_and(|length| length < room) {
                return to;
            }
            set_errno(Errno(libc::ENOSPC));
            return null();
        }
        inet_ntop(family, address, to, size)
    }
}

/// Four decimal numbers up to 255: (a).
fn parse_v4(text: &[u8]) -> Option<[u8; 4]> {
    let mut parts = text.split(|byte| *byte == b'.').map(|part| {
        // More zeros than anybody writes are somebody's trick; 255 has three digits.
        let digits = core::str::from_utf8(part).ok().filter(|part| part.len() <= 16)?;
        // Rust's own parser takes a plus sign.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u8>().ok())?
    });
    let address = [parts.next()??, parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(address)
}

/// 1: `text` is an address, and `to` has it. 0: it is none. -1: there is no such family.
///
/// # Safety
/// `text` ends with a NUL; `to` has room for the family's address.
unsafe fn parse(family: c_int, text: *const c_char, to: *mut c_void) -> c_int {
    // SAFETY: the caller's.
    unsafe {
        if family != AF_INET {
            return inet_pton(family, text, to);
        }
        match parse_v4(CStr::from_ptr(text).to_bytes()) {
            Some(address) => {
                to.cast::<[u8; 4]>().write_unaligned(address);
                1
            }
            None => 0,
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_pton(family: c_int, text: *const c_char, to: *mut c_void) -> c_int {
    // SAFETY: what the header asks.
    unsafe { parse(family, text, to) }
}

/// The index of a zone: an interface's name or a number. None: neither.
fn zone_index(name: &CStr) -> Option<c_uint> {
    // SAFETY: a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index != 0 {
        return Some(index);
    }
    let digits = name.to_str().ok()?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_inet_pton_scope(
    family: c_int,
    text: *const c_char,
    to: *mut c_void,
    index: *mut c_uint,
) -> c_int {
    // SAFETY: a C string, room for an address and for an index: what the header asks.
    unsafe {
        *index = 0;
        let whole = CStr::from_ptr(text);
        let percent = whole.to_bytes().iter().position(|byte| *byte == b'%');
        let Some(percent) = percent.filter(|_| family == AF_INET6) else {
            return parse(family, text, to);
        };
        // No address is longer than this; what is cannot be one. On the stack: no copy can fail.
        let mut address = [0u8; 64];
        let Some(room) = address.get_mut(..percent) else { return 0 };
        if percent == 64 {
            return 0;
        }
        room.copy_from_slice(&whole.to_bytes()[..percent]);
        let Some(zone) = zone_index(CStr::from_ptr(text.add(percent + 1))) else { return 0 };
        let parsed = parse(family, address.as_ptr().cast(), to);
        if parsed == 1 {
            *index = zone;
        }
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &CStr) -> Option<([u8; 16], c_uint)> {
        let (mut to, mut index) = ([0u8; 16], 7);
        // SAFETY: a C string, and room for the longest address.
        let parsed =
            unsafe { evutil_inet_pton_scope(AF_INET6, text.as_ptr(), to.as_mut_ptr().cast(), &mut index) };
        (parsed == 1).then_some((to, index))
    }

    fn written(address: [u8; 16], room: usize) -> Option<String> {
        let mut to = [0x55u8; 64];
        // SAFETY: an address, and no more room than there is.
        let text = unsafe {
            evutil_inet_ntop(AF_INET6, address.as_ptr().cast(), to.as_mut_ptr().cast(), room.min(64))
        };
        assert!(to[room.min(64)..].iter().all(|byte| *byte == 0x55));
        // SAFETY: text comes with its NUL.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_str().unwrap().to_owned())
    }

    #[test]
    fn v4_is_four_numbers_and_nothing_else() {
        assert_eq!(parse_v4(b"127.000.000.001"), Some([127, 0, 0, 1]));
        for bad in [
            "",
            "1.2.3",
            "1.2.3.4.5",
            "256.0.0.1",
            "1.2.3.",
            "+1.2.3.4",
            " 1.2.3.4",
            "1.2.3.4 ",
            "1..2.3",
            "-1.2.3.4",
        ] {
            assert_eq!(parse_v4(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(parse_v4(b"00000000000000000000000000001.2.3.4"), None);
    }

    #[test]
    fn zones_are_interfaces_or_numbers() {
        let address = parsed(c"fe80::1").unwrap().0;
        assert_eq!(parsed(c"fe80::1%12"), Some((address, 12)));
        assert_eq!(parsed(c"fe80::1%0"), Some((address, 0)));
        // SAFETY: a C string.
        let lo = unsafe { libc::if_nametoindex(c"lo".as_ptr()) };
        assert_eq!(parsed(c"fe80::1%lo"), Some((address, lo)));
        for bad in [c"fe80::1%", c"fe80::1%1x", c"fe80::1%-1", c"fe80::1%99999999999", c"%1", c"fe80::%1%2"] {
            assert_eq!(parsed(bad), None, "{bad:?}");
        }
        for length in 60..70 {
            let long = std::ffi::CString::new("0".repeat(length) + "::1%1").unwrap();
            assert_eq!(parsed(&long), None);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut address = [0; 16];
        address[12] = 0x01;
        address[13] = 0x02;
        assert_eq!(written(address, 64).as_deref(), Some("::102:0"));
        assert_eq!(written(address, 8).as_deref(), Some("::102:0"));
        assert_eq!(written(address, 7), None);
        address[15] = 1;
        assert_eq!(written(address, 64).as_deref(), Some("::1.2.0.1"));
        assert_eq!(written(address, 10).as_deref(), Some("::1.2.0.1"));
        assert_eq!(written(address, 9), None);
        assert_eq!(written(address, 0), None);
    }
}
