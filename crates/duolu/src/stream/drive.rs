//! From a ready descriptor to the handler and back to the kernel.
//!
//! Traps:
//! (a) The handler may remove its stream, and another may take its slot and its descriptor's number at once. So after
//!     each call it is looked whether the id still names something, before anything else is touched; the socket itself
//!     stays open until the loop has the object back.
//! (b) A handler that writes on `Written` would go on for ever where the peer is fast: after [`ROUNDS`] the rest is
//!     told in the next pass, so that others get their turn.
//! (c) A stream that asks nothing of the kernel is not pending, and an event that is not pending has no timeout. Its
//!     time comes by a timer of its own.
//! (d) Nothing may unwind between taking an object out of its slot and putting it back without deregistering it, or its
//!     number would be watched after its descriptor is closed: [`Lent`].

use super::relay::Carrier;
use super::transport::NOT_YET;
use super::{BLOCK_BYTES, Stream, StreamHandler, StreamOptions, Transport, carry, group, race};
use crate::context::Context;
use crate::error::Error;
use crate::object::{Cause, Lent, Object};
use crate::options::Next;
use duolu_core::buffer::Pool;
use duolu_core::stream::{self, Action, Moved, Then};
use duolu_core::{EventId, EventSpec, Instant, Interest, Ready, Timeout, Trigger};
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

/// How often the handler is asked again within one call because of what it wrote itself.
const ROUNDS: usize = 4;
/// How many writes one flush makes: a header, a file, and what is behind it, with room to spare.
const WRITES: usize = 8;

/// The object in the loop's slot. The handler is declared first, so that its state is dropped before the socket closes.
struct StreamObject<S, H> {
    handler: H,
    core: stream::Stream,
    socket: S,
}

/// A stream taken apart.
pub(crate) struct Parts {
    pub(super) socket: Box<dyn Carrier>,
    pub(super) core: stream::Stream,
    /// The handler, to be dropped.
    pub(super) rest: Box<dyn Any>,
}

/// A stream behind its slot, whatever it is made of.
pub(crate) trait Driven<D> {
    fn view<'a>(&'a mut self, pool: &'a RefCell<Pool>, id: EventId) -> Stream<'a>;
    /// What was written goes out, and the kernel and the timer are asked for what is waited for. True where the stream
    /// is over.
    fn settle(&mut self, ctx: &mut Context<D>, id: EventId, pool: &RefCell<Pool>) -> bool;
    /// Why it cannot be joined to another one.
    fn obstacle(&mut self) -> Option<&'static str>;
}

impl<D: 'static, S: Transport, H: StreamHandler<D>> Object<D> for StreamObject<S, H> {
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause) {
        let Some(id) = ctx.current() else { return };
        let pool = Rc::clone(&ctx.blocks);
        let now = now_for(&self.core, ctx);
        self.receive(ctx, id, cause.ready(), now, &pool);
        for _ in 0..ROUNDS {
            while let Some(event) = self.core.next_event() {
                let mut view = Stream { core: &mut self.core, layers: &mut self.socket, pool: &pool, id };
                self.handler.event(ctx, &mut view, event);
                if !ctx.exists(id) {
                    return; // (a)
                }
            }
            // Other transports than plain sockets may have something to do of which the judgement does not know.
            if self.core.is_at_rest() && self.socket.is_plain_socket() && self.socket.descriptor().is_some() {
                return;
            }
            self.send(ctx, &pool);
            if !self.core.has_events() {
                break;
            }
        }
        if self.rest(ctx, id, &pool) {
            ctx.ask(Next::Remove);
        }
    }

    fn into_parts(self: Box<Self>) -> Option<Parts> {
        let StreamObject { handler, core, socket } = *self;
        Some(Parts { socket: Box::new(socket), core, rest: Box::new(handler) })
    }

    fn stream(&mut self) -> Option<&mut dyn Driven<D>> {
        Some(self)
    }
}

