//! A child's end and output, but not waited for without end.

use duolu_sys::child::signal;
use std::process::{Child, Output};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything that is waited for takes, shorter than patience.
pub const PATIENCE: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

/// Kills it, and fails, when it takes longer than [`PATIENCE`].
pub fn wait(child: Child) -> Output {
    let pid = child.id();
    let waiting = thread::spawn(move || child.wait_with_output().expect("its output"));
    let until = Instant::now() + PATIENCE;
    while !waiting.is_finished() {
        if Instant::now() > until {
            let _ = signal(pid, SIGKILL); // not waited for yet, so still ours
            panic!("it did not end: {:?}", waiting.join());
        }
        thread::sleep(Duration::from_millis(5));
    }
    waiting.join().expect("waiting")
}
