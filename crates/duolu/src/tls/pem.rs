//! Certificates and keys as files and text: where they go wrong, the error says which, how, and what to do.

use super::ConfigError;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A certificate with those between it and its root, and its key.
#[derive(Clone)]
pub struct Identity(pub(super) Arc<CertifiedKey>);

impl Identity {
    /// From PEM text: the certificate first, then the intermediate ones (a "full chain"); the key as PKCS#8, PKCS#1 or
    /// SEC1, not encrypted. Both may stand in the same text.
    pub fn from_pem(certificates: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Identity::new(certificates.as_ref(), key.as_ref(), "the certificate", "the key")
    }

    /// The same from files.
    pub fn from_files(certificates: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        Identity::new(
            &read("certificate", certificates)?,
            &read("key", key)?,
            &format!("the certificate file {}", certificates.display()),
            &format!("the key file {}", key.display()),
        )
    }

    fn new(
        certificates: &[u8],
        key: &[u8],
        certificates_are: &str,
        key_is: &str,
    ) -> Result<Self, ConfigError> {
        let chain = parse_certificates(certificates, certificates_are)?;
        let key = parse_key(key, key_is)?;
        let signing = any_supported_type(&key).map_err(|_| {
            ConfigError::new(format!("{key_is} is of a kind that is not supported: RSA from 2048 bits, ECDSA P-256 or P-384, Ed25519 are"))
        })?;
        let identity = CertifiedKey::new(chain, signing);
        match identity.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => {
                return Err(ConfigError::new(format!(
                    "{key_is} does not belong to the first certificate in {certificates_are}: give the key it was issued for, and \
                     put the server's own certificate before the intermediate ones"
                )));
            }
            Err(error) => {
                return Err(ConfigError::new(format!(
                    "{certificates_are} cannot be used: {}",
                    plain(&error)
                )));
            }
        }
        Ok(Identity(Arc::new(identity)))
    }

    /// The names it is for, as they stand in it: `*.example.org` among them.
    pub fn names(&self) -> Vec<String> {
        let first = self.0.cert.first().and_then(|der| webpki::EndEntityCert::try_from(der).ok());
        first
            .iter()
            .flat_map(|certificate| certificate.valid_dns_names())
            .map(str::to_ascii_lowercase)
            .collect()
    }
}

impl fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.names()).finish()
    }
}

/// The authorities whose certificates are believed.
#[derive(Clone, Debug)]
pub struct Roots(pub(super) Arc<RootCertStore>);

impl Roots {
    /// Those that this machine trusts (Debian's package ca-certificates; the variables SSL_CERT_FILE and SSL_CERT_DIR name
    /// others). Reads and parses some hundred of them: once for a program, not for each connection.
    pub fn system() -> Result<Self, ConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        // Some that are too old for today's rules lie in every store.
        let (added, refused) = store.add_parsable_certificates(found.certs);
        log::debug!("{added} of the system's root certificates, {refused} cannot be used");
        if added > 0 {
            return Ok(Roots(Arc::new(store)));
        }
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        Err(ConfigError::new(format!(
            "this machine has no root certificates to verify servers with{why}: install the package ca-certificates, or give roots \
             of your own"
        )))
    }

    /// From PEM text: these and no others.
    pub fn from_pem(certificates: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Roots::new(certificates.as_ref(), "the root certificates")
    }

    /// From a file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Roots::new(&read("root certificate", path)?, &format!("the root certificate file {}", path.display()))
    }

    fn new(text: &[u8], they_are: &str) -> Result<Self, ConfigError> {
        let mut store = RootCertStore::empty();
        for certificate in parse_certificates(text, they_are)? {
            store
                .add(certificate)
                .map_err(|error| ConfigError::new(format!("{they_are} cannot be used: {}", plain(&error))))?;
        }
        Ok(Roots(Arc::new(store)))
    }
}

/// Room enough for any chain; a file that is longer is something else (a device, a log).
const MOST_BYTES: u64 = 16 * 1024 * 1024;

fn read(what: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    let wrong =
        |why: String| ConfigError::new(format!("cannot read the {what} file {}: {why}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if about.is_dir() {
        return Err(wrong("it is a directory".into()));
    }
    if about.len() > MOST_BYTES {
        return Err(wrong("it is longer than 16 MiB: is it the right file?".into()));
    }
    std::fs::read(path).map_err(|error| wrong(error.to_string()))
}

fn parse_certificates(text: &[u8], they_are: &str) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let chain = chain.map_err(|error| broken(they_are, &error))?;
    if chain.is_empty() {
        let has =
            if holds_key(text) { "holds a key, but no certificate" } else { "holds no certificate in PEM" };
        return Err(ConfigError::new(format!(
            "{they_are} {has}: one begins with -----BEGIN CERTIFICATE-----"
        )));
    }
    Ok(chain)
}

fn parse_key(text: &[u8], it_is: &str) -> Result<PrivateKeyDer<'static>, ConfigError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if contains(text, b"ENCRYPTED PRIVATE KEY") => {
            Err(ConfigError::new(format!(
                "{it_is} is encrypted with a passphrase: decrypt it (openssl pkey -in KEY -out PLAIN) and guard it by its permissions"
            )))
        }
        Err(pem::Error::NoItemsFound) => {
            let has = if contains(text, b"BEGIN CERTIFICATE") {
                "holds a certificate, but no key: were the two files swapped?"
            } else {
                "holds no private key in PEM: one begins with -----BEGIN PRIVATE KEY-----"
            };
            Err(ConfigError::new(format!("{it_is} {has}")))
        }
        Err(error) => Err(broken(it_is, &error)),
    }
}

fn broken(it_is: &str, error: &pem::Error) -> ConfigError {
    let why = match error {
        pem::Error::MissingSectionEnd { .. } => "it ends in the middle of a section".to_owned(),
        pem::Error::Base64Decode(_) => "what stands between BEGIN and END is not base64".to_owned(),
        other => other.to_string(),
    };
    ConfigError::new(format!("{it_is} is damaged: {why}"))
}

fn holds_key(text: &[u8]) -> bool {
    contains(text, b"PRIVATE KEY-----")
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// What rustls says of a certificate, without its own names for it.
fn plain(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding) => {
            "it is no X.509 certificate (its DER cannot be read)".to_owned()
        }
        other => other.to_string(),
    }
}

/// Ring's, without asking which the process has installed: a library must not depend on who was first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
