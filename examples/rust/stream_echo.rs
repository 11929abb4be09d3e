//! An echo server on buffered streams: what a client sends comes back. The loop reads, writes and keeps what a slow client
//! has not taken yet; the program says what to do with what was read.
//!
//! Run it with `cargo run --example stream_echo [ADDRESS]` and talk to it with `nc 127.0.0.1 7777`.
//!
//! It shows: `Context::stream`, an idle timeout, and that nothing else has to be done: a client that does not read is not
//! read from, the end of a connection is answered with the rest and an end, and what is over is closed. (The same
//! by hand is `echo_server`.)

use duolu::{EventLoop, StreamEvent, StreamOptions};
use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

/// A client from which nothing is heard for so long is left.
const IDLE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".to_owned());
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    let mut event_loop = EventLoop::new()?;
    event_loop.accept(listener, |ctx, socket, peer| {
        let options = StreamOptions::new().read_timeout(IDLE);
        let served = ctx.stream(socket, options, |_: &mut _, stream: &mut duolu::Stream<'_>, event| {
            if event == StreamEvent::Read {
                stream.echo(); // moves the bytes, without a copy; they go out when this returns
            }
        });
        if let Err(error) = served {
            eprintln!("cannot serve {peer}: {error}");
        }
    })?;
    // The listener stays registered, so this runs until the process is ended.
    event_loop.run()?;
    Ok(())
}
