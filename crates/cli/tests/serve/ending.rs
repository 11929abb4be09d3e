//! How a server ends: gracefully, with patience, at once; and what becomes of its children.

use crate::metric::metric;
use crate::server::{PATIENCE, Server, can_run, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

crate::for_each_model!(
    drains_on_sigterm,
    closes_idle_http_connections,
    cuts_what_takes_too_long,
    ends_now_on_the_second_sigint
);

const DRAIN: &[&str] = &["--drain", "19s"];

fn ask(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).expect("send");
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).expect("receive");
    assert_eq!(answer, text);
}

/// Until the port refuses: then the server has heard.
fn wait_until_it_refuses(server: &Server) {
    eventually("new connections are refused", || TcpStream::connect(server.address).is_err().then_some(()));
}

fn drains_on_sigterm(model: &str) {
    let mut server = Server::start("echo", model, DRAIN);
    let mut early = server.connect();
    ask(&mut early, b"before");
    server.signal(Signal::TERM);
    wait_until_it_refuses(&server);
    ask(&mut early, b"meanwhile");
    drop(early);
    assert_eq!(server.exit_code(), Some(0));
    assert!(!server.stderr().contains("cut"), "{}", server.stderr());
}

fn closes_idle_http_connections(model: &str) {
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let half = b"GET / HTTP/1.1\r\n";
    let mut server = Server::start("http", model, &[DRAIN, &["--admin", "0"]].concat());
    let (mut idle, mut busy) = (server.connect(), server.connect());
    for stream in [&mut idle, &mut busy] {
        stream.write_all(GET).unwrap();
        stream.read_exact(&mut [0; 96]).unwrap();
    }
    busy.write_all(half).unwrap();
    let bytes = (2 * GET.len() + half.len()) as u64;
    eventually("it has read the half request", || {
        (metric(server.admin(), "duolu_received_bytes_total") == bytes).then_some(())
    });
    let start = Instant::now();
    server.signal(Signal::INT);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).expect("the idle connection ends");
    assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"));
    busy.write_all(b"Host: a\r\n\r\n").unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).expect("the other request is answered");
    assert!(
        answer.contains("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nConnection: close\r\n"),
        "{answer}"
    );
    assert_eq!(server.exit_code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(15), "it did not wait for the idle connection");
}

fn cuts_what_takes_too_long(model: &str) {
    let mut server = Server::start("echo", model, &["--drain", "300ms"]);
    let mut stream = server.connect();
    ask(&mut stream, b"hello");
    server.signal(Signal::TERM);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest); // an end or a reset, but within the time
    assert_eq!(server.exit_code(), Some(0));
    assert!(
        server.stderr().contains("1 connection was not done after 300ms, cut now"),
        "{}",
        server.stderr()
    );
}

fn ends_now_on_the_second_sigint(model: &str) {
    let mut server = Server::start("echo", model, DRAIN);
    let mut stream = server.connect();
    ask(&mut stream, b"hello");
    server.signal(Signal::INT);
    wait_until_it_refuses(&server);
    let start = Instant::now();
    server.signal(Signal::INT);
    assert_eq!(server.exit_code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_server_without_connections_ends_at_once() {
    for model in
        ["fork", "prefork", "thread", "select", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it))
    {
        let mut server = Server::start("echo", model, DRAIN);
        server.signal(Signal::TERM);
        let start = Instant::now();
        assert_eq!(server.exit_code(), Some(0), "{model}");
        assert!(start.elapsed() < Duration::from_secs(10), "{model}");
    }
}

/// A connection that waits in the queue when the end begins has been promised an answer.
#[test]
fn whoever_is_in_the_queue_is_still_served() {
    for model in ["fork", "thread", "epoll-lt", "epoll-et", "io_uring-poll", "io_uring"]
        .into_iter()
        .filter(|it| can_run(it))
    {
        let mut server = Server::start("echo", model, DRAIN);
        // Stopped, it cannot accept: the connections and the signal wait together.
        server.signal(Signal::STOP);
        let mut streams: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for stream in &mut streams {
            ask(stream, model.as_bytes());
        }
        drop(streams);
        assert_eq!(server.exit_code(), Some(0), "{model}");
    }
}

#[test]
fn forked_children_are_reaped() {
    let server = Server::start("echo", "fork", &[]);
    for _ in 0..20 {
        ask(&mut server.connect(), b"hello");
    }
    eventually("no child is left, not even a dead one", || server.children().is_empty().then_some(()));
}

#[test]
fn a_dead_preforked_child_is_replaced() {
    let server = Server::start("echo", "prefork", &["--workers", "2"]);
    let before = server.children();
    assert_eq!(before.len(), 2);
    std::thread::sleep(Duration::from_millis(1100)); // a short life is not replaced at once
    for pid in &before {
        let pid = rustix::process::Pid::from_raw(*pid as i32).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).expect("a child of our own server");
    }
    eventually("two new children", || {
        let now = server.children();
        (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
    });
    ask(&mut server.connect(), b"hello");
    server.has_said("another takes its place");
}

#[test]
fn children_die_with_their_parent() {
    for model in ["fork", "prefork"] {
        let mut server = Server::start("echo", model, &["--admin", "0"]);
        let mut stream = server.connect();
        ask(&mut stream, b"hello");
        let children = server.children();
        assert!(children.len() >= 2, "{model}: {children:?}");
        server.signal(Signal::KILL);
        server.wait();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.read(&mut [0]);
        let is_gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}/fd/0")).exists();
        eventually("its children are gone", || children.iter().all(is_gone).then_some(()));
    }
}
