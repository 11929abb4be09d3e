//! TLS at either side of a proxy: clients speak it to us (`--tls-cert`), or we speak it to upstreams (`--to-tls`).
//!
//! A PROXY header is not inside TLS but ahead of it, as HAProxy has it: so it is a layer of its own below ([`Preface`]).

use super::ProxyIn;
use crate::failure::Failure;
use duolu::buffer::{Buffer, Pool};
use duolu::proxy_protocol::{self, Header, Parsed, ProxyError, Tlvs, USUAL_MAX_BYTES, kind};
use duolu::stream::{Layer, LayerError, Layered};
use duolu::tls::{Client, ConfigError, Identity, Info, Roots, Server, Tls, Version};
use std::net::TcpStream;
use std::path::PathBuf;

#[derive(clap::Args, Default)]
#[group(skip)]
pub struct Args {
    /// Speak TLS with clients, with this certificate (PEM, intermediate ones behind it)
    #[arg(long, value_name = "FILE")]
    #[arg(
        long_help = "Speak TLS with clients, with this certificate (PEM, intermediate ones behind it). Several, each \
                       with its --tls-key, are chosen by the name that a client asks for (SNI); who asks for none \
                       or another gets the first"
    )]
    tls_cert: Vec<PathBuf>,
    /// The certificate's key (PEM, not encrypted); one for each --tls-cert
    #[arg(long, value_name = "FILE")]
    tls_key: Vec<PathBuf>,
    /// Application protocols to agree upon with clients, the preferred first: h2,http/1.1
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(
        long_help = "Application protocols (ALPN) to agree upon with clients, the preferred first: h2,http/1.1. With \
                       --to-tls what was agreed upon is offered to the upstream, with --proxy-out v2 it is told in \
                       the header"
    )]
    tls_alpn: Vec<String>,
    /// Speak TLS with upstreams; their certificate must be for this name
    #[arg(long, value_name = "NAME")]
    to_tls: Option<String>,
    /// Believe these authorities (PEM) for --to-tls [default: the system's]
    #[arg(long, value_name = "FILE")]
    to_ca: Option<PathBuf>,
}

impl Args {
    /// Its options, and whether each was given.
    pub fn given(&self) -> [(bool, &'static str); 5] {
        [
            (!self.tls_cert.is_empty(), "--tls-cert"),
            (!self.tls_key.is_empty(), "--tls-key"),
            (!self.tls_alpn.is_empty(), "--tls-alpn"),
            (self.to_tls.is_some(), "--to-tls"),
            (self.to_ca.is_some(), "--to-ca"),
        ]
    }

    /// What they mean.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
        if certificates != keys {
            return Err(Failure::usage(format!(
                "each --tls-cert needs its --tls-key, in the same order: there are {certificates} of the one and {keys} of \
                 the other"
            )));
        }
        if self.to_ca.is_some() && self.to_tls.is_none() {
            return Err(Failure::usage("--to-ca is for upstreams that speak TLS: give --to-tls NAME too"));
        }
        if !self.tls_alpn.is_empty() && certificates == 0 && self.to_tls.is_none() {
            return Err(Failure::usage(
                "--tls-alpn needs TLS: give --tls-cert and --tls-key, or --to-tls NAME",
            ));
        }
        Ok(Plan {
            clients: self.server().map_err(wrong)?,
            upstreams: self.client().map_err(wrong)?,
            alpn: self.tls_alpn.iter().map(|name| name.clone().into_bytes()).collect(),
        })
    }

    fn server(&self) -> Result<Option<Server>, ConfigError> {
        let mut builder = None;
        for (certificate, key) in self.tls_cert.iter().zip(&self.tls_key) {
            let identity = Identity::from_files(certificate, key)?;
            builder = Some(match builder {
                None => Server::builder(identity).alpn(&self.tls_alpn),
                Some(builder) => duolu::tls::ServerBuilder::identity(builder, identity),
            });
        }
        builder.map(duolu::tls::ServerBuilder::build).transpose()
    }

    fn client(&self) -> Result<Option<(Client, String)>, ConfigError> {
        let Some(name) = &self.to_tls else { return Ok(None) };
        let roots = self.to_ca.as_ref().map_or_else(Roots::system, Roots::from_file)?;
        let client = Client::builder(roots).alpn(&self.tls_alpn).build()?;
        client.session(name)?; // whether that is a name
        Ok(Some((client, name.clone())))
    }
}

fn wrong(error: ConfigError) -> Failure {
    Failure::usage(error.to_string())
}

