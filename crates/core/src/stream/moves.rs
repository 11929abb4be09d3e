//! What the hands have done, and what they may do next.

use super::rules::Rules;
use super::*;

/// What is read at once at first, and with every doubling of `reach`. A block of the pool.
pub(super) const READ_AT_ONCE: usize = 32 * 1024;
const MOST_REACH: u8 = 1;
/// What is written at once: so that one fast reader does not keep the loop from the others.
pub(super) const WRITE_AT_ONCE: usize = 256 * 1024;
/// After a failed write: so often it is read at most.
const LAST_READS: u8 = 16;

impl Stream {
    /// Reading is wanted, and nothing keeps it.
    #[inline]
    pub(super) fn reads(&self) -> bool {
        matches!(self.read, ReadSide::Open | ReadSide::Discarding)
            && self.read_paused == 0
            && self.write != WriteSide::Connecting
    }

    #[inline]
    pub(super) fn writes(&self) -> bool {
        !self.output.is_empty() // first, because mostly it is
            && matches!(self.write, WriteSide::Open | WriteSide::Finishing)
            && self.write_paused == 0
            && !self.has(HELD | OVER)
    }

    /// How many bytes may be read now; 0: none.
    #[inline]
    pub fn read_budget(&mut self, now: Instant) -> usize {
        if !self.reads() {
            return 0;
        }
        let most = READ_AT_ONCE << self.reach;
        let Some(rules) = &mut self.rules else { return most };
        let most = most.min(rules.input_high.saturating_sub(self.input.len()));
        if self.state & HELD != 0 {
            return most; // the last there will be, and bounded: limits do not lose it
        }
        let most = most.min(rules.read.allowed(now));
        rules.shared(Direction::Read, most, now)
    }

    /// How many bytes may be written now; 0: none, or not before the kernel says so.
    #[inline]
    pub fn write_budget(&mut self, now: Instant) -> usize {
        if !self.writes() || self.has(BLOCKED) {
            return 0;
        }
        let Some(rules) = &mut self.rules else { return WRITE_AT_ONCE };
        let most = WRITE_AT_ONCE.min(self.output.len()).min(rules.write.allowed(now));
        rules.shared(Direction::Write, most, now)
    }

    /// The hands have read into the input, no more than [`Stream::read_budget`].
    #[inline]
    pub fn handle_read(&mut self, moved: Moved, now: Instant) {
        self.note_read(moved);
        self.took_in(moved, moved.bytes, now);
    }

    /// `moved.bytes` into the input, of which the wire knows as `wire`.
    #[inline]
    pub(super) fn took_in(&mut self, moved: Moved, wire: usize, now: Instant) {
        if wire > 0 {
            if wire >= READ_AT_ONCE << self.reach {
                self.reach = (self.reach + 1).min(MOST_REACH);
            } else if self.reach > 0 && wire < (READ_AT_ONCE << self.reach) / 4 {
                self.reach -= 1;
            }
            if let Some(rules) = &mut self.rules {
                rules.moved(Direction::Read, wire, now);
                if moved.then == Then::More {
                    rules.foresee(Direction::Read, now);
                }
            }
        }
        if moved.bytes > 0 {
            self.set(UNTOLD);
            let low = self.rules.as_ref().map_or(0, |rules| rules.input_low);
            if self.input.len() >= low {
                self.set(READ);
            }
        }
        if matches!(moved.then, Then::End | Then::Failed(_)) || self.has(HELD) {
            self.read_ended(moved.then);
        }
        if self.has(CLOSING) {
            self.state &= !(ALL_EVENTS | UNTOLD);
        }
    }

    fn read_ended(&mut self, then: Then) {
        if self.has(HELD) {
            // Promise (b): read on as long as there is more, within reason.
            self.patience = self.patience.saturating_sub(1);
            if then == Then::More && self.patience > 0 {
                return;
            }
            self.break_down();
            if then == Then::End && !self.has(CLOSING) {
                self.set(EOF); // the peer had said all, and only takes no more
            }
            return;
        }
        if self.has(UNTOLD) {
            self.set(READ); // below the low watermark, but no more will come
        }
        match then {
            Then::Failed(errno) => {
                self.errno = errno.0;
                self.break_down();
            }
            _ => {
                self.read = ReadSide::Ended;
                self.set(EOF);
            }
        }
    }

