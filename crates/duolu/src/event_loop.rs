//! The loop itself. `EventLoop::thorough_turn` reads as a table of contents:
//! posts, prepare hooks, poll (changes out, wait, reports in, timers), check hooks, dispatch, idle hooks.

use crate::config::Config;
use crate::context::{Context, Course, NOBODY};
use crate::hooks::When;
use crate::object::{Cause, Object, OnActive};
use crate::options::Next;
use crate::stats::SlowCallback;
use duolu_core::{Active, Errno, EventSpec, Interest, Timeout};
use duolu_sys::prefetch::prefetch;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

/// Why a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Nothing is pending, so nothing could ever happen.
    Empty,
    /// `stop`, `break_now`, `exit_after` or `Handle::stop`.
    Stopped,
}

/// A callback event loop. `D` is the user's data, which every callback reaches through its [`Context`].
///
/// It lives on the thread that made it; [`Context::handle`] reaches it from others.
///
/// ```compile_fail
/// let event_loop = duolu::EventLoop::new().unwrap();
/// std::thread::spawn(move || drop(event_loop)); // the loop is not Send
/// ```
///
/// What the loop watches it owns, so a callback cannot close it behind the loop's back:
///
/// ```compile_fail
/// # use duolu::*;
/// # let mut event_loop = EventLoop::new().unwrap();
/// # let stream = std::net::TcpStream::connect("127.0.0.1:9").unwrap();
/// event_loop.register(stream, Interest::READ, |_, stream: &std::net::TcpStream, _| {
///     drop(*stream); // cannot move out of a reference
///     Next::Keep
/// });
/// ```
pub struct EventLoop<D = ()> {
    context: Context<D>,
    max_interval_ns: Option<u64>,
    interval_from_priority: u8,
    /// The waker ends a wait; on other hands posts are looked for at every turn.
    waker_watched: bool,
    /// Every turn has more to do than most loops' have.
    thorough: bool,
    _not_send: PhantomData<*const ()>,
}

impl<D> Deref for EventLoop<D> {
    type Target = Context<D>;
    fn deref(&self) -> &Context<D> {
        &self.context
    }
}

impl<D> DerefMut for EventLoop<D> {
    fn deref_mut(&mut self) -> &mut Context<D> {
        &mut self.context
    }
}

impl EventLoop<()> {
    /// A loop without data. See [`Config`] for choices.
    pub fn new() -> io::Result<Self> {
        Config::new().build(())
    }
}

