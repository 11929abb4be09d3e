//! The judgement of a relay: two sockets joined, and what comes from one goes to the other, unseen. What to move and
//! how much, when to copy and when to splice, when it is over. Nothing here moves a byte or calls back:
//!
//! ```text
//! face: ready -> handle_ready(side, ready), begin_turn(now)
//!       next_step(now) -> hands -> handle_filled / handle_drained ... until it is Rest
//!       next_interest(side) -> the kernel, next_timer() -> a timer, that comes back as handle_time(now)
//! ```
//!
//! What it promises:
//! (a) What was taken from one side is given to the other before anything else is taken; so what is on its way is bounded
//!     by one pipe or a few blocks for each direction, and the sender feels it when the receiver rests.
//! (b) An end is passed on behind the last byte, each way for itself. When both ways have ended it is over.
//! (c) A side that breaks ends what goes to it. What came from it is still given to the other side, which is then reset,
//!     as it would have been without the relay: so that a part is not taken for the whole.
//! (d) A side that takes no more may still have something to say: that is given to the other side first.
//! (e) Idle with something on its way, because nobody takes it, both sides are reset: neither takes a part for the whole.

use super::event::{Direction, Moved, Then};
use super::group::Member;
use super::lazy_timer::LazyTimer;
use super::limit::{Pace, set_pace};
use super::rules::Rules;
use crate::backend::Errno;
use crate::interest::{Interest, Ready};
use crate::time::Instant;
use alloc::boxed::Box;

/// What is taken at once by copying; who fills that is spliced from then on. From 16 KiB on it pays (0.95 of the time, and 0.36 for
/// 64 KiB: bench/RESULTS.md, "Passing bytes on").
pub const COPY_AT_ONCE: usize = 16 * 1024;
/// What is taken at once by splicing: what a pipe holds unless it was made larger.
pub const SPLICE_AT_ONCE: usize = 64 * 1024;
/// So much one way moves in one turn, so that it does not keep the loop from the others.
const TURN: usize = 256 * 1024;
/// One that brings less than so much at once is copied again: a splice is two system calls as well, and looks after pages. Here
/// it costs 1.03 of copying, and never more than 1.08; a step below [`COPY_AT_ONCE`], so that one about there does not go to and fro.
const WORTH_SPLICING: usize = 12 * 1024;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The one that was given first.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// The one across.
    pub fn other(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }
}

/// How bytes are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carriage {
    /// Through memory: recv, send.
    Copied,
    /// Through a pipe, without being looked at: splice(2).
    Spliced,
}

/// What the hands are to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Take from that side, then [`Relay::handle_filled`].
    Fill(Side, usize, Carriage),
    /// Give what was taken from that side to the other one, then [`Relay::handle_drained`].
    Drain(Side),
    /// Tell that side that nothing more comes.
    ShutdownWrite(Side),
    /// Take from that side and forget it, then [`Relay::handle_filled`].
    Discard(Side, usize),
    /// Have the close tell that side that the connection was cut.
    Reset(Side),
    /// Nothing for now.
    Rest,
    /// It is over.
    Close,
}

/// How it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Both ways came to their ends, and everything was given on.
    Finished,
    /// That side broke, noticed while taking from it or giving to it.
    Failed(Side, Direction, Errno),
    /// Nothing has moved for as long as the idle timeout.
    Idle,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    Open,
    Ended,
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sink {
    Open,
    Shut,
    Failed,
}

/// One way.
#[derive(Debug)]
struct Flow {
    source: Source,
    sink: Sink,
    /// Taken and not yet given.
    held: usize,
    /// Without what was taken before the two were joined.
    taken: u64,
    given: u64,
    spliced: u64,
    /// The kernel will say when there is something to take.
    is_empty: bool,
    /// The kernel will say when more may be given.
    is_full: bool,
    /// A rate limit keeps it.
    is_limited: bool,
    /// It brings so much that splicing pays.
    is_large: bool,
    refused: Option<Errno>,
    /// What it may still move in this turn.
    turn: usize,
}

/// See the module's head.
#[derive(Debug)]
pub struct Relay {
    /// From the first side, and from the second.
    flows: [Flow; 2],
    /// Limits, by direction as the first side sees it.
    rules: Option<Box<Rules>>,
    idle_ns: Option<u64>,
    /// When something has moved last.
    moved_at: Option<Instant>,
    outcome: Outcome,
    /// Both ways are done; what a side still sends is dropped until its end, or until this.
    closing_until: Option<Instant>,
    reset: Option<Side>,
    /// Promise (e): they are still to be reset.
    cut: [bool; 2],
    is_over: bool,
    asked: [Interest; 2],
    timer: LazyTimer,
}

