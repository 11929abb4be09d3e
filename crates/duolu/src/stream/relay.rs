//! Two descriptors, one object: from either one's readiness to the other's bytes.
//!
//! Traps:
//! (a) Two events share one object; removing either must remove the other, or its number would be watched after its
//!     descriptor is closed: [`Object::partner`].
//! (b) Nothing the program has written runs while the object is borrowed, except the transports and who is told of the
//!     progress, which cannot reach the loop. The program is told when both events are gone and both sockets closed.
//! (c) A pipe that holds something belongs to its direction; one that breaks takes it along, so that nobody else's bytes
//!     come out of it.

use super::pipes::{Lent, Pipes};
use super::splice::{Progress, SpliceOptions, Spliced};
use super::{Transport, group};
use crate::context::Context;
use crate::error::Error;
use crate::object::{Cause, Object};
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{Carriage, Moved, Relay, SPLICE_AT_ONCE, Side, Step, Then};
use duolu_core::{Errno, EventId, Instant, Interest, Ready, Timeout};
use duolu_sys::splice::cannot_be_spliced;
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

/// EOPNOTSUPP: never tried.
const NOT_TRIED: Errno = Errno(95);
pub(super) const SIDES: [Side; 2] = [Side::First, Side::Second];

/// A transport, whatever it is.
pub(super) trait Carrier {
    fn splice_descriptor(&self) -> Option<RawFd>;
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    fn shutdown_write(&mut self);
    fn reset(&mut self);
}

impl<S: Transport> Carrier for S {
    fn splice_descriptor(&self) -> Option<RawFd> {
        Transport::splice_descriptor(self)
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        Transport::read_into(self, input, pool, limit)
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        Transport::write_from(self, output, pool, limit)
    }
    fn shutdown_write(&mut self) {
        Transport::shutdown_write(self);
    }
    fn reset(&mut self) {
        Transport::reset(self);
    }
}

pub(super) type Ended<D> = Box<dyn FnOnce(&mut Context<D>, Spliced)>;

/// Both events' object.
pub(super) struct Joined<D> {
    ids: Cell<[Option<EventId>; 2]>,
    inner: RefCell<Inner>,
    ended: Cell<Option<Ended<D>>>,
}

struct Inner {
    relay: Relay,
    /// `None` when it is over.
    ends: Option<[Box<dyn Carrier>; 2]>,
    /// What is on its way from the first, and from the second. The buffer goes before the pipe.
    lanes: [Lane; 2],
    progress: Option<Progress>,
}

#[derive(Default)]
pub(super) struct Lane {
    pub(super) buffer: Buffer,
    pipe: Option<Lent>,
}

pub(super) struct End<D> {
    pub(super) joined: Rc<Joined<D>>,
    pub(super) side: Side,
}

impl<D: 'static> Object<D> for End<D> {
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause) {
        let is_over = self.joined.inner.borrow_mut().turn(ctx, &self.joined.ids, self.side, cause.ready());
        if is_over {
            self.joined.end(ctx);
        }
    }

    fn partner(&self) -> Option<EventId> {
        self.joined.ids.get()[self.side.other() as usize]
    }
}

impl<D: 'static> Joined<D> {
    pub(super) fn new(
        ctx: &mut Context<D>,
        mut relay: Relay,
        ends: [Box<dyn Carrier>; 2],
        lanes: [Lane; 2],
        options: &SpliceOptions,
        ended: Ended<D>,
    ) -> Rc<Self> {
        options.apply(&mut relay);
        if options.copies || ends.iter().any(|end| end.splice_descriptor().is_none()) {
            SIDES.into_iter().for_each(|side| relay.handle_refused(side, NOT_TRIED));
        }
        ctx.pipes.reserve();
        let inner =
            RefCell::new(Inner { relay, ends: Some(ends), lanes, progress: options.progress.clone() });
        Rc::new(Joined { ids: Cell::default(), inner, ended: Cell::new(Some(ended)) })
    }

    /// Both events are there.
    pub(super) fn begin(&self, ctx: &mut Context<D>, ids: [EventId; 2], options: &SpliceOptions) {
        self.ids.set(ids.map(Some));
        if let Some(group) = &options.group {
            self.inner.borrow_mut().relay.set_member(Some(group.member(ids[0])));
        }
        ctx.activate(ids[0], Ready::USER); // what was there before goes out, and the timeouts count from now on
    }

    fn end(&self, ctx: &mut Context<D>) {
        for id in self.ids.get().into_iter().flatten() {
            ctx.remove(id);
        }
        let (ends, report) = {
            let mut inner = self.inner.borrow_mut();
            inner.relay.set_member(None);
            (inner.ends.take(), Spliced::of(&inner.relay))
        };
        drop(ends);
        if let Some(ended) = self.ended.take() {
            ended(ctx, report);
        }
    }
}

