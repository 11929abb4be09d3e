//! One rate for many streams (libevent's bufferevent_rate_limit_group).
//!
//! Each member that wants to move bytes gets a share: what is left divided by the members, but at least the min-share,
//! so that a crowd does not move a few bytes at a time. Where less than that is left the group is dry: whoever wants
//! something then queues, and rests; so does who has had its share at this instant and wants more. When it has filled, as many of the first in the queue are let go as there are
//! shares; while anybody queues, nobody goes past. So a member waits at most for one share of each other one.
//!
//! A member that wants nothing is neither paused nor woken, so a dry group costs by what it moves, not by its size.

use super::event::Direction;
use super::lazy_timer::LazyTimer;
use super::limit::{Bucket, Pace, set_pace};
use crate::time::Instant;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use core::cell::RefCell;

/// About a packet: moving less costs more than it moves.
pub const MIN_SHARE: u64 = 1500;

/// Bytes moved by a group since it was made, or since the last reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Read by members.
    pub read: u64,
    /// Written by members.
    pub written: u64,
}

/// The judgement of a group: see the module's head. Members have it in common, by [`Member`].
#[derive(Debug)]
pub struct Group {
    read: Side,
    write: Side,
    min_share: u64,
    members: usize,
    next_ticket: u64,
    timer: LazyTimer,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    /// `None`: as fast as they can.
    bucket: Option<Bucket>,
    /// Ticket by ticket, whoever queues. Tickets are given out in order.
    queue: BTreeMap<u64, u64>,
    /// So many of the first may go.
    let_go: usize,
    moved: u64,
}

/// Where a member stands in one direction. With a ticket that is not in the queue any more it may move one share.
#[derive(Debug, Default)]
struct Place {
    ticket: Option<u64>,
    /// When it was given its share, of which this is left: one for each instant, however often it asks.
    served_at: Option<Instant>,
    rest: u64,
}

/// A stream's membership. It ends when this is dropped.
#[derive(Debug)]
pub struct Member {
    group: Rc<RefCell<Group>>,
    /// What [`Group::next_woken`] gives.
    key: u64,
    read: Place,
    write: Place,
}

impl Group {
    /// One without members. `None`: as fast as they can, that way.
    pub fn new(read: Option<Pace>, write: Option<Pace>) -> Self {
        let side = |pace: Option<Pace>| Side { bucket: pace.map(Bucket::new), ..Side::default() };
        Group {
            read: side(read),
            write: side(write),
            min_share: MIN_SHARE,
            members: 0,
            next_ticket: 0,
            timer: LazyTimer::UNSET,
        }
    }

    /// Another pace from now on; what was moved stays taken. Those who queue are woken in their turn, by
    /// [`Group::handle_time`].
    pub fn set_pace(&mut self, direction: Direction, pace: Option<Pace>) {
        set_pace(&mut self.side_mut(direction).bucket, pace);
    }

    /// How fast it is.
    pub fn pace(&self, direction: Direction) -> Option<Pace> {
        self.side(direction).bucket.as_ref().map(Bucket::pace)
    }

    /// What a member gets at least, once it is its turn; 0 is taken as 1. At first [`MIN_SHARE`]. More than the burst
    /// (of a pace by ticks: than a tick brings) counts as that.
    pub fn set_min_share(&mut self, bytes: u64) {
        self.min_share = bytes.max(1);
    }

    /// What is left now: negative where it is in debt, `None` without a limit.
    pub fn left(&mut self, direction: Direction, now: Instant) -> Option<i64> {
        Some(self.side_mut(direction).bucket.as_mut()?.left(now))
    }

    /// So many bytes have moved elsewhere that are to count as the group's.
    pub fn take(&mut self, direction: Direction, bytes: u64) {
        let side = self.side_mut(direction);
        side.moved = side.moved.saturating_add(bytes);
        if let Some(bucket) = &mut side.bucket {
            bucket.take(bytes);
        }
    }

    /// So many bytes count against its rate, or (negative) count no longer, without being counted as moved.
    pub fn charge(&mut self, direction: Direction, bytes: i64) {
        if let Some(bucket) = &mut self.side_mut(direction).bucket {
            bucket.charge(bytes);
        }
    }

    /// How many streams it has.
    pub fn members(&self) -> usize {
        self.members
    }
    /// What they have moved.
    pub fn totals(&self) -> Totals {
        Totals { read: self.read.moved, written: self.write.moved }
    }
    /// Counts from zero again.
    pub fn reset_totals(&mut self) {
        (self.read.moved, self.write.moved) = (0, 0);
    }

    /// When a timer must be set that is not set yet, to call [`Group::handle_time`] then.
    pub fn next_timer(&mut self) -> Option<Instant> {
        let deadline = self.deadline()?;
        self.timer.set_for(deadline)
    }

    /// The timer has rung.
    pub fn timer_gone(&mut self) {
        self.timer.gone();
    }

    /// When somebody who queues may be let go; `None`: nobody queues.
    pub fn deadline(&self) -> Option<Instant> {
        let of = |side: &Side| {
            let queues = !side.queue.is_empty();
            let at = |bucket: &Bucket| bucket.holds_at(worth(bucket, self.min_share));
            queues.then(|| side.bucket.as_ref().map_or(Instant::ZERO, at))
        };
        [of(&self.read), of(&self.write)].into_iter().flatten().min()
    }

    /// Looks at the time: how many may be let go. Ask [`Group::next_woken`] who.
    pub fn handle_time(&mut self, now: Instant) {
        let (least, members) = (self.min_share, self.members);
        for side in [&mut self.read, &mut self.write] {
            let shares = match &mut side.bucket {
                None => u64::MAX,
                Some(bucket) => match bucket.available(now) {
                    left if left < worth(bucket, least) => 0,
                    left => (left / share(bucket, left, least, members)).max(1),
                },
            };
            side.let_go = usize::try_from(shares).unwrap_or(usize::MAX);
        }
    }

