//! The oracle: what a correct brain may and must tell, kept in the plainest way, without any of its structures.

use duolu_core::{Active, EventId, EventSpec, Interest, Ready, Source, Timeout, Trigger};
use duolu_sim::{Personality, SimKernel};

/// One event as the model sees it.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: EventId,
    /// `trigger` is the one in effect on this backend.
    pub spec: EventSpec,
    /// Waits for its descriptor or signal.
    pub listed: bool,
    /// When it times out, and as the how manieth it was armed.
    pub deadline: Option<(u64, u64)>,
    pub period_ns: u64,
    /// The period is a common timeout's: it starts anew from the turn's time, so that its queue stays in order.
    pub common: bool,
    /// Timed out, not told yet.
    pub timeout_due: bool,
    /// Activated by the program with these, not told yet.
    pub by_user: Ready,
    pub signals: u32,
    /// What a report may have said since it was last told or removed.
    pub may_tell: Ready,
    /// What it asked for at any time since then.
    pub asked: Interest,
    /// Its number was closed behind the loop's back, or the kernel refused a change on it: it may be told
    /// anything it asked for, or nothing, until it is added anew.
    pub tainted: bool,
    /// Edge: the arrivals that were reported; `None` while present data is still owed.
    pub arrivals_seen: Option<u64>,
    /// Its place in the order of activation, where the model knows it.
    pub rank: Option<u64>,
}

impl Event {
    pub fn fd(&self) -> Option<i32> {
        if let Source::Fd(fd) = self.spec.source { Some(fd) } else { None }
    }
    pub fn is_pending(&self) -> bool {
        self.listed || self.deadline.is_some()
    }
    /// Due for a reason the model knows for sure.
    pub fn is_surely_active(&self) -> bool {
        self.timeout_due || !self.by_user.is_empty() || self.signals > 0
    }
    fn forget_activity(&mut self) {
        (self.timeout_due, self.by_user, self.signals) = (false, Ready::NONE, 0);
        (self.may_tell, self.rank) = (Ready::NONE, None);
        self.asked = self.spec.interest;
    }
}

/// All events, and the two counters that order them.
pub struct Model {
    pub events: Vec<Event>,
    personality: Personality,
    armed: u64,
    /// Deadlines that were taken back. The timers may wake the loop at such a time, once.
    cancelled: Vec<u64>,
    activations: u64,
    last_rank: [u64; 256],
}

/// What this backend would report for an open descriptor in that state.
fn reported(personality: Personality, ready: Ready, interest: Interest) -> Ready {
    let asked = interest.as_ready();
    if personality != Personality::Select {
        return ready & (asked | Ready::HANGUP | Ready::ERROR);
    }
    let mut told = Ready::NONE;
    if ready.intersects(Ready::READ | Ready::HANGUP | Ready::ERROR) {
        told |= Ready::READ;
    }
    if ready.intersects(Ready::WRITE | Ready::ERROR) {
        told |= Ready::WRITE;
    }
    told & asked
}

impl Model {
    pub fn new(personality: Personality) -> Self {
        Model {
            events: Vec::new(),
            personality,
            armed: 0,
            cancelled: Vec::new(),
            activations: 0,
            last_rank: [0; 256],
        }
    }

    pub fn find(&mut self, id: EventId) -> Option<&mut Event> {
        self.events.iter_mut().find(|event| event.id == id)
    }

    pub fn created(&mut self, id: EventId, spec: EventSpec) {
        assert!(self.find(id).is_none(), "{id:?} was given out twice");
        self.events.push(Event {
            id,
            spec,
            listed: false,
            deadline: None,
            period_ns: 0,
            common: false,
            timeout_due: false,
            by_user: Ready::NONE,
            signals: 0,
            may_tell: Ready::NONE,
            asked: spec.interest,
            tainted: false,
            arrivals_seen: None,
            rank: None,
        });
    }

    pub fn destroyed(&mut self, id: EventId) {
        self.deleted(id);
        self.events.retain(|event| event.id != id);
    }

