//! Version 1: one line of text (section 2.1).

use super::{Header, Parsed, Peer, ProxyError, Tlvs, Transport, Version, of_one_family};
use alloc::format;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line there can be, its end included: what a receiver must be ready for, and need not go beyond.
pub const MAX_BYTES: usize = 107;

const BEGINNING: &[u8] = b"PROXY ";

pub(super) fn parse(input: &[u8], max_bytes: usize) -> Result<Parsed, ProxyError> {
    let known = input.len().min(BEGINNING.len());
    if input[..known] != BEGINNING[..known] {
        return Err(ProxyError::NoHeader);
    }
    let most = max_bytes.min(MAX_BYTES);
    let window = &input[..input.len().min(most)];
    let partial = if window.len() < most {
        Ok(Parsed::Partial { at_least: window.len() + 1 })
    } else {
        Err(ProxyError::TooLong { most })
    };
    let Some(end) = window.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else { return partial };
    match (window[end], window.get(end + 1)) {
        (b'\r', None) => return partial,
        (b'\r', Some(b'\n')) => {}
        _ => return Err(ProxyError::Line("an end that is not CR LF")),
    }
    let peer = match core::str::from_utf8(&window[BEGINNING.len().min(end)..end]) {
        Ok(rest) => peer(rest)?,
        Err(_) => return Err(ProxyError::Line("bytes that are no text")),
    };
    let header = Header { version: Version::V1, peer, tlvs: Tlvs::new() };
    Ok(Parsed::Complete(header, end + 2))
}

/// What comes behind `PROXY `.
fn peer(rest: &str) -> Result<Peer, ProxyError> {
    let (family, addresses) = rest.split_once(' ').unwrap_or((rest, ""));
    let is_v4 = match family {
        "UNKNOWN" => return Ok(Peer::Unknown), // whatever follows is to be ignored
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(ProxyError::Line("another family than TCP4, TCP6 and UNKNOWN")),
    };
    let mut words = addresses.split(' ');
    let mut next = || words.next().ok_or(ProxyError::Line("too few fields"));
    let (source, destination) = (ip(next()?, is_v4)?, ip(next()?, is_v4)?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return Err(ProxyError::Line("too many fields"));
    }
    Ok(Peer::Inet {
        transport: Transport::Stream,
        source: SocketAddr::new(source, source_port),
        destination: SocketAddr::new(destination, destination_port),
    })
}

fn ip(word: &str, is_v4: bool) -> Result<IpAddr, ProxyError> {
    let address = if is_v4 {
        word.parse::<Ipv4Addr>().map(IpAddr::V4)
    } else {
        word.parse::<Ipv6Addr>().map(IpAddr::V6)
    };
    address.map_err(|_| ProxyError::Line("an address that is none of its family"))
}

/// A decimal number as it is written, and in no other way: no sign, no zero ahead.
fn port(word: &str) -> Result<u16, ProxyError> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    let number = if plain { word.parse().ok() } else { None };
    number.ok_or(ProxyError::Line("a port that is no number from 0 to 65535"))
}

pub(super) fn encode(peer: &Peer, out: &mut Vec<u8>) {
    match *peer {
        Peer::Inet { transport: Transport::Stream, source, destination } => {
            let (source, destination) = of_one_family(source, destination);
            let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (source.ip(), destination.ip());
            let line = format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port());
            out.extend_from_slice(line.as_bytes());
        }
        _ => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
    }
}
