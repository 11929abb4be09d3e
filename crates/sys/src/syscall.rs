//! From the kernel's -1 to an error, and nothing else.
//!
//! libc and not raw instructions: its `errno` is what the C face must leave behind, and an LD_PRELOAD shim can
//! inject faults.

use duolu_core::Errno;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Calls a function of libc that says -1 for failure, and gives `Result<_, Errno>`.
///
/// The call is unsafe; the macro expands to the bare call, so the `unsafe` block and its `SAFETY:` line stand
/// where the arguments are.
#[macro_export]
macro_rules! syscall {
    ($call:expr) => {
        $crate::syscall::check($call)
    };
}

/// What a system call gives back: an integer whose -1 means "see errno".
pub trait Answer: Copy {
    /// Whether it is -1.
    fn failed(self) -> bool;
}

impl Answer for i32 {
    fn failed(self) -> bool {
        self == -1
    }
}

impl Answer for i64 {
    fn failed(self) -> bool {
        self == -1
    }
}

impl Answer for isize {
    fn failed(self) -> bool {
        self == -1
    }
}

/// -1 becomes the calling thread's errno, anything else stays.
#[inline]
pub fn check<T: Answer>(answer: T) -> Result<T, Errno> {
    if answer.failed() { Err(last_errno()) } else { Ok(answer) }
}

/// The calling thread's errno.
#[cold]
pub fn last_errno() -> Errno {
    // SAFETY: the location libc gives is valid for the life of the calling thread.
    Errno(unsafe { *libc::__errno_location() })
}

/// Puts `errno` into the calling thread's errno: for signal handlers, which must leave it as they found it.
pub fn set_errno(errno: Errno) {
    // SAFETY: as in `last_errno`.
    unsafe { *libc::__errno_location() = errno.0 }
}

/// Calls again for as long as the call is interrupted (EINTR). Not for `close` and `connect`: the first has
/// closed the descriptor already (close(2), NOTES), the second goes on by itself (connect(2), EINTR).
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno(libc::EINTR)) => {}
            other => return other,
        }
    }
}

/// The same error as std has it, with its text.
pub fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

/// Owns a descriptor that the kernel has just given.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    debug_assert!(fd >= 0);
    // SAFETY: every caller passes the result of a system call that created this descriptor and has told
    // nobody else of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `errno`'s name where it is one a person meets at start-up, and its text otherwise.
pub fn describe(errno: Errno) -> String {
    let name = match errno.0 {
        libc::EPERM => "EPERM",
        libc::ENOSYS => "ENOSYS",
        libc::EACCES => "EACCES",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::ENOMEM => "ENOMEM",
        _ => return io_error(errno).to_string(),
    };
    name.to_owned()
}

/// A timeout for the kernel. 584 years of nanoseconds fit.
pub(crate) fn timespec_of(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as _, tv_nsec: (ns % 1_000_000_000) as _ }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_call_gives_its_errno() {
        // SAFETY: -1 is never an open descriptor; the kernel refuses.
        assert_eq!(syscall!(unsafe { libc::fcntl(-1, libc::F_GETFD) }), Err(Errno(libc::EBADF)));
    }

    #[test]
    fn retry_repeats_interrupted_calls_only() {
        let mut answers = vec![Err(Errno(libc::EBADF)), Err(Errno(libc::EINTR)), Err(Errno(libc::EINTR))];
        assert_eq!(retry(|| answers.pop().unwrap_or(Ok(1))), Err(Errno(libc::EBADF)));
        assert!(answers.is_empty());
    }
}
