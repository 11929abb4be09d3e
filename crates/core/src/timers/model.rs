//! Random histories beside a sorted map, which is what [`Timers`] promises to be.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec; // prop_oneof! writes vec![..]
use std::vec::Vec;

const TICK_NS: u64 = 1 << 20;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

#[derive(Clone, Debug)]
enum Op {
    Arm(u64),
    ArmPast(u64),
    ArmAt(u64),
    ArmLike(usize),
    Common { queue: usize, back: u64 },
    Rearm(usize, u64),
    RearmLike(usize, usize),
    RearmCommon { nth: usize, queue: usize, back: u64 },
    Cancel(usize),
    CancelFirst,
    Pop(u8),
    Drain,
    Advance(u64),
    Wake,
    Back(u64),
}

/// Any magnitude equally often: within a tick, a few ticks, hours, centuries.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0u32..64, any::<u64>()).prop_map(|(bits, n)| n >> bits),
        2 => (0u64..200).prop_map(|ticks| ticks * TICK_NS),
        1 => 0u64..4,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => span().prop_map(Op::Arm),
        1 => span().prop_map(Op::ArmPast),
        1 => prop_oneof![Just(u64::MAX), any::<u64>()].prop_map(Op::ArmAt),
        2 => any::<usize>().prop_map(Op::ArmLike),
        4 => (any::<usize>(), prop_oneof![5 => Just(0), 1 => span()])
            .prop_map(|(queue, back)| Op::Common { queue, back }),
        4 => (any::<usize>(), span()).prop_map(|(nth, after)| Op::Rearm(nth, after)),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(nth, like)| Op::RearmLike(nth, like)),
        2 => (any::<usize>(), any::<usize>(), prop_oneof![5 => Just(0), 1 => span()])
            .prop_map(|(nth, queue, back)| Op::RearmCommon { nth, queue, back }),
        3 => any::<usize>().prop_map(Op::Cancel),
        2 => Just(Op::CancelFirst),
        3 => any::<u8>().prop_map(Op::Pop),
        1 => Just(Op::Drain),
        3 => (30u32..64, any::<u64>()).prop_map(|(bits, n)| Op::Advance(n >> bits)),
        4 => Just(Op::Wake),
        1 => span().prop_map(Op::Back),
    ]
}

/// The timers beside what they should be.
struct Pair {
    timers: Timers,
    now: u64,
    queues: Vec<(CommonTimeout, u64)>,
    /// In order: what is armed.
    model: BTreeMap<(u64, u64), (TimerId, u32)>,
    seq: u64,
    cancelled: BTreeSet<u64>,
}

impl Pair {
    fn new(now: u64, durations: &[u64]) -> Self {
        let mut timers = Timers::new(at(now));
        let queues =
            durations.iter().map(|duration| (timers.common(*duration).unwrap(), *duration)).collect();
        Pair { timers, now, queues, model: BTreeMap::new(), seq: 0, cancelled: BTreeSet::new() }
    }

    fn armed(&mut self, deadline: u64, id: TimerId) {
        assert_eq!(self.timers.deadline(id), Some(at(deadline)));
        assert!(self.model.values().all(|(other, _)| *other != id), "{id:?} names one timer");
        self.model.insert((deadline, self.seq), (id, self.seq as u32));
        self.seq += 1;
    }

    fn arm(&mut self, deadline: u64) {
        let id = self.timers.arm(at(deadline), self.seq as u32);
        self.armed(deadline, id);
    }

    /// The nth leaves the model; where there is none, no timer.
    fn take(&mut self, nth: usize) -> TimerId {
        let Some(&rank) = self.model.keys().nth(nth % self.model.len().max(1)) else { return TimerId::NONE };
        self.cancelled.insert(rank.0);
        self.model.remove(&rank).map_or(TimerId::NONE, |(id, _)| id)
    }

    fn rearm(&mut self, nth: usize, deadline: u64) {
        let id = self.take(nth);
        let id = self.timers.rearm(id, at(deadline), self.seq as u32);
        self.armed(deadline, id);
    }

