//! The judgement of a buffered stream (libevent's bufferevent): what to read and write and how much, what to tell and in
//! which order, when it is over. Nothing here moves a byte or calls back:
//!
//! ```text
//! face: ready -> hands read into input()  -> handle_read(moved)
//!                                            next_event() ... -> the program, which reads input and writes output
//!       settle(now), may_write() -> hands write from output -> handle_write(moved)
//!       next_action(), next_interest() -> the kernel, next_timer() -> a timer, that comes back as handle_time(now)
//! ```
//!
//! What it promises:
//! (a) Each way ends at most once: Eof, Error or Timeout; nothing is told after it that way, and an Error ends both.
//!     (A peer that has ended its sending and then takes no more is both, the Eof first.)
//! (b) Never before the last byte: what came before the end is in the input and was told. A failed write waits until
//!     what can still be read is read.
//! (c) A timeout counts only while its direction waits for the peer: enabled, not paused, and, for writing, with
//!     something to write.
//! (d) Closing loses nothing: the output is sent, then the end, then what the peer still sends is read and dropped
//!     until its end; or else the kernel would answer with RST, which destroys what is under way.

mod between;
mod edges;
mod event;
mod filter;
mod group;
mod layer;
mod lazy_timer;
mod limit;
mod moves;
mod relay;
mod rules;

use crate::backend::Errno;
use crate::buffer::{Buffer, Pool};
use crate::interest::Interest;
use crate::time::Instant;
use alloc::boxed::Box;
use rules::Rules;

pub use between::{LayerState, Limits};
pub use event::{Action, Direction, Moved, StreamEvent, Then};
pub use filter::{Filter, Flow};
pub use group::{Group, MIN_SHARE, Member, Totals};
pub use layer::{Layer, LayerError};
pub use limit::{Bucket, Pace, Rate, Ticks};
pub use relay::{COPY_AT_ONCE, Carriage, Outcome, Relay, SPLICE_AT_ONCE, Side, Step};

/// How long a close waits for the peer, unless it is said otherwise: as long as a peer that is there needs to answer
/// over a bad line, with a retransmission or two.
pub const LINGER_NS: u64 = 5_000_000_000;

/// Why a direction rests. Several at once may; it goes on when none is left.
pub mod pause {
    /// Disabled by the program, or by its timeout.
    pub const DISABLED: u8 = 1;
    /// Suspended by the program: apart from `DISABLED`, so that two parts of it need not know of each other.
    pub const USER: u8 = 2;
    /// The input is at its high watermark.
    pub const INPUT_FULL: u8 = 4;
    /// The output is above its high watermark, so nothing is read that would make it longer.
    pub const OUTPUT_FULL: u8 = 8;
    /// Its own rate limit.
    pub const RATE: u8 = 16;
    /// It queues for its share of a group's.
    pub const GROUP: u8 = 32;
}

/// The receiving side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ReadSide {
    Open,
    /// What comes is dropped: the stream is closing.
    Discarding,
    /// The peer's end was met.
    Ended,
    Failed,
}

/// The sending side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WriteSide {
    Connecting,
    Open,
    /// To be shut when the output is empty.
    Finishing,
    Shut,
    Failed,
}

// What is due to be told, in the order of `StreamEvent`.
const CONNECTED: u32 = 1 << 0;
const READ: u32 = 1 << 1;
const WRITTEN: u32 = 1 << 2;
const EOF: u32 = 1 << 3;
const ERROR: u32 = 1 << 4;
const READ_TIMEOUT: u32 = 1 << 5;
const WRITE_TIMEOUT: u32 = 1 << 6;
const ALL_EVENTS: u32 = (1 << 7) - 1;
// What is known.
/// The kernel took less than it was given: it will tell when it takes more.
const BLOCKED: u32 = 1 << 7;
/// Bytes are in the input that were not told.
const UNTOLD: u32 = 1 << 8;
/// The error was met while writing.
const WRITING: u32 = 1 << 9;
/// An error that waits for what can still be read (promise (b)).
const HELD: u32 = 1 << 10;
/// Told, and unless the program does something about it that was all: of each way apart.
const READ_TIMED_OUT: u32 = 1 << 11;
const WRITE_TIMED_OUT: u32 = 1 << 18;
const TIMED_OUT: u32 = READ_TIMED_OUT | WRITE_TIMED_OUT;
const HALF_OPEN: u32 = 1 << 12;
/// `finish` before the connection stood.
const FINISH: u32 = 1 << 13;
/// To be closed now.
const OVER: u32 = 1 << 14;
const EOF_TOLD: u32 = 1 << 15;
/// `close` was called: nothing is told.
const CLOSING: u32 = 1 << 16;
/// `reset` was called: closed now, and not in good order.
const RESET: u32 = 1 << 17;
/// See [`Stream::set_carried`].
const CARRIED: u32 = 1 << 26;
// Of layers: see `between`.
const LAYERED: u32 = 1 << 19;
/// Not established.
const RAW: u32 = 1 << 20;
const HOLDS: u32 = 1 << 21;
const SENDS: u32 = 1 << 22;
const STARVED: u32 = 1 << 23;
const UNFINISHED: u32 = 1 << 24;
const ALL_LAYERS: u32 = RAW | HOLDS | SENDS | STARVED | UNFINISHED;
/// Some of the output has left it, and that was not told.
const UNWRITTEN: u32 = 1 << 25;
// Of edges: see `edges`.
const EDGES: u32 = 1 << 27;
/// Something may be left to read that the kernel has told of already.
const READABLE: u32 = 1 << 28;
/// A short read does not mean that nothing is left.
const MISTRUSTED: u32 = 1 << 29;

