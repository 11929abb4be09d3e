//! The judgement of a stream with layers between its bytes and the wire's. Beside what the others have:
//!
//! (a) What is read is bounded twice: what the program may be given, and what may be taken from the wire. Rates and
//!     timeouts count the wire's bytes, watermarks the program's.
//! (b) Layers hold bytes that the kernel knows nothing of: in the input's direction they are given on as soon as there is
//!     room, in the output's they count as unsent.
//! (c) Until they are established both ways move whatever the program has disabled or filled, and its own bytes wait.
//! (d) What ends them goes out behind the last byte and before the end of the wire.

use super::moves::{READ_AT_ONCE, WRITE_AT_ONCE};
use super::*;

/// Why a direction rests, apart from the program and its buffers.
const LIMITS: u8 = pause::RATE | pause::GROUP;

/// How the layers of a stream are just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerState {
    /// The program's bytes may flow.
    pub established: bool,
    /// They could give bytes (or an end) without anything new from the wire.
    pub holds: bool,
    /// They have something to send beside the output, or it waits for the wire to take it.
    pub sends: bool,
    /// They can do nothing with what is in the output before there is more of it.
    pub starved: bool,
    /// Asked to finish, they have nothing more to add.
    pub finished: bool,
    /// The wire's bytes that are ready to be sent.
    pub unsent: usize,
}

impl LayerState {
    /// There are none.
    pub const NONE: LayerState = LayerState {
        established: true,
        holds: false,
        sends: false,
        starved: false,
        finished: true,
        unsent: 0,
    };
}

/// What one call may move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Of the program's bytes.
    pub plain: usize,
    /// Of the wire's.
    pub wire: usize,
    /// Nothing comes after what is in the output.
    pub finish: bool,
}

impl Stream {
    /// How the layers are: after each call that moved something in them, or could have.
    pub fn handle_layers(&mut self, state: LayerState) {
        let was_raw = self.has(RAW);
        let bits = [
            (RAW, !state.established),
            (HOLDS, state.holds),
            (SENDS, state.sends),
            (STARVED, state.starved),
            (UNFINISHED, !state.finished),
        ];
        self.state = bits.iter().fold(
            self.state & !ALL_LAYERS | LAYERED,
            |all, (bit, on)| {
                if *on { all | bit } else { all }
            },
        );
        if was_raw && !self.has(RAW) && self.write != WriteSide::Failed && !self.has(CLOSING) {
            self.set(CONNECTED);
        }
    }

    /// What may be read now, from the wire too; `None`: nothing, not even what the layers hold.
    pub fn layered_read_limits(&mut self, from_wire: bool, now: Instant) -> Option<Limits> {
        let given = self.gives();
        if !given && !self.reads_raw() {
            return None;
        }
        let plain = self.room();
        let wire = if from_wire { self.wire_allows(now) } else { 0 };
        Some(Limits { plain, wire, finish: false })
    }

    fn wire_allows(&mut self, now: Instant) -> usize {
        let most = READ_AT_ONCE << self.reach;
        let last = self.has(HELD);
        let Some(rules) = self.rules.as_mut().filter(|_| !last) else { return most };
        if self.read_paused & LIMITS != 0 {
            return 0;
        }
        let most = most.min(rules.read.allowed(now));
        rules.shared(Direction::Read, most, now)
    }

    /// What the program may be given.
    fn room(&self) -> usize {
        if !self.gives() {
            return 0;
        }
        let high = self.rules.as_ref().map_or(usize::MAX, |rules| rules.input_high);
        (READ_AT_ONCE << self.reach).min(high.saturating_sub(self.input.len()))
    }

    /// The program is to be given what there is.
    fn gives(&self) -> bool {
        matches!(self.read, ReadSide::Open | ReadSide::Discarding)
            && self.write != WriteSide::Connecting
            && self.read_paused & !LIMITS == 0
    }

    /// (c)
    fn reads_raw(&self) -> bool {
        self.has(RAW)
            && matches!(self.read, ReadSide::Open | ReadSide::Discarding)
            && self.write != WriteSide::Connecting
    }

    /// As [`Stream::handle_read`]: `moved.bytes` came into the input, `wire` bytes from the wire.
    pub fn handle_layered_read(&mut self, moved: Moved, wire: usize, now: Instant) {
        let mut moved = moved;
        if self.has(CLOSING) && matches!(moved.then, Then::Failed(_)) {
            // Nobody looks at what comes; what is still to be sent must not be lost for it.
            moved.then = Then::End;
        }
        self.took_in(moved, wire, now);
    }

