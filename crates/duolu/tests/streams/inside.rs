//! What a program does to its streams from inside their own callbacks, and from elsewhere.

use crate::stage::{Log, Socket, pattern};
use duolu::{Context, Direction, EventId, Stream, StreamEvent, StreamOptions};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// Brings about each kind of event on a stream.
fn bring_about(kind: &str, peer: Socket) -> Option<Socket> {
    let mut peer = peer;
    match kind {
        "Read" => {
            peer.send(b"x");
        }
        "Eof" => peer.finish(),
        "Error" => {
            peer.reset();
            return None;
        }
        _ => {}
    }
    Some(peer)
}

const KINDS: [&str; 5] = ["Read", "Written", "Eof", "Error", "Timeout"];

fn is(kind: &str, event: StreamEvent) -> bool {
    match event {
        StreamEvent::Read => kind == "Read",
        StreamEvent::Written => kind == "Written",
        StreamEvent::Eof => kind == "Eof" || kind == "Error", // between Unix sockets a reset is an end
        StreamEvent::Error(..) => kind == "Error",
        StreamEvent::Timeout(_) => kind == "Timeout",
        StreamEvent::Connected => false,
    }
}

scenarios! {
    fn removed_inside_each_of_its_callbacks(s) {
        for kind in KINDS {
            let called = Rc::new(Cell::new(0));
            let count = Rc::clone(&called);
            let options = StreamOptions::new().read_timeout(Duration::from_millis(10));
            let (id, peer) = s.stream(1, options, move |ctx, stream, event| {
                count.set(count.get() + 1);
                assert!(is(kind, event), "{kind}: {event:?}");
                assert!(ctx.remove(stream.id()));
                assert!(!ctx.exists(stream.id()));
                // It is gone, but to work on what is left of it harms nobody.
                let _ = stream.write_all(b"nobody reads this");
                stream.finish();
                stream.close();
            });
            if kind == "Written" {
                s.event_loop.with_stream(id, |_, stream| stream.write_all(b"x").expect("open"));
            }
            let peer = bring_about(kind, peer);
            s.until(kind, |s| s.gone(id));
            s.quiet();
            assert_eq!(called.get(), 1, "{kind}");
            if let Some(mut peer) = peer {
                let expected = if kind == "Written" { 1 } else { 0 };
                assert_eq!(s.collect(&mut peer, usize::MAX).len(), expected, "closed at once");
            }
        }
    }

    /// The new one takes the old one's slot, and often its descriptor's number.
    fn replaced_inside_each_of_its_callbacks(s) {
        for kind in KINDS {
            let mut pairs = s.pairs();
            let new = Rc::new(RefCell::new(None));
            let made = Rc::clone(&new);
            let options = StreamOptions::new().read_timeout(Duration::from_millis(10));
            let (id, peer) = s.stream(1, options, move |ctx, stream, _| {
                ctx.remove(stream.id());
                let (ours, theirs) = pairs();
                let handler = |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
                    ctx.data().push((2, event));
                    stream.echo();
                };
                let id = ctx.stream(ours, StreamOptions::new(), handler).expect("a stream");
                *made.borrow_mut() = Some((id, theirs));
            });
            if kind == "Written" {
                s.event_loop.with_stream(id, |_, stream| stream.write_all(b"x").expect("open"));
            }
            let _peer = bring_about(kind, peer);
            s.until(kind, |s| s.gone(id));
            let (new, mut theirs) = new.take().expect("it was made");
            assert_ne!(new, id);
            s.send_all(&mut theirs, b"are you the new one?");
            assert_eq!(s.collect(&mut theirs, 20), b"are you the new one?");
            drop(theirs);
            s.until("its end", |s| s.gone(new));
            assert_eq!(s.told(2).len(), 1, "{kind}: {:?}", s.told(2));
            s.event_loop.data().clear();
        }
    }

    fn another_stream_is_written_to_and_removed(s) {
        let (one, mut to_one) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        let own: Rc<Cell<Option<EventId>>> = Rc::default();
        let itself = Rc::clone(&own);
        let (two, mut to_two) = s.stream(2, StreamOptions::new(), move |ctx, stream, event| {
            if event != StreamEvent::Read {
                return;
            }
            assert_eq!(itself.get(), Some(stream.id()));
            assert!(ctx.with_stream(stream.id(), |_, _| ()).is_none(), "its own callback has it already");
            let command = stream.front().to_vec();
            stream.consume(command.len());
            match &command[..] {
                b"write" => {
                    let told = ctx.with_stream(one, |ctx, other| {
                        assert!(ctx.with_stream(one, |_, _| ()).is_none(), "it is lent already");
                        other.write_all(b"from the other").expect("open");
                        other.id()
                    });
                    assert_eq!(told, Some(one));
                }
                b"remove" => {
                    // From inside the loan: it is closed when that ends.
                    assert_eq!(ctx.with_stream(one, |ctx, other| ctx.remove(other.id())), Some(true));
                    assert!(ctx.with_stream(one, |_, _| ()).is_none());
                }
                other => panic!("{other:?}"),
            }
        });
        own.set(Some(two));
        s.send_all(&mut to_two, b"write");
        assert_eq!(s.collect(&mut to_one, 14), b"from the other");
        s.until("its own event", |s| s.event_loop.data().contains(&(1, StreamEvent::Written)));
        s.send_all(&mut to_two, b"remove");
        s.end_of(&mut to_one);
        assert!(s.gone(one) && !s.gone(two));
    }

    fn closed_from_elsewhere_it_goes_in_good_order(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, _, _| {});
        s.event_loop.after(Duration::from_millis(1), move |ctx| {
            ctx.with_stream(id, |_, stream| {
                stream.write_all(&pattern(1_000_000)).expect("open");
                stream.close();
            });
        });
        assert!(s.collect(&mut peer, usize::MAX) == pattern(1_000_000));
        drop(peer);
        s.until("it is gone", |s| s.gone(id));
        assert_eq!(s.event_loop.data()[..], []);
    }

    fn what_is_no_stream_is_not_lent(s) {
        let timer = s.event_loop.after(Duration::from_secs(9), |_| {});
        assert!(s.event_loop.with_stream(timer, |_, _| ()).is_none());
        assert!(s.event_loop.exists(timer));
    }

    /// A program that catches the panic has a loop that is as good as before, and the socket is closed.
    fn a_panic_closes_the_stream_alone(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, _, _| panic!("on purpose"));
        let (other, mut to_other) = s.stream(2, StreamOptions::new(), |_, stream, _| assert!(stream.echo()));
        s.send_all(&mut peer, b"x");
        let mut caught = false;
        for _ in 0..20 {
            let turn = std::panic::AssertUnwindSafe(|| s.turn());
            caught |= std::panic::catch_unwind(turn).is_err();
        }
        assert!(caught && s.gone(id));
        let lent = std::panic::AssertUnwindSafe(|| {
            s.event_loop.with_stream(other, |_, stream| {
                stream.suspend(Direction::Write);
                panic!("on purpose")
            })
        });
        assert!(std::panic::catch_unwind(lent).is_err() && s.gone(other));
        s.until("the end", |_| to_other.receive().is_some());
        let (third, mut to_third) = s.stream(3, StreamOptions::new(), |_, stream, _| assert!(stream.echo()));
        s.send_all(&mut to_third, b"as before");
        assert_eq!(s.collect(&mut to_third, 9), b"as before");
        assert!(!s.gone(third));
    }
}
