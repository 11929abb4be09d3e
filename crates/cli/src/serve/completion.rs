//! The model `io_uring`: completions. The ring accepts, receives and sends by itself; what is left to do is to
//! answer. See [`duolu_sys::completion`].
//!
//! ```text
//! Reading --peer's end, Then::Close--> (sends the rest) gone      Reading --a head begins--> Owed --answered--> Reading
//! Reading --Then::Linger--> (sends the rest, shuts) Lingering --peer's end, too late, too much--> gone
//! ```
//! A peer that does not read its answers is no longer received from; the ring sees to that.
//!
//! Connections are no descriptors here, so RLIMIT_NOFILE bounds only how many there are in one ring: when it is full
//! another is opened. What bounds those is memory: when that gets short, nobody else is accepted until it is back.

use super::blocking::not_listening;
use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::service::{HEAD_LIMIT_MS, LINGER_LIMIT_BYTES, LINGER_LIMIT_MS, Reply, Session, Then};
use super::setup::Setup;
use super::worker::{Ready, Worker};
use crate::failure::Failure;
use crate::walls::{grouped, memory};
use duolu_sys::completion::{
    Chunk, Completion, Config, ConnId, Errno, ListenerId, Report, Rings, RingsConfig,
};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What `Report::Readable` says when the end begins.
const STOP: u64 = 0;
/// Connections in one ring at most; RLIMIT_NOFILE is less as a rule, and counts too.
const MAX_CONNECTIONS: u32 = 1 << 20;
/// In all rings of a worker together, at most: 16 GB of kernel memory on this side alone.
const MOST_CONNECTIONS: u64 = 4 << 20;
/// Past the first ring memory is looked at after so many connections.
const LOOK_EVERY: u64 = 1024;
/// And so often while it is short, in nanoseconds.
const LOOK_AGAIN_NS: u64 = 250_000_000;
/// Memory must be back by so much before anybody is accepted again: no to and fro.
const BACK_BYTES: u64 = 64 << 20;
/// How often it is looked whether the last connection has gone, in nanoseconds.
const LOOK_NS: u64 = 20_000_000;
/// An answer buffer that grew beyond this is given back, in bytes.
const KEPT_BYTES: usize = 256 * 1024;

/// Serves on this thread until `worker.stop` is readable and the connections are done or `worker.drain` is over.
/// Calls `worker.ready(..)` once it can accept; a kernel that refuses io_uring is a failure before that.
pub fn serve<S: Session>(worker: Worker) -> Result<(), Failure> {
    let config = Config { connections: MAX_CONNECTIONS, accept_in_turn: worker.shared, ..Config::default() };
    let connections = worker.max_connections.saturating_add(1).min(MOST_CONNECTIONS);
    let uring = Rings::new(RingsConfig { ring: config, connections })
        .map_err(|error| Failure::cannot(format!("the model io_uring cannot run here: {error}")))?;
    let mut hall = Hall::<S> {
        uring,
        seats: Vec::new(),
        output: Vec::new(),
        tally: worker.tally,
        max_connections: worker.max_connections,
        owed: VecDeque::new(),
        lingering: VecDeque::new(),
        memory: Memory {
            floor: memory::Floor::read(),
            looked_at: 0,
            short: false,
            grumble: Grumble::default(),
        },
    };
    let listener = worker.listener.try_clone().map_err(|error| no_descriptor(&error))?;
    let door = hall.uring.listen(OwnedFd::from(listener)).map_err(failed)?;
    worker.ready(Ready { backend: hall.uring.name().to_owned() });
    let Worker { stop, listener, .. } = worker;
    drop(listener); // the ring has its own, until the end begins
    hall.uring.watch(stop, STOP).map_err(failed)?;
    hall.run(door)
}

fn failed(errno: Errno) -> Failure {
    Failure::cannot(format!("the ring failed: {}", std::io::Error::from_raw_os_error(errno.0)))
}

fn no_descriptor(error: &std::io::Error) -> Failure {
    Failure::cannot(format!("no descriptor for a worker: {error}; raise 'ulimit -n'"))
}

/// EINVAL of accept(2): the socket does not listen. It cannot mean a kernel without multishot accept, for on that one there
/// is no ring in the first place (Linux 6.0).
const SHUT: Errno = Errno(rustix::io::Errno::INVAL.raw_os_error());