const fn timed_out(direction: Direction) -> u32 {
    match direction {
        Direction::Read => READ_TIMED_OUT,
        Direction::Write => WRITE_TIMED_OUT,
    }
}

/// One stream. Two buffers and a few words: see the module's head.
#[derive(Debug)]
pub struct Stream {
    input: Buffer,
    output: Buffer,
    /// `None`: [`Rules::NONE`].
    rules: Option<Box<Rules>>,
    errno: i32,
    state: u32,
    read: ReadSide,
    write: WriteSide,
    read_paused: u8,
    write_paused: u8,
    /// Doublings of what is read at once: streams that fill it get more.
    reach: u8,
    /// Ends the wait for what can still be read after a failed write.
    patience: u8,
    /// What the kernel was last asked for.
    asked: Interest,
}

impl Stream {
    /// One that is connected.
    pub const fn new() -> Self {
        Stream {
            input: Buffer::new(),
            output: Buffer::new(),
            rules: None,
            errno: 0,
            state: 0,
            read: ReadSide::Open,
            write: WriteSide::Open,
            read_paused: 0,
            write_paused: 0,
            reach: 0,
            patience: 0,
            asked: Interest::NONE,
        }
    }

    /// One whose connection was begun: see [`Stream::handle_connected`].
    pub const fn connecting() -> Self {
        let mut stream = Stream::new();
        stream.write = WriteSide::Connecting;
        stream
    }

    /// What was read and not yet taken.
    pub fn input(&self) -> &Buffer {
        &self.input
    }
    /// The same, to take from it and, for the hands, to read into it.
    pub fn input_mut(&mut self) -> &mut Buffer {
        &mut self.input
    }
    /// What is to be sent.
    pub fn output(&self) -> &Buffer {
        &self.output
    }
    /// The same, to append to, as long as the stream [`Stream::is_writable`], and for the hands to drain.
    pub fn output_mut(&mut self) -> &mut Buffer {
        &mut self.output
    }
    /// Both at once, for moving from one to the other without a copy.
    pub fn both(&mut self) -> (&mut Buffer, &mut Buffer) {
        (&mut self.input, &mut self.output)
    }

    /// Whether what is appended to the output will be sent: not after `finish`, `close` or an error.
    pub fn is_writable(&self) -> bool {
        matches!(self.write, WriteSide::Connecting | WriteSide::Open) && !self.has(FINISH | HELD | OVER)
    }

    /// Whether the peer may still send.
    pub fn is_readable(&self) -> bool {
        self.read == ReadSide::Open
    }

    // Rules.

    /// [`StreamEvent::Read`] is told from `low` bytes in the input on; at `high` reading rests. At first 0 and no limit.
    /// A `high` below `low`, or 0, would never be told: it is taken as `low`, or 1.
    pub fn set_input_marks(&mut self, low: usize, high: usize) {
        let rules = self.rules_mut();
        (rules.input_low, rules.input_high) = (low, high.max(low).max(1));
        if self.has(UNTOLD) && self.input.len() >= low {
            self.set(READ);
        }
    }

