//! Why the kernel's sockets could not be read, and what to do about it.

use crate::syscall::describe;
use duolu_core::Errno;
use std::fmt;

/// What kept sock_diag from answering.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiagError {
    /// The call is forbidden to this process: by a seccomp filter, or by a security module.
    Refused(&'static str, Errno),
    /// This kernel (or what stands in for one, as in gVisor) has no sock_diag, or its module is not there.
    Unsupported(&'static str, Errno),
    /// Something else went wrong with the call: out of descriptors, out of memory.
    Failed(&'static str, Errno),
    /// The answer came incomplete each time it was asked for.
    Incomplete(&'static str),
    /// The answer is not what the kernel's headers promise.
    Malformed(&'static str),
}

impl DiagError {
    /// Sorts an errno of `call` by who is at fault.
    pub(super) fn of(call: &'static str, errno: Errno) -> Self {
        match errno.0 {
            libc::EPERM | libc::EACCES => DiagError::Refused(call, errno),
            libc::ENOENT
            | libc::ENOSYS
            | libc::EOPNOTSUPP
            | libc::EAFNOSUPPORT
            | libc::EPROTONOSUPPORT
            | libc::ESOCKTNOSUPPORT
            | libc::EINVAL => DiagError::Unsupported(call, errno),
            // SO_RCVTIMEO ran out.
            libc::EAGAIN => DiagError::Incomplete("the kernel began to answer and did not finish"),
            _ => DiagError::Failed(call, errno),
        }
    }
}

impl fmt::Display for DiagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiagError::Refused(call, errno) => write!(
                f,
                "sock_diag is closed to this process ({call}: {}): a sandbox forbids netlink; a seccomp profile or \
                 security policy that allows socket(AF_NETLINK) opens it",
                describe(*errno)
            ),
            DiagError::Unsupported(call, errno) => write!(
                f,
                "this kernel has no sock_diag for TCP ({call}: {}); `modprobe tcp_diag` may bring it",
                describe(*errno)
            ),
            DiagError::Failed(call, errno) => write!(f, "sock_diag: {call}: {}", describe(*errno)),
            DiagError::Incomplete(how) => write!(f, "sock_diag: {how}; try again"),
            DiagError::Malformed(what) => {
                write!(f, "sock_diag: {what}, against linux/inet_diag.h: please report this kernel's version")
            }
        }
    }
}

impl std::error::Error for DiagError {}
