//! The side that has a certificate and is connected to.

use super::pem::{Identity, Roots, provider};
use super::session::Tls;
use super::settings::{Settings, common_settings};
use super::{ConfigError, Version};
use crate::stream::{Layered, Transport};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What all connections of a TLS server have in common. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Server {
    config: Arc<rustls::ServerConfig>,
    allow_truncation: bool,
}

impl Server {
    /// One certificate, TLS 1.2 and 1.3, no ALPN, no client certificates. See [`Identity::from_pem`].
    pub fn from_pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Server::builder(Identity::from_pem(certificates, key)?).build()
    }

    /// The same from files.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ConfigError> {
        Server::builder(Identity::from_files(certificates, key)?).build()
    }

    /// For more than that.
    pub fn builder(identity: Identity) -> ServerBuilder {
        ServerBuilder { identities: vec![identity], clients: Clients::Ignored, settings: Settings::new() }
    }

    /// TLS upon an accepted socket, for [`Context::stream`](crate::Context::stream): `Connected` is told when the handshake is
    /// over, and until then the write timeout counts, whatever the client sends.
    pub fn accept<S: Transport>(&self, socket: S) -> Result<Layered<S, Tls>, ConfigError> {
        Ok(Layered::new(socket, self.session()?))
    }

    /// The session of one connection, a layer.
    pub fn session(&self) -> Result<Tls, ConfigError> {
        let connection = rustls::server::UnbufferedServerConnection::new(Arc::clone(&self.config))
            .map_err(|error| ConfigError::new(format!("no TLS session can be made: {error}")))?;
        Ok(Tls::server(connection, self.allow_truncation))
    }
}

/// Which certificates clients must show.
#[derive(Clone, Debug)]
enum Clients {
    Ignored,
    Asked(Roots),
    Required(Roots),
}

/// How a [`Server`] is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct ServerBuilder {
    identities: Vec<Identity>,
    clients: Clients,
    settings: Settings,
}

impl ServerBuilder {
    /// One more certificate, for clients that ask (by SNI) for one of the names in it, `*.` included. Who asks for no
    /// name, or one that none is for, gets the first.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identities.push(identity);
        self
    }
    /// The application protocols it speaks, the preferred one first: `["h2", "http/1.1"]`. A client that offers some,
    /// but none of these, is refused (RFC 7301); one that offers none is not.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.settings.set_alpn(protocols);
        self
    }
    /// Asks clients for a certificate of these authorities; one without is served all the same.
    pub fn ask_for_client_certificate(mut self, roots: Roots) -> Self {
        self.clients = Clients::Asked(roots);
        self
    }
    /// Only clients with a certificate of these authorities are served.
    pub fn require_client_certificate(mut self, roots: Roots) -> Self {
        self.clients = Clients::Required(roots);
        self
    }
    common_settings!();

    /// Checks it all.
    pub fn build(self) -> Result<Server, ConfigError> {
        let provider = provider();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = self.settings.begin(builder)?;
        let builder = match &self.clients {
            Clients::Ignored => builder.with_no_client_auth(),
            Clients::Asked(roots) | Clients::Required(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider);
                let optional = matches!(self.clients, Clients::Asked(_));
                let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
                let verifier = verifier.build().map_err(|error| {
                    ConfigError::new(format!("clients cannot be verified with these roots: {error}"))
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(&self.identities)));
        config.alpn_protocols = self.settings.alpn;
        if self.settings.resumption {
            // Tickets, sealed with a key that is changed every few hours: no memory for each client here.
            config.ticketer = rustls::crypto::ring::Ticketer::new()
                .map_err(|error| ConfigError::new(format!("no key for session tickets: {error}")))?;
            config.session_storage = ServerSessionMemoryCache::new(1024);
        } else {
            config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        if self.settings.key_log {
            config.key_log = Arc::new(rustls::KeyLogFile::new());
        }
        Ok(Server { config: Arc::new(config), allow_truncation: self.settings.allow_truncation })
    }
}

/// Chooses the certificate by the name that is asked for.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    names: HashMap<String, Arc<CertifiedKey>>,
}

impl ByName {
    fn new(identities: &[Identity]) -> Self {
        let mut names = HashMap::new();
        for identity in identities {
            for name in identity.names() {
                names.entry(name).or_insert_with(|| Arc::clone(&identity.0));
            }
        }
        ByName { first: Arc::clone(&identities[0].0), names }
    }

    /// A wildcard stands for exactly one label, the leftmost (RFC 6125, section 6.4.3).
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let wild = || name.split_once('.').and_then(|(_, parent)| self.names.get(&format!("*.{parent}")));
        self.names.get(&name).or_else(wild).unwrap_or(&self.first)
    }
}

thread_local! {
    static ASKED_FOR: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// The name that the client whose bytes were just processed asks for. The unbuffered connection does not tell it; its
/// resolver was told, on this thread and inside that call.
pub(super) fn take_asked_for() -> Option<Box<str>> {
    ASKED_FOR.take()
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked_for = hello.server_name();
        ASKED_FOR.set(asked_for.map(Box::from));
        Some(Arc::clone(asked_for.map_or(&self.first, |name| self.find(name))))
    }
}
