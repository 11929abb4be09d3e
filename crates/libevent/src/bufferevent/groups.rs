//! struct bufferevent_rate_limit_group: the core's [`Group`] with a lock and a timer.
//!
//! Traps:
//! (a) A group's lock is taken under a bufferevent's, so waking a member must not take the member's: it activates the
//!     member's timer event, whose handler looks. The member lives: it leaves, under the group's lock, before it goes.
//! (b) A program may free a group that has members (libevent aborts). They are free of its limits then, and the last
//!     one to leave frees the memory.

use super::codes::*;
use super::events::Own;
use super::lifetime::Locked;
use super::limits::{ev_token_bucket_cfg, now, pace, until};
use super::{Bev, why};
use crate::base::finalize::finalize_later;
use crate::event::add::event_active;
use crate::layout::{bufferevent, event};
use crate::{event_base, lock, mem};
use core::cell::{Cell, RefCell, UnsafeCell};
use core::ffi::{c_int, c_short, c_void};
use duolu_core::Instant;
use duolu_core::stream::{Direction, Group, Member, Pace};
use std::rc::Rc;

/// libevent's min-share.
const MIN_SHARE: u64 = 64;
/// A group keeps its loop running even while nobody waits for it, as libevent's does. Longer than that nobody looks.
const AT_REST_NS: u64 = 3600 * 1_000_000_000;

/// struct bufferevent_rate_limit_group: opaque to programs.
pub struct bufferevent_rate_limit_group {
    lock: *mut c_void,
    /// Cloned and dropped under the lock only.
    group: Rc<RefCell<Group>>,
    timer: UnsafeCell<event>,
    /// The min-share that the program wishes: see [`Entered::share`].
    wished: Cell<u64>,
    /// When the timer rings.
    rings_at: Cell<Instant>,
    /// By the program; the loop is done with it, too.
    freed: Cell<bool>,
    finalized: Cell<bool>,
}

/// A bufferevent's part in it.
pub struct Membership {
    group: *mut bufferevent_rate_limit_group,
    member: Member,
}

/// A group that lives, and its lock.
struct Entered<'a> {
    group: &'a bufferevent_rate_limit_group,
    _guard: lock::Guard,
}

impl Entered<'_> {
    /// # Safety
    /// `group` is one that was not freed, or has members.
    unsafe fn of(group: *mut bufferevent_rate_limit_group) -> Self {
        // SAFETY: the caller's; the guard goes before anything is freed.
        unsafe { Entered { group: &*group, _guard: lock::Guard::of((*group).lock) } }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Group) -> R) -> R {
        work(&mut self.group.group.borrow_mut())
    }

    /// Both directions have the same min-share: what the slower one has in a tick, at most, as in libevent.
    fn share(&self) {
        let per_tick = |direction| {
            self.with(|group| match group.pace(direction) {
                Some(Pace::Ticks(ticks)) => ticks.bytes_per_tick,
                _ => u64::MAX,
            })
        };
        let slower = per_tick(Direction::Read).min(per_tick(Direction::Write));
        self.with(|group| group.set_min_share(slower.min(self.group.wished.get())));
    }

    /// Wakes those that may go on: (a).
    fn wake(&self, now: Instant) {
        self.with(|group| group.handle_time(now));
        while let Some(key) = self.with(Group::next_woken) {
            // SAFETY: a member's timer, by its address: (a).
            unsafe {
                event_active(core::ptr::with_exposed_provenance_mut(key as usize), c_int::from(EV_TIMEOUT), 0)
            };
        }
    }

    /// Has the timer ring when somebody who queues may be let go.
    fn arm(&self, now: Instant) {
        if self.group.freed.get() {
            return;
        }
        let wanted = self.with(|group| group.deadline()).map(|at| at.max(now));
        let wanted = wanted.unwrap_or(now.saturating_add_nanos(AT_REST_NS));
        let set = self.group.rings_at.get();
        if wanted < set || set <= now {
            self.group.rings_at.set(wanted);
            Own(self.group.timer.get()).add(until(wanted, now));
        }
    }
}

/// None is left, or its share is: what it may move now. With Some(0) it queues.
pub fn allowed(bev: Bev, direction: Direction, now: Instant) -> Option<usize> {
    let allowed = with_member(bev, |entered, member| {
        let allowed = member.allowed(direction, now);
        if allowed == 0 {
            entered.arm(now);
        }
        usize::try_from(allowed).unwrap_or(usize::MAX)
    })?;
    if allowed == 0 {
        bev.suspend(direction, why::GROUP);
    }
    Some(allowed)
}

