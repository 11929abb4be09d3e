//! `--lame-duck`: between the signal and the closed port whoever comes is served, and told that it is the last time.

use crate::server::{Server, can_run};
use crate::surroundings::fetch;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

crate::for_each_model!(serves_on_and_says_goodbye);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Asks, and reads until the server ends the connection.
fn last_answer(stream: &mut TcpStream) -> String {
    stream.write_all(GET).expect("send");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and the end");
    answer
}

fn is_goodbye(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\r\nConnection: close\r\n")
}

fn serves_on_and_says_goodbye(model: &str) {
    says_goodbye(model, &[]);
}

#[test]
fn worker_processes_serve_on_too() {
    for model in ["epoll-et", "io_uring"].into_iter().filter(|it| can_run(it)) {
        says_goodbye(model, &["--processes", "--workers", "2"]);
    }
}

fn says_goodbye(model: &str, more: &[&str]) {
    let flags = [&["--admin", "127.0.0.1:0", "--lame-duck", "1h"], more].concat();
    let mut server = Server::start("http", model, &flags);
    let mut early = server.connect();
    early.write_all(GET).expect("send");
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello from duolu\n") {
        let mut byte = [0];
        early.read_exact(&mut byte).expect("an answer that keeps the connection");
        answer.extend(byte);
    }
    assert_eq!(fetch(server.admin(), "/readyz").0, 200, "{model}");
    server.signal(Signal::TERM);
    server.has_said("/readyz says 503");
    assert_eq!(fetch(server.admin(), "/readyz").0, 503, "{model}");
    assert_eq!(fetch(server.admin(), "/healthz").0, 200, "{model}");
    for mut stream in [early, server.connect()] {
        let answer = last_answer(&mut stream);
        assert!(is_goodbye(&answer), "{model}: {answer}");
    }
    server.signal(Signal::TERM); // again: it is ending already
    assert!(is_goodbye(&last_answer(&mut server.connect())), "{model}");
    server.signal(Signal::INT);
    assert_eq!(server.exit_code(), Some(130), "{model}: {}", server.stderr());
}

#[test]
fn when_the_time_is_over_the_server_drains() {
    for model in ["fork", "prefork", "thread", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it)) {
        let mut server = Server::start("echo", model, &["--lame-duck", "400ms", "--drain", "19s"]);
        let mut stream = server.connect();
        stream.write_all(b"x").expect("send");
        stream.read_exact(&mut [0]).expect("receive");
        let start = Instant::now();
        server.signal(Signal::TERM);
        server.has_said("1 open may finish"); // the time is over, and the connection is not
        assert!(start.elapsed() >= Duration::from_millis(400), "{model}");
        stream.write_all(b"y").expect("send");
        stream.read_exact(&mut [0]).expect("receive");
        drop(stream);
        assert_eq!(server.exit_code(), Some(0), "{model}: {}", server.stderr());
    }
}