    /// What may be written now; `None`: nothing, or not before the kernel says so.
    pub fn layered_write_limits(&mut self, now: Instant) -> Option<Limits> {
        if self.has(BLOCKED) || !self.has_to_write() || self.write_paused & LIMITS != 0 {
            return None;
        }
        let plain = if self.gives_away() { WRITE_AT_ONCE } else { 0 };
        let wire = match &mut self.rules {
            Some(rules) => {
                let most = WRITE_AT_ONCE.min(rules.write.allowed(now));
                rules.shared(Direction::Write, most, now)
            }
            None => WRITE_AT_ONCE,
        };
        (wire > 0).then_some(Limits { plain, wire, finish: self.ends_layers() })
    }

    /// Something of the output may go into the layers.
    fn gives_away(&self) -> bool {
        self.write_paused == 0 && !self.output.is_empty() && !self.has(RAW | STARVED)
    }

    /// Nothing comes behind the output. Before they are established the layers end only if nobody waits for that.
    fn ends_layers(&self) -> bool {
        self.write == WriteSide::Finishing && (!self.has(RAW) || self.has(CLOSING))
    }

    /// Whether there is anything that the layers could be given or could give to the wire.
    pub(super) fn has_to_write(&self) -> bool {
        let ends = self.ends_layers() && self.output.is_empty() && self.has(UNFINISHED);
        matches!(self.write, WriteSide::Open | WriteSide::Finishing)
            && !self.has(HELD | OVER)
            && (self.has(SENDS) || ends || self.gives_away())
    }

    /// As [`Stream::handle_write`]: `moved.bytes` left the output, `wire` bytes went to the wire.
    pub fn handle_layered_write(&mut self, moved: Moved, wire: usize, state: LayerState, now: Instant) {
        self.handle_layers(state);
        if moved.bytes > 0 {
            self.set(UNWRITTEN);
        }
        if wire > 0
            && let Some(rules) = &mut self.rules
        {
            rules.moved(Direction::Write, wire, now);
            if rules.linger_from.is_some() {
                rules.linger_from = Some(now);
            }
        }
        let output_low = self.rules.as_ref().map_or(0, |rules| rules.output_low);
        let unsent = self.output.len().saturating_add(state.unsent);
        if moved.bytes + wire > 0 && self.has(UNWRITTEN) && unsent <= output_low {
            if unsent == 0 {
                self.state &= !UNWRITTEN;
            }
            if !self.has(CLOSING) {
                self.set(WRITTEN);
            }
        }
        self.handle_stop(moved.then);
    }

    /// The output may have changed: the layers are asked again.
    pub fn begin_layered_write(&mut self, state: LayerState) {
        self.handle_layers(LayerState { starved: false, ..state });
        // What ends them must go before the end: so it is known now, not only when everything is sent.
        if !self.has_events() {
            self.finish_after_eof();
        }
    }

    /// Whether it could go on though nobody will say so.
    pub fn layers_go_on(&mut self, now: Instant) -> bool {
        self.has(HOLDS) && (self.room() > 0 || self.reads_raw()) || self.layered_write_limits(now).is_some()
    }

    pub(super) fn layered_interest(&self, plain: Interest) -> Interest {
        let mut wants = plain;
        if self.reads_raw() && self.read_paused & LIMITS == 0 {
            wants |= Interest::READ;
        }
        if self.has(BLOCKED) && self.has_to_write() && self.write_paused & LIMITS == 0 {
            wants |= Interest::WRITE;
        }
        wants
    }

    /// Whether the rate limit is all that keeps a direction still, so that its timer is waited for.
    pub(super) fn only_rate(&self, direction: Direction) -> bool {
        let (paused, regardless) = match direction {
            Direction::Read => (self.read_paused, RAW),
            Direction::Write => (self.write_paused, SENDS),
        };
        paused == pause::RATE || self.has(regardless) && paused & pause::GROUP == 0
    }

    /// For the timeout: nothing but the peer keeps the layers from sending, or from being established.
    pub(super) fn layers_wait(&self) -> bool {
        const BY_PROGRAM: u8 = pause::DISABLED | pause::USER;
        self.write_paused & BY_PROGRAM == 0
            && matches!(self.write, WriteSide::Open | WriteSide::Finishing)
            && !self.has(HELD | OVER)
            && (self.has(RAW) || self.write_paused == 0 && self.has_to_write())
    }
}
