//! Servers at their limits: out of descriptors, over --max-connections.

use crate::server::{Server, can_run, duolu, eventually, told_to_do_without};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// User and system time of a process, in ticks of 10 ms.
pub fn cpu_ticks(pid: u32) -> u64 {
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

/// 80 clients want in where 64 descriptors are, of which a server has some twenty for itself: some wait, nothing spins, and whoever waits gets in when others go.
fn out_of_descriptors(model: &str) {
    let server = start_with_descriptors(64, model);
    assert_eq!(server.ready["descriptors"], 64);
    let mut streams: Vec<TcpStream> = (0..80).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
    }
    let words = "cannot accept";
    eventually("it says that it cannot accept", || server.stderr().contains(words).then_some(()));
    let (before, start) = (cpu_ticks(server.pid()), Instant::now());
    std::thread::sleep(Duration::from_millis(1500));
    let (ticks, took) = (cpu_ticks(server.pid()) - before, start.elapsed());
    assert!(ticks <= 8, "{ticks} ticks of 10 ms in {took:?}: it spins");
    let lines = server.stderr().matches(words).count() as u64;
    assert!(lines <= 3 + start.elapsed().as_secs(), "a line a second at most: {}", server.stderr());
    let (served, mut waiting): (Vec<_>, Vec<_>) =
        streams.into_iter().partition(|stream| is_answered(stream, Duration::from_millis(1)));
    assert!((30..=64).contains(&served.len()), "{} of 80 served with 64 descriptors", served.len());
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
fn io_uring_poll_recovers_from_want_of_descriptors() {
    if can_run("io_uring-poll") {
        out_of_descriptors("io_uring-poll");
    }
}

#[test]
fn io_uring_wants_no_descriptors() {
    if can_run("io_uring") {
        // Its connections live in tables of rings, as long as the limit, and there are as many rings as it takes.
        let server = start_with_descriptors(64, "io_uring");
        let mut streams: Vec<TcpStream> = (0..90).map(|_| server.connect()).collect();
        for stream in &mut streams {
            stream.write_all(b"x").unwrap();
        }
        for stream in &streams {
            assert!(is_answered(stream, crate::server::PATIENCE));
        }
    }
}

#[test]
fn connections_over_the_maximum_are_closed_at_once() {
    for model in ["fork", "thread", "epoll-et", "io_uring"].into_iter().filter(|it| can_run(it)) {
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

/// Without a process or thread for a connection the server closes that one and serves on. Root is above RLIMIT_NPROC,
/// so this runs the server as a user that nobody is; it needs root for that.
#[test]
fn no_more_processes_close_a_connection_not_the_server() {
    if told_to_do_without("DUOLU_TEST_NO_ROOT") {
        return;
    }
    assert!(
        rustix::process::geteuid().is_root(),
        "only root can start a server as another user; DUOLU_TEST_NO_ROOT=1 does without this test"
    );
    let copy = Reachable::copy();
    for (number, model) in ["fork", "thread"].into_iter().enumerate() {
        let user = (61_000 + std::process::id() % 1000 * 2 + number as u32).to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit", "--nproc=6"])
            .arg(&copy.0);
        let server =
            Server::spawn(command.args(["serve", "echo", "--model", model, "--port", "0", "--admin", "0"]));
        let start = Instant::now();
        let streams: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
        let served = streams.iter().filter(|stream| {
            let mut stream = *stream;
            let _ = stream.write_all(b"x");
            matches!(stream.read(&mut [0]), Ok(1))
        });
        let served = served.count();
        assert!((1..=6).contains(&served), "{model}: {served} of 20 served with 6 processes");
        let refused = format!("\nduolu_connections_refused_total {}\n", 20 - served);
        eventually("the others are counted", || {
            crate::surroundings::fetch(server.admin(), "/metrics").1.contains(&refused).then_some(())
        });
        // It has said so by now, but the thread that reads it may not have come to it.
        server.has_said("for a connection, it is closed");
        let lines = server.stderr().matches("for a connection, it is closed").count() as u64;
        assert!((1..=2 + start.elapsed().as_secs()).contains(&lines), "a line a second: {}", server.stderr());
        drop(streams);
        eventually("it serves on", || {
            let mut stream = server.connect();
            let _ = stream.write_all(b"x");
            matches!(stream.read(&mut [0]), Ok(1)).then_some(())
        });
    }
}

/// A copy of the command where every user can start it.
struct Reachable(std::path::PathBuf);

impl Reachable {
    /// By another process: a file that this one has open for writing may be inherited, for a moment, by a child that
    /// another test starts, and then it cannot be executed (ETXTBSY).
    fn copy() -> Self {
        let path = std::env::temp_dir().join(format!("duolu-test-{}", std::process::id()));
        let copied =
            Command::new("install").args(["-m", "755"]).arg(duolu().get_program()).arg(&path).status();
        assert!(copied.unwrap().success());
        Reachable(path)
    }
}

impl Drop for Reachable {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
