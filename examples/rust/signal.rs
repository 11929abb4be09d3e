//! Signals as ordinary events: no signal handler, no restriction on what the callback may do.
//!
//! Run it with `cargo run --example signal`, then `kill -HUP` it, and end it with Ctrl-C or `kill`.

use duolu::{EventLoop, Next};
use std::error::Error;

// The same numbers on every Linux (signal(7)); the crate libc has names for them all.
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let mut event_loop = EventLoop::with_data(0u32)?; // how often the configuration was read

    // The kernel merges a signal that is already waiting, so `count` may be less than how often it was sent.
    event_loop.signal(SIGHUP, |ctx, count| {
        *ctx.data() += 1;
        println!("read the configuration again ({count} signals)");
        Next::Keep
    })?;

    // Ending in good order: callbacks that are due still run, then `run` returns and destructors do their work.
    for (signo, name) in [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")] {
        event_loop.signal(signo, move |ctx, _| {
            println!("{name}: ending");
            ctx.stop();
            Next::Keep
        })?;
    }

    println!("waiting for signals as process {}", std::process::id());
    event_loop.run()?;
    println!("read {} times; good bye", event_loop.data());
    Ok(())
}
