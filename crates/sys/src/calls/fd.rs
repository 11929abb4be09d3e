//! A descriptor's flags, right and wrong ways of setting them included.

use crate::syscall;
use crate::syscall::{io_error, own};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// What fcntl(2) is asked: the two pairs that are mixed up so easily.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fcntl {
    /// F_GETFL: O_NONBLOCK, O_APPEND and the like, of the open file.
    GetFileFlags,
    /// F_SETFL.
    SetFileFlags(i32),
    /// F_GETFD: FD_CLOEXEC, of this descriptor, and nothing else.
    GetDescriptorFlags,
    /// F_SETFD.
    SetDescriptorFlags(i32),
}

/// fcntl(2).
///
/// # Errors
/// EPERM: a flag that this file does not allow to change.
pub fn fcntl(fd: impl AsFd, command: Fcntl) -> io::Result<i32> {
    let (command, argument) = match command {
        Fcntl::GetFileFlags => (libc::F_GETFL, 0),
        Fcntl::SetFileFlags(flags) => (libc::F_SETFL, flags),
        Fcntl::GetDescriptorFlags => (libc::F_GETFD, 0),
        Fcntl::SetDescriptorFlags(flags) => (libc::F_SETFD, flags),
    };
    // SAFETY: an int or nothing, as each of these commands wants.
    syscall!(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, argument) }).map_err(io_error)
}

/// Opens the file behind a descriptor once more, for reading and with `flags`, by way of /proc: another open file with
/// flags of its own, which a dup would not be. For a pipe's reading end, a device, a regular file.
///
/// # Errors
/// ENXIO: a socket cannot be opened. ENOENT: there is no /proc.
pub fn open_again(fd: impl AsFd, flags: i32) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}\0", fd.as_fd().as_raw_fd());
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | flags;
    // SAFETY: `path` ends with a zero byte and outlives the call.
    syscall!(unsafe { libc::open(path.as_ptr().cast(), flags) }).map(own).map_err(io_error)
}
