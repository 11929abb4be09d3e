//! Functions that exist, so that programs start, and do nothing yet: they fail as their header says a failure looks, and say
//! so once each.

use crate::log;
use core::sync::atomic::{AtomicBool, Ordering};
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;

/// Says once that `name` was called, and leaves why it fails in errno.
pub(crate) fn say_once(said: &AtomicBool, name: &str) {
    if !said.swap(true, Ordering::Relaxed) {
        log::warn(&format!("{name} is not in duolu's libevent yet: the call fails"));
    }
    set_errno(Errno(libc::ENOSYS));
}

/// Functions that take anything and fail in one way. Called with arguments they do not name, which C's calling
/// conventions on Linux allow: the caller cleans up.
macro_rules! fails {
    (null; $($name:ident)*) => { fails!(@ *mut core::ffi::c_void, core::ptr::null_mut(), $($name)*); };
    (minus_one; $($name:ident)*) => { fails!(@ isize, -1, $($name)*); };
    (minus_two; $($name:ident)*) => { fails!(@ isize, -2, $($name)*); };
    (one; $($name:ident)*) => { fails!(@ isize, 1, $($name)*); };
    (zero; $($name:ident)*) => { fails!(@ usize, 0, $($name)*); };
    (nothing; $($name:ident)*) => { fails!(@ (), (), $($name)*); };
    (@ $type:ty, $failure:expr, $($name:ident)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> $type {
            static SAID: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
            $crate::not_yet::say_once(&SAID, stringify!($name));
            $failure
        }
    )* };
}

mod dns;
mod http;
mod rpc;
mod thread;
