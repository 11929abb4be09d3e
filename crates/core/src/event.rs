//! One event: what is waited for, and where it stands.

use crate::backend::RawFd;
use crate::interest::{Interest, Ready, Trigger};
use crate::timers::TimerId;

/// The end of an intrusive list.
pub(crate) const NONE: u32 = u32::MAX;

/// What an event waits on, besides time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Readiness of a descriptor.
    Fd(RawFd),
    /// Arrival of a signal.
    Signal(i32),
    /// Nothing: a pure timer, or an event the program activates itself.
    None,
}

/// What an event is to be, given once when it is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventSpec {
    /// What it waits on.
    pub source: Source,
    /// What it asks of a descriptor; empty for other sources.
    pub interest: Interest,
    /// How often it is told. All events on one descriptor must agree.
    pub trigger: Trigger,
    /// Stays pending after its callback (libevent's EV_PERSIST).
    pub persist: bool,
    /// The queue: 0 is the most urgent.
    pub priority: u8,
    /// The loop itself holds the descriptor open as long as the event exists, so its number cannot come to
    /// mean another file. Lets the brain skip the system call when an unchanged event is removed and added again.
    pub owned: bool,
    /// Several loops watch this descriptor and one of them is enough to wake (EPOLLEXCLUSIVE).
    pub exclusive: bool,
    /// Does not keep the loop running (the loop's own waker).
    pub internal: bool,
}

impl EventSpec {
    /// A pure timer or user-triggered event, priority 0, not persistent.
    pub const fn new() -> Self {
        EventSpec {
            source: Source::None,
            interest: Interest::NONE,
            trigger: Trigger::Level,
            persist: false,
            priority: 0,
            owned: false,
            exclusive: false,
            internal: false,
        }
    }
    /// A persistent, level-triggered event on a descriptor.
    pub const fn fd(fd: RawFd, interest: Interest) -> Self {
        EventSpec { source: Source::Fd(fd), interest, persist: true, ..EventSpec::new() }
    }
    /// A persistent event on a signal.
    pub const fn signal(signo: i32) -> Self {
        EventSpec { source: Source::Signal(signo), persist: true, ..EventSpec::new() }
    }
}

impl Default for EventSpec {
    fn default() -> Self {
        EventSpec::new()
    }
}

/// A due event, by value: nothing stays borrowed while its callback runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Active {
    /// Which event.
    pub id: EventId,
    /// Why.
    pub ready: Ready,
    /// How many signals were merged into this one call; 0 for other events. Stops at 65,535.
    pub count: u16,
    /// It is not pending any more and its slot has been given up before its callback ([`Rules::release_done`]).
    ///
    /// [`Rules::release_done`]: crate::Rules::release_done
    pub released: bool,
}

pub use crate::slots::EventId;

/// A u64 that is aligned like a u32, so that an event and its slot's generation fill 40 bytes exactly.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Packed([u32; 2]);

impl Packed {
    #[inline]
    pub(crate) const fn new(value: u64) -> Self {
        Packed([value as u32, (value >> 32) as u32])
    }
    #[inline]
    pub(crate) const fn get(self) -> u64 {
        self.0[0] as u64 | (self.0[1] as u64) << 32
    }
}

/// The event in its slot.
#[derive(Debug)]
pub(crate) struct Event {
    /// The timeout it was last added with, for re-arming persistent ones; 0 = none.
    pub(crate) period_ns: Packed,
    /// Descriptor or signal number; -1 for neither.
    pub(crate) number: i32,
    /// The next pending event on the same descriptor or signal.
    pub(crate) next: u32,
    pub(crate) active_prev: u32,
    pub(crate) active_next: u32,
    pub(crate) timer: TimerId,
    /// Collected since the last callback.
    ready: u16,
    pub(crate) count: u16,
    pub(crate) interest: Interest,
    pub(crate) priority: u8,
    pub(crate) kind: u8,
    pub(crate) state: u8,
}

// kind: set at creation.
pub(crate) const ON_FD: u8 = 1;
pub(crate) const ON_SIGNAL: u8 = 2;
pub(crate) const PERSIST: u8 = 4;
pub(crate) const EDGE: u8 = 8;
pub(crate) const ONE_SHOT: u8 = 16;
pub(crate) const OWNED: u8 = 32;
pub(crate) const INTERNAL: u8 = 64;
pub(crate) const EXCLUSIVE: u8 = 128;

