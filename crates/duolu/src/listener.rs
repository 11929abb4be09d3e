//! Listeners: every connection that waits is accepted, and out of descriptors the loop backs off.
//!
//! Traps:
//! (a) EMFILE leaves the connection in the queue, so a level-triggered listener is ready again at once, for ever:
//!     libevent's takes a third of a core and logs 157,000 lines a second. Here the listener is not watched for
//!     [`BACK_OFF`] and one line a second is logged at most.
//! (b) A connection may be gone between the report and accept(2) (ECONNABORTED), so the listener must be
//!     non-blocking, and other errors of one connection must not end the listening.
//! (c) Accepting until EAGAIN starves other connections under a flood: [`AcceptOptions::max_a_turn`].

use crate::context::Context;
use crate::error::Error;
use crate::object::Handler;
use crate::options::{Next, Options};
use duolu_core::{EventId, Instant, Interest, Ready};

use duolu_sys::socket;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// How long a listener is left alone when the process is out of descriptors or memory: short enough to be back
/// within 100 ms of the first descriptor freed, long enough to cost nothing.
const BACK_OFF: Duration = Duration::from_millis(50);

const SECOND_NS: u64 = 1_000_000_000;

/// Something that holds a listening TCP socket: a `TcpListener`, or an `Arc` of one that several loops share.
pub trait AsListener: AsFd + 'static {
    /// The listener.
    fn listener(&self) -> &TcpListener;
}

impl AsListener for TcpListener {
    fn listener(&self) -> &TcpListener {
        self
    }
}
impl AsListener for Arc<TcpListener> {
    fn listener(&self) -> &TcpListener {
        self
    }
}

/// How connections are accepted.
#[derive(Clone, Copy, Debug)]
pub struct AcceptOptions {
    /// One loop of the several that share the listener is woken for a connection (EPOLLEXCLUSIVE), not all.
    pub exclusive: bool,
    /// Connections accepted in one turn at most, so that a flood does not starve those already there.
    pub max_a_turn: u32,
}

impl Default for AcceptOptions {
    /// Not exclusive; 64 a turn.
    fn default() -> Self {
        AcceptOptions { exclusive: false, max_a_turn: 64 }
    }
}

struct Acceptor<C> {
    callback: C,
    max_a_turn: u32,
    last_line: Option<Instant>,
    unsaid: u64,
}

impl<D: 'static> Context<D> {
    /// Accepts connections as they come; they are non-blocking and close on exec. The listener is made
    /// non-blocking too. One accept4(2) per connection, and one more per turn to see that none is left. Out of
    /// descriptors (EMFILE, ENFILE) or memory the listener rests for 50 ms at a time.
    pub fn accept<L: AsListener>(
        &mut self,
        listener: L,
        callback: impl FnMut(&mut Context<D>, TcpStream, SocketAddr) + 'static,
    ) -> Result<EventId, Error> {
        self.accept_with(listener, AcceptOptions::default(), callback)
    }

    /// As [`Context::accept`], with options.
    pub fn accept_with<L: AsListener>(
        &mut self,
        listener: L,
        options: AcceptOptions,
        callback: impl FnMut(&mut Context<D>, TcpStream, SocketAddr) + 'static,
    ) -> Result<EventId, Error> {
        listener.listener().set_nonblocking(true)?;
        let mut watch = Options::new(Interest::READ);
        if options.exclusive {
            watch = watch.exclusive();
        }
        let max_a_turn = options.max_a_turn.max(1);
        self.register_handler(listener, watch, Acceptor { callback, max_a_turn, last_line: None, unsaid: 0 })
    }
}

impl<D, L, C> Handler<D, L> for Acceptor<C>
where
    D: 'static,
    L: AsListener,
    C: FnMut(&mut Context<D>, TcpStream, SocketAddr) + 'static,
{
    fn ready(&mut self, ctx: &mut Context<D>, listener: &L, _: Ready) -> Next {
        let own = ctx.current();
        for _ in 0..self.max_a_turn {
            match socket::accept_from(listener.as_fd()) {
                Ok((stream, peer)) => {
                    ctx.stats.accepted += 1;
                    (self.callback)(ctx, stream, peer);
                    if own.is_none_or(|id| !ctx.is_pending(id)) {
                        break; // removed or disabled by its own callback
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_exhaustion(&error) => {
                    self.back_off(ctx, &error);
                    break;
                }
                Err(error) if is_fatal(&error) => {
                    log::error!("the listener cannot accept and is closed: {error}");
                    return Next::Remove;
                }
                // Trap (b): this connection failed, the next may not.
                Err(_) => {}
            }
        }
        Next::Keep
    }
}

impl<C> Acceptor<C> {
    fn back_off<D: 'static>(&mut self, ctx: &mut Context<D>, error: &io::Error) {
        ctx.stats.accept_back_offs += 1;
        self.unsaid += 1;
        let now = ctx.now();
        if self.last_line.is_none_or(|last| now.saturating_nanos_since(last) >= SECOND_NS) {
            log::warn!(
                "cannot accept: {error}; connections wait in the kernel's queue, retrying every {} ms ({} refusals \
                 since the last line); raise the limit (ulimit -n, LimitNOFILE=) or close some",
                BACK_OFF.as_millis(),
                self.unsaid
            );
            (self.last_line, self.unsaid) = (Some(now), 0);
        }
        if let Some(id) = ctx.current() {
            ctx.engine.del(id);
            ctx.resting.push(id);
            ctx.after(BACK_OFF, move |ctx| {
                // Unless the program has disabled it meanwhile; a stale id only means that it was removed.
                if ctx.end_rest(id) {
                    let _ = ctx.enable(id);
                }
            });
        }
    }
}

/// Not this connection's fault, and over as soon as something is freed.
fn is_exhaustion(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(ENOMEM | ENFILE | EMFILE | ENOBUFS))
}

/// The descriptor is no listener (any more): trying again would spin.
fn is_fatal(error: &io::Error) -> bool {
    const EBADF: i32 = 9;
    const EINVAL: i32 = 22;
    const ENOTSOCK: i32 = 88;
    const EOPNOTSUPP: i32 = 95;
    matches!(error.raw_os_error(), Some(EBADF | EINVAL | ENOTSOCK | EOPNOTSUPP))
}
