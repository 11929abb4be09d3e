//! Two sockets joined: what comes from one goes to the other, unseen. What a program sees of it.

use super::joining;
use super::{RateGroup, Transport};
use crate::context::Context;
use crate::error::Error;
use duolu_core::stream::{Direction, Outcome, Rate, Relay, Side};
use duolu_core::time::duration_nanos;
use duolu_core::{Errno, EventId};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// How two sockets are to be joined. The default: no timeout, no limits, the middle priority; what brings much at once is
/// spliced, what brings little copied.
#[derive(Clone, Debug, Default)]
pub struct SpliceOptions {
    idle: Option<Duration>,
    rates: [Option<Rate>; 2],
    pub(super) group: Option<RateGroup>,
    pub(super) priority: Option<u8>,
    pub(super) copies: bool,
    pub(super) progress: Option<Progress>,
}

/// Who is told of what has come.
#[derive(Clone)]
pub(super) struct Progress(Rc<dyn Fn(Side, u64)>);

impl Progress {
    pub(super) fn tell(&self, from: Side, bytes: u64) {
        (self.0)(from, bytes);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a function")
    }
}

impl SpliceOptions {
    /// The default.
    pub fn new() -> Self {
        SpliceOptions::default()
    }
    /// It ends when nothing has moved either way for so long. What rests because of a rate limit is not idle.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle = Some(timeout);
        self
    }
    /// How fast bytes may come from the first socket (`Read`), or go to it (`Write`).
    pub fn rate(mut self, direction: Direction, rate: Rate) -> Self {
        self.rates[direction as usize] = Some(rate);
        self
    }
    /// Shares a group's rate, beside its own: what comes from the first socket is read, what goes to it is written.
    pub fn group(mut self, group: &RateGroup) -> Self {
        self.group = Some(group.clone());
        self
    }
    /// 0 is the most urgent; must be below `Config::priorities`.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }
    /// Never splices, and so never needs descriptors for pipes.
    pub fn copies(mut self) -> Self {
        self.copies = true;
        self
    }
    /// Tells `progress` how many bytes have come from which side, before they are given to the other. What lay unread in the
    /// inputs of two streams that are joined is told first. So a program's counters are up to date though it sees no byte;
    /// together it is what came from either side until the end.
    pub fn on_progress(mut self, progress: impl Fn(Side, u64) + 'static) -> Self {
        self.progress = Some(Progress(Rc::new(progress)));
        self
    }

    pub(super) fn apply(&self, relay: &mut Relay) {
        relay.set_idle(self.idle.map(duration_nanos));
        for direction in [Direction::Read, Direction::Write] {
            if let Some(rate) = self.rates[direction as usize] {
                relay.set_rate(direction, Some(rate.into()));
            }
        }
    }
}

/// How a pair of joined sockets has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpliceEnd {
    /// Both ways came to their ends, and everything was given on.
    Finished,
    /// That side broke, while it was read from or written to. What came from it before was given to the other side, which
    /// was then reset, so that it does not take a part for the whole.
    Failed(Side, Direction, Errno),
    /// Nothing has moved for as long as the idle timeout. Where something was on its way, because nobody took it, both were
    /// reset.
    Idle,
    /// The streams were not joined, for that reason; they are as they were.
    NotJoined(&'static str),
}

/// What was told once, when a pair of joined sockets has ended; both are closed by then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spliced {
    /// How.
    pub end: SpliceEnd,
    /// Bytes from the first socket that were given to the second.
    pub forward: u64,
    /// Bytes from the second that were given to the first.
    pub backward: u64,
    /// How many of both did not pass through this process's memory.
    pub unseen: u64,
    /// Why splicing was given up, either way: that error of splice(2), or EOPNOTSUPP where it was never tried.
    pub refused: Option<Errno>,
}

impl Spliced {
    pub(super) fn of(relay: &Relay) -> Self {
        Spliced {
            end: match relay.outcome() {
                Outcome::Finished => SpliceEnd::Finished,
                Outcome::Failed(side, direction, errno) => SpliceEnd::Failed(side, direction, errno),
                Outcome::Idle => SpliceEnd::Idle,
            },
            forward: relay.given(Side::First),
            backward: relay.given(Side::Second),
            unseen: relay.spliced(Side::First) + relay.spliced(Side::Second),
            refused: relay.refused(Side::First).or(relay.refused(Side::Second)),
        }
    }

    pub(super) fn not_joined(why: &'static str) -> Self {
        Spliced { end: SpliceEnd::NotJoined(why), forward: 0, backward: 0, unseen: 0, refused: None }
    }
}

impl<D: 'static> Context<D> {
    /// Joins two connected sockets: what comes from one goes to the other until both ways have ended, by splice(2) where
    /// it brings much at once, and otherwise through memory; half-closed either way, it goes on the other. What is on
    /// its way is bounded by a pipe for each direction, which is only held while something is in it, and only as long as no
    /// more than [`Context::limit_splice_pipes`] allows are: beyond it is copied.
    ///
    /// `ended` is called once, when it is over and both are closed; not where it is [`Context::remove`]d (at once, then:
    /// what is on its way is lost). The loop owns both sockets. The id names the first one's event; the second's goes
    /// with it.
    pub fn splice<A: Transport, B: Transport>(
        &mut self,
        first: A,
        second: B,
        options: SpliceOptions,
        ended: impl FnOnce(&mut Context<D>, Spliced) + 'static,
    ) -> Result<EventId, Error> {
        joining::install(self, first, second, options, Box::new(ended))
    }

    /// So many pipes may hold what joined sockets have on their way, at most: two descriptors and up to 64 KiB of kernel
    /// memory each. One holds something only while its receiver rests; where so many do, what else comes is copied. 256
    /// unless told otherwise. Those that hold something now are not taken away.
    pub fn limit_splice_pipes(&mut self, pipes: usize) {
        self.pipes.set_most(pipes);
    }

    /// Joins two streams of this loop, once their programs have seen what they wanted to see: a header, a handshake.
    /// What is in their buffers goes first. It comes about when the callbacks of this pass have returned; until then
    /// they tell what happens as before, and from then on nothing. Their limits, timeouts and groups go, `options` says
    /// what holds instead. Both ids stay, and removing either removes both.
    ///
    /// A stream that is not connected, or that nothing can be written to any more, is not joined, nor is one with a layer
    /// or without a descriptor: `ended` says so, and both are as they were. So allow half-open streams, or one whose peer
    /// has ended its sending in the meantime is among these.
    pub fn splice_streams(
        &mut self,
        first: EventId,
        second: EventId,
        options: SpliceOptions,
        ended: impl FnOnce(&mut Context<D>, Spliced) + 'static,
    ) {
        self.after(Duration::ZERO, move |ctx| joining::join(ctx, [first, second], options, Box::new(ended)));
    }
}
