//! What a server does with the bytes of one connection: the same code under every model.
//!
//! A model owns the socket, the buffers and the waiting. It reads, hands what it read to the connection's
//! [`Session`], sends what the [`Turn`] names, and does what [`Turn::then`] says:
//!
//! ```text
//! read n bytes -> session.handle(&buffer[..n], &mut output, draining) -> send -> Then::{Keep, Close, Linger}
//! end of file  -> send what is still unsent -> close
//! ```

use std::fmt;

/// One connection's side of a service.
pub trait Session: Default + Send + 'static {
    /// Takes all of `input` in; what does not make a whole request is kept inside. An answer is either `input`
    /// itself, so that an echo needs no copy, or what is appended to `output`, which is empty when called.
    /// With `leaving` the server is about to end: say goodbye with this answer if the protocol has a way.
    fn handle(&mut self, input: &[u8], output: &mut Vec<u8>, leaving: bool) -> Turn;

    /// Whether the connection may be closed now and the peer loses nothing: no request has begun.
    /// False for ever where the protocol has no requests (echo); such peers get the whole of `--drain`.
    fn is_idle(&self) -> bool;

    /// Whether a request has begun that the peer must bring to its end soon (see [`HEAD_LIMIT_MS`]).
    fn is_owed(&self) -> bool {
        false
    }
}

/// How long a peer may take to send the rest of what [`Session::is_owed`], in milliseconds.
pub const HEAD_LIMIT_MS: u64 = 10_000;
/// How long a connection that ends with [`Then::Linger`] waits for the peer's end, in milliseconds.
pub const LINGER_LIMIT_MS: u64 = 2_000;
/// How much such a connection reads and throws away before it is closed anyway, in bytes.
pub const LINGER_LIMIT_BYTES: u64 = 1 << 20;

/// What to do after a [`Session::handle`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Which bytes to send.
    pub reply: Reply,
    /// What becomes of the connection once they are sent.
    pub then: Then,
    /// How many messages (echo: pieces; http: requests) were answered, for the counters.
    pub messages: u64,
}

/// Which bytes to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The input, unchanged.
    Input,
    /// What was appended to `output`; perhaps nothing.
    Output,
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Read on.
    Keep,
    /// Close it: the peer has nothing more to say.
    Close,
    /// The peer may be still sending what nobody will read, and a plain close would answer that with a reset
    /// that destroys the answer on its way (RFC 9112, section 9.6): shut the sending side, read and throw away
    /// until the peer's end, [`LINGER_LIMIT_MS`] or [`LINGER_LIMIT_BYTES`], then close.
    Linger,
}

/// The services, by the names people type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Service {
    /// Sends back what it gets
    Echo,
    /// Answers GET and HEAD with a small fixed page; keep-alive and pipelining
    Http,
    /// Throws away what it gets (RFC 863)
    Discard,
    /// Sends lines of characters for as long as they are taken (RFC 864)
    Chargen,
    /// Passes on to --to, both ways
    Proxy,
}

impl Service {
    /// Whether it needs streams, because it writes without having been asked, or to another connection: the models that
    /// read, answer and read again cannot do it.
    pub const fn stands_on_streams(self) -> bool {
        matches!(self, Service::Chargen | Service::Proxy)
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Service::Echo => "echo",
            Service::Http => "http",
            Service::Discard => "discard",
            Service::Chargen => "chargen",
            Service::Proxy => "proxy",
        })
    }
}
