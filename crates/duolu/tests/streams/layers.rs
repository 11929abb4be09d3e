//! Layers between a stream's bytes and the wire's.

use crate::filters::{Hex, Runs, Sealed, decoded, encoded};
use crate::stage::{Socket, pattern};
use duolu::buffer::{Buffer, Pool};
use duolu::stream::Layer;
use duolu::{Direction, Layered, StreamEvent, StreamOptions};
use std::io::Write;
use std::time::Duration;

/// Everything at once: held bytes and shrinking, expansion, a handshake and a trailer.
type Stack = Layered<Layered<Layered<Socket, Sealed>, Hex>, Runs>;

fn stack(socket: Socket) -> Stack {
    Layered::new(Layered::new(Layered::new(socket, Sealed::server()), Hex), Runs::default())
}

/// The scenario's end of a stack.
struct Far {
    sealed: Sealed,
    runs: Runs,
}

impl Far {
    fn new() -> Self {
        Far { sealed: Sealed::client(), runs: Runs::default() }
    }
    /// What it sends first.
    fn greeting(&mut self) -> Vec<u8> {
        encoded(&mut self.sealed, b"", false)
    }
    fn encode(&mut self, bytes: &[u8], finish: bool) -> Vec<u8> {
        let runs = encoded(&mut self.runs, bytes, finish);
        let hex = encoded(&mut Hex, &runs, finish);
        encoded(&mut self.sealed, &hex, finish)
    }
    fn decode(&mut self, wire: &[u8], ended: bool) -> Vec<u8> {
        let hex = decoded(&mut self.sealed, wire, ended).expect("whole");
        let runs = decoded(&mut Hex, &hex, ended).expect("whole");
        decoded(&mut self.runs, &runs, ended).expect("whole")
    }
}

/// The greetings, both ways.
fn greet(s: &mut Stage, peer: &mut Socket, sealed: &mut Sealed) {
    let greeting = encoded(sealed, b"", false);
    s.send_all(peer, &greeting);
    let answer = s.collect(peer, greeting.len());
    assert_eq!(decoded(sealed, &answer, false), Ok(vec![]));
    assert!(sealed.is_established());
}