// state: where it stands.
/// Linked into its descriptor's or signal's list.
pub(crate) const LISTED: u8 = 1;
/// In the active queue.
pub(crate) const ACTIVE: u8 = 2;
/// Added, and neither fired for good nor removed. A pure timer is pending exactly while its timer is armed.
pub(crate) const PENDING: u8 = 4;
/// Its period is a common timeout's.
pub(crate) const COMMON: u8 = 8;
/// Being handed out changes nothing about it: see [`Event::is_simple`].
pub(crate) const SIMPLE: u8 = 16;

impl Event {
    pub(crate) fn new(spec: &EventSpec) -> Self {
        let (number, mut kind) = match spec.source {
            Source::Fd(fd) => (fd, ON_FD),
            Source::Signal(signo) => (signo, ON_SIGNAL),
            Source::None => (-1, 0),
        };
        for (flag, set) in [
            (PERSIST, spec.persist),
            (EDGE, spec.trigger == Trigger::Edge),
            (ONE_SHOT, spec.trigger == Trigger::OneShot),
            (OWNED, spec.owned),
            (INTERNAL, spec.internal),
            (EXCLUSIVE, spec.exclusive),
        ] {
            kind |= if set { flag } else { 0 };
        }
        let mut event = Event {
            period_ns: Packed::default(),
            number,
            next: NONE,
            active_prev: NONE,
            active_next: NONE,
            timer: TimerId::NONE,
            ready: 0,
            count: 0,
            interest: spec.interest,
            priority: spec.priority,
            kind,
            state: 0,
        };
        event.set_period(0);
        event
    }

    /// What waits for time only, once, and does already.
    #[inline(always)]
    pub(crate) fn timer(timer: TimerId, priority: u8) -> Self {
        Event {
            period_ns: Packed::default(),
            number: -1,
            next: NONE,
            active_prev: NONE,
            active_next: NONE,
            timer,
            ready: 0,
            count: 0,
            interest: Interest::NONE,
            priority,
            kind: 0,
            state: PENDING,
        }
    }

    /// Such a one is to wait again and again.
    #[inline(never)]
    pub(crate) fn make_periodic(&mut self, period_ns: u64) {
        self.kind = PERSIST;
        self.set_period(period_ns);
    }

    /// Sets the period, and SIMPLE with it.
    pub(crate) fn set_period(&mut self, ns: u64) {
        self.period_ns = Packed::new(ns);
        self.state = self.state & !SIMPLE | if self.is_simple() { SIMPLE } else { 0 };
    }

    /// Persistent, not one-shot and without a timeout that starts anew.
    pub(crate) fn is_simple(&self) -> bool {
        self.kind & (PERSIST | ONE_SHOT | INTERNAL) == PERSIST && self.period_ns.get() == 0
    }

    /// Persistent, not one-shot, and with a timeout that starts anew.
    #[inline]
    pub(crate) fn is_periodic(&self) -> bool {
        self.kind & (PERSIST | ONE_SHOT | INTERNAL) == PERSIST && self.period_ns.get() > 0
    }

    /// Collected since the last callback.
    #[inline]
    pub(crate) fn ready(&self) -> Ready {
        Ready::from_bits(u32::from(self.ready))
    }

    #[inline]
    pub(crate) fn set_ready(&mut self, ready: Ready) {
        self.ready = ready.bits() as u16;
    }

    #[inline]
    pub(crate) fn is(&self, kind: u8) -> bool {
        self.kind & kind != 0
    }
    #[inline]
    pub(crate) fn has(&self, state: u8) -> bool {
        self.state & state != 0
    }
    pub(crate) fn trigger(&self) -> Trigger {
        match self.kind & (EDGE | ONE_SHOT) {
            0 => Trigger::Level,
            EDGE => Trigger::Edge,
            _ => Trigger::OneShot,
        }
    }
}

const _: () = assert!(size_of::<Event>() == 36, "with its generation an event fills 40 bytes");
