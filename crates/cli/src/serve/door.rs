//! The frame of a worker's loop: who comes is let in, and when the server ends the port is left. What becomes of those
//! inside is a [`Hall`]'s: `evented.rs` for services that answer what they read, `streamed.rs` and `proxy` for those that
//! stand on streams.

use super::blocking::{BACK_OFF, not_listening};
use super::board::{Count, Tally};
use super::grumble::Grumble;
use super::setup::Setup;
use super::worker::{Ready, Worker};
use crate::failure::Failure;
use duolu::{AcceptOptions, BackendKind, Config, Context, EventId, EventLoop, Handle, Interest, Next};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// Connections accepted in one turn at most, so that a flood of them does not starve those that are there.
const ACCEPTS_A_TURN: u32 = 64;

/// What the connections of one loop share.
pub trait Hall: Sized + 'static {
    /// Its door.
    fn door(&mut self) -> &mut Door;

    /// Somebody has come, counted as accepted, and there is room. Whoever leaves is counted as closed by the hall, whoever
    /// cannot be let in for an error too.
    fn admit(ctx: &mut Context<Self>, stream: TcpStream, peer: SocketAddr) -> Result<(), duolu::Error>;

    /// The end begins, and nobody else will come: the loop runs until nobody is inside.
    fn end(ctx: &mut Context<Self>);
}

/// Where connections come in.
pub struct Door {
    pub tally: Tally,
    max_connections: u64,
    /// While it is open.
    open: Option<Open>,
    /// It fell shut by itself.
    lost: bool,
    /// It is shut for a moment.
    resting: bool,
    /// How often it was.
    rests: u64,
    trouble: Grumble,
}

struct Open {
    listener: Arc<TcpListener>,
    accepting: EventId,
}

impl Door {
    /// That of a worker.
    pub fn of(worker: &Worker) -> Self {
        Door {
            tally: worker.tally,
            max_connections: worker.max_connections,
            open: None,
            lost: false,
            resting: false,
            rests: 0,
            trouble: Grumble::default(),
        }
    }

    /// How many are inside.
    pub fn open(&self) -> u64 {
        self.tally.get(Count::Accepted).saturating_sub(self.tally.get(Count::Closed))
    }
}

/// Runs one worker's loop on a backend, which is the one that `model` stands for.
pub fn serve<H: Hall>(
    model: crate::model::Model,
    kind: BackendKind,
    worker: Worker,
    hall: H,
    prepare: impl FnOnce(&mut EventLoop<H>),
) -> Result<(), Failure> {
    let mut event_loop = Config::new()
        .backend(kind)
        .build(hall)
        .map_err(|error| Failure::cannot(format!("cannot start the loop: {error}")))?;
    if let Some(reason) = event_loop.fallback() {
        let reason = reason.rsplit_once(": using").map_or(reason, |(reason, _)| reason);
        return Err(Failure::cannot(format!("the model {model} cannot run here: {reason}")));
    }
    prepare(&mut event_loop);
    let options = AcceptOptions { exclusive: worker.exclusive, max_a_turn: ACCEPTS_A_TURN };
    let listener = worker.listener.clone();
    let sentry = Sentry(event_loop.handle());
    let accepting = event_loop
        .accept_with(worker.listener.clone(), options, move |ctx, stream, peer| {
            let _stays_with_the_listener = &sentry;
            let_in(ctx, stream, peer);
        })
        .map_err(|error| Failure::cannot(format!("cannot watch the listening socket: {error}")))?;
    event_loop.data().door().open = Some(Open { listener, accepting });
    if worker.publish {
        event_loop.on_prepare(publish);
    }
    let ready = Ready { backend: event_loop.backend_name().to_owned() };
    worker.ready(ready);
    let Worker { stop, listener, .. } = worker;
    drop(listener); // the door has it, until the end begins
    event_loop
        .register(stop, Interest::READ, |ctx, _, _| {
            close(ctx);
            Next::Remove
        })
        .map_err(|error| Failure::cannot(format!("cannot watch for the end: {error}")))?;
    // Ends when nothing is pending any more: the door is closed and the last connection gone.
    event_loop.run().map_err(|error| Failure::cannot(format!("the loop failed: {error}")))?;
    if event_loop.data().door().lost { Err(not_listening()) } else { Ok(()) }
}

/// Goes with the listener: when the loop lets that go although nobody has closed the door, it cannot listen any more.
struct Sentry<H: Hall>(Handle<H>);

impl<H: Hall> Drop for Sentry<H> {
    fn drop(&mut self) {
        let _ = self.0.post(|ctx| {
            let door = ctx.data().door();
            if door.open.is_some() {
                door.lost = true;
                ctx.stop();
            }
        }); // a loop that has ended does not mind
    }
}

/// A connection has come.
fn let_in<H: Hall>(ctx: &mut Context<H>, stream: TcpStream, peer: SocketAddr) {
    let door = ctx.data().door();
    let tally = door.tally;
    tally.add(Count::Accepted, 1);
    if !Setup::has_room(tally.board(), door.max_connections) {
        tally.add(Count::Refused, 1);
        tally.add(Count::Closed, 1);
    } else if let Err(error) = H::admit(ctx, stream, peer) {
        tally.add(Count::Refused, 1);
        let trouble = &mut ctx.data().door().trouble;
        trouble.say(|| format!("a connection cannot be watched and is closed: {error}"));
    }
}

/// Nobody is let in for a moment, because those inside are short of descriptors: whoever came would take the ones that
/// become free. They wait in the kernel's queue.
pub fn rest<H: Hall>(ctx: &mut Context<H>) {
    let door = ctx.data().door();
    let Some(Open { accepting, .. }) = door.open else { return };
    if std::mem::replace(&mut door.resting, true) {
        return;
    }
    door.rests += 1;
    ctx.disable(accepting);
    ctx.after(BACK_OFF, move |ctx| {
        ctx.data().door().resting = false;
        let _ = ctx.enable(accepting); // closed meanwhile: then it is a stale id
    });
}

/// The end begins: whoever waits in the queue is still let in, then the port is left, and those inside are told.
fn close<H: Hall>(ctx: &mut Context<H>) {
    let Some(Open { listener, accepting }) = ctx.data().door().open.take() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok() {
            let_in(ctx, stream, peer);
        }
    }
    ctx.remove(accepting);
    drop(listener);
    H::end(ctx);
}

/// The loop's own counters, for the admin endpoint.
fn publish<H: Hall>(ctx: &mut Context<H>) {
    let stats = ctx.stats();
    let door = ctx.data().door();
    door.tally.set(Count::Turns, stats.turns);
    door.tally.set(Count::AcceptErrors, stats.accept_back_offs);
    door.tally.set(Count::BackOffs, stats.accept_back_offs + door.rests);
}
