//! Readiness of descriptors, level-triggered.

use duolu_core::{EventSpec, Interest, Ready, Refused, Timeout};

const READ: Interest = Interest::READ;
const WRITE: Interest = Interest::WRITE;

scenarios! {
    fn bytes_make_readable(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.quiet();
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn level_repeats_until_read(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.write(b, b"xyz");
        for left in [2, 1, 0] {
            assert_eq!(s.turn(), [(event, Ready::READ)]);
            assert_eq!(s.world.read(a, 1).map(|bytes| bytes.len()), Some(1), "{left} left");
        }
        s.quiet();
    }

    fn writable_at_once_and_not_while_full(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, WRITE);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
        s.fill(a);
        s.quiet();
        s.drain(b);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
    }

    fn the_end_is_readable_and_lasts(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.world.close(b);
        for _ in 0..3 {
            assert_eq!(s.turn(), [(event, Ready::READ)]);
        }
        assert_eq!(s.world.read(a, 9), Some(vec![]));
    }

    fn half_closed_is_readable_and_still_writable(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ | WRITE);
        s.write(b, b"last");
        s.world.shutdown_write(b);
        assert_eq!(s.turn(), [(event, Ready::READ | Ready::WRITE)]);
        assert_eq!(s.world.read(a, 9), Some(b"last".to_vec()));
        assert_eq!(s.world.read(a, 9), Some(vec![]));
        s.write(a, b"answer");
        assert_eq!(s.world.read(b, 9), Some(b"answer".to_vec()));
    }

    fn peer_closed_is_told_while_bytes_wait(s) {
        let (a, b) = s.world.stream_pair();
        let spec = EventSpec::fd(a, Interest::PEER_CLOSED);
        if !s.features().peer_closed {
            assert_eq!(s.engine.create(spec), Err(Refused::Unsupported("PEER_CLOSED")));
            return;
        }
        let event = s.add_spec(spec);
        s.write(b, b"x");
        s.quiet();
        s.world.shutdown_write(b);
        assert_eq!(s.turn(), [(event, Ready::PEER_CLOSED)]);
        assert_eq!(s.world.read(a, 9), Some(b"x".to_vec()), "the bytes are still there");
    }

    /// What only some backends tell is refused where nothing else is asked for, and left out beside READ.
    fn urgent_is_asked_for_where_it_is_told(s) {
        let (a, b) = s.world.stream_pair();
        let alone = EventSpec::fd(a, Interest::URGENT);
        if !s.features().exact_edges {
            assert_eq!(s.engine.create(alone), Err(Refused::Unsupported("URGENT")));
        }
        let event = s.watch(a, READ | Interest::URGENT);
        s.quiet();
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)], "and nothing urgent");
        assert_eq!(s.world.read(a, 9), Some(b"x".to_vec()));
        if !s.features().exact_edges {
            assert_eq!(s.engine.set_interest(event, Interest::URGENT), Err(Refused::Unsupported("URGENT")));
        }
    }

    /// Asking for it beside READ is fine everywhere.
    fn peer_closed_beside_read(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ | Interest::PEER_CLOSED);
        s.world.shutdown_write(b);
        let closed = if s.features().peer_closed { Ready::PEER_CLOSED } else { Ready::NONE };
        assert_eq!(s.turn(), [(event, Ready::READ | closed)]);
    }

    fn a_pipes_reader_hears_the_writer_go(s) {
        let (reader, writer) = s.world.pipe();
        let event = s.watch(reader, READ);
        s.quiet();
        s.world.close(writer);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert_eq!(s.world.read(reader, 9), Some(vec![]));
    }

    fn a_pipes_writer_hears_the_reader_go(s) {
        let (reader, writer) = s.world.pipe();
        let event = s.watch(writer, WRITE);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
        s.world.close(reader);
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
    }

    fn a_regular_file_is_always_ready(s) {
        let file = s.world.regular_file();
        let event = s.watch(file, READ | WRITE);
        for _ in 0..3 {
            assert_eq!(s.turn(), [(event, Ready::READ | Ready::WRITE)]);
        }
        s.del(event);
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ | Ready::WRITE)]);
        assert!(s.engine.destroy(event));
        s.world.close(file);
        s.quiet();
    }

    fn removed_is_silent_and_comes_back(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.write(b, b"x");
        s.del(event);
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn added_twice_is_added_once(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.add(event, Timeout::Keep);
        s.write(b, b"x");
        assert_eq!((s.turn(), s.engine.pending_count()), (vec![(event, Ready::READ)], 1));
        s.del(event);
        s.quiet();
        assert!(!s.engine.del(event));
    }

    fn not_persistent_is_told_once(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.add_spec(EventSpec { persist: false, ..EventSpec::fd(a, READ) });
        s.write(b, b"x");
        assert_eq!(s.turn(), [(event, Ready::READ)]);
        assert!(!s.engine.is_pending(event));
        s.quiet();
        s.add(event, Timeout::Keep);
        assert_eq!(s.turn(), [(event, Ready::READ)]);
    }

    fn not_pending_any_more_in_its_own_callback(s) {
        let (a, b) = s.world.stream_pair();
        s.add_spec(EventSpec { persist: false, ..EventSpec::fd(a, READ) });
        s.write(b, b"x");
        let told = s.turn_with(1_000_000, |s, active| assert!(!s.engine.is_pending(active.id)));
        assert_eq!(told.len(), 1);
    }

    fn a_reader_and_a_writer_on_one_descriptor(s) {
        let (a, b) = s.world.stream_pair();
        let reader = s.watch(a, READ);
        let writer = s.watch(a, WRITE);
        assert_eq!(s.turn(), [(writer, Ready::WRITE)]);
        s.write(b, b"x");
        assert_eq!(s.turn_sorted(), [(reader, Ready::READ), (writer, Ready::WRITE)]);
        s.del(writer);
        assert_eq!(s.turn(), [(reader, Ready::READ)]);
        s.drain(a);
        s.quiet();
    }

    fn two_readers_on_one_descriptor_in_the_order_they_were_added(s) {
        let (a, b) = s.world.stream_pair();
        let (one, two) = (s.watch(a, READ), s.watch(a, READ));
        s.write(b, b"x");
        assert_eq!(s.turn(), [(one, Ready::READ), (two, Ready::READ)]);
        s.del(one);
        assert_eq!(s.turn(), [(two, Ready::READ)]);
        s.add(one, Timeout::Keep);
        assert_eq!(s.turn(), [(two, Ready::READ), (one, Ready::READ)]);
    }

    fn interest_changes_from_the_next_poll_on(s) {
        let (a, b) = s.world.stream_pair();
        let event = s.watch(a, READ);
        s.write(b, b"x");
        s.engine.set_interest(event, WRITE).expect("an event on a descriptor");
        assert_eq!(s.turn(), [(event, Ready::WRITE)]);
        s.engine.set_interest(event, READ | WRITE).expect("an event on a descriptor");
        assert_eq!(s.turn(), [(event, Ready::READ | Ready::WRITE)]);
        assert_eq!(s.engine.set_interest(event, Interest::NONE), Err(Refused::NoInterest));
    }

    fn many_descriptors_each_told_once(s) {
        let pairs: Vec<_> = (0..100).map(|_| s.world.stream_pair()).collect();
        let mut events: Vec<_> = pairs.iter().map(|&(a, _)| s.watch(a, READ)).collect();
        s.quiet();
        for &(_, b) in pairs.iter().rev() {
            s.write(b, b"x");
        }
        let mut told: Vec<_> = s.turn_sorted().into_iter().map(|(id, _)| id).collect();
        // Not every backend must give all at once.
        while told.len() < events.len() {
            let more = s.turn();
            told.extend(more.into_iter().map(|(id, _)| id));
            told.sort();
            told.dedup();
        }
        events.sort();
        assert_eq!(told, events);
    }

    fn one_quiet_turn_is_one_wait_and_no_change(s) {
        let (a, _b) = s.world.stream_pair();
        s.watch(a, READ);
        s.quiet();
        let before = s.engine.counters();
        s.turn_with(0, |_, _| {});
        let after = s.engine.counters();
        assert_eq!((after.waits - before.waits, after.changes - before.changes), (1, 0));
    }

    fn what_cannot_be_is_refused_in_words(s) {
        let (a, _b) = s.world.stream_pair();
        let none = s.engine.create(EventSpec::fd(a, Interest::NONE)).expect("known");
        assert_eq!(s.engine.add(none, Timeout::Keep), Err(Refused::NoInterest));
        let negative = s.engine.create(EventSpec::fd(-1, READ)).expect("known");
        assert_eq!(s.engine.add(negative, Timeout::Keep), Err(Refused::BadDescriptor(-1)));
        assert_eq!(s.engine.create(EventSpec::signal(0)), Err(Refused::BadSignal(0)));
        let spec = EventSpec { priority: 8, ..EventSpec::new() };
        assert_eq!(s.engine.create(spec), Err(Refused::BadPriority(8)));
        assert_eq!(s.engine.pending_count(), 0);
    }
}
