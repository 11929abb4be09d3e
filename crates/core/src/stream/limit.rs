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

/// A bucket that is full at first and gains `rate` by the nanosecond.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    level: u64,
    /// Up to when `level` counts. `None`: not used yet.
    filled_at: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        let burst = rate.burst.max(1);
        Bucket { rate: rate.bytes_per_second.max(1), burst, level: burst, filled_at: None }
    }

    /// Bytes that may move now.
    pub fn available(&mut self, now: Instant) -> u64 {
        let since = *self.filled_at.get_or_insert(now);
        let elapsed_ns = u128::from(now.saturating_nanos_since(since));
        let gained = elapsed_ns * u128::from(self.rate) / SECOND_NS;
        if gained >= u128::from(self.burst - self.level) {
            (self.level, self.filled_at) = (self.burst, Some(now.max(since)));
        } else if gained > 0 {
            self.level += gained as u64;
            // Only the time that these bytes took, rounded up: so nothing is gained by asking often.
            self.filled_at = Some(since.saturating_add_nanos(self.ns_for(gained as u64)));
        }
        self.level
    }

    /// So many bytes have moved; not more than were available.
    pub fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(bytes);
    }

    /// When a share worth waking for is there: a hundredth of a second's bytes, or the whole burst where that is less.
    pub fn ready_at(&self) -> Instant {
        let share = (self.rate / SHARES).clamp(1, self.burst);
        let since = self.filled_at.unwrap_or_default();
        since.saturating_add_nanos(self.ns_for(share.saturating_sub(self.level)))
    }

    fn ns_for(&self, bytes: u64) -> u64 {
        let ns = (u128::from(bytes) * SECOND_NS).div_ceil(u128::from(self.rate));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * MS)
    }

    #[test]
    fn it_is_full_at_first_and_fills_by_the_time_that_passes() {
        let mut bucket = Bucket::new(Rate { bytes_per_second: 1000, burst: 100 });
        assert_eq!(bucket.available(at(5)), 100);
        bucket.take(100);
        assert_eq!(bucket.available(at(5)), 0);
        assert_eq!(bucket.ready_at(), at(15), "ten bytes: a hundredth of a second");
        assert_eq!(bucket.available(at(15)), 10);
        assert_eq!(bucket.available(at(10_000)), 100, "never more than the burst");
        assert_eq!(bucket.available(at(1)), 100, "a clock that steps back takes nothing away");
    }

    #[test]
    fn asking_often_gains_nothing() {
        let mut bucket = Bucket::new(Rate { bytes_per_second: 3_333_333, burst: 1_000 });
        bucket.available(at(0));
        bucket.take(1_000);
        let mut moved = 0;
        for ns in (0..1_000_000_000).step_by(977) {
            let available = bucket.available(Instant::from_nanos(ns));
            bucket.take(available);
            moved += available;
        }
        // Each refill rounds up to whole nanoseconds, so a thousandth is lost where it is asked every microsecond.
        assert!((3_329_000..=3_333_333).contains(&moved), "{moved}");
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut bucket = Bucket::new(Rate { bytes_per_second: u64::MAX, burst: u64::MAX });
        assert_eq!(bucket.available(Instant::ZERO), u64::MAX);
        bucket.take(u64::MAX);
        assert_eq!(bucket.available(Instant::MAX), u64::MAX);
        let mut slow = Bucket::new(Rate { bytes_per_second: 0, burst: 0 });
        assert_eq!(slow.available(Instant::MAX), 1);
        slow.take(1);
        assert_eq!(slow.ready_at(), Instant::MAX);
    }
}