impl<S: Transport, H> StreamObject<S, H> {
    /// What the kernel and the clock have said.
    #[inline]
    fn receive<D: 'static>(
        &mut self,
        ctx: &mut Context<D>,
        id: EventId,
        ready: Ready,
        now: Instant,
        pool: &RefCell<Pool>,
    ) {
        let core = &mut self.core;
        core.handle_ready(ready);
        if ready.intersects(Ready::TIMEOUT) {
            core.timer_gone();
            core.handle_time(now);
        }
        if ready.intersects(Ready::WRITE) {
            core.handle_writable();
            if core.is_connecting() {
                let outcome = self.socket.take_error();
                if outcome != Err(NOT_YET) {
                    core.handle_connected(outcome);
                }
                if ctx.carries && !core.is_connecting() {
                    carry::begin(ctx, &self.socket, core, id);
                }
            }
        }
        if S::LAYERED {
            self.read_layers(ready.intersects(Ready::READ), now, pool);
        } else if ready.intersects(Ready::READ) {
            self.read(ctx, now, pool);
        }
    }

    /// False where nothing may be read.
    #[inline]
    fn read<D: 'static>(&mut self, ctx: &mut Context<D>, now: Instant, pool: &RefCell<Pool>) -> bool {
        let core = &mut self.core;
        let budget = core.read_budget(now);
        if budget > 0 {
            let moved = carry::read_into(ctx, &mut self.socket, core, pool, budget);
            core.handle_read(moved, now);
        }
        budget > 0
    }

    #[inline]
    fn flush<D: 'static>(&mut self, ctx: &mut Context<D>, now: Instant, pool: &RefCell<Pool>) {
        if S::LAYERED {
            return self.flush_layers(ctx, now, pool);
        }
        let core = &mut self.core;
        for _ in 0..WRITES {
            let budget = core.write_budget(now);
            if budget == 0 {
                break;
            }
            let moved = carry::write_from(ctx, &mut self.socket, core, pool, budget);
            core.handle_write(moved, now);
        }
        if core.must_read() {
            self.read_the_last(ctx, now, pool);
        }
    }

    /// The same through layers; `wire`: something may have come. False where nothing can.
    fn read_layers(&mut self, wire: bool, now: Instant, pool: &RefCell<Pool>) -> bool {
        let core = &mut self.core;
        let Some(limits) = core.layered_read_limits(wire, now) else { return false };
        if limits.wire == 0 && !self.socket.layers().holds {
            return false;
        }
        let mut left = limits.wire;
        let moved =
            self.socket.read_through(core.input_mut(), &mut pool.borrow_mut(), limits.plain, &mut left);
        core.handle_layers(self.socket.layers());
        core.handle_layered_read(moved, limits.wire - left, now);
        true
    }

    fn flush_layers<D: 'static>(&mut self, ctx: &mut Context<D>, now: Instant, pool: &RefCell<Pool>) {
        let core = &mut self.core;
        core.begin_layered_write(self.socket.layers());
        for _ in 0..WRITES {
            let Some(limits) = core.layered_write_limits(now) else { break };
            let mut left = limits.wire;
            let (output, pool) = (core.output_mut(), &mut pool.borrow_mut());
            let moved = self.socket.write_through(output, pool, limits.plain, &mut left, limits.finish);
            core.handle_layered_write(moved, limits.wire - left, self.socket.layers(), now);
        }
        if core.must_read() {
            self.read_the_last(ctx, now, pool);
        }
    }

    /// A write has failed: what can still be read comes first.
    #[cold]
    fn read_the_last<D: 'static>(&mut self, ctx: &mut Context<D>, now: Instant, pool: &RefCell<Pool>) {
        while self.core.must_read() {
            let reads =
                if S::LAYERED { self.read_layers(true, now, pool) } else { self.read(ctx, now, pool) };
            if !reads {
                self.core.handle_read(Moved { bytes: 0, then: Then::Blocked }, now);
            }
            self.core.settle(now);
        }
    }
}