    /// [`StreamEvent::Written`] is told at `low` bytes in the output; above `high` reading rests, until half of that is
    /// left. At first 0 and 256 KiB.
    pub fn set_output_marks(&mut self, low: usize, high: usize) {
        let rules = self.rules_mut();
        (rules.output_low, rules.output_high) = (low, high);
    }

    /// How long nothing may move; `None`: for ever. It counts anew from the next [`Stream::settle`].
    pub fn set_timeout(&mut self, direction: Direction, timeout_ns: Option<u64>) {
        let way = self.way_mut(direction);
        (way.timeout_ns, way.idle_since) = (timeout_ns, None);
    }

    /// How fast bytes may move, or `None`: as fast as they can. Where there was a limit, what was moved stays taken.
    pub fn set_rate(&mut self, direction: Direction, pace: Option<Pace>) {
        let way = self.way_mut(direction);
        limit::set_pace(&mut way.bucket, pace);
        way.dry = false;
        self.resume(direction, pause::RATE);
    }

    /// Its own limit.
    pub fn pace(&self, direction: Direction) -> Option<Pace> {
        let rules = self.rules.as_ref()?;
        let way = match direction {
            Direction::Read => &rules.read,
            Direction::Write => &rules.write,
        };
        way.bucket.as_ref().map(Bucket::pace)
    }

    /// What its own limit lets move now: negative where it is in debt, `None` without a limit.
    pub fn rate_left(&mut self, direction: Direction, now: Instant) -> Option<i64> {
        self.rules.as_ref()?;
        Some(self.way_mut(direction).bucket.as_mut()?.left(now))
    }

    /// So many bytes moved otherwise count against its own limit as well, or (negative) count no longer.
    pub fn charge(&mut self, direction: Direction, bytes: i64) {
        if self.rules.is_none() {
            return;
        }
        if let Some(bucket) = &mut self.way_mut(direction).bucket {
            bucket.charge(bytes);
        }
    }

    /// What one call reads or writes at most; 0: as much as is good.
    pub fn set_most_at_once(&mut self, direction: Direction, bytes: usize) {
        self.way_mut(direction).most = if bytes == 0 { usize::MAX } else { bytes };
    }

    /// Shares a group's rate from now on, instead of the one before; `None`: nobody's.
    pub fn set_member(&mut self, member: Option<Member>) {
        if self.rules.is_some() || member.is_some() {
            self.rules_mut().member = member;
        }
        self.resume(Direction::Read, pause::GROUP);
        self.resume(Direction::Write, pause::GROUP);
    }

    /// The group that it is in.
    pub fn member(&self) -> Option<&Member> {
        self.rules.as_ref()?.member.as_ref()
    }

    /// Goes on sending after the peer's end, until `finish`. Without it the stream finishes by itself when Eof is told.
    pub fn allow_half_open(&mut self, allowed: bool) {
        if allowed { self.set(HALF_OPEN) } else { self.state &= !HALF_OPEN }
    }

    /// Has a direction rest for one of the reasons in [`pause`].
    pub fn pause(&mut self, direction: Direction, reason: u8) {
        *self.paused(direction) |= reason;
    }

    /// Takes that reason back.
    pub fn resume(&mut self, direction: Direction, reason: u8) {
        *self.paused(direction) &= !reason;
        if reason & pause::DISABLED != 0 {
            self.state &= !timed_out(direction);
        }
    }

