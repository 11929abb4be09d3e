//! What an echoed message costs a TLS server, on one thread, over TCP: `duolu-bench-tls CONNECTIONS BYTES SECONDS`.
//!
//! Beside each other, in windows of 200 ms in turn, ABBA: streams over duolu's TLS, and the least that can be done with rustls's
//! own buffers: epoll by hand, read_tls, process_new_packets, reader, writer, write_tls (what tokio-rustls does for each
//! message, without tokio). Both take their connections from the same configuration; TLS 1.3, AES-128-GCM or what both
//! agree upon. The clients' thread sends one message on each connection and waits for all echoes. CPU time is the server
//! thread's own, the kernel's included.

use duolu::{Context, EventLoop, Handle, Stream, StreamEvent, StreamOptions, tls};
use rustix::event::epoll;
use rustix::time::{ClockId, clock_gettime};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Client = StreamOwned<ClientConnection, TcpStream>;

const WINDOW: Duration = Duration::from_millis(200);

fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A server on a thread of its own that says how much CPU it has had.
struct Server {
    address: SocketAddr,
    ask: Box<dyn Fn() -> u64>,
}

fn duolu_server(certificate: String, key: String) -> Outcome<Server> {
    let (ready, started) = channel::<(SocketAddr, Handle<()>)>();
    std::thread::spawn(move || {
        let server = tls::Server::from_pem(certificate, key).expect("a server");
        let mut event_loop = EventLoop::new().expect("a loop");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        let accept = move |ctx: &mut Context<()>, socket: TcpStream, _| {
            socket.set_nodelay(true).expect("a socket");
            let upon = server.accept(socket).expect("a session");
            let echo = |_: &mut Context<()>, stream: &mut Stream<'_>, event| {
                if event == StreamEvent::Read {
                    stream.echo();
                }
            };
            ctx.stream(upon, StreamOptions::new(), echo).expect("a stream");
        };
        event_loop.accept(listener, accept).expect("a listener");
        ready.send((address, event_loop.handle())).expect("somebody waits");
        event_loop.run().expect("a run");
    });
    let (address, handle) = started.recv()?;
    let ask = move || {
        let (tell, told) = channel();
        handle.post(move |_| tell.send(cpu_ns()).expect("somebody waits")).expect("it runs");
        told.recv().expect("it runs")
    };
    Ok(Server { address, ask: Box::new(ask) })
}

/// epoll by hand, and rustls's buffers.
fn raw_server(certificate: &str, key: &str) -> Outcome<Server> {
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let config = config.with_safe_default_protocol_versions()?.with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let cpu = Arc::new(Mutex::new((false, 0)));
    let shared = Arc::clone(&cpu);
    std::thread::spawn(move || {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let listen = epoll::EventData::new_u64(u64::MAX);
        epoll::add(&epoll, &listener, listen, epoll::EventFlags::IN).expect("epoll");
        let mut connections: Vec<(TcpStream, ServerConnection)> = Vec::new();
        let mut events = Vec::with_capacity(256);
        let tick = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let mut into = vec![0; 16 * 1024];
        loop {
            events.clear();
            let _ = epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&tick));
            for event in &events {
                let at = event.data.u64();
                if at == u64::MAX {
                    let (socket, _) = listener.accept().expect("a client");
                    socket.set_nonblocking(true).expect("a socket");
                    socket.set_nodelay(true).expect("a socket");
                    let data = epoll::EventData::new_u64(connections.len() as u64);
                    epoll::add(&epoll, &socket, data, epoll::EventFlags::IN).expect("epoll");
                    connections
                        .push((socket, ServerConnection::new(Arc::clone(&config)).expect("a session")));
                    continue;
                }
                let (socket, tls) = &mut connections[at as usize];
                while tls.read_tls(socket).is_ok_and(|count| count > 0) {
                    tls.process_new_packets().expect("TLS");
                    while let Ok(count @ 1..) = tls.reader().read(&mut into) {
                        tls.writer().write_all(&into[..count]).expect("room");
                    }
                }
                while tls.wants_write() && tls.write_tls(socket).is_ok() {}
            }
            let mut cpu = shared.lock().expect("no panic");
            if cpu.0 {
                *cpu = (false, cpu_ns());
            }
        }
    });
    let ask = move || {
        cpu.lock().expect("no panic").0 = true;
        loop {
            std::thread::sleep(Duration::from_millis(1));
            let cpu = cpu.lock().expect("no panic");
            if !cpu.0 {
                return cpu.1;
            }
        }
    };
    Ok(Server { address, ask: Box::new(ask) })
}

/// CPU nanoseconds a message in one window.
fn window(server: &Server, clients: &mut [Client], bytes: usize) -> Outcome<f64> {
    let (message, mut reply) = (vec![7; bytes], vec![0; bytes]);
    let before = (server.ask)();
    let (begun, mut messages) = (Instant::now(), 0u64);
    while begun.elapsed() < WINDOW {
        for client in clients.iter_mut() {
            client.write_all(&message)?;
            client.flush()?;
        }
        for client in clients.iter_mut() {
            client.read_exact(&mut reply)?;
        }
        messages += clients.len() as u64;
    }
    Ok(((server.ask)() - before) as f64 / messages as f64)
}

fn main() -> Outcome {
    let arguments: Vec<usize> =
        std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [connections, bytes, seconds] = arguments[..] else {
        return Err("usage: duolu-bench-tls CONNECTIONS BYTES SECONDS".into());
    };
    let made = rcgen::generate_simple_self_signed(["bench.test".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes())?)?;
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots);
    let config = Arc::new(config.with_no_client_auth());
    let servers = [duolu_server(certificate.clone(), key.clone())?, raw_server(&certificate, &key)?];
    let mut clients = [Vec::new(), Vec::new()];
    for (server, clients) in servers.iter().zip(&mut clients) {
        for _ in 0..connections {
            let socket = TcpStream::connect(server.address)?;
            socket.set_nodelay(true)?;
            let session = ClientConnection::new(Arc::clone(&config), "bench.test".try_into()?)?;
            clients.push(StreamOwned::new(session, socket));
        }
        window(server, clients, bytes)?; // handshakes, and everything warm
    }
    let mut pairs = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds as u64);
    while Instant::now() < end {
        let mut of = |at: usize| window(&servers[at], &mut clients[at], bytes);
        let (first, second, third, fourth) = (of(0)?, of(1)?, of(1)?, of(0)?);
        pairs.extend([(first, second), (fourth, third)]);
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let ours = median(pairs.iter().map(|pair| pair.0).collect());
    let theirs = median(pairs.iter().map(|pair| pair.1).collect());
    let ratio = median(pairs.iter().map(|pair| pair.0 / pair.1).collect());
    println!(
        "{connections} connections, {bytes} bytes: duolu {ours:.0} ns, epoll and rustls by hand {theirs:.0} ns, {ratio:.3}"
    );
    Ok(())
}
