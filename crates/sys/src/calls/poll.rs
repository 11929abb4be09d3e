//! poll(2) itself.

use crate::syscall;
use crate::syscall::io_error;
use std::io;

/// One entry: what is asked (`events`) and what is answered (`revents`) stand apart.
pub use libc::pollfd;

/// poll(2). `timeout_ms` -1 sleeps for as long as it takes, 0 only looks.
///
/// # Errors
/// EINVAL: more entries than RLIMIT_NOFILE. EINTR: a signal came.
pub fn poll(entries: &mut [pollfd], timeout_ms: i32) -> io::Result<usize> {
    let (at, count) = (entries.as_mut_ptr(), entries.len() as libc::nfds_t);
    // SAFETY: `count` entries that the kernel may write to.
    syscall!(unsafe { libc::poll(at, count, timeout_ms) }).map(|ready| ready as usize).map_err(io_error)
}
