//! Version 2: binary (section 2.2).
//!
//! ```text
//! 0            12                 13                   14      16         16 + addresses
//! | signature  | version, command | family, transport  | length | addresses | TLVs ... |
//! ```

use super::{Header, Parsed, Peer, ProxyError, Tlvs, Transport, UnixAddress, Version, of_one_family, tlv};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that can be written: its length has 16 bits.
pub const MAX_BYTES: usize = FIXED_BYTES + u16::MAX as usize;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
// The upper half of the 14th byte ...
const UNSPEC: u8 = 0;
const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;
// ... and the lower.
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

const UNIX_BYTES: usize = 108;

pub(super) fn parse(input: &[u8], max_bytes: usize) -> Result<Parsed, ProxyError> {
    let known = input.len().min(SIGNATURE.len());
    if input[..known] != SIGNATURE[..known] {
        return Err(ProxyError::NoHeader);
    }
    let Some((fixed, rest)) = input.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Parsed::Partial { at_least: FIXED_BYTES });
    };
    let (version, command, family) = (fixed[12] >> 4, fixed[12] & 15, fixed[13]);
    if version != VERSION {
        return Err(ProxyError::Version(version));
    }
    if command > PROXY {
        return Err(ProxyError::Command(command));
    }
    let addresses = address_bytes(family).filter(|_| command == PROXY);
    if addresses.is_none() && command == PROXY {
        return Err(ProxyError::Family(family));
    }
    let len = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let bytes = FIXED_BYTES + len;
    if bytes > max_bytes {
        return Err(ProxyError::TooLong { most: max_bytes });
    }
    // LOCAL and UNSPEC: whatever they hold is to be skipped.
    let addresses = addresses.unwrap_or(0);
    if len < addresses {
        return Err(ProxyError::Length);
    }
    let Some(body) = rest.get(..len) else { return Ok(Parsed::Partial { at_least: bytes }) };
    let header = |peer, tlvs| Parsed::Complete(Header { version: Version::V2, peer, tlvs }, bytes);
    if command == LOCAL {
        return Ok(header(Peer::Local, Tlvs::new()));
    }
    if family >> 4 == UNSPEC {
        return Ok(header(Peer::Unknown, Tlvs::new()));
    }
    let (addresses, extra) = body.split_at(addresses);
    let tlvs = Tlvs::parse(extra)?;
    tlv::check(&input[..bytes], bytes - extra.len())?;
    let peer = peer(family, addresses).ok_or(ProxyError::Length)?;
    Ok(header(peer, tlvs))
}

/// How many bytes the two addresses of a family take; `None` where there is no such family.
fn address_bytes(family: u8) -> Option<usize> {
    match (family >> 4, family & 15) {
        (UNSPEC, 0) => Some(0),
        (INET, STREAM | DATAGRAM) => Some(2 * 4 + 2 * 2),
        (INET6, STREAM | DATAGRAM) => Some(2 * 16 + 2 * 2),
        (UNIX, STREAM | DATAGRAM) => Some(2 * UNIX_BYTES),
        _ => None,
    }
}

/// `addresses` are as long as [`address_bytes`] says.
fn peer(family: u8, addresses: &[u8]) -> Option<Peer> {
    let transport = if family & 15 == STREAM { Transport::Stream } else { Transport::Datagram };
    let inet = |from: &[u8], ports: &[u8; 4], ip: fn(&[u8]) -> Option<core::net::IpAddr>| {
        let (source, destination) = from.split_at(from.len() / 2);
        let [a, b, c, d] = *ports;
        Some(Peer::Inet {
            transport,
            source: SocketAddr::new(ip(source)?, u16::from_be_bytes([a, b])),
            destination: SocketAddr::new(ip(destination)?, u16::from_be_bytes([c, d])),
        })
    };
    let (ips, ports) = addresses.split_last_chunk::<4>()?;
    match family >> 4 {
        INET => inet(ips, ports, |bytes| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into())),
        INET6 => inet(ips, ports, |bytes| Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())),
        _ => {
            let (source, destination) = addresses.split_at(UNIX_BYTES);
            let name =
                |bytes: &[u8]| Some(UnixAddress::from(Box::new(<[u8; UNIX_BYTES]>::try_from(bytes).ok()?)));
            Some(Peer::Unix { transport, source: name(source)?, destination: name(destination)? })
        }
    }
}

pub(super) fn encode(header: &Header, out: &mut Vec<u8>) -> Result<(), ProxyError> {
    let start = out.len();
    let (command, family) = match &header.peer {
        Peer::Local => (LOCAL, UNSPEC << 4),
        Peer::Unknown => (PROXY, UNSPEC << 4),
        Peer::Inet { transport, source, destination } => {
            let (source, _) = of_one_family(*source, *destination);
            (PROXY, if source.is_ipv4() { INET } else { INET6 } << 4 | number(*transport))
        }
        Peer::Unix { transport, .. } => (PROXY, UNIX << 4 | number(*transport)),
    };
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[VERSION << 4 | command, family, 0, 0]);
    match &header.peer {
        Peer::Local | Peer::Unknown => {}
        Peer::Inet { source, destination, .. } => {
            let (source, destination) = of_one_family(*source, *destination);
            for address in [source, destination] {
                match address {
                    SocketAddr::V4(v4) => out.extend_from_slice(&v4.ip().octets()),
                    SocketAddr::V6(v6) => out.extend_from_slice(&v6.ip().octets()),
                }
            }
            for address in [source, destination] {
                out.extend_from_slice(&address.port().to_be_bytes());
            }
        }
        Peer::Unix { source, destination, .. } => {
            out.extend_from_slice(&source[..]);
            out.extend_from_slice(&destination[..]);
        }
    }
    let tlvs_at = out.len() - start;
    if !matches!(header.peer, Peer::Local | Peer::Unknown) {
        out.extend_from_slice(header.tlvs.bytes());
    }
    let Ok(len) = u16::try_from(out.len() - start - FIXED_BYTES) else {
        out.truncate(start);
        return Err(ProxyError::TooLong { most: MAX_BYTES });
    };
    out[start + 14..start + FIXED_BYTES].copy_from_slice(&len.to_be_bytes());
    tlv::fill_in(&mut out[start..], tlvs_at);
    Ok(())
}

fn number(transport: Transport) -> u8 {
    match transport {
        Transport::Stream => STREAM,
        Transport::Datagram => DATAGRAM,
    }
}
