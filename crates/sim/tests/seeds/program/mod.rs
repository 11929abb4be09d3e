//! The random program of one seed: what a wild user and a moody kernel do, one step at a time.

macro_rules! note {
    ($self:ident, $($text:tt)*) => {
        if let Some(trace) = &mut $self.trace {
            trace.push(format!($($text)*));
        }
    };
}

mod turn;
mod user;

use crate::model::Model;
use duolu_core::{Budget, CommonTimeout, Engine};
use duolu_sim::{Delay, Personality, Rng, Sim, SimBackend, SimClock};
use std::collections::BTreeMap;

const STEPS: u64 = 300;
const MAX_EVENTS: usize = 40;
const MAX_DESCRIPTORS: usize = 24;
const COMMON_NS: [u64; 3] = [1_000, 5_000_000, 60_000_000_000];

/// What was done, to see that a run is not empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Summary {
    pub steps: u64,
    pub polls: u64,
    pub told: u64,
    pub timeouts: u64,
    pub refused: u64,
    pub rebuilds: u64,
    pub stale_reports: u64,
    pub lost_descriptors: u64,
    pub reopened: u64,
    pub sleeps: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.steps += other.steps;
        self.polls += other.polls;
        self.told += other.told;
        self.timeouts += other.timeouts;
        self.refused += other.refused;
        self.rebuilds += other.rebuilds;
        self.stale_reports += other.stale_reports;
        self.lost_descriptors += other.lost_descriptors;
        self.reopened += other.reopened;
        self.sleeps += other.sleeps;
    }

    pub fn assert_covered(&self) {
        let all = [
            self.steps,
            self.polls,
            self.told,
            self.timeouts,
            self.refused,
            self.rebuilds,
            self.stale_reports,
            self.lost_descriptors,
            self.reopened,
            self.sleeps,
        ];
        assert!(all.iter().all(|&count| count > 0), "something never happened: {self:?}");
    }
}

pub struct Program {
    sim: Sim,
    engine: Engine<SimBackend, SimClock>,
    model: Model,
    rng: Rng,
    personality: Personality,
    /// Open numbers, and whether events on them are owned by the loop.
    owned: BTreeMap<i32, bool>,
    commons: Vec<CommonTimeout>,
    priorities: u16,
    /// Nothing is refused, delayed, interrupted or lied: everything due must be told by the next poll.
    clean: bool,
    /// The kernel reports what is not so, now and then.
    lies: bool,
    serial: u64,
    stale_streak: u32,
    summary: Summary,
    trace: Option<Vec<String>>,
}

impl Program {
    pub fn new(seed: u64, personality: Personality, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let sim = Sim::new(rng.next_u64());
        let priorities = *rng.pick(&[1, 2, 8, 256]).unwrap_or(&1);
        let mut backend = sim.backend(personality);
        let clean = rng.chance(500);
        let lies = !clean && rng.chance(300);
        {
            let mut kernel = sim.kernel();
            kernel.capacity = rng.between(1, 64) as usize;
            if rng.chance(500) {
                let max_ns = rng.between(1, 20_000_000);
                kernel.delay = Delay { min_ns: max_ns / 2, max_ns, loss_permille: rng.below(200) as u32 };
            }
            if !clean {
                kernel.faults.refuse_permille = rng.below(50) as u32;
                kernel.faults.interrupt_permille = rng.below(200) as u32;
                kernel.faults.spurious_wake_permille = rng.below(100) as u32;
                kernel.faults.delay_report_permille = rng.below(400) as u32;
                kernel.faults.false_report_permille = if lies { 50 } else { 0 };
                kernel.faults.reorder = rng.chance(500);
                kernel.faults.max_oversleep_ns = rng.below(3_000_000);
                backend.max_reports = rng.between(1, 8) as usize;
            }
        }
        let mut engine = Engine::new(Box::new(backend), sim.clock(), priorities);
        if rng.chance(150) {
            engine.set_budget(Budget { max_callbacks: rng.between(1, 5) as u32, from_priority: 0 });
        }
        let commons = COMMON_NS.iter().filter_map(|&ns| engine.timers().common(ns)).collect();
        Program {
            engine,
            model: Model::new(personality),
            rng,
            personality,
            owned: BTreeMap::new(),
            commons,
            priorities,
            clean,
            lies,
            serial: 0,
            stale_streak: 0,
            summary: Summary::default(),
            trace: trace.then(Vec::new),
            sim,
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// The program, then quiet, in which all that is owed must be told.
    pub fn run(&mut self) -> Summary {
        note!(self, "{:?}, {} priorities, clean: {}", self.personality, self.priorities, self.clean);
        for _ in 0..STEPS {
            self.summary.steps += 1;
            if self.rng.chance(250) {
                self.turn();
            } else {
                self.step();
            }
            self.verify();
        }
        self.quiesce();
        let counters = self.engine.counters();
        self.summary.timeouts = counters.timeouts;
        self.summary.rebuilds = counters.rebuilds;
        self.summary.stale_reports = counters.stale_reports;
        self.summary.lost_descriptors = counters.lost_descriptors;
        self.summary.sleeps = self.engine.backend().stats().sleeps;
        self.summary
    }

    /// The engine's invariants, and its answers against the model's.
    fn verify(&mut self) {
        self.engine.verify();
        for event in &self.model.events {
            let id = event.id;
            assert!(self.engine.exists(id));
            assert_eq!(self.engine.is_pending(id), event.is_pending(), "pending? {event:?}");
            if event.is_surely_active() || event.fd().is_none() {
                assert_eq!(self.engine.is_active(id), event.is_surely_active(), "active? {event:?}");
            }
            let deadline = self.engine.reactor().deadline(id).map(|at| at.as_nanos());
            assert_eq!(deadline, event.deadline.map(|(at_ns, _)| at_ns), "deadline of {event:?}");
        }
        let pending = self.model.events.iter().filter(|event| event.is_pending()).count();
        assert_eq!(self.engine.pending_count(), pending);
    }
}
