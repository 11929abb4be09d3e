//! Exchanges: marks, and a random connection now and then.

use super::super::errors::Kind;
use super::super::pattern::{Pattern, first_difference};
use super::super::tally::{self, Tally};
use super::climb::{Place, State};
use duolu_sys::completion::{Completion, ConnId, Rings};
use hdrhistogram::Histogram;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Guesses for a connection that is held and free.
const GUESSES: u32 = 64;
/// With a rate: at most so many under way.
const MOST_UNDER_WAY: usize = 4096;

/// One message and its reply.
struct Exchange {
    sequence: u64,
    received: usize,
    since: Instant,
    /// What its answer proves.
    mark: Option<u64>,
    measured: bool,
}

/// What is under way, by slot.
pub struct Samples {
    pattern: Pattern,
    at_once: usize,
    /// Between two, with a rate.
    step: Option<Duration>,
    due: Instant,
    under_way: HashMap<u32, Exchange>,
    marks: usize,
    sequence: u64,
    random: u64,
    /// Exchanges that begin now are part of the measured window.
    pub measuring: bool,
    /// None begins any more.
    pub ending: bool,
    /// Round trips before the window: of a machine that is busy connecting.
    pub climbing: Histogram<u64>,
    /// All replies whose every byte was right.
    pub right: u64,
}

impl Samples {
    pub fn new(pattern: Pattern, at_once: usize, rate: Option<f64>) -> Self {
        Samples {
            pattern,
            at_once,
            step: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: Instant::now(),
            under_way: HashMap::new(),
            marks: 0,
            sequence: 0,
            random: 0x9E37_79B9_7F4A_7C15 ^ u64::from(std::process::id()),
            measuring: false,
            ending: false,
            climbing: tally::empty(),
            right: 0,
        }
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub fn marks(&self) -> usize {
        self.marks
    }

    /// Exchanges on this connection; its answer proves `mark` connections.
    pub fn mark(&mut self, rings: &mut Rings, conn: ConnId, mark: u64) {
        match self.under_way.get_mut(&conn.slot()) {
            Some(exchange) => {
                self.marks += usize::from(exchange.mark.is_none());
                exchange.mark = Some(mark);
            }
            None => {
                self.marks += 1;
                self.send(rings, conn, Some(mark), Instant::now());
            }
        }
    }

    /// Begins as many as are to begin now. Says when the next is due, in nanoseconds from now; nothing: with a reply.
    pub fn begin(&mut self, rings: &mut Rings, places: &[Place], now: Instant) -> Option<u64> {
        if self.ending {
            return None;
        }
        let Some(step) = self.step else {
            while self.under_way.len() - self.marks < self.at_once && self.begin_one(rings, places, now) {}
            return None;
        };
        while self.due <= now && self.under_way.len() < MOST_UNDER_WAY {
            // Counted from when it was due.
            if !self.begin_one(rings, places, self.due) {
                self.due = now;
                break;
            }
            self.due += step;
        }
        Some(self.due.saturating_duration_since(now).as_nanos() as u64)
    }

    fn begin_one(&mut self, rings: &mut Rings, places: &[Place], since: Instant) -> bool {
        if places.is_empty() {
            return false;
        }
        for _ in 0..GUESSES {
            // xorshift64 (Marsaglia 2003).
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let slot = (self.random % places.len() as u64) as u32;
            let place = &places[slot as usize];
            if place.state == State::Held && !self.under_way.contains_key(&slot) {
                self.send(rings, place.name(slot), None, since);
                return true;
            }
        }
        false
    }

    fn send(&mut self, rings: &mut Rings, conn: ConnId, mark: Option<u64>, since: Instant) {
        self.sequence += 1;
        let exchange =
            Exchange { sequence: self.sequence, received: 0, since, mark, measured: self.measuring };
        rings.send(conn, self.pattern.message(u64::from(conn.slot()), exchange.sequence));
        self.under_way.insert(conn.slot(), exchange);
    }

    /// Checks what has come. Says what it proves, if it was a mark and is whole.
    pub fn received(
        &mut self,
        slot: u32,
        bytes: &[u8],
        now: Instant,
        tally: &mut Tally,
    ) -> Result<Option<u64>, (Kind, String)> {
        let Some(exchange) = self.under_way.get_mut(&slot) else {
            let what = format!("connection {slot}: {} bytes that nobody asked for", bytes.len());
            return Err((Kind::WrongBytes, what));
        };
        let expected = &self.pattern.message(u64::from(slot), exchange.sequence)[exchange.received..];
        if bytes.len() > expected.len() {
            let extra = bytes.len() - expected.len();
            return Err((Kind::WrongBytes, format!("connection {slot}: {extra} bytes more than were sent")));
        }
        if let Some(wrong) = first_difference(bytes, &expected[..bytes.len()]) {
            let at = exchange.received + wrong;
            let what = format!(
                "connection {slot}, message {}: byte {at} is 0x{:02x}, expected 0x{:02x}",
                exchange.sequence, bytes[wrong], expected[wrong]
            );
            return Err((Kind::WrongBytes, what));
        }
        exchange.received += bytes.len();
        if bytes.len() < expected.len() {
            return Ok(None);
        }
        let Some(exchange) = self.under_way.remove(&slot) else { return Ok(None) };
        self.right += 1;
        let took_ns = now.saturating_duration_since(exchange.since).as_nanos() as u64;
        if exchange.measured {
            tally.messages += 1;
            tally.in_window += u64::from(!self.ending);
            tally.bytes += exchange.received as u64;
            tally.latency.saturating_record(took_ns.max(1));
        } else if exchange.mark.is_none() {
            self.climbing.saturating_record(took_ns.max(1));
        }
        self.marks -= usize::from(exchange.mark.is_some());
        Ok(exchange.mark)
    }

    /// The connection is gone.
    pub fn forget(&mut self, slot: u32) {
        if let Some(exchange) = self.under_way.remove(&slot) {
            self.marks -= usize::from(exchange.mark.is_some());
        }
    }

    /// Slots whose reply is late, and whether it was a mark.
    pub fn late(&self, now: Instant, timeout: Duration) -> Vec<(u32, bool)> {
        let late = self
            .under_way
            .iter()
            .filter(|(_, exchange)| now.saturating_duration_since(exchange.since) > timeout);
        late.map(|(slot, exchange)| (*slot, exchange.mark.is_some())).collect()
    }
}
