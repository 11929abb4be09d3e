//! What a thread counts, second by second, and how those counts add up.

use super::errors::Kind;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Instant;

/// Latencies are recorded in nanoseconds, 3 significant digits, up to an hour (longer ones count as an hour):
/// nanoseconds because a loopback round trip of 8 us would lose its third digit in microseconds.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// An empty histogram with the bounds that all of them share, so that they can be added.
pub fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are right: 1 < 3.6e12 and 3 digits")
}

/// Counts of a stretch of time.
#[derive(Clone)]
pub struct Tally {
    /// Exchanges begun (open loop: due) in the measured window whose reply came, every byte of it right.
    pub messages: u64,
    /// Replies that came inside the window, whenever they were asked for: what the rate is taken from.
    pub in_window: u64,
    /// Bytes of payload in the replies counted in `messages`.
    pub bytes: u64,
    /// Failures by kind.
    pub errors: BTreeMap<Kind, u64>,
    /// One value per counted message: from when it was due (open loop) or begun to the last byte of its reply.
    pub latency: Histogram<u64>,
    /// Open loop: the same messages from when they were really sent.
    pub service: Histogram<u64>,
    /// Open loop: how late the loader sent on connections that were free.
    pub lag: Histogram<u64>,
    /// From connect(2) to the connection being there.
    pub connect: Histogram<u64>,
    /// Connections opened inside the measured window (churn, and those that had to be opened again).
    pub connects_in_window: u64,
    /// Connections opened again after the server or an error had ended them.
    pub reconnects: u64,
    /// Requests that were due and could not be sent before the end.
    pub unsent: u64,
    /// The first wrong byte or error answer, described.
    pub first_wrong: Option<String>,
    /// When a connection was first reset, closed or refused by the target.
    pub first_loss: Option<Instant>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            messages: 0,
            in_window: 0,
            bytes: 0,
            errors: BTreeMap::new(),
            latency: empty(),
            service: empty(),
            lag: empty(),
            connect: empty(),
            connects_in_window: 0,
            reconnects: 0,
            unsent: 0,
            first_wrong: None,
            first_loss: None,
        }
    }
}

impl Tally {
    /// Counts `times` failures.
    pub fn error(&mut self, kind: Kind, times: u64) {
        if times > 0 {
            *self.errors.entry(kind).or_insert(0) += times;
            if kind.is_loss() {
                self.first_loss.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Failures of one kind.
    pub fn errors_of(&self, kind: Kind) -> u64 {
        self.errors.get(&kind).copied().unwrap_or(0)
    }

    /// Adds another stretch or another thread.
    pub fn add(&mut self, other: &Tally) {
        self.messages += other.messages;
        self.in_window += other.in_window;
        self.bytes += other.bytes;
        self.connects_in_window += other.connects_in_window;
        self.reconnects += other.reconnects;
        self.unsent += other.unsent;
        self.first_loss = self.first_loss.into_iter().chain(other.first_loss).min();
        for (&kind, &times) in &other.errors {
            self.error(kind, times);
        }
        let pairs = [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.lag, &other.lag),
            (&mut self.connect, &other.connect),
        ];
        for (own, others) in pairs {
            own.add(others).expect("both have the same bounds");
        }
        if self.first_wrong.is_none() {
            self.first_wrong.clone_from(&other.first_wrong);
        }
    }
}

/// A quantile (0.99) in microseconds. `None`: nothing was recorded.
pub fn quantile_us(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile) as f64 / 1e3)
}

/// The greatest value in microseconds.
pub fn max_us(histogram: &Histogram<u64>) -> Option<f64> {
    (!histogram.is_empty()).then(|| histogram.max() as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let (mut one, mut two) = (Tally::default(), Tally::default());
        assert_eq!(quantile_us(&one.latency, 0.5), None);
        one.latency.saturating_record(8_123);
        two.latency.saturating_record(u64::MAX);
        two.error(Kind::Reset, 2);
        two.error(Kind::Timeout, 0);
        two.first_wrong = Some("x".into());
        one.add(&two);
        one.add(&two);
        assert_eq!(one.latency.len(), 3);
        assert_eq!(one.errors, BTreeMap::from([(Kind::Reset, 4)]));
        assert_eq!(one.first_wrong.as_deref(), Some("x"));
        let low = quantile_us(&one.latency, 0.01).expect("recorded");
        assert!((low - 8.123).abs() < 0.009, "{low}");
    }
}
