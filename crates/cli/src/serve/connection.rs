//! One connection on the library's loop, for every trigger.
//!
//! ```text
//! Reading --peer's end--> gone                    Reading --a head begins--> Owed --it ends--> Reading
//! Reading --short send--> Blocked --all sent--> Reading, gone or Lingering --peer's end--> gone
//! ```
//! While Blocked nothing is read, so a peer that does not read its answers fills its own buffers, not our memory.
//!
//! Traps:
//! (a) Edge: a short read means that nothing is left and the next bytes are a new edge, which saves the read that
//!     would say EAGAIN. But a peer's end that came before the report is no new edge: PEER_CLOSED tells of it, and
//!     then one reads to the end (epoll(7), question 9).
//! (b) Edge: readiness that came while Blocked was told then and is not told again: it is remembered.
//! (c) Level: WRITE is asked for only while Blocked, or the loop would spin; READ is not, for the same reason.
//! (d) One-shot: after every callback it is silent until armed again; arming looks at the state of things, so
//!     nothing is lost in between. Its timeout goes with it.

use super::board::{Count, Tally};
use super::evented::Hall;
use super::service::{HEAD_LIMIT_MS, LINGER_LIMIT_BYTES, LINGER_LIMIT_MS, Reply, Session, Then};
use duolu::{Context, Handler, Instant, Interest, Next, Ready, Rearm, Trigger};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Reads in one turn at most (edge): a peer that sends faster than we read must not starve the others.
const READS_A_TURN: u32 = 4;
/// An answer buffer that grew beyond this is given back, in bytes.
const KEPT_BYTES: usize = 256 * 1024;
/// The peer has ended its side, as far as a report tells.
const ENDED: Ready = Ready::PEER_CLOSED.with(Ready::HANGUP).with(Ready::ERROR);

/// A connection: small while nothing is out of the ordinary, which is what most of ten thousand are.
pub struct Connection<S> {
    session: S,
    state: State,
    seat: u32,
    /// Edge: WRITE is asked for too, since the first time it was needed.
    asks_write: bool,
}

enum State {
    Reading,
    /// Reading, and a head has begun that must have ended by then.
    Owed(Instant),
    Blocked(Box<Unsent>),
    Lingering(Box<Linger>),
}

/// What the socket did not take yet.
struct Unsent {
    bytes: Vec<u8>,
    sent: usize,
    then: Then,
    /// Trap (b).
    unread: bool,
}

/// The sending side is shut, input is thrown away.
struct Linger {
    deadline: Instant,
    left_bytes: u64,
}

/// How far a callback got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The kernel will tell.
    Wait,
    /// Edge: there is more, but it is the others' turn.
    Yield,
    /// Nothing holds the connection any more.
    Over,
}

impl<S: Session> Connection<S> {
    /// A new connection on this seat of the hall.
    pub fn new(seat: u32) -> Self {
        Connection { session: S::default(), state: State::Reading, seat, asks_write: false }
    }

    /// What to ask for first.
    pub const fn interest(trigger: Trigger) -> Interest {
        match trigger {
            Trigger::Edge => Interest::READ.with(Interest::PEER_CLOSED), // trap (a)
            Trigger::Level | Trigger::OneShot => Interest::READ,
        }
    }
}

impl<S: Session> Handler<Hall<S>, TcpStream> for Connection<S> {
    fn ready(&mut self, ctx: &mut Context<Hall<S>>, stream: &TcpStream, ready: Ready) -> Next {
        let (was_blocked, old_deadline) = (self.is_blocked(), self.deadline());
        let step = match &mut self.state {
            _ if ready.intersects(Ready::TIMEOUT) => Step::Over,
            State::Reading | State::Owed(_) => match self.read(ctx, stream, ready.intersects(ENDED)) {
                // The server ends, and this was the last look whether a request has come.
                Step::Wait if ready.intersects(Ready::USER) && self.is_idle() => Step::Over,
                step => step,
            },
            State::Blocked(unsent) => {
                unsent.unread |= ready.intersects(Ready::READ | ENDED);
                self.flush(ctx, stream)
            }
            State::Lingering(_) => self.throw_away(ctx, stream),
        };
        match step {
            Step::Wait => {}
            Step::Yield => {
                if let Some(own) = ctx.current() {
                    ctx.activate(own, Ready::READ | ready & ENDED);
                }
            }
            Step::Over => {
                ctx.data().leave(self.seat);
                return Next::Remove;
            }
        }
        self.next(ctx.data().trigger, was_blocked, old_deadline)
    }
}

impl<S: Session> Connection<S> {
    /// Reads and answers: once, or for edges until nothing is left, until it would be unfair, or with `to_end` until
    /// the peer's end.
    fn read(&mut self, ctx: &mut Context<Hall<S>>, mut stream: &TcpStream, to_end: bool) -> Step {
        let edge = ctx.data().trigger == Trigger::Edge;
        let reads = if edge { READS_A_TURN } else { 1 };
        for _ in 0..reads {
            let input = &mut ctx.data().input;
            let room = input.len();
            let count = match stream.read(input) {
                Ok(0) => return Step::Over,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Step::Over, // the peer has reset it
            };
            let more = count == room || to_end;
            let step = self.digest(ctx, stream, count);
            match &mut self.state {
                State::Reading | State::Owed(_) if step == Step::Wait && more => {}
                State::Blocked(unsent) => {
                    unsent.unread |= more;
                    return step;
                }
                _ => return step,
            }
        }
        if edge { Step::Yield } else { Step::Wait }
    }

