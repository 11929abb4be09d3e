//! What can go wrong with a connection, by the names of the JSON.

use rustix::io::Errno;
use std::fmt;

/// Why a connection or an exchange failed. `Display` gives the name in reports and JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// ECONNREFUSED: nobody listens.
    ConnectRefused,
    /// The handshake did not end in time.
    ConnectTimeout,
    /// EMFILE or ENFILE: the loader has no descriptor left.
    NoDescriptors,
    /// EADDRNOTAVAIL: no local port left.
    NoPorts,
    /// The kernel completed the handshake, but the server never accepted the connection.
    NotAccepted,
    /// ECONNRESET or EPIPE.
    Reset,
    /// The peer closed in the middle of an exchange, or a connection that was to be held.
    ClosedEarly,
    /// No whole reply in time, on a connection that the server had accepted.
    Timeout,
    /// A byte that was not the one expected, a byte missing, or one too many.
    WrongBytes,
    /// memcached no longer has the key: it was evicted.
    Miss,
    /// An HTTP status outside 200-299.
    HttpStatus(u16),
    /// memcached answered ERROR, CLIENT_ERROR or SERVER_ERROR.
    Memcached,
    /// Another errno.
    Other(i32),
}

impl Kind {
    /// What an errno of socket, bind, connect, read or write means here.
    pub fn from_errno(errno: Errno) -> Self {
        match errno {
            Errno::CONNREFUSED => Kind::ConnectRefused,
            Errno::TIMEDOUT => Kind::ConnectTimeout,
            Errno::MFILE | Errno::NFILE => Kind::NoDescriptors,
            Errno::ADDRNOTAVAIL | Errno::ADDRINUSE => Kind::NoPorts,
            Errno::CONNRESET | Errno::PIPE => Kind::Reset,
            other => Kind::Other(other.raw_os_error()),
        }
    }

    /// Whether the target ended or refused a connection: all of them do where its process is gone.
    pub fn is_loss(self) -> bool {
        matches!(self, Kind::ConnectRefused | Kind::Reset | Kind::ClosedEarly)
    }

    /// Whether the same will happen to every connection still to be opened.
    pub fn stops_opening(self) -> bool {
        matches!(self, Kind::ConnectRefused | Kind::NoDescriptors | Kind::NoPorts)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Kind::ConnectRefused => "connect_refused",
            Kind::ConnectTimeout => "connect_timeout",
            Kind::NoDescriptors => "no_descriptors",
            Kind::NoPorts => "no_ports",
            Kind::NotAccepted => "not_accepted",
            Kind::Reset => "reset",
            Kind::ClosedEarly => "closed_early",
            Kind::Timeout => "timeout",
            Kind::WrongBytes => "wrong_bytes",
            Kind::Miss => "miss",
            Kind::HttpStatus(status) => return write!(f, "http_status:{status}"),
            Kind::Memcached => "memcached_error",
            Kind::Other(errno) => return write!(f, "other:{}", errno_name(*errno)),
        };
        f.pad(name)
    }
}

fn errno_name(errno: i32) -> String {
    const NAMES: [(Errno, &str); 12] = [
        (Errno::ACCESS, "EACCES"),
        (Errno::PERM, "EPERM"),
        (Errno::NOBUFS, "ENOBUFS"),
        (Errno::NOMEM, "ENOMEM"),
        (Errno::HOSTUNREACH, "EHOSTUNREACH"),
        (Errno::NETUNREACH, "ENETUNREACH"),
        (Errno::NETDOWN, "ENETDOWN"),
        (Errno::CONNABORTED, "ECONNABORTED"),
        (Errno::INVAL, "EINVAL"),
        (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::BADF, "EBADF"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| known.raw_os_error() == errno)
        .map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable() {
        assert_eq!(Kind::from_errno(Errno::MFILE).to_string(), "no_descriptors");
        assert_eq!(Kind::from_errno(Errno::ADDRNOTAVAIL).to_string(), "no_ports");
        assert_eq!(Kind::from_errno(Errno::HOSTUNREACH).to_string(), "other:EHOSTUNREACH");
        assert_eq!(Kind::from_errno(Errno::from_raw_os_error(95)).to_string(), "other:95");
        assert_eq!(Kind::HttpStatus(503).to_string(), "http_status:503");
    }
}
