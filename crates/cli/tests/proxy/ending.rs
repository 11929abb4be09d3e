//! How a proxy ends, and what it tells.

use crate::kit::{read_all, read_exactly, through};
use crate::server::eventually;
use rustix::process::Signal;
use std::io::Write;
use std::net::Shutdown;
use std::time::{Duration, Instant};

crate::for_each_form!(open_connections_finish_and_nobody_else_comes);

fn open_connections_finish_and_nobody_else_comes(model: &str) {
    let mut it = through(model, &["--drain", "19s"]);
    it.client.write_all(b"before").unwrap();
    read_exactly(&it.upstream, b"before");
    it.proxy.signal(Signal::TERM);
    eventually("it lets nobody in", || it.proxy.stderr().contains("no new connections").then_some(()));
    it.client.write_all(b"meanwhile").unwrap();
    read_exactly(&it.upstream, b"meanwhile");
    it.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&it.upstream), (vec![], false));
    it.upstream.write_all(b"good bye").unwrap();
    drop(it.upstream);
    assert_eq!(read_all(&it.client), (b"good bye".to_vec(), false));
    assert_eq!(it.proxy.exit_code(), Some(0));
    let said = it.proxy.stderr();
    assert!(!said.contains("cut now"), "{said}");
    let sums = "proxy: connections open 0, connections accepted 1, connections closed 1, received bytes 15, sent bytes 8";
    assert!(said.contains(sums), "{said}");
}

#[test]
fn what_takes_too_long_is_cut() {
    let mut it = through("epoll-lt", &["--drain", "200ms"]);
    it.proxy.signal(Signal::TERM);
    assert_eq!(it.proxy.exit_code(), Some(0));
    assert!(
        it.proxy.stderr().contains("1 connection was not done after 200ms, cut now"),
        "{}",
        it.proxy.stderr()
    );
    let _ = read_all(&it.client);
}

#[test]
fn a_second_sigint_ends_it_now() {
    let mut it = through("epoll-lt", &["--drain", "60s"]);
    it.proxy.signal(Signal::INT);
    eventually("it lets nobody in", || it.proxy.stderr().contains("no new connections").then_some(()));
    let start = Instant::now();
    it.proxy.signal(Signal::INT);
    assert_eq!(it.proxy.exit_code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(15));
}

#[test]
fn sigusr1_tells_the_counters() {
    let mut it = through("epoll-lt", &["-q"]);
    it.client.write_all(b"four").unwrap();
    read_exactly(&it.upstream, b"four");
    it.proxy.signal(Signal::USR1);
    let words = "connections open 1, connections accepted 1, received bytes 4";
    eventually("it tells", || it.proxy.stderr().contains(words).then_some(()));
}

#[test]
fn processes_share_the_work_and_end_together() {
    let mut it = through("epoll-lt", &["--processes", "--workers", "2", "--drain", "19s"]);
    assert_eq!(it.proxy.ready["processes"], true);
    let more: Vec<_> = (0..20).map(|_| it.another()).collect();
    for (mut client, upstream) in more {
        client.write_all(b"hello").unwrap();
        read_exactly(&upstream, b"hello");
    }
    it.proxy.signal(Signal::TERM);
    drop((it.client, it.upstream));
    assert_eq!(it.proxy.exit_code(), Some(0));
}

#[test]
fn the_help_of_serve_has_what_a_proxy_takes() {
    let output = crate::server::duolu().args(["serve", "--help"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for option in [
        "Options of proxy",
        "--to <HOST:PORT>",
        "--proxy-in",
        "--proxy-out",
        "--idle",
        "--connect-timeout",
        "--rate <SIZE>",
        "--rate-total <SIZE>",
        "--buffer",
        "--listen",
        "SIGUSR1",
    ] {
        assert!(text.contains(option), "{option} is missing: {text}");
    }
}
