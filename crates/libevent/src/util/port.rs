//! An address with a port, as text and compared.

use super::address::evutil_inet_pton_scope;
use core::cmp::Ordering;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;
use libc::{AF_INET, AF_INET6, sockaddr, sockaddr_in, sockaddr_in6};

/// Longer text is no address: the longest is 45 characters, an interface's name 15.
const LONGEST: usize = 127;

/// Text taken apart: whose family it must be, the address, the port (0: none was given). None: neither.
///
/// `[v6]:port`, `[v6]`, `v6`, `v4:port`, `v4`. Lengths are compared as lengths: as an int, one above 2^31 was negative and so
/// short enough for a buffer on the stack (CVE-2016-10196).
fn take_apart(text: &[u8]) -> Option<(c_int, &[u8], u16)> {
    // Where an address ends is looked for as far as one can reach: text may be gigabytes.
    let reach = LONGEST + 1;
    let colon = text.iter().take(reach).position(|byte| *byte == b':');
    let (family, address, port) = if let Some(inner) = text.strip_prefix(b"[") {
        let end = inner.iter().take(reach).position(|byte| *byte == b']')?;
        let (address, rest) = inner.split_at_checked(end)?;
        match rest.get(1..)? {
            [] => (AF_INET6, address, None),
            [b':', port @ ..] => (AF_INET6, address, Some(port)),
            // libevent takes "[::1]80", and whatever else, for "[::1]".
            _ => return None,
        }
    } else if let Some(colon) = colon {
        let (address, rest) = text.split_at_checked(colon)?;
        let port = rest.get(1..)?;
        if port.contains(&b':') { (AF_INET6, text, None) } else { (AF_INET, address, Some(port)) }
    } else {
        (AF_INET, text, None)
    };
    let port = match port {
        None => 0,
        Some(port) => parse_port(port)?,
    };
    (address.len() <= LONGEST).then_some((family, address, port))
}

/// 1 to 65535, as atoi(3) reads it: blanks and a plus sign before it, and anything that is no digit behind it, are passed over.
/// But a number that is too large is too large, and not what is left of it in an int.
fn parse_port(text: &[u8]) -> Option<u16> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let mut digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    let port = digits
        .try_fold(0u32, |sum, digit| Some(sum * 10 + u32::from(digit - b'0')).filter(|sum| *sum <= 65535));
    port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_parse_sockaddr_port(
    text: *const c_char,
    out: *mut sockaddr,
    room: *mut c_int,
) -> c_int {
    // SAFETY: a C string, and `*room` bytes at `out`, which need not be aligned: what the header asks.
    let parsed = unsafe { parse(CStr::from_ptr(text).to_bytes(), out.cast(), room) };
    if parsed.is_none() {
        set_errno(Errno(libc::EINVAL));
        return -1;
    }
    0
}

unsafe fn parse(text: &[u8], out: *mut u8, room: *mut c_int) -> Option<()> {
    let (family, address, port) = take_apart(text)?;
    let mut ended = [0u8; LONGEST + 1];
    ended.get_mut(..address.len())?.copy_from_slice(address);
    let mut binary = [0u8; 16];
    let mut index = 0;
    // SAFETY: a C string, since the last byte stays 0; room for either family's address.
    let parsed = unsafe {
        evutil_inet_pton_scope(
            family,
            ended.as_ptr().cast(),
            binary.as_mut_ptr().cast::<c_void>(),
            &mut index,
        )
    };
    if parsed != 1 {
        return None;
    }
    // SAFETY: all zeroes are a sockaddr; the caller's `room` says how much of `out` may be written.
    unsafe {
        let capacity = usize::try_from(*room).ok()?;
        let put = |from: *const u8, size: usize| {
            (size <= capacity).then(|| {
                ptr::write_bytes(out, 0, capacity);
                ptr::copy_nonoverlapping(from, out, size);
                // At most 28.
                *room = size as c_int;
            })
        };
        if family == AF_INET6 {
            let mut whole: sockaddr_in6 = core::mem::zeroed();
            whole.sin6_family = AF_INET6 as _;
            whole.sin6_port = port.to_be();
            whole.sin6_addr.s6_addr = binary;
            whole.sin6_scope_id = index;
            put((&raw const whole).cast(), size_of::<sockaddr_in6>())
        } else {
            let mut whole: sockaddr_in = core::mem::zeroed();
            whole.sin_family = AF_INET as _;
            whole.sin_port = port.to_be();
            let [a, b, c, d, ..] = binary;
            whole.sin_addr.s_addr = u32::from_ne_bytes([a, b, c, d]);
            put((&raw const whole).cast(), size_of::<sockaddr_in>())
        }
    }
}

fn as_int(order: Ordering) -> c_int {
    order as c_int
}

