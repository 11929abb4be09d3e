//! What a callback may do to its loop: everything. Register, remove, re-arm, stop, post, ask.

use crate::error::Error;
use crate::handle::{Handle, Post, Shared};
use crate::hooks::Hooks;
use crate::object::{Cause, Handler, Object, OnActive, OnSource, OnceOnly};
use crate::options::{After, Next, Options, Rearm};
use crate::signals::SignalWatch;
use crate::stats::{SlowWatch, Stats};
use crate::stream::pipes::Pipes;
use duolu_core::buffer::Pool;
use duolu_core::{
    Backend, Clock, CommonTimeout, Engine, EventId, EventSpec, Features, Instant, Interest, Ready, Refused,
    Source, Timeout, TransferCounters,
};
use duolu_sys::sync::Arc;
use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

/// Any clock: the monotonic one in production, a virtual one in tests.
pub(crate) struct AnyClock(pub(crate) Box<dyn Clock>);

impl Clock for AnyClock {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

/// No slot.
pub(crate) const NOBODY: usize = usize::MAX;
/// In `Context::running`, beside the slot: its callback asked for something, see `Context::asked`.
pub(crate) const ASKED: usize = 1 << (usize::BITS - 1);

/// How far the program wants the loop to go on.
///
/// In an order in which the first two go on with this pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(crate) enum Course {
    Run,
    /// End after the callbacks that are due in this pass.
    Stop,
    /// Poll again now; what is due and not yet called stays due.
    Continue,
    /// End after the present callback.
    Break,
}

/// The loop's end of what it shares with its handles: when the loop goes, they are told.
pub(crate) struct Lifeline<D>(Arc<Shared<D>>);

impl<D> std::ops::Deref for Lifeline<D> {
    type Target = Shared<D>;
    fn deref(&self) -> &Shared<D> {
        &self.0
    }
}

impl<D> Drop for Lifeline<D> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The loop as its callbacks see it. The user's data lives in it, so that no callback needs an `Rc<RefCell>`.
pub struct Context<D = ()> {
    pub(crate) engine: Engine<dyn Backend, AnyClock>,
    /// Beside the engine's slots: `objects[id.index()]`. `None` while its callback runs.
    pub(crate) objects: Vec<Option<Box<dyn Object<D>>>>,
    pub(crate) course: Course,
    /// The slot of the event whose callback is running, as long as nothing has happened that its return must look
    /// at: so that the usual return is one comparison. Else [`NOBODY`].
    pub(crate) running: usize,
    /// That event where `running` does not name it any more.
    pub(crate) looked_at: Option<EventId>,
    /// What the running callback asks for, when it returns.
    pub(crate) asked: Next,
    /// Listeners that rest because the process is out of descriptors, and are to be enabled again.
    pub(crate) resting: Vec<EventId>,
    pub(crate) hooks: Hooks<D>,
    pub(crate) shared: Lifeline<D>,
    /// The queue that is not in `shared`: they change places, so that neither is allocated again.
    pub(crate) spare_posts: Vec<Post<D>>,
    /// To be run when the waker's own callback has returned: a post that panics must not take the waker with it.
    pub(crate) posts_waiting: bool,
    /// What streams read into and write from, by turns.
    pub(crate) blocks: Rc<RefCell<Pool>>,
    /// What datagrams are received into and sent through, by turns; made with the first socket.
    pub(crate) datagrams: Option<crate::datagram::Rooms>,
    /// What bytes between joined sockets pass through, by turns.
    pub(crate) pipes: Pipes,
    pub(crate) signals: Option<SignalWatch>,
    pub(crate) slow: Option<SlowWatch>,
    /// There are hooks, or `slow` is watched for: turns have more to do.
    pub(crate) extras: bool,
    pub(crate) stats: Stats,
    pub(crate) fallback: Option<String>,
    /// The hands move streams' bytes by themselves.
    pub(crate) carries: bool,
    pub(crate) readiness: Option<String>,
    pub(crate) default_priority: u8,
    data: D,
}

impl<D> Context<D> {
    pub(crate) fn new(
        engine: Engine<dyn Backend, AnyClock>,
        shared: Arc<Shared<D>>,
        priorities: u16,
        data: D,
    ) -> Self {
        Context {
            engine,
            objects: Vec::new(),
            course: Course::Run,
            running: NOBODY,
            looked_at: None,
            asked: Next::Keep,
            resting: Vec::new(),
            hooks: Hooks::new(),
            shared: Lifeline(shared),
            spare_posts: Vec::new(),
            posts_waiting: false,
            blocks: crate::stream::pool(),
            datagrams: None,
            pipes: Pipes::new(),
            signals: None,
            slow: None,
            extras: false,
            stats: Stats::default(),
            fallback: None,
            carries: false,
            readiness: None,
            default_priority: (priorities / 2).min(255) as u8,
            data,
        }
    }

