//! From a ready descriptor to the handler and back to the kernel.
//!
//! Traps:
//! (a) As with streams, the handler may remove its socket, and another may take its slot at once: after each call it is
//!     looked whether the id still names something.
//! (b) A socket under a flood is always readable: after [`DatagramOptions::batches_a_turn`] the rest waits for the next turn,
//!     and so does what is left to send after [`SENDS`] calls. The watch is level-triggered, so nothing is missed.
//! (c) An error that waits has the socket tell "readable" for ever where nobody takes it. It is taken before anything is
//!     received, or, on select, which does not tell errors apart, when receiving or sending meets it.
//! (d) The inbox is the loop's, and the batch lies in it: nothing else is received before the handler has returned. Handlers
//!     never run inside of each other.

use super::{
    Address, DatagramHandler, DatagramOptions, DatagramStats, DatagramTransport, Datagrams, Local,
    SendRefused,
};
use crate::context::Context;
use crate::error::Error;
use crate::object::{Cause, Lent, Object};
use crate::options::Next;
use duolu_core::datagram::Sender;
use duolu_core::{Errno, EventId, EventSpec, Interest, Ready, Timeout};
use duolu_sys::datagram::{Inbox, Outbox};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// How often the handler is asked again within one call because of what it sent itself.
const ROUNDS: usize = 4;
/// Calls of sendmmsg that one flush makes at most: 1,024 messages.
const SENDS: usize = 16;
/// Errors of earlier datagrams that are taken at once.
const ERRORS: usize = 64;
const EAGAIN: Errno = Errno(11);

/// What sockets of a loop receive into and send through, by turns.
#[derive(Clone)]
pub(crate) struct Rooms {
    inbox: Rc<RefCell<Inbox>>,
    outbox: Rc<RefCell<Outbox>>,
}

/// Everything of a socket but itself and its handler.
pub(crate) struct State {
    pub(super) sender: Sender,
    pub(super) paused: bool,
    pub(super) closing: bool,
    rooms: Rooms,
    batches: u32,
    received: u64,
    truncated: u64,
    overflowed: u64,
    /// What the kernel has counted so far: it wraps.
    overflow_seen: u32,
    /// Errors tell of whom they are: see [`State::send_once`].
    named_errors: bool,
    /// A timer will end the rest.
    armed: bool,
    /// What the kernel was last asked for.
    asked: Interest,
}

/// The object in the loop's slot. The handler is declared first, so that its state is dropped before the socket closes.
struct DatagramObject<S, H> {
    handler: H,
    state: State,
    socket: S,
}

/// A datagram socket behind its slot, whatever it is.
pub(crate) trait Driven<D> {
    fn parts(&mut self) -> (&mut State, &dyn DatagramTransport);
    /// What was pushed goes out, and the kernel and the timer are asked for what is waited for. True where it is over.
    fn settle(&mut self, ctx: &mut Context<D>, id: EventId) -> bool;
}

impl State {
    pub(super) fn push(
        &mut self,
        socket: &dyn DatagramTransport,
        outbox: &RefCell<Outbox>,
        to: Address,
        from: Option<Local>,
        bytes: &[u8],
        segment: usize,
    ) -> Result<(), SendRefused> {
        if self.closing {
            return Err(SendRefused::Closed);
        }
        let mut outcome = self.sender.push(to, from, bytes, segment);
        if outcome == Err(SendRefused::Full) && self.sender.may_send() {
            self.flush(socket, outbox);
            outcome = self.sender.push(to, from, bytes, segment);
        }
        if outcome == Err(SendRefused::Full) {
            self.sender.refuse();
        }
        outcome
    }

    fn flush(&mut self, socket: &dyn DatagramTransport, outbox: &RefCell<Outbox>) {
        for _ in 0..SENDS {
            if !self.sender.may_send() {
                return;
            }
            self.send_once(socket, outbox);
        }
    }

    fn send_once(&mut self, socket: &dyn DatagramTransport, outbox: &RefCell<Outbox>) {
        let outcome = socket.send(&mut outbox.borrow_mut(), &self.sender);
        // An error of an earlier datagram whose address is known is not this message's, and is told here. (What is not
        // known the sender finds out.)
        if self.named_errors && outcome.is_err_and(|errno| errno != EAGAIN) && self.take_errors(socket) {
            return;
        }
        self.sender.handle_sent(outcome);
    }

