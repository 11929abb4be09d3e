//! `--json-stream`: an object a line at a steady pace, until its reader leaves.

use super::args::Plan;
use super::json;
use super::view::View;
use crate::failure::Failure;
use crate::inspect::Inspector;
use crate::terminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Writes samples. A sample that took longer than the interval is followed by the next at once; none is made up for.
///
/// # Errors
/// The sockets cannot be read, or stdout cannot be written to; 130 after SIGINT or SIGTERM.
pub fn run(plan: &Plan, interval: Duration, count: Option<u64>) -> Result<(), Failure> {
    let interrupted = interrupts()?;
    let mut inspector = Inspector::new();
    let mut stdout = std::io::stdout().lock();
    let mut due = Instant::now();
    for sample in 0.. {
        if count.is_some_and(|count| sample >= count) {
            return Ok(());
        }
        if sample > 0 {
            due = (due + interval).max(Instant::now());
            if !rest(&stdout, due, &interrupted) {
                break;
            }
        }
        let snapshot =
            inspector.snapshot(&plan.query()).map_err(|error| Failure::cannot(error.to_string()))?;
        let view = View::of(plan, &snapshot);
        if !terminal::written(json::write(plan, &view, &mut stdout).and_then(|()| stdout.flush()))? {
            return Ok(());
        }
    }
    if interrupted.load(Ordering::Relaxed) { Err(Failure::interrupted()) } else { Ok(()) }
}

/// Waits until `due`. `false`: the reader has gone, or the user wants it to end.
fn rest(stdout: &std::io::StdoutLock<'_>, due: Instant, interrupted: &AtomicBool) -> bool {
    loop {
        if interrupted.load(Ordering::Relaxed) {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        // A pipe whose reader has gone is in error, whatever was asked for (poll(2)).
        let mut watched = [PollFd::new(stdout, PollFlags::empty())];
        let timeout = Timespec::try_from(left).ok();
        if let Ok(1..) = poll(&mut watched, timeout.as_ref()) {
            return false;
        }
    }
}

/// SIGINT and SIGTERM end the stream between two lines instead of within one; a second one at once.
fn interrupts() -> Result<Arc<AtomicBool>, Failure> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let requested = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&requested))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&requested)))
            .map_err(|error| Failure::cannot(format!("cannot listen for Ctrl-C: {error}")))?;
    }
    Ok(requested)
}
