//! A token bucket: how many bytes may move now, and when more may.

use crate::time::Instant;

const SECOND_NS: u128 = 1_000_000_000;

/// So many times a second a bucket that ran empty lets bytes through again: with less the stream would be woken for
/// a few bytes at a time, with more it would be felt.
const SHARES: u64 = 100;

/// How fast bytes may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// On average; 0 is taken as 1.
    pub bytes_per_second: u64,
    /// At once, after a pause; 0 is taken as 1.
    pub burst: u64,
}

/// The same as libevent says it (ev_token_bucket_cfg): so much at each tick of the clock, none in between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticks {
    /// What a tick brings, and what is there at first; 0 is taken as 1.
    pub bytes_per_tick: u64,
    /// At once, after a pause; less than a tick brings is taken as that.
    pub burst: u64,
    /// Ticks are at the clock's multiples of it; 0 is taken as 1.
    pub tick_ns: u64,
}

/// How a bucket fills.
///
/// The two differ beyond that as libevent differs from the Rust face: a bucket by ticks begins with one tick's bytes
/// and not with the burst, and a group's share of it may be more than what is left, which leaves it in debt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// By the nanosecond.
    Even(Rate),
    /// At each tick.
    Ticks(Ticks),
}

impl Pace {
    /// As a rate by the nanosecond, where it is one.
    pub fn even(self) -> Option<Rate> {
        match self {
            Pace::Even(rate) => Some(rate),
            Pace::Ticks(_) => None,
        }
    }
}

impl From<Rate> for Pace {
    fn from(rate: Rate) -> Self {
        Pace::Even(rate)
    }
}

impl From<Ticks> for Pace {
    fn from(ticks: Ticks) -> Self {
        Pace::Ticks(ticks)
    }
}

/// A bucket. It may be in debt: more was taken than was there.
#[derive(Clone, Debug)]
pub struct Bucket {
    pace: Pace,
    level: i64,
    /// Of a byte that is on its way, in billionths: what a refill by the nanosecond has left over.
    fraction: u64,
    /// Up to when `level` counts. `None`: not used yet.
    filled_at: Option<Instant>,
}

impl Bucket {
    /// One that nothing was taken from.
    pub fn new(pace: impl Into<Pace>) -> Self {
        let pace = sane(pace.into());
        let level = match pace {
            Pace::Even(rate) => rate.burst,
            Pace::Ticks(ticks) => ticks.bytes_per_tick,
        };
        Bucket { pace, level: level as i64, fraction: 0, filled_at: None }
    }

    /// Another pace, since the last time that it was asked. What was taken stays taken: changing it often gains nothing.
    pub fn set_pace(&mut self, pace: impl Into<Pace>) {
        self.pace = sane(pace.into());
        self.level = self.level.min(self.burst());
        self.fraction = 0;
    }

    /// How it fills.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Bytes that may move now.
    pub fn available(&mut self, now: Instant) -> u64 {
        self.left(now).max(0) as u64
    }

    /// The same; negative where it is in debt.
    pub fn left(&mut self, now: Instant) -> i64 {
        self.fill(now);
        self.level
    }

