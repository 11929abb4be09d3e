//! Addresses in JSON.

use serde::{Serialize, Serializer};
use std::net::SocketAddr;

/// An address: the formatting of std takes a tenth of the time for 10,000 sockets.
pub struct Address(pub SocketAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SocketAddr::V4(address) = self.0 else { return self.0.serialize(serializer) };
        let mut text = ArrayText::default();
        for (at, octet) in address.ip().octets().into_iter().enumerate() {
            if at > 0 {
                text.push(b'.');
            }
            text.number(octet.into());
        }
        text.push(b':');
        text.number(address.port());
        serializer.serialize_str(text.as_str())
    }
}

/// Text of at most 21 characters, as long as `255.255.255.255:65535`.
#[derive(Default)]
struct ArrayText {
    bytes: [u8; 21],
    len: usize,
}

impl ArrayText {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn number(&mut self, number: u16) {
        let digits = [10_000, 1_000, 100, 10, 1].map(|power| (number / power % 10) as u8);
        let first = digits.iter().position(|digit| *digit != 0).unwrap_or(digits.len() - 1);
        digits[first..].iter().for_each(|digit| self.push(b'0' + digit));
    }

    fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// The other end's address; a listener has none.
pub enum Remote {
    /// A connection's.
    Of(Address),
    /// Of a listener, as ss(8) writes it.
    Any {
        /// Of AF_INET6.
        is_v6: bool,
    },
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Remote::Of(address) => address.serialize(serializer),
            Remote::Any { is_v6: true } => serializer.serialize_str("[::]:*"),
            Remote::Any { is_v6: false } => serializer.serialize_str("0.0.0.0:*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_std_writes_them() {
        for text in [
            "0.0.0.0:0",
            "127.0.0.1:8080",
            "255.255.255.255:65535",
            "10.20.100.9:10",
            "[::1]:443",
            "[fe80::1%3]:1",
        ] {
            let address: SocketAddr = text.parse().expect(text);
            assert_eq!(serde_json::to_string(&Address(address)).expect("text"), format!("\"{address}\""));
        }
    }
}
