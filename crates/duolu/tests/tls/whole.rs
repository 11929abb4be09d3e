//! All of it at once: a proxy that splices, TLS, a filter, rate limits, short reads and writes down to single bytes. What
//! arrives has the SHA-256 of what was sent, both ways. DUOLU_STREAM_BYTES says how much there and back; `make whole`.

use crate::ca::{client, server};
use duolu::buffer::{Buffer, Pool};
use duolu::stream::{Filter, Flow, LayerError, Layered, Transport};
use duolu::{
    Context, Direction, EventId, EventLoop, Rate, SpliceOptions, Stream, StreamEvent, StreamOptions,
};
use duolu_core::stream::Moved;
use duolu_core::{Errno, RawFd};
use rustls::crypto::hash;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// That of the TLS library: it is here anyway.
fn sha256() -> Box<dyn hash::Context> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().expect("it is one of 1.3").common.hash_provider.start()
}

/// A socket of which one call in eight moves a single byte, or a few.
struct Short {
    socket: TcpStream,
    random: u32,
}

impl Short {
    fn new(socket: TcpStream) -> Self {
        Short { socket, random: 1 }
    }

    fn some(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_mul(1_103_515_245).wrapping_add(12345);
        match (self.random >> 16) & 15 {
            0 => limit.min(1),
            1 => limit.min(1 + ((self.random >> 20) & 63) as usize),
            _ => limit,
        }
    }
}

impl Transport for Short {
    fn descriptor(&self) -> Option<RawFd> {
        self.socket.descriptor()
    }
    fn prepare(&mut self) -> io::Result<()> {
        self.socket.prepare()
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        let some = self.some(limit);
        self.socket.read_into(input, pool, some)
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        let some = self.some(limit);
        self.socket.write_from(output, pool, some)
    }
    fn shutdown_write(&mut self) {
        self.socket.shutdown_write();
    }
    fn take_error(&mut self) -> Result<(), Errno> {
        Transport::take_error(&mut self.socket)
    }
}

/// Every byte is another one.
fn masked(from: &mut Buffer, to: &mut Buffer, _: Flow) -> Result<(), LayerError> {
    let mut bytes = from.remove_vec(from.len())?;
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5A);
    Ok(to.append_vec(bytes)?)
}

/// Slow enough that each way runs dry again and again.
fn limited() -> StreamOptions {
    let rate = Rate { bytes_per_second: 200_000_000, burst: 200_000 };
    StreamOptions::new().rate(Direction::Read, rate).rate(Direction::Write, rate)
}

/// A thread with a loop of its own, that listens for one connection and runs until its event is gone.
fn serve(
    begin: impl FnOnce(&mut Context<()>, TcpStream) -> EventId + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let thread = std::thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let (socket, _) = listener.accept().expect("a connection");
        let id = begin(&mut event_loop, socket);
        while event_loop.exists(id) {
            event_loop.run_for(Duration::from_secs(1)).expect("a turn");
        }
    });
    (address, thread)
}

struct Account {
    /// Still to be made.
    left: u64,
    made: u64,
    received: u64,
    sums: [Option<Box<dyn hash::Context>>; 2],
    ends: Vec<StreamEvent>,
}

/// As much as goes out at once.
const PIECE: usize = 128 * 1024;

fn exchange(ctx: &mut Context<Account>, stream: &mut Stream<'_>, event: StreamEvent) {
    let account = ctx.data();
    match event {
        StreamEvent::Read => {
            let input = stream.input_mut();
            let bytes = input.remove_vec(input.len()).expect("they are there");
            account.received += bytes.len() as u64;
            account.sums[1].as_mut().expect("not finished").update(&bytes);
        }
        StreamEvent::Connected | StreamEvent::Written if account.left > 0 => {
            let len = account.left.min(PIECE as u64);
            let bytes: Vec<u8> =
                (account.made..account.made + len).map(|at| ((at * at) >> 7) as u8).collect();
            account.sums[0].as_mut().expect("not finished").update(&bytes);
            (account.made, account.left) = (account.made + len, account.left - len);
            stream.write_all(&bytes).expect("open");
            if account.left == 0 {
                stream.finish();
            }
        }
        StreamEvent::Connected | StreamEvent::Written => {}
        end => account.ends.push(end),
    }
}

#[test]
fn what_arrives_is_what_was_sent_both_ways() {
    let bytes = std::env::var("DUOLU_STREAM_BYTES").ok();
    let bytes =
        bytes.map_or(3_000_000, |bytes| bytes.parse().expect("DUOLU_STREAM_BYTES: a number of bytes"));
    let (upstream, server_thread) = serve(|ctx, socket| {
        let tls = server().accept(Short::new(socket)).expect("a session");
        let stream = Layered::new(tls, Filter::new(masked, masked));
        let echo = |_: &mut Context<()>, stream: &mut Stream<'_>, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        };
        ctx.stream(stream, limited(), echo).expect("a stream")
    });
    let (proxy, proxy_thread) = serve(move |ctx, socket| {
        let upstream = TcpStream::connect(upstream).expect("it listens");
        ctx.splice(socket, upstream, SpliceOptions::new(), |_, _| {}).expect("joined")
    });
    let sums = [Some(sha256()), Some(sha256())];
    let account = Account { left: bytes, made: 0, received: 0, sums, ends: Vec::new() };
    let mut event_loop = EventLoop::with_data(account).expect("a loop");
    let wrap = |socket| {
        let tls = client().connect(Short::new(socket), "server.test").expect("a session");
        Layered::new(tls, Filter::new(masked, masked))
    };
    // It reads on whatever waits to be sent: or else it and the echo would wait for each other.
    let options = limited().output_marks(PIECE / 2, usize::MAX);
    let id = event_loop.connect_through(proxy, wrap, options, exchange).expect("it begins");
    while event_loop.exists(id) {
        event_loop.run_for(Duration::from_secs(1)).expect("a turn");
    }
    server_thread.join().expect("the server");
    proxy_thread.join().expect("the proxy");
    let mut account = event_loop.into_data();
    assert_eq!((account.made, account.received, &account.ends[..]), (bytes, bytes, &[StreamEvent::Eof][..]));
    let [sent, received] = account.sums.each_mut().map(|sum| sum.take().expect("not finished").finish());
    assert_eq!(sent.as_ref(), received.as_ref(), "SHA-256");
}
