//! One connection of the loader: where it stands, and the bytes under way.

use super::dialogue::Talk;
use duolu::{EventId, Interest};
use std::net::TcpStream;
use std::sync::Arc;

/// Where a connection stands.
///
/// ```text
/// Closed -> Connecting -> Proving -> Idle <-> Busy
///    ^          |            |        |        |
///    +----------+------------+--------+--------+   any failure; then Closed (to be opened again) or Gone
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Not open; will be, or waits for its turn (churn).
    Closed,
    /// connect(2) is under way.
    Connecting,
    /// Open as far as the kernel knows; the server has not shown yet that it has accepted: its first reply is
    /// awaited.
    Proving,
    /// Held, nothing asked.
    Idle,
    /// A reply is awaited.
    Busy,
    /// Not to be opened again.
    Gone,
}

impl State {
    /// Whether the server is known to hold the connection.
    pub fn is_held(self) -> bool {
        matches!(self, State::Idle | State::Busy)
    }
    /// Whether it is being opened.
    pub fn is_opening(self) -> bool {
        matches!(self, State::Connecting | State::Proving)
    }
    /// Whether something is awaited that may come too late.
    pub fn is_waiting(self) -> bool {
        matches!(self, State::Connecting | State::Proving | State::Busy)
    }
}

/// One connection. All times are nanoseconds since the run's epoch.
pub struct Conn {
    /// Changed only by `Worker::enter`, which keeps the counts.
    pub state: State,
    /// Shared with the loop, which closes it.
    pub stream: Option<Arc<TcpStream>>,
    /// Its event.
    pub event: Option<EventId>,
    /// What the loop watches for.
    pub watched: Interest,
    /// What it should watch for.
    pub wanted: Interest,
    /// What is being said.
    pub talk: Talk,
    /// Bytes of the request already sent.
    pub written: usize,
    /// When what is awaited was begun: connect(2), or the request.
    pub begun_ns: u64,
    /// When the request was due; in a closed loop, when it was begun.
    pub due_ns: u64,
    /// Requests that are due and not yet begun (open loop).
    pub owed: u64,
    /// Requests begun so far (open loop): the number of the next one.
    pub turns: u64,
    /// Closed: not before this.
    pub retry_ns: u64,
    /// Failures since the last right reply.
    pub failures: u8,
    /// Whether it stood before.
    pub reopened: bool,
    /// Whether it stands in the queue of those to be opened.
    pub queued: bool,
}

impl Conn {
    /// Connection `number` of the whole run.
    pub fn new(number: usize) -> Self {
        Conn {
            state: State::Closed,
            stream: None,
            event: None,
            watched: Interest::NONE,
            wanted: Interest::NONE,
            talk: Talk::new(number),
            written: 0,
            begun_ns: 0,
            due_ns: 0,
            owed: 0,
            turns: 0,
            retry_ns: 0,
            failures: 0,
            reopened: false,
            queued: false,
        }
    }
}