    /// The user's data.
    pub fn data(&mut self) -> &mut D {
        &mut self.data
    }
    /// The user's data, to read.
    pub fn data_ref(&self) -> &D {
        &self.data
    }
    pub(crate) fn into_data(self) -> D {
        self.data
    }

    /// Other threads have posted: see `posts_waiting`.
    pub(crate) fn posts_wait(&mut self) {
        self.posts_waiting = true;
        self.running |= ASKED;
    }

    /// What a callback wants to happen when it has returned.
    #[inline(always)]
    pub(crate) fn ask(&mut self, next: Next) {
        if !matches!(next, Next::Keep) {
            self.asked = next;
            self.running |= ASKED;
        }
    }
}

impl<D: 'static> Context<D> {
    /// Watches a descriptor. The loop owns `source` and closes it when the event is removed. An addition that
    /// the kernel refuses fails here, and `source` is dropped. Allocates once; one system call.
    ///
    /// For several events on one descriptor share it: `register(Rc::clone(&stream), ..)`.
    pub fn register<F: AsFd + 'static>(
        &mut self,
        source: F,
        options: impl Into<Options>,
        callback: impl FnMut(&mut Context<D>, &F, Ready) -> Next + 'static,
    ) -> Result<EventId, Error> {
        self.register_handler(source, options, callback)
    }

    /// As [`Context::register`], with a connection as an object.
    pub fn register_handler<F: AsFd + 'static>(
        &mut self,
        source: F,
        options: impl Into<Options>,
        handler: impl Handler<D, F>,
    ) -> Result<EventId, Error> {
        let fd = source.as_fd().as_raw_fd();
        let spec = EventSpec { owned: true, ..EventSpec::fd(fd, Interest::NONE) };
        self.watch(spec, options.into(), Box::new(OnSource { handler, source }))
    }

    /// Watches a descriptor that the loop does not own. Removing and adding it again always asks the kernel.
    ///
    /// # Safety
    /// `fd` must stay open, and the same file, until the event is removed (I/O safety, RFC 3128 of Rust).
    /// Where it is closed earlier nothing spins and no other owner is told, but the callback may get an
    /// `INVALID`, or nothing at all.
    #[allow(unsafe_code)]
    pub unsafe fn register_raw(
        &mut self,
        fd: RawFd,
        options: impl Into<Options>,
        mut callback: impl FnMut(&mut Context<D>, RawFd, Ready) -> Next + 'static,
    ) -> Result<EventId, Error> {
        let object = OnActive(move |ctx: &mut Context<D>, cause: Cause| callback(ctx, fd, cause.ready()));
        self.watch(EventSpec::fd(fd, Interest::NONE), options.into(), Box::new(object))
    }

    fn watch(
        &mut self,
        spec: EventSpec,
        options: Options,
        object: Box<dyn Object<D>>,
    ) -> Result<EventId, Error> {
        let spec = EventSpec {
            interest: options.interest,
            trigger: options.trigger,
            persist: options.persist,
            exclusive: options.exclusive,
            priority: options.priority.unwrap_or(self.default_priority),
            ..spec
        };
        self.install(spec, options.timeout, object)
    }

    pub(crate) fn install(
        &mut self,
        spec: EventSpec,
        timeout: Timeout,
        object: Box<dyn Object<D>>,
    ) -> Result<EventId, Error> {
        let backend = self.engine.backend().name();
        let id = self.engine.create(spec).map_err(|refused| Error::from_refusal(refused, backend))?;
        if let Err(refused) = self.engine.add(id, timeout) {
            self.engine.destroy(id);
            return Err(Error::from_refusal(refused, backend));
        }
        if self.objects.len() <= id.index() {
            // Growing by itself then says that there is no memory.
            let _ = duolu_core::reserve_table(&mut self.objects, id.index() + 1);
            self.objects.resize_with(id.index() + 1, || None);
        }
        self.objects[id.index()] = Some(object);
        Ok(id)
    }

    /// A timer or user event: nothing in it can be refused.
    fn install_plain(&mut self, persist: bool, timeout: Timeout, object: Box<dyn Object<D>>) -> EventId {
        let spec = EventSpec { persist, priority: self.default_priority, ..EventSpec::new() };
        self.install(spec, timeout, object).expect("a timer asks nothing of the kernel")
    }

    /// Calls back once, after `delay` (or at an `Instant`, or after a common timeout). O(1).
    pub fn after(
        &mut self,
        delay: impl Into<After>,
        callback: impl FnOnce(&mut Context<D>) + 'static,
    ) -> EventId {
        self.install_plain(false, delay.into().0, Box::new(OnceOnly(Some(callback))))
    }

    /// Calls back every `period`, by the schedule (it does not drift; missed periods are not made up for). A
    /// period of zero is taken as one nanosecond.
    pub fn every(
        &mut self,
        period: Duration,
        mut callback: impl FnMut(&mut Context<D>) -> Next + 'static,
    ) -> EventId {
        let period = After::from(period.max(Duration::from_nanos(1))).0;
        let object = OnActive(move |ctx: &mut Context<D>, _: Cause| callback(ctx));
        self.install_plain(true, period, Box::new(object))
    }

    /// Calls back when `delay` has passed; the callback says with `Next::after` when again. With `Next::Keep`
    /// the timer stays registered, and `enable`-able, but is not pending.
    pub fn timer(
        &mut self,
        delay: impl Into<After>,
        mut callback: impl FnMut(&mut Context<D>) -> Next + 'static,
    ) -> EventId {
        let object = OnActive(move |ctx: &mut Context<D>, _: Cause| callback(ctx));
        self.install_plain(false, delay.into().0, Box::new(object))
    }

    /// A duration that many events share: arming with it is O(1) and cheaper than `After` a `Duration`.
    /// `None` when 256 different ones are in use.
    pub fn common_timeout(&mut self, duration: Duration) -> Option<CommonTimeout> {
        self.engine.timers().common(duolu_core::time::duration_nanos(duration))
    }

    /// An event that only the program activates; see [`Context::activate`]. It is never pending, so it does not
    /// keep the loop running.
    pub fn user_event(
        &mut self,
        mut callback: impl FnMut(&mut Context<D>, Ready) -> Next + 'static,
    ) -> EventId {
        let object = OnActive(move |ctx: &mut Context<D>, cause: Cause| callback(ctx, cause.ready()));
        self.install_plain(true, Timeout::Keep, Box::new(object))
    }

    /// Calls back when signal `signo` has arrived; the callback gets how often since it was last called
    /// (at most 65,535; the kernel itself merges a standard signal that is already pending: signal(7)). While any loop
    /// of the process watches a signal its ordinary action is replaced. SIGKILL and SIGSTOP are refused.
    pub fn signal(
        &mut self,
        signo: i32,
        mut callback: impl FnMut(&mut Context<D>, u32) -> Next + 'static,
    ) -> Result<EventId, Error> {
        SignalWatch::subscribe(self, signo)?;
        let spec = EventSpec { priority: self.default_priority, ..EventSpec::signal(signo) };
        let object = OnActive(move |ctx: &mut Context<D>, cause: Cause| callback(ctx, cause.count()));
        let installed = self.install(spec, Timeout::Keep, Box::new(object));
        if installed.is_err() {
            SignalWatch::unsubscribe(self, signo);
        }
        installed
    }

    /// Makes an event due as if `ready` had happened (empty: `Ready::USER`). It is called back in this pass or the
    /// next. False where the id is stale.
    pub fn activate(&mut self, id: EventId, ready: Ready) -> bool {
        self.engine.activate(id, ready)
    }

    /// Deregisters an event and drops its callback and source (closing the descriptor); works on the running
    /// event too, whose own are dropped when it returns. False where the id is stale.
    pub fn remove(&mut self, id: EventId) -> bool {
        if self.running == id.index() {
            self.look_closer();
        }
        let source = self.engine.reactor().source(id);
        if !self.engine.destroy(id) {
            return false;
        }
        match source {
            Some(Source::Signal(signo)) => SignalWatch::unsubscribe(self, signo),
            Some(Source::Fd(fd)) if self.carries => self.uncarry(id, fd),
            _ => {}
        }
        // Dropped last: a callback's own `drop` may do anything, but not to this context.
        let object = self.objects[id.index()].take();
        if let Some(partner) = object.as_ref().and_then(|object| object.partner()) {
            self.remove(partner);
        }
        drop(object);
        true
    }

    /// Not pending until `enable`d; also takes it out of what is due. Costs no system call of its own, and none
    /// at all if it is enabled again before the next poll. False where it was neither pending nor due.
    pub fn disable(&mut self, id: EventId) -> bool {
        let rested = self.end_rest(id);
        self.engine.del(id) || rested
    }

    /// A listener that rests is not waited for any more. False where it did not rest.
    pub(crate) fn end_rest(&mut self, id: EventId) -> bool {
        let before = self.resting.len();
        self.resting.retain(|resting| *resting != id);
        self.resting.len() < before
    }

    /// Pending again, for what it asked before, without a timeout unless `set_timeout` gives one.
    pub fn enable(&mut self, id: EventId) -> Result<(), Error> {
        self.add(id, Timeout::Keep)
    }

    /// Starts, replaces or (with `None`) ends an event's timeout; a timer becomes pending by it.
    pub fn set_timeout(&mut self, id: EventId, timeout: impl Into<After>) -> Result<(), Error> {
        let timeout = timeout.into().0;
        if self.engine.reactor().is_listed(id) || timeout != Timeout::Never {
            return self.add(id, timeout);
        }
        self.engine.del(id);
        Ok(())
    }

    /// Replaces what an event asks of its descriptor; told to the kernel before the next poll.
    pub fn set_interest(&mut self, id: EventId, interest: Interest) -> Result<(), Error> {
        let backend = self.engine.backend().name();
        self.engine.set_interest(id, interest).map_err(|refused| Error::from_refusal(refused, backend))
    }

    pub(crate) fn add(&mut self, id: EventId, timeout: Timeout) -> Result<(), Error> {
        self.engine.add(id, timeout).map_err(|refused| self.refusal(refused))
    }

    #[cold]
    pub(crate) fn refusal(&mut self, refused: Refused) -> Error {
        Error::from_refusal(refused, self.engine.backend().name())
    }

    pub(crate) fn rearm(&mut self, id: EventId, rearm: Rearm) {
        if !self.engine.exists(id) {
            return; // removed by its own callback, which then asked to be re-armed: removal wins
        }
        let (interest, timeout) = rearm.parts();
        let outcome = match interest {
            Some(interest) => self.set_interest(id, interest),
            None => Ok(()),
        };
        if let Err(error) = outcome.and_then(|()| self.add(id, timeout)) {
            log::warn!("an event could not be re-armed and is not pending: {error}");
        }
    }

    /// The event whose callback is running.
    pub fn current(&self) -> Option<EventId> {
        if self.running == NOBODY { self.looked_at } else { Some(self.engine.id_at(self.running & !ASKED)) }
    }

    /// Has the running callback's return look at what has changed: its event is destroyed, or the pass ends.
    fn look_closer(&mut self) {
        self.looked_at = self.current();
        self.running = NOBODY;
    }

    /// Whether the event waits for something.
    pub fn is_pending(&self, id: EventId) -> bool {
        self.engine.is_pending(id)
    }
    /// Whether the id still names an event.
    pub fn exists(&self, id: EventId) -> bool {
        self.engine.exists(id)
    }
    /// When the event times out, if it does.
    pub fn deadline(&self, id: EventId) -> Option<Instant> {
        self.engine.reactor().deadline(id)
    }

    /// A way into this loop from other threads.
    pub fn handle(&self) -> Handle<D> {
        Handle { shared: Arc::clone(&self.shared.0) }
    }

    /// Ends the run after the callbacks of this pass (libevent's loopexit).
    pub fn stop(&mut self) {
        if self.course != Course::Break {
            self.course = Course::Stop;
        }
    }
    /// Ends the run after the present callback; what is due stays due (loopbreak).
    pub fn break_now(&mut self) {
        self.course = Course::Break;
        self.look_closer();
    }
    /// Polls again after the present callback; what is due stays due (loopcontinue).
    pub fn continue_now(&mut self) {
        if self.course == Course::Run {
            self.course = Course::Continue;
            self.look_closer();
        }
    }
    /// Stops after `delay`.
    pub fn exit_after(&mut self, delay: Duration) -> EventId {
        self.after(delay, |ctx| ctx.stop())
    }

    /// The time of this turn, on the loop's clock: read at most once a turn.
    pub fn now(&mut self) -> Instant {
        self.engine.now()
    }
    /// `select`, `poll`, `epoll` or `io_uring`.
    pub fn backend_name(&mut self) -> &'static str {
        self.engine.backend().name()
    }
    /// What the backend can do.
    pub fn features(&mut self) -> Features {
        self.engine.backend().features()
    }
    /// Why this is not the backend that was asked for; `None` where it is.
    pub fn fallback(&self) -> Option<&str> {
        self.fallback.as_deref()
    }
    /// Why streams are on readiness though completions were asked for ([`crate::Config::stream_completions`]); `None`
    /// where they are not, or were not asked for. Whether they are, `features().transfers` says.
    pub fn stream_fallback(&self) -> Option<&str> {
        self.readiness.as_deref()
    }
    /// What hands that complete have done for streams; all zero on others.
    pub fn transfers_done(&mut self) -> TransferCounters {
        self.engine.backend().transfers().map_or_else(TransferCounters::default, |hands| hands.counters())
    }
    /// What the loop has done so far.
    pub fn stats(&self) -> Stats {
        let engine = self.engine.counters();
        Stats { engine, callbacks: engine.activations, ..self.stats }
    }
}
