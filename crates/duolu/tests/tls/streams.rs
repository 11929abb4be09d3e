//! Streams over TLS, on every backend and on simulated sockets.

use crate::ca::{client, issued, server};
use crate::far::Far;
use crate::stage::{Socket, pattern};
use duolu::stream::{LayerError, Layered};
use duolu::tls::{Server, Tls, Version};
use duolu::{Context, Direction, EventId, SharedFile, Stream, StreamEvent, StreamOptions};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const EPROTO: StreamEvent = StreamEvent::Error(Direction::Read, duolu_core::Errno(71));

fn accepting(socket: Socket) -> Layered<Socket, Tls> {
    server().accept(socket).expect("a session")
}

impl Stage {
    /// A TLS server's stream and a client of it.
    fn tls(
        &mut self,
        version: Version,
        options: StreamOptions,
        handler: impl FnMut(&mut Context<crate::stage::Log>, &mut Stream<'_>, StreamEvent) + 'static,
    ) -> (EventId, Far) {
        let (id, peer) = self.stream_upon(1, options, accepting, handler);
        (id, Far::client(peer, version))
    }

    /// The same, and the handshake is over.
    fn tls_connected(
        &mut self,
        options: StreamOptions,
        handler: impl FnMut(&mut Context<crate::stage::Log>, &mut Stream<'_>, StreamEvent) + 'static,
    ) -> (EventId, Far) {
        let (id, mut far) = self.tls(Version::Tls13, options, handler);
        far.until(self, "a handshake", |s, _| s.event_loop.data().contains(&(1, StreamEvent::Connected)));
        (id, far)
    }
}

fn echo(_: &mut Context<crate::stage::Log>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        assert!(stream.echo());
    }
}

scenarios! {
    fn what_is_sent_comes_back(s) {
        for version in Version::ALL {
            let (id, mut far) = s.tls(version, StreamOptions::new(), echo);
            for len in [1, 2, 100, 16_384, 16_385, 300_000] {
                far.write(&pattern(len));
                assert!(far.take(s, len) == pattern(len));
            }
            far.finish();
            far.until(s, "our end", |_, far| far.ended);
            far.finish_wire();
            s.until("it is gone", |s| s.gone(id));
            assert!(far.ended && far.error.is_none() && far.got.is_empty());
            assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof], "{version}");
            s.event_loop.data().clear();
        }
    }

    fn a_client_verifies_and_is_answered(s) {
        for version in Version::ALL {
            let upon = |socket| client().connect(socket, "server.test").expect("a session");
            let (id, peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, stream, event| {
                if event == StreamEvent::Connected {
                    let info = stream.tls().expect("it stands");
                    assert_eq!((info.server_name.as_deref(), info.peer_certificates.len()), (Some("server.test"), 1));
                }
            });
            s.event_loop.with_stream(id, |_, stream| {
                assert!(stream.tls().is_none());
                stream.write_all(b"early").expect("it is kept");
                stream.finish();
            });
            let mut far = Far::server(peer, version);
            assert_eq!(far.take(s, 5), b"early");
            far.until(s, "its end", |_, far| far.ended);
            far.write(&pattern(100_000));
            far.finish();
            far.until(s, "the end of it", |s, far| { far.finish_wire(); s.gone(id) });
            assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof], "{version}");
            s.event_loop.data().clear();
        }
    }

    fn byte_by_byte(s) {
        let (_, mut far) = s.tls(Version::Tls13, StreamOptions::new(), echo);
        far.grain = 1;
        far.write(b"a few bytes");
        assert_eq!(far.take(s, 11), b"a few bytes");
    }

    fn info_is_there_when_it_is_connected(s) {
        let seen = Rc::new(RefCell::new(None));
        let info = Rc::clone(&seen);
        s.tls_connected(StreamOptions::new(), move |_, stream, event| {
            if event == StreamEvent::Connected {
                *info.borrow_mut() = stream.tls();
            }
        });
        let info = seen.borrow_mut().take().expect("info");
        assert_eq!((info.version, info.server_name.as_deref()), (Version::Tls13, Some("server.test")));
    }

    /// One way has ended in TLS, and the wire has not.
    fn the_peers_end_leaves_sending_open(s) {
        let (id, mut far) = s.tls_connected(StreamOptions::new().allow_half_open(), |_, _, _| {});
        far.write(b"question");
        far.finish();
        far.until(s, "the end", |s, _| s.told(1) == [StreamEvent::Connected, StreamEvent::Eof]);
        s.quiet();
        s.event_loop.with_stream(id, |_, stream| {
            assert_eq!(stream.front(), b"question");
            stream.write_all(&pattern(500_000)).expect("half open");
            stream.finish();
        });
        assert!(far.take(s, 500_000) == pattern(500_000));
        far.until(s, "our end", |_, far| far.ended);
        far.finish_wire();
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof]);
    }

    fn finishing_leaves_reading_open(s) {
        let (id, mut far) = s.tls_connected(StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| {
            stream.write_all(b"request").expect("open");
            stream.finish();
        });
        far.until(s, "our end", |_, far| far.ended);
        assert_eq!(far.got, b"request");
        far.write(b"reply");
        far.until(s, "the reply", |s, _| s.event_loop.data().contains(&(1, StreamEvent::Read)));
        assert!(!s.gone(id));
        far.finish();
        far.until(s, "it is gone", |s, far| { far.finish_wire(); s.gone(id) });
        assert_eq!(s.told(1), [StreamEvent::Connected, StreamEvent::Eof]);
    }

    fn closing_loses_nothing_and_ends_it_well(s) {
        let (id, mut far) = s.tls_connected(StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                stream.write_all(&pattern(1_000_000)).expect("open");
                stream.close();
            }
        });
        far.write(&pattern(50_000));
        far.until(s, "all of it", |_, far| far.ended);
        assert!(far.got == pattern(1_000_000) && far.error.is_none());
        drop(far);
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Connected]);
    }

    /// The fault that libevent has had for years: what TLS has decrypted, or could, stays in it when reading rests, and
    /// nothing of the kernel's brings it out any more.
    fn nothing_is_stuck_when_reading_has_rested(s) {
        let (id, mut far) = s.tls_connected(StreamOptions::new(), |_, _, _| {});
        s.event_loop.with_stream(id, |_, stream| stream.suspend(Direction::Read));
        far.write(&pattern(1 << 20));
        (0..20).for_each(|_| { far.work(); s.turn() });
        let held = |s: &mut Stage| s.event_loop.with_stream(id, |_, stream| stream.input().len()).expect("a stream");
        let before = held(s);
        (0..5).for_each(|_| s.turn());
        assert_eq!(held(s), before, "it is suspended");
        s.event_loop.with_stream(id, |_, stream| stream.unsuspend(Direction::Read));
        far.until(s, "all of it", |s, _| held(s) == 1 << 20);
        assert!(s.event_loop.with_stream(id, |_, stream| stream.input_mut().remove_vec(1 << 20)) == Some(Ok(pattern(1 << 20))));
    }

    /// A high watermark below the size of a record, and all of it is there before anything is taken.
    fn nothing_is_stuck_under_a_high_watermark(s) {
        let options = StreamOptions::new().input_marks(0, 1000).allow_half_open();
        let (id, mut far) = s.tls_connected(options, |_, _, _| {});
        far.write(&pattern(40_000));
        far.finish();
        far.until(s, "the first", |s, far| {
            far.finish_wire();
            s.event_loop.with_stream(id, |_, stream| stream.input().len()) == Some(1000)
        });
        (0..5).for_each(|_| s.turn());
        let mut taken = Vec::new();
        far.until(s, "the rest", |s, far| {
            far.finish_wire();
            s.event_loop.with_stream(id, |_, stream| {
                assert!(stream.input().len() <= 1000);
                let part = &stream.front()[..stream.front().len().min(700)];
                taken.extend_from_slice(part);
                stream.consume(part.len());
            });
            taken.len() == 40_000
        });
        assert!(taken == pattern(40_000));
        s.until("its end", |s| s.told(1) == [StreamEvent::Connected, StreamEvent::Eof]);
        s.event_loop.with_stream(id, |_, stream| stream.finish());
        s.until("it is gone", |s| s.gone(id));
    }

    fn a_peer_that_does_not_read_cannot_fill_the_memory(s) {
        let (id, mut far) = s.tls_connected(StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        let simulated = matches!(s.world, crate::stage::World::Sim(_));
        let all = pattern(if simulated { 1_500_000 } else { 20_000_000 });
        far.write(&all);
        let unsent = |s: &mut Stage| s.event_loop.with_stream(id, |_, stream| stream.unsent()).expect("a stream");
        s.until("reading rests", |s| { far.send(); unsent(s) > 256 * 1024 });
        (0..20).for_each(|_| { far.send(); s.turn() });
        assert!(far.send() > 0, "all was taken");
        assert!(unsent(s) < 600 * 1024, "{}", unsent(s));
        assert!(far.take(s, all.len()) == all);
    }

    fn keys_are_changed_on_the_way(s) {
        let (_, mut far) = s.tls_connected(StreamOptions::new(), echo);
        for _ in 0..5 {
            far.write(&pattern(20_000));
            far.tls.refresh_traffic_keys().expect("TLS 1.3");
            far.write(&pattern(20_000));
            assert!(far.take(s, 40_000) == [pattern(20_000), pattern(20_000)].concat());
        }
    }

    fn files_go_through_it_too(s) {
        let dir = std::env::temp_dir();
        let path = dir.join(format!("duolu-tls-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::write(&path, pattern(200_000)).expect("a file");
        let file = Arc::new(SharedFile(std::fs::File::open(&path).expect("a file")));
        std::fs::remove_file(&path).expect("ours");
        let (_, mut far) = s.tls_connected(StreamOptions::new(), move |_, stream, event| {
            if event == StreamEvent::Connected {
                stream.write_all(b"head").expect("open");
                assert!(stream.send_file(file.clone(), 7, 150_000));
                stream.write_all(b"foot").expect("open");
            }
        });
        let all = [b"head", &pattern(200_000)[7..150_007], b"foot"].concat();
        assert!(far.take(s, all.len()) == all);
    }

    /// A client that sends nothing, or a byte now and then, gets so much time and no more.
    fn a_handshake_that_is_never_over_runs_out_of_time(s) {
        for loris in [false, true] {
            let options = StreamOptions::new().write_timeout(Duration::from_millis(80));
            let (id, mut far) = s.tls(Version::Tls13, options, |_, _, _| {});
            let mut bytes = [22, 3, 1, 0x3f, 0xff].into_iter().chain(std::iter::repeat(0));
            let mut turns = 0;
            s.until("it runs out", |s| {
                turns += 1;
                if loris && turns % 2 == 0 {
                    far.socket.try_send(&[bytes.next().unwrap_or(0)]); // and the next turn waits
                }
                s.gone(id)
            });
            assert_eq!(s.told(1), [StreamEvent::Timeout(Direction::Write)], "loris: {loris}");
            s.event_loop.data().clear();
        }
    }

    fn what_is_no_tls_is_one_error_with_words(s) {
        let said = Rc::new(RefCell::new(String::new()));
        for (sent, expected) in [
            (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], "plain HTTP to a TLS port"),
            (b"\x16\x03\x01\0\x05hello and more", "the client sent a TLS message"),
            (b"\xff\xff\xff\xff\xff\xff", "does not speak TLS"),
        ] {
            let text = Rc::clone(&said);
            let (id, mut far) = s.tls(Version::Tls13, StreamOptions::new(), move |_, stream, _| {
                *text.borrow_mut() = stream.layer_error().map(LayerError::to_string).unwrap_or_default();
            });
            s.send_all(&mut far.socket, sent);
            s.until("it is gone", |s| s.gone(id));
            assert_eq!(s.told(1), [EPROTO]);
            assert!(said.borrow().contains(expected), "{}", said.borrow());
            s.event_loop.data().clear();
        }
    }

    /// The peer is told why, too.
    fn a_client_that_does_not_believe_breaks_it_off(s) {
        let upon = |socket| client().connect(socket, "elsewhere.test").expect("a session");
        let said = Rc::new(RefCell::new(String::new()));
        let text = Rc::clone(&said);
        let (id, peer) = s.stream_upon(1, StreamOptions::new(), upon, move |_, stream, _| {
            *text.borrow_mut() = stream.layer_error().map(LayerError::to_string).unwrap_or_default();
        });
        s.event_loop.with_stream(id, |_, stream| stream.write_all(b"a secret").expect("it is kept"));
        let mut far = Far::server(peer, Version::Tls13);
        far.until(s, "it is gone", |s, far| s.gone(id) && far.error.is_some());
        assert_eq!(s.told(1), [EPROTO]);
        assert!(said.borrow().contains("is not for that name, but for server.test"), "{}", said.borrow());
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
        assert_eq!((far.error, far.got), (Some(alert), vec![]));
    }

    /// The wire ends somewhere in the handshake or in the exchange: one end, and of the right kind.
    fn cut_anywhere_it_ends_once(s) {
        for version in Version::ALL {
            let mut cut = 0;
            loop {
                let (id, mut far) = s.tls(version, StreamOptions::new(), echo);
                far.write(b"question");
                far.finish();
                let mut left = cut;
                s.until("it is cut", |_| {
                    far.grain = left;
                    let before = far.got.len();
                    let waiting = far.send_counted();
                    left -= waiting.0;
                    far.receive();
                    left == 0 || far.ended && far.got.len() == before && waiting.1 == 0
                });
                let whole = left > 0;
                drop(far);
                s.until("it is gone", |s| s.gone(id));
                let told = s.told(1);
                let ends = told.iter().filter(|event| **event != StreamEvent::Connected).count();
                assert!(ends == 1 || ends == 2 && told.contains(&StreamEvent::Eof), "{version} {cut}: {told:?}");
                s.event_loop.data().clear();
                if whole {
                    break;
                }
                cut += if cut < 12 { 1 } else { 83 };
            }
        }
    }

    fn removed_inside_its_own_callbacks(s) {
        for when in [StreamEvent::Connected, StreamEvent::Read, StreamEvent::Written, StreamEvent::Eof] {
            let (id, mut far) = s.tls(Version::Tls13, StreamOptions::new(), move |ctx, stream, event| {
                if event == when {
                    ctx.remove(stream.id());
                } else if event == StreamEvent::Read {
                    stream.echo();
                }
            });
            far.write(b"some");
            far.finish();
            far.until(s, "it is gone", |s, _| s.gone(id));
            let last = s.event_loop.data().last().copied();
            assert_eq!(last, Some((1, when)));
            s.event_loop.data().clear();
        }
    }

    fn a_wire_that_just_ends_is_an_error_unless_it_is_allowed(s) {
        for allowed in [false, true] {
            let builder = Server::builder(issued().identity());
            let server = if allowed { builder.allow_truncation() } else { builder }.build().expect("a server");
            let upon = move |socket| server.accept(socket).expect("a session");
            let (id, peer) = s.stream_upon(1, StreamOptions::new(), upon, |_, _, _| {});
            let mut far = Far::client(peer, Version::Tls13);
            far.write(b"some");
            far.until(s, "some", |s, _| s.event_loop.data().contains(&(1, StreamEvent::Read)));
            far.finish_wire();
            s.until("it is gone", |s| s.gone(id));
            let end = if allowed { StreamEvent::Eof } else { EPROTO };
            assert_eq!(s.told(1), [StreamEvent::Connected, end]);
            s.event_loop.data().clear();
        }
    }
}