    /// Both ways at once: promise (a). What is in the output cannot be sent any more.
    fn break_down(&mut self) {
        if self.has(UNTOLD) {
            self.set(READ);
        }
        self.state = self.state & !(HELD | WRITTEN | EOF | READ_TIMEOUT | WRITE_TIMEOUT) | ERROR;
        (self.read, self.write) = (ReadSide::Failed, WriteSide::Failed);
        self.close_if_closing();
    }

    fn close_if_closing(&mut self) {
        if self.has(CLOSING) {
            self.state = self.state & !ALL_EVENTS | OVER;
        }
    }

    /// The kernel would take bytes again.
    #[inline]
    pub fn handle_writable(&mut self) {
        self.state &= !BLOCKED;
    }

    /// Whether the connection was begun and its outcome is not known: ask for SO_ERROR when the kernel says that it is
    /// writable.
    #[inline]
    pub fn is_connecting(&self) -> bool {
        self.write == WriteSide::Connecting
    }

    /// How the connection that was begun went.
    pub fn handle_connected(&mut self, outcome: Result<(), Errno>) {
        if self.write != WriteSide::Connecting {
            return;
        }
        match outcome {
            Ok(()) => {
                self.write = if self.has(FINISH) { WriteSide::Finishing } else { WriteSide::Open };
                if !self.has(CLOSING | RAW) {
                    self.set(CONNECTED);
                }
            }
            Err(errno) => {
                self.errno = errno.0;
                self.set(WRITING);
                self.break_down();
            }
        }
    }

    /// The hands have written from the output and drained it by as much, no more than [`Stream::write_budget`].
    #[inline]
    pub fn handle_write(&mut self, moved: Moved, now: Instant) {
        if moved.bytes > 0 {
            if let Some(rules) = &mut self.rules {
                rules.moved(Direction::Write, moved.bytes, now);
                if rules.linger_from.is_some() {
                    rules.linger_from = Some(now);
                }
            }
            let low = self.rules.as_ref().map_or(0, |rules| rules.output_low);
            if self.output.len() <= low && !self.has(CLOSING) {
                self.set(WRITTEN);
            }
        }
        self.handle_stop(moved.then);
    }

    #[inline]
    pub(super) fn handle_stop(&mut self, then: Then) {
        match then {
            Then::More | Then::End => {}
            Then::Blocked => self.set(BLOCKED),
            Then::Failed(errno) => self.write_failed(errno),
        }
    }

    fn write_failed(&mut self, errno: Errno) {
        self.errno = errno.0;
        self.set(WRITING);
        // Nothing of the output can be sent; so it does not keep reading from what can be read. Nor do limits.
        self.read_paused &= !(pause::OUTPUT_FULL | pause::RATE | pause::GROUP);
        if self.reads() && !self.has(CLOSING) {
            self.patience = LAST_READS;
            self.set(HELD);
        } else {
            self.break_down();
        }
    }

    /// A write has failed, and before that is told must be read what can be: call the hands and [`Stream::handle_read`]
    /// until this is false, with `Then::Blocked` where the budget is 0.
    #[inline]
    pub fn must_read(&self) -> bool {
        self.has(HELD)
    }

    /// Looks at the time: what has timed out, and whose rate limit lets go.
    pub fn handle_time(&mut self, now: Instant) {
        let (reads, writes) = (self.reads(), self.waits_to_write());
        let Some(rules) = &mut self.rules else { return };
        let run_out = |way: &rules::Way| way.deadline().is_some_and(|deadline| deadline <= now);
        let (read_late, write_late) = (reads && run_out(&rules.read), writes && run_out(&rules.write));
        let lingered = rules.linger_end().is_some_and(|end| end <= now);
        if lingered {
            return self.set(OVER);
        }
        if read_late {
            self.pause(Direction::Read, pause::DISABLED);
            self.set(READ_TIMEOUT);
            if self.has(UNTOLD) {
                self.set(READ);
            }
        }
        if write_late {
            self.pause(Direction::Write, pause::DISABLED);
            self.set(WRITE_TIMEOUT);
        }
        self.settle(now);
    }

