//! Time as the brain sees it: nanoseconds on a clock that never steps back.

use core::time::Duration;

/// A point in time, in nanoseconds since an arbitrary start (CLOCK_MONOTONIC's in production,
/// zero in simulation). 64 bits last 584 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Instant(u64);

impl Instant {
    /// The clock's own start.
    pub const ZERO: Instant = Instant(0);
    /// Later than every deadline that can be asked for.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The instant `nanos` nanoseconds after the clock's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// `self + by_ns`, or [`Instant::MAX`] where that does not fit: "for ever" stays for ever.
    pub const fn saturating_add_nanos(self, by_ns: u64) -> Self {
        Instant(self.0.saturating_add(by_ns))
    }

    /// `self + by`, or [`Instant::MAX`] where that does not fit.
    pub fn saturating_add(self, by: Duration) -> Self {
        self.saturating_add_nanos(duration_nanos(by))
    }

    /// Nanoseconds from `earlier` to `self`; zero where `earlier` is later.
    pub const fn saturating_nanos_since(self, earlier: Instant) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A duration's nanoseconds, cut at 584 years.
pub fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
