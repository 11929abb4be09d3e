//! Timers: once, periodically, and at intervals that the callback chooses.
//!
//! Run it with `cargo run --example timer`. It ends by itself: a loop runs until nothing is pending any more.

use duolu::{EventLoop, Next};
use std::error::Error;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut event_loop = EventLoop::new()?;

    event_loop.after(5 * TICK / 2, |_| println!("once, after 50 ms"));

    // A periodic timer goes by its schedule: it does not drift, however long its callback takes.
    let mut ticks = 0;
    event_loop.every(TICK, move |_| {
        ticks += 1;
        println!("tick {ticks}");
        if ticks < 5 { Next::Keep } else { Next::Remove }
    });

    // Here the callback says when it wants to be called again, counted from now: an attempt that backs off.
    let mut delay = TICK / 4;
    event_loop.timer(delay, move |_| {
        println!("tried, next in {} ms", 2 * delay.as_millis());
        delay *= 2;
        if delay < 5 * TICK { Next::after(delay) } else { Next::Remove }
    });

    // Removing a timer is how it is called off; its id is stale from then on.
    let never = event_loop.after(Duration::from_secs(3600), |_| println!("nobody sees this"));
    event_loop.after(TICK, move |ctx| {
        assert!(ctx.remove(never));
        assert!(!ctx.remove(never));
    });

    event_loop.run()?;
    println!("nothing is pending any more");
    Ok(())
}
