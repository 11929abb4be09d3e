//! The system calls of multiplexing as their man pages have them, one safe function each: for showing what the kernel
//! does, not for building on. (What to build on is [`crate::backend`].)
//!
//! Nothing is smoothed over here: EINTR comes through, select's sets and timeout are written to, a number that is no
//! open descriptor is passed on. That is safe: the kernel answers EBADF or POLLNVAL, and whatever is written lies
//! inside the memory that was given.

mod epoll;
mod fd;
mod fortify;
mod number;
mod poll;
mod select;

pub use epoll::{Epoll, Op, event};
pub use fd::{Fcntl, fcntl, open_again};
pub use fortify::{Fortified, fd_set_fortified};
pub use number::{CallKind, call, name_of};
pub use poll::{poll, pollfd};
pub use select::{FD_SET_BYTES, FD_SETSIZE, FdSet, select};

/// The flags of poll(2) and epoll_ctl(2), and those of open(2) that fcntl(2) shows.
pub mod flags {
    pub use libc::{
        EPOLLERR, EPOLLET, EPOLLEXCLUSIVE, EPOLLHUP, EPOLLIN, EPOLLONESHOT, EPOLLOUT, EPOLLRDHUP, FD_CLOEXEC,
        O_APPEND, O_NONBLOCK, POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP,
    };
}

#[cfg(test)]
mod tests;
