//! Bytes there and back: every model, several connections, nothing lost, nothing changed.

use crate::pattern::pattern;
use crate::server::{Server, can_run, eventually};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

crate::for_each_model!(
    echoes_all_sizes,
    loses_nothing_after_a_half_close,
    survives_rude_peers,
    a_peer_that_does_not_read_holds_up_only_itself,
);

/// Sends and receives at the same time, as a peer must whose message is larger than the buffers on the way.
fn exchange(stream: &TcpStream, sent: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| { stream }.write_all(sent).expect("send"));
        let mut received = vec![0; sent.len()];
        { stream }.read_exact(&mut received).expect("receive");
        assert!(received == sent, "{} bytes came back changed", sent.len());
    });
}

fn echoes_all_sizes(model: &str) {
    let server = Server::start("echo", model, &[]);
    assert_eq!(server.ready["model"], model);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let stream = server.connect();
            scope.spawn(move || {
                for size in [1, 2, 100, 4096, 65_535, 65_536, 65_537, 1 << 20] {
                    exchange(&stream, &pattern(size, number));
                }
            });
        }
    });
}

fn loses_nothing_after_a_half_close(model: &str) {
    // More than all buffers on the way hold (tcp_wmem's most is 4 MiB), so that the server has to wait more than once.
    const BYTES: usize = 12 << 20;
    let server = Server::start("echo", model, &[]);
    let stream = server.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, 65_536).unwrap();
    let sent = pattern(BYTES, 7);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            { &stream }.write_all(&sent).expect("send");
            stream.shutdown(Shutdown::Write).expect("half-close");
        });
        // The server meets a peer that does not read, then one that reads, then its end.
        std::thread::sleep(Duration::from_millis(100));
        let mut received = Vec::new();
        { &stream }.read_to_end(&mut received).expect("receive to the end");
        assert!(received == sent, "{} of {BYTES} bytes came back", received.len());
    });
    // And one whose end comes together with its bytes.
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(b"short").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"short");
    }
}

/// Peers that leave in bad ways harm nobody but themselves.
fn survives_rude_peers(model: &str) {
    let server = Server::start("echo", model, &["--admin", "0"]);
    for _ in 0..5 {
        drop(server.connect()); // without a word
        let mut unread = server.connect();
        unread.write_all(&pattern(300_000, 1)).unwrap();
        drop(unread); // with unread echoes: a reset
    }
    crate::server::eventually("only the good connection is open", || {
        let mut good = server.connect();
        good.write_all(b"still there?").unwrap();
        let mut answer = [0; 12];
        good.read_exact(&mut answer).unwrap();
        let metrics = crate::surroundings::fetch(server.admin(), "/metrics").1;
        metrics.contains("\nduolu_connections_open 1\n").then_some(())
    });
}

#[test]
fn workers_share_the_work_however_they_accept() {
    for (model, accept) in [
        ("epoll-et", "shared"),
        ("epoll-lt", "exclusive"),
        ("epoll-et", "exclusive"),
        ("poll", "shared"),
        ("select", "reuseport"),
        ("epoll-oneshot", "reuseport"),
        ("io_uring-poll", "shared"),
        ("io_uring", "shared"),
        ("io_uring", "reuseport"),
    ] {
        if !can_run(model) {
            continue;
        }
        let server = Server::start("echo", model, &["--workers", "3", "--accept", accept]);
        assert_eq!(
            (server.ready["workers"].as_u64(), server.ready["accept"].as_str()),
            (Some(3), Some(accept))
        );
        let streams: Vec<TcpStream> = (0..30).map(|_| server.connect()).collect();
        for (number, stream) in streams.iter().enumerate() {
            exchange(stream, &pattern(1000, number as u64));
        }
    }
}

/// A peer that sends and does not read holds up itself only: nothing spins, nothing grows, others are served.
fn a_peer_that_does_not_read_holds_up_only_itself(model: &str) {
    let server = Server::start("echo", model, &[]);
    let deaf = server.connect();
    deaf.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&deaf, 65_536).unwrap();
    // Until the buffers of both sides are full, unread bytes at the server among them.
    while { &deaf }.write_all(&[0; 65_536]).is_ok() {}
    let ticks = || crate::limits::cpu_ticks(server.pid());
    // A slow machine may still have been filling them; one that spins never rests.
    eventually("it rests", || {
        let before = ticks();
        std::thread::sleep(Duration::from_millis(100));
        (ticks() == before).then_some(())
    });
    let before = ticks();
    std::thread::sleep(Duration::from_millis(500));
    let ticks = ticks() - before;
    assert!(ticks <= 10, "{ticks} ticks of 10 ms in half a second of nothing to do: it spins");
    exchange(&server.connect(), &pattern(1 << 20, 3));
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kib: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(resident_kib < 64 * 1024, "{resident_kib} KiB resident: it keeps what nobody reads");
}
