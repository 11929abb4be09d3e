//! How a stream is to be made.

use super::RateGroup;
use duolu_core::stream::{Direction, Rate, Stream};
use duolu_core::time::duration_nanos;
use std::time::Duration;

/// How a stream is to be made. The default: everything that is read is told at once, no timeouts, no rate limit; reading
/// rests while more than 256 KiB wait to be sent; the middle priority.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    input_marks: Option<(usize, usize)>,
    output_marks: Option<(usize, usize)>,
    timeouts: [Option<Duration>; 2],
    rates: [Option<Rate>; 2],
    most: [usize; 2],
    pub(super) group: Option<RateGroup>,
    half_open: bool,
    pub(super) priority: Option<u8>,
}

impl StreamOptions {
    /// The default.
    pub fn new() -> Self {
        StreamOptions::default()
    }
    /// `Read` is told from `low` bytes in the input on (or at the end); at `high` reading rests until some are taken.
    pub fn input_marks(mut self, low: usize, high: usize) -> Self {
        self.input_marks = Some((low, high));
        self
    }
    /// `Written` is told when `low` bytes or fewer are left to send; above `high` reading rests until half of that is
    /// left, so that a peer that never takes its replies cannot fill the memory. `usize::MAX`: it never rests.
    ///
    /// Two ends that both rest wait for each other for ever. So whoever sends more than `high` before it needs the answer,
    /// to a server that answers as it reads (an echo), sets `usize::MAX`, or sends on when `Written` is told.
    pub fn output_marks(mut self, low: usize, high: usize) -> Self {
        self.output_marks = Some((low, high));
        self
    }
    /// `Timeout` is told when nothing came for so long (while reading is enabled).
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts[0] = Some(timeout);
        self
    }
    /// `Timeout` is told when the peer has taken nothing for so long of what is to be sent, or does not answer a connect.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts[1] = Some(timeout);
        self
    }
    /// How fast bytes may move that way.
    pub fn rate(mut self, direction: Direction, rate: Rate) -> Self {
        self.rates[direction as usize] = Some(rate);
        self
    }
    /// Shares a group's rate, beside its own: see [`Context::rate_group`](crate::Context::rate_group).
    pub fn group(mut self, group: &RateGroup) -> Self {
        self.group = Some(group.clone());
        self
    }
    /// What one call reads (at most 64 KiB otherwise, and 16 at first) or writes (256 KiB), so that this one keeps the
    /// loop from the others no longer than so; 0: as much as is good.
    pub fn most_at_once(mut self, direction: Direction, bytes: usize) -> Self {
        self.most[direction as usize] = bytes;
        self
    }
    /// Goes on sending after the peer has ended (`Eof`), until `finish` or `close`: somebody must call them then.
    pub fn allow_half_open(mut self) -> Self {
        self.half_open = true;
        self
    }
    /// 0 is the most urgent; must be below `Config::priorities`.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }

    pub(super) fn apply(&self, stream: &mut Stream) {
        if let Some((low, high)) = self.input_marks {
            stream.set_input_marks(low, high);
        }
        if let Some((low, high)) = self.output_marks {
            stream.set_output_marks(low, high);
        }
        for (at, direction) in [Direction::Read, Direction::Write].into_iter().enumerate() {
            if let Some(timeout) = self.timeouts[at] {
                stream.set_timeout(direction, Some(duration_nanos(timeout)));
            }
            if let Some(rate) = self.rates[at] {
                stream.set_rate(direction, Some(rate.into()));
            }
            if self.most[at] > 0 {
                stream.set_most_at_once(direction, self.most[at]);
            }
        }
        stream.allow_half_open(self.half_open);
    }
}
