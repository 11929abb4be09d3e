//! Streams whose bytes the hands move by themselves ([`duolu_core::Transfers`]): the same calls, by another way.
//!
//! Which way it is nobody above sees: READ means that there is something to take, and WRITE that something has become of
//! what was sent. What is taken from the hands, or given to them, is neither read from nor written to the socket; where
//! they say that they do not have it, the socket is asked as always.

use super::Transport;
use crate::context::Context;
use duolu_core::buffer::Pool;
use duolu_core::stream::{self, Moved, Then};
use duolu_core::{EventId, Source, Transfers};
use std::cell::RefCell;
use std::os::fd::RawFd;

impl<D: 'static> Context<D> {
    #[inline]
    fn transfers(&mut self) -> Option<&mut dyn Transfers> {
        self.engine.backend().transfers()
    }

    fn descriptor_of(&self, id: EventId) -> Option<RawFd> {
        match self.engine.reactor().source(id) {
            Some(Source::Fd(fd)) => Some(fd),
            _ => None,
        }
    }

    /// Has the hands move the bytes of a stream that is [`stream::Stream::set_carried`].
    #[cold]
    pub(super) fn carry(&mut self, id: EventId, bounded: bool) {
        if let (Some(fd), Some(transfers)) = (self.descriptor_of(id), self.transfers()) {
            transfers.adopt(fd, id.to_bits(), bounded);
        }
    }

    /// An event goes, and perhaps the hands have moved its bytes.
    #[cold]
    pub(crate) fn uncarry(&mut self, id: EventId, fd: RawFd) {
        if let Some(transfers) = self.transfers() {
            transfers.release(fd, id.to_bits());
        }
    }
}

/// Whether the hands are to move the bytes of a stream that is connected; then [`Context::carry`] follows.
pub(super) fn begins<S: Transport>(socket: &S, core: &mut stream::Stream) -> bool {
    let can = !S::LAYERED && socket.is_plain_socket() && socket.descriptor().is_some();
    if can {
        core.set_carried();
    }
    can
}

/// The same for one that has just connected.
#[cold]
pub(super) fn begin<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    socket: &S,
    core: &mut stream::Stream,
    id: EventId,
) {
    if begins(socket, core) {
        ctx.carry(id, core.is_read_bounded());
    }
}

/// [`Transport::read_into`], by whichever way.
#[inline]
pub(super) fn read_into<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    socket: &mut S,
    core: &mut stream::Stream,
    pool: &RefCell<Pool>,
    limit: usize,
) -> Moved {
    if core.is_carried() {
        return receive(ctx, socket, core, pool, limit);
    }
    socket.read_into(core.input_mut(), &mut pool.borrow_mut(), limit)
}

/// Apart, so that the other way is as short as if there were none.
#[inline(never)]
fn receive<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    socket: &mut S,
    core: &mut stream::Stream,
    pool: &RefCell<Pool>,
    limit: usize,
) -> Moved {
    if let (Some(fd), Some(transfers)) = (socket.descriptor(), ctx.transfers())
        && let Some(moved) = transfers.receive(fd, core.input_mut(), &mut pool.borrow_mut(), limit)
    {
        return moved;
    }
    socket.read_into(core.input_mut(), &mut pool.borrow_mut(), limit)
}

/// [`Transport::write_from`], by whichever way.
#[inline]
pub(super) fn write_from<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    socket: &mut S,
    core: &mut stream::Stream,
    pool: &RefCell<Pool>,
    limit: usize,
) -> Moved {
    if core.is_carried() {
        return send(ctx, socket, core, pool, limit);
    }
    socket.write_from(core.output_mut(), &mut pool.borrow_mut(), limit)
}

/// As [`receive`].
#[inline(never)]
fn send<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    socket: &mut S,
    core: &mut stream::Stream,
    pool: &RefCell<Pool>,
    limit: usize,
) -> Moved {
    let output = core.output_mut();
    let (Some(fd), Some(transfers)) = (socket.descriptor(), ctx.transfers()) else {
        return socket.write_from(output, &mut pool.borrow_mut(), limit);
    };
    if let Some(moved) = transfers.send(fd, output, &mut pool.borrow_mut(), limit) {
        return moved;
    }
    let moved = socket.write_from(output, &mut pool.borrow_mut(), limit);
    if moved.then == Then::Blocked {
        transfers.await_room(fd);
        output.give_back(&mut pool.borrow_mut()); // a few bytes need not keep a block while they wait
    }
    moved
}
