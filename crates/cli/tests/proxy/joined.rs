//! Connections whose bytes nobody looks at are joined: splice(2) moves them, and everything holds as it does where they pass
//! through memory. That every other test holds both ways is `for_each_form!`'s doing.

use crate::header::{header, read_header};
use crate::kit::{COPIED, Through, accept, read_all, read_exactly, stuff, through};
use crate::metric::metric;
use crate::pattern::pattern;
use crate::server::{connect, duolu, eventually};
use crate::tls::Files;
use crate::traced::Trace;
use duolu::proxy_protocol::{Header, Version};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

crate::for_each_model!(it_splices_what_nobody_looks_at);

const LONG: usize = 8 << 20;

/// Both ways at once, without an end.
fn exchange(client: &TcpStream, upstream: &TcpStream, up: &[u8], down: &[u8]) {
    std::thread::scope(|scope| {
        for (stream, bytes) in [(client, up), (upstream, down)] {
            scope.spawn(move || { stream }.write_all(bytes).unwrap());
        }
        let other = scope.spawn(|| read_exactly(client, down));
        read_exactly(upstream, up);
        other.join().unwrap();
    });
}

/// A header is read and another one written, and then nothing is looked at any more. Of 16 MiB nearly all goes by splice,
/// twice: into a pipe and out of it.
fn it_splices_what_nobody_looks_at(model: &str) {
    let (listener, to) = crate::kit::upstream();
    let arguments = ["--to", &to, "--proxy-in", "require", "--proxy-out", "v2"];
    let proxy = crate::kit::proxy(model, &arguments);
    let trace = Trace::of(&proxy);
    let mut client = connect(proxy.address);
    let (source, destination) = ("192.0.2.1:1234", "198.51.100.2:80");
    let ahead = header(Version::V1, source, destination);
    client.write_all(&[&ahead[..], b"the first bytes"].concat()).unwrap();
    let upstream = accept(&listener);
    let told = read_header(&upstream, b"the first bytes");
    assert_eq!(told, Header::tcp(Version::V2, source.parse().unwrap(), destination.parse().unwrap()));
    exchange(&client, &upstream, &pattern(LONG, 1), &pattern(LONG, 2));
    let moved = trace.moved();
    let all = 2 * 2 * LONG as u64;
    assert!(moved.spliced > all / 10 * 9 && moved.copied < all / 10, "{model}: {moved:?} of {all}");
}

/// A rate is kept by reading less, TLS is worked on, and a small --buffer is less than a pipe: none of them splices.
#[test]
fn it_does_not_splice_what_something_looks_at() {
    let files = Files::new("spliced");
    let (certificate, key) = (files.path("cert.pem"), files.path("key.pem"));
    let (inner_listener, to) = crate::kit::upstream();
    let inner = ["--to", &to, "--tls-cert", &certificate, "--tls-key", &key];
    let inner = crate::kit::proxy("epoll-lt", &inner);
    let to_inner = inner.address.to_string();
    let secured = ["--to", &to_inner, "--to-tls", "proxy.test", "--to-ca", &certificate];
    let outer = crate::kit::proxy("epoll-lt", &secured);
    let traces = [Trace::of(&inner), Trace::of(&outer)];
    let client = connect(outer.address);
    let upstream = accept(&inner_listener);
    exchange(&client, &upstream, &pattern(LONG / 8, 1), &pattern(LONG / 8, 2));
    for trace in traces {
        let moved = trace.moved();
        assert!(moved.spliced == 0 && moved.copied > LONG as u64 / 4, "{moved:?}");
    }
    for options in [["--rate", "1GiB"], ["--rate-total", "1GiB"], ["--buffer", "32KiB"]] {
        let it = through("epoll-lt", &options);
        let trace = Trace::of(&it.proxy);
        exchange(&it.client, &it.upstream, &pattern(LONG / 8, 1), &pattern(LONG / 8, 2));
        let moved = trace.moved();
        assert!(moved.spliced == 0 && moved.copied > LONG as u64 / 4, "{options:?}: {moved:?}");
    }
}

