//! getaddrinfo(3), which on Linux does all that libevent's header promises.

use crate::mem;
use core::ffi::{c_char, c_int};
use libc::addrinfo;

/// In ai_flags of lists that this library made itself, by a name server's answers: they are freed differently.
const OURS: c_int = c_int::MIN;
/// EVUTIL_EAI_CANCEL.
const CANCEL: c_int = -90001;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: C strings or null, hints or null, and where to put the list: what the header asks.
    unsafe {
        // No hints are the family AF_UNSPEC and nothing else; getaddrinfo(3)'s own default would add AI_ADDRCONFIG.
        let mut asked: addrinfo = core::mem::zeroed();
        if let Some(hints) = hints.as_ref() {
            asked.ai_flags = hints.ai_flags & !OURS;
            asked.ai_family = hints.ai_family;
            asked.ai_socktype = hints.ai_socktype;
            asked.ai_protocol = hints.ai_protocol;
        }
        libc::getaddrinfo(node, service, &asked, result)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_freeaddrinfo(list: *mut addrinfo) {
    // SAFETY: a list of ours or of getaddrinfo(3), whole, and nobody's any more.
    unsafe {
        let Some(first) = list.as_ref() else { return };
        if first.ai_flags & OURS == 0 {
            return libc::freeaddrinfo(list);
        }
        // Each with its address in one allocation.
        let mut at = list;
        while let Some(entry) = at.as_ref() {
            let next = entry.ai_next;
            mem::free(entry.ai_canonname.cast());
            mem::free(at.cast());
            at = next;
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_gai_strerror(code: c_int) -> *const c_char {
    match code {
        0 => c"No error".as_ptr(),
        CANCEL => c"Request canceled".as_ptr(),
        // SAFETY: takes any number and gives a text for ever.
        code => unsafe { libc::gai_strerror(code) },
    }
}
