//! epoll(7) itself: any data, any flags, any size.

use crate::syscall;
use crate::syscall::{io_error, own};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// One event: flags, and 64 bits that mean nothing to the kernel.
pub use libc::epoll_event as event;

/// What epoll_ctl(2) is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// EPOLL_CTL_ADD
    Add,
    /// EPOLL_CTL_MOD
    Modify,
    /// EPOLL_CTL_DEL
    Delete,
}

/// An epoll descriptor, closed on exec unless made by [`Epoll::of_size`].
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// epoll_create1(2) with EPOLL_CLOEXEC.
    ///
    /// # Errors
    /// EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed.
        syscall!(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
            .map(|fd| Epoll(own(fd)))
            .map_err(io_error)
    }

    /// epoll_create(2), the older one, with its argument.
    ///
    /// # Errors
    /// EINVAL: `size` is not positive. EMFILE, ENFILE, ENOMEM.
    pub fn of_size(size: i32) -> io::Result<Self> {
        // SAFETY: no memory is passed.
        syscall!(unsafe { libc::epoll_create(size) }).map(|fd| Epoll(own(fd))).map_err(io_error)
    }

    /// epoll_ctl(2), with flags and data as they are given. `flags` has the bits of EPOLLIN and its siblings.
    ///
    /// # Errors
    /// EEXIST, ENOENT, EPERM, EBADF, EINVAL, ELOOP, ENOSPC as the man page has them.
    pub fn control(&self, op: Op, fd: RawFd, flags: i32, data: u64) -> io::Result<()> {
        let op = match op {
            Op::Add => libc::EPOLL_CTL_ADD,
            Op::Modify => libc::EPOLL_CTL_MOD,
            Op::Delete => libc::EPOLL_CTL_DEL,
        };
        let mut event = event { events: flags.cast_unsigned(), u64: data };
        // SAFETY: `event` outlives the call.
        syscall!(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd, &mut event) })
            .map(drop)
            .map_err(io_error)
    }

    /// Adds `fd` with its own number as data, as the notes do.
    ///
    /// # Errors
    /// As [`Epoll::control`].
    pub fn add(&self, fd: impl AsFd, flags: i32) -> io::Result<()> {
        let number = fd.as_fd().as_raw_fd();
        self.control(Op::Add, number, flags, number as u64)
    }

    /// epoll_wait(2): fills `events` from the front and says how many. `timeout_ms` -1 sleeps, 0 only looks.
    ///
    /// # Errors
    /// EINVAL: there is no room for even one. EINTR: a signal came.
    pub fn wait(&self, events: &mut [event], timeout_ms: i32) -> io::Result<usize> {
        let (at, room) = (events.as_mut_ptr(), events.len().min(i32::MAX as usize) as i32);
        // SAFETY: the buffer has `room` entries.
        syscall!(unsafe { libc::epoll_wait(self.0.as_raw_fd(), at, room, timeout_ms) })
            .map(|ready| ready as usize)
            .map_err(io_error)
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
