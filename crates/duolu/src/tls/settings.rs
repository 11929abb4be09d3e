//! What can be said of either side.

use super::{ConfigError, Version};

/// The settings that a server and a client have in common.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) alpn: Vec<Vec<u8>>,
    versions: Vec<Version>,
    pub(super) resumption: bool,
    pub(super) key_log: bool,
    pub(super) allow_truncation: bool,
}

impl Settings {
    pub(super) fn new() -> Self {
        Settings {
            alpn: Vec::new(),
            versions: Version::ALL.to_vec(),
            resumption: true,
            key_log: false,
            allow_truncation: false,
        }
    }

    pub(super) fn set_alpn<P: AsRef<[u8]>>(&mut self, protocols: impl IntoIterator<Item = P>) {
        self.alpn = protocols.into_iter().map(|protocol| protocol.as_ref().to_vec()).collect();
    }

    pub(super) fn set_versions(&mut self, versions: &[Version]) {
        self.versions = versions.to_vec();
    }

    /// Checks them, and begins a configuration with these versions.
    pub(super) fn begin<S: rustls::ConfigSide>(
        &self,
        builder: rustls::ConfigBuilder<S, rustls::WantsVersions>,
    ) -> Result<rustls::ConfigBuilder<S, rustls::WantsVerifier>, ConfigError> {
        super::check_alpn(&self.alpn)?;
        builder
            .with_protocol_versions(&Version::of(&self.versions)?)
            .map_err(|error| ConfigError::new(format!("these TLS versions cannot be had: {error}")))
    }
}

/// The methods of a builder that has `settings`, said once for both.
macro_rules! common_settings {
    () => {
        /// Only these versions. TLS 1.0 and 1.1 are gone for good (RFC 8996).
        pub fn versions(mut self, versions: &[Version]) -> Self {
            self.settings.set_versions(versions);
            self
        }
        /// Every connection makes a whole handshake. Otherwise clients that come back save a round trip and the signature.
        pub fn without_resumption(mut self) -> Self {
            self.settings.resumption = false;
            self
        }
        /// A connection that ends without TLS's own end (close_notify) is told as `Eof` instead of an error. Whoever sits on
        /// the line can then cut a message short unseen: only for protocols that know themselves where a message ends.
        pub fn allow_truncation(mut self) -> Self {
            self.settings.allow_truncation = true;
            self
        }
        /// Appends every connection's secrets to the file that SSLKEYLOGFILE names, so that Wireshark can read them, and so
        /// can whoever gets hold of it: for debugging only.
        pub fn dangerous_log_keys(mut self) -> Self {
            self.settings.key_log = true;
            self
        }
    };
}

pub(super) use common_settings;
