//! The frame of the models that have a loop: N threads, each with a loop of its own, and the main thread that waits
//! for signals.

use super::admin;
use super::board::Tally;
use super::setup::{Accept, Setup};
use crate::failure::Failure;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// What one worker gets: a thread here, a process in `processes.rs`.
pub struct Worker {
    /// 0 for the first.
    pub index: usize,
    /// Where it accepts; non-blocking. Shared with the other workers unless each has its own (reuseport).
    pub listener: Arc<TcpListener>,
    /// Whether other workers accept on the same listener and wake-ups are to be exclusive (EPOLLEXCLUSIVE).
    pub exclusive: bool,
    /// Whether other workers accept on the same listener.
    pub shared: bool,
    /// Its counters; it alone writes them.
    pub tally: Tally,
    /// More connections than this in the whole server (`Setup::has_room`) are closed at once.
    pub max_connections: u64,
    /// Readable (end of file) when the server begins to end, `tally.board().draining()` is true by then: accept
    /// whoever is in the queue, let `listener` go, finish the connections, return. When `--drain` is over the
    /// process ends anyway.
    pub stop: OwnedFd,
    /// Whether anybody reads counters that cost something to keep (the admin endpoint).
    pub publish: bool,
    /// Whom [`Worker::ready`] tells.
    pub(super) told: Box<dyn Fn(Ready) + Send>,
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
        (self.told)(ready);
    }
}

/// Runs `body` in each of the worker threads until a signal ends the server. A worker that fails ends it too.
pub fn serve(
    mut setup: Setup,
    body: impl Fn(Worker) -> Result<(), Failure> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let publish = setup.admin.is_some();
    admin::start_thread(&mut setup)?;
    let (stop_sender, stop) = UnixStream::pair().map_err(no_descriptor)?;
    let (ended_sender, ended) = UnixStream::pair().map_err(no_descriptor)?;
    let (readiness, started) = mpsc::channel();
    let running = Arc::new(AtomicUsize::new(setup.workers));
    let listeners: Vec<_> = std::mem::take(&mut setup.listeners).into_iter().map(Arc::new).collect();
    for index in 0..setup.workers {
        let teller = readiness.clone();
        let worker = Worker {
            index,
            listener: listeners[index % listeners.len()].clone(),
            exclusive: setup.accept == Accept::Exclusive,
            shared: listeners.len() < setup.workers,
            tally: setup.board.tally(index, true),
            max_connections: setup.max_connections,
            stop: stop.try_clone().map_err(no_descriptor)?.into(),
            publish,
            told: Box::new(move |ready| drop(teller.send(Ok(ready)))), // nobody waits: another worker failed
        };
        let sender = ended_sender.try_clone().map_err(no_descriptor)?;
        let farewell = Farewell { sender, running: running.clone() };
        start(worker, body.clone(), readiness.clone(), farewell)?;
    }
    drop((listeners, stop, readiness)); // the workers have them: the port closes when the last one lets go
    let mut backend = String::new();
    for _ in 0..setup.workers {
        backend = started.recv().unwrap_or_else(|_| Err(vanished()))?.backend;
    }
    setup.announce.ready(&backend);
    loop {
        let woken = setup.wait(Some(ended.as_fd()), None)?;
        if woken.readable {
            return Err(started.recv().ok().and_then(Result::err).unwrap_or_else(vanished));
        }
        if woken.stop {
            break;
        }
    }
    setup.start_draining();
    drop(stop_sender);
    setup.wait_until_drained(|| running.load(Ordering::Acquire) == 0)
}

fn start(
    worker: Worker,
    body: impl FnOnce(Worker) -> Result<(), Failure> + Send + 'static,
    readiness: mpsc::Sender<Result<Ready, Failure>>,
    farewell: Farewell,
) -> Result<(), Failure> {
    let name = format!("worker {}", worker.index);
    let thread = move || {
        let _farewell = farewell;
        if let Err(failure) = body(worker) {
            let _ = readiness.send(Err(failure)); // the main thread has left: the process ends already
        }
    };
    let spawned = std::thread::Builder::new().name(name).spawn(thread);
    spawned.map(drop).map_err(|error| Failure::cannot(format!("cannot start a worker thread: {error}")))
}

/// Tells the main thread that a worker has ended, also by a panic.
struct Farewell {
    sender: UnixStream,
    running: Arc<AtomicUsize>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Release);
        let _ = self.sender.write_all(&[0]);
    }
}

/// Why there are no pipes to a worker, and what to do.
pub(super) fn no_descriptor(error: std::io::Error) -> Failure {
    Failure::cannot(format!("no descriptors for the workers: {error}; raise 'ulimit -n'"))
}

fn vanished() -> Failure {
    Failure::cannot("a worker thread has ended, see above")
}
