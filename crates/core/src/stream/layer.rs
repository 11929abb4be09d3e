//! What stands between a stream's bytes and the wire's, and what has gone wrong in it.

use crate::backend::Errno;
use crate::buffer::{Buffer, BufferError, Pool};
use alloc::borrow::Cow;
use core::fmt;

/// What stands between a stream's bytes and the wire's: a filter, TLS. Pure: buffers in, buffers out, no clock.
///
/// Whoever drives it keeps the two wire buffers, calls `decode` when bytes have come or some were kept back, and `encode`
/// when there is something to send; a call that finds nothing to do changes nothing and costs little. An error is final:
/// neither is called after it, but that `encode` may once give what the peer is to know of it ([`Layer::has_to_send`]).
///
/// What was read lies in blocks of the pool: a layer that gives them back ([`Buffer::drain_into`]) and takes blocks for
/// what it makes allocates nothing for a message. One that does neither is as right, and slower.
pub trait Layer {
    /// Takes what it can from `wire` (what was received) and appends at most `limit` bytes to `plain`; the limit may be 0.
    /// What stays in `wire` comes again with more behind it. `ended`: the wire has ended, so what is there is all; a wire
    /// that ends where it should not is an error. What can still be given comes before an error, however often it takes.
    fn decode(
        &mut self,
        wire: &mut Buffer,
        plain: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        ended: bool,
    ) -> Result<(), LayerError>;

    /// Takes at most `limit` bytes from `plain` and appends to `wire`, its own messages (handshake, alerts) included.
    /// `finish`: nothing more comes after `plain`; what ends the layer (close_notify, a trailer) goes out once, in the call
    /// that takes the last byte or a later one.
    fn encode(
        &mut self,
        plain: &mut Buffer,
        wire: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        finish: bool,
    ) -> Result<(), LayerError>;

    /// Whether the program's bytes may flow; Connected is told when this becomes true.
    fn is_established(&self) -> bool {
        true
    }

    /// Whether it holds bytes inside that `decode` could give without anything new from the wire (kept back because of
    /// `limit`).
    fn holds_plain(&self) -> bool {
        false
    }

    /// Whether it has something of its own to send (handshake, alert, key update): `encode` would append to `wire` even
    /// with nothing in `plain`.
    fn has_to_send(&self) -> bool {
        false
    }

    /// Whether the peer's layer has ended (close_notify), though the wire may not have: `decode` will give nothing more.
    fn has_ended(&self) -> bool {
        false
    }

    /// The program wants the peer to have all of it now: what `encode` has taken and keeps back, for a better
    /// compression say, is something to send from now on.
    fn flush(&mut self) {}
}

/// Why a layer cannot go on. The stream is told `Error` with `errno`; the text says what happened and whose fault it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LayerError {
    errno: Errno,
    text: Cow<'static, str>,
}

impl LayerError {
    const EPROTO: Errno = Errno(71);
    const ENOMEM: Errno = Errno(12);

    /// The peer has not kept to the layer's protocol: EPROTO.
    pub fn protocol(text: impl Into<Cow<'static, str>>) -> Self {
        LayerError::new(LayerError::EPROTO, text)
    }

    /// With an errno of its own.
    pub fn new(errno: Errno, text: impl Into<Cow<'static, str>>) -> Self {
        LayerError { errno, text: text.into() }
    }

    /// What the stream is told.
    pub fn errno(&self) -> Errno {
        self.errno
    }

    /// What happened.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for LayerError {}

/// A buffer refused: there is no memory, or somebody has frozen it.
impl From<BufferError> for LayerError {
    fn from(refused: BufferError) -> Self {
        let (errno, text) = match refused {
            BufferError::NoMemory => (LayerError::ENOMEM, "there is no memory for what a layer makes"),
            BufferError::File(errno) => (errno, "a file in the output could not be read"),
            _ => (LayerError::EPROTO, "a buffer refused what a layer makes"),
        };
        LayerError::new(errno, text)
    }
}
