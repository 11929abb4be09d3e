//! Bytes: in order, whole, bounded, in time.

use crate::stage::pattern;
use duolu::{Direction, Rate, StreamEvent, StreamOptions};
use std::io::{Read, Write};
use std::time::Duration;

scenarios! {
    fn what_is_sent_is_told_and_comes_back(s) {
        let (_, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        for message in [&b"one"[..], b"another", &pattern(5000)] {
            s.send_all(&mut peer, message);
            assert_eq!(s.collect(&mut peer, message.len()), message);
        }
        let log = s.event_loop.data().clone();
        assert_eq!(log[..2], [(1, StreamEvent::Read), (1, StreamEvent::Written)]);
    }

    fn read_and_write_are_those_of_std(s) {
        let (_, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                let mut two = [0; 2];
                stream.read_exact(&mut two).expect("two bytes");
                let rest = stream.front().to_vec();
                stream.consume(rest.len());
                assert_eq!(stream.read(&mut two).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
                write!(stream, "{two:?} and {} more", rest.len()).expect("it is open");
            }
        });
        s.send_all(&mut peer, &[7, 8, 9]);
        assert_eq!(s.collect(&mut peer, 17), b"[7, 8] and 1 more");
    }

    /// A peer that sends and does not read: what waits for it is bounded, and nothing is lost when it reads after all.
    fn a_peer_that_does_not_read_cannot_fill_the_memory(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
                assert!(stream.unsent() <= (256 + 64) * 1024);
            }
        });
        // More than the kernel's buffers hold both ways; the simulated ones are small.
        let simulated = matches!(s.world, crate::stage::World::Sim(_));
        let sent = pattern(if simulated { 1_000_000 } else { 20_000_000 });
        let mut at = 0;
        s.until("reading rests", |s| {
            at += peer.send(&sent[at..]);
            s.event_loop.with_stream(id, |_, stream| stream.unsent()) > Some(256 * 1024)
        });
        (0..20).for_each(|_| s.turn());
        assert!(at < sent.len(), "it could send {at} bytes that nobody took");
        let mut received = Vec::new();
        s.until("all of it", |_| {
            while let Some(bytes) = peer.receive() {
                assert!(!bytes.is_empty(), "an end");
                received.extend(bytes);
            }
            at += peer.send(&sent[at..]);
            received.len() == sent.len()
        });
        assert!(received == sent);
    }

    /// `Written` is the pump: a long answer in parts, without the memory of the whole.
    fn written_asks_for_more(s) {
        let mut left = 40;
        let (id, mut peer) = s.stream(1, StreamOptions::new(), move |_, stream, event| {
            if matches!(event, StreamEvent::Read | StreamEvent::Written) && left > 0 {
                stream.consume(usize::MAX);
                left -= 1;
                stream.write_all(&pattern(50_000)).expect("it is open");
                if left == 0 {
                    stream.finish();
                }
            }
        });
        s.send_all(&mut peer, b"go");
        let all = s.collect(&mut peer, usize::MAX);
        assert!(all == pattern(50_000).repeat(40), "{} bytes", all.len());
        peer.finish();
        s.until("the end", |s| s.gone(id));
    }

    fn marks_decide_when_it_is_told_and_when_reading_rests(s) {
        let options = StreamOptions::new().input_marks(10, 20);
        let (id, mut peer) = s.stream(1, options, |_, stream, event| {
            if event == StreamEvent::Read {
                assert!((10..=20).contains(&stream.input().len()));
            }
        });
        s.send_all(&mut peer, b"123456789");
        s.quiet();
        s.send_all(&mut peer, &[0; 40]);
        s.until("the mark", |s| !s.event_loop.data().is_empty());
        let held = |s: &mut crate::stage::Stage| s.event_loop.with_stream(id, |_, stream| stream.input().len());
        s.until("the high mark", |s| held(s) == Some(20));
        s.quiet();
        assert_eq!(held(s), Some(20), "reading rests");
        s.event_loop.with_stream(id, |_, stream| stream.consume(15));
        s.until("it goes on", |s| held(s) == Some(20));
    }

    fn a_rate_limit_holds_both_ways_and_loses_nothing(s) {
        let rate = Rate { bytes_per_second: 100_000, burst: 1_000 };
        for direction in [Direction::Read, Direction::Write] {
            let options = StreamOptions::new().rate(direction, rate);
            let (_, mut peer) = s.stream(1, options, |_, stream, event| {
                if event == StreamEvent::Read {
                    assert!(stream.echo());
                }
            });
            let sent = pattern(6_000);
            let before = s.event_loop.now();
            s.send_all(&mut peer, &sent);
            assert_eq!(s.collect(&mut peer, sent.len()), sent);
            s.turn();
            let took_ns = s.event_loop.now().saturating_nanos_since(before);
            assert!(took_ns >= 49_000_000, "{direction:?}: 5,000 bytes at 100,000 a second in {took_ns} ns");
        }
    }

    fn disabled_and_suspended_are_two_reasons(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, _| stream.consume(usize::MAX));
        s.event_loop.with_stream(id, |_, stream| {
            stream.disable(Direction::Read);
            stream.suspend(Direction::Read);
        });
        s.send_all(&mut peer, b"wait");
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| stream.enable(Direction::Read));
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| stream.unsuspend(Direction::Read));
        s.until("reading", |s| s.event_loop.data().contains(&(1, StreamEvent::Read)));
    }

    fn a_timeout_counts_from_the_last_byte(s) {
        // Long, because a busy machine may take its time for twelve turns.
        let options = StreamOptions::new().read_timeout(Duration::from_millis(1500));
        let (id, mut peer) = s.stream(1, options, |_, stream, _| stream.consume(usize::MAX));
        let began = s.event_loop.now();
        for _ in 0..3 {
            (0..4).for_each(|_| s.turn());
            s.send_all(&mut peer, b"x");
        }
        s.until("the timeout", |s| s.gone(id));
        let took_ns = s.event_loop.now().saturating_nanos_since(began);
        assert!(took_ns >= 1_500_000_000, "{took_ns}");
        assert_eq!(s.told(1), [StreamEvent::Timeout(Direction::Read)]);
    }

    fn a_timeout_may_be_forgiven(s) {
        let options = StreamOptions::new().read_timeout(Duration::from_millis(10));
        let mut forgiven = 0;
        let (id, _peer) = s.stream(1, options, move |_, stream, event| {
            if event == StreamEvent::Timeout(Direction::Read) && forgiven < 2 {
                forgiven += 1;
                stream.enable(Direction::Read);
            }
        });
        s.until("the timeout", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Timeout(Direction::Read); 3]);
    }

    fn a_peer_that_takes_nothing_times_out(s) {
        let options = StreamOptions::new().write_timeout(Duration::from_millis(30));
        let (id, _peer) = s.stream(1, options, |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| stream.write_all(&pattern(20_000_000)).expect("it is open"));
        s.until("the timeout", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Timeout(Direction::Write)]);
    }

    fn by_hand(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| stream.trigger(Direction::Write));
        s.until("it", |s| s.event_loop.data().len() == 1);
        s.send_all(&mut peer, b"x");
        s.until("the bytes", |s| s.event_loop.data().len() == 2);
        s.event_loop.with_stream(id, |_, stream| stream.trigger(Direction::Read));
        s.until("the same bytes again", |s| s.event_loop.data().len() == 3);
        let (written, read) = ((1, StreamEvent::Written), (1, StreamEvent::Read));
        assert_eq!(s.event_loop.data()[..], [written, read, read]);
    }
}
