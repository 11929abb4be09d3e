//! The models on the library's loop: select, poll, epoll level, edge and one-shot, io_uring for readiness. One
//! worker's loop: accepting, the end, and what its connections share. A connection itself: `connection.rs`.

use super::blocking::not_listening;
use super::board::{Count, Tally};
use super::connection::Connection;
use super::grumble::Grumble;
use super::service::Session;
use super::setup::Setup;
use super::worker::{Ready, Worker};
use crate::failure::Failure;
use crate::model::Model;
use duolu::{AcceptOptions, BackendKind, Config, Context, EventId, Handle, Interest, Next, Options, Trigger};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// How much is read at once, in bytes: one buffer for all connections of a loop.
const READ_BYTES: usize = 64 * 1024;
/// Connections accepted in one turn at most, so that a flood of them does not starve those that are there.
const ACCEPTS_A_TURN: u32 = 64;

/// What the connections of one loop share.
pub struct Hall {
    /// Read into, handled, sent from: nobody's for longer than a callback.
    pub input: Vec<u8>,
    /// Where services build their answers; empty between callbacks.
    pub output: Vec<u8>,
    pub trigger: Trigger,
    pub tally: Tally,
    max_connections: u64,
    /// Which connections there are, so that the end can be told to them.
    seats: Seats,
    /// While connections are accepted.
    door: Option<Door>,
    /// The door fell shut by itself.
    lost: bool,
    trouble: Grumble,
}

struct Door {
    listener: Arc<TcpListener>,
    accepting: EventId,
}

/// Runs one worker's loop.
pub fn serve<S: Session>(model: Model, worker: Worker) -> Result<(), Failure> {
    let (kind, trigger) = road(model);
    let hall = Hall {
        input: vec![0; READ_BYTES],
        output: Vec::new(),
        trigger,
        tally: worker.tally,
        max_connections: worker.max_connections,
        seats: Seats::default(),
        door: None,
        lost: false,
        trouble: Grumble::default(),
    };
    let mut event_loop = Config::new()
        .backend(kind)
        .build(hall)
        .map_err(|error| Failure::cannot(format!("cannot start the loop: {error}")))?;
    if let Some(reason) = event_loop.fallback() {
        let reason = reason.rsplit_once(": using").map_or(reason, |(reason, _)| reason);
        return Err(Failure::cannot(format!("the model {model} cannot run here: {reason}")));
    }
    let options = AcceptOptions { exclusive: worker.exclusive, max_a_turn: ACCEPTS_A_TURN };
    let listener = worker.listener.clone();
    let sentry = Sentry(event_loop.handle());
    let accepting = event_loop
        .accept_with(worker.listener.clone(), options, move |ctx, stream, _| {
            let _stays_with_the_listener = &sentry;
            admit::<S>(ctx, stream);
        })
        .map_err(|error| Failure::cannot(format!("cannot watch the listening socket: {error}")))?;
    event_loop.data().door = Some(Door { listener, accepting });
    if worker.publish {
        event_loop.on_prepare(publish);
    }
    let ready = Ready { backend: event_loop.backend_name().to_owned() };
    worker.ready(ready);
    let Worker { stop, listener, .. } = worker;
    drop(listener); // the door has it, until the end begins
    event_loop
        .register(stop, Interest::READ, |ctx, _, _| {
            close_door::<S>(ctx);
            Next::Remove
        })
        .map_err(|error| Failure::cannot(format!("cannot watch for the end: {error}")))?;
    // Ends when nothing is pending any more: the door is closed and the last connection gone.
    event_loop.run().map_err(|error| Failure::cannot(format!("the loop failed: {error}")))?;
    if event_loop.data().lost { Err(not_listening()) } else { Ok(()) }
}

/// Goes with the listener: when the loop lets that go although nobody has closed the door, it cannot listen any more.
struct Sentry(Handle<Hall>);

impl Drop for Sentry {
    fn drop(&mut self) {
        let _ = self.0.post(|ctx| {
            if ctx.data().door.is_some() {
                ctx.data().lost = true;
                ctx.stop();
            }
        }); // a loop that has ended does not mind
    }
}

/// Which backend and trigger a model stands for.
fn road(model: Model) -> (BackendKind, Trigger) {
    match model {
        Model::Select => (BackendKind::Select, Trigger::Level),
        Model::Poll => (BackendKind::Poll, Trigger::Level),
        Model::EpollEt => (BackendKind::Epoll, Trigger::Edge),
        Model::EpollOneshot => (BackendKind::Epoll, Trigger::OneShot),
        Model::IoUring | Model::IoUringPoll => (BackendKind::IoUring, Trigger::Level),
        Model::EpollLt | Model::Fork | Model::Prefork | Model::Thread => (BackendKind::Epoll, Trigger::Level),
    }
}

/// A connection has come.
fn admit<S: Session>(ctx: &mut Context<Hall>, stream: TcpStream) {
    let hall = ctx.data();
    hall.tally.add(Count::Accepted, 1);
    let mut refused = !Setup::has_room(hall.tally.board(), hall.max_connections);
    if !refused {
        let seat = hall.seats.take();
        let options = Options::new(Connection::<S>::interest(hall.trigger)).trigger(hall.trigger);
        match ctx.register_handler(stream, options, Connection::<S>::new(seat)) {
            Ok(id) => ctx.data().seats.sit(seat, id),
            Err(error) => {
                let hall = ctx.data();
                hall.seats.leave(seat);
                hall.trouble.say(|| format!("a connection cannot be watched and is closed: {error}"));
                refused = true;
            }
        }
    }
    if refused {
        let tally = ctx.data().tally;
        tally.add(Count::Refused, 1);
        tally.add(Count::Closed, 1);
    }
}

/// The end begins: whoever waits in the queue is still let in, then the port is left, and the connections are told.
fn close_door<S: Session>(ctx: &mut Context<Hall>) {
    let Some(Door { listener, accepting }) = ctx.data().door.take() else { return };
    while let Ok((stream, _)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok() {
            admit::<S>(ctx, stream);
        }
    }
    ctx.remove(accepting);
    drop(listener);
    for id in ctx.data().seats.everybody() {
        ctx.activate(id, duolu::Ready::USER);
    }
}

/// The loop's own counters, for the admin endpoint.
fn publish(ctx: &mut Context<Hall>) {
    let stats = ctx.stats();
    let tally = ctx.data().tally;
    tally.set(Count::Turns, stats.turns);
    tally.set(Count::AcceptErrors, stats.accept_back_offs);
    tally.set(Count::BackOffs, stats.accept_back_offs);
}

impl Hall {
    /// A connection goes.
    pub fn leave(&mut self, seat: u32) {
        self.seats.leave(seat);
        self.tally.add(Count::Closed, 1);
    }
}

/// Numbers for connections, given out again when they are gone.
#[derive(Default)]
struct Seats {
    ids: Vec<Option<EventId>>,
    free: Vec<u32>,
}

impl Seats {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.ids.push(None);
            self.ids.len() as u32 - 1
        })
    }

    fn sit(&mut self, seat: u32, id: EventId) {
        self.ids[seat as usize] = Some(id);
    }

    fn leave(&mut self, seat: u32) {
        self.ids[seat as usize] = None;
        self.free.push(seat);
    }

    fn everybody(&self) -> Vec<EventId> {
        self.ids.iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_given_out_again() {
        let mut seats = Seats::default();
        assert_eq!((seats.take(), seats.take()), (0, 1));
        seats.leave(0);
        assert_eq!((seats.take(), seats.take()), (0, 2));
        assert!(seats.everybody().is_empty());
    }
}
