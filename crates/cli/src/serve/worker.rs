//! The frame of the models that have a loop: N threads, each with a loop of its own.

use super::board::Tally;
use crate::failure::Failure;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// What one worker thread gets.
pub struct Worker {
    /// 0 for the first.
    pub index: usize,
    /// Where it accepts; non-blocking. Shared with the other workers unless each has its own (reuseport).
    pub listener: Arc<TcpListener>,
    /// Whether other workers accept on the same listener and wake-ups are to be exclusive (EPOLLEXCLUSIVE).
    pub exclusive: bool,
    /// Its counters; this thread alone writes them.
    pub tally: Tally,
    /// More connections than this in the whole server (`tally.board().open()`) are closed at once.
    pub max_connections: u64,
    /// Readable (end of file) when the server begins to end: stop accepting, let `listener` go, finish the
    /// connections. `tally.board().draining()` is true by then.
    pub stop: OwnedFd,
    /// How long after that the connections may take. Whatever is left is closed.
    pub drain: Duration,
    pub(super) readiness: mpsc::Sender<Result<Ready, Failure>>,
}

/// What a worker found out when it started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// The kernel interface in use: "epoll", "io_uring", ...
    pub backend: String,
}

impl Worker {
    /// Tells that this worker accepts from now on.
    pub fn ready(&self, ready: Ready) {
        let _ = self.readiness.send(Ok(ready)); // nobody waits any more: another worker failed
    }
}