    /// The key of a member that rested and does not any more: have its stream settle.
    pub fn next_woken(&mut self) -> Option<u64> {
        for side in [&mut self.read, &mut self.write] {
            if side.let_go > 0 {
                if let Some((_, key)) = side.queue.pop_first() {
                    side.let_go -= 1;
                    return Some(key);
                }
                side.let_go = 0;
            }
        }
        None
    }

    /// How many bytes this one may move now. With 0 it queues, and rests until it is let go.
    fn allowed(&mut self, direction: Direction, place: &mut Place, key: u64, now: Instant) -> u64 {
        let (least, members) = (self.min_share, self.members);
        let side = self.side_mut(direction);
        if side.queues(place) {
            return 0;
        }
        let Some(bucket) = &mut side.bucket else { return u64::MAX };
        let (left, is_dry) = (bucket.left(now), is_dry(bucket, least, now));
        let allowed = if place.served_at == Some(now) {
            match bucket.pace() {
                Pace::Even(_) => place.rest.min(left.max(0) as u64),
                Pace::Ticks(_) => place.rest,
            }
        } else if !is_dry && (side.queue.is_empty() || place.ticket.is_some()) {
            (place.served_at, place.rest) = (Some(now), share(bucket, left as u64, least, members));
            place.rest
        } else {
            0
        };
        if allowed == 0 {
            self.enqueue(direction, place, key);
        }
        allowed
    }

    /// Has it queue where it would have to as soon as it wants more.
    fn foresee(&mut self, direction: Direction, place: &mut Place, key: u64, now: Instant) {
        let least = self.min_share;
        let side = self.side_mut(direction);
        let Some(bucket) = &mut side.bucket else { return };
        if is_dry(bucket, least, now) || !side.queue.is_empty() {
            self.enqueue(direction, place, key);
        }
    }

    fn enqueue(&mut self, direction: Direction, place: &mut Place, key: u64) {
        // One whose turn it was keeps its ticket, and with it its place before those that came later.
        let ticket = *place.ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        place.served_at = None;
        self.side_mut(direction).queue.insert(ticket, key);
    }

    fn leave(&mut self, direction: Direction, place: &Place) {
        if let Some(ticket) = place.ticket {
            self.side_mut(direction).queue.remove(&ticket);
        }
    }

    fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }
    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Asserts its invariants: for tests and simulation.
    pub fn verify(&self) {
        for side in [&self.read, &self.write] {
            assert!(side.queue.len() <= self.members, "nobody queues twice, and nobody who has left");
            assert!(side.queue.keys().all(|ticket| *ticket <= self.next_ticket));
        }
    }
}

impl Side {
    fn queues(&self, place: &Place) -> bool {
        place.ticket.is_some_and(|ticket| self.queue.contains_key(&ticket))
    }
}

/// Whether less is left than a share.
fn is_dry(bucket: &mut Bucket, least: u64, now: Instant) -> bool {
    let left = bucket.left(now);
    match bucket.pace() {
        Pace::Even(_) => left < least.min(bucket.most_share()) as i64,
        Pace::Ticks(_) => left <= 0,
    }
}

/// What is worth waking somebody for.
fn worth(bucket: &Bucket, least: u64) -> u64 {
    bucket.share().max(least.min(bucket.most_share()))
}

/// One member's share of what is left.
fn share(bucket: &Bucket, left: u64, least: u64, members: usize) -> u64 {
    let share = (left / members.max(1) as u64).max(least.min(bucket.most_share()));
    match bucket.pace() {
        Pace::Even(_) => share.min(left.max(1)),
        Pace::Ticks(_) => share,
    }
}

impl Member {
    /// Joins.
    pub fn new(group: Rc<RefCell<Group>>, key: u64) -> Self {
        group.borrow_mut().members += 1;
        Member { group, key, read: Place::default(), write: Place::default() }
    }

    /// Its group.
    pub fn group(&self) -> &Rc<RefCell<Group>> {
        &self.group
    }

    /// How many bytes it may move now. With 0 it queues, and rests until its key comes from [`Group::next_woken`].
    pub fn allowed(&mut self, direction: Direction, now: Instant) -> u64 {
        let (place, mut group) = (place(&mut self.read, &mut self.write, direction), self.group.borrow_mut());
        group.allowed(direction, place, self.key, now)
    }

    /// It will want more: where it would have to queue it does so now, and need not be asked in vain.
    pub fn foresee(&mut self, direction: Direction, now: Instant) {
        let (place, mut group) = (place(&mut self.read, &mut self.write, direction), self.group.borrow_mut());
        group.foresee(direction, place, self.key, now);
    }

    /// It has moved so many.
    pub fn moved(&mut self, direction: Direction, bytes: u64) {
        let (place, mut group) = (place(&mut self.read, &mut self.write, direction), self.group.borrow_mut());
        group.take(direction, bytes);
        // That was its turn.
        group.leave(direction, place);
        (place.ticket, place.rest) = (None, place.rest.saturating_sub(bytes));
    }

    /// Whether it queues.
    pub fn rests(&self, direction: Direction) -> bool {
        let place = match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        };
        place.ticket.is_some() && self.group.borrow().side(direction).queues(place)
    }
}

fn place<'a>(read: &'a mut Place, write: &'a mut Place, direction: Direction) -> &'a mut Place {
    match direction {
        Direction::Read => read,
        Direction::Write => write,
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut group = self.group.borrow_mut();
        group.leave(Direction::Read, &self.read);
        group.leave(Direction::Write, &self.write);
        group.members -= 1;
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
