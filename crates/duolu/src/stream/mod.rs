//! Buffered streams (libevent's bufferevent): the loop reads and writes, the program is told what came of it.
//!
//! One object in the loop's slot holds the socket, the judgement ([`duolu_core::stream`]) and the handler. What a message
//! costs: one recv, one send, no change of interest, no allocation; counted in `tests/budgets/streams.rs`.
//!
//! Reading order: this file is what a program sees; `options` how a stream is made, `transport` what it may be made of,
//! `drive` what happens when its descriptor is ready, `carry` where the hands move the bytes by themselves.

mod bytes;
mod carry;
mod drive;
mod group;
mod joining;
mod layered;
mod options;
mod pair;
pub(crate) mod pipes;
mod race;
mod relay;
mod splice;
mod transport;

use crate::context::Context;
use crate::error::Error;
use duolu_core::buffer::{Buffer, BufferError, Eol, FileRegion, Pool};
use duolu_core::stream::{Direction, LINGER_NS, Pace, Rate, StreamEvent, pause};
pub use duolu_core::stream::{Filter, Flow, Layer, LayerError, LayerState};
use duolu_core::{EventId, time::duration_nanos};
use std::any::TypeId;
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use drive::{Driven, Parts, pool};
pub use group::RateGroup;
pub use layered::Layered;
pub use options::StreamOptions;
pub use pair::PairEnd;
pub use race::{Candidates, Racing};
pub use splice::{SpliceEnd, SpliceOptions, Spliced};
pub use transport::Transport;

/// Blocks of a loop's pool: messages of 16 KiB, and what a socket has at once after a GRO batch, are one plain recv that
/// does not fill it. One read takes two at most.
pub(crate) const BLOCK_BYTES: usize = 32 * 1024;
/// So many are kept: 1 MiB.
pub(crate) const MOST_BLOCKS: usize = 32;
/// Where the hands move the bytes all messages of a turn are on their way at once, each in its block: 32 MiB, that a loop
/// with a thousand large messages in a turn takes, and 17 for 16 thousand small ones.
pub(crate) const MOST_BLOCKS_CARRIED: usize = 1024;

/// A connection as an object: its state, and what to do when something has happened. A closure
/// `FnMut(&mut Context<D>, &mut Stream, StreamEvent)` is one too; both cost the same.
///
/// Nothing has to be returned, because a stream knows when it is over: after `Error` and `Timeout`, and when both ways
/// have ended (which `Eof` brings about by itself, when the output is sent, unless half-open streams are allowed). Then it
/// is removed and its socket closed. So a handler that looks at `Read` only leaks nothing.
pub trait StreamHandler<D>: 'static {
    /// `event` has happened. The bytes read are in the stream's input; what is written to it goes out when this returns,
    /// all at once.
    fn event(&mut self, ctx: &mut Context<D>, stream: &mut Stream<'_>, event: StreamEvent);
}

impl<D, C> StreamHandler<D> for C
where
    C: FnMut(&mut Context<D>, &mut Stream<'_>, StreamEvent) + 'static,
{
    #[inline]
    fn event(&mut self, ctx: &mut Context<D>, stream: &mut Stream<'_>, event: StreamEvent) {
        self(ctx, stream, event)
    }
}

impl<D: 'static> Context<D> {
    /// Reads from and writes to a connected socket by itself, and tells `handler`. The loop owns the socket, makes it
    /// nonblocking, and closes it when the stream is over or [`Context::remove`]d (at once, then: what is unsent is lost).
    /// Reading is enabled. Allocates once.
    pub fn stream<S: Transport>(
        &mut self,
        socket: S,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        self.install_stream(socket, false, options, handler)
    }

    /// Connects, and goes on as [`Context::stream`]: `Connected` is told, or `Error`. What is written before is kept and
    /// sent then. The write timeout counts for the connection as well. TCP_NODELAY is set: what a handler writes goes out
    /// in one call, so there is nothing to gather, and its last bytes would wait for an acknowledgement (40 ms).
    pub fn connect(
        &mut self,
        address: SocketAddr,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        self.connect_through(address, |socket| socket, options, handler)
    }

    /// The same, with what `wrap` puts upon the socket: `Connected` is told when every layer is established, and the write
    /// timeout counts until then.
    ///
    /// `ctx.connect_through(address, |socket| Layered::new(socket, layer), options, handler)`
    pub fn connect_through<S: Transport>(
        &mut self,
        address: SocketAddr,
        wrap: impl FnOnce(TcpStream) -> S,
        options: StreamOptions,
        handler: impl StreamHandler<D>,
    ) -> Result<EventId, Error> {
        let begun = duolu_sys::socket::connect(address, None)?;
        duolu_sys::socket::set_nodelay(&begun.stream, true)?;
        self.install_stream(wrap(begun.stream), true, options, handler)
    }

    /// Works on a stream from elsewhere than its own callback; what is written goes out when `work` returns. What there
    /// is to tell is told by the loop later. `None` where there is no such stream, and inside its own callback, which has
    /// it already.
    pub fn with_stream<R>(
        &mut self,
        id: EventId,
        work: impl FnOnce(&mut Context<D>, &mut Stream<'_>) -> R,
    ) -> Option<R> {
        drive::lend(self, id, work)
    }
}

/// A stream, as long as one works on it: its input, its output, and what becomes of it.
///
/// It is written to as an [`io::Write`]; nothing written is ever partial or would block: it is kept until the peer takes
/// it. (See [`StreamOptions::output_marks`] for what keeps that bounded.)
pub struct Stream<'a> {
    core: &'a mut duolu_core::stream::Stream,
    layers: &'a mut dyn transport::Layers,
    pool: &'a RefCell<Pool>,
    id: EventId,
}

