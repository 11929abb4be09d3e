//! Where datagrams come from and go to.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// Bytes of a Unix socket's name (sun_path, unix(7)).
const MOST_NAME: usize = 108;

/// The address of a datagram socket. It owns no memory, so a batch of messages allocates nothing for theirs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Address {
    /// None: a Unix socket that was not bound, or, to send to, the peer that the socket is connected to.
    #[default]
    Unnamed,
    /// UDP.
    Inet(SocketAddr),
    /// A Unix socket's.
    Unix(UnixName),
}

impl Address {
    /// The Unix socket at a path of the file system. `None` where the path is empty, has more than 107 bytes, or a NUL.
    pub fn path(path: impl AsRef<[u8]>) -> Option<Self> {
        let path = path.as_ref();
        // One byte is left for the NUL at its end, for programs that expect it there.
        let fits = !path.is_empty() && path.len() < MOST_NAME && !path.contains(&0);
        fits.then(|| Address::Unix(UnixName::new(path)))
    }

    /// The Unix socket of that name in the abstract namespace: no file, gone with its socket, and every byte counts. `None`
    /// where the name has more than 107 bytes.
    pub fn abstract_name(name: impl AsRef<[u8]>) -> Option<Self> {
        let name = name.as_ref();
        let mut bytes = [0; MOST_NAME];
        bytes.get_mut(1..1 + name.len())?.copy_from_slice(name);
        Some(Address::Unix(UnixName { bytes, len: name.len() as u8 + 1 }))
    }

    /// As it stands in sun_path: an abstract name begins with NUL, a path is without one. Empty, or too long: unnamed.
    pub fn from_sun_path(bytes: &[u8]) -> Self {
        if bytes.is_empty() || bytes.len() > MOST_NAME {
            Address::Unnamed
        } else {
            Address::Unix(UnixName::new(bytes))
        }
    }

    /// The IP address and port, where it has one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Address::Inet(address) => Some(*address),
            _ => None,
        }
    }

    /// Whether it says nothing.
    pub fn is_unnamed(&self) -> bool {
        *self == Address::Unnamed
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unnamed => f.write_str("(unnamed)"),
            Address::Inet(address) => address.fmt(f),
            Address::Unix(name) => name.fmt(f),
        }
    }
}

/// The name of a Unix socket: a path, or, in the abstract namespace, any bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UnixName {
    /// What is behind `len` is zero.
    bytes: [u8; MOST_NAME],
    len: u8,
}

impl UnixName {
    fn new(from: &[u8]) -> Self {
        let mut bytes = [0; MOST_NAME];
        bytes[..from.len()].copy_from_slice(from);
        UnixName { bytes, len: from.len() as u8 }
    }
    /// The path, without a NUL at its end; `None` where it is abstract.
    pub fn as_path(&self) -> Option<&[u8]> {
        Some(self.sun_path()).filter(|bytes| bytes[0] != 0)
    }
    /// The abstract name, without the NUL at its beginning; `None` where it is a path.
    pub fn as_abstract(&self) -> Option<&[u8]> {
        self.sun_path().strip_prefix(&[0])
    }
    /// As it stands in sun_path.
    pub fn sun_path(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// As ss(8) prints it: an abstract name begins with `@`.
impl fmt::Display for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_abstract() {
            Some(name) => write!(f, "@{}", name.escape_ascii()),
            None => self.sun_path().escape_ascii().fmt(f),
        }
    }
}

impl fmt::Debug for UnixName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An address of this machine, which a datagram was sent to or is to be sent from (ip(7), IP_PKTINFO).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Local {
    /// The address.
    pub ip: IpAddr,
    /// The number of the interface; 0, to send: as the routing table says.
    pub interface: u32,
}