/// Where io_uring moves the bytes of streams they cannot be joined, and go on as they are.
#[test]
fn what_cannot_be_joined_goes_on() {
    if !crate::server::can_run("io_uring-poll") {
        return;
    }
    let (listener, to) = crate::kit::upstream();
    let mut command = duolu();
    command.args(["serve", "proxy", "--model", "io_uring-poll", "--port", "0", "--to", &to]);
    command.args(["--proxy-in", "require"]).env("DUOLU_STREAMS", "completions");
    let proxy = crate::server::Server::spawn(&mut command);
    let mut client = connect(proxy.address);
    client.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let upstream = accept(&listener);
    assert_eq!(read_all(&upstream), (b"hello".to_vec(), false));
    (&upstream).write_all(b"and back").unwrap();
    drop(upstream);
    assert_eq!(read_all(&client), (b"and back".to_vec(), false));
}

/// Not only when a connection is over, but while it runs, and to the byte.
#[test]
fn its_counters_are_up_to_date() {
    for form in ["epoll-lt", &format!("epoll-lt{COPIED}")] {
        let it = through(form, &["--admin", "127.0.0.1:0"]);
        let counts = || {
            let count = |name| metric(it.proxy.admin(), name);
            [count("duolu_received_bytes_total"), count("duolu_sent_bytes_total")]
        };
        let mut expected = [0; 2];
        for round in 1..=3 {
            let (up, down) = (pattern(700_000 * round, 1), pattern(1000 * round, 2));
            exchange(&it.client, &it.upstream, &up, &down);
            expected = [expected[0] + up.len() as u64, expected[1] + down.len() as u64];
            assert_eq!(counts(), expected, "{form}");
        }
        assert_eq!(metric(it.proxy.admin(), "duolu_connections_open"), 1);
        // While the upstream rests: what the proxy has taken is counted, though it is not given on yet.
        let sent = stuff(&it.client, &pattern(MUCH, 3)) as u64;
        let [received, _] = counts();
        assert!(received > expected[0] && received <= expected[0] + sent, "{received} of {sent}");
        let mut got = vec![0; sent as usize];
        (&it.upstream).read_exact(&mut got).unwrap();
        assert_eq!(counts()[0], expected[0] + sent, "{form}");
    }
}

/// More than a connection takes unread: a receiver that was fast at first may have 32 MiB (tcp_rmem), and there are two on the way.
const MUCH: usize = 80 << 20;

/// What is in the middle of it when the end begins comes to its end, and the last counters are right.
#[test]
fn a_drain_lets_it_finish() {
    for form in ["epoll-lt", &format!("epoll-lt{COPIED}")] {
        let Through { mut proxy, client, upstream, .. } = through(form, &["--drain", "19s"]);
        let sent = pattern(MUCH, 4);
        let held = stuff(&client, &sent);
        proxy.signal(Signal::TERM);
        proxy.has_said("no new connections");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (&client).write_all(&sent[held..]).unwrap();
                client.shutdown(Shutdown::Write).unwrap();
            });
            assert!(read_all(&upstream) == (sent.clone(), false));
            drop(upstream);
        });
        assert_eq!(read_all(&client), (vec![], false));
        assert_eq!(proxy.exit_code(), Some(0));
        let said = proxy.stderr();
        assert!(!said.contains("cut now") && said.contains("received bytes 83,886,080"), "{said}");
    }
}

/// A receiver that rests holds a pipe, two descriptors: a crowd of them takes a sixteenth and no more, and whoever comes gets
/// in.
#[test]
fn slow_readers_do_not_take_all_descriptors() {
    const LIMIT: usize = 128;
    let (listener, to) = crate::kit::upstream();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit -n {LIMIT}; exec \"$0\" \"$@\"")]).arg(duolu().get_program());
    command.args(["serve", "proxy", "--port", "0", "--to", &to]);
    let proxy = crate::server::Server::spawn(&mut command);
    let sent = pattern(MUCH, 5);
    let pipes = || {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap().flatten();
        let links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("pipe:")).count()
    };
    let before = pipes();
    let mut pairs = Vec::new();
    for _ in 0..20 {
        let client = connect(proxy.address);
        let upstream = accept(&listener);
        let held = stuff(&client, &sent);
        pairs.push((client, upstream, held));
    }
    assert_eq!(pipes() - before, LIMIT / 16, "each has two ends");
    let client = connect(proxy.address);
    let upstream = accept(&listener);
    exchange(&client, &upstream, b"still welcome", b"indeed");
    for (client, upstream, held) in pairs {
        client.shutdown(Shutdown::Write).unwrap();
        assert!(read_all(&upstream).0 == sent[..held]);
    }
    eventually("pipes are given back", || (pipes() - before <= LIMIT / 16).then_some(()));
}
