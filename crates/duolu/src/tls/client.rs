//! The side that connects and verifies.

use super::pem::{Identity, Roots, provider};
use super::session::Tls;
use super::settings::{Settings, common_settings};
use super::{ConfigError, Version};
use crate::stream::{Layered, Transport};
use rustls::DigitallySignedStruct;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// What all connections of a TLS client have in common: keep it, for resumption needs what earlier ones left. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<rustls::ClientConfig>,
    allow_truncation: bool,
}

impl Client {
    /// Believes the authorities that this machine trusts; TLS 1.2 and 1.3, no ALPN. See [`Roots::system`].
    pub fn new() -> Result<Self, ConfigError> {
        Client::builder(Roots::system()?).build()
    }

    /// Believes these, and no others; for more than that, too.
    pub fn builder(roots: Roots) -> ClientBuilder {
        ClientBuilder { roots, identity: None, settings: Settings::new(), verify: true }
    }

    /// TLS upon a connected socket, for [`Context::stream`](crate::Context::stream); see [`Client::session`] for the name, and
    /// [`Context::connect_through`](crate::Context::connect_through) for sockets that are yet to be connected.
    pub fn connect<S: Transport>(&self, socket: S, server: &str) -> Result<Layered<S, Tls>, ConfigError> {
        Ok(Layered::new(socket, self.session(server)?))
    }

    /// The session of one connection, a layer. `server` is the host name or IP address that was asked
    /// for, before it was looked up: the certificate must be for it, and a name is sent along (SNI).
    pub fn session(&self, server: &str) -> Result<Tls, ConfigError> {
        self.session_offering(server, self.config.alpn_protocols.clone())
    }

    /// The same, with other application protocols to offer than the client's own.
    pub fn session_offering(&self, server: &str, protocols: Vec<Vec<u8>>) -> Result<Tls, ConfigError> {
        super::check_alpn(&protocols)?;
        let name = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            ConfigError::new(format!(
                "{server:?} is neither a host name nor an IP address: give what the certificate must be for, without scheme and port"
            ))
        })?;
        let connection = UnbufferedClientConnection::new_with_alpn(Arc::clone(&self.config), name, protocols)
            .map_err(|error| {
                ConfigError::new(format!("no TLS session with {server} can be made: {error}"))
            })?;
        Ok(Tls::client(connection, server, self.allow_truncation))
    }
}

/// How a [`Client`] is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientBuilder {
    roots: Roots,
    identity: Option<Identity>,
    settings: Settings,
    verify: bool,
}

impl ClientBuilder {
    /// The application protocols it would speak, the preferred one first; what the server chose is in
    /// [`super::Info::alpn`].
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.settings.set_alpn(protocols);
        self
    }
    /// The certificate to show to servers that ask for one.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }
    common_settings!();
    /// **Turns verification off**: any certificate of anybody is taken for the server's, so that whoever sits on the line
    /// can read and change everything. For tests and for looking at broken servers; to talk to a server with a certificate
    /// of its own making, give that as its root instead.
    pub fn dangerous_accept_any_certificate(mut self) -> Self {
        self.verify = false;
        self
    }

    /// Checks it all.
    pub fn build(self) -> Result<Client, ConfigError> {
        let provider = provider();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = self.settings.begin(builder)?;
        let builder = if self.verify {
            builder.with_root_certificates(Arc::clone(&self.roots.0))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        };
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.0)))
            }
        };
        config.alpn_protocols = self.settings.alpn;
        if !self.settings.resumption {
            config.resumption = Resumption::disabled();
        }
        if self.settings.key_log {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(Client { config: Arc::new(config), allow_truncation: self.settings.allow_truncation })
    }
}

/// See [`ClientBuilder::dangerous_accept_any_certificate`]. The handshake's signature is still verified: whoever answers has
/// the key of the certificate it shows.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
