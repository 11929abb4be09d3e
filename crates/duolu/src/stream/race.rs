//! Connecting to whichever of several addresses answers first (happy eyeballs, RFC 8305).
//!
//! The stream is there from the beginning, without a descriptor: it can be written to, removed, and times out. Each attempt is
//! an event of its own; the first that succeeds gives its socket to the stream.
//!
//! Traps:
//! (a) The socket that has won must leave its attempt's event before it enters the stream's: two events of one owned
//!     descriptor would both close it.
//! (b) A stream that is dropped in the race cannot take the attempts with it, because it is dropped without the loop at
//!     hand: the loop does it in the next turn.
//! (c) A kernel may refuse at once (no route, no more descriptors), while the program is still asking: it is told later all
//!     the same, behind `connect_any`.

use super::transport::NOT_YET;
use super::{StreamHandler, StreamOptions, Transport};
use crate::context::Context;
use crate::error::Error;
use crate::object::{Cause, Object};
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{LayerError, Moved, Then};
use duolu_core::{Errno, EventId, EventSpec, Interest, RawFd, Ready, Timeout};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

/// RFC 8305, section 8: Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// No more addresses than that are tried: a name with more has its reasons, but not that each client tries them all.
const MOST_ATTEMPTS: usize = 16;

/// Addresses to connect to, in the order of preference, and how to try them.
///
/// They are tried with the families by turns, beginning with that of the first (RFC 8305, section 4), each when the one before
/// has failed or has not answered for a quarter of a second.
#[derive(Clone, Debug)]
pub struct Candidates {
    addresses: Vec<SocketAddr>,
    delay: Duration,
    most: usize,
}

impl Candidates {
    /// These, as a resolver gives them: the ones it prefers first.
    pub fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        Candidates { addresses: addresses.into_iter().collect(), delay: ATTEMPT_DELAY, most: MOST_ATTEMPTS }
    }
    /// How long an attempt has before the next begins beside it; RFC 8305 recommends 250 ms, the default, and no less than
    /// 10 ms, which is taken where it is less.
    pub fn attempt_delay(mut self, delay: Duration) -> Self {
        self.delay = delay.max(Duration::from_millis(10));
        self
    }
    /// Tries the first so many only; 16 unless said otherwise, at least 1.
    pub fn most_attempts(mut self, most: usize) -> Self {
        self.most = most.max(1);
        self
    }

    /// In the order in which they will be tried.
    pub fn order(&self) -> Vec<SocketAddr> {
        let first_is_v6 = self.addresses.first().is_some_and(SocketAddr::is_ipv6);
        let mut families = [VecDeque::new(), VecDeque::new()];
        for address in &self.addresses {
            let family = &mut families[usize::from(address.is_ipv6() != first_is_v6)];
            if !family.contains(address) {
                family.push_back(*address);
            }
        }
        let mut order = Vec::new();
        while families.iter().any(|family| !family.is_empty()) {
            order.extend(families.iter_mut().filter_map(VecDeque::pop_front));
        }
        order.truncate(self.most);
        order
    }
}

impl From<&[SocketAddr]> for Candidates {
    fn from(addresses: &[SocketAddr]) -> Self {
        Candidates::new(addresses.iter().copied())
    }
}
impl<const N: usize> From<&[SocketAddr; N]> for Candidates {
    fn from(addresses: &[SocketAddr; N]) -> Self {
        Candidates::new(addresses.iter().copied())
    }
}
impl From<Vec<SocketAddr>> for Candidates {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Candidates::new(addresses)
    }
}

/// How a race went.
enum Outcome<S> {
    Open,
    Won(S),
    Lost,
    /// The stream is gone, or has its socket.
    Over,
}

/// What the stream and the attempts share.
struct Race<S> {
    stream: Option<EventId>,
    waiting: VecDeque<SocketAddr>,
    running: Vec<EventId>,
    /// The next attempt.
    timer: Option<EventId>,
    failures: Vec<(SocketAddr, Errno)>,
    outcome: Outcome<S>,
    delay: Duration,
    dial: Box<dyn FnMut(SocketAddr) -> io::Result<S>>,
}

type Shared<S> = Rc<RefCell<Race<S>>>;

/// The transport of a stream that connects to several addresses: nothing at first, then the socket that has won.
pub struct Racing<S = TcpStream> {
    race: Shared<S>,
    socket: Option<S>,
    /// The socket's descriptor is not yet the stream's.
    arrived: bool,
    error: Option<LayerError>,
    /// Removes the attempts: (b).
    clean: Box<dyn Fn(Vec<EventId>)>,
}

/// One address being tried. The socket leaves it where it has won.
struct Attempt<S> {
    race: Shared<S>,
    address: SocketAddr,
    socket: Option<S>,
}