    /// Something is to be sent, or a connection to be made, and only the peer keeps us from it.
    fn waits_to_write(&self) -> bool {
        if self.has(LAYERED) && self.write != WriteSide::Connecting {
            return self.layers_wait();
        }
        self.write == WriteSide::Connecting && self.write_paused & pause::DISABLED == 0 || self.writes()
    }

    /// After anything else: works out what rests and what counts. Cheap where there are no rules.
    #[inline]
    pub fn settle(&mut self, now: Instant) {
        let waiting = self.output.len();
        if self.rules.is_some() {
            self.settle_rules(now);
        } else if waiting > Rules::NONE.output_high {
            self.read_paused |= pause::OUTPUT_FULL;
        } else if waiting <= Rules::NONE.output_high / 2 {
            self.read_paused &= !pause::OUTPUT_FULL;
        }
    }

    fn settle_rules(&mut self, now: Instant) {
        let (waiting, held) = (self.output.len(), self.input.len());
        let (closing, last) = (self.has(CLOSING), self.has(HELD));
        let Some(rules) = &mut self.rules else { return };
        let mut keep = |reason: u8, on: bool| {
            if on { self.read_paused |= reason } else { self.read_paused &= !reason }
        };
        if waiting > rules.output_high && !closing {
            keep(pause::OUTPUT_FULL, true);
        } else if waiting <= rules.output_high / 2 || closing {
            keep(pause::OUTPUT_FULL, false);
        }
        keep(pause::INPUT_FULL, held >= rules.input_high && !closing);
        keep(pause::RATE, rules.read.is_dry(now) && !last);
        keep(pause::GROUP, rules.queues(Direction::Read) && !last);
        let mut keep = |reason: u8, on: bool| {
            if on { self.write_paused |= reason } else { self.write_paused &= !reason }
        };
        keep(pause::RATE, rules.write.is_dry(now));
        keep(pause::GROUP, rules.queues(Direction::Write));
        if closing {
            rules.linger_from.get_or_insert(now);
        }
        let (reads, writes) = (self.reads(), self.waits_to_write());
        if let Some(rules) = &mut self.rules {
            rules.read.count(reads, now);
            rules.write.count(writes, now);
        }
    }

    /// Nothing is to be told, sent, asked for or given back: neither [`Stream::settle`] nor anything behind it would do
    /// anything. So most messages end, and it is worth a look. Never where there are rules or layers.
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        self.state & !(EDGES | HALF_OPEN) == 0
            && self.input.is_empty()
            && self.output.is_empty()
            && self.rules.is_none()
            && self.read == ReadSide::Open
            && self.write == WriteSide::Open
            && self.read_paused | self.write_paused == 0
            && self.asked == self.read_interest()
    }

    /// Asserts its invariants: for tests and simulation.
    pub fn verify(&self) {
        self.input.verify();
        self.output.verify();
        assert!(!self.has(CLOSING) || !self.has_events(), "nothing is told after close");
        assert!(!self.has(HELD) || self.errno != 0, "an error that is held is known");
        assert!(!self.has(ERROR) || self.read == ReadSide::Failed && self.write == WriteSide::Failed);
        assert!(!self.has(EOF) || matches!(self.read, ReadSide::Ended | ReadSide::Failed));
        let idle = !self.has_events() && !self.reads_on() && self.wants() == self.asked;
        assert!(!self.is_at_rest() || idle, "at rest, and something is to be done");
        assert!(self.has(EDGES) || !self.has(READABLE | MISTRUSTED));
        assert!(self.has(READABLE) || !self.has(MISTRUSTED));
        assert!(self.reach <= MOST_REACH);
    }
}
