//! Messages: whole, in order, in batches, and what inside a callback may be done.

use crate::stage::{Told, pattern};
use duolu::datagram::SendRefused;
use duolu::{DatagramEvent, DatagramOptions};
use std::cell::Cell;
use std::rc::Rc;

scenarios! {
    fn every_message_comes_back_in_order(s) {
        let (_, server) = s.echo(1);
        let (client, _) = s.listen(2);
        let messages: Vec<Vec<u8>> = (0..40).map(|at| pattern(at * 37)).collect();
        for some in messages.chunks(5) {
            s.with(client, |socket| some.iter().for_each(|m| socket.send_to(server, m).expect("room")));
            let before = s.received(2).len();
            s.until("echoes", |s| s.received(2).len() == before + some.len());
        }
        assert!(s.received(2) == messages);
        let stats = s.with(client, |socket| socket.stats());
        assert_eq!((stats.sent, stats.received, stats.truncated), (40, 40, 0));
    }

    fn what_is_too_long_for_its_place_is_cut_and_told(s) {
        let full = Rc::new(Cell::new((0, false)));
        let seen = Rc::clone(&full);
        let (id, address) = s.serve(1, DatagramOptions::new().batch(3, 10), move |_, _, event| {
            if let DatagramEvent::Received(mut batch) = event {
                let message = batch.next().expect("one at least");
                seen.set((message.full_len(), message.is_truncated()));
            }
        });
        let (client, _) = s.listen(2);
        for (bytes, truncated) in [(10, false), (11, true), (5000, true), (0, false)] {
            s.with(client, |socket| socket.send_to(address, &pattern(bytes)).expect("room"));
            let before = s.received(1).len();
            s.until("a message", |s| s.received(1).len() > before);
            assert_eq!(full.get(), (bytes, truncated));
            assert!(*s.received(1).last().expect("one") == pattern(bytes.min(10)));
        }
        assert_eq!(s.with(id, |socket| socket.stats()).truncated, 2);
    }

    /// A flood does not keep others waiting: so many batches a turn.
    fn a_turn_takes_a_bounded_number(s) {
        let options = DatagramOptions::new().batch(2, 100).batches_a_turn(2);
        let in_turn = Rc::new(Cell::new(0));
        let (count, batches) = (Rc::clone(&in_turn), Rc::new(Cell::new(0)));
        let largest = Rc::clone(&batches);
        let (_, address) = s.serve(1, options, move |_, _, event| {
            if let DatagramEvent::Received(batch) = event {
                largest.set(batch.len().max(largest.get()));
                count.set(count.get() + batch.len());
            }
        });
        // No more than a Unix socket keeps for its reader.
        let (sender, _) = s.socket();
        let to = address;
        let client = s.adopt(sender, 2, DatagramOptions::new(), |_, _, _| {});
        s.with(client, |socket| (0..10).for_each(|at| socket.send_to(to, &[at]).expect("room")));
        let mut turns = 0;
        s.until("all of them", |s| {
            assert!(in_turn.replace(0) <= 4, "{:?}", s.world);
            turns += 1;
            s.received(1).len() == 10
        });
        assert!(turns >= 3 && batches.get() == 2, "{turns}");
    }

    fn segments_are_messages_of_that_size(s) {
        // A Unix socket keeps ten messages for its reader: the rest waits here, and its turn comes.
        let (_, address) = s.listen(1);
        let (client, _) = s.listen(2);
        let bytes = pattern(64 * 500 - 7);
        s.with(client, |socket| {
            assert_eq!(socket.send_segments(address, &bytes, 0), Err(SendRefused::BadSegment));
            socket.send_segments(address, &bytes, 500).expect("room");
        });
        s.until("all segments", |s| s.received(1).len() == 64);
        assert!(s.received(1).iter().map(Vec::as_slice).eq(bytes.chunks(500)));
        s.quiet();
        assert_eq!(s.with(client, |socket| (socket.stats().sent, socket.unsent())), (64, 0));
    }

    fn connected_sockets_need_no_address(s) {
        let (_, server) = s.echo(1);
        let (mut socket, _) = s.socket();
        socket.connect(server);
        let client = s.adopt(socket, 2, DatagramOptions::new(), |_, _, _| {});
        s.with(client, |socket| socket.send(b"who am I?").expect("room"));
        s.until("an echo", |s| s.received(2) == [b"who am I?"]);
    }

    fn a_paused_socket_does_not_receive(s) {
        let (server, address) = s.listen(1);
        let (client, _) = s.listen(2);
        s.with(server, |socket| socket.pause());
        s.with(client, |socket| socket.send_to(address, b"later").expect("room"));
        s.quiet();
        s.with(server, |socket| socket.resume());
        s.until("the message", |s| s.received(1) == [b"later"]);
    }

    fn closing_sends_what_waits(s) {
        let (_, address) = s.listen(1);
        let (client, _) = s.listen(2);
        s.with(client, |socket| {
            (0..30).for_each(|at| socket.send_to(address, &[at]).expect("room"));
            socket.close();
            assert_eq!(socket.send_to(address, b"more"), Err(SendRefused::Closed));
        });
        s.until("all of them", |s| s.received(1).len() == 30);
        s.until("it is gone", |s| !s.event_loop.exists(client));
    }

    fn a_socket_may_be_removed_inside_its_own_callback(s) {
        let (id, address) = s.serve(1, DatagramOptions::new().batch(1, 100), |ctx, socket, event| {
            assert!(matches!(event, DatagramEvent::Received(_)));
            let id = socket.id();
            assert!(ctx.with_datagrams(id, |_, _| ()).is_none(), "it has it already");
            assert!(ctx.remove(id));
            let _ = socket.send(b"into the void");
        });
        let (client, _) = s.listen(2);
        s.with(client, |socket| (0..3).for_each(|at| socket.send_to(address, &[at]).expect("room")));
        s.until("it is gone", |s| !s.event_loop.exists(id));
        s.turn();
        assert_eq!(s.told(1), [Told::Received(vec![0])]);
        assert!(s.event_loop.with_datagrams(id, |_, _| ()).is_none());
    }

    /// The batch lies in memory that all sockets of the loop share: it is the handler's as long as it runs.
    fn a_handler_may_work_on_another_socket(s) {
        let (second, second_address) = s.listen(2);
        let (_, third_address) = s.listen(3);
        let (_, address) = s.serve(1, DatagramOptions::new(), move |ctx, _, event| {
            if let DatagramEvent::Received(batch) = event {
                let sent = ctx.with_datagrams(second, |_, socket| {
                    batch.for_each(|message| socket.send_to(third_address, message.bytes()).expect("room"));
                });
                sent.expect("it is there");
            }
        });
        let _ = second_address;
        let (client, _) = s.listen(4);
        s.with(client, |socket| (0..5).for_each(|at| socket.send_to(address, &[at; 9]).expect("room")));
        s.until("all of them", |s| s.received(3).len() == 5);
        assert_eq!(s.received(3), (0..5).map(|at| vec![at; 9]).collect::<Vec<_>>());
    }
}
