//! Two ends connected in memory (libevent's bufferevent_pair): no descriptors, no system calls, and chunks move without a
//! copy.
//!
//! Traps:
//! (a) No kernel tells that there is something to read or room to write: each end says what it is ready for (asked at the
//!     end of each call of its stream), and whoever moves bytes wakes the other.
//! (b) An end may go at any time, in any callback or with a panic, where there is no context at hand: the other is woken
//!     by a post then. So is it by an end that is in no loop.
//! (c) Parts of files would be no bytes to whoever reads them: they are brought into memory on the way.

use super::bytes::move_bytes;
use super::{StreamHandler, StreamOptions, Transport};
use crate::context::Context;
use crate::error::Error;
use crate::handle::Handle;
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{Moved, Then};
use duolu_core::{Errno, EventId, RawFd, Ready};
use std::cell::RefCell;
use std::rc::Rc;

/// What one end has written and the other not yet read is no more than this.
const CAPACITY: usize = 64 * 1024;

const EPIPE: Errno = Errno(32);
const ECONNRESET: Errno = Errno(104);

/// What the two have in common; each has its place in the arrays.
#[derive(Default)]
struct Between {
    /// Written for that end.
    to: [Buffer; 2],
    /// Will write nothing more.
    shut: [bool; 2],
    gone: [bool; 2],
    /// Was cut by that end.
    reset: [bool; 2],
    ids: [Option<EventId>; 2],
}

/// One end of a connection in memory, for [`Context::stream`], [`Layered`](super::Layered) or by hand, on the thread of the
/// loop that `D` is the data of. An end that is dropped is an end to the other one.
pub struct PairEnd<D: 'static> {
    between: Rc<RefCell<Between>>,
    side: usize,
    home: Handle<D>,
    /// For the other end.
    woken: Ready,
}

impl<D: 'static> PairEnd<D> {
    /// Both ends, for streams of the loop that `home` leads to.
    pub fn both(home: &Handle<D>) -> (PairEnd<D>, PairEnd<D>) {
        let between = Rc::new(RefCell::new(Between::default()));
        let end =
            |side| PairEnd { between: Rc::clone(&between), side, home: home.clone(), woken: Ready::NONE };
        (end(0), end(1))
    }

    fn other(&self) -> usize {
        1 - self.side
    }

    fn wake(&mut self, ready: Ready) {
        self.woken |= ready;
        if self.between.borrow().ids[self.side].is_none() {
            self.post(); // (b)
        }
    }

    fn post(&mut self) {
        if let Some((id, ready)) = self.take_woken() {
            // Where the loop is gone there is nobody to be woken.
            let _ = self.home.post(move |ctx| {
                ctx.activate(id, ready);
            });
        }
    }
}

impl<D: 'static> Drop for PairEnd<D> {
    fn drop(&mut self) {
        let mut between = self.between.borrow_mut();
        between.gone[self.side] = true;
        between.to[self.side] = Buffer::new();
        let alone = between.gone[self.other()];
        drop(between);
        if !alone {
            self.woken = Ready::READ | Ready::WRITE;
            self.post();
        }
    }
}

impl<D: 'static> Transport for PairEnd<D> {
    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    fn read_into(&mut self, input: &mut Buffer, _: &mut Pool, limit: usize) -> Moved {
        let mut between = self.between.borrow_mut();
        let other = self.other();
        let was_full = between.to[self.side].len() >= CAPACITY;
        let bytes = match input.take_from(&mut between.to[self.side], limit) {
            Ok(bytes) => bytes,
            Err(error) => return Moved { bytes: 0, then: Then::Failed(super::bytes::errno_of(error)) },
        };
        let (empty, over) = (between.to[self.side].is_empty(), between.shut[other] || between.gone[other]);
        let then = match () {
            _ if !empty => Then::More,
            _ if bytes > 0 && !over => Then::Blocked,
            _ if bytes > 0 => Then::More,
            _ if between.reset[other] => Then::Failed(ECONNRESET),
            _ if over => Then::End,
            _ => Then::Blocked,
        };
        drop(between);
        if was_full && bytes > 0 {
            self.wake(Ready::WRITE);
        }
        Moved { bytes, then }
    }

    fn write_from(&mut self, output: &mut Buffer, _: &mut Pool, limit: usize) -> Moved {
        let mut between = self.between.borrow_mut();
        let other = self.other();
        if between.gone[other] {
            let errno = if between.reset[other] { ECONNRESET } else { EPIPE };
            return Moved { bytes: 0, then: Then::Failed(errno) };
        }
        let asked = limit.min(output.len());
        let room = CAPACITY.saturating_sub(between.to[other].len());
        let moved = move_bytes(output, &mut between.to[other], asked.min(room)); // (c)
        drop(between);
        match moved {
            Ok(bytes) => {
                if bytes > 0 {
                    self.wake(Ready::READ);
                }
                Moved { bytes, then: if bytes < asked { Then::Blocked } else { Then::More } }
            }
            Err(error) => Moved { bytes: 0, then: Then::Failed(super::bytes::errno_of(error)) },
        }
    }

    fn shutdown_write(&mut self) {
        self.between.borrow_mut().shut[self.side] = true;
        self.wake(Ready::READ);
    }

    fn reset(&mut self) {
        self.between.borrow_mut().reset[self.side] = true;
    }

    fn ready(&self) -> Ready {
        let (between, other) = (self.between.borrow(), self.other());
        let gone = between.gone[other];
        let readable = !between.to[self.side].is_empty() || between.shut[other] || gone;
        let writable = between.to[other].len() < CAPACITY || gone;
        let one = |on, ready| if on { ready } else { Ready::NONE };
        one(readable, Ready::READ) | one(writable, Ready::WRITE)
    }

    fn installed(&mut self, id: EventId) {
        self.between.borrow_mut().ids[self.side] = Some(id);
    }

    fn take_woken(&mut self) -> Option<(EventId, Ready)> {
        let ready = std::mem::replace(&mut self.woken, Ready::NONE);
        let other = self.between.borrow().ids[self.other()]?;
        (!ready.is_empty()).then_some((other, ready))
    }
}

impl<D: 'static> Context<D> {
    /// Two streams that are connected with each other, in memory. Everything is as with sockets: each has its options and
    /// its handler, and may be finished, closed or removed at any time, in any callback of either. What one has written
    /// and the other not yet taken is bounded.
    ///
    /// They wait for nothing but each other, so they alone do not keep [`EventLoop::run`](crate::EventLoop::run) running.
    pub fn pair(
        &mut self,
        options_a: StreamOptions,
        handler_a: impl StreamHandler<D>,
        options_b: StreamOptions,
        handler_b: impl StreamHandler<D>,
    ) -> Result<(EventId, EventId), Error> {
        let (end_a, end_b) = PairEnd::both(&self.handle());
        let a = self.stream(end_a, options_a, handler_a)?;
        match self.stream(end_b, options_b, handler_b) {
            Ok(b) => Ok((a, b)),
            Err(error) => {
                self.remove(a);
                Err(error)
            }
        }
    }
}
