//! Work on other threads, results in the loop: no lock is needed around the loop's data, because only the
//! loop's own thread ever touches it.
//!
//! Run it with `cargo run --example cross_thread_post`.

use duolu::EventLoop;
use std::error::Error;
use std::thread;

const WORKERS: u64 = 4;
const EACH: u64 = 250_000;

#[derive(Default)]
struct Results {
    sum: u64,
    workers_done: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut event_loop = EventLoop::with_data(Results::default())?;

    for worker in 0..WORKERS {
        // A handle can be cloned and sent to other threads; the loop itself cannot.
        let handle = event_loop.handle();
        thread::spawn(move || {
            let from = worker * EACH;
            let sum: u64 = (from + 1..=from + EACH).sum();
            // The closure runs on the loop's thread and wakes it if it sleeps. An error means that the loop is
            // gone and nobody wants the result any more.
            let _ = handle.post(move |ctx| {
                let results = ctx.data();
                results.sum += sum;
                results.workers_done += 1;
                println!("a worker is done");
                if results.workers_done == WORKERS {
                    ctx.stop();
                }
            });
        });
    }

    // Handles do not keep a loop running, and nothing is registered here: so until it is told to stop.
    event_loop.run_until_stopped()?;
    println!("the sum is {}", event_loop.into_data().sum);
    Ok(())
}