impl<S: Transport, H> StreamObject<S, H> {
    /// The kernel, the timer and the next pass are asked for what the stream waits for.
    #[inline]
    fn ask<D: 'static>(&mut self, ctx: &mut Context<D>, id: EventId) {
        let (core, in_memory) = (&mut self.core, self.socket.descriptor().is_none());
        if let Some(fd) = self.socket.take_descriptor() {
            race::adopt(core, ctx, id, fd);
        }
        if let Some((before, wants)) = core.next_interest()
            && !in_memory
        {
            change(core, ctx, id, before, wants);
        }
        let now = now_for(core, ctx);
        // What is due, or could be gone on with, though nobody will say so: (b).
        let goes_on = if S::LAYERED { core.layers_go_on(now) } else { core.write_budget(now) > 0 };
        if core.has_events() || goes_on {
            ctx.activate(id, Ready::USER);
        }
        if core.reads_on() {
            ctx.activate(id, Ready::READ);
        }
        if core.is_timed() {
            ask_timers(core, ctx, id, in_memory);
        }
        if in_memory {
            self.socket.installed(id);
            let ready = self.socket.ready() & core.asked().as_ready();
            if !ready.is_empty() {
                ctx.activate(id, ready);
            }
        }
        while let Some((other, ready)) = self.socket.take_woken() {
            ctx.activate(other, ready); // not there any more: it has its end already
        }
    }
}

impl<D: 'static, S: Transport, H: StreamHandler<D>> Driven<D> for StreamObject<S, H> {
    fn view<'a>(&'a mut self, pool: &'a RefCell<Pool>, id: EventId) -> Stream<'a> {
        Stream { core: &mut self.core, layers: &mut self.socket, pool, id }
    }

    fn obstacle(&mut self) -> Option<&'static str> {
        if S::LAYERED || self.socket.descriptor().is_none() {
            return Some("a stream has a layer, or no descriptor: only sockets as they are can be joined");
        }
        if self.core.is_carried() {
            return Some(
                "a stream's bytes are moved by io_uring itself: without Config::stream_completions it can be joined",
            );
        }
        self.core.obstacle_to_joining()
    }

    fn settle(&mut self, ctx: &mut Context<D>, id: EventId, pool: &RefCell<Pool>) -> bool {
        self.send(ctx, pool);
        self.rest(ctx, id, pool)
    }
}

impl<S: Transport, H> StreamObject<S, H> {
    /// What was written goes out.
    #[inline]
    fn send<D: 'static>(&mut self, ctx: &mut Context<D>, pool: &RefCell<Pool>) {
        let now = now_for(&self.core, ctx);
        self.core.settle(now);
        self.flush(ctx, now, pool);
    }

    /// Until it is called again: see [`Driven::settle`].
    #[inline]
    fn rest<D: 'static>(&mut self, ctx: &mut Context<D>, id: EventId, pool: &RefCell<Pool>) -> bool {
        while let Some(action) = self.core.next_action() {
            match action {
                Action::ShutdownWrite => self.socket.shutdown_write(),
                Action::Reset => {
                    self.socket.reset();
                    return true;
                }
                Action::Close => return true,
            }
        }
        let now = now_for(&self.core, ctx);
        self.core.settle(now);
        self.core.tidy(&mut pool.borrow_mut());
        self.ask(ctx, id);
        false
    }
}

/// The time, where it matters.
#[inline]
fn now_for<D: 'static>(core: &stream::Stream, ctx: &mut Context<D>) -> Instant {
    if core.is_timed() { ctx.now() } else { Instant::ZERO }
}

/// Its own, and its group's.
#[inline(never)]
fn ask_timers<D: 'static>(core: &mut stream::Stream, ctx: &mut Context<D>, id: EventId, in_memory: bool) {
    if let Some(deadline) = core.next_timer() {
        arm(core, ctx, id, deadline, in_memory);
    }
    if let Some(member) = core.member() {
        group::arm(ctx, member.group());
    }
}

#[inline(never)]
fn change<D: 'static>(
    core: &mut stream::Stream,
    ctx: &mut Context<D>,
    id: EventId,
    before: Interest,
    wants: Interest,
) {
    let outcome = if wants.is_empty() {
        ctx.engine.del(id);
        core.timer_gone(); // (c)
        Ok(())
    } else {
        let changed = ctx.set_interest(id, wants);
        if before.is_empty() { changed.and_then(|()| ctx.add(id, Timeout::Keep)) } else { changed }
    };
    if let Err(error) = outcome {
        log::error!("a stream cannot be watched any more and is closed: {error}");
        core.close(0);
        ctx.activate(id, Ready::TIMEOUT);
    }
}

