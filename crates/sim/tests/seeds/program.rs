//! The random program of one seed: what a wild user and a moody kernel do, one step at a time.

use crate::model::Model;
use duolu_core::{
    Backend, Budget, CommonTimeout, Counters, Engine, EventId, EventSpec, Instant, Interest, Ready, Refused,
    Source, Timeout, Trigger,
};
use duolu_sim::{Delay, EndKind, Personality, Rng, Sim, SimBackend, SimClock, errno};
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

macro_rules! note {
    ($self:ident, $($text:tt)*) => {
        if let Some(trace) = &mut $self.trace {
            trace.push(format!($($text)*));
        }
    };
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

    // What the user does.

    fn step(&mut self) {
        match self.rng.below(100) {
            0..12 => self.open(),
            12..24 => self.create(),
            24..46 => self.add(),
            46..54 => self.delete(),
            54..58 => self.destroy(),
            58..63 => self.activate(),
            63..66 => self.set_interest(),
            66..68 => self.signal(),
            68..78 => self.write(),
            78..86 => self.read(),
            86..88 => self.half_close(),
            88..95 => self.close(),
            95..98 => self.advance(),
            98 => self.stale_id(),
            _ => self.reinit(),
        }
    }

    fn any_event(&mut self) -> Option<EventId> {
        let index = self.rng.below(self.model.events.len() as u64) as usize;
        self.model.events.get(index).map(|event| event.id)
    }

    fn any_fd(&mut self) -> Option<i32> {
        let open: Vec<i32> = self.owned.keys().copied().collect();
        self.rng.pick(&open).copied()
    }

    fn opened(&mut self, fd: i32) {
        let known = self.model.events.iter().any(|event| event.fd() == Some(fd));
        self.summary.reopened += u64::from(known);
        let owned = self.rng.chance(400);
        self.owned.insert(fd, owned);
        note!(self, "open {fd}{}{}", if owned { " owned" } else { "" }, if known { " again" } else { "" });
    }

    fn open(&mut self) {
        if self.owned.len() >= MAX_DESCRIPTORS {
            return;
        }
        let listeners: Vec<i32> = {
            let kernel = self.sim.kernel();
            self.owned.keys().copied().filter(|&fd| kernel.kind(fd) == Ok(EndKind::Listener)).collect()
        };
        let dup_of = self.any_fd();
        let what = self.rng.below(10);
        let listener = self.rng.pick(&listeners).copied();
        let fds: Vec<i32> = {
            let mut kernel = self.sim.kernel();
            match (what, listener, dup_of) {
                (0, Some(listener), _) => kernel.connect(listener).into_iter().collect(),
                (1, Some(listener), _) => kernel.accept(listener).into_iter().collect(),
                (0..=1, None, _) => kernel.listener().into_iter().collect(),
                (2, ..) => kernel.counter().into_iter().collect(),
                (3, ..) => kernel.regular_file().into_iter().collect(),
                (4, ..) => kernel.pipe().into_iter().flat_map(|(a, b)| [a, b]).collect(),
                (5..=6, _, Some(fd)) => kernel.dup(fd).into_iter().collect(),
                _ => kernel.stream_pair().into_iter().flat_map(|(a, b)| [a, b]).collect(),
            }
        };
        for fd in fds {
            self.opened(fd);
        }
    }

    fn any_interest(&mut self) -> Interest {
        let bits = *self.rng.pick(&[1, 1, 4, 4, 5, 2, 3, 7]).unwrap_or(&1);
        Interest::from_bits(bits)
    }

    fn create(&mut self) {
        if self.model.events.len() >= MAX_EVENTS {
            return self.destroy();
        }
        self.serial += 1;
        let mut spec = EventSpec::new();
        match self.rng.below(10) {
            0..2 => {}
            2 => spec.source = Source::Signal(self.rng.between(1, 3) as i32),
            _ => {
                let Some(fd) = self.any_fd() else { return };
                spec.source = Source::Fd(fd);
                spec.interest = self.any_interest();
                spec.owned = self.owned[&fd];
                spec.trigger = *self
                    .rng
                    .pick(&[Trigger::Level, Trigger::Level, Trigger::Edge, Trigger::OneShot])
                    .unwrap_or(&Trigger::Level);
            }
        }
        spec.persist = self.rng.chance(600);
        spec.priority = self.rng.below(u64::from(self.priorities)) as u8;
        if self.rng.chance(20) && self.priorities < 256 {
            spec.priority = self.priorities as u8;
            spec.interest |= Interest::READ; // nothing else to refuse
            assert_eq!(self.engine.create(spec), Err(Refused::BadPriority(spec.priority)));
            return;
        }
        let untold = self.personality == Personality::Select && spec.interest == Interest::PEER_CLOSED;
        match self.engine.create(spec) {
            Ok(id) => {
                assert!(!untold, "PEER_CLOSED alone is never told here");
                let edges = matches!(self.personality, Personality::Epoll | Personality::Uring);
                if spec.trigger == Trigger::Edge && !edges {
                    spec.trigger = Trigger::Level;
                }
                note!(self, "create {id:?} {spec:?}");
                self.model.created(id, spec);
                if self.rng.chance(800) {
                    self.add_event(id);
                }
            }
            Err(refused) => assert!(untold, "{refused:?}: {spec:?}"),
        }
    }

    fn add(&mut self) {
        if let Some(id) = self.any_event() {
            self.add_event(id);
        }
    }

    fn any_timeout(&mut self) -> (Timeout, u64) {
        let now_ns = self.sim.kernel().now_ns();
        let timeout = match self.rng.below(12) {
            0..4 => Timeout::Keep,
            4 => Timeout::Never,
            5 => Timeout::After(self.rng.below(3)),
            6 => Timeout::After(self.rng.below(50_000_000)),
            7 => Timeout::After(*self.rng.pick(&[1 << 40, u64::MAX, 1_000, 1_000]).unwrap_or(&1)),
            8 => Timeout::At(Instant::from_nanos(self.rng.below(2 * now_ns + 10_000))),
            // Few different deadlines, so that many are equal.
            9 => Timeout::At(Instant::from_nanos((now_ns / 1_000_000 + self.rng.below(3)) * 1_000_000)),
            10 => Timeout::At(Instant::MAX),
            _ => {
                let which = self.rng.below(self.commons.len() as u64) as usize;
                return (Timeout::Common(self.commons[which]), COMMON_NS[which]);
            }
        };
        (timeout, 0)
    }

    fn add_event(&mut self, id: EventId) {
        let (timeout, common_ns) = self.any_timeout();
        let scripted = !self.clean && self.rng.chance(30);
        if scripted {
            self.sim.kernel().faults.refuse_next.push_back(Some(errno::ENOMEM));
        }
        let mixed = self.model.is_mixed(id);
        let result = self.engine.add(id, timeout);
        self.sim.kernel().faults.refuse_next.clear();
        note!(self, "add {id:?} {timeout:?}: {result:?}");
        let now_ns = if timeout == Timeout::Keep { 0 } else { self.engine.now().as_nanos() };
        let event = self.model.find(id).expect("one of the model's").clone();
        match result {
            Ok(()) => {
                assert!(!mixed, "mixed triggers were taken");
                self.model.added(id, timeout, common_ns, now_ns);
                if let Some(fd) = event.fd().filter(|fd| !self.owned.contains_key(fd)) {
                    self.model.taint(fd); // added to a closed number, which the kernel will say later
                }
            }
            Err(Refused::MixedTriggers) => assert!(mixed, "{event:?} is not mixed"),
            Err(Refused::Kernel(errno)) => {
                let fd = event.fd().expect("only descriptors are refused by the kernel");
                let closed = errno == errno::EBADF && !self.owned.contains_key(&fd);
                assert!(closed || !self.clean, "{errno:?} on open descriptor {fd}");
                self.summary.refused += 1;
                self.model.taint(fd);
            }
            Err(other) => panic!("{other:?}: {event:?}"),
        }
    }

    fn delete(&mut self) {
        let Some(id) = self.any_event() else { return };
        self.delete_event(id);
    }

    fn delete_event(&mut self, id: EventId) {
        let was = self.engine.del(id);
        note!(self, "del {id:?}: {was}");
        let event = self.model.find(id).expect("one of the model's");
        assert!(was || !(event.is_pending() || event.is_surely_active()), "{event:?}");
        self.model.deleted(id);
        assert!(!self.engine.is_pending(id) && !self.engine.is_active(id));
    }

    fn destroy(&mut self) {
        if let Some(id) = self.any_event() {
            self.destroy_event(id);
        }
    }

    fn destroy_event(&mut self, id: EventId) {
        note!(self, "destroy {id:?}");
        assert!(self.engine.destroy(id));
        assert!(!self.engine.destroy(id), "destroyed twice");
        self.model.destroyed(id);
    }

    fn activate(&mut self) {
        let Some(id) = self.any_event() else { return };
        let ready =
            *self.rng.pick(&[Ready::NONE, Ready::USER, Ready::READ, Ready::WRITE]).unwrap_or(&Ready::USER);
        note!(self, "activate {id:?} {ready:?}");
        assert!(self.engine.activate(id, ready));
        self.model.activated(id, if ready.is_empty() { Ready::USER } else { ready });
    }

    fn set_interest(&mut self) {
        let Some(id) = self.any_event() else { return };
        let interest = self.any_interest();
        let result = self.engine.set_interest(id, interest);
        note!(self, "set_interest {id:?} {interest:?}: {result:?}");
        let untold = self.personality == Personality::Select && interest == Interest::PEER_CLOSED;
        let event = self.model.find(id).expect("one of the model's");
        match result {
            Ok(()) => {
                event.spec.interest = interest;
                event.asked |= interest;
                // What is ready already need not be told again where the kernel notices no change.
                if event.spec.trigger == Trigger::Edge && event.arrivals_seen.is_none() {
                    event.arrivals_seen = Some(u64::MAX);
                }
            }
            Err(refused) => assert!(untold || event.fd().is_none(), "{refused:?}: {event:?}"),
        }
    }

    fn signal(&mut self) {
        let signo = self.rng.between(1, 3) as i32;
        let count = *self.rng.pick(&[1, 2, 70_000]).unwrap_or(&1);
        note!(self, "signal {signo} x {count}");
        self.engine.deliver_signal(signo, count);
        self.model.signalled(signo, count);
    }

    fn stale_id(&mut self) {
        let spec = EventSpec::new();
        let id = self.engine.create(spec).expect("a timer");
        assert!(self.engine.destroy(id));
        assert!(!self.engine.del(id) && !self.engine.activate(id, Ready::USER) && !self.engine.exists(id));
        assert_eq!(self.engine.add(id, Timeout::After(1)), Err(Refused::NoSuchEvent));
        assert_eq!(self.engine.set_interest(id, Interest::READ), Err(Refused::NoSuchEvent));
    }

    fn reinit(&mut self) {
        note!(self, "reinit");
        self.engine.reinit().expect("the simulated kernel starts anew always");
        if !self.clean {
            self.taint_everything(); // a refusal may have been drawn
        }
    }

    fn taint_everything(&mut self) {
        let fds: Vec<i32> = self.model.events.iter().filter_map(|event| event.fd()).collect();
        fds.into_iter().for_each(|fd| self.model.taint(fd));
    }

    fn write(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let count = self.rng.between(1, 80) as usize;
        let mut kernel = self.sim.kernel();
        let result = if kernel.kind(fd) == Ok(EndKind::Counter) {
            kernel.add_to_counter(fd, 1).map(|()| 8)
        } else {
            kernel.write(fd, &[7; 80][..count])
        };
        drop(kernel);
        note!(self, "write {fd}: {result:?}");
    }

    fn read(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let max = if self.rng.chance(500) { 1000 } else { 3 };
        let result = self.sim.kernel().read(fd, max).map(|bytes| bytes.len());
        note!(self, "read {fd}: {result:?}");
    }

    fn half_close(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let result = self.sim.kernel().shutdown_write(fd);
        note!(self, "shutdown {fd}: {result:?}");
    }

    /// Destroys first, removes first, or just closes behind the loop's back.
    fn close(&mut self) {
        let Some(fd) = self.any_fd() else { return };
        let way = self.rng.below(5);
        let on_it: Vec<EventId> =
            self.model.events.iter().filter(|event| event.fd() == Some(fd)).map(|event| event.id).collect();
        for id in on_it {
            let owned = self.model.find(id).is_some_and(|event| event.spec.owned);
            match way {
                0..2 => self.destroy_event(id),
                _ if owned => self.destroy_event(id), // that is what `owned` promises
                2..4 => self.delete_event(id),
                _ => {}
            }
        }
        let result = if self.rng.chance(200) {
            self.sim.kernel().close_with_reset(fd)
        } else {
            self.sim.kernel().close(fd)
        };
        note!(self, "close {fd} way {way}: {result:?}");
        self.owned.remove(&fd);
        self.model.taint(fd);
        if self.rng.chance(400) {
            self.open(); // gets the number at once
        }
    }

    fn advance(&mut self) {
        let by_ns = match self.rng.below(10) {
            0 => self.rng.below(1 << 50), // the machine slept for days
            1..4 => self.rng.below(10_000),
            _ => self.rng.below(30_000_000),
        };
        note!(self, "advance {by_ns}");
        self.sim.kernel().advance(by_ns);
    }

    // The loop.

    fn any_limit(&mut self) -> Option<u64> {
        match self.rng.below(4) {
            0 => Some(0),
            1 => Some(self.rng.below(1_000)),
            2 if self.model.next_deadline_ns().is_some_and(|at_ns| at_ns < u64::MAX) => None,
            _ => Some(self.rng.below(20_000_000)),
        }
    }

    fn turn(&mut self) {
        let limit_ns = self.any_limit();
        if !self.clean && self.rng.chance(20) {
            self.sim.kernel().faults.fail_waits.push_back(errno::ENOMEM);
            assert_eq!(self.engine.poll(limit_ns), Err(errno::ENOMEM));
            note!(self, "poll fails");
            self.stale_streak = 0; // a turn without stale reports
            return self.taint_everything();
        }
        self.poll(limit_ns);
        let mut first = true;
        let mut reached = u8::MAX;
        loop {
            let most_urgent = self.most_urgent();
            let Some(active) = self.engine.next_active() else {
                assert!(!first || most_urgent.is_none(), "something is due and nothing is told after a poll");
                break;
            };
            first = false;
            self.check_told(&active, most_urgent);
            let priority = most_urgent.unwrap_or(u8::MAX);
            assert!(priority <= reached, "a less urgent queue before the kernel was asked again");
            reached = priority;
            for _ in 0..self.rng.below(3) {
                note!(self, "  inside the callback:");
                self.step();
            }
            self.verify();
            if self.rng.chance(30) {
                break; // loopbreak: the rest waits
            }
        }
    }

    fn most_urgent(&self) -> Option<u8> {
        let active = self.model.events.iter().filter(|event| self.engine.is_active(event.id));
        active.map(|event| event.spec.priority).min()
    }

    fn check_told(&mut self, active: &duolu_core::Active, most_urgent: Option<u8>) {
        note!(self, "told {active:?}");
        self.summary.told += 1;
        let priority = self.model.find(active.id).map(|event| event.spec.priority);
        assert_eq!(priority, most_urgent, "a more urgent event is due");
        let now_ns = self.engine.now().as_nanos();
        self.model.told(active, now_ns, self.lies);
    }

    fn poll(&mut self, limit_ns: Option<u64>) {
        self.summary.polls += 1;
        let start_ns = self.sim.kernel().now_ns();
        let was_active = self.most_urgent().is_some();
        let before = self.engine.counters();
        let refused_before = self.engine.backend().stats().refused;
        let deadline_ns = self.model.next_deadline_ns();
        self.engine.poll(limit_ns).expect("no fault was scripted");
        let now_ns = self.sim.kernel().now_ns();
        assert_eq!(self.engine.now().as_nanos(), now_ns, "the time of a turn is that after its wait");
        note!(self, "poll {limit_ns:?}: {start_ns} to {now_ns}, {:?}", self.engine.counters());
        self.check_stale(before);
        if self.engine.backend().stats().refused > refused_before {
            self.taint_refused();
        }
        self.model.polled(&self.sim.kernel());
        self.model.expire(now_ns);
        if self.clean {
            for id in self.model.must_be_active(&self.sim.kernel()) {
                assert!(self.engine.is_active(id), "not told: {:?}", self.model.find(id));
            }
            let excused = self.model.woke_for_cancelled(now_ns);
            let stale = self.engine.counters().stale_reports > before.stale_reports;
            let quiet = !excused && !stale && !was_active && self.most_urgent().is_none();
            let until_ns =
                limit_ns.map(|ns| start_ns.saturating_add(ns)).into_iter().chain(deadline_ns).min();
            let until_ns = until_ns.unwrap_or(u64::MAX);
            assert!(!quiet || now_ns >= until_ns, "woke at {now_ns} for nothing, {until_ns} was the time");
        }
        self.verify();
    }

    /// Leftovers of closed numbers wake the loop twice in a row at most before it gets rid of all there are;
    /// the program goes on making new ones. That it helps is seen in the end, by the loop's sleep.
    fn check_stale(&mut self, before: Counters) {
        let after = self.engine.counters();
        let stale = after.stale_reports > before.stale_reports;
        let rebuilt = after.rebuilds > before.rebuilds;
        // A poll rebuilds before it waits, so what it tells comes after.
        let streak = if rebuilt { 0 } else { self.stale_streak };
        self.stale_streak = if stale { streak + 1 } else { 0 };
        assert!(self.stale_streak <= 2, "a leftover registration wakes the loop again and again");
    }

    /// A merged change was refused: drawn by chance, or because the number is closed.
    fn taint_refused(&mut self) {
        if !self.clean {
            return self.taint_everything();
        }
        let closed: Vec<i32> = self.model.events.iter().filter_map(|event| event.fd()).collect();
        for fd in closed.into_iter().filter(|fd| !self.owned.contains_key(fd)) {
            self.model.taint(fd);
        }
    }

    /// No more faults, nothing on its way; each event is removed when told. Whatever is owed must come.
    fn quiesce(&mut self) {
        note!(self, "quiet");
        let mut faults = duolu_sim::Faults::default();
        core::mem::swap(&mut self.sim.kernel().faults, &mut faults);
        self.engine.backend().max_reports = 1024;
        self.sim.kernel().settle();
        let turns = 4 * MAX_EVENTS + 8;
        let mut quiet = 0;
        for _ in 0..turns {
            self.poll(Some(0));
            let mut told = 0;
            loop {
                let most_urgent = self.most_urgent();
                let Some(active) = self.engine.next_active() else { break };
                self.check_told(&active, most_urgent);
                self.delete_event(active.id);
                told += 1;
            }
            quiet = if told == 0 { quiet + 1 } else { 0 };
            if quiet == 3 {
                break;
            }
        }
        assert_eq!(quiet, 3, "the loop does not come to rest in {turns} turns");
        let owed = self.model.must_be_active(&self.sim.kernel());
        let level = |event: &crate::model::Event| event.spec.trigger != Trigger::Edge;
        for event in self.model.events.iter().filter(|event| owed.contains(&event.id)) {
            assert!(!level(event), "never told: {event:?}");
        }
        assert!(
            self.model.events.iter().all(|event| !event.is_surely_active()),
            "something due was never told"
        );
        self.check_sleep();
        self.close_all();
    }

    /// With nothing to do, one poll is one wait that lasts to its limit.
    fn check_sleep(&mut self) {
        let start_ns = self.sim.kernel().now_ns();
        let next_ns = self.model.next_deadline_ns().unwrap_or(u64::MAX);
        let until_ns = next_ns.min(start_ns.saturating_add(1_000_000));
        while self.sim.kernel().now_ns() < until_ns {
            let left_ns = until_ns - self.sim.kernel().now_ns();
            let before = self.engine.backend().stats();
            self.engine.poll(Some(left_ns)).expect("no faults");
            let after = self.engine.backend().stats();
            assert_eq!(
                (after.waits - before.waits, after.changes() - before.changes()),
                (1, 0),
                "a quiet turn"
            );
            let now_ns = self.sim.kernel().now_ns();
            let excused = self.model.woke_for_cancelled(now_ns);
            assert!(now_ns == until_ns || excused, "a quiet turn sleeps until {until_ns}, not {now_ns}");
        }
    }

    /// Everything destroyed: the kernel watches nothing any more.
    fn close_all(&mut self) {
        while let Some(id) = self.any_event() {
            self.destroy_event(id);
        }
        assert_eq!((self.engine.pending_count(), self.engine.backend().watched_count()), (0, 0));
        self.engine.verify();
        assert!(self.engine.next_active().is_none());
        assert!(self.engine.backend().name().starts_with("sim-"));
    }
}
