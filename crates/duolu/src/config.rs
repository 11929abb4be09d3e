//! How a loop is to be made.

use crate::context::{AnyClock, Context};
use crate::event_loop::EventLoop;
use crate::handle::Shared;
use duolu_core::{Backend, Budget, Clock, Engine};
use duolu_sys::backend::{BackendKind, choose, choose_completing};
use duolu_sys::clock::MonotonicClock;
use duolu_sys::sync::atomic::{AtomicU32, Ordering};
use duolu_sys::waker::Waker;
use std::io;
use std::time::Duration;

/// The environment variable that chooses a backend where the program does not.
pub const BACKEND_VARIABLE: &str = "DUOLU_BACKEND";

/// The environment variable that says how streams' bytes are moved where the program does not: `completions` or
/// `readiness`. See [`Config::stream_completions`].
pub const STREAMS_VARIABLE: &str = "DUOLU_STREAMS";

/// How a loop is to be made. The default: epoll (or what DUOLU_BACKEND names), one priority, no budget.
#[derive(Clone, Debug)]
pub struct Config {
    backend: Option<BackendKind>,
    avoid: Vec<BackendKind>,
    ignore_environment: bool,
    priorities: u16,
    budget: Budget,
    max_interval: Option<Duration>,
    stream_completions: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            backend: None,
            avoid: Vec::new(),
            ignore_environment: false,
            priorities: 1,
            budget: Budget { max_callbacks: u32::MAX, from_priority: 0 },
            max_interval: None,
            stream_completions: None,
        }
    }
}

impl Config {
    /// The default.
    pub fn new() -> Self {
        Config::default()
    }
    /// This backend, whatever the environment says. Where it is unavailable the next best is taken, and
    /// `Context::fallback` says why.
    pub fn backend(mut self, kind: BackendKind) -> Self {
        self.backend = Some(kind);
        self
    }
    /// Never this backend.
    pub fn avoid(mut self, kind: BackendKind) -> Self {
        self.avoid.push(kind);
        self
    }
    /// Streams over plain sockets are received from and sent to by io_uring itself: whatever came and went in a turn costs
    /// one system call together, instead of two for each message. Programs stay as they are. Takes io_uring unless
    /// another backend was named. Where it is unavailable streams stay on readiness, and `Context::stream_fallback` says
    /// why. Off unless asked for, here or by DUOLU_STREAMS=completions. Linux 6.0; best from 6.12 on.
    pub fn stream_completions(mut self, on: bool) -> Self {
        self.stream_completions = Some(on);
        self
    }
    /// Does not look at DUOLU_BACKEND and DUOLU_STREAMS.
    pub fn ignore_environment(mut self) -> Self {
        self.ignore_environment = true;
        self
    }
    /// So many priority queues, 1 to 256; 0 is the most urgent, events get the middle one unless they say otherwise.
    pub fn priorities(mut self, priorities: u16) -> Self {
        self.priorities = priorities.clamp(1, 256);
        self
    }
    /// Polls again after so many callbacks, so that urgent events need not wait for a long queue of others. At
    /// least 1.
    pub fn max_callbacks(mut self, callbacks: u32) -> Self {
        self.budget.max_callbacks = callbacks.max(1);
        self
    }
    /// Polls again when callbacks have run for so long. Costs a clock reading per callback.
    pub fn max_interval(mut self, interval: Duration) -> Self {
        self.max_interval = Some(interval);
        self
    }
    /// The budgets cut short only queues of this priority and less urgent ones.
    pub fn budget_from_priority(mut self, priority: u8) -> Self {
        self.budget.from_priority = priority;
        self
    }

    /// Makes the loop. Fails when the process is out of descriptors, when no backend is left, or when
    /// DUOLU_BACKEND names none.
    pub fn build<D: 'static>(self, data: D) -> io::Result<EventLoop<D>> {
        let preferred = match self.backend {
            Some(kind) => Some(kind),
            None if self.ignore_environment => None,
            None => backend_from_environment()?,
        };
        let completions = match self.stream_completions {
            Some(on) => on,
            None => !self.ignore_environment && completions_from_environment()?,
        };
        let choose = if completions { choose_completing } else { choose };
        let choice = choose(preferred, &self.avoid).map_err(|reason| {
            io::Error::new(io::ErrorKind::Unsupported, format!("no backend is left: {reason}"))
        })?;
        for reason in [&choice.fallback, &choice.readiness].into_iter().flatten() {
            log::warn!("{reason}");
        }
        let mut event_loop = self.assemble(choice.backend, MonotonicClock, data)?;
        event_loop.fallback = choice.fallback;
        event_loop.readiness = choice.readiness;
        event_loop.carries = event_loop.features().transfers;
        if event_loop.carries {
            event_loop.blocks.borrow_mut().keep(crate::stream::MOST_BLOCKS_CARRIED);
        }
        event_loop.watch_waker()?;
        Ok(event_loop)
    }

    /// Makes a loop on other hands, such as `duolu-sim`'s, with a clock of their own. Posts from other threads
    /// are taken up at the next turn but do not end a wait, and signals cannot be watched.
    pub fn build_on<D: 'static>(
        self,
        backend: Box<dyn Backend>,
        clock: impl Clock + 'static,
        data: D,
    ) -> io::Result<EventLoop<D>> {
        self.assemble(backend, clock, data)
    }

    fn assemble<D: 'static>(
        self,
        backend: Box<dyn Backend>,
        clock: impl Clock + 'static,
        data: D,
    ) -> io::Result<EventLoop<D>> {
        let waker = Waker::new().map_err(|errno| io::Error::from_raw_os_error(errno.0))?;
        let mut engine = Engine::new(backend, AnyClock(Box::new(clock)), self.priorities);
        engine.set_budget(self.budget);
        // An id of one loop given to another by mistake must name nothing there, least of all the loop's own waker.
        static LOOPS: AtomicU32 = AtomicU32::new(0);
        engine.number_from(LOOPS.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B1));
        let context = Context::new(engine, Shared::new(waker), self.priorities, data);
        Ok(EventLoop::assemble(context, self.max_interval, self.budget.from_priority))
    }
}

fn backend_from_environment() -> io::Result<Option<BackendKind>> {
    let Some(value) = std::env::var_os(BACKEND_VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_string_lossy();
    text.parse().map(Some).map_err(|_| {
        let names: Vec<String> = BackendKind::ALL.iter().map(ToString::to_string).collect();
        let message = format!("{BACKEND_VARIABLE}={text} names no backend; use one of {}", names.join(", "));
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

fn completions_from_environment() -> io::Result<bool> {
    let value = std::env::var_os(STREAMS_VARIABLE).unwrap_or_default();
    match &*value.to_string_lossy() {
        "" | "readiness" => Ok(false),
        "completions" => Ok(true),
        other => {
            let message = format!("{STREAMS_VARIABLE}={other} is neither completions nor readiness");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}
