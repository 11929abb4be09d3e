//! What a scenario works with: an engine, a world of descriptors, and turns.

use crate::real::Real;
use crate::simulated::Simulated;
use duolu_core::{
    Active, Backend, Clock, Engine, EventId, EventSpec, Features, Instant, Interest, RawFd, Ready, Source,
    Timeout,
};
use duolu_sim::{Personality, Sim};
use duolu_sys::backend::BackendKind;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

/// A millisecond.
pub const MS: u64 = 1_000_000;
/// How long a turn that must bring something may take. Never used up where all is well.
const PATIENCE_NS: u64 = 2_000 * MS;

/// Set to 1: io_uring cannot be had here, and that is known. Otherwise its scenarios fail.
const NO_URING: &str = "DUOLU_TEST_NO_URING";

/// Ends the test run if a real wait never ends. Dropping what it returns calls it off.
fn watchdog() -> mpsc::Sender<()> {
    let (alive, watched) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("a scenario").to_owned();
    std::thread::spawn(move || {
        if watched.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name}: still waiting after a minute");
            std::process::exit(101);
        }
    });
    alive
}

/// Descriptors, bytes and time: made of real ones or of simulated ones.
pub trait World {
    /// Two connected stream sockets that do not block.
    fn stream_pair(&mut self) -> (RawFd, RawFd);
    /// A pipe: (read from, write to).
    fn pipe(&mut self) -> (RawFd, RawFd);
    fn regular_file(&mut self) -> RawFd;
    fn dup(&mut self, fd: RawFd) -> RawFd;
    fn close(&mut self, fd: RawFd);
    fn shutdown_write(&mut self, fd: RawFd);
    /// How many bytes were taken; 0 where it would block.
    fn write(&mut self, fd: RawFd, bytes: &[u8]) -> usize;
    /// Up to `max` of the bytes that are there. `None` where it would block; only for descriptors of a stream pair.
    fn read(&mut self, fd: RawFd, max: usize) -> Option<Vec<u8>>;
    fn sleep(&mut self, ns: u64);
    /// The simulated machine, where it is one.
    fn sim(&self) -> Option<Sim> {
        None
    }
}

/// A clock of either world.
pub struct AnyClock(pub Rc<dyn Clock>);

impl Clock for AnyClock {
    fn now(&self) -> Instant {
        self.0.now()
    }
}

/// Which backend a scenario is played on.
#[derive(Clone, Copy, Debug)]
pub enum Hands {
    Sim(Personality),
    Real(BackendKind),
}

impl Hands {
    pub const SIM_EPOLL: Hands = Hands::Sim(Personality::Epoll);
    pub const SIM_POLL: Hands = Hands::Sim(Personality::Poll);
    pub const SIM_SELECT: Hands = Hands::Sim(Personality::Select);
    pub const SIM_IO_URING: Hands = Hands::Sim(Personality::Uring);
    pub const SELECT: Hands = Hands::Real(BackendKind::Select);
    pub const POLL: Hands = Hands::Real(BackendKind::Poll);
    pub const EPOLL: Hands = Hands::Real(BackendKind::Epoll);
    pub const IO_URING: Hands = Hands::Real(BackendKind::IoUring);

    /// Plays one scenario. Real ones one at a time: they count on the numbers of their descriptors.
    pub fn play(self, scenario: fn(&mut Stage)) {
        match self {
            Hands::Sim(personality) => {
                let sim = Sim::new(1);
                let backend = Box::new(sim.backend(personality));
                let clock = AnyClock(Rc::new(sim.clock()));
                Stage::new(backend, clock, Box::new(Simulated(sim))).play(scenario);
            }
            Hands::Real(kind) => {
                let (world, alone) = Real::new();
                let _watchdog = watchdog();
                match duolu_sys::backend::open(kind) {
                    Ok(backend) => {
                        let clock = AnyClock(Rc::new(duolu_sys::MonotonicClock));
                        Stage::new(backend, clock, Box::new(world)).play(scenario);
                    }
                    Err(unavailable) => {
                        let known = kind == BackendKind::IoUring
                            && std::env::var_os(NO_URING).is_some_and(|v| v == "1");
                        assert!(known, "{unavailable}; {NO_URING}=1 leaves io_uring out");
                    }
                }
                drop(alone);
            }
        }
    }
}

/// An event and why it was told, without HANGUP, ERROR and INVALID, which not every backend tells.
pub type Told = (EventId, Ready);

/// The stage.
pub struct Stage {
    pub engine: Engine<dyn Backend, AnyClock>,
    pub world: Box<dyn World>,
}

impl Stage {
    fn new(backend: Box<dyn Backend>, clock: AnyClock, world: Box<dyn World>) -> Self {
        Stage { engine: Engine::new(backend, clock, 8), world }
    }

    fn play(mut self, scenario: fn(&mut Stage)) {
        scenario(&mut self);
        self.engine.verify();
    }

    pub fn features(&mut self) -> Features {
        self.engine.backend().features()
    }