/// One worker: the ring, and what it knows of its connections.
struct Hall<S> {
    uring: Rings,
    /// By slot; as many as there ever were at once.
    seats: Vec<Seat<S>>,
    /// Where services build their answers; empty between reports.
    output: Vec<u8>,
    tally: Tally,
    max_connections: u64,
    /// Deadlines in order, because all of a kind are equally far away. An entry may be out of date.
    owed: VecDeque<(Instant, ConnId)>,
    lingering: VecDeque<(Instant, ConnId)>,
    memory: Memory,
}

/// What is known of the machine's memory.
struct Memory {
    floor: memory::Floor,
    /// Connections accepted when it was looked at.
    looked_at: u64,
    short: bool,
    grumble: Grumble,
}

struct Seat<S> {
    generation: u32,
    state: State,
    session: S,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Gone,
    Reading,
    /// Reading, and a head has begun that must have ended by then.
    Owed(Instant),
    /// The sending side is shut, this much more is thrown away.
    Lingering(u64),
}

impl<S: Session> Hall<S> {
    fn run(&mut self, door: ListenerId) -> Result<(), Failure> {
        let mut open = true;
        loop {
            // A connection that has sent its rest closes without a report: at the end, look now and then.
            let look = (!open).then_some(LOOK_NS);
            let again = self.memory.short.then_some(LOOK_AGAIN_NS);
            let sleep_ns = self.sleep_ns().into_iter().chain(look).chain(again).min();
            self.uring.wait(sleep_ns).map_err(failed)?;
            let mut stop = self.handle_reports(&mut open)?;
            self.expire();
            if self.uring.count() > 1 {
                self.look_at_memory();
            }
            if stop {
                // Whoever waits in the queue is still let in, and a request that has come is still answered.
                self.uring.wait(Some(0)).map_err(failed)?;
                stop = self.handle_reports(&mut open)?;
                debug_assert!(!stop);
                self.uring.unlisten(door);
                self.dismiss_idle();
            }
            self.publish();
            if !open && self.uring.connections() == 0 {
                return Ok(());
            }
        }
    }

    /// Handles what there is. Says whether the end begins.
    fn handle_reports(&mut self, open: &mut bool) -> Result<bool, Failure> {
        let mut stop = false;
        self.publish();
        while let Some(report) = self.uring.next_report() {
            match report {
                Report::Received { conn, chunk } => self.received(conn, chunk),
                Report::Accepted { conn, .. } => self.admit(conn),
                Report::PeerFinished { conn } => self.close(conn),
                Report::Failed { conn, .. } => self.leave(conn),
                Report::Drained { .. } | Report::Connected { .. } => {}
                Report::Readable { user } => stop |= user == STOP,
                Report::Unlistened { errno: None, .. } => *open = false,
                Report::Unlistened { errno: Some(errno), .. } if errno == SHUT => return Err(not_listening()),
                Report::Unlistened { errno: Some(errno), .. } => return Err(failed(errno)),
            }
        }
        Ok(stop)
    }

    /// Past the first ring: nobody else is accepted while memory is short.
    fn look_at_memory(&mut self) {
        let accepted = self.tally.get(Count::Accepted);
        let memory = &mut self.memory;
        if !memory.short && accepted - memory.looked_at < LOOK_EVERY {
            return;
        }
        memory.looked_at = accepted;
        let shortage = memory.floor.shortage(if memory.short { BACK_BYTES } else { 0 });
        memory.short = shortage.is_some();
        self.uring.pause_accepting(memory.short);
        if let Some(shortage) = shortage {
            let open = grouped(self.uring.connections());
            memory.grumble.say(|| {
                format!("wall memory: {}; no more than these {open} connections for now", shortage.evidence())
            });
        }
    }

    fn admit(&mut self, conn: ConnId) {
        self.tally.add(Count::Accepted, 1);
        if !Setup::has_room(self.tally.board(), self.max_connections) {
            self.uring.cancel(conn);
            self.tally.add(Count::Refused, 1);
            self.tally.add(Count::Closed, 1);
            return;
        }
        let slot = conn.slot() as usize;
        let vacant = || Seat { generation: 0, state: State::Gone, session: S::default() };
        if slot >= self.seats.len() {
            self.seats.resize_with(slot + 1, vacant);
        }
        self.seats[slot] =
            Seat { generation: conn.generation(), state: State::Reading, session: S::default() };
        self.uring.receive(conn);
    }

