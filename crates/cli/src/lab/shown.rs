//! How results of calls are written.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// How a result of a call is written beside it.
pub trait Shown {
    /// `0`, `5 bytes`, `fd 7`.
    fn shown(&self) -> String;
}

impl Shown for () {
    fn shown(&self) -> String {
        "0".to_owned()
    }
}

impl Shown for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for std::net::TcpStream {
    fn shown(&self) -> String {
        format!("fd {}", self.as_raw_fd())
    }
}

impl Shown for std::net::TcpListener {
    fn shown(&self) -> String {
        format!("fd {}", self.as_raw_fd())
    }
}

impl Shown for OwnedFd {
    fn shown(&self) -> String {
        format!("fd {}", self.as_raw_fd())
    }
}

/// An error as errno(3) names it, where a person meets it in these experiments.
pub fn errno_name(error: &io::Error) -> String {
    let number = error.raw_os_error().filter(|number| (1..4096).contains(number));
    let name = match number.map(rustix::io::Errno::from_raw_os_error) {
        Some(rustix::io::Errno::ADDRINUSE) => "EADDRINUSE",
        Some(rustix::io::Errno::ADDRNOTAVAIL) => "EADDRNOTAVAIL",
        Some(rustix::io::Errno::AGAIN) => "EAGAIN",
        Some(rustix::io::Errno::BADF) => "EBADF",
        Some(rustix::io::Errno::CONNREFUSED) => "ECONNREFUSED",
        Some(rustix::io::Errno::CONNRESET) => "ECONNRESET",
        Some(rustix::io::Errno::EXIST) => "EEXIST",
        Some(rustix::io::Errno::INTR) => "EINTR",
        Some(rustix::io::Errno::INVAL) => "EINVAL",
        Some(rustix::io::Errno::LOOP) => "ELOOP",
        Some(rustix::io::Errno::MFILE) => "EMFILE",
        Some(rustix::io::Errno::MSGSIZE) => "EMSGSIZE",
        Some(rustix::io::Errno::NOENT) => "ENOENT",
        Some(rustix::io::Errno::NOTCONN) => "ENOTCONN",
        Some(rustix::io::Errno::PERM) => "EPERM",
        Some(rustix::io::Errno::PIPE) => "EPIPE",
        Some(rustix::io::Errno::TIMEDOUT) => "ETIMEDOUT",
        _ => return error.to_string(),
    };
    name.to_owned()
}

/// Text that one end wrote and the other read.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