impl<D: 'static> EventLoop<D> {
    /// A loop with data.
    pub fn with_data(data: D) -> io::Result<Self> {
        Config::new().build(data)
    }

    pub(crate) fn assemble(context: Context<D>, max_interval: Option<Duration>, from_priority: u8) -> Self {
        EventLoop {
            context,
            max_interval_ns: max_interval.map(duolu_core::time::duration_nanos),
            interval_from_priority: from_priority,
            waker_watched: false,
            thorough: true,
            _not_send: PhantomData,
        }
    }

    /// Has the waker end the wait: an internal event like any other.
    pub(crate) fn watch_waker(&mut self) -> io::Result<()> {
        let fd = self.context.shared.waker.as_fd().as_raw_fd();
        let spec = EventSpec { owned: true, internal: true, ..EventSpec::fd(fd, Interest::READ) };
        let object = OnActive(|ctx: &mut Context<D>, _: Cause| {
            ctx.shared.waker.drain();
            ctx.posts_wait();
            Next::Keep
        });
        self.context.install(spec, Timeout::Keep, Box::new(object))?;
        self.waker_watched = true;
        self.thorough = self.max_interval_ns.is_some();
        Ok(())
    }

    /// Runs until stopped, or until nothing is pending any more.
    pub fn run(&mut self) -> io::Result<Exit> {
        self.run_turns(false)
    }

    /// Runs until stopped, even while nothing is pending: for loops that live on what other threads post.
    pub fn run_until_stopped(&mut self) -> io::Result<()> {
        self.run_turns(true).map(drop)
    }

    fn run_turns(&mut self, even_if_empty: bool) -> io::Result<Exit> {
        self.context.course = Course::Run;
        loop {
            if !self.context.has_work() && !even_if_empty {
                return Ok(Exit::Empty);
            }
            self.turn()?;
            if self.ended() {
                return Ok(Exit::Stopped);
            }
        }
    }

    #[inline]
    fn ended(&mut self) -> bool {
        let course = self.context.course;
        if course != Course::Run {
            self.context.course = Course::Run;
        }
        matches!(course, Course::Stop | Course::Break)
    }

    /// One turn that may sleep: waits until something is due, calls it back, returns.
    pub fn run_once(&mut self) -> io::Result<()> {
        self.context.course = Course::Run;
        self.thorough_turn(None)?;
        self.ended();
        Ok(())
    }

    /// One turn that does not sleep longer than `limit`; zero only looks.
    pub fn run_for(&mut self, limit: Duration) -> io::Result<()> {
        self.context.course = Course::Run;
        self.thorough_turn(Some(duolu_core::time::duration_nanos(limit)))?;
        self.ended();
        Ok(())
    }

    /// One turn that does not sleep.
    pub fn run_nonblocking(&mut self) -> io::Result<()> {
        self.run_for(Duration::ZERO)
    }

    /// One pass; of what the head of this file lists, only what most loops have: a poll and callbacks. All in
    /// one function, for few instructions in each turn.
    #[inline(always)]
    fn turn(&mut self) -> io::Result<()> {
        if self.thorough || self.context.extras {
            return self.thorough_turn(None);
        }
        self.context.stats.turns += 1;
        self.context.engine.poll(None).map_err(io_error)?;
        self.context.dispatch();
        Ok(())
    }

    /// One pass: see the head of this file.
    #[inline(never)]
    fn thorough_turn(&mut self, limit_ns: Option<u64>) -> io::Result<()> {
        let ctx = &mut self.context;
        ctx.stats.turns += 1;
        let mut limit_ns = limit_ns;
        if !self.waker_watched {
            ctx.run_posts();
        }
        ctx.run_hooks(When::Prepare);
        if ctx.hooks.has(When::Idle) || ctx.course != Course::Run {
            limit_ns = Some(0);
        }
        ctx.engine.poll(limit_ns).map_err(io_error)?;
        ctx.run_hooks(When::Check);
        let before = ctx.engine.counters().activations;
        if ctx.course > Course::Stop {
            ctx.pass_ended();
        } else if ctx.slow.is_none() && self.max_interval_ns.is_none() {
            ctx.dispatch();
        } else {
            self.dispatch_measured();
        }
        let ctx = &mut self.context;
        if ctx.engine.counters().activations == before {
            ctx.run_hooks(When::Idle);
        }
        Ok(())
    }

    /// As `dispatch`, with the clock read around every callback.
    #[cold]
    fn dispatch_measured(&mut self) {
        let began = self.context.clock_now();
        let mut before = began;
        while self.context.course <= Course::Stop {
            let Some(active) = self.context.engine.next_active() else { break };
            let priority = self.context.engine.reactor().priority(active.id);
            self.context.call(active.id.index(), Cause::new(active.ready, active.count));
            let after = self.context.clock_now();
            self.context.measured(&active, after - before);
            before = after;
            let spent = after - began;
            if self.max_interval_ns.is_some_and(|most| spent >= most)
                && priority.is_none_or(|priority| priority >= self.interval_from_priority)
            {
                break;
            }
        }
        let stats = &mut self.context.stats;
        stats.longest_turn_ns = stats.longest_turn_ns.max(before - began);
        self.context.pass_ended();
    }

    /// After a fork, in the child: gives the loop a kernel side of its own. Everything stays pending; signals
    /// and posts reach the child's loop only. The parent's loop is not touched.
    pub fn reinit(&mut self) -> io::Result<()> {
        self.context.shared.waker.reinit().map_err(io_error)?;
        if let Some(signals) = &mut self.context.signals {
            signals.reinit()?;
        }
        self.context.engine.reinit().map_err(io_error)
    }

    /// The loop's own descriptor, for embedding in another loop: readable when [`EventLoop::run_nonblocking`]
    /// has something to do. Ask for [`EventLoop::sleep`] before every wait: it tells the kernel what was put
    /// off, and bounds the outer loop's timeout. `None` on select and poll, which have none.
    pub fn descriptor(&mut self) -> Option<RawFd> {
        self.context.engine.backend().descriptor()
    }

    /// How long an outer loop may sleep before it must call [`EventLoop::run_nonblocking`] even if the
    /// descriptor is silent; `None`: as long as it likes.
    pub fn sleep(&mut self) -> Option<Duration> {
        self.context.engine.flush();
        if self.context.hooks.has(When::Idle) || self.context.shared.has_posts() {
            return Some(Duration::ZERO);
        }
        self.context.engine.sleep_ns().map(Duration::from_nanos)
    }

    /// Ends the loop and gives the data back. Everything registered is removed and dropped.
    pub fn into_data(self) -> D {
        self.context.into_data()
    }
}

#[cold]
fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