/// Counts, and has it queue for more where it would have to.
pub fn moved(bev: Bev, direction: Direction, bytes: usize, now: Instant) {
    let wants_more = direction == Direction::Read || bev.output_len() > 0;
    let rests = with_member(bev, |entered, member| {
        member.moved(direction, bytes as u64);
        if wants_more {
            member.foresee(direction, now);
        }
        entered.arm(now);
        member.rests(direction)
    });
    if rests == Some(true) {
        bev.suspend(direction, why::GROUP);
    }
}

pub fn rests(bev: Bev, direction: Direction) -> bool {
    with_member(bev, |_, member| member.rests(direction)).unwrap_or(false)
}

fn with_member<R>(bev: Bev, work: impl FnOnce(&Entered<'_>, &mut Member) -> R) -> Option<R> {
    let place = bev.rare()?.membership.get();
    // SAFETY: under the bufferevent's lock, and `work` calls nothing that comes back to it.
    let membership = unsafe { (*place).as_deref_mut() }?;
    // SAFETY: it has a member.
    let entered = unsafe { Entered::of(membership.group) };
    Some(work(&entered, &mut membership.member))
}

/// Leaves its group, if it is in one. What it waited for there it waits for no more; the caller resumes it.
pub fn leave(bev: Bev) -> bool {
    let Some(rare) = bev.rare() else { return false };
    // SAFETY: under the bufferevent's lock.
    let Some(membership) = (unsafe { (*rare.membership.get()).take() }) else { return false };
    let Membership { group, member } = *membership;
    // SAFETY: it had a member until now.
    let entered = unsafe { Entered::of(group) };
    drop(member); // under the group's lock
    entered.arm(now());
    let is_last = entered.group.finalized.get() && entered.with(|group| group.members()) == 0;
    drop(entered);
    if is_last {
        release(group);
    }
    true
}

fn join(bev: Bev, group: *mut bufferevent_rate_limit_group) {
    let (timer, rare) = (bev.limit_timer_or_new(), bev.rare_or_new());
    // SAFETY: the caller's group.
    let entered = unsafe { Entered::of(group) };
    let member = Member::new(Rc::clone(&entered.group.group), timer.0.expose_provenance() as u64);
    let membership = Box::new(Membership { group, member });
    // SAFETY: under the bufferevent's lock.
    unsafe { *rare.membership.get() = Some(membership) };
}

/// Nobody has it any more.
fn release(group: *mut bufferevent_rate_limit_group) {
    // SAFETY: from Box::into_raw; freed by the program, finalized, without members.
    let group = unsafe { Box::from_raw(group) };
    // SAFETY: made in `new`, and not held.
    unsafe { lock::free(group.lock, true) };
}

unsafe extern "C-unwind" fn on_tick(_: c_int, _: c_short, group: *mut c_void) {
    // SAFETY: finalized before it is freed.
    let entered = unsafe { Entered::of(group.cast()) };
    let now = now();
    entered.group.rings_at.set(Instant::ZERO);
    entered.wake(now);
    entered.arm(now);
}

/// Null without a cfg, or without memory.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_new(
    base: *mut event_base,
    cfg: *const ev_token_bucket_cfg,
) -> *mut bufferevent_rate_limit_group {
    // SAFETY: the caller's, or null.
    let Some(cfg) = (unsafe { cfg.as_ref() }) else { return core::ptr::null_mut() };
    let make = || {
        let group = Group::new(Some(cfg.read.into()), Some(cfg.write.into()));
        Box::new(bufferevent_rate_limit_group {
            lock: core::ptr::null_mut(),
            group: Rc::new(RefCell::new(group)),
            // SAFETY: an event of zeroes is one that is not initialised.
            timer: UnsafeCell::new(unsafe { core::mem::zeroed() }),
            wished: Cell::new(MIN_SHARE),
            rings_at: Cell::new(Instant::ZERO),
            freed: Cell::new(false),
            finalized: Cell::new(false),
        })
    };
    let Some(mut group) = mem::fallible(make, drop) else { return core::ptr::null_mut() };
    group.lock = lock::new(true);
    let group = Box::into_raw(group);
    // SAFETY: made a moment ago.
    let entered = unsafe { Entered::of(group) };
    Own(entered.group.timer.get()).assign(base, -1, 0, on_tick, group.cast());
    entered.share();
    entered.arm(now());
    group
}

/// (b)
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_free(group: *mut bufferevent_rate_limit_group) {
    if group.is_null() {
        return;
    }
    let (base, timer) = {
        // SAFETY: the caller's group.
        let entered = unsafe { Entered::of(group) };
        entered.group.freed.set(true);
        for direction in [Direction::Read, Direction::Write] {
            entered.with(|group| group.set_pace(direction, None));
        }
        entered.wake(now());
        (Own(entered.group.timer.get()).base(), entered.group.timer.get())
    };
    // SAFETY: the timer lives until `on_finalized`.
    unsafe { finalize_later(base, &[timer], &[], on_finalized, group.cast()) };
}

