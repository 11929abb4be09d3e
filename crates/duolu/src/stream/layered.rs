//! A layer upon a transport, and again a transport: so layers stack.
//!
//! ```text
//! input  <- plain  decode  wire_in  <- read_through of what is below
//! output -> plain  encode  wire_out -> write_through of what is below
//! ```
//!
//! Traps:
//! (a) What the layer keeps back because the input is full is in no kernel, which could tell of it: `holds` does, until
//!     the layer has shown that it can do nothing with what it has (`starved`).
//! (b) The wire's end, or its error, is met once and told only behind the last byte that can be made of what came before.
//! (c) A layer that says that it has something to send or to give and does nothing when it is called would be called
//!     for ever: it is believed again when something has changed.
//! (d) Files in the output have no bytes to look at: such a part is brought into memory, a step at a time.

use super::Transport;
use super::bytes::{has_file, move_bytes};
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{Layer, LayerError, LayerState, Moved, Then};
use duolu_core::{Errno, EventId, RawFd, Ready};
use std::any::{Any, TypeId};
use std::io;

/// So much is read, or given to the layer, at once: what it makes of it is in memory beside it.
const STEP: usize = 64 * 1024;
/// While so much is encoded and not taken by what is below, nothing more is encoded.
const ENCODED_AHEAD: usize = 64 * 1024;
/// So much a layer may leave in the wire's buffer while it asks for more: a peer could else fill the memory.
const MOST_UNDECODED: usize = 1024 * 1024;

/// A transport with a [`Layer`] upon it: `Layered::new(socket, layer)`, for [`Context::stream`](crate::Context::stream) and
/// [`Context::connect_through`](crate::Context::connect_through).
///
/// Rates and timeouts count the wire's bytes, watermarks the program's. What is encoded and not yet sent is unsent.
pub struct Layered<S, L> {
    below: S,
    layer: L,
    wire_in: Buffer,
    wire_out: Buffer,
    /// The wire came to its end, or failed: see (b).
    wire_end: Option<Then>,
    error: Option<LayerError>,
    /// The last `decode` did nothing, though it might have: (a).
    starved_in: bool,
    /// The last `encode` did nothing, though it might have: (c).
    starved_out: bool,
    /// The end was told, or the error.
    ended: bool,
    /// The layer's own end is in `wire_out`, or further on.
    finished: bool,
    flush: Flush,
}

/// Whether the program wants out what the layer keeps back. It means what it has written before, so that must have been
/// given to the layer first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    No,
    /// And nothing was seen that it would have to wait for.
    Asked,
    /// Behind what is in the output.
    Waits,
}