impl Flow {
    const fn new() -> Self {
        Flow {
            source: Source::Open,
            sink: Sink::Open,
            held: 0,
            taken: 0,
            given: 0,
            spliced: 0,
            is_empty: true,
            is_full: false,
            is_limited: false,
            is_large: false,
            refused: None,
            turn: TURN,
        }
    }

    fn is_done(&self) -> bool {
        self.sink != Sink::Open || self.source == Source::Failed && self.held == 0
    }

    fn gives(&self) -> bool {
        self.held > 0 && self.sink == Sink::Open
    }

    fn takes(&self) -> bool {
        self.held == 0 && self.source == Source::Open && self.sink == Sink::Open && !self.is_limited
    }
}

impl Relay {
    /// Between two connected sockets.
    pub const fn new() -> Self {
        Relay {
            flows: [Flow::new(), Flow::new()],
            rules: None,
            idle_ns: None,
            moved_at: None,
            outcome: Outcome::Finished,
            closing_until: None,
            reset: None,
            cut: [false; 2],
            is_over: false,
            asked: [Interest::NONE; 2],
            timer: LazyTimer::UNSET,
        }
    }

    /// So much was taken from that side before the two were joined, and `ended` whether its end was met.
    pub fn preload(&mut self, from: Side, bytes: usize, ended: bool) {
        let flow = &mut self.flows[from as usize];
        flow.held += bytes;
        if ended {
            flow.source = Source::Ended;
        }
    }

    /// What the kernel is asked for at first.
    pub fn preset_interest(&mut self, side: Side, asked: Interest) {
        self.asked[side as usize] = asked;
    }

    /// Ends it when nothing has moved either way for so long; what rests because of a rate limit is not idle.
    pub fn set_idle(&mut self, idle_ns: Option<u64>) {
        self.idle_ns = idle_ns;
    }

    /// How fast bytes may be taken from the first side (read), and from the second (write).
    pub fn set_rate(&mut self, direction: Direction, pace: Option<Pace>) {
        let rules = self.rules_mut();
        let way = match direction {
            Direction::Read => &mut rules.read,
            Direction::Write => &mut rules.write,
        };
        set_pace(&mut way.bucket, pace);
        way.dry = false;
    }

    /// Shares a group's rate: what the first side sends is read, what it gets is written.
    pub fn set_member(&mut self, member: Option<Member>) {
        self.rules_mut().member = member;
    }

    /// Its group.
    pub fn member(&self) -> Option<&Member> {
        self.rules.as_ref()?.member.as_ref()
    }

    fn rules_mut(&mut self) -> &mut Rules {
        self.rules.get_or_insert_with(|| Box::new(Rules::NONE))
    }

    /// Whether the time matters to it; if not, any may be given.
    pub fn is_timed(&self) -> bool {
        self.rules.is_some() || self.idle_ns.is_some() || self.is_closing()
    }

    fn is_closing(&self) -> bool {
        self.flows.iter().all(Flow::is_done)
    }

    /// What was taken from that side since the two were joined; what is dropped at the end does not count.
    pub fn taken(&self, from: Side) -> u64 {
        self.flows[from as usize].taken
    }
    /// What was given to the other side, of what came from this one.
    pub fn given(&self, from: Side) -> u64 {
        self.flows[from as usize].given
    }
    /// How much of that was spliced.
    pub fn spliced(&self, from: Side) -> u64 {
        self.flows[from as usize].spliced
    }
    /// Why nothing is spliced any more that way.
    pub fn refused(&self, from: Side) -> Option<Errno> {
        self.flows[from as usize].refused
    }
    /// What was taken from that side and not yet given.
    pub fn held(&self, from: Side) -> usize {
        self.flows[from as usize].held
    }
    /// How it has ended, once the step is [`Step::Close`].
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    // What has come about.

    /// The kernel has said so of that side.
    pub fn handle_ready(&mut self, side: Side, ready: Ready) {
        if ready.intersects(Ready::READ) {
            self.flows[side as usize].is_empty = false;
        }
        if ready.intersects(Ready::WRITE) {
            self.flows[side.other() as usize].is_full = false;
        }
    }

    /// The loop has come to it.
    pub fn begin_turn(&mut self, now: Instant) {
        self.flows.iter_mut().for_each(|flow| flow.turn = TURN);
        self.moved_at.get_or_insert(now);
        self.look_at_limits(now);
    }

