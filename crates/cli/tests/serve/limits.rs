//! Servers at their limits: out of descriptors, over --max-connections.

use crate::server::{Server, duolu, eventually};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn start_with_descriptors(limit: u32, model: &str) -> Server {
    let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(duolu().get_program());
    Server::spawn(command.args(["serve", "echo", "--model", model, "--port", "0"]))
}

fn is_answered(mut stream: &TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    match stream.read(&mut [0]) {
        Ok(count) => {
            assert_eq!(count, 1, "the server closed a connection that only had to wait");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

/// 90 clients want in where 64 descriptors are: some wait, nothing spins, and whoever waits gets in when others go.
fn out_of_descriptors(model: &str) {
    let server = start_with_descriptors(64, model);
    assert_eq!(server.ready["descriptors"], 64);
    let mut streams: Vec<TcpStream> = (0..90).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
    }
    eventually("it says that it cannot accept", || server.stderr().contains("cannot accept").then_some(()));
    let (before, start) = (cpu_ticks(server.pid()), Instant::now());
    std::thread::sleep(Duration::from_millis(1500));
    let (ticks, took) = (cpu_ticks(server.pid()) - before, start.elapsed());
    assert!(ticks <= 8, "{ticks} ticks of 10 ms in {took:?}: it spins");
    let lines = server.stderr().matches("cannot accept").count() as u64;
    assert!(lines <= 3 + start.elapsed().as_secs(), "a line a second at most: {}", server.stderr());
    let (served, mut waiting): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|stream| is_answered(stream, Duration::from_millis(1)));
    assert!((30..=62).contains(&served.len()), "{} of 90 served with 64 descriptors", served.len());
    drop(served);
    for stream in &mut waiting {
        assert!(is_answered(stream, crate::server::PATIENCE));
    }
}

#[test]
fn thread_recovers_from_want_of_descriptors() {
    out_of_descriptors("thread");
}

#[test]
fn select_recovers_from_want_of_descriptors() {
    out_of_descriptors("select");
}

#[test]
fn poll_recovers_from_want_of_descriptors() {
    out_of_descriptors("poll");
}

#[test]
fn epoll_lt_recovers_from_want_of_descriptors() {
    out_of_descriptors("epoll-lt");
}

#[test]
fn epoll_et_recovers_from_want_of_descriptors() {
    out_of_descriptors("epoll-et");
}

#[test]
fn connections_over_the_maximum_are_closed_at_once() {
    for model in ["fork", "thread", "epoll-et"] {
        let server = Server::start("echo", model, &["--max-connections", "2"]);
        let ask = |mut stream: &TcpStream| {
            let _ = stream.write_all(b"x");
            matches!(stream.read(&mut [0]), Ok(1))
        };
        let (first, second, third) = (server.connect(), server.connect(), server.connect());
        assert!(ask(&first) && ask(&second), "{model}");
        assert!(!ask(&third), "{model}");
        drop(first);
        eventually("its place is free again", || ask(&server.connect()).then_some(()));
    }
}

/// The classic wall: select(2) with descriptors past FD_SETSIZE.
#[test]
fn select_goes_past_1024() {
    let server = Server::start("echo", "select", &[]);
    let streams: Vec<TcpStream> = (0..1100).map(|_| server.connect()).collect();
    for mut stream in [&streams[0], &streams[1099]] {
        stream.write_all(b"x").unwrap();
        assert!(is_answered(stream, crate::server::PATIENCE));
    }
}
