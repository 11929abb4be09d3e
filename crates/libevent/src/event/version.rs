//! What version of libevent this is like, and the end of it all.

use core::ffi::c_char;

#[unsafe(no_mangle)]
pub extern "C" fn event_get_version() -> *const c_char {
    c"2.1.12-stable".as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn event_get_version_number() -> u32 {
    0x0201_0c00
}

/// Frees what is not of a base or an event: what debug mode remembers.
#[unsafe(no_mangle)]
pub extern "C" fn libevent_global_shutdown() {
    super::debug::disable();
    // What other threads keep they give back when they end.
    crate::mem::per_thread::give_back();
}
