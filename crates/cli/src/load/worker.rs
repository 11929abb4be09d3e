//! One thread of the loader: its connections, and what happens when one of them is ready.
//!
//! Nothing here touches the loop. A step works on the connection and says with [`Step`] what the loop has to do;
//! `drive.rs` does it. In the ordinary case a message costs one recv, one send and one reading of the clock,
//! and allocates nothing.

use super::args::Plan;
use super::conn::{Conn, State};
use super::dialogue::{Progress, Speak};
use super::errors::Kind;
use super::schedule::Schedule;
use super::tally::Tally;
use crate::walls::Wall;
use duolu::{Interest, Ready};
use duolu_sys::socket;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What the loop has to do for a connection after a step.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Watch for `wanted`.
    Stay,
    /// Close it; its state says what becomes of it.
    Close,
}

/// The parts of a run, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Phase {
    /// The other threads are waited for.
    Starting,
    /// Connections are opened and proved.
    Opening,
    /// All are open; the other threads are waited for.
    Ready,
    /// Requests are sent.
    Running,
    /// No request becomes due any more; replies under way are awaited.
    Draining,
    /// Over.
    Finished,
}

/// When the run sends and measures, in nanoseconds since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The first request.
    pub begin_ns: u64,
    /// The warm-up has ended.
    pub from_ns: u64,
    /// No more requests.
    pub end_ns: u64,
}

impl Window {
    /// Whether a request of this time is measured.
    pub fn holds(&self, time_ns: u64) -> bool {
        (self.from_ns..self.end_ns).contains(&time_ns)
    }
}

/// A failed connection is not opened again sooner, unless it had worked; after every further failure it takes twice as
/// long, up to eight times this: a server that has ended is not asked ten thousand times a second.
const RETRY_NS: u64 = 100_000_000;

/// One thread's half of the run.
pub struct Worker {
    /// What was asked for.
    pub plan: Arc<Plan>,
    /// Zero of all times.
    pub epoch: Instant,
    /// Connections held, over all threads: for the progress bar.
    pub held_everywhere: Arc<AtomicU64>,
    /// This thread's connections; the first `active` exchange messages.
    pub conns: Vec<Conn>,
    /// See there.
    pub active: usize,
    /// Where the run stands.
    pub phase: Phase,
    /// Set when the run begins.
    pub window: Window,
    /// Counts since they were last handed over.
    pub tally: Tally,
    /// Due times of an open loop or a paced churn.
    pub schedule: Option<Schedule>,
    /// Connections to be opened, in order.
    pub to_open: VecDeque<usize>,
    /// Connections being opened.
    pub opening: usize,
    /// Connections the server holds.
    pub held: usize,
    /// Connections that await a reply to a request.
    pub busy: usize,
    /// When a connection was last proved.
    pub progress_ns: u64,
    /// Not before this is the server looked at again.
    pub next_look_ns: u64,
    /// What stopped the opening, where it is proven.
    pub wall: Option<Wall>,
    /// Connections whose failure was the loader's own limit, and how many were open then.
    pub own_limit: Option<(Kind, u64)>,
    buffer: Box<[u8]>,
    shared_body: Option<Arc<[u8]>>,
    numbers: Vec<usize>,
}

impl Worker {
    /// Thread `index` of the plan's: it takes every `threads`-th connection.
    pub fn new(plan: Arc<Plan>, index: usize, epoch: Instant, held_everywhere: Arc<AtomicU64>) -> Self {
        let numbers: Vec<usize> = (index..plan.connections).step_by(plan.threads).collect();
        let active = numbers.iter().filter(|&&number| number < plan.active).count();
        // One byte more than a reply, so that one recv takes it and shows that there is no more.
        let buffer = (plan.payload + 256).clamp(16 << 10, 256 << 10);
        Worker {
            conns: numbers.iter().map(|&number| Conn::new(number)).collect(),
            to_open: VecDeque::new(),
            active,
            phase: Phase::Starting,
            window: Window { begin_ns: u64::MAX, from_ns: u64::MAX, end_ns: u64::MAX },
            tally: Tally::default(),
            schedule: None,
            opening: 0,
            held: 0,
            busy: 0,
            progress_ns: 0,
            next_look_ns: 0,
            wall: None,
            own_limit: None,
            buffer: vec![0; buffer].into(),
            shared_body: None,
            numbers,
            plan,
            epoch,
            held_everywhere,
        }
    }

