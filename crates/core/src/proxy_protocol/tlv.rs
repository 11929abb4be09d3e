//! What a version 2 header says beside addresses: type, length and value, one after the other (section 2.2, PP2_TYPE_*).

use super::ProxyError;
use alloc::vec::Vec;

/// The types that the protocol names. 0xE0 to 0xEF are an application's own.
pub mod kind {
    /// The application's protocol, as ALPN has it: `h2`.
    pub const ALPN: u8 = 0x01;
    /// The host name that the client asked for, as SNI has it.
    pub const AUTHORITY: u8 = 0x02;
    /// A CRC32C of the whole header, with these four bytes as zeroes.
    pub const CRC32C: u8 = 0x03;
    /// Padding.
    pub const NOOP: u8 = 0x04;
    /// Up to 128 bytes that name the connection.
    pub const UNIQUE_ID: u8 = 0x05;
    /// That the client came by TLS, and how; it has TLVs of its own behind five bytes.
    pub const SSL: u8 = 0x20;
    /// The name of the network namespace.
    pub const NETNS: u8 = 0x30;
}

/// Type and length.
const HEAD_BYTES: usize = 3;
const CRC_BYTES: usize = 4;

/// The TLVs of a header, in their order. Unknown ones are kept as they are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tlvs(
    /// Whole TLVs, one after the other.
    Vec<u8>,
);

impl Tlvs {
    /// None.
    pub const fn new() -> Self {
        Tlvs(Vec::new())
    }

    /// Puts one more behind the others. For [`kind::CRC32C`] give four bytes, whatever they are: they are worked out when
    /// the header is written.
    ///
    /// # Errors
    /// `TooLong` where a header cannot hold it.
    pub fn push(&mut self, kind: u8, value: &[u8]) -> Result<(), ProxyError> {
        let len = u16::try_from(value.len()).ok();
        let fits = self.0.len() + HEAD_BYTES + value.len() <= usize::from(u16::MAX);
        let Some(len) = len.filter(|_| fits) else {
            return Err(ProxyError::TooLong { most: super::MAX_V2_BYTES });
        };
        self.0.push(kind);
        self.0.extend_from_slice(&len.to_be_bytes());
        self.0.extend_from_slice(value);
        Ok(())
    }

    /// Each with its type.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        walk(&self.0).map_while(|tlv| tlv.ok()).map(|tlv| (tlv.kind, &self.0[tlv.from..tlv.to]))
    }

    /// The first of a type.
    pub fn get(&self, kind: u8) -> Option<&[u8]> {
        self.iter().find(|tlv| tlv.0 == kind).map(|tlv| tlv.1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As they are written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ProxyError> {
        for tlv in walk(bytes) {
            let tlv = tlv?;
            if tlv.kind == kind::CRC32C && tlv.to - tlv.from != CRC_BYTES {
                return Err(ProxyError::Length);
            }
        }
        Ok(Tlvs(bytes.to_vec()))
    }
}

/// Where a value lies.
struct Place {
    kind: u8,
    from: usize,
    to: usize,
}

fn walk(bytes: &[u8]) -> impl Iterator<Item = Result<Place, ProxyError>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        let place = match rest {
            [kind, high, low, ..] => {
                let from = at + HEAD_BYTES;
                let to = from + usize::from(u16::from_be_bytes([*high, *low]));
                (to <= bytes.len()).then_some(Place { kind: *kind, from, to })
            }
            _ => None,
        };
        at = place.as_ref().map_or(bytes.len(), |place| place.to);
        Some(place.ok_or(ProxyError::Length))
    })
}

/// Where in a header the checksum lies, if it has one.
fn checksum_at(header: &[u8], tlvs_at: usize) -> Option<usize> {
    let found = walk(&header[tlvs_at..]).map_while(|tlv| tlv.ok());
    let place = { found }.find(|tlv| tlv.kind == kind::CRC32C && tlv.to - tlv.from == CRC_BYTES)?;
    Some(tlvs_at + place.from)
}

/// Whether the checksum of a whole header, if it has one, is right.
pub(super) fn check(header: &[u8], tlvs_at: usize) -> Result<(), ProxyError> {
    let Some(at) = checksum_at(header, tlvs_at) else { return Ok(()) };
    let right = checksum(header, at).to_be_bytes();
    if header[at..at + CRC_BYTES] == right { Ok(()) } else { Err(ProxyError::Checksum) }
}

/// Works the checksum of a whole header out, if it is to have one.
pub(super) fn fill_in(header: &mut [u8], tlvs_at: usize) {
    if let Some(at) = checksum_at(header, tlvs_at) {
        let right = checksum(header, at).to_be_bytes();
        header[at..at + CRC_BYTES].copy_from_slice(&right);
    }
}

fn checksum(header: &[u8], at: usize) -> u32 {
    let mut crc = Crc32c::new();
    crc.add(&header[..at]);
    crc.add(&[0; CRC_BYTES]);
    crc.add(&header[at + CRC_BYTES..]);
    crc.end()
}

/// CRC32C (RFC 3720, appendix B.4): Castagnoli's polynomial, the low bit first. Bit by bit, because a header is short
/// and comes once in a connection.
struct Crc32c(u32);

impl Crc32c {
    const POLYNOMIAL: u32 = 0x82f6_3b78;

    fn new() -> Self {
        Crc32c(!0)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            for _ in 0..8 {
                let low = self.0 & 1;
                self.0 = (self.0 >> 1) ^ (Self::POLYNOMIAL * low);
            }
        }
    }

    fn end(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        let of = |bytes: &[u8]| {
            let mut crc = Crc32c::new();
            crc.add(bytes);
            crc.end()
        };
        assert_eq!(of(b"123456789"), 0xe306_9283);
        assert_eq!(of(&[0; 32]), 0x8a91_36aa);
        assert_eq!(of(&[0xff; 32]), 0x62a8_ab43);
    }
}