    /// The hands have taken from that side, no more than the step said. For [`Step::Discard`] as well.
    pub fn handle_filled(&mut self, from: Side, how: Carriage, moved: Moved, now: Instant) {
        let closing = self.is_closing();
        let flow = &mut self.flows[from as usize];
        flow.turn = flow.turn.saturating_sub(moved.bytes.max(1));
        if moved.bytes > 0 {
            self.moved_at = Some(now);
            if let Some(rules) = self.rules.as_mut().filter(|_| !closing) {
                rules.moved(way_of(from), moved.bytes, now);
            }
        }
        let flow = &mut self.flows[from as usize];
        if !closing {
            flow.held += moved.bytes;
            flow.taken += moved.bytes as u64;
            flow.is_large = match how {
                Carriage::Copied => moved.bytes >= COPY_AT_ONCE,
                Carriage::Spliced => moved.bytes >= WORTH_SPLICING || moved.bytes == 0 && flow.is_large,
            };
            if how == Carriage::Spliced {
                flow.spliced += moved.bytes as u64;
            }
        }
        match moved.then {
            Then::More => {}
            Then::Blocked => flow.is_empty = true,
            Then::End => flow.source = Source::Ended,
            Then::Failed(errno) => {
                flow.source = Source::Failed;
                self.has_failed(from, Direction::Read, errno);
                // There is nobody any more to give anything to: promise (c).
                let back = &mut self.flows[from.other() as usize];
                (back.sink, back.held) = (Sink::Failed, 0);
            }
        }
    }

    /// The loop cannot watch that side any more.
    pub fn give_up(&mut self, side: Side, errno: Errno) {
        self.has_failed(side, Direction::Read, errno);
        self.is_over = true;
    }

    /// That side cannot be spliced from or to: what comes from it is copied from now on.
    pub fn handle_refused(&mut self, from: Side, errno: Errno) {
        self.flows[from as usize].refused = Some(errno);
    }

    /// The hands have given some of what was taken from that side.
    pub fn handle_drained(&mut self, from: Side, moved: Moved, now: Instant) {
        let flow = &mut self.flows[from as usize];
        flow.held = flow.held.saturating_sub(moved.bytes);
        flow.given += moved.bytes as u64;
        flow.turn = flow.turn.saturating_sub(1024);
        if moved.bytes > 0 {
            self.moved_at = Some(now);
        }
        match moved.then {
            Then::More | Then::End => {}
            Then::Blocked => flow.is_full = true,
            Then::Failed(errno) => {
                (flow.sink, flow.held) = (Sink::Failed, 0);
                self.has_failed(from.other(), Direction::Write, errno);
            }
        }
    }

    fn has_failed(&mut self, side: Side, direction: Direction, errno: Errno) {
        if self.outcome == Outcome::Finished {
            self.outcome = Outcome::Failed(side, direction, errno);
        }
    }

    // What comes of it.

    /// What the hands are to do next.
    pub fn next_step(&mut self, now: Instant) -> Step {
        for side in [Side::First, Side::Second] {
            if core::mem::take(&mut self.cut[side as usize]) {
                return Step::Reset(side);
            }
        }
        if self.is_over {
            return Step::Close;
        }
        if self.is_closing() {
            return self.closing_step(now);
        }
        for from in [Side::First, Side::Second] {
            let flow = &mut self.flows[from as usize];
            if flow.turn == 0 || flow.is_done() {
                continue;
            }
            if flow.held > 0 {
                if !flow.is_full {
                    return Step::Drain(from);
                }
            } else if flow.source == Source::Ended {
                flow.sink = Sink::Shut;
                return Step::ShutdownWrite(from.other());
            } else if !flow.is_empty && flow.takes() {
                let how = if flow.is_large && flow.refused.is_none() {
                    Carriage::Spliced
                } else {
                    Carriage::Copied
                };
                let most = if how == Carriage::Spliced { SPLICE_AT_ONCE } else { COPY_AT_ONCE };
                let budget = self.budget(from, most, now);
                if budget > 0 {
                    return Step::Fill(from, budget, how);
                }
                self.look_at_limits(now);
            }
        }
        Step::Rest
    }

    /// Both ways are done: what is still sent is dropped until its end, or else the kernel would answer it with RST,
    /// which destroys what is under way.
    fn closing_step(&mut self, now: Instant) -> Step {
        let until = *self.closing_until.get_or_insert(now.saturating_add_nanos(super::LINGER_NS));
        for from in [Side::First, Side::Second] {
            let to = from.other();
            let flow = &mut self.flows[from as usize];
            if flow.source == Source::Failed && flow.sink == Sink::Open {
                flow.sink = Sink::Failed;
                self.reset = Some(to);
                return Step::Reset(to);
            }
        }
        for from in [Side::First, Side::Second] {
            let flow = &self.flows[from as usize];
            if flow.source == Source::Open && self.reset != Some(from) && now < until {
                if flow.is_empty || flow.turn == 0 {
                    return Step::Rest;
                }
                return Step::Discard(from, COPY_AT_ONCE);
            }
        }
        self.is_over = true;
        Step::Close
    }