impl<D: 'static> Context<D> {
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        self.engine.pending_count() > 0 || self.has_unusual_work()
    }

    #[inline(never)]
    fn has_unusual_work(&self) -> bool {
        self.engine.reactor().active_count() > 0 || self.hooks.has(When::Idle) || self.shared.has_posts()
    }

    fn clock_now(&self) -> u64 {
        duolu_core::Clock::now(self.engine.clock()).as_nanos()
    }

    #[inline(always)]
    fn dispatch(&mut self) {
        while if self.dispatch_plain() { self.engine.has_queued() } else { self.course <= Course::Stop } {
            self.touch_ahead();
            let Some(active) = self.engine.next_active() else { break };
            if !self.call(active.id.index(), Cause::new(active.ready, active.count))
                && self.course > Course::Stop
            {
                break;
            }
        }
        self.pass_ended();
    }

    /// Most callbacks come this way: few instructions for each. True when no report is left, false where
    /// something needs a closer look.
    #[inline(always)]
    fn dispatch_plain(&mut self) -> bool {
        while self.engine.has_reports() {
            let Some((index, ready)) = self.engine.next_plain() else { return false };
            if !self.call(index, Cause::new(ready, 0)) {
                return false;
            }
        }
        true
    }

    /// With a hundred thousand timers due every object is a wait for memory, and where it points to another; so
    /// the waits are had together.
    #[inline(always)]
    fn touch_ahead(&mut self) {
        for at in self.engine.due_batch() {
            if let Some(Some(object)) = self.objects.get(*at as usize) {
                prefetch(&**object);
            }
        }
    }

    fn pass_ended(&mut self) {
        (self.running, self.looked_at) = (NOBODY, None);
        if self.course == Course::Continue {
            self.course = Course::Run;
        }
    }

    /// One callback. Its object is out of its slot meanwhile, so that whatever the callback does to the loop,
    /// itself included, finds nothing borrowed. False where something happened that the caller must look at.
    #[inline(always)]
    fn call(&mut self, index: usize, cause: Cause) -> bool {
        let Some(mut object) = self.objects.get_mut(index).and_then(Option::take) else {
            return self.without_object(index);
        };
        self.running = index;
        let unwinding = Unwinding(self);
        object.call(unwinding.0, cause);
        std::mem::forget(unwinding);
        if self.running == index
            && let Some(slot) = self.objects.get_mut(index)
        {
            // Its event is not destroyed, so nothing has come into the slot: no need to drop what is there.
            std::mem::forget(slot.replace(object));
            return true;
        }
        self.settle(object);
        false
    }

    /// An event that lost its object (see `settle`) is removed, or it would be told in every turn.
    #[cold]
    fn without_object(&mut self, index: usize) -> bool {
        self.remove(self.engine.id_at(index));
        false
    }

    /// After a callback that did not simply keep its event.
    #[inline(never)]
    fn settle(&mut self, object: Box<dyn Object<D>>) {
        let next = std::mem::replace(&mut self.asked, Next::Keep);
        let Some(id) = self.current() else {
            // The callback has exchanged this loop's context for another's (`mem::swap`), and the engine that
            // watches the source is out of reach: it must not be closed, so it stays open for good.
            log::error!("a callback exchanged its loop for another one; what it watched is leaked");
            std::mem::forget(object);
            return;
        };
        (self.running, self.looked_at) = (NOBODY, None);
        match next {
            Next::Keep => {}
            Next::Rearm(rearm) => self.rearm(id, rearm),
            Next::Remove => {
                self.remove(id);
            }
        }
        if self.engine.exists(id) {
            self.objects[id.index()] = Some(object);
        } else {
            drop(object); // deregistered already: now the descriptor may close
        }
        if std::mem::take(&mut self.posts_waiting) {
            self.run_posts();
        }
    }

    fn measured(&mut self, active: &Active, took_ns: u64) {
        self.stats.longest_callback_ns = self.stats.longest_callback_ns.max(took_ns);
        if let Some(slow) = &mut self.slow
            && took_ns >= slow.threshold_ns
        {
            self.stats.slow_callbacks += 1;
            let took = Duration::from_nanos(took_ns);
            (slow.tell)(&SlowCallback { id: active.id, ready: active.ready, took });
        }
    }
}

/// While a callback runs. Should it panic, its event is deregistered before the object is dropped and the descriptor
/// closed with it, so that a program that catches the panic has a loop that is as good as before.
struct Unwinding<'a, D: 'static>(&'a mut Context<D>);

impl<D: 'static> Drop for Unwinding<'_, D> {
    #[cold]
    fn drop(&mut self) {
        if let Some(id) = self.0.current() {
            (self.0.running, self.0.looked_at) = (NOBODY, None);
            self.0.remove(id);
        }
    }
}