impl Inner {
    /// What can be done now. True when it is over.
    fn turn<D: 'static>(
        &mut self,
        ctx: &mut Context<D>,
        ids: &Cell<[Option<EventId>; 2]>,
        side: Side,
        ready: Ready,
    ) -> bool {
        let [Some(first), Some(second)] = ids.get() else { return false };
        let now = now_for(&self.relay, ctx);
        if ready.intersects(Ready::TIMEOUT) {
            self.relay.timer_gone();
            self.relay.handle_time(now);
        }
        self.relay.handle_ready(side, ready);
        self.relay.begin_turn(now);
        let blocks = Rc::clone(&ctx.blocks);
        let pool = &mut blocks.borrow_mut();
        loop {
            let now = now_for(&self.relay, ctx);
            let Some(ends) = &mut self.ends else { return false };
            match self.relay.next_step(now) {
                Step::Fill(from, limit, how) => {
                    let before = self.relay.taken(from);
                    self.fill(&mut ctx.pipes, pool, from, limit, how, now);
                    let bytes = self.relay.taken(from) - before;
                    // Before anybody can have them who might ask.
                    if let Some(progress) = self.progress.as_ref().filter(|_| bytes > 0) {
                        progress.tell(from, bytes);
                    }
                }
                Step::Drain(from) => self.drain(&mut ctx.pipes, pool, from, now),
                Step::ShutdownWrite(side) => ends[side as usize].shutdown_write(),
                Step::Reset(side) => ends[side as usize].reset(),
                Step::Discard(from, limit) => {
                    let mut unwanted = Buffer::new();
                    let moved = ends[from as usize].read_into(&mut unwanted, pool, limit);
                    let _ = unwanted.drain_into(usize::MAX, pool);
                    self.relay.handle_filled(from, Carriage::Copied, moved, now);
                }
                Step::Rest => break,
                Step::Close => return true,
            }
        }
        self.lanes.iter_mut().for_each(|lane| lane.buffer.give_back(pool));
        self.ask(ctx, [first, second])
    }

    fn fill(
        &mut self,
        pipes: &mut Pipes,
        pool: &mut Pool,
        from: Side,
        limit: usize,
        how: Carriage,
        now: Instant,
    ) {
        let Some(ends) = &mut self.ends else { return };
        let (end, lane) = (&mut ends[from as usize], &mut self.lanes[from as usize]);
        if how == Carriage::Spliced
            && let Some(descriptor) = end.splice_descriptor()
            // None to be had: through memory this time.
            && let Some(mut pipe) = pipes.lend()
        {
            let moved = pipe.fill(descriptor, limit);
            pipes.keep(&mut lane.pipe, pipe);
            return match cannot_be_spliced(moved) {
                Some(errno) => self.relay.handle_refused(from, errno),
                None => self.relay.handle_filled(from, how, moved, now),
            };
        }
        let moved = end.read_into(&mut lane.buffer, pool, limit.min(SPLICE_AT_ONCE));
        self.relay.handle_filled(from, Carriage::Copied, moved, now);
    }

    fn drain(&mut self, pipes: &mut Pipes, pool: &mut Pool, from: Side, now: Instant) {
        let Some(ends) = &mut self.ends else { return };
        let (end, lane) = (&mut ends[from.other() as usize], &mut self.lanes[from as usize]);
        let mut moved = Moved { bytes: 0, then: Then::Failed(Errno(EIO)) };
        if !lane.buffer.is_empty() {
            moved = end.write_from(&mut lane.buffer, pool, DRAIN_AT_ONCE);
        } else if let (Some(mut pipe), Some(descriptor)) = (lane.pipe.take(), end.splice_descriptor()) {
            moved = pipe.drain(descriptor);
            if let Some(errno) = cannot_be_spliced(moved) {
                self.relay.handle_refused(from, errno);
                moved = match pipe.empty_into(&mut lane.buffer, pool) {
                    Ok(()) => Moved { bytes: 0, then: Then::More },
                    Err(errno) => Moved { bytes: 0, then: Then::Failed(errno) },
                };
            }
            pipes.keep(&mut lane.pipe, pipe);
        }
        if matches!(moved.then, Then::Failed(_)) {
            lane.pipe = None; // (c)
            let _ = lane.buffer.drain_into(usize::MAX, pool);
        }
        self.relay.handle_drained(from, moved, now);
    }

    /// The kernel, the timer and the next pass are asked for what is waited for. True where that is impossible.
    fn ask<D: 'static>(&mut self, ctx: &mut Context<D>, ids: [EventId; 2]) -> bool {
        for side in SIDES {
            if let Some((before, wants)) = self.relay.next_interest(side)
                && let Err(error) = self.change(ctx, ids[side as usize], before, wants)
            {
                log::error!("a joined socket cannot be watched any more, and both are closed: {error}");
                self.relay.give_up(side, Errno(EIO));
                return true;
            }
        }
        if self.relay.goes_on() {
            ctx.activate(ids[0], Ready::USER);
        }
        if !self.relay.is_timed() {
            return false;
        }
        if let Some(deadline) = self.relay.next_timer() {
            let watched = SIDES.into_iter().find(|side| !self.relay.asked(*side).is_empty());
            let id = watched.map_or(ids[0], |side| ids[side as usize]);
            if watched.is_none() {
                // An event that is not pending has no timeout.
                ctx.after(deadline, move |ctx| {
                    ctx.activate(id, Ready::TIMEOUT);
                });
            } else if let Err(error) = ctx.add(id, Timeout::At(deadline)) {
                log::error!("the timeout of a pair of joined sockets cannot be set: {error}");
            }
        }
        if let Some(member) = self.relay.member() {
            group::arm(ctx, member.group());
        }
        false
    }

    fn change<D: 'static>(
        &mut self,
        ctx: &mut Context<D>,
        id: EventId,
        before: Interest,
        wants: Interest,
    ) -> Result<(), Error> {
        if wants.is_empty() {
            ctx.engine.del(id);
            self.relay.timer_gone();
            return Ok(());
        }
        ctx.set_interest(id, wants)?;
        if before.is_empty() { ctx.add(id, Timeout::Keep) } else { Ok(()) }
    }
}

const EIO: i32 = 5;
/// So much of what was in a stream's buffers is given at once.
const DRAIN_AT_ONCE: usize = 256 * 1024;

/// The time, where it matters.
fn now_for<D: 'static>(relay: &Relay, ctx: &mut Context<D>) -> Instant {
    if relay.is_timed() { ctx.now() } else { Instant::ZERO }
}
