//! The crowd's turn, and dialling (`dial`, and `late` for what never comes), as fast as the server takes them and no
//! faster, and what ends it.
//!
//! The kernel completes a connection before the server has accepted it. So that no more than [`WINDOW`] of those
//! wait, every so many-th connection is a mark: it exchanges a message at once, and because connections are accepted
//! in the order in which they came, its answer proves all before it. The last one is a mark too. Where several
//! sockets share the port (SO_REUSEPORT) each has a queue and an order of its own: there the marks only set the pace,
//! and what proves the connections is that all queues are empty in the end.
//!
//! Every connection is received from, so that one that the server ends is noticed and no longer counted.

mod dial;
mod late;

use super::super::args::Plan;
use super::super::errors::Kind;
use super::super::pattern::Pattern;
use super::super::tally::Tally;
use super::sample::Samples;
use crate::failure::Failure;
use crate::walls::Wall;
use crate::walls::files::Files;
use crate::walls::memory::Floor;
use duolu_sys::completion::{Completion, ConnId, Errno as Refusal, Report, Rings};
use rustix::io::Errno;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Connections that may be waiting to be accepted.
const WINDOW: u64 = 1024;
/// Marks in a window.
const MARKS: u64 = 8;
/// Late ones are looked for so often.
const SWEEP: Duration = Duration::from_millis(100);
/// The loader stops before a server with the same floor does: the reason is known here.
const BEFORE_SERVER_BYTES: u64 = 128 << 20;
/// Enough failures to see that more will not help.
const MOST_FAILURES: u64 = 256;
/// The longest sleep, so that Ctrl-C and the clock are seen.
const SLEEP_NS: u64 = 20_000_000;
/// Closed in one turn.
const CLOSES: usize = 512;

/// What is known of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nobody, or no longer.
    Gone,
    Connecting,
    Held,
}

/// A slot: four bytes of name, one of state.
#[derive(Clone, Copy)]
pub struct Place {
    generation: u32,
    pub state: State,
}

impl Place {
    /// The connection in it.
    pub fn name(self, slot: u32) -> ConnId {
        ConnId::new(slot, self.generation)
    }
}

/// A connection on its way.
struct Dial {
    ordinal: u64,
    since: Instant,
}

/// All connections.
pub struct Crowd<'a> {
    plan: &'a Plan,
    pub rings: Rings,
    places: Vec<Place>,
    /// Connected, and not ended since.
    pub held: u64,
    pub tally: Tally,
    pub samples: Samples,
    dialled: u64,
    /// Connections that the server is known to have accepted, or that have failed.
    proven: u64,
    window: u64,
    /// Whether the server is known to have fetched what it has from its queues; with one queue the marks tell.
    fetched: bool,
    /// Connections at the last look that waited in one of several queues, and when there were last fewer.
    waiting: (u64, Instant),
    /// Counted as not accepted, but still in their slots: nobody knows which they are until a sample is not answered.
    unaccepted: u64,
    dials: HashMap<u32, Dial>,
    last_connected: Option<ConnId>,
    failed: u64,
    sources: Vec<Ipv4Addr>,
    next_source: usize,
    floor: Floor,
    /// Whether fs.file-max bounds us.
    bounded: bool,
    looked_at: u64,
    swept: Instant,
    progress: Instant,
    begun: Instant,
    /// No more are dialled.
    stopped: bool,
    wall: Option<Wall>,
    own_limit: Option<(Kind, u64)>,
}

impl<'a> Crowd<'a> {
    /// `queues` is how many sockets listen for the target, as far as is known.
    pub fn new(plan: &'a Plan, rings: Rings, backlog: Option<u32>, queues: usize) -> Self {
        let now = Instant::now();
        let half = backlog.map_or(WINDOW, |backlog| u64::from(backlog) / 2);
        let salt = u64::from(std::process::id()).wrapping_mul(31);
        Crowd {
            plan,
            rings,
            places: Vec::new(),
            held: 0,
            tally: Tally::default(),
            samples: Samples::new(Pattern::new(plan.payload, salt), plan.active, super::rate(plan)),
            dialled: 0,
            proven: 0,
            window: half.clamp(2, WINDOW),
            fetched: queues < 2,
            waiting: (u64::MAX, now),
            unaccepted: 0,
            dials: HashMap::new(),
            last_connected: None,
            failed: 0,
            sources: plan.sources.clone(),
            next_source: 0,
            floor: Floor::read(),
            bounded: Files::that_bound_us().is_some(),
            looked_at: 0,
            swept: now,
            progress: now,
            begun: now,
            stopped: false,
            wall: None,
            own_limit: None,
        }
    }

    /// Whether all are there, or no more come.
    pub fn is_up(&self) -> bool {
        let proven = self.proven >= self.dialled && self.fetched;
        self.all_dialled() && self.dials.is_empty() && (proven || self.held == 0 || self.wall.is_some())
    }

    fn all_dialled(&self) -> bool {
        self.stopped || self.dialled == self.plan.connections as u64
    }

    /// From now on exchanges count as measured.
    pub fn measure(&mut self, on: bool) {
        self.samples.measuring = on;
    }