impl<S: Transport, L: Layer + 'static> Layered<S, L> {
    /// `layer` upon `below`: a socket, the end of a pair, or something that is layered already.
    pub fn new(below: S, layer: L) -> Self {
        Layered {
            below,
            layer,
            wire_in: Buffer::new(),
            wire_out: Buffer::new(),
            wire_end: None,
            error: None,
            starved_in: false,
            starved_out: false,
            ended: false,
            finished: false,
            flush: Flush::No,
        }
    }

    /// Whether `decode` could have something to do.
    fn could_decode(&self) -> bool {
        let something = !self.wire_in.is_empty()
            || self.layer.holds_plain()
            || self.layer.has_ended()
            || self.wire_end.is_some();
        something && !self.starved_in && !self.ended
    }

    fn decode(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) {
        let was_established = self.layer.is_established();
        self.decode_once(input, pool, if was_established { limit } else { 0 });
        if !was_established && self.layer.is_established() && self.error.is_none() && limit > 0 {
            self.decode_once(input, pool, limit);
        }
    }

    fn decode_once(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) {
        let before = (self.wire_in.len(), input.len(), self.layer.is_established());
        let ended = self.wire_end == Some(Then::End);
        if let Err(error) = self.layer.decode(&mut self.wire_in, input, pool, limit, ended) {
            self.error = Some(error);
        }
        let established = self.layer.is_established();
        let moved = before != (self.wire_in.len(), input.len(), established);
        self.starved_in = !moved && (limit > 0 || !established);
        self.starved_out &= !moved;
    }

    /// What is to be told behind the bytes that came, if no more will.
    fn end(&mut self) -> Option<Then> {
        if let Some(error) = &self.error {
            let errno = error.errno();
            self.ended = true;
            return Some(Then::Failed(errno));
        }
        let over = self.layer.has_ended() && !self.layer.holds_plain();
        let then = match self.wire_end {
            _ if over => Then::End,
            Some(then) if self.starved_in => then,
            _ => return None,
        };
        if then == Then::End && !self.layer.is_established() {
            if self.layer.has_to_send() {
                return None; // and may be established by it
            }
            const ECONNRESET: Errno = Errno(104);
            let text = "the peer has ended the connection before its layers were established";
            self.error = Some(LayerError::new(ECONNRESET, text));
            return self.end();
        }
        self.ended = true;
        Some(then)
    }

    /// Has the peer know why, if the layer has something to say and the kernel takes it now.
    #[cold]
    fn last_words(&mut self, pool: &mut Pool) {
        let mut nothing = Buffer::new();
        if self.layer.has_to_send() {
            // It has failed already; what else goes wrong is not worth telling.
            let _ = self.layer.encode(&mut nothing, &mut self.wire_out, pool, 0, false);
        }
        if !self.wire_out.is_empty() {
            let len = self.wire_out.len();
            self.below.write_through(&mut self.wire_out, pool, len, &mut { usize::MAX }, false);
        }
    }

    /// The output's next bytes into `wire_out`.
    fn encode(
        &mut self,
        output: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        finish: bool,
    ) -> Result<(), LayerError> {
        let limit = if self.layer.is_established() { limit.min(STEP) } else { 0 };
        let before = (output.len(), self.wire_out.len());
        let last = finish && output.len() <= limit;
        if limit > 0 && has_file(output, limit) {
            let mut step = Buffer::new(); // (d)
            move_bytes(output, &mut step, limit)?;
            let encoded = self.layer.encode(&mut step, &mut self.wire_out, pool, limit, last);
            output.prepend_buffer(&mut step)?;
            encoded?;
        } else {
            self.layer.encode(output, &mut self.wire_out, pool, limit, last)?;
        }
        let moved = before != (output.len(), self.wire_out.len());
        self.starved_out = !moved;
        self.starved_in &= !moved;
        if last && output.is_empty() {
            self.finished |= !self.layer.has_to_send() || self.starved_out;
        } else if last && self.starved_out && self.layer.is_established() {
            return Err(LayerError::protocol("a layer does not take the last bytes before the end"));
        }
        Ok(())
    }

    fn sends_by_itself(&self) -> bool {
        let flushes = self.flush == Flush::Asked && self.layer.is_established() && !self.finished;
        (self.layer.has_to_send() && !self.starved_out || flushes) && self.error.is_none()
    }

    /// All that was written before has been encoded: now the layer gives what it keeps back, and then the ones below.
    #[cold]
    fn flush_now(&mut self, output: &mut Buffer, pool: &mut Pool, finish: bool) -> Result<(), LayerError> {
        self.flush = Flush::No;
        self.starved_out = false;
        self.layer.flush();
        self.below.flush_layers();
        if self.layer.has_to_send() { self.encode(output, pool, 0, finish) } else { Ok(()) }
    }
}