impl<D: 'static, S: Transport> Object<D> for Attempt<S> {
    fn call(&mut self, ctx: &mut Context<D>, _: Cause) {
        let (Some(id), Some(mut socket)) = (ctx.current(), self.socket.take()) else { return };
        let outcome = socket.take_error();
        self.race.borrow_mut().running.retain(|running| *running != id);
        ctx.remove(id); // (a)
        match outcome {
            Ok(()) => win(ctx, &self.race, socket),
            Err(errno) => {
                drop(socket);
                self.race.borrow_mut().failures.push((self.address, errno));
                go_on(ctx, &self.race);
            }
        }
    }
}

fn win<D: 'static, S: Transport>(ctx: &mut Context<D>, race: &Shared<S>, socket: S) {
    let losers = race.borrow_mut().end(Outcome::Won(socket));
    remove_all(ctx, losers);
    wake(ctx, race);
}

fn remove_all<D: 'static>(ctx: &mut Context<D>, ids: Vec<EventId>) {
    for id in ids {
        ctx.remove(id);
    }
}

/// The next attempt begins, or, where none is left, the race is lost.
fn go_on<D: 'static, S: Transport>(ctx: &mut Context<D>, race: &Shared<S>) {
    let mut race_now = race.borrow_mut();
    if let Some(timer) = race_now.timer.take() {
        ctx.remove(timer);
    }
    while matches!(race_now.outcome, Outcome::Open) {
        let Some(address) = race_now.waiting.pop_front() else {
            if race_now.running.is_empty() {
                race_now.outcome = Outcome::Lost;
                drop(race_now);
                wake(ctx, race);
            }
            return;
        };
        let begun = (race_now.dial)(address)
            .map_err(Error::from)
            .and_then(|socket| attempt(ctx, race, address, socket));
        match begun {
            Ok(id) => {
                race_now.running.push(id);
                if !race_now.waiting.is_empty() {
                    let race = Rc::downgrade(race);
                    let next = ctx.after(race_now.delay, move |ctx| {
                        if let Some(race) = race.upgrade() {
                            race.borrow_mut().timer = None;
                            go_on(ctx, &race);
                        }
                    });
                    race_now.timer = Some(next);
                }
                return;
            }
            Err(error) => {
                const EIO: i32 = 5;
                let errno = Errno(io::Error::from(error).raw_os_error().unwrap_or(EIO));
                race_now.failures.push((address, errno));
            }
        }
    }
}

fn attempt<D: 'static, S: Transport>(
    ctx: &mut Context<D>,
    race: &Shared<S>,
    address: SocketAddr,
    mut socket: S,
) -> Result<EventId, Error> {
    socket.prepare()?;
    let Some(fd) = socket.descriptor() else {
        return Err(Error::Misuse("only what has a descriptor can be raced for"));
    };
    let spec =
        EventSpec { owned: true, priority: ctx.default_priority, ..EventSpec::fd(fd, Interest::WRITE) };
    let object = Attempt { race: Rc::clone(race), address, socket: Some(socket) };
    ctx.install(spec, Timeout::Keep, Box::new(object))
}

/// The stream has something to take.
fn wake<D: 'static, S>(ctx: &mut Context<D>, race: &Shared<S>) {
    let stream = race.borrow().stream;
    if let Some(id) = stream {
        ctx.activate(id, Ready::WRITE); // a stale id only means that the stream is gone
    }
}

impl<S> Race<S> {
    /// Over; what is left of it in the loop.
    fn end(&mut self, outcome: Outcome<S>) -> Vec<EventId> {
        self.outcome = outcome;
        self.waiting.clear();
        let mut left = std::mem::take(&mut self.running);
        left.extend(self.timer.take());
        left
    }

    /// Every address, and why it was not that one.
    fn failure(&self) -> LayerError {
        const ETIMEDOUT: Errno = Errno(110);
        let mut text = "cannot connect to any address".to_owned();
        for (at, (address, errno)) in self.failures.iter().enumerate() {
            let sign = if at == 0 { ": " } else { "; " };
            let why = io::Error::from_raw_os_error(errno.0);
            let _ = write!(text, "{sign}{address}: {why}"); // to a String: it cannot fail
        }
        LayerError::new(self.failures.last().map_or(ETIMEDOUT, |(_, errno)| *errno), text)
    }
}

impl<S: Transport> Transport for Racing<S> {
    fn descriptor(&self) -> Option<RawFd> {
        self.socket.as_ref().and_then(Transport::descriptor)
    }
    fn splice_descriptor(&self) -> Option<RawFd> {
        self.socket.as_ref().and_then(Transport::splice_descriptor)
    }
    #[inline]
    fn take_descriptor(&mut self) -> Option<RawFd> {
        if std::mem::take(&mut self.arrived) { self.descriptor() } else { None }
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.socket.as_mut().map_or(NOTHING, |socket| socket.read_into(input, pool, limit))
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.socket.as_mut().map_or(NOTHING, |socket| socket.write_from(output, pool, limit))
    }
    fn shutdown_write(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.shutdown_write();
        }
    }
    fn reset(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.reset();
        }
    }
    fn take_error(&mut self) -> Result<(), Errno> {
        let mut race = self.race.borrow_mut();
        match std::mem::replace(&mut race.outcome, Outcome::Over) {
            Outcome::Won(socket) => {
                self.socket = Some(socket);
                self.arrived = true;
                Ok(())
            }
            Outcome::Open => {
                race.outcome = Outcome::Open;
                Err(NOT_YET)
            }
            Outcome::Lost | Outcome::Over => {
                let error = race.failure();
                let errno = error.errno();
                self.error = Some(error);
                Err(errno)
            }
        }
    }
    fn ready(&self) -> Ready {
        match self.race.borrow().outcome {
            Outcome::Won(_) | Outcome::Lost => Ready::WRITE,
            Outcome::Open | Outcome::Over => Ready::NONE,
        }
    }
    fn layer_error(&self) -> Option<&LayerError> {
        self.error.as_ref()
    }
}