impl Stream<'_> {
    /// Its id, for [`Context::with_stream`] and [`Context::remove`].
    pub fn id(&self) -> EventId {
        self.id
    }

    // Reading.

    /// What was read and not yet taken, to look at.
    pub fn input(&self) -> &Buffer {
        self.core.input()
    }

    /// The same, to do with it whatever a [`Buffer`] can. What is taken from it by this stream's own methods costs less:
    /// they give the memory back to the loop's pool.
    pub fn input_mut(&mut self) -> &mut Buffer {
        self.core.input_mut()
    }

    /// The bytes of the input that lie in one piece of memory: all of them, mostly. Take them with [`Stream::consume`].
    pub fn front(&self) -> &[u8] {
        self.core.input().front()
    }

    /// The first `bytes` of the input in one piece; `None` where it has fewer.
    pub fn pull_up(&mut self, bytes: usize) -> Option<&[u8]> {
        self.core.input_mut().pull_up(bytes).ok()
    }

    /// Drops bytes from the front of the input, all if it has fewer.
    pub fn consume(&mut self, bytes: usize) {
        let _ = self.core.input_mut().drain_into(bytes, &mut self.pool.borrow_mut());
    }

    /// The next line without its end; `None` as long as the input has no whole one.
    pub fn read_line(&mut self, eol: Eol) -> Option<Vec<u8>> {
        self.core.input_mut().read_line(eol).ok().flatten()
    }

    // Writing.

    /// Moves the whole input to the output, without a copy. False where nothing can be sent any more.
    pub fn echo(&mut self) -> bool {
        let writable = self.core.is_writable();
        let (input, output) = self.core.both();
        writable && output.append_buffer(input).is_ok()
    }

    /// Sends a part of a file, by sendfile(2) where the kernel can. False where nothing can be sent any more.
    pub fn send_file(&mut self, file: Arc<dyn FileRegion>, offset: u64, len: usize) -> bool {
        self.core.is_writable() && self.core.output_mut().append_file(file, offset, len).is_ok()
    }

    /// Sends everything in `buffer`, without a copy. False where nothing can be sent any more.
    pub fn send_buffer(&mut self, buffer: &mut Buffer) -> bool {
        self.core.is_writable() && self.core.output_mut().append_buffer(buffer).is_ok()
    }

    /// How many bytes wait to be sent; with layers, those that they have made and the kernel has not taken included.
    pub fn unsent(&self) -> usize {
        self.core.output().len() + self.layers.unsent()
    }

    /// Whether what is written will be sent: not after `finish`, `close` and errors.
    pub fn is_writable(&self) -> bool {
        self.core.is_writable()
    }

    // Layers.

    /// The outermost layer of that type: to ask it (TLS: who the peer is), or to have it do something.
    pub fn layer<L: Layer + 'static>(&mut self) -> Option<&mut L> {
        self.layers.find(TypeId::of::<L>())?.downcast_mut()
    }

    /// Why a layer could not go on, in words: where `Error` was told because of one.
    pub fn layer_error(&self) -> Option<&LayerError> {
        self.layers.error()
    }

    // What becomes of it.

    /// Nothing more will be written: what is unsent goes out, then the end. The peer may go on sending.
    pub fn finish(&mut self) {
        self.core.finish();
    }

    /// Ends it and loses nothing: what is unsent goes out, then the end; what the peer still sends is dropped, until its
    /// end, or until it has taken nothing for five seconds. Nothing is told any more.
    pub fn close(&mut self) {
        self.core.close(LINGER_NS);
    }

    /// The same, with that much patience.
    pub fn close_within(&mut self, patience: Duration) {
        self.core.close(duration_nanos(patience));
    }

    /// Ends it at once and has the peer know that not all has come (RST, on TCP): what is unsent is lost. Nothing is told
    /// any more.
    pub fn reset(&mut self) {
        self.core.reset();
    }

    /// Reads, or sends, again after [`Stream::disable`] or a timeout.
    pub fn enable(&mut self, direction: Direction) {
        self.core.resume(direction, pause::DISABLED);
    }
    /// Does not read, or send, for the time being; its timeout does not count meanwhile.
    pub fn disable(&mut self, direction: Direction) {
        self.core.pause(direction, pause::DISABLED);
    }
    /// As `disable`, for another reason: the direction goes on when neither holds.
    pub fn suspend(&mut self, direction: Direction) {
        self.core.pause(direction, pause::USER);
    }
    /// Ends [`Stream::suspend`].
    pub fn unsuspend(&mut self, direction: Direction) {
        self.core.resume(direction, pause::USER);
    }

    /// How long nothing may move that way before `Timeout` is told; `None`: for ever.
    pub fn set_timeout(&mut self, direction: Direction, timeout: Option<Duration>) {
        self.core.set_timeout(direction, timeout.map(duration_nanos));
    }
    /// See [`StreamOptions::input_marks`].
    pub fn set_input_marks(&mut self, low: usize, high: usize) {
        self.core.set_input_marks(low, high);
    }
    /// See [`StreamOptions::output_marks`].
    pub fn set_output_marks(&mut self, low: usize, high: usize) {
        self.core.set_output_marks(low, high);
    }
    /// See [`StreamOptions::rate`].
    ///
    /// What was moved stays taken from the new rate as well, so that changing it often gains nothing.
    pub fn set_rate(&mut self, direction: Direction, rate: Option<Rate>) {
        self.core.set_rate(direction, rate.map(Into::into));
    }
    /// How fast bytes may move that way; `None`: as fast as they can.
    pub fn rate(&self, direction: Direction) -> Option<Rate> {
        self.core.pace(direction).and_then(Pace::even)
    }
    /// See [`StreamOptions::most_at_once`]; 0: as much as is good.
    pub fn set_most_at_once(&mut self, direction: Direction, bytes: usize) {
        self.core.set_most_at_once(direction, bytes);
    }
    /// Has `Read` (if there is input) or `Written` be told as if it had come about by itself, where the low watermark
    /// has it told. The loop tells it later, not this call.
    pub fn trigger(&mut self, direction: Direction) {
        self.core.trigger(direction, false);
    }
    /// The same, whatever the watermarks say.
    pub fn trigger_anyway(&mut self, direction: Direction) {
        self.core.trigger(direction, true);
    }
}

impl io::Write for Stream<'_> {
    /// Takes all of it. BrokenPipe where nothing can be sent any more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.core.is_writable() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        // Into a block of the pool, which comes back when it is sent: nothing is allocated.
        let appended = self.core.output_mut().append_pooled(bytes, &mut self.pool.borrow_mut());
        appended.map(|()| bytes.len()).map_err(|error| match error {
            BufferError::NoMemory => io::ErrorKind::OutOfMemory.into(),
            other => io::Error::other(other),
        })
    }

    /// It goes out when the callback returns, anyway; so does what a layer keeps back otherwise, for a better compression
    /// say ([`Layer::flush`]).
    fn flush(&mut self) -> io::Result<()> {
        self.layers.flush();
        Ok(())
    }
}

impl io::Read for Stream<'_> {
    /// Takes from the input. WouldBlock where it is empty and more may come, 0 at the end.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.core.input().is_empty() && !into.is_empty() && self.core.is_readable() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let copied = self.core.input().copy_out(0, into).map_err(io::Error::other)?;
        self.consume(copied);
        Ok(copied)
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream {:?}, {} in, {} out", self.id, self.core.input().len(), self.core.output().len())
    }
}