    /// Nanoseconds since the epoch.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Whether every request has a connection of its own.
    pub fn is_churn(&self) -> bool {
        self.plan.is_churn()
    }

    /// Moves a connection to another state and keeps the counts.
    pub fn enter(&mut self, index: usize, state: State) {
        let before = std::mem::replace(&mut self.conns[index].state, state);
        self.opening += usize::from(state.is_opening());
        self.opening -= usize::from(before.is_opening());
        self.busy += usize::from(state == State::Busy);
        self.busy -= usize::from(before == State::Busy);
        match (before.is_held(), state.is_held()) {
            (false, true) => {
                self.held += 1;
                self.held_everywhere.fetch_add(1, Ordering::Relaxed);
            }
            (true, false) => {
                self.held -= 1;
                self.held_everywhere.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    /// Queues a connection to be opened.
    pub fn queue(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.state == State::Closed && !std::mem::replace(&mut conn.queued, true) {
            self.to_open.push_back(index);
        }
    }

    /// Begins to connect. `Ok`: the stream, to be watched for `wanted` (or to be closed, if the step says so).
    pub fn connect(&mut self, index: usize) -> Result<(Arc<TcpStream>, Step), ()> {
        let (target, here) = (self.plan.target.address, self.plan.target.is_here);
        let source = match &self.plan.sources[..] {
            [] => None,
            sources => Some(SocketAddr::new(IpAddr::V4(sources[self.numbers[index] % sources.len()]), 0)),
        };
        let now_ns = self.now_ns();
        let conn = &mut self.conns[index];
        conn.begun_ns = now_ns;
        let due_ns = self
            .schedule
            .as_ref()
            .filter(|_| conn.owed > 0)
            .map(|schedule| schedule.due_ns(index, conn.turns));
        if self.plan.is_churn() {
            conn.due_ns = due_ns.unwrap_or(now_ns);
            if due_ns.is_some() {
                conn.owed -= 1;
                conn.turns += 1;
                self.tally.lag.saturating_record(now_ns.saturating_sub(conn.due_ns));
            }
        }
        self.enter(index, State::Connecting);
        match socket::connect(target, source) {
            Ok(connecting) => {
                let stream = Arc::new(connecting.stream);
                let conn = &mut self.conns[index];
                conn.stream = Some(stream.clone());
                conn.wanted = Interest::WRITE;
                // On loopback the kernel answers EINPROGRESS although the handshake is over by then: asked at once,
                // it costs neither a turn of the loop nor a false connect time.
                let connected = connecting.connected || (here && stream.peer_addr().is_ok());
                let step = if connected { self.connected(index) } else { Step::Stay };
                Ok((stream, step))
            }
            Err(error) => {
                let _ = self.fail(index, kind_of(&error), || format!("connect: {error}"));
                Err(())
            }
        }
    }

    /// The connection stands, as far as the kernel knows.
    fn connected(&mut self, index: usize) -> Step {
        let now_ns = self.now_ns();
        let conn = &mut self.conns[index];
        self.tally.connect.saturating_record(now_ns.saturating_sub(conn.begun_ns).max(1));
        if self.window.holds(now_ns) {
            self.tally.connects_in_window += 1;
        }
        if std::mem::replace(&mut conn.reopened, true) && !self.plan.is_churn() {
            self.tally.reconnects += 1;
        }
        if let Some(stream) = &conn.stream {
            let _ = socket::set_nodelay(stream, true); // never fails on TCP
            // Without this the side that closes first, the loader, keeps the port in TIME-WAIT for a minute (RFC
            // 9293, 3.6.1): the ten thousand connections of one run would be missing in the next. RST alone
            // (SO_LINGER 0) avoids that too, but then the server's read fails with ECONNRESET, and servers log it.
            // FIN first and RST behind it: the server reads to a clean end of file (tcp_recvmsg looks at the FIN
            // before it looks at the error), and the ports are free. It has to happen inside close(2): between
            // shutdown(2) and another call the server runs, closes, and its FIN makes this a TIME-WAIT.
            let _ = socket::set_abort_after_fin(stream);
        }
        conn.wanted = Interest::READ;
        match (self.plan.speak, self.is_churn()) {
            (Speak::Connect, true) => self.answered(index, now_ns, 0, true),
            // Without an exchange only the kernel can tell whether the server has accepted: see `proof.rs`.
            (Speak::Connect, false) => {
                self.enter(index, State::Proving);
                Step::Stay
            }
            _ => self.begin(index, now_ns, true),
        }
    }

    /// Begins an exchange. `first`: the connection is new, and the exchange proves it.
    fn begin(&mut self, index: usize, now_ns: u64, first: bool) -> Step {
        let conn = &mut self.conns[index];
        self.plan.dialogue.turn(&mut conn.talk, first);
        conn.written = 0;
        if !first {
            conn.begun_ns = now_ns;
        }
        self.enter(index, if first { State::Proving } else { State::Busy });
        self.write(index)
    }

    /// Sends the next request of an idle connection, if one is due.
    pub fn next_request(&mut self, index: usize, now_ns: u64) -> Step {
        let conn = &mut self.conns[index];
        if conn.state != State::Idle || index >= self.active {
            return Step::Stay;
        }
        match (&self.schedule, self.phase) {
            (None, Phase::Running) if now_ns < self.window.end_ns => conn.due_ns = now_ns,
            (Some(schedule), Phase::Running | Phase::Draining) if conn.owed > 0 => {
                conn.due_ns = schedule.due_ns(index, conn.turns);
                conn.owed -= 1;
                conn.turns += 1;
            }
            _ => return Step::Stay,
        }
        self.begin(index, now_ns, false)
    }

    fn write(&mut self, index: usize) -> Step {
        let conn = &mut self.conns[index];
        let Some(stream) = conn.stream.as_deref() else { return Step::Stay };
        let request = self.plan.dialogue.request(&conn.talk);
        conn.wanted = Interest::READ;
        if conn.written < request.len() {
            match socket::send(stream, &request[conn.written..]) {
                Ok(sent) => conn.written += sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return self.fail(index, kind_of(&error), || format!("send: {error}")),
            }
            if conn.written < request.len() {
                conn.wanted = Interest::READ | Interest::WRITE;
            }
        }
        Step::Stay
    }

    /// The loop says that the connection is ready.
    #[inline]
    pub fn ready(&mut self, index: usize, ready: Ready) -> Step {
        let conn = &self.conns[index];
        if conn.state == State::Connecting {
            return match conn.stream.as_deref().map(socket::take_error) {
                Some(Err(error)) => self.fail(index, kind_of(&error), || format!("connect: {error}")),
                _ => self.connected(index),
            };
        }
        // Written first: with a large payload the server may not read on before we have read, nor we before
        // it has; both directions go on independently.
        if conn.wanted.intersects(Interest::WRITE) && ready.intersects(Ready::WRITE) {
            let step = self.write(index);
            if step != Step::Stay {
                return step;
            }
        }
        if ready.intersects(Ready::READ | Ready::HANGUP | Ready::ERROR) {
            self.read(index)
        } else {
            Step::Stay
        }
    }

    fn read(&mut self, index: usize) -> Step {
        loop {
            let conn = &mut self.conns[index];
            let Some(stream) = conn.stream.as_deref() else { return Step::Stay };
            let got = match socket::recv(stream, &mut self.buffer) {
                Ok(0) => return self.ended(index),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Stay,
                Err(error) => return self.fail(index, kind_of(&error), || format!("receive: {error}")),
            };
            let progress = if conn.state.is_waiting() {
                self.plan.dialogue.feed(&mut conn.talk, &self.buffer[..got], &mut self.shared_body)
            } else if self.plan.speak == Speak::Connect {
                Progress::More
            } else {
                Progress::Broken(Kind::WrongBytes, format!("{got} bytes that nobody asked for"))
            };
            match self.progressed(index, progress) {
                Some(step) => return step,
                None if got < self.buffer.len() => return Step::Stay,
                None => {}
            }
        }
    }

    /// `None`: more is to be read.
    fn progressed(&mut self, index: usize, progress: Progress) -> Option<Step> {
        match progress {
            Progress::More => None,
            Progress::Whole { bytes, close } => {
                let now_ns = self.now_ns();
                Some(self.answered(index, now_ns, bytes, close))
            }
            Progress::Refused { kind, what, close } => {
                self.note(kind, || what);
                let now_ns = self.now_ns();
                Some(self.proceed(index, now_ns, close))
            }
            Progress::Broken(kind, what) => Some(self.fail(index, kind, || what)),
        }
    }

    /// A right reply has come.
    fn answered(&mut self, index: usize, now_ns: u64, bytes: usize, close: bool) -> Step {
        self.conns[index].failures = 0;
        let conn = &self.conns[index];
        // The exchange that proves a connection is no measured message, except that churn has no other.
        if conn.state == State::Busy || self.is_churn() {
            self.tally.in_window += u64::from(self.window.holds(now_ns));
            if self.window.holds(conn.due_ns) {
                self.tally.messages += 1;
                self.tally.bytes += bytes as u64;
                self.tally.latency.saturating_record(now_ns.saturating_sub(conn.due_ns).max(1));
                if self.schedule.is_some() {
                    self.tally.service.saturating_record(now_ns.saturating_sub(conn.begun_ns).max(1));
                }
            }
        }
        self.proceed(index, now_ns, close)
    }

    /// After a reply: the next request, rest, or the end.
    fn proceed(&mut self, index: usize, now_ns: u64, close: bool) -> Step {
        if self.conns[index].state == State::Proving {
            self.progress_ns = now_ns;
        }
        if self.is_churn() {
            self.enter(index, State::Idle); // for a moment: it counts as held
            return self.leave(index, 0);
        }
        if close {
            self.enter(index, State::Idle);
            return self.leave(index, 0);
        }
        self.enter(index, State::Idle);
        self.next_request(index, now_ns)
    }

    /// The peer has closed.
    fn ended(&mut self, index: usize) -> Step {
        let conn = &mut self.conns[index];
        match (conn.state, self.plan.speak) {
            // An HTTP server may end a connection that rests, at any time (RFC 9112, 9.5): no error.
            (State::Idle, Speak::Http) if index < self.active => self.leave(index, 0),
            (State::Busy | State::Proving, _) => {
                let progress = self.plan.dialogue.end(&mut conn.talk, &mut self.shared_body);
                self.progressed(index, progress).unwrap_or(Step::Close)
            }
            _ => {
                self.fail(index, Kind::ClosedEarly, || "the server closed a connection that was held".into())
            }
        }
    }

    /// Counts a failure and closes; see [`Worker::leave`].
    pub fn fail(&mut self, index: usize, kind: Kind, what: impl FnOnce() -> String) -> Step {
        let was_opening = self.conns[index].state.is_opening();
        self.note(kind, what);
        if matches!(kind, Kind::NoDescriptors | Kind::NoPorts) && self.own_limit.is_none() {
            self.own_limit = Some((kind, ((self.held + self.opening) as u64).saturating_sub(1)));
        }
        if self.phase == Phase::Opening {
            if kind.stops_opening() {
                self.give_up_opening(kind);
            }
            let worth_another_try = index < self.active && !is_lasting(kind);
            self.enter(index, if worth_another_try { State::Closed } else { State::Gone });
            return Step::Close;
        }
        let conn = &mut self.conns[index];
        let delay_ns = if was_opening { RETRY_NS << conn.failures.min(3) } else { 0 };
        conn.failures = conn.failures.saturating_add(1);
        self.leave(index, delay_ns)
    }

    fn note(&mut self, kind: Kind, what: impl FnOnce() -> String) {
        self.tally.error(kind, 1);
        if self.tally.first_wrong.is_none() {
            self.tally.first_wrong = Some(format!("{kind}: {}", what()));
        }
    }

    /// Closes a connection that exchanges messages, to open it again after `delay_ns`. One that was only to be held
    /// is not opened again: how many are still held is what is measured.
    fn leave(&mut self, index: usize, delay_ns: u64) -> Step {
        let again = index < self.active && self.phase <= Phase::Running;
        let now_ns = self.now_ns();
        self.enter(index, if again { State::Closed } else { State::Gone });
        let conn = &mut self.conns[index];
        conn.retry_ns = now_ns + delay_ns;
        if again && delay_ns == 0 && (!self.plan.is_paced_churn() || conn.owed > 0) {
            self.queue(index);
        }
        Step::Close
    }

    /// Leaves what is still to be opened: each counts as a failure of this kind.
    pub fn give_up_opening(&mut self, kind: Kind) {
        self.tally.error(kind, self.to_open.len() as u64);
        while let Some(index) = self.to_open.pop_front() {
            self.enter(index, State::Gone);
        }
    }
}

/// Whether a connection failed for want of something that will still be wanting a moment later.
fn is_lasting(kind: Kind) -> bool {
    kind.stops_opening()
        || matches!(kind, Kind::ConnectTimeout | Kind::NotAccepted | Kind::Timeout | Kind::Other(_))
}

fn kind_of(error: &io::Error) -> Kind {
    Kind::from_errno(rustix::io::Errno::from_raw_os_error(error.raw_os_error().unwrap_or(0)))
}
