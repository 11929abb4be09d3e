//! Bounds: a peer that never reads, one that floods, full tables, descriptors and buffers given back.

use crate::server::Server;
use crate::{PATIENCE, SECOND_NS, exchange, mixtures, next, pair, pattern, skipped, uring};
use duolu_core::completion::{Completion, Report};
use duolu_sys::completion::{Config, Uring};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

#[test]
fn a_peer_that_never_reads_is_bounded_and_harms_nobody() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let limit = config.max_held_bytes;
        let lent = config.buffer_bytes as usize * usize::from(config.max_buffers);
        let server = Server::start(config);
        let greedy = server.connect();
        greedy.set_nonblocking(true).unwrap();
        // Until everybody's buffers are full: what we still get rid of is what the server still takes.
        let (mut sent, message) = (0usize, pattern(1, 1 << 16));
        let (start, mut quiet_since) = (Instant::now(), Instant::now());
        while quiet_since.elapsed() < Duration::from_millis(500) && start.elapsed() < PATIENCE {
            let from = sent % message.len();
            match (&greedy).write(&message[from..]) {
                Ok(n) => (sent, quiet_since) = (sent + n, Instant::now()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => panic!("{name}: {e}"),
            }
        }
        assert!(start.elapsed() < PATIENCE, "{name}: the server takes bytes without end");
        // The server's thread tells when it is woken.
        while server.watched.pauses.load(Ordering::Acquire) == 0 {
            assert!(start.elapsed() < PATIENCE, "{name}: never paused");
            server.waker.wake();
            std::thread::sleep(Duration::from_millis(5));
        }
        let pending = server.watched.most_pending.load(Ordering::Acquire);
        assert!(pending > 0 && pending <= limit + lent, "{name}: {pending} bytes held back");
        exchange(&server.connect(), b"somebody else");
        // Now it reads after all, slowly at first, and gets every byte.
        greedy.set_nonblocking(false).unwrap();
        let (mut got, mut part) = (0, vec![0; 1000]);
        while got < sent {
            let n = (&greedy).read(&mut part).unwrap();
            assert!(n > 0, "{name}: closed after {got} of {sent}");
            for &byte in &part[..n] {
                assert!(byte == message[got % message.len()], "{name}: byte {got} is wrong");
                got += 1;
            }
            if got < 20_000 {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                part.resize(100_000, 0);
            }
        }
        exchange(&greedy, &pattern(9, 300_000));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn churn_leaves_no_connection_and_no_buffer_behind() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        for i in 0..2000 {
            let mut stream = server.connect();
            if i % 4 > 0 {
                stream.write_all(b"one request").unwrap();
            }
            if i % 4 > 1 {
                let mut answer = [0; 11];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"one request");
            }
        }
        server.until_empty();
        let (counters, left) = server.stop();
        assert_eq!((counters.accepted, counters.closed, left), (2000, 2000, 0), "{name}");
        assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
    }
}

#[test]
fn a_ring_may_be_dropped_with_traffic_in_flight() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        for round in 0..40 {
            let server = Server::start(config.clone());
            let streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
            std::thread::scope(|scope| {
                for stream in &streams {
                    scope.spawn(move || {
                        // Until the server is gone, one way or the other.
                        let message = pattern(round, 50_000);
                        while (&mut &*stream).write_all(&message).is_ok() {}
                    });
                    scope.spawn(move || while (&mut &*stream).read(&mut [0; 10_000]).is_ok_and(|n| n > 0) {});
                }
                std::thread::sleep(Duration::from_millis(round as u64 % 7));
                let (_, left) = server.stop();
                assert!(left <= 10, "{name}");
            });
        }
    }
}

#[test]
fn a_full_table_makes_them_wait_not_fail() {
    if skipped() {
        return;
    }
    let server = Server::start(Config { connections: 8, ..Config::default() });
    // All are in the listen queue; 8 are served, the others as soon as there is a place.
    let mut streams: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
    }
    for mut stream in streams {
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
    server.until_empty();
    assert_eq!(server.stop().0.accepted, 40);
}

