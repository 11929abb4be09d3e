//! Bytes there and back: every model, several connections, nothing lost, nothing changed.

use crate::server::{Server, can_run};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

crate::for_each_model!(echoes_all_sizes, loses_nothing_after_a_half_close, survives_rude_peers);

/// Bytes that repeat late, so that a piece in the wrong place shows.
fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 56) as u8
    })
    .take(bytes)
    .collect()
}

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
    const BYTES: usize = 3 << 20; // more than the buffers of both sides hold
    let server = Server::start("echo", model, &[]);
    let stream = server.connect();
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

#[test]
fn the_slow_peer_of_an_edge_loop_does_not_stop_the_fast_one() {
    let server = Server::start("echo", "epoll-et", &[]);
    let slow = server.connect();
    slow.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    // Until the buffers of both sides are full: its echoes are not read.
    while { &slow }.write_all(&[0; 65_536]).is_ok() {}
    exchange(&server.connect(), &pattern(1 << 20, 3));
}