    fn budget(&mut self, from: Side, most: usize, now: Instant) -> usize {
        let Some(rules) = &mut self.rules else { return most };
        let way = match from {
            Side::First => &mut rules.read,
            Side::Second => &mut rules.write,
        };
        let most = most.min(way.allowed(now));
        rules.shared(way_of(from), most, now)
    }

    /// Whether there is more to do though the kernel will not say so: the turn was used up.
    pub fn goes_on(&self) -> bool {
        let closing = self.is_closing();
        let more = |flow: &Flow| match flow.is_done() {
            true => closing && flow.source == Source::Open && !flow.is_empty,
            false => flow.gives() && !flow.is_full || flow.takes() && !flow.is_empty,
        };
        !self.is_over && self.flows.iter().any(|flow| flow.turn == 0 && more(flow))
    }

    fn look_at_limits(&mut self, now: Instant) {
        let Some(rules) = &mut self.rules else { return };
        let dry = [rules.read.is_dry(now), rules.write.is_dry(now)];
        for from in [Side::First, Side::Second] {
            self.flows[from as usize].is_limited = dry[from as usize] || rules.queues(way_of(from));
        }
    }

    /// What the kernel is to be asked for of that side.
    pub fn wants(&self, side: Side) -> Interest {
        let (from, to) = (&self.flows[side as usize], &self.flows[side.other() as usize]);
        let discards = self.is_closing() && from.source == Source::Open && self.reset != Some(side);
        let read = from.takes() || discards && !self.is_over;
        let write = to.gives() && to.is_full;
        let read = if read { Interest::READ } else { Interest::NONE };
        if write { read | Interest::WRITE } else { read }
    }

    /// The same, where it is not what it was asked for last: (before, now).
    pub fn next_interest(&mut self, side: Side) -> Option<(Interest, Interest)> {
        let wants = self.wants(side);
        let asked = &mut self.asked[side as usize];
        (wants != *asked).then(|| (core::mem::replace(asked, wants), wants))
    }

    /// What the kernel was last asked for.
    pub fn asked(&self, side: Side) -> Interest {
        self.asked[side as usize]
    }

    /// When a timer must be set that is not set yet, to call [`Relay::handle_time`] then. One that rings too early is set
    /// again.
    pub fn next_timer(&mut self) -> Option<Instant> {
        let deadline = self.deadline()?;
        self.timer.set_for(deadline)
    }

    /// The timer has rung, or was lost.
    pub fn timer_gone(&mut self) {
        self.timer.gone();
    }

    /// When [`Relay::handle_time`] must be called at the latest, as things are.
    pub fn deadline(&self) -> Option<Instant> {
        let limits = self.rules.as_ref().map(|rules| [rules.read.ready_at(), rules.write.ready_at()]);
        let limits = limits.unwrap_or_default();
        [limits[0], limits[1], self.idle_end(), self.closing_until].into_iter().flatten().min()
    }

    fn idle_end(&self) -> Option<Instant> {
        if self.is_closing() || self.flows.iter().any(|flow| flow.is_limited && !flow.is_done()) {
            return None;
        }
        Some(self.moved_at?.saturating_add_nanos(self.idle_ns?))
    }

    /// Looks at the time: whether it is idle, and whose rate limit lets go.
    pub fn handle_time(&mut self, now: Instant) {
        if self.idle_end().is_some_and(|end| end <= now) {
            self.outcome = Outcome::Idle;
            self.is_over = true;
            self.cut = [self.flows.iter().any(|flow| flow.held > 0); 2];
        }
        if self.flows.iter().any(|flow| flow.is_limited) {
            self.moved_at = Some(now); // what rested was not idle
        }
        self.look_at_limits(now);
    }

    /// Asserts its invariants: for tests and simulation.
    pub fn verify(&self) {
        for flow in &self.flows {
            assert!(flow.held == 0 || flow.sink == Sink::Open, "what cannot be given is not kept");
            assert!(flow.spliced <= flow.given + flow.held as u64 || flow.sink == Sink::Failed);
        }
        assert!(!self.is_over || self.outcome != Outcome::Finished || self.is_closing());
    }
}

impl Default for Relay {
    fn default() -> Self {
        Relay::new()
    }
}

/// As the first side sees it.
fn way_of(from: Side) -> Direction {
    match from {
        Side::First => Direction::Read,
        Side::Second => Direction::Write,
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
