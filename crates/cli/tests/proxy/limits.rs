//! A proxy at its limits: descriptors, connections, time, rate.

use crate::kit::{COPIED, accept, proxy, read_all, read_exactly, through, upstream};
use crate::server::{PATIENCE, Server, connect, duolu, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

/// User and system time of a process, in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Sixty clients want in where there are descriptors for some twenty: the others wait, nothing spins, and whoever waits
/// gets in when others go.
#[test]
fn out_of_descriptors_it_rests_and_goes_on() {
    let echo = Server::start("echo", "epoll-lt", &[]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(duolu().get_program());
    let to = echo.address.to_string();
    command.args(["serve", "proxy", "--port", "0", "--to", &to, "--connect-timeout", "60s"]);
    let proxy = Server::spawn(&mut command);
    let mut streams: Vec<TcpStream> = (0..60).map(|_| connect(proxy.address)).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
    }
    let words = ["cannot accept", "cannot connect: "];
    eventually("it says so", || words.iter().any(|words| proxy.stderr().contains(words)).then_some(()));
    let (before, start) = (cpu_ticks(proxy.pid()), Instant::now());
    std::thread::sleep(Duration::from_millis(1200));
    let (ticks, took) = (cpu_ticks(proxy.pid()) - before, start.elapsed());
    assert!(ticks <= 10, "{ticks} ticks of 10 ms in {took:?}: it spins");
    // One after the other: whoever is answered makes room for the next.
    while !streams.is_empty() {
        let answered = eventually("somebody is answered", || {
            streams.iter().position(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                matches!(stream.read(&mut [0]), Ok(1))
            })
        });
        streams.remove(answered);
    }
}

#[test]
fn connections_over_the_maximum_are_closed_at_once() {
    let it = through("epoll-lt", &["--max-connections", "1"]);
    assert!(read_all(&connect(it.proxy.address)).0.is_empty());
    (&it.client).write_all(b"still here").unwrap();
    read_exactly(&it.upstream, b"still here");
}

#[test]
fn what_is_idle_is_closed_and_what_moves_is_not() {
    idle_and_busy("epoll-lt");
}

#[test]
fn what_is_idle_is_closed_and_what_moves_is_not_through_memory() {
    idle_and_busy(&format!("epoll-lt{COPIED}"));
}

fn idle_and_busy(form: &str) {
    let it = through(form, &["--idle", "2s"]);
    let start = Instant::now();
    let (busy, other) = it.another();
    // One way only: the other way's silence does not count against it.
    while start.elapsed() < Duration::from_millis(4500) {
        (&busy).write_all(b".").unwrap();
        read_exactly(&other, b".");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(read_all(&it.client), (vec![], false));
    assert_eq!(read_all(&it.upstream), (vec![], false));
    drop(busy);
}

/// A peer that takes nothing is idle too, and what it did not take is not passed off as all: joined or not.
#[test]
fn a_reader_that_never_reads_is_cut_when_idle() {
    for form in ["epoll-lt", &format!("epoll-lt{COPIED}")] {
        // Longer than this machine stands still between the connection and its first byte.
        let it = through(form, &["--idle", "2s"]);
        it.client.set_nonblocking(true).unwrap();
        let piece = vec![7; 1 << 20];
        let mut sent = 0;
        let start = Instant::now();
        let error = loop {
            match (&it.client).write(&piece) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                Err(error) => break error,
            }
            assert!(start.elapsed() < PATIENCE, "{form}: it is never cut");
        };
        assert!(
            matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe),
            "{form}: {error}"
        );
        let (got, cut) = read_all(&it.upstream);
        assert!(cut && got.len() < sent, "{form}: {} of {sent} bytes, and told so: {cut}", got.len());
        it.proxy.signal(rustix::process::Signal::USR1);
        it.proxy.has_said("idle closed 1");
    }
}

#[test]
fn a_connection_goes_no_faster_than_its_rate() {
    let (listener, to) = upstream();
    let proxy = proxy("epoll-lt", &["--to", &to, "--rate", "200KiB"]);
    let client = connect(proxy.address);
    let upstream = accept(&listener);
    let start = Instant::now();
    // 20 KiB at once, the other 280 at the rate: 1.4 seconds; both ways at the same time.
    let bytes = crate::pattern::pattern(300 * 1024, 1);
    std::thread::scope(|scope| {
        for stream in [&client, &upstream] {
            let bytes = &bytes;
            scope.spawn(move || { stream }.write_all(bytes).unwrap());
        }
        let other = scope.spawn(|| read_exactly(&client, &bytes));
        read_exactly(&upstream, &bytes);
        other.join().unwrap();
    });
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1300), "{took:?} for 300 KiB at 200 KiB/s");
}

/// Four connections that could each take all of it: together they go no faster, and none gets much more than another.
#[test]
fn all_connections_together_go_no_faster_than_the_total() {
    const EACH: usize = 100 * 1024;
    let it = through("epoll-lt", &["--rate-total", "200KiB"]);
    let pairs: Vec<_> = (0..4).map(|_| it.another()).collect();
    let bytes = crate::pattern::pattern(EACH, 1);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (client, upstream) in &pairs {
            let bytes = &bytes;
            scope.spawn(move || { client }.write_all(bytes).unwrap());
            scope.spawn(move || read_exactly(upstream, bytes));
        }
    });
    // 400 KiB, of which 20 at once.
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(1700), "{took:?} for 400 KiB at 200 KiB/s");
}