    /// Whether an addition must be refused because of the others on the descriptor.
    pub fn is_mixed(&self, id: EventId) -> bool {
        let Some(event) = self.events.iter().find(|event| event.id == id) else { return false };
        let Some(fd) = event.fd() else { return false };
        let others =
            self.events.iter().filter(|other| other.id != id && other.listed && other.fd() == Some(fd));
        !event.listed && others.into_iter().any(|other| other.spec.trigger != event.spec.trigger)
    }

    /// An addition was accepted.
    pub fn added(&mut self, id: EventId, timeout: Timeout, common_ns: u64, now_ns: u64) {
        let armed = self.armed + 1;
        let event = self.find(id).expect("the engine knows an event that the model does not");
        if event.spec.source != Source::None && !event.listed {
            event.listed = true;
            (event.tainted, event.arrivals_seen) = (false, None);
        }
        let after = |ns: u64| Some((now_ns.saturating_add(ns), armed));
        let (deadline, period_ns) = match timeout {
            Timeout::Keep => return,
            Timeout::Never => (None, 0),
            Timeout::At(at) => (Some((at.as_nanos(), armed)), 0),
            Timeout::After(ns) => (after(ns), ns),
            Timeout::Common(_) => (after(common_ns), common_ns),
        };
        let before = core::mem::replace(&mut event.deadline, deadline);
        event.period_ns = if event.spec.persist { period_ns } else { 0 };
        event.common = matches!(timeout, Timeout::Common(_));
        event.timeout_due = false; // what is added anew must not time out for the old reason
        if !event.is_surely_active() {
            event.rank = None;
        }
        self.armed = armed;
        self.cancelled.extend(before.map(|(at_ns, _)| at_ns));
    }

    pub fn deleted(&mut self, id: EventId) {
        if let Some(event) = self.find(id) {
            event.listed = false;
            event.forget_activity();
            event.period_ns = 0;
            let before = event.deadline.take();
            self.cancelled.extend(before.map(|(at_ns, _)| at_ns));
        }
    }

    pub fn activated(&mut self, id: EventId, ready: Ready) {
        self.activations += 1;
        let rank = self.activations;
        if let Some(event) = self.find(id) {
            if event.spec.source == Source::None && !event.is_surely_active() {
                event.rank = Some(rank);
            }
            event.by_user |= ready;
        }
    }

    pub fn signalled(&mut self, signo: i32, count: u32) {
        for event in &mut self.events {
            if event.listed && event.spec.source == Source::Signal(signo) {
                event.signals = (event.signals + count).min(65_535);
            }
        }
    }

