//! An authority of the tests' own, and what it issues.

use duolu::tls::{Client, Identity, Roots, Server};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use std::sync::OnceLock;

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Issued {
    pub fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key).expect("a certificate and its key")
    }
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a root").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    pub fn roots(&self) -> Roots {
        Roots::from_pem(&self.pem).expect("a root")
    }

    /// For these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    pub fn expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    pub fn to_come(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2600, 1, 1);
            params.not_after = date_time_ymd(2601, 1, 1);
        })
    }

    pub fn for_clients(&self) -> Issued {
        self.issue_with(&["client.test"], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// One for all tests.
pub fn authority() -> &'static Authority {
    static ONE: OnceLock<Authority> = OnceLock::new();
    ONE.get_or_init(|| Authority::new("duolu's tests"))
}

/// A certificate for server.test and the loopback addresses.
pub fn issued() -> &'static Issued {
    static ONE: OnceLock<Issued> = OnceLock::new();
    ONE.get_or_init(|| authority().issue(&["server.test", "localhost", "127.0.0.1", "::1"]))
}

pub fn server() -> Server {
    Server::builder(issued().identity()).build().expect("a server")
}

pub fn client() -> Client {
    Client::builder(authority().roots()).build().expect("a client")
}
