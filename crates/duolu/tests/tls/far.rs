//! The scenario's end of a connection: rustls as others use it, with its buffers, on the stage's socket.

use crate::ca::{authority, issued};
use crate::stage::{Socket, Stage};
use duolu::stream::Transport;
use duolu::tls::Version;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::sync::Arc;

pub struct Far {
    pub socket: Socket,
    pub tls: Connection,
    /// What is to be sent and was not yet taken by the kernel.
    wire: Vec<u8>,
    pub got: Vec<u8>,
    /// It was told so by close_notify.
    pub ended: bool,
    /// The kernel told so.
    pub wire_ended: bool,
    pub error: Option<rustls::Error>,
    finishing: bool,
    wire_finished: bool,
    /// So many bytes are sent at once.
    pub grain: usize,
}

fn rustls_version(version: Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    }
}

pub fn client_config(version: Version) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority().pem.as_bytes()).expect("a root")).expect("a root");
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(&[rustls_version(version)]).expect("a version");
    builder.with_root_certificates(roots).with_no_client_auth()
}

pub fn server_config(version: Version) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_protocol_versions(&[rustls_version(version)]).expect("a version");
    let certificate = CertificateDer::from_pem_slice(issued().certificate.as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(issued().key.as_bytes()).expect("a key");
    builder.with_no_client_auth().with_single_cert(vec![certificate], key).expect("both belong together")
}

impl Far {
    pub fn client(socket: Socket, version: Version) -> Self {
        let name = "server.test".try_into().expect("a name");
        let tls = rustls::ClientConnection::new(Arc::new(client_config(version)), name).expect("a client");
        Far::new(socket, tls.into())
    }

    pub fn server(socket: Socket, version: Version) -> Self {
        let tls = rustls::ServerConnection::new(Arc::new(server_config(version))).expect("a server");
        Far::new(socket, tls.into())
    }

    fn new(socket: Socket, mut tls: Connection) -> Self {
        tls.set_buffer_limit(None);
        let (wire, got) = (Vec::new(), Vec::new());
        let (ended, wire_ended, finishing, wire_finished) = (false, false, false, false);
        Far {
            socket,
            tls,
            wire,
            got,
            ended,
            wire_ended,
            error: None,
            finishing,
            wire_finished,
            grain: usize::MAX,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).expect("no limit");
    }

    /// Ends TLS behind what was written, now or when the handshake is over: rustls itself would say it at once.
    pub fn finish(&mut self) {
        self.finishing = true;
    }

    /// Ends the wire as well, when all is sent.
    pub fn finish_wire(&mut self) {
        if self.send() == 0 && !self.finishing && !self.wire_finished {
            self.wire_finished = true;
            self.socket.shutdown_write();
        }
    }

    /// Sends what it can; what is left to send.
    pub fn send(&mut self) -> usize {
        self.send_counted().1
    }

    /// The same: what was sent, and what is left.
    pub fn send_counted(&mut self) -> (usize, usize) {
        if self.finishing && !self.tls.is_handshaking() {
            self.finishing = false;
            self.tls.send_close_notify();
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire).expect("memory");
        }
        let now = self.wire.len().min(self.grain);
        let sent = self.socket.try_send(&self.wire[..now]);
        self.wire.drain(..sent);
        (sent, self.wire.len())
    }

    /// Takes what has come.
    pub fn receive(&mut self) {
        while !self.wire_ended
            && let Some(outcome) = self.socket.receive_or_fail()
        {
            let Ok(bytes) = outcome else {
                self.wire_ended = true;
                return;
            };
            self.wire_ended = bytes.is_empty();
            let mut bytes = &bytes[..];
            while !bytes.is_empty() && self.error.is_none() && !self.ended {
                self.tls.read_tls(&mut bytes).expect("memory");
                match self.tls.process_new_packets() {
                    Ok(state) => self.ended = state.peer_has_closed(),
                    Err(error) => self.error = Some(error),
                }
                let mut part = [0; 16 * 1024];
                while let Ok(count @ 1..) = self.tls.reader().read(&mut part) {
                    self.got.extend_from_slice(&part[..count]);
                }
            }
        }
    }

    pub fn work(&mut self) {
        self.send();
        self.receive();
    }

    /// Both work until it is so.
    pub fn until(
        &mut self,
        stage: &mut Stage,
        what: &str,
        mut done: impl FnMut(&mut Stage, &mut Far) -> bool,
    ) {
        stage.until(what, |stage| {
            self.work();
            done(stage, self)
        });
    }

    /// Until so many bytes have come; those.
    pub fn take(&mut self, stage: &mut Stage, bytes: usize) -> Vec<u8> {
        self.until(stage, "bytes for the far end", |_, far| far.got.len() >= bytes || far.wire_ended);
        assert!(self.got.len() >= bytes, "{} of {bytes}, {:?}", self.got.len(), self.error);
        self.got.drain(..bytes).collect()
    }
}