    /// The number was closed behind the loop's back, or a change on it was refused.
    pub fn taint(&mut self, fd: i32) {
        for event in &mut self.events {
            event.tainted |= event.listed && event.fd() == Some(fd);
        }
    }

    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.events.iter().filter_map(|event| event.deadline).map(|(at_ns, _)| at_ns).min()
    }

    /// Whether a wake-up at `now_ns` may be for a deadline that was taken back; asked once after each poll.
    pub fn woke_for_cancelled(&mut self, now_ns: u64) -> bool {
        let before = self.cancelled.len();
        self.cancelled.retain(|&at_ns| at_ns > now_ns);
        self.cancelled.len() < before
    }

    /// After a poll: whose readiness may have been reported, in the state the kernel is in now.
    pub fn polled(&mut self, kernel: &SimKernel) {
        let personality = self.personality;
        for event in self.events.iter_mut().filter(|event| event.listed) {
            let Some(fd) = event.fd().filter(|&fd| kernel.is_open(fd)) else { continue };
            let told = reported(personality, kernel.readiness(fd), event.spec.interest);
            event.may_tell |= told;
            if told.intersects(Ready::HANGUP | Ready::ERROR) {
                event.may_tell |= event.spec.interest.as_ready();
            }
        }
    }

    /// After a poll without faults: who must be active now because of its descriptor.
    pub fn must_be_active(&mut self, kernel: &SimKernel) -> Vec<EventId> {
        let personality = self.personality;
        let mut must = Vec::new();
        for event in self.events.iter_mut().filter(|event| event.listed && !event.tainted) {
            let Some(fd) = event.fd().filter(|&fd| kernel.is_open(fd)) else { continue };
            let arrivals = kernel.arrivals(fd);
            let told = reported(personality, kernel.readiness(fd), event.spec.interest);
            let present_owed = event.arrivals_seen.is_none() && !told.is_empty();
            let news = event.arrivals_seen.is_some_and(|seen| arrivals > seen) && told.contains(Ready::READ);
            let edge = event.spec.trigger == Trigger::Edge;
            if present_owed || news || !edge && !told.is_empty() {
                must.push(event.id);
            }
            event.arrivals_seen = Some(arrivals);
        }
        must
    }

    /// Runs out every timeout that is due, in exact order.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(event) = self
            .events
            .iter_mut()
            .filter(|event| event.deadline.is_some_and(|(at_ns, _)| at_ns <= now_ns))
            .min_by_key(|event| event.deadline)
        {
            let (at_ns, _) = event.deadline.take().expect("just seen");
            if event.period_ns > 0 {
                self.armed += 1;
                let late = at_ns.saturating_add(event.period_ns) <= now_ns;
                let from_ns = if late || event.common { now_ns } else { at_ns };
                let next_ns = from_ns.saturating_add(event.period_ns);
                event.deadline = Some((next_ns, self.armed));
            }
            if event.spec.source == Source::None && !event.is_surely_active() {
                self.activations += 1;
                event.rank = Some(self.activations);
            }
            event.timeout_due = true;
        }
    }

    /// Checks what was told and takes its consequences. `false_reports`: the kernel may have lied.
    pub fn told(&mut self, active: &Active, now_ns: u64, false_reports: bool) {
        let armed = self.armed + 1;
        let event = self.events.iter_mut().find(|event| event.id == active.id);
        let event = event.unwrap_or_else(|| panic!("told of a destroyed event: {active:?}"));
        assert!(
            event.is_pending() || event.is_surely_active(),
            "told of a removed event: {active:?} {event:?}"
        );
        const IO: Ready = Ready::READ.with(Ready::WRITE).with(Ready::PEER_CLOSED);
        const TROUBLE: Ready = Ready::HANGUP.with(Ready::ERROR).with(Ready::INVALID);
        let asked = event.asked.as_ready();
        let mut may = event.may_tell | event.by_user;
        if event.tainted {
            may |= asked | TROUBLE;
        }
        if false_reports {
            may |= asked;
        }
        let io = active.ready & (IO | TROUBLE);
        assert!((io - may).is_empty(), "{active:?} is not so: at most {may:?}, {event:?}");
        let mut rest = event.by_user & Ready::USER;
        rest |= if event.timeout_due { Ready::TIMEOUT } else { Ready::NONE };
        rest |= if event.signals > 0 { Ready::SIGNAL } else { Ready::NONE };
        assert_eq!(active.ready - IO - TROUBLE, rest, "{active:?}, but {event:?}");
        assert!(active.ready.contains(event.by_user), "{active:?} lacks {:?}", event.by_user);
        assert_eq!(u32::from(active.count), event.signals, "signals of {event:?}");
        if let Some(rank) = event.rank {
            let last = &mut self.last_rank[usize::from(event.spec.priority)];
            assert!(
                rank > *last,
                "out of order: {active:?} was due as number {rank}, told after number {last}"
            );
            *last = rank;
        }
        event.forget_activity();
        if !event.spec.persist || event.spec.trigger == Trigger::OneShot {
            event.listed = false;
            self.cancelled.extend(event.deadline.take().map(|(at_ns, _)| at_ns));
        } else if event.period_ns > 0 && active.ready != Ready::TIMEOUT {
            let next_ns = now_ns.saturating_add(event.period_ns);
            let before = event.deadline.replace((next_ns, armed));
            self.cancelled.extend(before.map(|(at_ns, _)| at_ns));
            self.armed = armed;
        }
    }
}
