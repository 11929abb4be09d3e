//! A TCP segment as it was seen on the network, taken apart.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// A TCP segment over IPv4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// The number of its first byte.
    pub seq: u32,
    /// Bytes of data.
    pub len: u32,
    /// Synchronise: the first of a connection.
    pub syn: bool,
    /// Its sender has nothing more to send.
    pub fin: bool,
    /// There is no such connection (any more).
    pub rst: bool,
    /// It acknowledges.
    pub ack: bool,
    /// The number that it acknowledges up to.
    pub acked: u32,
    /// The window as the header has it, before scaling.
    pub window: u16,
    /// The option MSS, in a SYN.
    pub mss: Option<u16>,
    /// The option window scale, in a SYN.
    pub scale: Option<u8>,
    /// Bytes of TCP options.
    pub options: usize,
}

impl Segment {
    /// From an IP header on; `None` for anything that is not the beginning of a TCP segment over IPv4.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 15) * 4;
        if first >> 4 != 4 || header < 20 || *packet.get(9)? != 6 {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
        let tcp = packet.get(header..)?;
        let word16 = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
        let word32 = |at: usize| Some(u32::from(word16(at)?) << 16 | u32::from(word16(at + 2)?));
        let ip = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
        let offset = usize::from(*tcp.get(12)? >> 4) * 4;
        let flags = *tcp.get(13)?;
        let options = tcp.get(20..offset)?;
        Some(Segment {
            from: SocketAddrV4::new(ip(12)?, word16(0)?).into(),
            to: SocketAddrV4::new(ip(16)?, word16(2)?).into(),
            seq: word32(4)?,
            len: total.checked_sub(header + offset)? as u32,
            syn: flags & 2 != 0,
            fin: flags & 1 != 0,
            rst: flags & 4 != 0,
            ack: flags & 16 != 0,
            acked: word32(8)?,
            window: word16(14)?,
            mss: option(options, 2).and_then(|value| Some(u16::from_be_bytes(value.try_into().ok()?))),
            scale: option(options, 3).and_then(|value| value.first().copied()),
            options: options.len(),
        })
    }

    /// How many numbers it takes: its bytes, SYN and FIN (RFC 9293, 3.4).
    pub fn span(&self) -> u32 {
        self.len + u32::from(self.syn) + u32::from(self.fin)
    }
}

/// The value of an option (RFC 9293, 3.1).
fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    loop {
        match *options.first()? {
            0 => return None,
            1 => options = &options[1..],
            kind => {
                let length = usize::from(*options.get(1)?);
                let value = options.get(2..length)?;
                if kind == wanted {
                    return Some(value);
                }
                options = &options[length..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN from 10.0.0.1:40000 to 10.0.0.2:80 with MSS 1460, a NOP and window scale 7.
    fn syn() -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 48, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 9, 0, 0, 0, 0, 0x70, 2, 0xfa, 0xf0, 0, 0, 0, 0]);
        packet.extend([2, 4, 0x05, 0xb4, 1, 3, 3, 7]);
        packet
    }

    #[test]
    fn a_syn_is_taken_apart() {
        let segment = Segment::parse(&syn()).unwrap();
        assert_eq!((segment.mss, segment.scale, segment.options), (Some(1460), Some(7), 8));
        assert_eq!((segment.seq, segment.len, segment.span(), segment.window), (9, 0, 1, 64240));
        assert!(segment.syn && !segment.ack && !segment.fin && !segment.rst);
        assert_eq!(segment.from, "10.0.0.1:40000".parse().unwrap());
        assert_eq!(segment.to, "10.0.0.2:80".parse().unwrap());
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        let whole = syn();
        for cut in 0..whole.len() {
            assert_eq!(Segment::parse(&whole[..cut]), None, "{cut}");
        }
        let mut udp = whole.clone();
        udp[9] = 17;
        assert_eq!(Segment::parse(&udp), None);
        let mut endless = whole;
        endless[43] = 0; // an option of length 0... of the scale's place
        endless[41] = 0;
        assert!(Segment::parse(&endless).is_none_or(|segment| segment.mss.is_none()));
    }
}