    /// Whether it rests, for whatever reason.
    pub fn is_paused(&self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.read_paused != 0,
            Direction::Write => self.write_paused != 0,
        }
    }

    fn paused(&mut self, direction: Direction) -> &mut u8 {
        match direction {
            Direction::Read => &mut self.read_paused,
            Direction::Write => &mut self.write_paused,
        }
    }

    /// Whether the time matters to it; if not, any may be given.
    #[inline]
    pub fn is_timed(&self) -> bool {
        self.rules.is_some()
    }

    fn rules_mut(&mut self) -> &mut Rules {
        self.rules.get_or_insert_with(|| Box::new(Rules::NONE))
    }
    fn way_mut(&mut self, direction: Direction) -> &mut rules::Way {
        let rules = self.rules_mut();
        match direction {
            Direction::Read => &mut rules.read,
            Direction::Write => &mut rules.write,
        }
    }

    // Ends.

    /// Nothing more will be written: what is in the output is sent, then the end. The peer may go on sending.
    pub fn finish(&mut self) {
        match self.write {
            WriteSide::Connecting => self.set(FINISH),
            WriteSide::Open => self.write = WriteSide::Finishing,
            _ => {}
        }
        if self.has(TIMED_OUT) {
            self.close(LINGER_NS); // nothing is waited for any more but that the output is sent
        }
    }

    /// Ends it in good order: as `finish`, and what the peer still sends is dropped until its end, or until nothing was
    /// sent for `linger_ns` (counted anew with every byte that is taken from the output). Nothing is told any more.
    pub fn close(&mut self, linger_ns: u64) {
        if matches!(self.read, ReadSide::Open) {
            self.read = ReadSide::Discarding;
            self.read_paused = 0;
        }
        self.write_paused &= !(pause::DISABLED | pause::USER);
        self.state &= !(ALL_EVENTS | UNTOLD | TIMED_OUT);
        self.finish();
        let rules = self.rules_mut();
        rules.linger_ns = linger_ns;
        (rules.read.timeout_ns, rules.write.timeout_ns) = (None, None);
        if self.read == ReadSide::Failed || self.write == WriteSide::Failed || self.has(HELD) {
            self.set(OVER);
        }
        self.set(CLOSING);
    }

    /// Ends it at once, and the peer is to know that not all has come: what is in the output is lost. Nothing is told
    /// any more.
    pub fn reset(&mut self) {
        self.close(0);
        self.set(OVER | RESET);
    }

    /// Whether `close` or `reset` was called.
    pub fn is_closing(&self) -> bool {
        self.has(CLOSING)
    }

    /// Tells Read (if the input holds anything) or Written as if it had come about by itself: only where the low
    /// watermark has it told, unless marks are to be ignored.
    pub fn trigger(&mut self, direction: Direction, ignore_marks: bool) {
        let (input_low, output_low) =
            self.rules.as_ref().map_or((0, 0), |rules| (rules.input_low, rules.output_low));
        match direction {
            _ if self.has(CLOSING | OVER) || self.write == WriteSide::Failed => {}
            Direction::Read if self.input.is_empty() => {}
            Direction::Read if ignore_marks || self.input.len() >= input_low => self.set(READ),
            Direction::Write if ignore_marks || self.output.len() <= output_low => self.set(WRITTEN),
            _ => {}
        }
    }

    /// Why its socket cannot be joined to another one as it is.
    pub fn obstacle_to_joining(&self) -> Option<&'static str> {
        match () {
            () if self.write == WriteSide::Connecting => {
                Some("a stream is not connected yet: wait for Connected")
            }
            () if self.has(CLOSING) => Some("a stream was closed"),
            () if self.has(HELD | OVER | ERROR) || self.read == ReadSide::Failed => Some("a stream broke"),
            () if self.has(FINISH) || self.write != WriteSide::Open => {
                Some("a stream is finished: nothing can be written to it (allow half-open streams)")
            }
            () => None,
        }
    }

    // What comes of it.

    /// The next thing to tell.
    #[inline]
    pub fn next_event(&mut self) -> Option<StreamEvent> {
        let due = self.state & ALL_EVENTS;
        if due == 0 {
            return None;
        }
        let first = due & due.wrapping_neg();
        self.state &= !first;
        Some(match first {
            CONNECTED => StreamEvent::Connected,
            READ => {
                self.state &= !UNTOLD;
                StreamEvent::Read
            }
            WRITTEN => StreamEvent::Written,
            EOF => {
                self.set(EOF_TOLD);
                StreamEvent::Eof
            }
            ERROR => {
                self.set(OVER);
                let direction = if self.has(WRITING) { Direction::Write } else { Direction::Read };
                StreamEvent::Error(direction, Errno(self.errno))
            }
            _ => {
                let read = first == READ_TIMEOUT;
                let direction = if read { Direction::Read } else { Direction::Write };
                self.set(timed_out(direction));
                StreamEvent::Timeout(direction)
            }
        })
    }

    /// Whether `next_event` has something to tell.
    #[inline]
    pub fn has_events(&self) -> bool {
        self.state & ALL_EVENTS != 0
    }

    /// What the hands must do now that nothing is to be told; ask until it is `None`.
    #[inline]
    pub fn next_action(&mut self) -> Option<Action> {
        if self.has_events() {
            return None;
        }
        if self.write == WriteSide::Open && self.read == ReadSide::Open && !self.has(OVER | TIMED_OUT) {
            return None;
        }
        self.ending()
    }

    fn ending(&mut self) -> Option<Action> {
        if self.has(RESET) {
            return Some(Action::Reset);
        }
        self.finish_after_eof();
        if self.write == WriteSide::Finishing && self.output.is_empty() && !self.has(HELD | UNFINISHED) {
            self.write = WriteSide::Shut;
            return Some(Action::ShutdownWrite);
        }
        let nothing_comes = matches!(self.read, ReadSide::Ended | ReadSide::Failed);
        let nothing_goes = matches!(self.write, WriteSide::Shut | WriteSide::Failed);
        let over = self.has(OVER | TIMED_OUT) || nothing_comes && nothing_goes && !self.has(HELD);
        over.then_some(Action::Close)
    }

    fn finish_after_eof(&mut self) {
        if self.write == WriteSide::Open && self.has(EOF_TOLD) && !self.has(HALF_OPEN) {
            self.write = WriteSide::Finishing;
        }
    }

    /// What the kernel is to be asked for.
    #[inline]
    pub fn wants(&self) -> Interest {
        if self.write == WriteSide::Connecting {
            return Interest::WRITE;
        }
        let read = if self.reads() { self.read_interest() } else { Interest::NONE };
        if !self.has(BLOCKED | LAYERED | CARRIED) {
            read
        } else if self.has(LAYERED) {
            self.layered_interest(read)
        } else if self.has(BLOCKED) && self.writes() || self.has(CARRIED) && !read.is_empty() {
            read | Interest::WRITE
        } else {
            read
        }
    }

    /// Hands that complete ([`crate::Transfers`]) say WRITE only where something became of a send, so that is asked for
    /// along with READ, always: nothing is to be changed around each message then.
    pub fn set_carried(&mut self) {
        self.set(CARRIED);
    }

    /// Whether hands that complete move its bytes.
    #[inline]
    pub fn is_carried(&self) -> bool {
        self.has(CARRIED)
    }

    /// Whether its reader may take little at once: a mark of the input, or a rate.
    pub fn is_read_bounded(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| {
            rules.input_high != usize::MAX || rules.read.bucket.is_some() || rules.member.is_some()
        })
    }

    /// What the kernel is to be asked for instead of what it was asked for last, where that has changed: (before, now).
    #[inline]
    pub fn next_interest(&mut self) -> Option<(Interest, Interest)> {
        let wants = self.wants();
        (wants != self.asked).then(|| (core::mem::replace(&mut self.asked, wants), wants))
    }

    /// What the kernel was last asked for, by [`Stream::next_interest`].
    pub fn asked(&self) -> Interest {
        self.asked
    }

    /// When a timer must be set that is not set yet, to call [`Stream::handle_time`] then. The deadline moves with every
    /// byte, the timer does not: one that rings too early is set again, and not for each message.
    #[inline]
    pub fn next_timer(&mut self) -> Option<Instant> {
        if !self.is_timed() {
            return None;
        }
        let deadline = self.deadline()?;
        self.rules.as_mut()?.timer.set_for(deadline)
    }

    /// The timer has rung, or was lost.
    pub fn timer_gone(&mut self) {
        if let Some(rules) = &mut self.rules {
            rules.timer.gone();
        }
    }

    /// When [`Stream::handle_time`] must be called at the latest, as things are.
    pub fn deadline(&self) -> Option<Instant> {
        let rules = self.rules.as_deref()?;
        let all = [
            rules.read.deadline(),
            rules.write.deadline(),
            rules.read.ready_at().filter(|_| self.only_rate(Direction::Read)),
            rules.write.ready_at().filter(|_| self.only_rate(Direction::Write)),
            rules.linger_end(),
        ];
        all.into_iter().flatten().min()
    }

    /// Gives back what the input and output hold in vain: blocks of the pool with few bytes in them, and everything
    /// read after `close`.
    #[inline]
    pub fn tidy(&mut self, pool: &mut Pool) {
        if self.input.is_empty() && self.output.is_empty() {
            return;
        }
        if self.read == ReadSide::Discarding || self.has(CLOSING) {
            let _ = self.input.drain_into(usize::MAX, pool);
        }
        self.input.give_back(pool);
        // What the hands are sending stays there until it is sent: they give back what has to wait longer.
        if !self.has(CARRIED) {
            self.output.give_back(pool);
        }
    }

    #[inline]
    fn has(&self, any: u32) -> bool {
        self.state & any != 0
    }
    #[inline]
    fn set(&mut self, bits: u32) {
        self.state |= bits;
    }
}

impl Default for Stream {
    fn default() -> Self {
        Stream::new()
    }
}

#[cfg(test)]
mod tests;
