//! A proxy, and the upstream that the test plays itself.

use crate::server::{PATIENCE, Server, connect};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A listener for the test to accept from. What it accepts takes little unread: the kernel would let a receiver that is fast at
/// first have 32 MiB and more (tcp_rmem), and whoever waits for a sender to be stopped would wait for a long time.
pub fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    duolu_sys::socket::set_recv_buffer(&listener, 256 << 10).expect("a size");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Behind a model: with streams on both sides, though nothing looks at the bytes.
pub const COPIED: &str = ", copied";

/// A proxy with these arguments.
pub fn proxy(model: &str, more: &[&str]) -> Server {
    match model.strip_suffix(COPIED) {
        // A rate must be kept, even one that is never reached.
        Some(model) => Server::start("proxy", model, &[more, &["--rate", "64GiB"]].concat()),
        None => Server::start("proxy", model, more),
    }
}

/// The next connection, within patience.
pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < until, "nobody came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Both ends of a connection through a proxy.
pub struct Through {
    pub proxy: Server,
    pub listener: TcpListener,
    pub client: TcpStream,
    pub upstream: TcpStream,
}

pub fn through(model: &str, more: &[&str]) -> Through {
    let (listener, address) = upstream();
    let proxy = proxy(model, &[&["--to", &address], more].concat());
    let client = connect(proxy.address);
    let upstream = accept(&listener);
    Through { proxy, listener, client, upstream }
}

impl Through {
    /// Another connection by way of the same proxy: client, upstream.
    pub fn another(&self) -> (TcpStream, TcpStream) {
        let client = connect(self.proxy.address);
        (client, accept(&self.listener))
    }
}

pub fn read_exactly(mut stream: &TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    stream.read_exact(&mut got).expect("all of it");
    assert!(got == wanted, "{} bytes came changed", wanted.len());
}

/// What comes until the end, and whether that was a reset.
pub fn read_all(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => (all, false),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            (all, true)
        }
    }
}

/// Closes it so that the peer is told of a reset.
pub fn reset(stream: TcpStream) {
    duolu::net::set_linger(&stream, Some(0)).unwrap();
}

/// The resident memory of a process that is its own and not a file's, in bytes: without the pages of its program, of which
/// more are read in as it does more.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Nobody listens there: it was given up a moment ago, and on its own loopback address nobody else takes it.
pub fn nobody() -> SocketAddr {
    let number = std::process::id();
    let ip = [127, 77, (number >> 8) as u8, number as u8];
    TcpListener::bind((std::net::Ipv4Addr::from(ip), 0)).unwrap().local_addr().unwrap()
}

/// Writes until the kernel takes no more for a while.
pub fn stuff(mut stream: &TcpStream, bytes: &[u8]) -> usize {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut refused) = (0, 0);
    while refused < 20 {
        match stream.write(&bytes[sent..]) {
            Ok(count) => (sent, refused) = (sent + count, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(sent < bytes.len(), "it takes everything, though nobody reads");
    }
    stream.set_nonblocking(false).unwrap();
    sent
}
