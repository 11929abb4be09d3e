//! Bytes: every size, every mixture of what a kernel may refuse, nothing lost and nothing mixed up.

use crate::server::{Policy, Server};
use crate::{SECOND_NS, exchange, mixtures, pair, pattern, skipped, uring};
use duolu_core::completion::Completion;
use duolu_sys::completion::Config;
use std::io::{Read, Write};

#[test]
fn echoes_every_size_on_every_mixture() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        for policy in [Policy::Echo, Policy::Copy] {
            let server = Server::with(config.clone(), policy);
            let streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
            let mut bytes = 0;
            for len in [1, 2, 63, 64, 4095, 4096, 4097, 16_384, 65_536, 100_001, 1 << 20] {
                for (seed, stream) in streams.iter().enumerate() {
                    exchange(stream, &pattern(seed + len, len));
                    bytes += len as u64;
                }
            }
            drop(streams);
            server.until_empty();
            let (counters, left) = server.stop();
            assert_eq!((counters.received_bytes, left), (bytes, 0), "{name}");
            assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
        }
    }
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        let streams: Vec<_> = (0..600).map(|_| server.connect()).collect();
        for round in 0..5 {
            for (seed, mut stream) in streams.iter().enumerate() {
                stream.write_all(&pattern(seed + round, 1 + (seed * 37 + round) % 3000)).unwrap();
            }
            for (seed, mut stream) in streams.iter().enumerate() {
                let expected = pattern(seed + round, 1 + (seed * 37 + round) % 3000);
                let mut answer = vec![0; expected.len()];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer == expected, "{name}: connection {seed} got other bytes");
            }
        }
        drop(streams);
        server.until_empty();
        assert_eq!(server.stop().1, 0);
    }
}

#[test]
fn tiny_queues_and_tiny_buffers_lose_nothing() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        // Two entries to submit, four to complete, two buffers of 512 bytes (whole: 32 of 32).
        let tiny = Config {
            submissions: 2,
            completions: 4,
            buffer_bytes: 512,
            first_buffers: 1,
            max_buffers: 2,
            max_held_bytes: 4096,
            ..config
        };
        let server = Server::start(tiny);
        let streams: Vec<_> = (0..100).map(|_| server.connect()).collect();
        for round in 0..3 {
            for (seed, mut stream) in streams.iter().enumerate() {
                stream.write_all(&pattern(seed + round, 3000)).unwrap();
            }
            for (seed, mut stream) in streams.iter().enumerate() {
                let mut answer = vec![0; 3000];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer == pattern(seed + round, 3000), "{name}: connection {seed} got other bytes");
            }
        }
        exchange(&streams[0], &pattern(5, 200_000));
        drop(streams);
        server.until_empty();
        let (counters, _) = server.stop();
        assert!(counters.no_buffers > 0, "{name}: the buffers never ran out, so nothing was tested");
        assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
    }
}

#[test]
fn thousands_of_pieces_in_one_turn_arrive_in_order() {
    if skipped() {
        return;
    }
    for (_, config) in mixtures() {
        let mut uring = uring(config);
        let (conn, mut peer) = pair(&mut uring);
        let mut expected = Vec::new();
        for i in 0..5000u32 {
            let piece = pattern(i as usize, 1 + i as usize % 700);
            uring.send(conn, &piece);
            uring.send_static(conn, b"|");
            expected.extend_from_slice(&piece);
            expected.push(b'|');
        }
        uring.close(conn);
        let reader = std::thread::spawn(move || {
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            answer
        });
        while uring.connections() > 0 {
            uring.wait(Some(SECOND_NS / 10)).unwrap();
            assert_eq!(uring.next_report(), None);
        }
        // The close itself is handed over by the next turn.
        uring.wait(Some(0)).unwrap();
        assert!(reader.join().unwrap() == expected);
    }
}
