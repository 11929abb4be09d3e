//! Random bytes that nobody can guess: the kernel's, each time. Nothing is kept here, so threads need no lock, a child of
//! fork(2) does not repeat its parent, and nobody has to add any.

use crate::log;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};
use duolu_core::Errno;
use duolu_sys::syscall::{last_errno, set_errno};

/// Read where getrandom(2) is not allowed. The program's, who keeps it.
static DEVICE: AtomicPtr<c_char> = AtomicPtr::new(null_mut());

/// Fills the memory; false: there are none to be had. errno stays unless it fails.
///
/// # Safety
/// `size` bytes at `to` may be written.
unsafe fn fill(to: *mut u8, size: usize) -> bool {
    let mut done = 0;
    let errno = last_errno();
    while done < size {
        // SAFETY: within the caller's memory.
        let got = unsafe { libc::getrandom(to.add(done).cast(), size - done, 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            // Only what is long can be interrupted; a seccomp filter says EPERM or ENOSYS.
            Err(_) if last_errno() == Errno(libc::EINTR) => {}
            // SAFETY: as above.
            Err(_) => return unsafe { read_device(to.add(done), size - done) },
        }
    }
    set_errno(errno);
    true
}

/// # Safety
/// As [`fill`].
unsafe fn read_device(to: *mut u8, size: usize) -> bool {
    let name = DEVICE.load(Relaxed);
    // SAFETY: a C string that the program keeps, or ours; the caller's memory.
    unsafe {
        let name = if name.is_null() { c"/dev/urandom" } else { CStr::from_ptr(name) };
        let device = libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if device < 0 {
            return false;
        }
        let mut done = 0;
        while done < size {
            match usize::try_from(libc::read(device, to.add(done).cast(), size - done)) {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(_) if last_errno() == Errno(libc::EINTR) => {}
                Err(_) => break,
            }
        }
        libc::close(device);
        done == size
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_secure_rng_get_bytes(to: *mut c_void, size: usize) {
    // SAFETY: what the header asks.
    if !unsafe { fill(to.cast(), size) } {
        // Bytes that are not random would be taken for such.
        log::fatal(
            1,
            format_args!("there are no random bytes: getrandom(2) is refused and there is no device to read"),
        );
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_init() -> c_int {
    let mut byte = 0;
    // SAFETY: a byte of this frame.
    if unsafe { fill(&mut byte, 1) } { 0 } else { -1 }
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_set_urandom_device_file(name: *mut c_char) -> c_int {
    DEVICE.store(name, Relaxed);
    0
}

/// The kernel's generator needs none. (Debian's libevent does nothing here, too.)
#[unsafe(no_mangle)]
pub extern "C" fn evutil_secure_rng_add_bytes(_: *const c_char, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_filled_and_no_other() {
        // Beyond 256 bytes getrandom may give less than was asked for; 8 zeroes in a row come once in 2^64.
        for size in [0usize, 1, 7, 256, 257, 100_000] {
            let mut bytes = vec![0u8; size + 8];
            // SAFETY: 8 bytes more than asked for.
            unsafe { evutil_secure_rng_get_bytes(bytes.as_mut_ptr().cast(), size) };
            assert!(bytes[size..] == [0; 8]);
            assert!(bytes[..size].windows(8).all(|eight| eight != [0; 8]));
            // SAFETY: as above.
            assert!(unsafe { read_device(bytes.as_mut_ptr(), size) });
            assert!(bytes[size..] == [0; 8]);
        }
    }
}
