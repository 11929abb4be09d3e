//! When a timer must be set whose deadline moves with every byte.

use crate::time::Instant;

/// A timer that is set where the deadline comes before it, and left where it comes later: then it rings too early and is
/// set again, which is cheaper than once for each message.
#[derive(Debug)]
pub(super) struct LazyTimer {
    /// When it rings; `Instant::MAX`: it is not set.
    rings_at: Instant,
}

impl LazyTimer {
    pub(super) const UNSET: LazyTimer = LazyTimer { rings_at: Instant::MAX };

    /// The deadline where it must be set for it now; it counts as set from then on.
    #[inline]
    pub(super) fn set_for(&mut self, deadline: Instant) -> Option<Instant> {
        if deadline >= self.rings_at {
            return None;
        }
        self.rings_at = deadline;
        Some(deadline)
    }

    /// It has rung, or was lost.
    #[inline]
    pub(super) fn gone(&mut self) {
        *self = LazyTimer::UNSET;
    }
}
