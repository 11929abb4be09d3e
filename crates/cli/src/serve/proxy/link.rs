//! One connection: two streams, and what is read from one is written to the other; where nothing looks at the bytes they
//! are joined instead ([`join`]).
//!
//! ```text
//! client  --Read-->  upstream's output   more than --buffer waits there: the client is not read
//!         <-Written-                     half of that is left: it is read again
//!         --Eof-->   finish              after the last byte; the other way stays open
//!         --Error->  reset               after the last byte that came, so that a part is not taken for the whole
//! ```
//! Both ways are alike. A stream is over when both of its ways have ended, the link when both streams are gone.

use super::Hall;
use super::join;
use super::opening;
use super::upstreams::Tried;
use crate::serve::board::{Count, Tally};
use duolu::proxy_protocol::Header;
use duolu::{Context, Direction, EventId, Instant, Stream, StreamEvent, StreamHandler};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The two sides of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Upstream,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Client => Side::Upstream,
            Side::Upstream => Side::Client,
        }
    }
}

/// How far a link has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The client's PROXY header is to come.
    Heading,
    /// The client's TLS handshake goes on, a PROXY header ahead of it included.
    Securing,
    /// An upstream is to be found. The client is not read.
    Connecting,
    /// The upstream stands, and both streams are about to be joined. Neither is read.
    Joining,
    /// Bytes are passed on.
    Open,
    /// One side broke. The other one gets what came before that, and is reset.
    Broken,
}

/// What the two handlers share.
pub struct Link {
    pub peer: SocketAddr,
    pub phase: Cell<Phase>,
    /// What is said to the upstream before anything of the client.
    pub greeting: RefCell<Option<Header>>,
    /// The application protocol that was agreed upon with the client in TLS.
    pub agreed: RefCell<Option<Vec<u8>>>,
    pub tried: Cell<Tried>,
    /// The upstream it is connected to, or is about to be.
    pub upstream: Cell<usize>,
    /// When a byte has moved last; at first, when the client came.
    pub moved_at: Cell<Instant>,
    /// Client, upstream.
    ids: [Cell<Option<EventId>>; 2],
    /// That side is not read because too much waits to be sent to the other.
    held: [Cell<bool>; 2],
    /// That side has ended its sending, in good order.
    ended: [Cell<bool>; 2],
    tally: Tally,
}

impl Link {
    pub fn new(peer: SocketAddr, now: Instant, phase: Phase, tally: Tally) -> Rc<Self> {
        Rc::new(Link {
            peer,
            phase: Cell::new(phase),
            greeting: RefCell::default(),
            agreed: RefCell::default(),
            tried: Cell::default(),
            upstream: Cell::new(0),
            moved_at: Cell::new(now),
            ids: Default::default(),
            held: Default::default(),
            ended: Default::default(),
            tally,
        })
    }

    pub fn set_stream(&self, side: Side, id: EventId) {
        self.ids[side as usize].set(Some(id));
    }

    /// The stream of a side, if it was ever made.
    pub fn stream(&self, side: Side) -> Option<EventId> {
        self.ids[side as usize].get()
    }

    /// That side sends no more.
    pub fn has_ended(&self, side: Side) {
        self.ended[side as usize].set(true);
    }

