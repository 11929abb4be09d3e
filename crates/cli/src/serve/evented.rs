//! The models on the library's loop: select, poll, epoll level, edge and one-shot, io_uring for readiness. What one
//! loop's connections share, for services that answer what they read. A connection itself: `connection.rs`.

use super::board::{Count, Tally};
use super::connection::Connection;
use super::door::{self, Door};
use super::service::Session;
use super::worker::Worker;
use crate::failure::Failure;
use crate::model::Model;
use duolu::{BackendKind, Context, EventId, Options, Trigger};
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream};

/// How much is read at once, in bytes: one buffer for all connections of a loop.
const READ_BYTES: usize = 64 * 1024;

/// What the connections of one loop share.
pub struct Hall<S> {
    /// Read into, handled, sent from: nobody's for longer than a callback.
    pub input: Vec<u8>,
    /// Where services build their answers; empty between callbacks.
    pub output: Vec<u8>,
    pub trigger: Trigger,
    pub tally: Tally,
    /// Which connections there are, so that the end can be told to them.
    seats: Seats,
    door: Door,
    service: PhantomData<S>,
}

/// Runs one worker's loop.
pub fn serve<S: Session>(model: Model, worker: Worker) -> Result<(), Failure> {
    let (kind, trigger) = road(model);
    let hall = Hall::<S> {
        input: vec![0; READ_BYTES],
        output: Vec::new(),
        trigger,
        tally: worker.tally,
        seats: Seats::default(),
        door: Door::of(&worker),
        service: PhantomData,
    };
    door::serve(model, kind, worker, hall, |_| {})
}

/// Which backend and trigger a model stands for.
pub fn road(model: Model) -> (BackendKind, Trigger) {
    match model {
        Model::Select => (BackendKind::Select, Trigger::Level),
        Model::Poll => (BackendKind::Poll, Trigger::Level),
        Model::EpollEt => (BackendKind::Epoll, Trigger::Edge),
        Model::EpollOneshot => (BackendKind::Epoll, Trigger::OneShot),
        Model::IoUring | Model::IoUringPoll => (BackendKind::IoUring, Trigger::Level),
        Model::EpollLt | Model::Fork | Model::Prefork | Model::Thread => (BackendKind::Epoll, Trigger::Level),
    }
}

impl<S: Session> door::Hall for Hall<S> {
    fn door(&mut self) -> &mut Door {
        &mut self.door
    }

    fn admit(ctx: &mut Context<Self>, stream: TcpStream, _: SocketAddr) -> Result<(), duolu::Error> {
        let hall = ctx.data();
        let seat = hall.seats.take();
        let options = Options::new(Connection::<S>::interest(hall.trigger)).trigger(hall.trigger);
        match ctx.register_handler(stream, options, Connection::<S>::new(seat)) {
            Ok(id) => ctx.data().seats.sit(seat, id),
            Err(error) => {
                ctx.data().leave(seat);
                return Err(error);
            }
        }
        Ok(())
    }

    fn end(ctx: &mut Context<Self>) {
        for id in ctx.data().seats.everybody() {
            ctx.activate(id, duolu::Ready::USER);
        }
    }
}

impl<S> Hall<S> {
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