const NOTHING: Moved = Moved { bytes: 0, then: Then::Blocked };

impl<S> Drop for Racing<S> {
    fn drop(&mut self) {
        let left = self.race.borrow_mut().end(Outcome::Over);
        if !left.is_empty() {
            (self.clean)(left);
        }
    }
}

impl<D: 'static> Context<D> {
    /// Connects to whichever of several addresses answers first (happy eyeballs, RFC 8305), and goes on as
    /// [`Context::connect`]: exactly one of `Connected`, `Error` and `Timeout` is told. What is written before is kept and
    /// sent then; the write timeout counts for all attempts together. The attempts that did not win are closed, and so are all
    /// when the stream is removed (in the next turn).
    ///
    /// With `Error`, [`super::Stream::layer_error`] says every address that was tried and why it was not that one; its errno is
    /// the last one's.
    ///
    /// # Errors
    /// Misuse: there are no addresses.
    pub fn connect_any(
        &mut self,
        candidates: impl Into<Candidates>,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        self.connect_any_through(candidates, |socket| socket, options, handler)
    }

    /// The same, with what `wrap` puts upon the connection (TLS, say): `Connected` is told when every layer is established.
    ///
    /// `ctx.connect_any_through(addresses, |racing| Layered::new(racing, layer), options, handler)`
    pub fn connect_any_through<S: Transport>(
        &mut self,
        candidates: impl Into<Candidates>,
        wrap: impl FnOnce(Racing) -> S,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        let dial = |address| duolu_sys::socket::connect(address, None).map(|begun| begun.stream);
        self.connect_any_by(candidates, dial, wrap, options, handler)
    }

    /// The same by other sockets: `dial` begins to connect, nonblocking, and gives a socket that becomes writable when that is
    /// done, one way or the other. For sockets with options, from a source address, or simulated ones.
    pub fn connect_any_by<S: Transport, W: Transport>(
        &mut self,
        candidates: impl Into<Candidates>,
        dial: impl FnMut(SocketAddr) -> io::Result<S> + 'static,
        wrap: impl FnOnce(Racing<S>) -> W,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        let candidates = candidates.into();
        let waiting = VecDeque::from(candidates.order());
        if waiting.is_empty() {
            return Err(Error::Misuse("there is no address to connect to"));
        }
        let race = Rc::new(RefCell::new(Race {
            stream: None,
            waiting,
            running: Vec::new(),
            timer: None,
            failures: Vec::new(),
            outcome: Outcome::Open,
            delay: candidates.delay,
            dial: Box::new(dial),
        }));
        let handle = self.handle();
        let clean = move |left: Vec<EventId>| {
            // Refused where the loop is gone, and everything with it.
            let _ = handle.post(move |ctx| remove_all(ctx, left));
        };
        let racing = Racing {
            race: Rc::clone(&race),
            socket: None,
            arrived: false,
            error: None,
            clean: Box::new(clean),
        };
        let id = self.install_stream(wrap(racing), true, options, handler)?;
        race.borrow_mut().stream = Some(id);
        go_on(self, &race); // (c)
        Ok(id)
    }
}

impl<S> std::fmt::Debug for Racing<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let race = self.race.borrow();
        let (running, waiting) = (race.running.len(), race.waiting.len());
        write!(f, "Racing, {running} attempts, {waiting} addresses left")
    }
}

/// What a stream that was connected to several addresses is told to be from now on: on a descriptor.
#[inline(never)]
pub(super) fn adopt<D: 'static>(
    core: &mut duolu_core::stream::Stream,
    ctx: &mut Context<D>,
    id: EventId,
    fd: RawFd,
) {
    let wants = core.next_interest().map_or(core.asked(), |(_, wants)| wants);
    let adopted = ctx.engine.adopt(id, fd, wants);
    let added =
        if wants.is_empty() { Ok(()) } else { adopted.and_then(|()| ctx.engine.add(id, Timeout::Keep)) };
    if let Err(refused) = added {
        log::error!("a stream that was connected cannot be watched and is closed: {}", ctx.refusal(refused));
        core.close(0);
        ctx.activate(id, Ready::TIMEOUT);
    }
}
