//! A TCP proxy: what a client sends goes to a server, and what that answers comes back.
//!
//! Run it with `cargo run --example proxy LISTEN TARGET`. Where the target is a name with several addresses, the first that answers
//! serves.
//!
//! It shows: two streams that know each other, half-close, backpressure, `connect_any`.

use duolu::stream::Candidates;
use duolu::{Context, Direction, EventId, EventLoop, Stream, StreamEvent, StreamOptions};
use std::cell::Cell;
use std::error::Error;
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

/// Reading from one side rests while the other has so much to take.
const MOST_UNSENT: usize = 256 * 1024;
/// So long may connecting take, and later a peer that takes nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// What has happened on one side has this happen on the other.
fn pass_on(ctx: &mut Context, stream: &mut Stream<'_>, event: StreamEvent, other: EventId) {
    match event {
        StreamEvent::Read => {
            let unsent = ctx.with_stream(other, |_, other| {
                other.send_buffer(stream.input_mut()); // moves the bytes, without a copy
                other.unsent()
            });
            match unsent {
                Some(unsent) if unsent > MOST_UNSENT => stream.suspend(Direction::Read),
                Some(_) => {}
                None => stream.close(), // nobody is left to hear it
            }
        }
        // All was sent: the other may go on reading.
        StreamEvent::Written => drop(ctx.with_stream(other, |_, other| other.unsuspend(Direction::Read))),
        StreamEvent::Eof => drop(ctx.with_stream(other, |_, other| other.finish())),
        StreamEvent::Error(..) | StreamEvent::Timeout(_) => {
            if let Some(why) = stream.layer_error() {
                eprintln!("{why}"); // no target could be connected to
            }
            ctx.with_stream(other, |_, other| other.reset()); // not an end, or a part would pass for the whole
        }
        StreamEvent::Connected => {}
    }
}

fn serve(ctx: &mut Context, client: TcpStream, targets: Candidates) -> Result<(), duolu::Error> {
    let options = StreamOptions::new().allow_half_open().write_timeout(PATIENCE);
    let server = Rc::new(Cell::new(None)); // each has to know the other, and one of them is made first
    let its_id = Rc::clone(&server);
    let back = move |ctx: &mut Context, stream: &mut Stream<'_>, event| {
        if let Some(server) = its_id.get() {
            pass_on(ctx, stream, event, server);
        }
    };
    let client = ctx.stream(client, options.clone(), back)?;
    let forth = move |ctx: &mut Context, stream: &mut Stream<'_>, event| pass_on(ctx, stream, event, client);
    server.set(Some(ctx.connect_any(targets, options, forth)?));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(target)) = (arguments.next(), arguments.next()) else {
        return Err("usage: proxy LISTEN TARGET, as in: proxy 127.0.0.1:7780 localhost:80".into());
    };
    let targets: Vec<_> = target.to_socket_addrs().map_err(|error| format!("{target}: {error}"))?.collect();
    let listener = TcpListener::bind(&listen).map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    println!("listening on {}", listener.local_addr()?);
    let mut event_loop = EventLoop::new()?;
    event_loop.accept(listener, move |ctx, client, peer| {
        if let Err(error) = serve(ctx, client, targets.clone().into()) {
            eprintln!("cannot serve {peer}: {error}");
        }
    })?;
    event_loop.run()?;
    Ok(())
}