    #[inline]
    fn received(&mut self, conn: ConnId, chunk: Chunk) {
        let Some(seat) = seat(&mut self.seats, conn) else { return };
        if let State::Lingering(left) = &mut seat.state {
            *left = left.saturating_sub(u64::from(chunk.len()));
            if *left == 0 {
                self.cancel(conn);
            }
            return;
        }
        let input = self.uring.bytes(chunk);
        let turn = seat.session.handle(input, &mut self.output, self.tally.board().leaving());
        self.tally.add(Count::BytesIn, u64::from(chunk.len()));
        self.tally.add(Count::Messages, turn.messages);
        if turn.reply == Reply::Input {
            self.uring.send_chunk(conn, chunk);
        } else if !self.output.is_empty() {
            self.uring.send(conn, &self.output);
            self.output.clear();
            self.output.shrink_to(KEPT_BYTES);
        }
        if turn.messages > 0 {
            seat.state = State::Reading; // a head that was owed has come
        }
        match turn.then {
            Then::Keep => {
                if seat.state == State::Reading && seat.session.is_owed() {
                    let deadline = later(HEAD_LIMIT_MS);
                    seat.state = State::Owed(deadline);
                    self.owed.push_back((deadline, conn));
                }
            }
            Then::Close => self.close(conn),
            Then::Linger => {
                seat.state = State::Lingering(LINGER_LIMIT_BYTES);
                self.uring.shutdown(conn);
                self.lingering.push_back((later(LINGER_LIMIT_MS), conn));
            }
        }
    }

    /// Sends the rest, then closes.
    fn close(&mut self, conn: ConnId) {
        self.uring.close(conn);
        self.leave(conn);
    }

    fn cancel(&mut self, conn: ConnId) {
        self.uring.cancel(conn);
        self.leave(conn);
    }

    fn leave(&mut self, conn: ConnId) {
        if let Some(seat) = seat(&mut self.seats, conn) {
            (seat.state, seat.session) = (State::Gone, S::default());
            // Counted here and not by the ring's own count, which moves while nobody looks.
            self.tally.add(Count::Closed, 1);
        }
    }

    /// The end begins: those who have nothing to lose go.
    fn dismiss_idle(&mut self) {
        for conn in self.uring.conn_ids() {
            let idle = seat(&mut self.seats, conn)
                .is_some_and(|seat| seat.state == State::Reading && seat.session.is_idle());
            if idle {
                self.close(conn);
            }
        }
    }

    /// Until the next deadline.
    fn sleep_ns(&self) -> Option<u64> {
        let first =
            [self.owed.front(), self.lingering.front()].into_iter().flatten().map(|entry| entry.0).min()?;
        let left = first.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
    }

    fn expire(&mut self) {
        if self.owed.is_empty() && self.lingering.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some((deadline, conn)) = self.owed.pop_front_if(|entry| entry.0 <= now) {
            if seat(&mut self.seats, conn).is_some_and(|seat| seat.state == State::Owed(deadline)) {
                self.cancel(conn);
            }
        }
        while let Some((_, conn)) = self.lingering.pop_front_if(|entry| entry.0 <= now) {
            if seat(&mut self.seats, conn).is_none() {
                continue;
            }
            if self.uring.pending_bytes(conn) > 0 {
                // The time counts from when the answer is sent.
                self.lingering.push_back((later(LINGER_LIMIT_MS), conn));
            } else {
                self.cancel(conn);
            }
        }
    }

    /// The ring's own counters, for the admin endpoint and the end.
    fn publish(&mut self) {
        let counters = self.uring.counters();
        self.tally.set(Count::BytesOut, counters.sent_bytes);
        self.tally.set(Count::Turns, counters.waits);
        self.tally.set(Count::AcceptErrors, counters.accept_rests);
        self.tally.set(Count::BackOffs, counters.accept_rests);
    }
}

/// A connection's seat, while it is there.
fn seat<S>(seats: &mut [Seat<S>], conn: ConnId) -> Option<&mut Seat<S>> {
    let seat = seats.get_mut(conn.slot() as usize)?;
    (seat.generation == conn.generation() && seat.state != State::Gone).then_some(seat)
}

fn later(delay_ms: u64) -> Instant {
    Instant::now() + Duration::from_millis(delay_ms)
}
