//! The model `prefork`: N processes, each accepting and serving one connection at a time with blocking calls.

use super::admin;
use super::blocking::{Accepted, Acceptor, BACK_OFF, converse, not_listening};
use super::board::{Count, Tally};
use super::fork::{end, in_child, no_process, nudge};
use super::grumble::Grumble;
use super::service::Session;
use super::setup::{Setup, failed_to_wait};
use crate::failure::Failure;
use duolu_sys::process::{Ended, Fork, try_wait_any};
use duolu_sys::worker::fork_worker;
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A child that lived shorter than this is not replaced at once: whatever killed it would kill the next one too.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long its place stays empty.
const RETRY: Duration = Duration::from_millis(100);

/// The place of one child.
struct Place {
    tally: Tally,
    child: Option<u32>,
    started: Instant,
}

struct Pool {
    listener: TcpListener,
    max_connections: u64,
    places: Vec<Place>,
    trouble: Grumble,
    /// A child has found that the socket does not listen any more.
    shut: bool,
}

/// Serves until a signal ends it.
pub fn serve<S: Session>(mut setup: Setup) -> Result<(), Failure> {
    admin::start_process(&mut setup)?;
    let listener = setup.listeners.remove(0);
    listener
        .set_nonblocking(false)
        .map_err(|error| Failure::cannot(format!("cannot wait on the socket: {error}")))?;
    let started = Instant::now();
    let place = |index| Place { tally: setup.board.tally(index, true), child: None, started };
    let places = (0..setup.workers).map(place).collect();
    let (max_connections, trouble) = (setup.max_connections, Grumble::default());
    let mut pool = Pool { listener, max_connections, places, trouble, shut: false };
    for index in 0..setup.workers {
        if let Err(error) = pool.fill::<S>(index) {
            let why = no_process(&error);
            return Err(Failure::cannot(format!(
                "only {index} of {} processes could be started: {why}",
                setup.workers
            )));
        }
    }
    setup.announce.ready("blocking");
    loop {
        let missing = pool.places.iter().any(|place| place.child.is_none());
        let woken = setup.control.wait(None, missing.then_some(RETRY)).map_err(failed_to_wait)?;
        if woken.stop {
            break;
        }
        pool.reap();
        if pool.shut {
            return Err(not_listening());
        }
        pool.replace::<S>();
    }
    setup.start_draining();
    if !setup.inherited {
        // Every child has this socket: shut, it listens for none of them, and their accepts end.
        let _ = rustix::net::shutdown(&pool.listener, rustix::net::Shutdown::Both);
    }
    let drained = setup.wait_until_drained(|| {
        pool.reap();
        pool.children().for_each(nudge);
        pool.children().next().is_none() // one that has just accepted is not counted yet
    });
    pool.children().for_each(end);
    drained
}

impl Pool {
    fn children(&self) -> impl Iterator<Item = u32> {
        self.places.iter().filter_map(|place| place.child)
    }

    /// Puts a child on an empty place.
    fn fill<S: Session>(&mut self, index: usize) -> std::io::Result<()> {
        let tally = self.places[index].tally;
        match fork_worker()? {
            Fork::Parent(child) => {
                let place = &mut self.places[index];
                (place.child, place.started) = (Some(child), Instant::now());
                Ok(())
            }
            Fork::Child => in_child(|| work::<S>(&self.listener, tally, self.max_connections)),
        }
    }

    /// Takes ended children out of the process table.
    fn reap(&mut self) {
        while let Ok(Some((child, ended))) = try_wait_any() {
            let Some(place) = self.places.iter_mut().find(|place| place.child == Some(child)) else {
                continue;
            };
            place.child = None;
            // It may have died in the middle of a connection. Nobody else writes to its tally now.
            place.tally.set(Count::Closed, place.tally.get(Count::Accepted));
            // Before the end begins nothing else makes a child end by itself.
            self.shut |= ended == Ended::Code(0);
            if ended != Ended::Code(0) {
                self.trouble.say(|| format!("process {child} ended ({ended:?}), another takes its place"));
            }
        }
    }

    fn replace<S: Session>(&mut self) {
        for index in 0..self.places.len() {
            let place = &self.places[index];
            if place.child.is_some() || place.started.elapsed() < SHORT_LIFE {
                continue;
            }
            if let Err(error) = self.fill::<S>(index) {
                self.trouble.say(|| format!("a process is missing: {}", no_process(&error)));
                return;
            }
        }
    }
}

/// A child's life.
fn work<S: Session>(listener: &TcpListener, tally: Tally, max_connections: u64) {
    let mut acceptor = Acceptor::new(listener, tally, max_connections);
    while !tally.board().draining() {
        match acceptor.accept() {
            Accepted::Stream(stream) => {
                converse::<S>(&stream, tally, |_| {});
                tally.add(Count::Closed, 1);
            }
            Accepted::Exhausted => std::thread::sleep(BACK_OFF),
            Accepted::Next | Accepted::Nobody => {}
            Accepted::Shut => return,
        }
    }
}