/// A side's socket with TLS upon it.
pub type Secured = Layered<Layered<TcpStream, Preface>, Tls>;

/// What is asked of it.
#[derive(Clone, Debug)]
pub struct Plan {
    clients: Option<Server>,
    upstreams: Option<(Client, String)>,
    alpn: Vec<Vec<u8>>,
}

impl Plan {
    /// Whether clients speak TLS.
    pub fn with_clients(&self) -> bool {
        self.clients.is_some()
    }

    /// Whether upstreams do.
    pub fn with_upstreams(&self) -> bool {
        self.upstreams.is_some()
    }

    /// A client's socket, from which a PROXY header may come first.
    pub fn accept(&self, socket: TcpStream, proxy_in: Option<ProxyIn>) -> Result<Secured, ConfigError> {
        let Some(server) = &self.clients else { unreachable!("asked only with_clients") };
        server.accept(Layered::new(socket, Preface { says: Vec::new(), awaits: proxy_in, header: None }))
    }

    /// What is put upon an upstream's socket, to which the greeting goes first. `agreed`: the protocol that the client
    /// speaks, if it was asked.
    pub fn session(&self, agreed: Option<Vec<u8>>) -> Result<Tls, ConfigError> {
        let Some((client, name)) = &self.upstreams else { unreachable!("asked only with_upstreams") };
        let offered = if self.with_clients() { agreed.into_iter().collect() } else { self.alpn.clone() };
        client.session_offering(name, offered)
    }
}

/// An upstream's socket, to which the greeting goes first.
pub fn preface(socket: TcpStream, greeting: Vec<u8>) -> Layered<TcpStream, Preface> {
    Layered::new(socket, Preface { says: greeting, awaits: None, header: None })
}

/// What a client's TLS is, for the header of version 2 that an upstream gets: sections 2.2.1 to 2.2.6 of its specification.
pub fn tell(info: &Info, tlvs: &mut Tlvs) -> Result<(), ProxyError> {
    const CLIENT_SSL: u8 = 1;
    const VERIFY_NONE: [u8; 4] = [0, 0, 0, 1];
    const SUB_VERSION: u8 = 0x21;
    if let Some(alpn) = &info.alpn {
        tlvs.push(kind::ALPN, alpn)?;
    }
    if let Some(name) = &info.server_name {
        tlvs.push(kind::AUTHORITY, name.as_bytes())?;
    }
    let version: &[u8] = match info.version {
        Version::Tls12 => b"TLSv1.2",
        Version::Tls13 => b"TLSv1.3",
    };
    let version_len = (version.len() as u16).to_be_bytes();
    let ssl = [&[CLIENT_SSL], &VERIFY_NONE[..], &[SUB_VERSION], &version_len, version].concat();
    tlvs.push(kind::SSL, &ssl)
}

/// What goes ahead of everything else on the wire: a PROXY header, either way.
pub struct Preface {
    says: Vec<u8>,
    awaits: Option<ProxyIn>,
    /// That of the client, once it has come.
    pub header: Option<Header>,
}

impl Preface {
    fn hear(&mut self, wire: &mut Buffer, ended: bool, may_be_none: bool) -> Result<(), LayerError> {
        let wanted = wire.len().min(USUAL_MAX_BYTES);
        match proxy_protocol::parse(wire.pull_up(wanted)?, USUAL_MAX_BYTES) {
            Ok(Parsed::Complete(header, bytes)) => {
                wire.drain(bytes)?;
                (self.header, self.awaits) = (Some(header), None);
            }
            Ok(Parsed::Partial { .. }) if !ended => {}
            Ok(Parsed::Partial { .. }) => {
                return Err(LayerError::protocol("has ended within its PROXY header"));
            }
            Err(ProxyError::NoHeader) if may_be_none => self.awaits = None,
            Err(error) => return Err(LayerError::protocol(format!("{error} (--proxy-in)"))),
        }
        Ok(())
    }
}

impl Layer for Preface {
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError> {
        if let Some(awaited) = self.awaits {
            self.hear(wire, ended, awaited == ProxyIn::Accept)?;
        }
        if self.awaits.is_none() {
            plain.take_from(wire, limit)?;
        }
        Ok(())
    }

    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        _: &mut Pool,
        limit: usize,
        _: bool,
    ) -> Result<(), LayerError> {
        wire.append_vec(std::mem::take(&mut self.says))?;
        wire.take_from(plain, limit)?;
        Ok(())
    }

    fn is_established(&self) -> bool {
        self.awaits.is_none()
    }

    fn has_to_send(&self) -> bool {
        !self.says.is_empty()
    }
}