    fn cancel(&mut self, nth: usize) {
        if let Some((&rank, &(id, _))) = self.model.iter().nth(nth % self.model.len().max(1)) {
            self.timers.cancel(id);
            assert_eq!(self.timers.deadline(id), None);
            self.model.remove(&rank);
            self.cancelled.insert(rank.0);
        }
    }

    /// Whether there was one.
    fn pop(&mut self) -> bool {
        let want = self.model.first_key_value().map(|(rank, (_, key))| (at(rank.0), *key));
        let want = want.filter(|(deadline, _)| deadline.as_nanos() <= self.now);
        assert_eq!(self.timers.pop_due(at(self.now)), want);
        want.is_some_and(|_| self.model.pop_first().is_some())
    }

    fn drain(&mut self) {
        while self.pop() {}
        let next = self.timers.next_deadline();
        assert!(
            next.is_none_or(|next| next.as_nanos() > self.now),
            "{next:?} is past and nothing is due: a spin"
        );
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Arm(after) => self.arm(self.now.saturating_add(after)),
            Op::ArmPast(before) => self.arm(self.now.saturating_sub(before)),
            Op::ArmAt(deadline) => self.arm(deadline),
            Op::ArmLike(nth) => {
                let like = self.model.keys().nth(nth % self.model.len().max(1)).copied();
                self.arm(like.map_or(self.now, |rank| rank.0));
            }
            Op::Common { queue, back } => {
                let (queue, duration) = self.queues[queue % self.queues.len()];
                let now = self.now.saturating_sub(back);
                let id = self.timers.arm_common(queue, at(now), self.seq as u32);
                self.armed(now.saturating_add(duration), id);
            }
            Op::Rearm(nth, after) => self.rearm(nth, self.now.saturating_add(after)),
            Op::RearmLike(nth, like) => {
                let like = self.model.keys().nth(like % self.model.len().max(1)).copied();
                self.rearm(nth, like.map_or(self.now, |rank| rank.0));
            }
            Op::RearmCommon { nth, queue, back } => {
                let (queue, duration) = self.queues[queue % self.queues.len()];
                let (id, now) = (self.take(nth), self.now.saturating_sub(back));
                let id = self.timers.rearm_common(id, queue, at(now), self.seq as u32);
                self.armed(now.saturating_add(duration), id);
            }
            Op::Cancel(nth) => self.cancel(nth),
            Op::CancelFirst => self.cancel(0),
            Op::Pop(times) => {
                let _ = (0..times % 4).all(|_| self.pop());
            }
            Op::Drain => self.drain(),
            Op::Advance(by) => self.now = self.now.saturating_add(by),
            Op::Wake => {
                if let Some(next) = self.timers.next_deadline() {
                    self.now = self.now.max(next.as_nanos());
                }
                self.drain();
            }
            Op::Back(by) => self.now = self.now.saturating_sub(by),
        }
        self.check();
    }

    fn check(&mut self) {
        self.timers.verify();
        assert_eq!(self.timers.len(), self.model.len());
        let earliest = self.model.first_key_value().map(|(rank, _)| rank.0);
        let next = self.timers.next_deadline().map(Instant::as_nanos);
        match (next, earliest) {
            (Some(next), Some(earliest)) => {
                assert!(next <= earliest, "told {next}, but {earliest} is armed");
                assert!(next == earliest || self.cancelled.contains(&next), "{next} was never armed");
            }
            (next, earliest) => assert_eq!(next, earliest),
        }
        self.timers.verify();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn as_a_sorted_map(
        start in span(),
        durations in prop::collection::btree_set(span(), 1..6),
        ops in prop::collection::vec(op(), 1..250),
    ) {
        let durations: Vec<u64> = durations.into_iter().collect();
        let mut pair = Pair::new(start, &durations);
        for op in &ops {
            pair.step(op);
        }
        pair.now = u64::MAX;
        pair.drain();
        prop_assert!(pair.timers.is_empty());
        pair.check();
    }
}