    /// Has the session handle the first `count` bytes of the input buffer, and sends what it answers.
    fn digest(&mut self, ctx: &mut Context<Hall<S>>, stream: &TcpStream, count: usize) -> Step {
        let hall = ctx.data();
        let input = &hall.input[..count];
        let turn = self.session.handle(input, &mut hall.output, hall.tally.board().leaving());
        hall.tally.add(Count::BytesIn, count as u64);
        hall.tally.add(Count::Messages, turn.messages);
        let answer = if turn.reply == Reply::Input { input } else { hall.output.as_slice() };
        let Ok(sent) = send(stream, answer, hall.tally) else { return Step::Over };
        let rest = answer[sent..].to_vec(); // empty, without an allocation, nearly always
        hall.output.clear();
        hall.output.shrink_to(KEPT_BYTES);
        if !rest.is_empty() {
            self.state =
                State::Blocked(Box::new(Unsent { bytes: rest, sent: 0, then: turn.then, unread: false }));
            return Step::Wait;
        }
        if turn.messages > 0 {
            self.state = State::Reading; // a head that was owed has come
        }
        self.go_on(ctx, stream, turn.then)
    }

    /// Everything is sent: what comes next.
    fn go_on(&mut self, ctx: &mut Context<Hall<S>>, stream: &TcpStream, then: Then) -> Step {
        match then {
            Then::Keep => {
                let owed = matches!(self.state, State::Owed(_));
                if self.session.is_owed() && !owed {
                    self.state = State::Owed(later(ctx, HEAD_LIMIT_MS));
                }
                Step::Wait
            }
            Then::Close => Step::Over,
            Then::Linger if stream.shutdown(Shutdown::Write).is_err() => Step::Over,
            Then::Linger => {
                let deadline = later(ctx, LINGER_LIMIT_MS);
                self.state = State::Lingering(Box::new(Linger { deadline, left_bytes: LINGER_LIMIT_BYTES }));
                self.throw_away(ctx, stream)
            }
        }
    }

    /// Sends on what was left.
    fn flush(&mut self, ctx: &mut Context<Hall<S>>, stream: &TcpStream) -> Step {
        let State::Blocked(unsent) = &mut self.state else { return Step::Wait };
        let hall = ctx.data();
        match send(stream, &unsent.bytes[unsent.sent..], hall.tally) {
            Ok(sent) => unsent.sent += sent,
            Err(_) => return Step::Over,
        }
        if unsent.sent < unsent.bytes.len() {
            return Step::Wait;
        }
        let (then, unread) = (unsent.then, unsent.unread);
        let edge = hall.trigger == Trigger::Edge;
        self.state = State::Reading;
        match self.go_on(ctx, stream, then) {
            // Trap (b). The peer's end may be among what was told meanwhile, so read to the end.
            Step::Wait if edge && unread && !matches!(self.state, State::Lingering(_)) => {
                self.read(ctx, stream, true)
            }
            step => step,
        }
    }

    fn throw_away(&mut self, ctx: &mut Context<Hall<S>>, mut stream: &TcpStream) -> Step {
        let State::Lingering(linger) = &mut self.state else { return Step::Wait };
        for _ in 0..READS_A_TURN {
            match stream.read(&mut ctx.data().input) {
                Ok(0) => return Step::Over,
                Ok(count) => linger.left_bytes = linger.left_bytes.saturating_sub(count as u64),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Step::Over,
            }
            if linger.left_bytes == 0 {
                return Step::Over;
            }
        }
        Step::Yield
    }

    fn is_idle(&self) -> bool {
        matches!(self.state, State::Reading) && self.session.is_idle()
    }

    fn is_blocked(&self) -> bool {
        matches!(self.state, State::Blocked(_))
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Reading | State::Blocked(_) => None,
            State::Owed(deadline) => Some(*deadline),
            State::Lingering(linger) => Some(linger.deadline),
        }
    }

    /// What to tell the loop: as little as possible.
    fn next(&mut self, trigger: Trigger, was_blocked: bool, old_deadline: Option<Instant>) -> Next {
        let (mut rearm, mut changes) = (Rearm::again(), trigger == Trigger::OneShot); // trap (d)
        let blocked = self.is_blocked();
        match trigger {
            Trigger::Edge if blocked && !self.asks_write => {
                self.asks_write = true;
                (rearm, changes) = (rearm.interest(Self::interest(trigger) | Interest::WRITE), true);
            }
            Trigger::Edge => {}
            Trigger::Level | Trigger::OneShot if blocked != was_blocked => {
                let interest = if blocked { Interest::WRITE } else { Interest::READ }; // trap (c)
                (rearm, changes) = (rearm.interest(interest), true);
            }
            Trigger::Level | Trigger::OneShot => {}
        }
        match self.deadline() {
            Some(deadline) if old_deadline != Some(deadline) || trigger == Trigger::OneShot => {
                (rearm, changes) = (rearm.after(deadline), true);
            }
            None if old_deadline.is_some() => (rearm, changes) = (rearm.after(None::<Duration>), true),
            _ => {}
        }
        if changes { Next::Rearm(rearm) } else { Next::Keep }
    }
}

/// Sends as much as the socket takes at once.
fn send(mut stream: &TcpStream, bytes: &[u8], tally: Tally) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    loop {
        match stream.write(bytes) {
            Ok(sent) => {
                tally.add(Count::BytesOut, sent as u64);
                return Ok(sent);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn later<S: Session>(ctx: &mut Context<Hall<S>>, delay_ms: u64) -> Instant {
    ctx.now().saturating_add(Duration::from_millis(delay_ms))
}
