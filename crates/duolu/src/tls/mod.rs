//! TLS 1.2 and 1.3 for streams, by rustls with ring (cargo feature `tls`).
//!
//! A [`Server`] or a [`Client`] is made once and checked then; each connection gets a session of it, a layer between the
//! stream's bytes and the wire's. The certificate of a server is always verified, unless
//! [`ClientBuilder::dangerous_accept_any_certificate`] was called. There is no renegotiation, no compression and no early
//! data.
//!
//! Reading order: this file is what both sides have in common; [`server`](Server) and [`client`](Client) how they are made,
//! `settings` what both can be told, `pem` what of, `session` how bytes pass, `explain` what is said when they do not.

mod client;
mod explain;
mod pem;
mod server;
mod session;
mod settings;

use crate::stream::Stream;
use std::fmt;

pub use client::{Client, ClientBuilder};
pub use pem::{Identity, Roots};
pub use server::{Server, ServerBuilder};
pub use session::Tls;

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// Both that are still safe.
    pub const ALL: [Version; 2] = [Version::Tls12, Version::Tls13];

    fn of(versions: &[Version]) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, ConfigError> {
        if versions.is_empty() {
            return Err(ConfigError::new("no TLS version is allowed: give at least one"));
        }
        let known = |version: &Version| match version {
            Version::Tls12 => &rustls::version::TLS12,
            Version::Tls13 => &rustls::version::TLS13,
        };
        Ok(versions.iter().map(known).collect())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "TLS 1.2",
            Version::Tls13 => "TLS 1.3",
        })
    }
}

/// What was agreed upon with the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The version.
    pub version: Version,
    /// The cipher suite by its IANA name: `TLS13_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
    /// The application protocol, if both speak one.
    pub alpn: Option<Vec<u8>>,
    /// Whom the client asked for: at the server the name it sent (SNI), if it sent one; at the client what it was given.
    pub server_name: Option<String>,
    /// The peer's certificates in DER, its own first; empty where it showed none.
    pub peer_certificates: Vec<Vec<u8>>,
    /// Whether an earlier session was taken up.
    pub resumed: bool,
}

impl Tls {
    /// What was agreed upon; `None` before the handshake is over.
    pub fn info(&self) -> Option<Info> {
        let common = self.common();
        if common.is_handshaking() {
            return None;
        }
        let certificates = common.peer_certificates().unwrap_or_default();
        Some(Info {
            version: match common.protocol_version()? {
                rustls::ProtocolVersion::TLSv1_2 => Version::Tls12,
                _ => Version::Tls13,
            },
            cipher_suite: format!("{:?}", common.negotiated_cipher_suite()?.suite()),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            server_name: self.name().map(str::to_owned),
            peer_certificates: certificates.iter().map(|der| der.to_vec()).collect(),
            resumed: common.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
        })
    }
}

impl Stream<'_> {
    /// What was agreed upon in TLS; `None` where there is none, or its handshake is not over.
    pub fn tls(&mut self) -> Option<Info> {
        self.layer::<Tls>()?.info()
    }
}

/// What is wrong with a configuration, whose fault it is, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(String);

impl ConfigError {
    fn new(text: impl Into<String>) -> Self {
        ConfigError(text.into())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for std::io::Error {
    fn from(error: ConfigError) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// Names of application protocols are 1 to 255 bytes long (RFC 7301, 3.1).
fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), ConfigError> {
    match protocols.iter().find(|protocol| protocol.is_empty() || protocol.len() > 255) {
        None => Ok(()),
        Some(protocol) => Err(ConfigError::new(format!(
            "an application protocol (ALPN) has a name of 1 to 255 bytes, not of {}",
            protocol.len()
        ))),
    }
}