    pub fn now_ns(&self) -> u64 {
        self.engine.clock().now().as_nanos()
    }

    // Events.

    /// A persistent level event, pending.
    pub fn watch(&mut self, fd: RawFd, interest: Interest) -> EventId {
        self.add_spec(EventSpec::fd(fd, interest))
    }

    /// The same, for a descriptor that the loop holds open.
    pub fn watch_owned(&mut self, fd: RawFd, interest: Interest) -> EventId {
        self.add_spec(EventSpec { owned: true, ..EventSpec::fd(fd, interest) })
    }

    pub fn add_spec(&mut self, spec: EventSpec) -> EventId {
        let id = self.engine.create(spec).expect("a sound event");
        self.engine.add(id, Timeout::Keep).expect("a sound descriptor");
        id
    }

    /// A timer, pending.
    pub fn timer(&mut self, timeout: Timeout) -> EventId {
        let id = self.user_event(0);
        self.engine.add(id, timeout).expect("a timer");
        id
    }

    /// Known and not pending, with that priority.
    pub fn user_event(&mut self, priority: u8) -> EventId {
        self.engine.create(EventSpec { priority, ..EventSpec::new() }).expect("an event")
    }

    pub fn signal_event(&mut self, signo: i32) -> EventId {
        self.add_spec(EventSpec { source: Source::Signal(signo), persist: true, ..EventSpec::new() })
    }

    pub fn del(&mut self, id: EventId) {
        assert!(self.engine.del(id), "{id:?} was neither pending nor active");
    }

    pub fn add(&mut self, id: EventId, timeout: Timeout) {
        self.engine.add(id, timeout).expect("an addition");
        assert!(self.engine.is_pending(id) || timeout == Timeout::Keep);
    }

    // Turns.

    /// One poll and everything it makes due, in order; `callback` runs for each.
    pub fn turn_with(&mut self, limit_ns: u64, mut callback: impl FnMut(&mut Stage, Active)) -> Vec<Active> {
        self.engine.poll(Some(limit_ns)).expect("a wait");
        self.engine.verify();
        let mut all = Vec::new();
        while let Some(active) = self.engine.next_active() {
            callback(self, active);
            self.engine.verify();
            all.push(active);
            assert!(all.len() < 10_000, "a turn without end");
        }
        all
    }

    /// A turn that must bring something: what it told, in order.
    pub fn turn(&mut self) -> Vec<Told> {
        let trouble = Ready::HANGUP | Ready::ERROR | Ready::INVALID;
        let told = self.turn_with(PATIENCE_NS, |_, _| {});
        told.into_iter().map(|active| (active.id, active.ready - trouble)).collect()
    }

    /// The same, sorted by event: where the order is the kernel's business.
    pub fn turn_sorted(&mut self) -> Vec<Told> {
        let mut told = self.turn();
        told.sort_by_key(|&(id, _)| id);
        told
    }

    /// Nothing is due, not in the second turn either.
    pub fn quiet(&mut self) {
        for _ in 0..2 {
            assert_eq!(self.turn_with(0, |_, _| {}), [], "nothing is due");
        }
    }

    /// Whatever is told within a few turns: for where a backend may tell or keep silent. Then it is quiet.
    pub fn settle(&mut self) -> Vec<Active> {
        let mut all = Vec::new();
        for _ in 0..10 {
            all.extend(self.turn_with(0, |_, _| {}));
        }
        self.quiet();
        all
    }

    /// Turns that would sleep for a millisecond each: true if they did, and nothing was told but now and then.
    pub fn sleeps(&mut self) -> bool {
        let mut woken = 0;
        for _ in 0..5 {
            let start_ns = self.now_ns();
            let told = self.turn_with(MS, |_, _| {});
            woken += usize::from(!told.is_empty() || self.now_ns() - start_ns < MS);
        }
        woken <= 3
    }

    /// How many changes the kernel was told so far.
    pub fn changes(&self) -> u64 {
        self.engine.counters().changes
    }

    // The world.

    pub fn write(&mut self, fd: RawFd, bytes: &[u8]) {
        assert_eq!(self.world.write(fd, bytes), bytes.len());
    }

    /// Writes until it would block.
    pub fn fill(&mut self, fd: RawFd) {
        while self.world.write(fd, &[7; 4096]) > 0 {}
    }

    /// Takes all that is there, or what would have to be waited for: nothing.
    pub fn drain(&mut self, fd: RawFd) -> usize {
        let mut count = 0;
        while let Some(bytes) = self.world.read(fd, 1 << 16).filter(|bytes| !bytes.is_empty()) {
            count += bytes.len();
        }
        count
    }

    /// A new stream whose first end has exactly that number, and its peer's number.
    pub fn open_as(&mut self, number: RawFd) -> RawFd {
        for _ in 0..64 {
            let (a, b) = self.world.stream_pair();
            if a == number {
                return b;
            }
            if b == number {
                return a;
            }
        }
        panic!("number {number} is not free");
    }
}
