//! What goes in and out of a stream's judgement.

use crate::backend::Errno;

/// A way of the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the peer.
    Read,
    /// To the peer.
    Write,
}

/// What is told of a stream, in this order where several are due at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamEvent {
    /// The connection that was begun stands.
    Connected,
    /// New bytes are in the input, and it holds at least the low watermark (or no more will come).
    Read,
    /// Bytes were sent, and the output holds no more than the low watermark.
    Written,
    /// The peer has ended its sending; every byte before it is in the input and was told.
    Eof,
    /// The stream broke, both ways, and this was noticed while reading or writing. What could still be read is in the
    /// input and was told.
    Error(Direction, Errno),
    /// Nothing has moved that way for as long as its timeout. That direction is disabled; unless it is enabled again
    /// before the callback returns, the stream is over.
    Timeout(Direction),
}

/// What a call of the hands has moved, and how it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Into the input, or out of the output.
    pub bytes: usize,
    /// What the next call would find.
    pub then: Then,
}

/// How a call that moves bytes ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// There may be more to move.
    More,
    /// Not before the kernel says that it is ready.
    Blocked,
    /// The end of file.
    End,
    /// An error.
    Failed(Errno),
}

/// What the hands must do beside moving bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Tell the peer that nothing more comes (shutdown(2), SHUT_WR). It is asked for once.
    ShutdownWrite,
    /// Close, and have the peer know that it was cut (RST).
    Reset,
    /// Close: nothing can happen any more, and everything was told.
    Close,
}
