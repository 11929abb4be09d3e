//! A download that leaves something of the line to others: one file by HTTP, each client so fast and all of them together four
//! times that.
//!
//! Run it with `cargo run --example download FILE KIB_A_SECOND [ADDRESS]` and fetch it with `curl http://127.0.0.1:7781/ -o copy`.
//!
//! It shows: rate limits for a stream and for a group, a file that is sent without being read into the program (sendfile), and a
//! client that takes nothing.

use duolu::{Direction, EventLoop, Rate, SharedFile, Stream, StreamEvent, StreamOptions};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// A client that neither asks nor takes anything for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// A request has fewer bytes than that.
const LONGEST_REQUEST: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(speed)) = (arguments.next(), arguments.next()) else {
        return Err("usage: download FILE KIB_A_SECOND [ADDRESS]".into());
    };
    let speed: u64 = speed.parse::<u32>().map_err(|error| format!("{speed} KiB a second: {error}"))?.into();
    let file = File::open(&name).map_err(|error| format!("cannot open {name}: {error}"))?;
    let len = file.metadata()?.len();
    let file = Arc::new(SharedFile(file));
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7781".to_owned());
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    println!("listening on {}", listener.local_addr()?);

    let mut event_loop = EventLoop::new()?;
    // A tenth of a second's bytes at once, after a rest.
    let rate = move |times: u64| {
        let bytes_per_second = speed * 1024 * times;
        Rate { bytes_per_second, burst: bytes_per_second / 10 }
    };
    let all = event_loop.rate_group(None, Some(rate(4)));
    event_loop.accept(listener, move |ctx, socket, peer| {
        let options = StreamOptions::new().rate(Direction::Write, rate(1)).group(&all);
        let file = Arc::clone(&file);
        let send = move |_: &mut _, stream: &mut Stream<'_>, event| {
            if event != StreamEvent::Read {
                return;
            }
            if stream.input().len() > LONGEST_REQUEST {
                return stream.close();
            }
            let bytes = stream.input().len();
            let whole =
                stream.pull_up(bytes).is_some_and(|head| head.windows(4).any(|four| four == b"\r\n\r\n"));
            if whole {
                let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {len}\r\n\r\n");
                // Both fail only where the client has gone, of which the loop tells.
                let _ = stream.write_all(head.as_bytes());
                stream.send_file(file.clone(), 0, len as usize);
                stream.close_within(PATIENCE);
            }
        };
        if let Err(error) = ctx.stream(socket, options.read_timeout(PATIENCE), send) {
            eprintln!("cannot serve {peer}: {error}");
        }
    })?;
    event_loop.run()?;
    Ok(())
}
