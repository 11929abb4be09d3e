//! A chat: every line that somebody sends goes to everybody else, under the name that was given with the first line.
//!
//! Run it with `cargo run --example chat [ADDRESS]`, and `nc 127.0.0.1 7779` for each who takes part.
//!
//! It shows: the loop's own data, lines, writing to other streams, and what becomes of someone who does not read: who has more
//! than a megabyte unread is let go, or one sleeper would fill the memory.

use duolu::buffer::Eol;
use duolu::{Context, EventId, EventLoop, Stream, StreamEvent, StreamOptions};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::net::TcpListener;

const MOST_UNREAD: usize = 1 << 20;
const LONGEST_LINE: usize = 4096;

/// Who is there; without a name: who has not said it yet.
type Room = BTreeMap<EventId, Option<String>>;

/// Tells everybody who has a name, but not who says it.
fn tell_others(ctx: &mut Context<Room>, from: EventId, line: &str) {
    let others = ctx.data().iter().filter(|(id, name)| **id != from && name.is_some());
    for id in others.map(|(id, _)| *id).collect::<Vec<_>>() {
        ctx.with_stream(id, |ctx, stream| {
            // It fails only where the stream has ended, of which the loop tells.
            let _ = stream.write_all(line.as_bytes());
            if stream.unsent() > MOST_UNREAD {
                ctx.remove(id);
                ctx.data().remove(&id);
            }
        });
    }
}

fn event(ctx: &mut Context<Room>, stream: &mut Stream<'_>, event: StreamEvent) {
    let id = stream.id();
    if event == StreamEvent::Read {
        while let Some(line) = stream.read_line(Eol::CrLf) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let said = match ctx.data().get(&id).cloned().flatten() {
                Some(name) => format!("{name}: {line}\n"),
                None => {
                    ctx.data().insert(id, Some(line.clone()));
                    format!("* {line} is here\n")
                }
            };
            tell_others(ctx, id, &said);
        }
        if stream.input().len() > LONGEST_LINE {
            stream.close(); // no end of the line in sight
        }
    }
    let over = matches!(event, StreamEvent::Eof | StreamEvent::Error(..)) || !stream.is_writable();
    if over && let Some(Some(name)) = ctx.data().remove(&id) {
        tell_others(ctx, id, &format!("* {name} has left\n"));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7779".to_owned());
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);
    let mut event_loop = EventLoop::with_data(Room::new())?;
    event_loop.accept(listener, |ctx, socket, peer| {
        match ctx.stream(socket, StreamOptions::new(), event) {
            Ok(id) => drop(ctx.data().insert(id, None)),
            Err(error) => eprintln!("cannot serve {peer}: {error}"),
        }
    })?;
    event_loop.run()?;
    Ok(())
}
