//! The counters of a running server, in memory that worker threads and worker processes share.
//!
//! A [`Tally`] is one worker's page of the [`Board`]; the admin endpoint adds them up. Relaxed atomics: each
//! number is right, two numbers read together may be a moment apart.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a tally: two cache lines, so that workers do not slow one another down.
const WORDS: usize = 16;
const STAGE: usize = 0;
const SHORT: usize = 1;
/// Values of the stage, in their order.
const LEAVING: u64 = 1;
const DRAINING: u64 = 2;
/// The board's own words (stage, short of memory) come before the tallies.
const HEADER: usize = WORDS;

/// All the counters of one server.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    words: &'static [AtomicU64],
}

/// What is counted. The names are those of the metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// Connections accepted.
    Accepted,
    /// Connections closed, for whatever reason.
    Closed,
    /// Connections closed at once because of `--max-connections`, or because no process, thread or memory was to be had.
    Refused,
    /// Messages answered.
    Messages,
    /// Bytes received.
    BytesIn,
    /// Bytes sent.
    BytesOut,
    /// Accepts that failed.
    AcceptErrors,
    /// Pauses taken because descriptors ran out.
    BackOffs,
    /// Turns of the event loop.
    Turns,
    /// Connections to an upstream that failed.
    UpstreamErrors,
    /// Connections refused because of their PROXY header, or for want of one.
    HeaderErrors,
    /// Connections of clients that broke in the TLS handshake.
    TlsErrors,
    /// Connections closed because nothing moved for `--idle`.
    Idle,
}

impl Count {
    /// Every counter: metric name and help text.
    pub const ALL: [(Count, &'static str, &'static str); 13] = [
        (Count::Accepted, "duolu_connections_accepted_total", "Connections accepted."),
        (Count::Closed, "duolu_connections_closed_total", "Connections closed."),
        (Count::Refused, "duolu_connections_refused_total", "Connections closed at once: over a limit."),
        (Count::Messages, "duolu_messages_total", "Messages answered."),
        (Count::BytesIn, "duolu_received_bytes_total", "Bytes received."),
        (Count::BytesOut, "duolu_sent_bytes_total", "Bytes sent."),
        (Count::AcceptErrors, "duolu_accept_errors_total", "Accepts that failed."),
        (Count::BackOffs, "duolu_accept_back_offs_total", "Pauses because descriptors ran out."),
        (Count::UpstreamErrors, "duolu_upstream_errors_total", "Connections to an upstream that failed."),
        (
            Count::HeaderErrors,
            "duolu_proxy_header_errors_total",
            "Connections refused for their PROXY header.",
        ),
        (
            Count::TlsErrors,
            "duolu_tls_handshake_errors_total",
            "Connections that broke in the TLS handshake.",
        ),
        (Count::Idle, "duolu_idle_closed_total", "Connections closed because nothing moved."),
        (Count::Turns, "duolu_loop_turns_total", "Turns of the event loops (0 for models without one)."),
    ];
}

impl Board {
    /// A board for `workers` tallies.
    pub fn new(workers: usize) -> io::Result<Self> {
        Ok(Board { words: duolu_sys::worker::shared_words(HEADER + workers.max(1) * WORDS)? })
    }

    /// The tally of worker `index`. With `sole`, one thread alone writes to it, and needs no locked instruction.
    pub fn tally(&self, index: usize, sole: bool) -> Tally {
        let start = HEADER + index * WORDS;
        Tally { words: &self.words[start..start + WORDS], sole, board: *self }
    }

    /// The sum of a counter over all workers.
    pub fn sum(&self, count: Count) -> u64 {
        self.words[HEADER..]
            .chunks_exact(WORDS)
            .map(|tally| tally[count as usize].load(Ordering::Relaxed))
            .sum()
    }

    /// Connections open now. The closed are read first: a number too high for a moment, never below zero.
    pub fn open(&self) -> u64 {
        let closed = self.sum(Count::Closed);
        self.sum(Count::Accepted).saturating_sub(closed)
    }

    /// How many tallies it has.
    pub fn workers(&self) -> usize {
        (self.words.len() - HEADER) / WORDS
    }

    /// Connections that worker `index` has open now.
    pub fn open_of(&self, index: usize) -> u64 {
        let tally = self.tally(index, true);
        let closed = tally.get(Count::Closed);
        tally.get(Count::Accepted).saturating_sub(closed)
    }

    /// Whether the server has begun to end: services say goodbye, and /readyz says no. Whoever comes may still be
    /// let in (`--lame-duck`).
    pub fn leaving(&self) -> bool {
        self.words[STAGE].load(Ordering::Relaxed) >= LEAVING
    }

    /// Whether it lets nobody in any more, and connections that are idle go.
    pub fn draining(&self) -> bool {
        self.words[STAGE].load(Ordering::Relaxed) >= DRAINING
    }

    /// Whether the machine is short of memory: nobody else is let in.
    pub fn is_short(&self) -> bool {
        self.words[SHORT].load(Ordering::Relaxed) != 0
    }

    /// See [`Board::is_short`].
    pub fn set_short(&self, short: bool) {
        self.words[SHORT].store(short.into(), Ordering::Relaxed);
    }

    /// See [`Board::leaving`].
    pub fn start_leaving(&self) {
        self.words[STAGE].store(LEAVING, Ordering::Relaxed);
    }

    /// See [`Board::draining`].
    pub fn start_draining(&self) {
        self.words[STAGE].store(DRAINING, Ordering::Relaxed);
    }
}

/// One worker's counters.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    words: &'static [AtomicU64],
    sole: bool,
    board: Board,
}

impl Tally {
    /// Counts `amount` more.
    pub fn add(&self, count: Count, amount: u64) {
        let word = &self.words[count as usize];
        if self.sole {
            word.store(word.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
        } else {
            word.fetch_add(amount, Ordering::Relaxed);
        }
    }

    /// Sets a counter that somebody else keeps (the loop's own).
    pub fn set(&self, count: Count, value: u64) {
        self.words[count as usize].store(value, Ordering::Relaxed);
    }

    /// This worker's own number.
    pub fn get(&self, count: Count) -> u64 {
        self.words[count as usize].load(Ordering::Relaxed)
    }

    /// The board it is a page of.
    pub fn board(&self) -> Board {
        self.board
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_adds_up_its_tallies() {
        let board = Board::new(3).unwrap();
        board.tally(0, true).add(Count::Accepted, 5);
        board.tally(2, false).add(Count::Accepted, 2);
        board.tally(1, false).add(Count::Closed, 3);
        assert_eq!((board.sum(Count::Accepted), board.open()), (7, 4));
        assert_eq!((board.workers(), board.open_of(0), board.open_of(2)), (3, 5, 2));
        assert!(!board.leaving() && !board.draining());
        board.start_leaving();
        assert!(board.leaving() && !board.draining());
        board.start_draining();
        assert!(board.leaving() && board.draining());
        assert_eq!(board.sum(Count::Accepted), 7);
    }
}