    /// Dials (while `climbing`), exchanges, sorts out what has come.
    pub fn turn(&mut self, climbing: bool) -> Result<(), Failure> {
        let mut busy = false;
        if climbing && !self.stopped {
            busy = self.dial_some()?;
            self.look_at_machine();
        }
        if climbing {
            self.mark_the_last();
        }
        let next_ns = self.samples.begin(&mut self.rings, &self.places, Instant::now());
        let sleep_ns = if busy { 0 } else { next_ns.unwrap_or(SLEEP_NS).min(SLEEP_NS) };
        self.wait(sleep_ns)?;
        let now = Instant::now();
        if now - self.swept >= SWEEP {
            self.swept = now;
            self.sweep(now);
        }
        Ok(())
    }

    fn wait(&mut self, sleep_ns: u64) -> Result<(), Failure> {
        self.rings.wait(Some(sleep_ns)).map_err(failed)?;
        let now = Instant::now();
        while let Some(report) = self.rings.next_report() {
            match report {
                Report::Connected { conn } => self.connected(conn, now),
                Report::Received { conn, chunk } => {
                    let bytes = self.rings.bytes(chunk);
                    match self.samples.received(conn.slot(), bytes, now, &mut self.tally) {
                        Ok(Some(mark)) => {
                            self.proven = self.proven.max(mark);
                            self.progress = now;
                        }
                        Ok(None) => {}
                        Err((kind, what)) => {
                            self.rings.cancel(conn);
                            self.lose(conn, kind, what);
                        }
                    }
                }
                Report::Failed { conn, errno } => {
                    let kind = Kind::from_errno(Errno::from_raw_os_error(errno.0));
                    self.lose(conn, kind, format!("connection {}: {}", conn.slot(), error(errno)));
                }
                Report::PeerFinished { conn } => {
                    self.rings.close(conn);
                    self.lose(
                        conn,
                        Kind::ClosedEarly,
                        format!("the server closed connection {}", conn.slot()),
                    );
                }
                Report::Accepted { .. }
                | Report::Drained { .. }
                | Report::Unlistened { .. }
                | Report::Readable { .. } => {}
            }
        }
        Ok(())
    }

    fn connected(&mut self, conn: ConnId, now: Instant) {
        let Some(dial) = self.dials.remove(&conn.slot()) else { return };
        self.tally.connect.saturating_record((now - dial.since).as_nanos() as u64);
        self.places[conn.slot() as usize].state = State::Held;
        self.held += 1;
        self.progress = now;
        self.last_connected = Some(conn);
        self.rings.receive(conn);
        if dial.ordinal % (self.window / MARKS).max(1) == 0 {
            self.samples.mark(&mut self.rings, conn, dial.ordinal);
        }
    }

    /// Where nothing else will prove the last ones, the last one does.
    fn mark_the_last(&mut self) {
        let waits = self.all_dialled() || self.dialled - self.proven >= self.window;
        if self.proven < self.dialled && waits && self.dials.is_empty() && self.samples.marks() == 0 {
            match self.last_connected {
                Some(conn) if self.is_held(conn) => self.samples.mark(&mut self.rings, conn, self.dialled),
                _ => match self.any_held() {
                    Some(conn) => self.last_connected = Some(conn),
                    None => self.proven = self.dialled, // nobody is left to be proven
                },
            }
        }
    }

    fn is_held(&self, conn: ConnId) -> bool {
        let place = &self.places[conn.slot() as usize];
        place.state == State::Held && place.generation == conn.generation()
    }

    fn any_held(&self) -> Option<ConnId> {
        let slot = self.places.iter().rposition(|place| place.state == State::Held)?;
        Some(ConnId::new(slot as u32, self.places[slot].generation))
    }

    fn lose(&mut self, conn: ConnId, kind: Kind, what: String) {
        let Some(place) = self.places.get_mut(conn.slot() as usize) else { return };
        if place.generation != conn.generation() {
            return;
        }
        match std::mem::replace(&mut place.state, State::Gone) {
            State::Gone => return,
            State::Connecting => drop(self.dials.remove(&conn.slot())),
            State::Held => self.held -= 1,
        }
        self.samples.forget(conn.slot());
        self.tally.error(kind, 1);
        self.tally.first_wrong.get_or_insert(what);
        self.failed += 1;
        let in_vain = self.failed >= MOST_FAILURES || (self.held == 0 && kind == Kind::ConnectRefused);
        if in_vain && !self.stopped {
            self.stopped = true;
            self.tally.error(kind, self.plan.connections as u64 - self.dialled);
        }
    }

    /// What was asked before the end is still awaited.
    pub fn last_replies(&mut self) -> Result<(), Failure> {
        self.samples.ending = true;
        let until = Instant::now() + self.plan.timeout;
        while self.samples.under_way() > 0 && Instant::now() < until {
            self.wait(SLEEP_NS)?;
        }
        self.sweep(Instant::now());
        Ok(())
    }

    /// Ends all connections, and the rings with them.
    pub fn close(mut self) -> (Tally, Option<Wall>, Option<(Kind, u64)>) {
        let slots: Vec<u32> = (0..self.places.len() as u32).collect();
        for some in slots.chunks(CLOSES) {
            for &slot in some {
                let place = &mut self.places[slot as usize];
                if std::mem::replace(&mut place.state, State::Gone) != State::Gone {
                    self.rings.cancel(ConnId::new(slot, place.generation));
                }
            }
            if self.rings.wait(Some(0)).is_err() {
                break; // the rings' end ends the connections too
            }
            while self.rings.next_report().is_some() {}
        }
        (self.tally, self.wall, self.own_limit)
    }
}

fn error(errno: Refusal) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno.0)
}

fn failed(errno: Refusal) -> Failure {
    Failure::cannot(format!("a ring failed: {}", error(errno)))
}