scenarios! {
    fn what_is_sent_is_decoded_and_comes_back_encoded(s) {
        let (_, mut peer) = s.stream_upon(1, StreamOptions::new(), |socket| Layered::new(socket, Hex), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        for message in [&b"one"[..], b"another", &pattern(50_000)] {
            let wire = encoded(&mut Hex, message, false);
            s.send_all(&mut peer, &wire);
            assert!(s.collect(&mut peer, wire.len()) == wire);
        }
        let log = s.event_loop.data().clone();
        assert_eq!(log[..2], [(1, StreamEvent::Read), (1, StreamEvent::Written)]);
    }

    fn connected_is_told_when_they_are_established_and_the_programs_bytes_wait(s) {
        let upon = |socket| Layered::new(socket, Sealed::server());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        s.event_loop.with_stream(id, |_, stream| stream.write_all(b"early").expect("it is kept"));
        s.quiet();
        assert!(peer.receive().is_none() && s.event_loop.data().is_empty());
        let mut far = Sealed::client();
        let mut hello = encoded(&mut far, b"", false);
        let rest = hello.split_off(4);
        s.send_all(&mut peer, &hello);
        s.quiet();
        s.send_all(&mut peer, &rest);
        let wire = s.collect(&mut peer, 9 + 2 + 5);
        assert_eq!(decoded(&mut far, &wire, false), Ok(b"early".to_vec()));
        s.turn();
        assert_eq!(s.event_loop.data()[..], [(1, StreamEvent::Connected), (1, StreamEvent::Written)]);
        s.send_all(&mut peer, &encoded(&mut far, b"and now", false));
        let wire = s.collect(&mut peer, 2 + 7);
        assert_eq!(decoded(&mut far, &wire, false), Ok(b"and now".to_vec()));
    }

    /// The one that greets first does so by itself, and both ways move though the program has disabled them and has
    /// written more than reading bears.
    fn they_are_established_whatever_the_program_has_disabled(s) {
        let upon = |socket| Layered::new(socket, Sealed::client());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new().output_marks(0, 10), upon, |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(&pattern(1000)).expect("it is kept");
            stream.disable(Direction::Read);
            stream.suspend(Direction::Write);
        });
        let mut far = Sealed::server();
        let hello = s.collect(&mut peer, 9);
        assert_eq!(decoded(&mut far, &hello, false), Ok(vec![]));
        let mut wire = encoded(&mut far, b"", false);
        wire.extend(encoded(&mut far, b"not yet", false));
        s.send_all(&mut peer, &wire);
        s.until("it stands", |s| s.told(1) == [StreamEvent::Connected]);
        s.quiet();
        assert!(peer.receive().is_none());
        s.event_loop.with_stream(id, |_, stream| stream.unsuspend(Direction::Write));
        let wire = s.collect(&mut peer, 1002);
        assert!(decoded(&mut far, &wire, false) == Ok(pattern(1000)));
        assert!(!s.event_loop.data().contains(&(1, StreamEvent::Read)));
        s.event_loop.with_stream(id, |_, stream| stream.enable(Direction::Read));
        s.until("its bytes", |s| s.event_loop.data().contains(&(1, StreamEvent::Read)));
        assert_eq!(s.event_loop.with_stream(id, |_, stream| stream.front().to_vec()), Some(b"not yet".to_vec()));
    }

    /// 2 bytes of the wire are 200 of the program's, which it takes seven at a time: nobody but the layer knows of the
    /// rest, and the kernel will not tell.
    fn what_a_layer_keeps_back_is_given_on_when_there_is_room(s) {
        let upon = |socket| Layered::new(socket, Runs::default());
        let options = StreamOptions::new().input_marks(0, 7);
        let (id, mut peer) = s.stream_upon(1, options, upon, |_, _, _| {});
        s.send_all(&mut peer, &[200, b'x', 3, b'y']);
        peer.finish();
        let mut taken = Vec::new();
        while taken.len() < 203 {
            s.until("some more", |s| s.event_loop.with_stream(id, |_, stream| stream.input().len()) > Some(0));
            s.quiet_but_reads();
            assert!(!s.told(1).contains(&StreamEvent::Eof), "not before the last byte");
            s.event_loop.with_stream(id, |_, stream| {
                let all = stream.input().len();
                assert!(all <= 7);
                taken.extend_from_slice(stream.pull_up(all).expect("all of it"));
                stream.consume(all);
            });
        }
        assert!(taken == [vec![b'x'; 200], vec![b'y'; 3]].concat());
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Eof]);
    }

    fn a_stack_passes_all_of_it_both_ways(s) {
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), stack, |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        let mut far = Far::new();
        let bytes: Vec<u8> = pattern(100_000).iter().flat_map(|byte| vec![*byte; 1 + usize::from(*byte) % 5]).collect();
        let mut wire = far.greeting();
        // The far end does not wait for the answer: its layer would, so the greeting is handed to it.
        decoded(&mut far.sealed, b"sealed 1\n", false).expect("a greeting");
        wire.extend(far.encode(&bytes, true));
        let mut got = Vec::new();
        s.send_all_while(&mut peer, &wire, &mut got);
        peer.finish();
        got.extend(s.collect(&mut peer, usize::MAX));
        assert_eq!(&got[..9], b"sealed 1\n");
        assert!(far.decode(&got[9..], true) == bytes);
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof]);
    }

    /// What is encoded and not sent is unsent, the trailer goes once and behind everything, and then comes the end.
    fn closing_sends_what_is_in_the_layers_and_their_end(s) {
        let upon = |socket| Layered::new(Layered::new(socket, Sealed::server()), Runs::default());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, _, _| {});
        let mut far = Sealed::client();
        greet(s, &mut peer, &mut far);
        let simulated = matches!(s.world, crate::stage::World::Sim(_));
        let bytes = pattern(if simulated { 500_000 } else { 3_000_000 });
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(&bytes).expect("open");
            stream.close();
        });
        s.turn();
        if let Some(unsent) = s.event_loop.with_stream(id, |_, stream| stream.unsent()) {
            assert!(unsent > 0, "the kernel cannot have taken it all");
        }
        let wire = s.collect(&mut peer, usize::MAX);
        let runs = decoded(&mut far, &wire, true).expect("sealed");
        assert!(decoded(&mut Runs::default(), &runs, true) == Ok(bytes));
        assert!(!s.gone(id), "it waits for the peer's end");
        drop(peer);
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected]);
    }

    fn each_way_ends_by_itself(s) {
        let upon = |socket| Layered::new(socket, Sealed::server());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new().allow_half_open(), upon, |_, _, _| {});
        let mut far = Sealed::client();
        greet(s, &mut peer, &mut far);
        // The layer ends, the wire does not: so some peers of TLS do.
        s.send_all(&mut peer, &encoded(&mut far, b"question", true));
        s.until("the end", |s| s.told(1) == [StreamEvent::Connected, StreamEvent::Eof]);
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| {
            assert_eq!(stream.front(), b"question");
            stream.write_all(&pattern(300_000)).expect("half open");
            stream.finish();
        });
        let wire = s.collect(&mut peer, usize::MAX);
        assert!(decoded(&mut far, &wire, true) == Ok(pattern(300_000)));
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof]);
    }

    fn finishing_leaves_reading_open(s) {
        let upon = |socket| Layered::new(socket, Sealed::server());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, _, _| {});
        // Before it is established, too: the end waits for that.
        s.event_loop.with_stream(id, |_, stream| stream.finish());
        let mut far = Sealed::client();
        greet(s, &mut peer, &mut far);
        let wire = s.collect(&mut peer, usize::MAX);
        assert_eq!(decoded(&mut far, &wire, true), Ok(vec![]), "the trailer, and nothing else");
        s.send_all(&mut peer, &encoded(&mut far, b"reply", false));
        s.until("the reply", |s| s.event_loop.data().contains(&(1, StreamEvent::Read)));
        assert!(!s.gone(id));
        s.send_all(&mut peer, &encoded(&mut far, b"", true));
        peer.finish();
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof]);
    }

    /// Cut after every byte: either all of it was there, or there is one error, and never before the last byte.
    fn a_cut_is_one_error_after_the_last_byte(s) {
        let mut far = Sealed::client();
        let mut whole = encoded(&mut far, b"", false);
        decoded(&mut far, b"sealed 1\n", false).expect("a greeting");
        let head = whole.len();
        whole.extend(encoded(&mut far, b"a message", false));
        whole.extend(encoded(&mut far, b"", true));
        for cut in 0..=whole.len() {
            let mark = cut as u32;
            let upon = |socket| Layered::new(socket, Sealed::server());
            let (id, mut peer) = s.stream_upon(mark, StreamOptions::new(), upon, move |ctx, stream, event| {
                if matches!(event, StreamEvent::Eof | StreamEvent::Error(..)) {
                    let plain = cut.saturating_sub(head + 2).min(9);
                    assert_eq!(stream.front(), &b"a message"[..plain], "cut at {cut}");
                    let text = stream.layer_error().map(|error| error.text().to_owned());
                    assert_eq!(text.is_some(), matches!(event, StreamEvent::Error(..)), "{text:?}");
                    let _ = ctx;
                }
            });
            s.send_all(&mut peer, &whole[..cut]);
            if cut % 2 == 0 {
                s.turn();
            }
            peer.finish();
            s.until("it is gone", |s| s.gone(id));
            const EPROTO: duolu_core::Errno = duolu_core::Errno(71);
            let mut expected = if cut >= head { vec![StreamEvent::Connected] } else { vec![] };
            expected.push(if cut == whole.len() {
                StreamEvent::Eof
            } else {
                StreamEvent::Error(Direction::Read, EPROTO)
            });
            let told = s.told(mark);
            // Both ways break at once: what is told first is not, where the end comes in the same read.
            assert!(told == expected, "cut at {cut}: {told:?}");
        }
    }

    fn what_is_no_layers_bytes_is_one_error(s) {
        let upon = |socket| Layered::new(Layered::new(socket, Hex), Runs::default());
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, stream, event| {
            if let StreamEvent::Error(..) = event {
                assert_eq!(stream.front(), b"aaa");
                let error = stream.layer_error().expect("why");
                assert_eq!(error.to_string(), "not a hexadecimal digit");
            }
        });
        s.send_all(&mut peer, b"0361zz");
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Error(Direction::Read, duolu_core::Errno(71))]);
    }

    /// Written and flushed in one callback, before the layers stand and after: all of it goes out.
    fn a_flush_waits_for_what_was_written_before_it(s) {
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), stack, |_, _, _| {});
        let (mut far, mut got) = (Far::new(), Vec::new());
        for round in 1..=3 {
            s.event_loop.with_stream(id, |_, stream| {
                stream.write_all(b"aaab").expect("it is kept");
                stream.flush().expect("open");
            });
            if round == 1 {
                s.quiet();
                let greeting = far.greeting();
                s.send_all(&mut peer, &greeting);
            }
            s.until("what was written", |_| {
                let wire = peer.receive().unwrap_or_default();
                got.extend(far.decode(&wire, false));
                got.len() == 4 * round
            });
        }
        assert_eq!(got, b"aaabaaabaaab");
        // Held by the program, it waits, and nothing spins.
        s.event_loop.with_stream(id, |_, stream| {
            stream.suspend(Direction::Write);
            stream.write_all(b"cccc").expect("it is kept");
            stream.flush().expect("open");
        });
        s.quiet_but_reads();
        let turns = s.event_loop.stats().turns;
        (0..4).for_each(|_| s.turn());
        assert!(s.event_loop.stats().turns - turns <= 8, "it spins");
        s.event_loop.with_stream(id, |_, stream| stream.unsuspend(Direction::Write));
        s.until("what was written", |_| {
            let wire = peer.receive().unwrap_or_default();
            got.extend(far.decode(&wire, false));
            got.len() == 16
        });
    }

    /// What a compressor keeps back goes out at a flush, and `Stream::layer` reaches it.
    fn flush_and_layer_reach_through_a_stack(s) {
        let upon = |socket| Layered::new(Layered::new(socket, Runs::default()), Hex);
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(b"\0\0").expect("open");
            assert!(stream.layer::<Runs>().is_some() && stream.layer::<Hex>().is_some());
            assert!(stream.layer::<Sealed>().is_none());
        });
        s.quiet_but_reads();
        assert!(peer.receive().is_none(), "the run may go on");
        s.event_loop.with_stream(id, |_, stream| stream.flush().expect("open"));
        assert_eq!(s.collect(&mut peer, 2), [4, b'0']);
        s.event_loop.with_stream(id, |_, stream| stream.write_all(b"\0").expect("open"));
        s.event_loop.with_stream(id, |_, stream| stream.layer::<Runs>().expect("there").flush());
        assert_eq!(s.collect(&mut peer, 2), [2, b'0']);
    }

    fn a_file_is_seen_by_layers_as_bytes(s) {
        let path = std::env::temp_dir().join(format!("duolu-layer-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::write(&path, pattern(200_000)).expect("a file");
        let file = std::sync::Arc::new(duolu::SharedFile(std::fs::File::open(&path).expect("a file")));
        std::fs::remove_file(&path).expect("a file");
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), |socket| Layered::new(socket, Hex), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(b"head").expect("open");
            assert!(stream.send_file(file, 100, 150_000));
            stream.close();
        });
        let wire = s.collect(&mut peer, usize::MAX);
        let expected = [b"head", &pattern(200_000)[100..150_100]].concat();
        assert!(decoded(&mut Hex, &wire, true) == Ok(expected));
    }

    /// Rates count the wire's bytes.
    fn rates_and_watermarks_hold_through_layers(s) {
        let rate = duolu::Rate { bytes_per_second: 40_000, burst: 400 };
        let options = StreamOptions::new()
            .rate(Direction::Read, rate)
            .rate(Direction::Write, rate)
            .input_marks(0, 100);
        let (id, mut peer) = s.stream_upon(1, options, |socket| Layered::new(socket, Hex), |_, stream, event| {
            assert!(stream.input().len() <= 100);
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        let began = s.event_loop.now();
        let wire = encoded(&mut Hex, &pattern(2000), false);
        s.send_all(&mut peer, &wire);
        peer.finish();
        assert!(s.collect(&mut peer, usize::MAX) == wire);
        s.until("it is gone", |s| s.gone(id));
        let took = s.event_loop.now().saturating_nanos_since(began);
        // 4,000 bytes less the burst.
        assert!(took >= 90_000_000, "{took} ns");
    }

    /// The peer says nothing: the timeouts are those of the wire.
    fn a_silent_peer_times_out_before_and_after_they_are_established(s) {
        let upon = |socket| Layered::new(socket, Sealed::server());
        let options = StreamOptions::new().write_timeout(Duration::from_millis(10));
        let (id, _peer) = s.stream_upon(1, options, upon, |_, _, _| {});
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Timeout(Direction::Write)]);
        let options = StreamOptions::new().write_timeout(Duration::from_millis(40));
        let (id, mut peer) = s.stream_upon(2, options, upon, |_, _, _| {});
        greet(s, &mut peer, &mut Sealed::client());
        s.event_loop.with_stream(id, |_, stream| stream.write_all(&pattern(8_000_000)).expect("open"));
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(2), [StreamEvent::Connected, StreamEvent::Timeout(Direction::Write)]);
    }

    /// It asks for more and more, and gives nothing.
    fn what_is_too_long_for_a_layer_does_not_fill_the_memory(s) {
        struct All;
        impl Layer for All {
            fn decode(&mut self, _: &mut Buffer, _: &mut Buffer, _: &mut Pool, _: usize, _: bool) -> Result<(), duolu::LayerError> {
                Ok(())
            }
            fn encode(&mut self, _: &mut Buffer, _: &mut Buffer, _: &mut Pool, _: usize, _: bool) -> Result<(), duolu::LayerError> {
                Ok(())
            }
            fn has_to_send(&self) -> bool {
                true // and it lies
            }
            fn holds_plain(&self) -> bool {
                true
            }
        }
        let (id, mut peer) = s.stream_upon(1, StreamOptions::new(), |socket| Layered::new(socket, All), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| stream.write_all(b"stuck").expect("open"));
        let before = s.event_loop.stats().callbacks;
        s.quiet();
        assert!(s.event_loop.stats().callbacks - before < 4, "it does not spin");
        let bytes = pattern(100_000);
        s.until("it is too much", |s| {
            if !s.gone(id) {
                peer.try_send(&bytes);
            }
            s.gone(id)
        });
        const EMSGSIZE: duolu_core::Errno = duolu_core::Errno(90);
        assert_eq!(s.told(1), [StreamEvent::Error(Direction::Read, EMSGSIZE)]);
    }
}
