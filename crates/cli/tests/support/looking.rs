//! When a command that looks again and again has looked once: it sleeps between two looks.

use std::time::{Duration, Instant};

/// Waits until the main thread of `pid`, a `duolu why --for` or a `duolu states -o`, has its first look behind it.
pub fn wait_until_it_has_looked(pid: u32) {
    let until = Instant::now() + Duration::from_secs(60);
    let sleeps =
        || std::fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("nanosleep"));
    while !sleeps() {
        assert!(Instant::now() < until, "process {pid} never sleeps between two looks");
        std::thread::sleep(Duration::from_millis(1));
    }
}
