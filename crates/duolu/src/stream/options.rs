//! How a stream is to be made.

use duolu_core::stream::{Direction, Rate, Stream};
use duolu_core::time::duration_nanos;
use std::time::Duration;

/// How a stream is to be made. The default: everything that is read is told at once, no timeouts, no rate limit; reading
/// rests while more than 256 KiB wait to be sent; the middle priority.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamOptions {
    input_marks: Option<(usize, usize)>,
    output_marks: Option<(usize, usize)>,
    timeouts: [Option<Duration>; 2],
    rates: [Option<Rate>; 2],
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
        self.rates[if direction == Direction::Read { 0 } else { 1 }] = Some(rate);
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
                stream.set_rate(direction, Some(rate));
            }
        }
        stream.allow_half_open(self.half_open);
    }
}
