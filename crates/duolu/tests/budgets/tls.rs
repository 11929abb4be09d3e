//! TLS: what an idle connection holds, and what a message allocates.

use crate::{HELD, Ring, allocations_in, kinds, loop_on};
use duolu::tls::{Identity, Server, Version};
use duolu::{Context, EventLoop, Stream, StreamEvent, StreamOptions};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

type Client = StreamOwned<ClientConnection, UnixStream>;

fn made(version: Version) -> (Server, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["budget.test".to_owned()]).expect("a certificate");
    let identity =
        Identity::from_pem(made.cert.pem(), made.signing_key.serialize_pem()).expect("an identity");
    let server = Server::builder(identity).versions(&[version]).build().expect("a server");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).expect("a root");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("versions");
    (server, Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

fn echo(ctx: &mut Context<Ring>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        stream.echo();
        ctx.data().passed_on += 1;
    }
}

/// A connection that has exchanged a message. The client is on a thread of its own, whose memory does not count.
fn connection(event_loop: &mut EventLoop<Ring>, server: &Server, config: &Arc<ClientConfig>) -> Client {
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    let upon = server.accept(ours).expect("a session");
    event_loop.stream(upon, StreamOptions::new(), echo).expect("a stream");
    let config = Arc::clone(config);
    let name = "budget.test".try_into().expect("a name");
    let client = std::thread::spawn(move || {
        let session = ClientConnection::new(config, name).expect("a session");
        let mut client = StreamOwned::new(session, theirs);
        exchange(&mut client);
        client
    });
    while !client.is_finished() {
        event_loop.run_for(std::time::Duration::from_millis(1)).expect("a turn");
    }
    client.join().expect("an echo")
}

fn exchange(client: &mut Client) {
    client.write_all(&[7; 64]).expect("it reads");
    client.read_exact(&mut [0; 64]).expect("an echo");
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    const CONNECTIONS: usize = 40;
    for version in Version::ALL {
        for kind in kinds() {
            let (server, config) = made(version);
            let mut event_loop = loop_on(kind, Ring::default());
            let mut clients = vec![connection(&mut event_loop, &server, &config)];
            let before = HELD.get();
            let more = (0..CONNECTIONS).map(|_| connection(&mut event_loop, &server, &config));
            clients.extend(more);
            let each = (HELD.get() - before) / CONNECTIONS as i64;
            // Measured: 5,040 to 5,220, nearly all of it rustls's; with rustls's own buffers it would be twice as much.
            assert!(each <= 5600, "{version}, {kind}: {each} bytes for each idle connection");
        }
    }
}

#[test]
fn a_message_allocates_little() {
    let (server, config) = made(Version::Tls13);
    let mut event_loop = loop_on(duolu::BackendKind::Epoll, Ring::default());
    let mut client = connection(&mut event_loop, &server, &config);
    const MESSAGES: u64 = 200;
    let thread = std::thread::spawn(move || {
        (0..MESSAGES).for_each(|_| exchange(&mut client));
        client
    });
    let before = event_loop.data().passed_on;
    let allocated = allocations_in(|| {
        while !thread.is_finished() {
            event_loop.run_for(std::time::Duration::from_millis(1)).expect("a turn");
        }
    });
    assert_eq!(event_loop.data().passed_on - before, MESSAGES);
    // Measured: 5. A record's bytes are put into a vector of rustls's own, both ways.
    assert!(allocated <= 6 * MESSAGES, "{} allocations a message", allocated as f64 / MESSAGES as f64);
    drop(thread.join());
}