    /// Trap (c). False where there was none.
    #[cold]
    fn take_errors(&mut self, socket: &dyn DatagramTransport) -> bool {
        let mut any = false;
        for (errno, to) in std::iter::from_fn(|| socket.take_error()).take(ERRORS) {
            self.sender.handle_error(errno, to);
            any = true;
        }
        any
    }

    fn note_received(&mut self, inbox: &Inbox) {
        self.received += inbox.batch().len() as u64;
        self.truncated += inbox.batch().filter(|message| message.is_truncated()).count() as u64;
        if let Some(overflowed) = inbox.overflowed() {
            self.overflowed += u64::from(overflowed.wrapping_sub(self.overflow_seen));
            self.overflow_seen = overflowed;
        }
    }

    pub(super) fn stats(&self) -> DatagramStats {
        let sent = self.sender.stats();
        DatagramStats {
            received: self.received,
            truncated: self.truncated,
            overflowed: self.overflowed,
            sent: sent.sent,
            refused: sent.refused,
            unsent: sent.failed,
        }
    }
}

impl<S: DatagramTransport, H> DatagramObject<S, H> {
    /// A batch after the other, as many as a turn may have. False where the handler has removed the socket.
    fn receive<D: 'static>(&mut self, ctx: &mut Context<D>, id: EventId, rooms: &Rooms) -> bool
    where
        H: DatagramHandler<D>,
    {
        for _ in 0..self.state.batches {
            if self.state.paused || self.state.closing {
                break;
            }
            let mut inbox = rooms.inbox.borrow_mut();
            let full = match self.socket.receive(&mut inbox) {
                Ok(received) => received == inbox.places(),
                Err(EAGAIN) => break,
                Err(errno) => {
                    if !self.state.take_errors(&self.socket) {
                        self.state.sender.handle_error(errno, Address::Unnamed);
                    }
                    continue;
                }
            };
            self.state.note_received(&inbox);
            let mut view =
                Datagrams { state: &mut self.state, socket: &self.socket, outbox: &rooms.outbox, id };
            self.handler.event(ctx, &mut view, super::DatagramEvent::Received(inbox.batch()));
            if !ctx.exists(id) {
                return false; // (a)
            }
            self.state.flush(&self.socket, &rooms.outbox);
            if !full {
                break; // it has given what it had
            }
        }
        true
    }
}

impl<D: 'static, S: DatagramTransport, H: DatagramHandler<D>> Object<D> for DatagramObject<S, H> {
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause) {
        let Some(id) = ctx.current() else { return };
        let (ready, rooms) = (cause.ready(), self.state.rooms.clone());
        if ready.intersects(Ready::TIMEOUT) {
            self.state.armed = false;
            self.state.sender.handle_rested();
        }
        if ready.intersects(Ready::WRITE) {
            self.state.sender.handle_writable();
        }
        if ready.intersects(Ready::ERROR) {
            self.state.take_errors(&self.socket);
        }
        if ready.intersects(Ready::READ) && !self.receive(ctx, id, &rooms) {
            return;
        }
        for _ in 0..ROUNDS {
            self.state.flush(&self.socket, &rooms.outbox);
            if !self.state.sender.has_reports() {
                break;
            }
            while !self.state.closing
                && let Some(report) = self.state.sender.next_report()
            {
                let mut view =
                    Datagrams { state: &mut self.state, socket: &self.socket, outbox: &rooms.outbox, id };
                self.handler.event(ctx, &mut view, report.into());
                if !ctx.exists(id) {
                    return; // (a)
                }
            }
        }
        if self.settle(ctx, id) {
            ctx.ask(Next::Remove);
        }
    }

    fn datagrams(&mut self) -> Option<&mut dyn Driven<D>> {
        Some(self)
    }
}