impl<S: Transport, L: Layer + 'static> Transport for Layered<S, L> {
    const LAYERED: bool = true;

    fn descriptor(&self) -> Option<RawFd> {
        self.below.descriptor()
    }
    fn take_descriptor(&mut self) -> Option<RawFd> {
        self.below.take_descriptor()
    }
    fn prepare(&mut self) -> io::Result<()> {
        self.below.prepare()
    }
    fn shutdown_write(&mut self) {
        self.below.shutdown_write();
    }
    fn reset(&mut self) {
        self.below.reset();
    }
    fn take_error(&mut self) -> Result<(), Errno> {
        self.below.take_error()
    }
    fn ready(&self) -> Ready {
        self.below.ready()
    }
    fn installed(&mut self, id: EventId) {
        self.below.installed(id);
    }
    fn take_woken(&mut self) -> Option<(EventId, Ready)> {
        self.below.take_woken()
    }

    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.read_through(input, pool, limit, &mut { limit })
    }

    fn read_through(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize, wire: &mut usize) -> Moved {
        let before = input.len();
        let mut then = Then::More;
        if self.error.is_none() && self.could_decode() {
            self.decode(input, pool, limit);
        }
        let nothing_yet = input.len() == before && self.error.is_none() && !self.could_decode();
        if nothing_yet && self.wire_end.is_none() && (*wire > 0 || self.below.layers().holds) {
            if self.wire_in.len() >= MOST_UNDECODED {
                const EMSGSIZE: Errno = Errno(90);
                let text =
                    "a layer asks for more and more and gives nothing: the peer's message is too long for it";
                self.error = Some(LayerError::new(EMSGSIZE, text));
            } else {
                let moved = self.below.read_through(&mut self.wire_in, pool, STEP, wire);
                then = moved.then;
                if matches!(then, Then::End | Then::Failed(_)) {
                    self.wire_end = Some(then);
                }
                if moved.bytes > 0 || self.wire_end.is_some() {
                    self.starved_in = false;
                    self.decode(input, pool, limit);
                }
                self.wire_in.give_back(pool);
            }
        }
        // Without bytes to wait for nothing would ask again: so the end is looked for until it is clear.
        if input.len() == before && self.wire_end.is_some() && limit > 0 {
            while self.error.is_none() && !self.starved_in && input.len() == before {
                self.decode(input, pool, limit);
            }
        }
        let told_before = self.ended;
        let end =
            if limit > 0 || self.error.is_some() || !self.layer.is_established() { self.end() } else { None };
        if self.error.is_some() && !told_before {
            self.last_words(pool);
        }
        let then = match end {
            Some(end) => end,
            None if self.could_decode() => Then::More,
            None if self.wire_end.is_some() => Then::Blocked,
            None => then,
        };
        Moved { bytes: input.len() - before, then }
    }

    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        self.write_through(output, pool, limit, &mut { limit }, false)
    }

    fn write_through(
        &mut self,
        output: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        wire: &mut usize,
        finish: bool,
    ) -> Moved {
        let before = output.len();
        let mut failed = None;
        let may_encode = self.wire_out.len() < ENCODED_AHEAD && self.error.is_none();
        let ends = finish && output.is_empty() && !self.finished;
        if may_encode
            && (ends || limit > 0 && !output.is_empty() || self.layer.has_to_send())
            && let Err(error) = self.encode(output, pool, limit, finish)
        {
            failed = Some(Then::Failed(error.errno()));
            self.error = Some(error);
        }
        if self.flush != Flush::No && !self.finished && self.error.is_none() {
            let waits = !output.is_empty() || !may_encode;
            self.flush = if waits { Flush::Waits } else { Flush::Asked };
            if !waits
                && self.layer.is_established()
                && let Err(error) = self.flush_now(output, pool, finish)
            {
                failed = Some(Then::Failed(error.errno()));
                self.error = Some(error);
            }
        }
        let ended = finish && self.finished;
        let below = self.below.layers();
        let mut then = Then::More;
        if !self.wire_out.is_empty() || below.sends || ended && !below.finished {
            let len = self.wire_out.len();
            then = self.below.write_through(&mut self.wire_out, pool, len, wire, ended).then;
            self.wire_out.give_back(pool);
        }
        Moved { bytes: before - output.len(), then: failed.unwrap_or(then) }
    }

    fn layers(&self) -> LayerState {
        let below = self.below.layers();
        LayerState {
            established: self.layer.is_established() && below.established,
            holds: self.could_decode() || below.holds && self.wire_end.is_none() && !self.ended,
            sends: below.sends
                || self.sends_by_itself()
                || !self.wire_out.is_empty() && below.established && !below.starved,
            starved: self.starved_out,
            finished: self.finished && self.wire_out.is_empty() && below.finished,
            unsent: self.wire_out.len() + below.unsent,
        }
    }

    fn find_layer(&mut self, which: TypeId) -> Option<&mut dyn Any> {
        if which != TypeId::of::<L>() {
            return self.below.find_layer(which);
        }
        (self.starved_in, self.starved_out) = (false, false); // whoever asks may change it
        Some(&mut self.layer)
    }

    fn layer_error(&self) -> Option<&LayerError> {
        self.error.as_ref().or_else(|| self.below.layer_error())
    }

    fn flush_layers(&mut self) {
        self.flush = Flush::Asked;
    }
}