#[test]
fn a_wait_ends_at_its_time_and_costs_one_call() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (conn, mut peer) = pair(&mut uring);
    uring.receive(conn);
    uring.wait(Some(0)).unwrap();
    let start = Instant::now();
    uring.wait(Some(30_000_000)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(uring.next_report(), None);
    let before = uring.counters();
    for _ in 0..100 {
        peer.write_all(b"ping").unwrap();
        let Report::Received { chunk, .. } = next(&mut uring) else { panic!("no bytes") };
        uring.send_chunk(conn, chunk);
        uring.wait(Some(0)).unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
    }
    let after = uring.counters();
    assert_eq!(after.enters - before.enters, after.waits - before.waits, "one system call a turn");
}

#[test]
fn dropping_a_ring_gives_back_its_descriptors() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        // Other tests open descriptors in this process at the same time: look for our own.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut uring = uring(config);
        uring.listen(OwnedFd::from(listener)).unwrap();
        let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        for _ in 0..20 {
            let Report::Accepted { conn, .. } = next(&mut uring) else { panic!("nobody came") };
            uring.receive(conn);
        }
        drop(uring);
        assert!(open_descriptors() > 0);
        for peer in &mut peers {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            // A ring without DEFER_TASKRUN interrupts its thread's system calls (EINTR): read again then.
            let mut rest = Vec::new();
            assert_eq!(peer.read_to_end(&mut rest).unwrap(), 0, "{name}: still open");
        }
        let start = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "{name}: still listening");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn rings_on_one_listener_take_turns() {
    if skipped() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let stop = Arc::new(AtomicBool::new(false));
    let armed = Arc::new(Barrier::new(4));
    let rings: Vec<_> = (0..3)
        .map(|index| {
            let (counts, stop, armed) = (counts.clone(), stop.clone(), armed.clone());
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut uring = uring(Config { accept_in_turn: true, ..Config::default() });
                uring.listen(OwnedFd::from(listener)).unwrap();
                uring.wait(Some(0)).unwrap();
                armed.wait();
                while !stop.load(Ordering::Acquire) {
                    uring.wait(Some(SECOND_NS / 50)).unwrap();
                    while let Some(report) = uring.next_report() {
                        let Report::Accepted { conn, .. } = report else { panic!("{report:?}") };
                        counts[index].fetch_add(1, Ordering::AcqRel);
                        uring.send(conn, b"!");
                    }
                }
            })
        })
        .collect();
    // One after the other, so that the rings are asleep and it is the kernel that chooses.
    armed.wait();
    let mut peers = Vec::new();
    for _ in 0..60 {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.read_exact(&mut [0]).unwrap();
        peers.push(peer);
    }
    stop.store(true, Ordering::Release);
    for ring in rings {
        ring.join().unwrap();
    }
    let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::Acquire)).collect();
    assert!(counts.iter().all(|&count| count >= 4), "one ring gets them all: {counts:?}");
}

#[test]
fn who_floods_gets_one_buffer_a_turn_and_is_paused_with_little_more() {
    if skipped() {
        return;
    }
    let config = Config::default();
    let (limit, buffer) = (config.max_held_bytes, config.buffer_bytes as usize);
    let mut uring = uring(config);
    let (conn, peer) = pair(&mut uring);
    uring.receive(conn);
    peer.set_nonblocking(true).unwrap();
    let (message, start) = (pattern(1, 1 << 16), Instant::now());
    // As much as the sockets hold, then one turn.
    let turn = |uring: &mut Uring, echo: bool| {
        while (&peer).write(&message).is_ok() {}
        uring.wait(Some(SECOND_NS / 20)).unwrap();
        let mut bytes = 0;
        while let Some(report) = uring.next_report() {
            let Report::Received { chunk, .. } = report else { continue };
            bytes += chunk.len() as usize;
            if echo {
                uring.send_chunk(conn, chunk);
            }
        }
        bytes
    };
    // A multishot receive takes several buffers in one go; nothing says when it will do so first.
    while turn(&mut uring, false) <= 256 * 1024 {
        assert!(start.elapsed() < PATIENCE, "there never was much in one turn, so nothing was tested");
    }
    // What was under way when that was noticed.
    turn(&mut uring, false);
    for _ in 0..50 {
        let bytes = turn(&mut uring, false);
        assert!(bytes <= buffer, "{bytes} in one turn");
    }
    let mut quiet = 0;
    while quiet < 5 {
        quiet = if turn(&mut uring, true) == 0 { quiet + 1 } else { 0 };
        assert!(start.elapsed() < PATIENCE, "never paused");
    }
    let pending = uring.pending_bytes(conn);
    assert!(pending > limit && pending <= limit + 2 * buffer, "{pending} bytes held back");
}
