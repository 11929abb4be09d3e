//! What sits in a slot: a source and the code to call, of any type, behind one virtual call.

use crate::context::Context;
use crate::datagram;
use crate::options::Next;
use crate::stream::{Driven, Parts};
use duolu_core::{EventId, Ready};

/// A connection (or anything else on a descriptor) as an object: its state, and what to do when its source is
/// ready. A closure `FnMut(&mut Context<D>, &F, Ready) -> Next` is one too; both cost the same.
pub trait Handler<D, F>: 'static {
    /// `source` is ready for what `ready` says. The loop owns the source; reading and writing work through
    /// the `Read` and `Write` that std implements for `&TcpStream`, `&UnixStream`, `&File`, `&PipeReader`.
    fn ready(&mut self, ctx: &mut Context<D>, source: &F, ready: Ready) -> Next;
}

impl<D, F, C> Handler<D, F> for C
where
    C: FnMut(&mut Context<D>, &F, Ready) -> Next + 'static,
{
    #[inline]
    fn ready(&mut self, ctx: &mut Context<D>, source: &F, ready: Ready) -> Next {
        self(ctx, source, ready)
    }
}

/// Why it is called: so little that it travels in a register.
#[derive(Clone, Copy)]
pub(crate) struct Cause(u64);

impl Cause {
    /// `count`: signals merged.
    #[inline(always)]
    pub(crate) fn new(ready: Ready, count: u16) -> Self {
        Cause(u64::from(count) << 32 | u64::from(ready.bits()))
    }
    #[inline(always)]
    pub(crate) fn ready(self) -> Ready {
        Ready::from_bits(self.0 as u32)
    }
    pub(crate) fn count(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// One virtual call from the loop to whatever is registered. What the callback wants next it tells
/// by [`Context::ask`], unless it is the usual: so that nothing has to be given back.
pub(crate) trait Object<D> {
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause);
    /// The event that is removed with this one.
    fn partner(&self) -> Option<EventId> {
        None
    }
    /// A stream taken apart, where it is one.
    fn into_parts(self: Box<Self>) -> Option<Parts> {
        None
    }
    /// As a stream, where it is one: for [`Context::with_stream`].
    fn stream(&mut self) -> Option<&mut dyn Driven<D>> {
        None
    }
    /// As a datagram socket, where it is one: for [`Context::with_datagrams`].
    fn datagrams(&mut self) -> Option<&mut dyn datagram::Driven<D>> {
        None
    }
}

/// An object while it is out of its slot: should something panic meanwhile, its event is deregistered, or its number would
/// be watched after its descriptor is closed.
pub(crate) struct Lent<'a, D: 'static> {
    pub(crate) ctx: &'a mut Context<D>,
    pub(crate) id: EventId,
    /// Declared last, so that the socket closes after the event is gone.
    pub(crate) object: Option<Box<dyn Object<D>>>,
}

impl<D: 'static> Drop for Lent<'_, D> {
    fn drop(&mut self) {
        if self.object.is_some() {
            self.ctx.remove(self.id);
        }
    }
}

/// On a descriptor. The handler is declared first, so that its state is dropped before the descriptor closes.
pub(crate) struct OnSource<F, H> {
    pub(crate) handler: H,
    pub(crate) source: F,
}

impl<D, F, H: Handler<D, F>> Object<D> for OnSource<F, H> {
    #[inline]
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause) {
        let next = self.handler.ready(ctx, &self.source, cause.ready());
        ctx.ask(next);
    }
}

/// Timers, signals, user events: a closure that wants some of what is known.
pub(crate) struct OnActive<C>(pub(crate) C);

impl<D, C: FnMut(&mut Context<D>, Cause) -> Next> Object<D> for OnActive<C> {
    fn call(&mut self, ctx: &mut Context<D>, cause: Cause) {
        let next = (self.0)(ctx, cause);
        ctx.ask(next);
    }
}

/// Called once, then gone.
pub(crate) struct OnceOnly<C>(pub(crate) Option<C>);

impl<D, C: FnOnce(&mut Context<D>)> Object<D> for OnceOnly<C> {
    fn call(&mut self, ctx: &mut Context<D>, _: Cause) {
        if let Some(callback) = self.0.take() {
            callback(ctx);
        }
        ctx.ask(Next::Remove);
    }
}