    /// Works on the stream of a side; not from within its own callback.
    pub fn with<R>(
        &self,
        ctx: &mut Context<Hall>,
        side: Side,
        work: impl FnOnce(&mut Stream<'_>) -> R,
    ) -> Option<R> {
        ctx.with_stream(self.stream(side)?, |_, stream| work(stream))
    }

    /// The upstream stands: what was kept back for it goes out, and the client is read.
    pub fn open(self: &Rc<Self>, ctx: &mut Context<Hall>, upstream: &mut Stream<'_>) {
        self.moved_at.set(ctx.now());
        let plan = Rc::clone(&ctx.data().plan);
        upstream.set_timeout(Direction::Write, Some(plan.idle));
        if !plan.tls.with_upstreams() {
            let _ = std::io::Write::write_all(upstream, &self.greeting()); // it stands, so it takes it
        }
        if plan.looks_away() { join::begin(self, ctx, upstream) } else { self.pass_on(ctx, upstream) }
    }

    /// Each side gets what the other has sent so far, and is read from now on.
    pub fn pass_on(&self, ctx: &mut Context<Hall>, upstream: &mut Stream<'_>) {
        self.phase.set(Phase::Open);
        let high = ctx.data().plan.buffer;
        let is_there = self.with(ctx, Side::Client, |client| {
            self.hand_over(Side::Client, client, upstream, high);
            self.hand_over(Side::Upstream, upstream, client, high);
        });
        if is_there.is_none() {
            upstream.reset(); // it went meanwhile
        }
    }

    fn hand_over(&self, side: Side, from: &mut Stream<'_>, to: &mut Stream<'_>, high: usize) {
        self.count(side, from.input().len() as u64);
        to.send_buffer(from.input_mut());
        if to.unsent() > high {
            self.held[side as usize].set(true);
        } else {
            from.unsuspend(Direction::Read);
        }
        if self.ended[side as usize].get() {
            to.finish();
        }
    }

    /// What is said to the upstream first.
    pub fn greeting(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(header) = &*self.greeting.borrow() {
            let _ = header.encode(&mut bytes); // that its TLVs fit was seen when they were put in
        }
        bytes
    }

    /// So many bytes have come from that side.
    pub fn count(&self, from: Side, bytes: u64) {
        let count = if from == Side::Client { Count::BytesIn } else { Count::BytesOut };
        self.tally.add(count, bytes);
    }

    /// It is closed because nothing moved.
    pub fn count_idle(&self) {
        self.tally.add(Count::Idle, 1);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tally.add(Count::Closed, 1);
    }
}

/// The handler of one of the two streams.
pub struct End {
    pub link: Rc<Link>,
    pub side: Side,
}

impl StreamHandler<Hall> for End {
    fn event(&mut self, ctx: &mut Context<Hall>, stream: &mut Stream<'_>, event: StreamEvent) {
        match self.link.phase.get() {
            Phase::Heading | Phase::Securing | Phase::Connecting => {
                opening::event(&self.link, self.side, ctx, stream, event)
            }
            Phase::Joining => self.wait(ctx, event),
            Phase::Open => self.pass(ctx, stream, event),
            Phase::Broken => self.end_broken(stream, event),
        }
    }
}

impl End {
    /// In the same pass as the join was asked for: what has come stays where it is.
    fn wait(&self, ctx: &mut Context<Hall>, event: StreamEvent) {
        match event {
            StreamEvent::Eof => self.link.has_ended(self.side),
            StreamEvent::Error(..) => self.broken(ctx),
            _ => {}
        }
    }

    fn pass(&self, ctx: &mut Context<Hall>, stream: &mut Stream<'_>, event: StreamEvent) {
        let (link, own, other) = (&self.link, self.side, self.side.other());
        match event {
            StreamEvent::Read => {
                link.moved_at.set(ctx.now());
                link.count(own, stream.input().len() as u64);
                let high = ctx.data().plan.buffer;
                let is_full = link.with(ctx, other, |to| {
                    to.send_buffer(stream.input_mut());
                    to.unsent() > high
                });
                // What the other side takes no more is of no use; that it broke is told to it.
                stream.consume(usize::MAX);
                if is_full == Some(true) {
                    link.held[own as usize].set(true);
                    stream.suspend(Direction::Read);
                }
            }
            StreamEvent::Written => {
                link.moved_at.set(ctx.now());
                if link.held[other as usize].replace(false) {
                    link.with(ctx, other, |from| from.unsuspend(Direction::Read));
                }
            }
            StreamEvent::Eof => {
                link.has_ended(own);
                link.with(ctx, other, |to| to.finish());
            }
            StreamEvent::Error(..) => self.broken(ctx),
            StreamEvent::Timeout(direction) => self.timeout(ctx, stream, direction),
            StreamEvent::Connected => {}
        }
    }

    /// This side broke.
    fn broken(&self, ctx: &mut Context<Hall>) {
        let link = &self.link;
        link.phase.set(Phase::Broken);
        // An upstream that had said all it has to say, and only takes no more: the client gets all of it.
        let said_all = self.side == Side::Upstream && link.ended[Side::Upstream as usize].get();
        link.with(ctx, self.side.other(), |stream| match stream.unsent() {
            _ if said_all => stream.close(),
            0 => stream.reset(),
            _ => stream.suspend(Direction::Read),
        });
    }

    /// The other side broke.
    fn end_broken(&self, stream: &mut Stream<'_>, event: StreamEvent) {
        match event {
            StreamEvent::Written if stream.unsent() > 0 => {}
            StreamEvent::Read => stream.consume(usize::MAX),
            StreamEvent::Eof => {}
            _ => stream.reset(),
        }
    }

    /// Nothing has moved this way; if it has not the other way either, that was all.
    fn timeout(&self, ctx: &mut Context<Hall>, stream: &mut Stream<'_>, direction: Direction) {
        let (link, idle) = (&self.link, ctx.data().plan.idle);
        let since = Duration::from_nanos(ctx.now().saturating_nanos_since(link.moved_at.get()));
        if since < idle {
            stream.enable(direction);
            return stream.set_timeout(direction, Some(idle - since));
        }
        link.count_idle();
        link.phase.set(Phase::Broken);
        // In good order where nothing is lost by it.
        let end: fn(&mut Stream<'_>) = |stream| stream.close();
        let cut: fn(&mut Stream<'_>) = |stream| stream.reset();
        let waits = link.with(ctx, self.side.other(), |other| other.unsent() > 0) == Some(true);
        let end = if waits || stream.unsent() > 0 { cut } else { end };
        end(stream);
        link.with(ctx, self.side.other(), end);
    }
}
