//! `--processes`: the models that have a loop, a process for each instead of a thread. RLIMIT_NOFILE is of a process,
//! so N of them hold N times as many connections: a million on epoll takes 57 of 20,000 descriptors each.
//!
//! (a) The parent keeps a copy of every listening socket and never accepts. With reuseport the kernel goes on giving
//!     a dead worker's socket its share of the connections: they wait in its queue until the next one takes it over.
//! (b) A child has copies of what the parent had open. It lets go of the other workers' sockets, or a port would
//!     listen on behind the one who left it; and of the parent's end of `stop`, or that would never end.
//! (c) No thread may have been started before the last fork: see `fork_alone`.

use super::admin;
use super::board::{Board, Tally};
use super::fork::no_process;
use super::grumble::Grumble;
use super::pool::{Casualty, Pool};
use super::service::Service;
use super::setup::{Accept, Setup, failed_to_wait};
use super::worker::{Ready, Worker, no_descriptor};
use crate::failure::Failure;
use crate::walls::{grouped, memory};
use duolu_sys::process::{Ended, exit_now};
use rustix::process::{Resource, getrlimit};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Descriptors of a worker that are no connections: standard streams, sockets, the loop's own, a log.
const BESIDES: u64 = 32;
/// Of the rest so many per cent are counted on. SO_REUSEPORT spreads connections by a hash: the fullest worker of
/// sixty had 9 % more than its share, and it is the first one that fails.
const COUNTED_ON: u64 = 88;
/// The exit code of a worker that has said why it failed.
const SAID_WHY: i32 = 3;
/// The longest sentence of a worker.
const SENTENCE_BYTES: usize = 4096;
/// How often the machine's memory is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// With fewer connections it is not looked at.
const MANY: u64 = 10_000;
/// Memory must be back by so much before anybody is let in again: no to and fro.
const BACK_BYTES: u64 = 64 << 20;

/// How many connections a process can be counted on to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// All of them are its own.
    pub alone: u64,
    /// They are spread over several by a hash.
    pub among_several: u64,
}

impl Room {
    /// By RLIMIT_NOFILE; `None` for any number.
    pub fn of_this_process(service: Service) -> Option<Room> {
        let each = if service == Service::Proxy { 2 } else { 1 };
        getrlimit(Resource::Nofile).current.map(|limit| Room::of(limit, each))
    }

    /// Where a connection takes `each` descriptors.
    fn of(limit: u64, each: u64) -> Room {
        let alone = (limit.saturating_sub(BESIDES) / each).max(1);
        Room { alone, among_several: (alone * COUNTED_ON / 100).max(1) }
    }
}

/// The parent's side. A child lets go of all of it.
struct Parent {
    listeners: Vec<TcpListener>,
    /// Dropped, it tells the children that the end begins.
    stop: UnixStream,
    /// What they say.
    heard: UnixDatagram,
}

/// What each child begins with.
struct Child {
    stop: UnixStream,
    saying: Arc<UnixDatagram>,
    accept: Accept,
    workers: usize,
    max_connections: u64,
    publish: bool,
}

/// Runs `body` in each of the worker processes until a signal ends the server. A worker that fails ends it too; one
/// that is killed is replaced.
pub fn serve(
    mut setup: Setup,
    body: impl Fn(Worker) -> Result<(), Failure> + Clone + Send + 'static,
) -> Result<(), Failure> {
    let publish = setup.admin.is_some();
    admin::start_process(&mut setup)?;
    let (stop_parent, stop) = UnixStream::pair().map_err(no_descriptor)?;
    let (heard, saying) = UnixDatagram::pair().map_err(no_descriptor)?;
    heard.set_nonblocking(true).map_err(no_descriptor)?;
    let listeners = std::mem::take(&mut setup.listeners);
    let mut server = Server {
        parent: Some(Parent { listeners, stop: stop_parent, heard }),
        child: Child {
            stop,
            saying: Arc::new(saying),
            accept: setup.accept,
            workers: setup.workers,
            max_connections: setup.max_connections,
            publish,
        },
        pool: Pool::new(setup.board, setup.workers),
        body,
        guard: Guard::new(setup.board),
    };
    let outcome = server.run(&mut setup);
    server.pool.end();
    outcome
}

struct Server<F> {
    /// Until the end begins; in a child: nothing.
    parent: Option<Parent>,
    child: Child,
    pool: Pool,
    body: F,
    guard: Guard,
}

impl<F: Fn(Worker) -> Result<(), Failure> + Clone> Server<F> {
    fn run(&mut self, setup: &mut Setup) -> Result<(), Failure> {
        for index in 0..self.pool.len() {
            if let Err(error) = self.fill(index) {
                let (why, all) = (no_process(&error), self.pool.len());
                return Err(Failure::cannot(format!(
                    "only {index} of {all} processes could be started: {why}"
                )));
            }
        }
        if self.start(setup)? {
            self.attend(setup)?;
        }
        setup.start_draining();
        self.parent = None; // the port closes when the last child lets go of it
        setup.wait_until_drained(|| {
            while self.pool.reap().is_some() {}
            self.pool.children().next().is_none()
        })
    }

