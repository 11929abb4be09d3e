//! Events that wait once, handed out straight and added again by their own callbacks.
//!
//! By rule such an event leaves its descriptor, is forgotten ([`super::Rules::release_done`]), and comes back as a new one. Where
//! it is alone on its descriptor and level-triggered it is lent instead: it stays as it is for the time of
//! its callback, but for its timeout, and its descriptor will be told to the kernel anew, as for one that left and came back. If its
//! callback adds it again, at most a timeout is left to be armed; else the face releases it when the callback has returned, or before anybody else
//! comes to the descriptor.

use super::{Reactor, Refused, Timeout};
use crate::backend::RawFd;
use crate::event::{EDGE, EXCLUSIVE, Event, INTERNAL, ON_FD, ONE_SHOT, OWNED, PERSIST};
use crate::interest::Ready;
use crate::time::Instant;

impl Event {
    /// Waits once, for a descriptor that it does not hold open.
    #[inline]
    pub(crate) fn is_brief(&self) -> bool {
        self.kind & (PERSIST | ONE_SHOT | EDGE | INTERNAL | EXCLUSIVE | OWNED | ON_FD) == ON_FD
    }
}

impl Reactor {
    /// The next waiting report where `next_word` has none, for a face that lends what is brief. `None` when none is waiting, or
    /// they had to be settled.
    #[inline(always)]
    pub(crate) fn next_lent(
        &mut self,
        now: impl FnMut() -> Instant,
        word: impl Fn(u32, Ready) -> Option<u64>,
    ) -> Option<(u32, Ready)> {
        if !self.is_waiting() {
            return None;
        }
        self.next_usual(now, |watches, report, index| {
            if let Some(word) = word(index, report.ready) {
                watches.promise_word(report, word);
            }
        })
    }

    /// What [`Reactor::next_lent`] gave for `fd` and does not stay pending is lent.
    #[inline(always)]
    pub(crate) fn lend(&mut self, fd: RawFd) {
        self.watches.lend(fd);
    }

    /// The event that is lent is added again with a timeout. (Nothing is settled: its report has been handed out.)
    pub(crate) fn time_lent(&mut self, index: u32, timeout: Timeout, now: Instant) -> Result<(), Refused> {
        self.make_room_for_timer()?;
        self.schedule(index, timeout, now);
        Ok(())
    }
}
