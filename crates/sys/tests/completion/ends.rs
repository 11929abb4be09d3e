//! Ends: half-close, reset, stale names.

use crate::server::Server;
use crate::{exchange, mixtures, next, pair, pattern, reset, skipped, uring};
use duolu_core::completion::{Completion, Report};
use duolu_sys::completion::Config;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

#[test]
fn half_close_gets_everything_then_the_end() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        for len in [0, 1, 5000, 3 << 20, 30 << 20] {
            let mut stream = server.connect();
            let message = pattern(3, len);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (&stream).write_all(&message).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                // Late, so that the output outlives the peer's FIN.
                std::thread::sleep(Duration::from_millis(if len > 5000 { 200 } else { 0 }));
                let mut answer = Vec::new();
                (&stream).read_to_end(&mut answer).unwrap();
                assert!(answer == message, "{name}: {} of {len} bytes", answer.len());
            });
            stream.flush().unwrap();
        }
        server.until_empty();
    }
}

#[test]
fn resets_in_the_middle_of_it_end_the_connection_only() {
    if skipped() {
        return;
    }
    for (_, config) in mixtures() {
        let server = Server::start(config);
        let steady = server.connect();
        for round in 0..200 {
            let stream = server.connect();
            if round % 3 > 0 {
                (&stream).write_all(&pattern(round, 20_000)).unwrap();
            }
            if round % 3 == 2 {
                (&stream).read_exact(&mut [0; 10]).unwrap();
            }
            reset(stream);
        }
        exchange(&steady, &pattern(1, 10_000));
        drop(steady);
        server.until_empty();
        let (counters, left) = server.stop();
        assert_eq!((counters.accepted, counters.closed, left), (201, 201, 0));
    }
}

#[test]
fn stale_ids_and_stale_chunks_reach_nobody() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (old, mut peer) = pair(&mut uring);
    uring.receive(old);
    peer.write_all(b"first").unwrap();
    let Report::Received { conn, chunk } = next(&mut uring) else { panic!("no bytes") };
    assert_eq!((conn, uring.bytes(chunk)), (old, &b"first"[..]));
    let made_up = duolu_core::completion::Chunk::new(chunk.turn(), chunk.start() + 1, 5);
    assert_eq!(uring.bytes(made_up), b"", "only what is lent is shown");
    uring.send_chunk(old, chunk.part(1..3));
    uring.wait(Some(0)).unwrap();
    assert_eq!(uring.bytes(chunk), b"", "the turn is over");
    uring.send_chunk(old, chunk);
    uring.wait(Some(0)).unwrap();
    uring.cancel(old);
    uring.wait(Some(0)).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"ir");

    let (new, mut peer) = pair(&mut uring);
    assert_eq!((new.slot(), new.generation()), (old.slot(), old.generation() + 1), "the slot is used again");
    uring.send(old, b"for nobody");
    uring.shutdown(old);
    uring.close(old);
    uring.cancel(old);
    uring.send(new, b"for you");
    uring.close(new);
    uring.wait(Some(0)).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"for you");
    assert_eq!(uring.next_report(), None);
}

#[test]
fn shutdown_sends_the_end_and_still_receives() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (conn, mut peer) = pair(&mut uring);
    uring.receive(conn);
    let body: &'static [u8] = pattern(4, 24 << 20).leak();
    uring.send_static(conn, body);
    uring.shutdown(conn);
    uring.wait(Some(0)).unwrap();
    assert!(uring.pending_bytes(conn) > 0, "24 MiB do not fit into two sockets");
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        peer.write_all(b"thanks").unwrap();
        answer
    });
    let mut drained = false;
    loop {
        match next(&mut uring) {
            Report::Drained { .. } => drained = true,
            Report::Received { chunk, .. } => {
                assert_eq!(uring.bytes(chunk), b"thanks");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(drained);
    assert!(reader.join().unwrap() == body);
    assert_eq!(next(&mut uring), Report::PeerFinished { conn });
}