unsafe fn on_finalized(group: *mut c_void) {
    let group = group.cast();
    // SAFETY: freed by the program only.
    let entered = unsafe { Entered::of(group) };
    entered.group.finalized.set(true);
    let is_empty = entered.with(|group| group.members()) == 0;
    drop(entered);
    if is_empty {
        release(group);
    }
}

/// Null: out of the one that it is in.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_add_to_rate_limit_group(
    bev: *mut bufferevent,
    group: *mut bufferevent_rate_limit_group,
) -> c_int {
    // SAFETY: the caller's bufferevent.
    let this = unsafe { Bev::of(bev) };
    let _locked = Locked::of(this);
    // SAFETY: under the lock.
    let current =
        this.rare().and_then(|rare| unsafe { (*rare.membership.get()).as_ref() }.map(|own| own.group));
    if current == Some(group) {
        return 0;
    }
    if current.is_some() {
        // SAFETY: the caller's bufferevent.
        unsafe { bufferevent_remove_from_rate_limit_group(bev) };
    }
    if group.is_null() {
        return 0;
    }
    let undo = |()| {
        leave(this);
    };
    mem::fallible(|| join(this, group), undo).map_or(-1, |()| 0)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_remove_from_rate_limit_group(bev: *mut bufferevent) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    leave(bev);
    bev.resume_read(why::GROUP);
    bev.resume_write(why::GROUP);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_set_cfg(
    group: *mut bufferevent_rate_limit_group,
    cfg: *const ev_token_bucket_cfg,
) -> c_int {
    // SAFETY: the caller's, or null.
    let Some(cfg) = (unsafe { cfg.as_ref() }) else { return -1 };
    if group.is_null() {
        return -1;
    }
    // SAFETY: the caller's group, here and below.
    let entered = unsafe { Entered::of(group) };
    for direction in [Direction::Read, Direction::Write] {
        entered.with(|group| group.set_pace(direction, Some(pace(cfg, direction))));
    }
    entered.share();
    entered.arm(now());
    0
}

/// -1 for more than there can be.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_set_min_share(
    group: *mut bufferevent_rate_limit_group,
    bytes: usize,
) -> c_int {
    if isize::try_from(bytes).is_err() {
        return -1;
    }
    // SAFETY: as above.
    let entered = unsafe { Entered::of(group) };
    entered.group.wished.set(bytes as u64);
    entered.share();
    0
}

fn left(group: *mut bufferevent_rate_limit_group, direction: Direction) -> isize {
    // SAFETY: the caller's caller's group.
    let entered = unsafe { Entered::of(group) };
    let now = now();
    entered.with(|group| group.left(direction, now)).map_or(isize::MAX, |left| left as isize)
}

fn charge(group: *mut bufferevent_rate_limit_group, direction: Direction, bytes: isize) -> c_int {
    // SAFETY: the caller's caller's group.
    let entered = unsafe { Entered::of(group) };
    let now = now();
    entered.with(|group| group.left(direction, now)); // what came until now comes first
    entered.with(|group| group.charge(direction, bytes as i64));
    entered.wake(now);
    entered.arm(now);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_get_read_limit(
    group: *mut bufferevent_rate_limit_group,
) -> isize {
    left(group, Direction::Read)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_get_write_limit(
    group: *mut bufferevent_rate_limit_group,
) -> isize {
    left(group, Direction::Write)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_decrement_read(
    group: *mut bufferevent_rate_limit_group,
    bytes: isize,
) -> c_int {
    charge(group, Direction::Read, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_decrement_write(
    group: *mut bufferevent_rate_limit_group,
    bytes: isize,
) -> c_int {
    charge(group, Direction::Write, bytes)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_get_totals(
    group: *mut bufferevent_rate_limit_group,
    read: *mut u64,
    written: *mut u64,
) {
    // SAFETY: the caller's group; each of the others is null or the caller's to write to.
    unsafe {
        let totals = Entered::of(group).with(|group| group.totals());
        if let Some(to) = read.as_mut() {
            *to = totals.read;
        }
        if let Some(to) = written.as_mut() {
            *to = totals.written;
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_rate_limit_group_reset_totals(
    group: *mut bufferevent_rate_limit_group,
) {
    // SAFETY: the caller's group.
    unsafe { Entered::of(group) }.with(Group::reset_totals);
}
