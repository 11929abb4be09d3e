//! Room: what waits is bounded, nothing is lost silently, and waiting does not spin.

use crate::stage::Told;
use duolu::DatagramOptions;
use duolu::datagram::{Address, SendRefused};
use std::time::Duration;

/// A reader that does not read yet, and how often the queue took something for it until it was full. `None`: this kind of
/// socket loses what its reader does not take.
fn fill(s: &mut Stage, connected: bool) -> Option<(crate::stage::Socket, duolu::EventId, u32, Address)> {
    if let Some(sim) = &s.sim {
        sim.kernel().datagrams.leaving_ns = 20_000_000;
    } else if !s.is_unix() {
        return None;
    }
    let (reader, to) = s.socket();
    let (mut socket, _) = s.socket();
    if connected {
        socket.connect(to);
    }
    let to = if connected { Address::Unnamed } else { to };
    let client = s.adopt(socket, 1, DatagramOptions::new().send_limit(50, 10_000), |_, _, _| {});
    let mut sent = 0u32;
    s.with(client, |socket| {
        while socket.send_to(to, &sent.to_ne_bytes()) == Ok(()) {
            sent += 1;
        }
        assert_eq!(socket.send_to(to, b"one more"), Err(SendRefused::Full));
        assert_eq!((socket.unsent(), socket.stats().refused), (50, 2));
        assert_eq!(socket.send_to(to, &[0; 10_001]), Err(SendRefused::TooBig { most: 10_000 }));
    });
    assert!(sent > 50);
    Some((reader, client, sent, to))
}

fn drain(s: &mut Stage, reader: &crate::stage::Socket, client: duolu::EventId, sent: u32) {
    let mut received = Vec::new();
    s.until("all that was taken", |s| {
        while let Some(message) = reader.receive_one() {
            received.push(u32::from_ne_bytes(message.try_into().expect("four bytes")));
        }
        s.with(client, |socket| socket.unsent()) == 0 && received.len() == sent as usize
    });
    assert_eq!(received, (0..sent).collect::<Vec<_>>());
    s.until("Writable", |s| s.told(1) == [Told::Writable]);
    s.quiet();
}

scenarios! {
    fn a_full_queue_says_so_and_goes_on_later(s) {
        if let Some((reader, client, sent, _)) = fill(s, true) {
            drain(s, &reader, client, sent);
        }
    }

    /// An unconnected Unix socket calls itself writable though its peer's queue is full.
    fn without_a_connection_too(s) {
        if let Some((reader, client, sent, _)) = fill(s, false) {
            drain(s, &reader, client, sent);
        }
    }

    fn waiting_for_room_does_not_spin(s) {
        for connected in [true, false] {
            if let Some((_reader, _, _, _)) = fill(s, connected)
                && s.is_unix()
            {
                let before = s.event_loop.stats().turns;
                let end = std::time::Instant::now() + Duration::from_millis(60);
                while std::time::Instant::now() < end {
                    s.event_loop.run_for(Duration::from_millis(20)).expect("a turn");
                }
                // 1, 2, 4, 8, 16, 32 ms; and the turns that the limit ends.
                let turns = s.event_loop.stats().turns - before;
                assert!(turns <= 40, "{turns} turns");
            }
        }
    }

    fn closing_waits_for_room(s) {
        if let Some((reader, client, sent, _)) = fill(s, true) {
            s.with(client, |socket| socket.close());
            s.turn();
            assert!(s.event_loop.exists(client));
            let mut received = 0;
            s.until("it is gone", |s| {
                received += std::iter::from_fn(|| reader.receive_one()).count();
                !s.event_loop.exists(client)
            });
            s.until("the last", |_| {
                received += std::iter::from_fn(|| reader.receive_one()).count();
                received == sent as usize
            });
            assert_eq!(s.told(1), [], "nothing is told after close");
        }
    }
}
