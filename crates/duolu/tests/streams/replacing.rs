//! A stream upon layers that is removed, or makes way for another one, inside each kind of its own callbacks. The far end is a
//! stream of the same loop, with the layers' other halves.

use crate::stage::{Log, Socket, Stage};
use duolu::stream::Transport;
use duolu::{Context, EventId, Stream, StreamEvent, StreamOptions};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

/// Nonsense is an error too, of a layer and not of the socket.
const KINDS: [&str; 7] = ["Connected", "Read", "Written", "Eof", "Error", "Nonsense", "Timeout"];
const OURS: u32 = 1;
const NEW: u32 = 2;
const FAR: u32 = 3;

fn is(kind: &str, event: StreamEvent) -> bool {
    match event {
        StreamEvent::Connected => kind == "Connected",
        StreamEvent::Read => kind == "Read",
        StreamEvent::Written => kind == "Written",
        StreamEvent::Eof => kind == "Eof" || kind == "Error", // between Unix sockets a reset is an end
        StreamEvent::Error(..) => kind == "Error" || kind == "Nonsense",
        StreamEvent::Timeout(_) => kind == "Timeout",
    }
}

/// Both halves of a stack of layers.
pub struct Stack<O, F> {
    pub ours: O,
    pub far: F,
    /// Whether `Connected` is told.
    pub greets: bool,
}

/// No layer keeps it back.
fn say(stream: &mut Stream<'_>, bytes: &[u8]) {
    stream.write_all(bytes).expect("it is kept");
    stream.flush().expect("open");
}

/// What a far end does: keeps what it reads, and tells what happens.
fn far_end(ctx: &mut Context<Log>, _: &mut Stream<'_>, event: StreamEvent) {
    ctx.data().push((FAR, event));
}

impl<O, F, T, U> Stack<O, F>
where
    O: Fn(Socket) -> T + Copy + 'static,
    F: Fn(Socket) -> U + Copy + 'static,
    T: Transport,
    U: Transport,
{
    /// Removed, it is called no more; what is done with what is left of it harms nobody; and the far end is told.
    pub fn is_removed(&self, s: &mut Stage) {
        for kind in self.kinds() {
            let id = self.play(s, kind, |ctx, stream| {
                let _ = stream.write_all(b"nobody reads this");
                assert!(ctx.remove(stream.id()));
                assert!(!ctx.exists(stream.id()));
                let _ = stream.write_all(b"nor this");
                let _ = (stream.flush().is_ok(), stream.front().len(), stream.layer_error().is_some());
                stream.finish();
                stream.close();
            });
            s.until(kind, |s| s.gone(id));
        }
    }

    /// The new one takes the old one's slot, and often its descriptor's number.
    pub fn is_replaced(&self, s: &mut Stage) {
        const QUESTION: &[u8] = b"are you the new one?";
        for kind in self.kinds() {
            let (mut pairs, ours, far) = (s.pairs(), self.ours, self.far);
            let made = Rc::new(RefCell::new(None));
            let new = Rc::clone(&made);
            let id = self.play(s, kind, move |ctx, stream| {
                ctx.remove(stream.id());
                let (one, two) = pairs();
                let echo = |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
                    ctx.data().push((NEW, event));
                    stream.echo();
                    let _ = stream.flush();
                };
                let one = ctx.stream(ours(one), StreamOptions::new(), echo).expect("a stream");
                let two = ctx.stream(far(two), StreamOptions::new(), far_end).expect("a stream");
                ctx.with_stream(two, |_, stream| say(stream, QUESTION));
                *new.borrow_mut() = Some((one, two));
            });
            let (new, far) = made.take().expect("it was made");
            assert_ne!(new, id);
            s.until("an answer", |s| {
                s.event_loop.with_stream(far, |_, stream| stream.input().len() == QUESTION.len())
                    == Some(true)
            });
            s.event_loop.with_stream(far, |_, stream| {
                assert_eq!(stream.front(), QUESTION, "{kind}");
                stream.close();
            });
            s.until("its end", |s| s.gone(new) && s.gone(far));
            assert_eq!(s.told(NEW).last(), Some(&StreamEvent::Eof), "{kind}");
            s.event_loop.data().clear();
        }
    }

    fn kinds(&self) -> impl Iterator<Item = &'static str> + use<O, F, T, U> {
        let greets = self.greets;
        KINDS.into_iter().filter(move |kind| greets || *kind != "Connected")
    }

    /// Brings about that kind of event on a stream of ours, which does `act` in it, once. The far end meets its end too.
    fn play(
        &self,
        s: &mut Stage,
        kind: &'static str,
        mut act: impl FnMut(&mut Context<Log>, &mut Stream<'_>) + 'static,
    ) -> EventId {
        let (done, (one, two)) = (Rc::new(Cell::new(false)), s.pair());
        let acted = Rc::clone(&done);
        let handler = move |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
            assert!(!acted.get(), "{kind}: called with {event:?} after it is gone");
            ctx.data().push((OURS, event));
            if is(kind, event) {
                acted.set(true);
                act(ctx, stream);
            }
        };
        let options = StreamOptions::new();
        let options =
            if kind == "Timeout" { options.read_timeout(Duration::from_millis(10)) } else { options };
        let id = s.event_loop.stream((self.ours)(one), options, handler).expect("a stream");
        if kind == "Written" {
            s.event_loop.with_stream(id, |_, stream| say(stream, b"x"));
        }
        if kind == "Nonsense" {
            let mut raw = two;
            s.send_all(&mut raw, b"zz: nobody speaks so, at such length, in hexadecimal or in TLS");
            s.until(kind, |_| done.get());
            s.until("the far end's end", |_| match raw.receive_or_fail() {
                Some(Ok(bytes)) => bytes.is_empty(),
                Some(Err(_)) => true,
                None => false,
            });
            return id;
        }
        let far = s.event_loop.stream((self.far)(two), StreamOptions::new(), far_end).expect("a stream");
        if kind == "Error" && self.greets {
            s.until("both stand", |s| s.event_loop.data().contains(&(OURS, StreamEvent::Connected)));
        }
        s.event_loop.with_stream(far, |_, stream| match kind {
            "Read" => say(stream, b"x"),
            "Eof" => stream.finish(),
            "Error" => stream.reset(),
            _ => {}
        });
        s.until(kind, |_| done.get());
        s.until("the far end's end", |s| s.gone(far));
        s.event_loop.data().clear();
        id
    }
}
