//! The PROXY protocol, versions 1 and 2: what a proxy says of the connection that it stands for, ahead of its first byte.
//! Source: HAProxy's `doc/proxy-protocol.txt` (2020/03/05); the sections named here are of it.
//!
//! ```text
//! bytes so far -> parse() -> Partial: read on and ask again with all of them
//!                         -> Complete(header, bytes): what follows `bytes` is the connection's own
//!                         -> an error: the peer breaks the protocol, close (section 2: never guess)
//! ```
//! A header that is not complete costs no more than a look at its fixed part, however often it is asked for.

mod tlv;
mod v1;
mod v2;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub use tlv::{Tlvs, kind};
pub use v1::MAX_BYTES as MAX_V1_BYTES;
pub use v2::MAX_BYTES as MAX_V2_BYTES;

/// What a header may take unless there is a reason to expect more: a client's certificate in a TLV is the longest that
/// is usual, 4 KiB or so.
pub const USUAL_MAX_BYTES: usize = 16 * 1024;

/// Which of the two it is: a line of text, or binary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`
    V1,
    /// Binary, with TLVs.
    V2,
}

/// How the bytes of the connection that is stood for travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP, or a Unix stream socket.
    Stream,
    /// UDP, or a Unix datagram socket.
    Datagram,
}

/// A Unix socket's address as the kernel has it: a path that ends at the first zero, or an abstract name behind one.
pub type UnixAddress = Box<[u8; 108]>;

/// For whom a connection is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// For the proxy itself, such as a health check (version 2 only): the connection's own addresses are the true ones.
    Local,
    /// The proxy cannot say: the connection's own addresses are all there is.
    Unknown,
    /// Over IP. Both are of one family; flow and scope are 0.
    Inet {
        /// How.
        transport: Transport,
        /// Who has connected to the proxy.
        source: SocketAddr,
        /// To which address.
        destination: SocketAddr,
    },
    /// Over a Unix socket (version 2 only).
    Unix {
        /// How.
        transport: Transport,
        /// Who has connected to the proxy.
        source: UnixAddress,
        /// To which address.
        destination: UnixAddress,
    },
}

/// A whole header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// As it was written, or is to be.
    pub version: Version,
    /// For whom.
    pub peer: Peer,
    /// What else a version 2 header says; empty where it names no addresses.
    pub tlvs: Tlvs,
}

/// What came of a look at the bytes so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Parsed {
    /// The beginning of a header: with fewer than that many bytes it cannot be complete.
    Partial {
        /// In all, those there are included.
        at_least: usize,
    },
    /// A header, and how many bytes it took.
    Complete(Header, usize),
}

/// Why bytes are no header, or a header cannot be written. The fault is the peer's, except of `TooLong`: it may be that
/// more should be allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyError {
    /// The first bytes are of neither version.
    NoHeader,
    /// A version 1 line that is not as section 2.1 has it; what is wrong with it.
    Line(&'static str),
    /// Version 2, but another than 2 in the upper half of its 13th byte.
    Version(u8),
    /// Neither LOCAL nor PROXY.
    Command(u8),
    /// An address family or a transport that does not exist.
    Family(u8),
    /// Its addresses, or a TLV, go beyond its end.
    Length,
    /// Its CRC32C is not that of its bytes.
    Checksum,
    /// It takes more bytes than that.
    TooLong {
        /// What is allowed.
        most: usize,
    },
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::NoHeader => f.write_str("the first bytes are no PROXY protocol header"),
            ProxyError::Line(what) => write!(f, "a PROXY line with {what}"),
            ProxyError::Version(version) => {
                write!(f, "a PROXY header of version {version}, not 1 or 2")
            }
            ProxyError::Command(command) => write!(f, "a PROXY header with the unknown command {command}"),
            ProxyError::Family(family) => write!(f, "a PROXY header with the unknown family {family:#04x}"),
            ProxyError::Length => f.write_str("a PROXY header that is shorter than what is in it"),
            ProxyError::Checksum => f.write_str("a PROXY header whose CRC32C does not match"),
            ProxyError::TooLong { most } => write!(f, "a PROXY header of more than {most} bytes"),
        }
    }
}

impl core::error::Error for ProxyError {}

/// Looks at everything that a connection has sent so far. `max_bytes` is what a header may take:
/// [`USUAL_MAX_BYTES`], or up to [`MAX_V2_BYTES`].
///
/// # Errors
/// As soon as no further byte can make it right.
pub fn parse(input: &[u8], max_bytes: usize) -> Result<Parsed, ProxyError> {
    match input.first() {
        None => Ok(Parsed::Partial { at_least: 1 }),
        Some(b'P') => v1::parse(input, max_bytes),
        Some(_) => v2::parse(input, max_bytes),
    }
}

impl Header {
    /// One for a TCP connection.
    pub fn tcp(version: Version, source: SocketAddr, destination: SocketAddr) -> Self {
        let peer = Peer::Inet { transport: Transport::Stream, source, destination };
        Header { version, peer, tlvs: Tlvs::new() }
    }

    /// Appends it to `out`.
    ///
    /// Version 1 knows TCP and nothing else, so anything else is UNKNOWN there. Where the families of the addresses
    /// differ, the IPv4 one is written as IPv6 (`::ffff:192.0.2.1`). A [`kind::CRC32C`] among the TLVs is worked out here.
    ///
    /// # Errors
    /// `TooLong` where the TLVs do not fit; `out` is as it was.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ProxyError> {
        match self.version {
            Version::V1 => {
                v1::encode(&self.peer, out);
                Ok(())
            }
            Version::V2 => v2::encode(self, out),
        }
    }
}

/// Both of one family, without flow and scope, which no header has.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => plain(address),
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (plain(source), plain(destination))
    } else {
        (mapped(source), mapped(destination))
    }
}

#[cfg(test)]
mod tests;
