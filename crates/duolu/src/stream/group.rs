//! One rate for many streams: the handle, and the timer that lets go of those who queue.

use super::Stream;
use crate::context::Context;
use crate::error::Error;
use duolu_core::buffer::Pool;
use duolu_core::stream::{self, Direction, Group, Member, Rate, Totals};
use duolu_core::{EventId, Instant, Ready};
use std::cell::RefCell;
use std::rc::{Rc, Weak};

/// The timer rings as often at least, while somebody queues: so that a group whose members have all gone holds a loop
/// that has nothing else to do no longer than that.
const LONGEST_NS: u64 = 1_000_000_000;

/// A rate that streams of one loop share (libevent's bufferevent_rate_limit_group): see [`Context::rate_group`].
///
/// Each member that has something to move gets what is left divided by the members, but at least the min-share. Where
/// less than that is left, whoever wants more queues, and is let go in order; a member that wants nothing costs
/// nothing. A handle only: streams stay members without it, and the last of both ends the group.
#[derive(Clone)]
pub struct RateGroup {
    core: Rc<RefCell<Group>>,
    /// The loop's, by which it is known.
    blocks: Weak<RefCell<Pool>>,
}

impl<D: 'static> Context<D> {
    /// A group that moves no faster than so, all its members together; `None`: as fast as they can, that way. The time
    /// is looked at, and a timer set, only while somebody queues.
    pub fn rate_group(&mut self, read: Option<Rate>, write: Option<Rate>) -> RateGroup {
        let group = Group::new(read.map(Into::into), write.map(Into::into));
        RateGroup { core: Rc::new(RefCell::new(group)), blocks: Rc::downgrade(&self.blocks) }
    }
}

impl RateGroup {
    /// Another rate from now on; `None`: as fast as they can. What was moved stays taken, so that changing it often
    /// gains nothing.
    pub fn set_rate<D: 'static>(&self, ctx: &mut Context<D>, direction: Direction, rate: Option<Rate>) {
        self.core.borrow_mut().set_pace(direction, rate.map(Into::into));
        if self.is_of(&ctx.blocks) {
            let_go(ctx, &self.core);
        }
    }

    /// How fast it is; `None`: as fast as it can.
    pub fn rate(&self, direction: Direction) -> Option<Rate> {
        self.core.borrow().pace(direction).and_then(stream::Pace::even)
    }

    /// What a member gets at least, when it is its turn: 1,500 bytes unless it is said otherwise; more than the burst
    /// counts as that. With less everybody's turn comes sooner and costs more: a system call for as many bytes.
    pub fn set_min_share(&self, bytes: u64) {
        self.core.borrow_mut().set_min_share(bytes);
    }

    /// So many bytes have moved elsewhere that are to count as the group's.
    pub fn charge(&self, direction: Direction, bytes: u64) {
        self.core.borrow_mut().take(direction, bytes);
    }

    /// What its members have moved.
    pub fn totals(&self) -> Totals {
        self.core.borrow().totals()
    }
    /// Counts from zero again.
    pub fn reset_totals(&self) {
        self.core.borrow_mut().reset_totals();
    }
    /// How many streams it has.
    pub fn members(&self) -> usize {
        self.core.borrow().members()
    }

    pub(crate) fn member(&self, id: EventId) -> Member {
        Member::new(Rc::clone(&self.core), id.to_bits())
    }

    /// Whether it is that loop's.
    pub(crate) fn is_of(&self, blocks: &RefCell<Pool>) -> bool {
        std::ptr::eq(self.blocks.as_ptr(), blocks)
    }

    /// Another loop's timers cannot wake this one's streams.
    pub(crate) fn must_be_of(&self, blocks: &RefCell<Pool>) -> Result<(), Error> {
        const WRONG: &str =
            "the rate group is another loop's: make one for each loop, with a part of the rate";
        if self.is_of(blocks) { Ok(()) } else { Err(Error::Misuse(WRONG)) }
    }
}

impl std::fmt::Debug for RateGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RateGroup of {}, {:?}", self.members(), self.totals())
    }
}

impl Stream<'_> {
    /// Shares the group's rate from now on, instead of that of the group it was in. Its own rate holds as well. A group
    /// of another loop is refused.
    pub fn join(&mut self, group: &RateGroup) -> Result<(), Error> {
        group.must_be_of(self.pool)?;
        self.core.set_member(Some(group.member(self.id)));
        Ok(())
    }

    /// Leaves its group, if it is in one.
    pub fn leave(&mut self) {
        self.core.set_member(None);
    }
}

/// Has those rest no more for whom something is left.
fn let_go<D: 'static>(ctx: &mut Context<D>, group: &Rc<RefCell<Group>>) {
    group.borrow_mut().handle_time(ctx.now());
    loop {
        let woken = group.borrow_mut().next_woken();
        let Some(key) = woken else { break };
        ctx.activate(EventId::from_bits(key), Ready::USER);
    }
    arm(ctx, group);
}

/// Sets the group's timer where somebody queues and it is not set.
pub(crate) fn arm<D: 'static>(ctx: &mut Context<D>, group: &Rc<RefCell<Group>>) {
    let deadline = group.borrow_mut().next_timer();
    if let Some(deadline) = deadline {
        let soon: Instant = ctx.now().saturating_add_nanos(LONGEST_NS);
        let group = Rc::clone(group);
        ctx.after(deadline.min(soon), move |ctx| {
            group.borrow_mut().timer_gone();
            let_go(ctx, &group);
        });
    }
}
