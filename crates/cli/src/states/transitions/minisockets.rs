//! TIME-WAIT, which the kernel never tells of. A socket that leaves FIN-WAIT-2 or CLOSING is told to be CLOSED; what
//! takes its place (in TIME-WAIT, or for an orphan still in FIN-WAIT-2) is seen when the sockets are looked at. Where
//! nothing does, the connection ended without TIME-WAIT.
//!
//! The two are not told at the same time: either may be ahead by a look. What is missing is therefore given one more
//! look before it counts.

use super::traced::ToMinisocket;
use crate::states::diagram::{Edge, Flow, Other};

/// The account between what was told and what was seen.
#[derive(Debug, Default)]
pub struct Minisockets {
    /// Told to be gone, and not seen in its new place yet; below 0: seen before it was told.
    missing: i64,
    /// In FIN-WAIT-2 without a process, at the last look.
    orphans: Option<u64>,
}

impl Minisockets {
    /// Puts the edges around TIME-WAIT into `flow`, which the kernel told: who stands there that did not before, and
    /// who no longer does. How many came through CLOSING the kernel does tell.
    pub fn settle(&mut self, flow: &mut Flow, sampled: &Flow, told: ToMinisocket, orphans: u64) {
        let arrived = sampled.of(Edge::PeerClosed) + sampled.of(Edge::BothAcked);
        let both = told.from_closing.min(arrived);
        flow.take_many(Edge::BothAcked, both);
        flow.take_many(Edge::PeerClosed, arrived - both);
        flow.take_many(Edge::Expired, sampled.of(Edge::Expired));
        let given_up = sampled.of_other(Other::OrphanGivenUp);
        flow.other_many(Other::OrphanGivenUp, given_up);
        // At the first look there is nothing to settle: what stands there was told to nobody.
        let Some(before) = self.orphans.replace(orphans) else { return };
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let seen = number(arrived) + number(given_up) + number(orphans) - number(before);
        let old = self.missing - seen;
        let overdue = old.max(0);
        flow.other_many(Other::NoTimeWait, overdue.unsigned_abs());
        self.missing = old - overdue + number(told.from_fin_wait_2 + told.from_closing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from_fin_wait_2: u64) -> ToMinisocket {
        ToMinisocket { from_fin_wait_2, from_closing: 0 }
    }

    fn arrived(times: u64) -> Flow {
        let mut flow = Flow::default();
        flow.take_many(Edge::PeerClosed, times);
        flow
    }

    /// What settling says: into TIME-WAIT, without it.
    fn settle(account: &mut Minisockets, told: ToMinisocket, sampled: Flow, orphans: u64) -> (u64, u64) {
        let mut flow = Flow::default();
        account.settle(&mut flow, &sampled, told, orphans);
        (flow.of(Edge::PeerClosed), flow.of_other(Other::NoTimeWait))
    }

    #[test]
    fn whichever_is_ahead_the_other_is_waited_for() {
        let mut account = Minisockets::default();
        settle(&mut account, told(0), Flow::default(), 0);
        assert_eq!(settle(&mut account, told(5), Flow::default(), 0), (0, 0), "told first");
        assert_eq!(settle(&mut account, told(0), arrived(5), 0), (5, 0));
        assert_eq!(settle(&mut account, told(0), arrived(3), 0), (3, 0), "seen first");
        assert_eq!(settle(&mut account, told(3), Flow::default(), 0), (0, 0));
        assert_eq!(settle(&mut account, told(0), Flow::default(), 0), (0, 0));
    }

    #[test]
    fn what_never_appears_ended_without_time_wait() {
        let mut account = Minisockets::default();
        settle(&mut account, told(0), Flow::default(), 7);
        assert_eq!(settle(&mut account, told(40), arrived(10), 7), (10, 0));
        assert_eq!(settle(&mut account, told(40), arrived(10), 7), (10, 20), "of the 30 some came only now");
        assert_eq!(settle(&mut account, told(0), Flow::default(), 7), (0, 40));
        assert_eq!(settle(&mut account, told(0), Flow::default(), 7), (0, 0));
    }

    #[test]
    fn an_orphan_in_fin_wait_2_has_taken_the_place_and_goes_its_own_way() {
        let mut account = Minisockets::default();
        settle(&mut account, told(0), Flow::default(), 0);
        settle(&mut account, told(2), Flow::default(), 2);
        assert_eq!(settle(&mut account, told(0), Flow::default(), 2), (0, 0), "they stand in FIN-WAIT-2");
        // One gets its FIN, one gives up.
        let mut sampled = arrived(1);
        sampled.other(Other::OrphanGivenUp);
        assert_eq!(settle(&mut account, told(0), sampled, 0), (1, 0));
        assert_eq!(settle(&mut account, told(0), Flow::default(), 0), (0, 0));
    }
}