    /// So many bytes have moved.
    pub fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub_unsigned(bytes);
    }

    /// Takes so many bytes that moved elsewhere, or (negative) gives them. By ticks what is given may be more than the
    /// burst, until the next tick, as with libevent.
    pub fn charge(&mut self, bytes: i64) {
        let level = self.level.saturating_sub(bytes);
        self.level = match self.pace {
            Pace::Even(_) => level.min(self.burst()),
            Pace::Ticks(_) => level,
        };
    }

    /// When a share worth waking for is there: a hundredth of a second's bytes, or the whole burst where that is less;
    /// by ticks, any.
    pub fn ready_at(&self) -> Instant {
        self.holds_at(self.share())
    }

    /// When it holds so many, or the burst where that is less; the past where it does already.
    pub fn holds_at(&self, bytes: u64) -> Instant {
        let since = self.filled_at.unwrap_or_default();
        let wanted = i128::from(bytes.min(self.burst() as u64)) - i128::from(self.level);
        let Ok(missing @ 1..) = u128::try_from(wanted) else { return since };
        let ns = match self.pace {
            Pace::Even(rate) => {
                let billionths = missing * SECOND_NS - u128::from(self.fraction);
                billionths.div_ceil(u128::from(rate.bytes_per_second))
            }
            Pace::Ticks(ticks) => {
                let until = since.as_nanos() / ticks.tick_ns; // the tick that was last
                let after = missing.div_ceil(u128::from(ticks.bytes_per_tick)) + u128::from(until);
                after.saturating_mul(u128::from(ticks.tick_ns)) - u128::from(since.as_nanos())
            }
        };
        since.saturating_add_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }

    /// What [`Bucket::ready_at`] waits for.
    pub fn share(&self) -> u64 {
        match self.pace {
            Pace::Even(rate) => (rate.bytes_per_second / SHARES).clamp(1, rate.burst),
            Pace::Ticks(_) => 1,
        }
    }

    /// The min-share of a member of a group may not be more: it would never be there, or be more than a tick brings.
    pub(super) fn most_share(&self) -> u64 {
        match self.pace {
            Pace::Even(rate) => rate.burst,
            Pace::Ticks(ticks) => ticks.bytes_per_tick,
        }
    }

    fn burst(&self) -> i64 {
        match self.pace {
            Pace::Even(rate) => rate.burst as i64,
            Pace::Ticks(ticks) => ticks.burst as i64,
        }
    }

    fn fill(&mut self, now: Instant) {
        let since = *self.filled_at.get_or_insert(now);
        if now <= since {
            return; // nothing is taken away where a clock steps back
        }
        self.filled_at = Some(now);
        let (gained, fraction) = match self.pace {
            Pace::Even(rate) => {
                let elapsed_ns = u128::from(now.saturating_nanos_since(since));
                let billionths = elapsed_ns * u128::from(rate.bytes_per_second) + u128::from(self.fraction);
                (billionths / SECOND_NS, (billionths % SECOND_NS) as u64)
            }
            Pace::Ticks(ticks) => {
                let passed = now.as_nanos() / ticks.tick_ns - since.as_nanos() / ticks.tick_ns;
                if passed == 0 {
                    return; // what was given beyond the burst stays until a tick
                }
                (u128::from(passed) * u128::from(ticks.bytes_per_tick), 0)
            }
        };
        let level = i128::from(self.level) + i128::try_from(gained).unwrap_or(i128::MAX / 2);
        if level >= i128::from(self.burst()) {
            (self.level, self.fraction) = (self.burst(), 0);
        } else {
            (self.level, self.fraction) = (level as i64, fraction); // less than the burst, more than before
        }
    }
}

/// Gives, changes or takes away a limit.
pub(super) fn set_pace(bucket: &mut Option<Bucket>, pace: Option<Pace>) {
    match (bucket, pace) {
        (Some(bucket), Some(pace)) => bucket.set_pace(pace),
        (bucket, pace) => *bucket = pace.map(Bucket::new),
    }
}

/// Without the zeroes, and within what a level can count.
fn sane(pace: Pace) -> Pace {
    const MOST: u64 = i64::MAX as u64;
    match pace {
        Pace::Even(rate) => Pace::Even(Rate {
            bytes_per_second: rate.bytes_per_second.max(1),
            burst: rate.burst.clamp(1, MOST),
        }),
        Pace::Ticks(ticks) => {
            let bytes_per_tick = ticks.bytes_per_tick.clamp(1, MOST);
            let burst = ticks.burst.clamp(bytes_per_tick, MOST);
            Pace::Ticks(Ticks { bytes_per_tick, burst, tick_ns: ticks.tick_ns.max(1) })
        }
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
