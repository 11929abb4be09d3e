//! How an event is to be told, and what a callback wants to happen next.

use duolu_core::{CommonTimeout, Instant, Interest, Timeout, Trigger};
use std::time::Duration;

/// What to watch a descriptor for, and how. An [`Interest`] alone converts: level-triggered, persistent, no
/// timeout, the middle priority.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub(crate) interest: Interest,
    pub(crate) trigger: Trigger,
    pub(crate) persist: bool,
    pub(crate) exclusive: bool,
    pub(crate) priority: Option<u8>,
    pub(crate) timeout: Timeout,
}

impl Options {
    /// Level-triggered and persistent.
    pub const fn new(interest: Interest) -> Self {
        Options {
            interest,
            trigger: Trigger::Level,
            persist: true,
            exclusive: false,
            priority: None,
            timeout: Timeout::Keep,
        }
    }
    /// Told once for each new event (EPOLLET): drain until EAGAIN or a short read.
    pub const fn edge(mut self) -> Self {
        self.trigger = Trigger::Edge;
        self
    }
    /// Told once, then silent until [`Rearm`]ed (EPOLLONESHOT).
    pub const fn one_shot(mut self) -> Self {
        self.trigger = Trigger::OneShot;
        self
    }
    /// The trigger by name.
    pub const fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }
    /// Not persistent (libevent's default): after one callback it is no longer pending until re-armed. Costs
    /// no system call when it is re-armed in its own callback.
    pub const fn once(mut self) -> Self {
        self.persist = false;
        self
    }
    /// 0 is the most urgent; must be below `Config::priorities`. Default: the middle one, as in libevent.
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }
    /// Calls back with `Ready::TIMEOUT` when nothing happened for so long. Starts anew with every callback.
    pub fn timeout(mut self, timeout: impl Into<After>) -> Self {
        self.timeout = timeout.into().0;
        self
    }
    /// Several loops watch this descriptor and it is enough to wake one (EPOLLEXCLUSIVE): for listeners
    /// shared by threads. Without the feature (`Features::exclusive`) all are woken.
    pub const fn exclusive(mut self) -> Self {
        self.exclusive = true;
        self
    }
}

impl From<Interest> for Options {
    fn from(interest: Interest) -> Self {
        Options::new(interest)
    }
}

/// How long from now: a `Duration`, a [`CommonTimeout`] that many events share, or an [`Instant`].
#[derive(Clone, Copy, Debug)]
pub struct After(pub(crate) Timeout);

impl From<Duration> for After {
    fn from(duration: Duration) -> Self {
        After(Timeout::After(duolu_core::time::duration_nanos(duration)))
    }
}
impl From<CommonTimeout> for After {
    fn from(queue: CommonTimeout) -> Self {
        After(Timeout::Common(queue))
    }
}
impl From<Instant> for After {
    fn from(deadline: Instant) -> Self {
        After(Timeout::At(deadline))
    }
}
impl From<Option<Duration>> for After {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(After(Timeout::Never), After::from)
    }
}

/// What a callback wants to happen next.
#[must_use = "tell the loop what happens next"]
#[derive(Clone, Copy, Debug)]
pub enum Next {
    /// Nothing changes: a persistent event goes on, another stays registered but is not pending.
    Keep,
    /// Pending again, perhaps for something else.
    Rearm(Rearm),
    /// Deregistered, then dropped: the descriptor is closed, the callback's state freed.
    Remove,
}

impl Next {
    /// `Next::Rearm` for what it asked before.
    pub const fn again() -> Next {
        Next::Rearm(Rearm::again())
    }
    /// `Next::Rearm` with another interest.
    pub const fn interest(interest: Interest) -> Next {
        Next::Rearm(Rearm::again().interest(interest))
    }
    /// `Next::Rearm` with a timeout (for a timer: its next turn).
    pub fn after(timeout: impl Into<After>) -> Next {
        Next::Rearm(Rearm::again().after(timeout))
    }
}

/// How an event becomes pending again.
#[derive(Clone, Copy, Debug)]
pub struct Rearm(How);

/// The interest, if it is to change, and the timeout. Not as a pair of two fields: so it takes 16 bytes, padding
/// included, and what a callback returns travels in two registers.
#[derive(Clone, Copy, Debug)]
enum How {
    Keep(Option<Interest>),
    Never(Option<Interest>),
    After(Option<Interest>, u64),
    At(Option<Interest>, Instant),
    Common(Option<Interest>, CommonTimeout),
}

const _: () = assert!(size_of::<Next>() == 16);

impl Rearm {
    /// For what it asked before.
    pub const fn again() -> Self {
        Rearm(How::Keep(None))
    }
    /// For something else.
    pub const fn interest(self, interest: Interest) -> Self {
        let (_, timeout) = self.parts();
        Rearm::from_parts(Some(interest), timeout)
    }
    /// With a timeout from now.
    pub fn after(self, timeout: impl Into<After>) -> Self {
        let (interest, _) = self.parts();
        Rearm::from_parts(interest, timeout.into().0)
    }

    const fn from_parts(interest: Option<Interest>, timeout: Timeout) -> Self {
        Rearm(match timeout {
            Timeout::Keep => How::Keep(interest),
            Timeout::Never => How::Never(interest),
            Timeout::After(ns) => How::After(interest, ns),
            Timeout::At(deadline) => How::At(interest, deadline),
            Timeout::Common(queue) => How::Common(interest, queue),
        })
    }

    pub(crate) const fn parts(self) -> (Option<Interest>, Timeout) {
        match self.0 {
            How::Keep(interest) => (interest, Timeout::Keep),
            How::Never(interest) => (interest, Timeout::Never),
            How::After(interest, ns) => (interest, Timeout::After(ns)),
            How::At(interest, deadline) => (interest, Timeout::At(deadline)),
            How::Common(interest, queue) => (interest, Timeout::Common(queue)),
        }
    }
}
