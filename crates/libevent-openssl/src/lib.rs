//! event2/bufferevent_ssl.h as its own object, so that nobody else needs libssl; nor does this one. The functions fail as
//! their header says a failure looks, with ENOSYS, and say so once each. The work comes in part two.

// The C header documents them.
#![allow(missing_docs)]

use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[cfg(not(target_os = "linux"))]
compile_error!("duolu runs on Linux only");

/// Says once that a function was called, the way libevent says things (event_warnx), if it is there.
fn say_once(said: &AtomicBool, name: &CStr) {
    const MESSAGE: &CStr = c"%s is not in duolu's libevent yet: the call fails";
    if !said.swap(true, Relaxed) {
        // SAFETY: dlsym(3) looks for a name; libevent's function of that name takes a format and what it asks for.
        unsafe {
            let warnx = libc::dlsym(libc::RTLD_DEFAULT, c"event_warnx".as_ptr());
            if warnx.is_null() {
                eprintln!("[warn] {} is not in duolu's libevent yet: the call fails", name.to_string_lossy());
            } else {
                let warnx: unsafe extern "C" fn(*const c_char, ...) = core::mem::transmute(warnx);
                warnx(MESSAGE.as_ptr(), name.as_ptr());
            }
        }
    }
    // SAFETY: the calling thread's errno is there as long as it is.
    unsafe { *libc::__errno_location() = libc::ENOSYS };
}

/// Functions that take anything, which C's calling conventions on Linux allow: the caller cleans up.
macro_rules! fails {
    ($($name:ident: $type:ty = $failure:expr;)*) => { $(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() -> $type {
            static SAID: AtomicBool = AtomicBool::new(false);
            const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                Ok(name) => name,
                Err(_) => c"?",
            };
            say_once(&SAID, NAME);
            $failure
        }
    )* };
}

fails! {
    bufferevent_openssl_filter_new: *mut c_void = null_mut();
    bufferevent_openssl_socket_new: *mut c_void = null_mut();
    // Of a bufferevent that is no TLS one.
    bufferevent_openssl_get_allow_dirty_shutdown: c_int = -1;
    bufferevent_openssl_set_allow_dirty_shutdown: () = ();
    bufferevent_openssl_get_ssl: *mut c_void = null_mut();
    bufferevent_ssl_renegotiate: c_int = -1;
    // There is no error of OpenSSL's.
    bufferevent_get_openssl_error: c_ulong = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_fail_as_the_header_says() {
        // SAFETY: as in `say_once`.
        let errno = || unsafe { core::mem::replace(&mut *libc::__errno_location(), 0) };
        assert!(bufferevent_openssl_filter_new().is_null() && errno() == libc::ENOSYS);
        assert!(bufferevent_openssl_socket_new().is_null() && errno() == libc::ENOSYS);
        assert!(bufferevent_openssl_get_ssl().is_null() && errno() == libc::ENOSYS);
        assert!(bufferevent_ssl_renegotiate() == -1 && errno() == libc::ENOSYS);
        assert!(bufferevent_openssl_get_allow_dirty_shutdown() == -1 && errno() == libc::ENOSYS);
        assert!(bufferevent_get_openssl_error() == 0 && errno() == libc::ENOSYS);
        bufferevent_openssl_set_allow_dirty_shutdown();
        assert_eq!(errno(), libc::ENOSYS);
    }
}
