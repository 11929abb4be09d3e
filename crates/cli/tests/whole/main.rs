//! All of it at once: through a proxy that splices and one that ends TLS, processes of their own, to a filter, with rate limits
//! on the way; every process has its system calls interrupted (EINTR) and moving less than was asked for, down to single
//! bytes ([`shim`]). What arrives has the SHA-256 of what was sent, both ways.
//!
//! ```text
//! client: rate, filter, TLS -> serve proxy (splice) -> serve proxy --tls-cert --rate -> rate, filter: echo
//! ```
//! DUOLU_STREAM_BYTES says how much there and back; `make whole`.

#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "each test program takes what it needs")]
mod server;
mod shim;

use duolu::buffer::Buffer;
use duolu::stream::{Filter, Flow, LayerError, Layered};
use duolu::tls::{Client, Roots};
use duolu::{Context, Direction, EventLoop, Rate, Stream, StreamEvent, StreamOptions};
use rustix::process::Signal;
use rustls::crypto::hash;
use server::{Server, duolu};
use shim::{Counts, Folder};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

const MIB: u64 = 1 << 20;
/// How much there and back unless DUOLU_STREAM_BYTES says so.
const USUALLY: u64 = 16 * MIB;

fn bytes() -> u64 {
    let bytes = std::env::var("DUOLU_STREAM_BYTES").ok();
    bytes.map_or(USUALLY, |bytes| bytes.parse().expect("DUOLU_STREAM_BYTES: a number of bytes"))
}

/// That of the TLS library: it is here anyway.
fn sha256() -> Box<dyn hash::Context> {
    let suite = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    suite.tls13().expect("it is one of 1.3").common.hash_provider.start()
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

/// A thread with a loop of its own, that sends back to one connection what it hears.
fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("a port");
    let thread = std::thread::spawn(move || {
        let mut event_loop = EventLoop::new().expect("a loop");
        let (socket, _) = listener.accept().expect("a connection");
        let echo = |_: &mut Context<()>, stream: &mut Stream<'_>, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        };
        let stream = Layered::new(socket, Filter::new(masked, masked));
        let id = event_loop.stream(stream, limited(), echo).expect("a stream");
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

/// A proxy whose system calls go by way of the shim, which tells `counts`.
fn proxy(counts: &Path, model: &str, arguments: &[&str]) -> Server {
    let mut command = duolu();
    command.args(["serve", "proxy", "--port", "0", "--model", model]).args(arguments);
    Server::spawn(command.env(shim::COUNTS, counts))
}

/// It ends by itself, in good order, so that the shim's counts are written.
fn ends(mut server: Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.exit_code(), Some(0));
    let said = server.stderr();
    assert!(said.contains("accepted 1, connections closed 1"), "{said}");
}

/// Not a test of its own: what runs with the shim.
#[test]
#[ignore = "run by what_arrives_is_what_was_sent_both_ways, with the shim"]
fn both_ways_through_all_of_it() {
    let (bytes, folder) = (bytes(), shim::folder());
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let (upstream, echo) = echo();
    let to = upstream.to_string();
    let arguments = ["--to", &to, "--tls-cert", &certificate, "--tls-key", &key, "--rate", "190MiB"];
    let inner = proxy(&folder.join("tls"), "poll", &arguments);
    let to = inner.address.to_string();
    let outer = proxy(&folder.join("splicing"), "epoll-lt", &["--to", &to]);

    let sums = [Some(sha256()), Some(sha256())];
    let account = Account { left: bytes, made: 0, received: 0, sums, ends: Vec::new() };
    let mut event_loop = EventLoop::with_data(account).expect("a loop");
    let roots = Roots::from_file(Path::new(&certificate)).expect("a certificate");
    let client = Client::builder(roots).build().expect("a client");
    let wrap = move |socket: TcpStream| {
        let tls = client.connect(socket, shim::NAME).expect("a session");
        Layered::new(tls, Filter::new(masked, masked))
    };
    // It reads on whatever waits to be sent: or else it and the echo would wait for each other.
    let options = limited().output_marks(PIECE / 2, usize::MAX);
    let id = event_loop.connect_through(outer.address, wrap, options, exchange).expect("it begins");
    while event_loop.exists(id) {
        event_loop.run_for(Duration::from_secs(1)).expect("a turn");
    }
    echo.join().expect("the echo");
    let mut account = event_loop.into_data();
    assert_eq!((account.made, account.received, &account.ends[..]), (bytes, bytes, &[StreamEvent::Eof][..]));
    let [sent, received] = account.sums.each_mut().map(|sum| sum.take().expect("not finished").finish());
    assert_eq!(sent.as_ref(), received.as_ref(), "SHA-256");
    eprintln!("SHA-256 of {bytes} bytes, both ways: {}", shim::hex(sent.as_ref()));
    ends(outer);
    ends(inner);
}

#[test]
fn what_arrives_is_what_was_sent_both_ways() {
    let folder = Folder::new();
    let library = folder.build();
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["both_ways_through_all_of_it", "--exact", "--ignored", "--nocapture"]);
    command.env("LD_PRELOAD", library).env(shim::FOLDER, folder.path());
    let ran = command.env(shim::COUNTS, folder.path().join("ends")).output().expect("it runs");
    let said = [String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr)].concat();
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");

    let [ends, splicing, tls] = ["ends", "splicing", "tls"].map(|who| Counts::read(&folder, who));
    eprintln!(
        "{said}the client and the echo: {ends:?}\nthe proxy that splices: {splicing:?}\nthat with TLS: {tls:?}"
    );
    // Each moves all of it twice, by 64 KiB at most: a call in 32 is interrupted, one in 16 moves one byte.
    for (who, counts, functions) in [
        ("ends", &ends, ["recv", "send"]),
        ("splicing", &splicing, ["splice", "splice"]),
        ("tls", &tls, ["recv", "send"]),
    ] {
        for function in functions {
            let count = counts.of(function);
            assert!(count.interrupted > 0 && count.shortened > 0, "{who}, {function}: {counts:?}");
        }
        assert!(counts.of("wait").interrupted > 0, "{who}: {counts:?}");
    }
    let spliced = splicing.of("splice").bytes;
    assert!(spliced > 2 * bytes(), "half of what goes through, in and out: {splicing:?}");
}