#[inline(never)]
fn arm<D: 'static>(
    core: &stream::Stream,
    ctx: &mut Context<D>,
    id: EventId,
    deadline: Instant,
    in_memory: bool,
) {
    if core.asked().is_empty() && !in_memory {
        // (c). A stale id only means that the stream is gone.
        ctx.after(deadline, move |ctx| {
            ctx.activate(id, Ready::TIMEOUT);
        });
    } else if let Err(error) = ctx.add(id, Timeout::At(deadline)) {
        log::error!("a stream's timeout cannot be set: {error}");
    }
}

/// The event of a stream that has no descriptor: activated by hand, and by time.
const IN_MEMORY: EventSpec = EventSpec { persist: true, ..EventSpec::new() };

impl<D: 'static> Context<D> {
    pub(super) fn install_stream<S: Transport, H: StreamHandler<D>>(
        &mut self,
        socket: S,
        connecting: bool,
        options: StreamOptions,
        handler: H,
    ) -> Result<EventId, Error> {
        if let Some(group) = &options.group {
            group.must_be_of(&self.blocks)?;
        }
        let mut socket = socket;
        socket.prepare()?;
        let mut core = if connecting { stream::Stream::connecting() } else { stream::Stream::new() };
        options.apply(&mut core);
        if S::LAYERED {
            core.handle_layers(socket.layers());
        }
        let carried = self.carries && !connecting && carry::begins(&socket, &mut core);
        let by_edges = !S::LAYERED
            && !carried
            && socket.descriptor().is_some()
            && socket.short_read_empties()
            && self.engine.has_exact_edges();
        if by_edges {
            core.set_edges();
        }
        let asked = core.next_interest().map_or(Interest::NONE, |(_, wants)| wants);
        let spec = EventSpec {
            owned: true,
            trigger: if by_edges { Trigger::Edge } else { Trigger::Level },
            priority: options.priority.unwrap_or(self.default_priority),
            ..socket.descriptor().map_or(IN_MEMORY, |fd| EventSpec::fd(fd, asked))
        };
        let in_memory = socket.descriptor().is_none();
        let at_once = core.is_timed() || options.group.is_some() || S::LAYERED || in_memory;
        let bounded = core.is_read_bounded() || options.group.is_some();
        let id = self.install(spec, Timeout::Keep, Box::new(StreamObject { handler, core, socket }))?;
        if carried {
            self.carry(id, bounded);
        }
        if at_once {
            // Timeouts count from now on, layers may have something to send, and memory something to give.
            self.with_stream(id, |_, stream| options.group.map(|group| stream.join(&group)));
        }
        Ok(id)
    }
}

pub(super) fn lend<D: 'static, R>(
    ctx: &mut Context<D>,
    id: EventId,
    work: impl FnOnce(&mut Context<D>, &mut Stream<'_>) -> R,
) -> Option<R> {
    if !ctx.exists(id) {
        return None;
    }
    let slot = ctx.objects.get_mut(id.index())?;
    slot.as_mut()?.stream()?;
    let object = slot.take();
    let pool = Rc::clone(&ctx.blocks);
    let mut lent = Lent { ctx, id, object };
    let stream = lent.object.as_mut()?.stream()?;
    let result = work(lent.ctx, &mut stream.view(&pool, id));
    let over = lent.ctx.exists(id) && stream.settle(lent.ctx, id, &pool);
    if !over && lent.ctx.exists(id) {
        let object = lent.object.take();
        lent.ctx.objects[id.index()] = object;
    }
    Some(result) // else the guard removes it
}

/// The pool of a loop.
pub(crate) fn pool() -> Rc<RefCell<Pool>> {
    Rc::new(RefCell::new(Pool::new(BLOCK_BYTES, super::MOST_BLOCKS)))
}