    /// Waits until all are ready. `false`: told to end before that.
    fn start(&mut self, setup: &mut Setup) -> Result<bool, Failure> {
        let (mut ready, mut backend) = (0, String::new());
        while ready < self.pool.len() {
            let Some(parent) = &self.parent else { return Ok(false) };
            let woken = setup.control.wait(Some(parent.heard.as_fd()), None).map_err(failed_to_wait)?;
            if woken.stop {
                return Ok(false);
            }
            while let Some(said) = self.hear() {
                backend = said?.backend;
                ready += 1;
            }
            if let Some(casualty) = self.pool.reap() {
                return Err(self.last_words(&casualty));
            }
        }
        setup.announce.ready(&backend);
        Ok(true)
    }

    /// Until the end begins: buries and replaces.
    fn attend(&mut self, setup: &mut Setup) -> Result<(), Failure> {
        loop {
            let Some(parent) = &self.parent else { return Ok(()) };
            let patience = self.pool.patience().unwrap_or(LOOK).min(LOOK);
            let woken = setup.wait(Some(parent.heard.as_fd()), Some(patience))?;
            if woken.stop {
                return Ok(());
            }
            while let Some(said) = self.hear() {
                said?; // one that was replaced is ready
            }
            while let Some(casualty) = self.pool.reap() {
                // Nothing makes a worker end by itself: it has failed, and so would the next.
                if matches!(casualty.ended, Ended::Code(0 | SAID_WHY)) {
                    return Err(self.last_words(&casualty));
                }
                self.pool.mourn(&casualty);
            }
            self.replace();
            self.guard.look();
        }
    }

    fn fill(&mut self, index: usize) -> std::io::Result<()> {
        let (parent, child, body) = (&mut self.parent, &self.child, &self.body);
        self.pool.fill(index, |tally| live(parent.take(), child, index, tally, body))
    }

    fn replace(&mut self) {
        let (parent, child, body) = (&mut self.parent, &self.child, &self.body);
        self.pool.replace(|index, tally| live(parent.take(), child, index, tally, body));
    }

    /// The next thing a worker has said.
    fn hear(&self) -> Option<Result<Ready, Failure>> {
        let mut bytes = [0; SENTENCE_BYTES];
        let count = self.parent.as_ref()?.heard.recv(&mut bytes).ok()?;
        let (kind, text) = bytes[..count].split_first()?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(if *kind == READY { Ok(Ready { backend: text }) } else { Err(Failure::cannot(text)) })
    }

    /// Why a worker ended: in its own words, if it left some.
    fn last_words(&self, casualty: &Casualty) -> Failure {
        while let Some(said) = self.hear() {
            if let Err(failure) = said {
                return failure;
            }
        }
        Failure::cannot(format!("a worker has ended: {}", casualty.sentence()))
    }
}

const READY: u8 = b'R';
const FAILED: u8 = b'F';

/// A child's life.
fn live(
    parent: Option<Parent>,
    child: &Child,
    index: usize,
    tally: Tally,
    body: impl Fn(Worker) -> Result<(), Failure>,
) {
    let Some(Parent { mut listeners, stop, heard }) = parent else { return };
    let shared = listeners.len() < child.workers;
    let listener = Arc::new(listeners.swap_remove(index % listeners.len()));
    drop((listeners, stop, heard)); // (b)
    let saying = child.saying.clone();
    let outcome = child.stop.try_clone().map_err(no_descriptor).and_then(|stop| {
        body(Worker {
            index,
            listener,
            exclusive: child.accept == Accept::Exclusive,
            shared,
            tally,
            max_connections: child.max_connections,
            stop: stop.into(),
            publish: child.publish,
            told: Box::new(move |ready| say(&saying, READY, &ready.backend)),
        })
    });
    if let Err(failure) = outcome {
        say(&child.saying, FAILED, failure.message());
        exit_now(SAID_WHY);
    }
}

fn say(saying: &UnixDatagram, kind: u8, text: &str) {
    let message: Vec<u8> = std::iter::once(kind).chain(text.bytes().take(SENTENCE_BYTES - 1)).collect();
    let _ = saying.send(&message); // fails where the parent has gone, and then so have we
}

/// Looks at the machine's memory while many connections are open: no limit of these processes counts the kernel's
/// part of them. While it is short whoever comes is closed at once.
struct Guard {
    board: Board,
    floor: memory::Floor,
    looked: Instant,
    grumble: Grumble,
}

impl Guard {
    fn new(board: Board) -> Self {
        Guard { board, floor: memory::Floor::read(), looked: Instant::now(), grumble: Grumble::default() }
    }

    fn look(&mut self) {
        let open = self.board.open();
        if open < MANY || self.looked.elapsed() < LOOK {
            return;
        }
        self.looked = Instant::now();
        let was_short = self.board.is_short();
        let shortage = self.floor.shortage(if was_short { BACK_BYTES } else { 0 });
        self.board.set_short(shortage.is_some());
        if let Some(shortage) = shortage {
            let (evidence, open) = (shortage.evidence(), grouped(open));
            self.grumble
                .say(|| format!("wall memory: {evidence}; no more than these {open} connections for now"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_takes_fifty_seven_processes_of_twenty_thousand_descriptors() {
        let room = Room::of(20_000, 1);
        assert_eq!((room.alone, room.among_several), (19_968, 17_571));
        assert_eq!(1_000_000_u64.div_ceil(room.among_several), 57);
        assert_eq!(Room::of(3, 1), Room { alone: 1, among_several: 1 });
    }
}
