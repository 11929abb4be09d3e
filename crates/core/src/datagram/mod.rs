//! The judgement of a datagram socket: what waits to be sent, how much of it there may be, what an error means. Nothing here
//! moves a byte:
//!
//! ```text
//! program -> push(...)            hands: pieces() ... sendmmsg -> handle_sent(pieces taken, or errno)
//! kernel says writable -> handle_writable()      may_send(), wants_writable(), rest_ns() say what to wait for
//! next_report() -> the program
//! ```
//!
//! Receiving needs no judgement: it is a batch, told as it came.

mod address;
mod queue;
mod sender;

pub use address::{Address, Local, UnixName};
pub use queue::{MOST_SEGMENTS, Piece, SendQueue, SendRefused};
pub use sender::{Report, SendStats, Sender};

#[cfg(test)]
mod tests;