impl<D: 'static, S: DatagramTransport, H: DatagramHandler<D>> Driven<D> for DatagramObject<S, H> {
    fn parts(&mut self) -> (&mut State, &dyn DatagramTransport) {
        (&mut self.state, &self.socket)
    }

    fn settle(&mut self, ctx: &mut Context<D>, id: EventId) -> bool {
        let state = &mut self.state;
        let outbox = Rc::clone(&state.rooms.outbox);
        state.flush(&self.socket, &outbox);
        if state.closing && state.sender.queue().is_empty() {
            return true;
        }
        let read = if state.paused || state.closing { Interest::NONE } else { Interest::READ };
        let write = if state.sender.wants_writable() { Interest::WRITE } else { Interest::NONE };
        if state.asked != read | write && !ask(ctx, id, &mut state.asked, read | write) {
            return true;
        }
        if let Some(rest_ns) = state.sender.rest_ns()
            && !std::mem::replace(&mut state.armed, true)
        {
            // A stale id only means that the socket is gone.
            ctx.after(Duration::from_nanos(rest_ns), move |ctx| {
                ctx.activate(id, Ready::TIMEOUT);
            });
        }
        if state.sender.may_send() || state.sender.has_reports() && !state.closing {
            ctx.activate(id, Ready::USER); // (b)
        }
        false
    }
}

/// The kernel is asked for something else. False where it refuses.
#[inline(never)]
fn ask<D: 'static>(ctx: &mut Context<D>, id: EventId, asked: &mut Interest, wants: Interest) -> bool {
    let before = std::mem::replace(asked, wants);
    let outcome = if wants.is_empty() {
        ctx.engine.del(id);
        Ok(())
    } else {
        let changed = ctx.set_interest(id, wants);
        if before.is_empty() { changed.and_then(|()| ctx.add(id, Timeout::Keep)) } else { changed }
    };
    if let Err(error) = &outcome {
        log::error!("a datagram socket cannot be watched any more and is closed: {error}");
    }
    outcome.is_ok()
}

impl<D: 'static> Context<D> {
    pub(super) fn install_datagrams<S: DatagramTransport, H: DatagramHandler<D>>(
        &mut self,
        socket: S,
        options: DatagramOptions,
        handler: H,
    ) -> Result<EventId, Error> {
        let abilities = socket.prepare(&options.socket)?;
        let (most_messages, most_bytes) = options.send_limit;
        let state = State {
            sender: Sender::new(most_messages, most_bytes, abilities.segments, abilities.late_errors),
            paused: false,
            closing: false,
            rooms: self.rooms_for(options.batch),
            batches: options.batches,
            received: 0,
            truncated: 0,
            overflowed: 0,
            overflow_seen: 0,
            named_errors: options.socket.icmp_errors,
            armed: false,
            asked: Interest::READ,
        };
        let spec = EventSpec {
            owned: true,
            priority: options.priority.unwrap_or(self.default_priority),
            ..EventSpec::fd(socket.descriptor(), Interest::READ)
        };
        self.install(spec, Timeout::Keep, Box::new(DatagramObject { handler, state, socket }))
    }

    fn rooms_for(&mut self, batch: (usize, usize)) -> Rooms {
        let default = DatagramOptions::default().batch;
        let shared = self.datagrams.get_or_insert_with(|| Rooms {
            inbox: Rc::new(RefCell::new(Inbox::new(default.0, default.1))),
            outbox: Rc::default(),
        });
        let mut rooms = shared.clone();
        if batch != default {
            rooms.inbox = Rc::new(RefCell::new(Inbox::new(batch.0, batch.1)));
        }
        rooms
    }
}

pub(super) fn lend<D: 'static, R>(
    ctx: &mut Context<D>,
    id: EventId,
    work: impl FnOnce(&mut Context<D>, &mut Datagrams<'_>) -> R,
) -> Option<R> {
    if !ctx.exists(id) {
        return None;
    }
    let slot = ctx.objects.get_mut(id.index())?;
    slot.as_mut()?.datagrams()?;
    let object = slot.take();
    let mut lent = Lent { ctx, id, object };
    let driven = lent.object.as_mut()?.datagrams()?;
    let (state, socket) = driven.parts();
    let outbox = Rc::clone(&state.rooms.outbox);
    let result = work(lent.ctx, &mut Datagrams { state, socket, outbox: &outbox, id });
    let over = lent.ctx.exists(id) && driven.settle(lent.ctx, id);
    if !over && lent.ctx.exists(id) {
        let object = lent.object.take();
        lent.ctx.objects[id.index()] = object;
    }
    Some(result) // else the guard removes it
}