/// By family, address and port; the order of two that differ is some order. Families other than IPv4 and IPv6 are never equal.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_sockaddr_cmp(
    one: *const sockaddr,
    other: *const sockaddr,
    with_port: c_int,
) -> c_int {
    // SAFETY: two addresses, each as long as its family's: what the header asks. They need not be aligned.
    unsafe {
        let (family, others) = ((*one).sa_family, (*other).sa_family);
        if family != others {
            return c_int::from(family) - c_int::from(others);
        }
        let ports =
            |one: u16, other: u16| if with_port != 0 { c_int::from(one) - c_int::from(other) } else { 0 };
        match c_int::from(family) {
            AF_INET => {
                let (one, other) = (
                    one.cast::<sockaddr_in>().read_unaligned(),
                    other.cast::<sockaddr_in>().read_unaligned(),
                );
                match one.sin_addr.s_addr.cmp(&other.sin_addr.s_addr) {
                    Ordering::Equal => ports(one.sin_port, other.sin_port),
                    order => as_int(order),
                }
            }
            AF_INET6 => {
                let (one, other) = (
                    one.cast::<sockaddr_in6>().read_unaligned(),
                    other.cast::<sockaddr_in6>().read_unaligned(),
                );
                match one.sin6_addr.s6_addr.cmp(&other.sin6_addr.s6_addr) {
                    Ordering::Equal => ports(one.sin6_port, other.sin6_port),
                    order => as_int(order),
                }
            }
            _ => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, room: c_int) -> Option<(c_int, [u8; 32])> {
        let text = std::ffi::CString::new(text).unwrap();
        let (mut out, mut length) = ([0x55u8; 32], room);
        // SAFETY: a C string, and at least as much room as is said.
        let result =
            unsafe { evutil_parse_sockaddr_port(text.as_ptr(), out.as_mut_ptr().cast(), &mut length) };
        if result != 0 {
            assert!(out == [0x55; 32] && length == room, "a failure leaves everything");
        }
        (result == 0).then_some((length, out))
    }

    #[test]
    fn forms_of_addresses() {
        let (length, v4) = parsed("1.2.3.4:80", 32).unwrap();
        assert_eq!((length, &v4[..8]), (16, &[2, 0, 0, 80, 1, 2, 3, 4][..]));
        assert_eq!(v4[8..], [0; 24]);
        let (length, v6) = parsed("[fe80::5%3]:65535", 32).unwrap();
        assert_eq!((length, &v6[..4], v6[8], v6[23], v6[24]), (28, &[10, 0, 255, 255][..], 0xfe, 5, 3));
        for good in ["::1", "[::1]", "1.2.3.4", "[::1]:1", "1.2.3.4:080"] {
            assert!(parsed(good, 32).is_some(), "{good}");
        }
        let bad = [
            "",
            "[",
            "[]",
            "]",
            ":",
            "[::1",
            "[::1]80",
            "[::1]:",
            "[::1]:0",
            "[::1]:65536",
            "[::1]:4294967376",
            "1.2.3.4:",
            "1.2.3.4:-1",
            "1.2.3.4:99999999999999999999",
            "[1.2.3.4]:80",
            "1.2.3.4]:80",
            "[::1%]:80",
            "host:80",
            "[[::1]]",
        ];
        for bad in bad {
            assert!(parsed(bad, 32).is_none(), "{bad}");
        }
        assert!(
            parsed("1.2.3.4", 15).is_none() && parsed("::1", 27).is_none() && parsed("::1", -1).is_none()
        );
        assert!(parsed("1.2.3.4", 16).is_some() && parsed("::1", 28).is_some());
    }

    /// CVE-2016-10196: brackets around more than an int can say.
    #[test]
    fn long_text_is_no_address() {
        for length in [100, 127, 128, 129, 1000, 100_000] {
            let inner = "1".repeat(length);
            for text in [format!("[{inner}]:80"), format!("[{inner}]"), format!("{inner}:80"), inner.clone()]
            {
                assert!(parsed(&text, 32).is_none());
            }
        }
    }

    #[test]
    fn comparing() {
        let of = |text: &str| parsed(text, 32).unwrap().1;
        let cmp = |one: &str, other: &str, port: c_int| {
            let (one, other) = (of(one), of(other));
            // SAFETY: 32 bytes hold either family's address.
            unsafe { evutil_sockaddr_cmp(one.as_ptr().cast(), other.as_ptr().cast(), port) }
        };
        assert_eq!(cmp("1.2.3.4:1", "1.2.3.4:2", 0), 0);
        assert!(cmp("1.2.3.4:1", "1.2.3.4:2", 1) < 0 && cmp("1.2.3.4:2", "1.2.3.4:1", 1) > 0);
        assert!(cmp("1.2.3.4", "::1", 0) < 0);
        assert!(cmp("::1", "::2", 0) < 0 && cmp("::2", "::1", 0) > 0 && cmp("[::1]:4", "[::1]:4", 1) == 0);
        assert_eq!(cmp("1.2.3.4", "1.2.3.5", 0), -cmp("1.2.3.5", "1.2.3.4", 0));
    }
}
