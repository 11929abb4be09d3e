//! Ends: exactly one terminal event, never before the last byte, and nothing lost.

use crate::stage::{World, pattern};
use duolu::{Direction, StreamEvent, StreamOptions};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

scenarios! {
    fn the_end_comes_after_the_last_byte_and_closes(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            match event {
                StreamEvent::Read => assert!(stream.echo()),
                StreamEvent::Eof => stream.write_all(b" and good bye").expect("still open"),
                _ => {}
            }
        });
        s.send_all(&mut peer, b"last words");
        peer.finish();
        assert_eq!(s.collect(&mut peer, usize::MAX), b"last words and good bye");
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Eof]);
    }

    fn half_open_answers_later(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new().allow_half_open(), |_, _, _| {});
        s.send_all(&mut peer, b"question");
        peer.finish();
        s.until("the end", |s| s.told(1) == [StreamEvent::Eof]);
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| {
            assert_eq!(stream.front(), b"question");
            stream.write_all(&pattern(3_000_000)).expect("half open");
            stream.finish();
            assert_eq!(stream.write(b"more").map_err(|error| error.kind()), Err(std::io::ErrorKind::BrokenPipe));
        });
        assert!(s.collect(&mut peer, usize::MAX) == pattern(3_000_000));
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Eof]);
    }

    fn finishing_leaves_reading_open(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(b"request").expect("open");
            stream.finish();
        });
        assert_eq!(s.collect(&mut peer, usize::MAX), b"request");
        s.send_all(&mut peer, b"reply");
        s.until("the reply", |s| s.event_loop.data().contains(&(1, StreamEvent::Read)));
        assert!(!s.gone(id));
        peer.finish();
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Eof]);
    }

    /// The peer has sent what nobody reads: a plain close would answer with RST, and the peer would lose the reply.
    fn closing_loses_nothing_that_was_written(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                stream.write_all(&pattern(3_000_000)).expect("open");
                stream.close();
            }
        });
        s.send_all(&mut peer, b"x");
        s.until("the request", |s| !s.event_loop.data().is_empty());
        peer.send(&pattern(100_000));
        assert!(s.collect(&mut peer, usize::MAX) == pattern(3_000_000));
        assert!(!s.gone(id), "it waits for the peer's end");
        drop(peer);
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.event_loop.data()[..], [(1, StreamEvent::Read)], "nothing is told after close");
    }

    fn closing_does_not_wait_for_ever(s) {
        let (id, _peer) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| stream.close_within(Duration::from_millis(20)));
        assert!(!s.gone(id));
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.event_loop.data()[..], []);
    }

    fn a_reset_is_one_error(s) {
        let (id, peer) = s.stream(1, StreamOptions::new().allow_half_open(), |_, stream, _| {
            stream.consume(usize::MAX);
        });
        s.turn();
        peer.reset();
        s.until("the end", |s| !s.told(1).is_empty());
        // Between Unix sockets there is no reset, and half open it stays.
        if s.told(1) != [StreamEvent::Eof] {
            assert!(matches!(s.told(1)[..], [StreamEvent::Error(Direction::Read, _)]), "{:?}", s.told(1));
            assert!(s.gone(id));
        }
        s.quiet();
    }

    /// The peer must not take a part for the whole.
    fn resetting_cuts_and_says_so(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(&pattern(8_000_000)).expect("open");
            stream.reset();
        });
        assert!(s.gone(id));
        s.quiet();
        let mut got = 0;
        s.until("its end", |s| loop {
            match peer.receive_or_fail() {
                None => return false,
                Some(Ok(bytes)) if bytes.is_empty() => {
                    assert!(matches!(s.world, World::Unix(_) | World::UnixCompletions), "there the end is all there is to say");
                    return true;
                }
                Some(Ok(bytes)) => got += bytes.len(),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                    return true;
                }
            }
        });
        assert!(got < 8_000_000, "not all of it can have come");
        assert_eq!(s.event_loop.data()[..], [], "nothing is told");
    }

    /// Written to after the peer is gone: the error comes once, and after what the peer had sent.
    fn a_broken_pipe_is_one_error_after_the_last_byte(s) {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let bytes = Rc::clone(&seen);
        let (id, mut peer) = s.stream(1, StreamOptions::new(), move |_, stream, event| {
            if event == StreamEvent::Read {
                bytes.borrow_mut().extend_from_slice(stream.front());
                let all = stream.input().len();
                stream.consume(all);
            }
        });
        s.send_all(&mut peer, b"before I go");
        drop(peer);
        for _ in 0..3 {
            s.event_loop.with_stream(id, |_, stream| stream.write_all(b"anybody there?"));
        }
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(*seen.borrow(), b"before I go");
        let told = s.told(1);
        assert!((1..=2).contains(&told.len()), "{told:?}");
        let errors = told.iter().filter(|event| matches!(event, StreamEvent::Error(..))).count();
        assert!(errors <= 1 && told.iter().filter(|event| **event == StreamEvent::Eof).count() <= 1, "{told:?}");
    }
}
