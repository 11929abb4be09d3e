//! The second door of hands that complete: they move a stream's bytes by themselves, along with their waiting, and the
//! stream takes what came and learns what was sent.
//!
//! A descriptor is watched as before. Once adopted, READ in a report means that there is something to
//! [`Transfers::receive`], and WRITE that what became of a [`Transfers::send`] is known; so nobody above has to know of
//! requests and their completions.
//!
//! Who owns what: the memory that the kernel sees is the hands', always. What was received is copied out of it, what is to
//! be sent is copied into it and stays in the output until the kernel has taken it. So a stream may be dropped at any
//! moment, and no byte is counted twice or lost. What is too long for that to pay goes the straight way: `None` says so.

use crate::backend::RawFd;
use crate::buffer::{Buffer, Pool};
use crate::stream::Moved;

/// Moves bytes for streams. See the module's head.
pub trait Transfers {
    /// From now on `fd`, a nonblocking stream socket that is connected and watched, is received from ahead of being asked,
    /// as long as READ is watched for. `owner` is the event's id. `bounded`: its reader takes little at once (a mark, a
    /// rate): it is told when there is something and reads for itself.
    fn adopt(&mut self, fd: RawFd, owner: u64, bounded: bool);

    /// The opposite, before the descriptor is closed: what was received and not taken, and what was not sent, is dropped.
    /// Nothing where `owner` has not adopted it.
    fn release(&mut self, fd: RawFd, owner: u64);

    /// Moves up to `limit` received bytes to the end of `input`. `None`: read it yourself.
    fn receive(&mut self, fd: RawFd, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Option<Moved>;

    /// Has bytes from the front of `output` sent, up to `limit`, and drains those of the last call that the kernel has
    /// taken; what must wait for room is given back from its block ([`Buffer::give_back`]). While it is not known how many those are: `Blocked`, and WRITE is reported when it is. `None`: nothing is
    /// under way; write it yourself, and say [`Transfers::await_room`] if the kernel takes less than all of it.
    fn send(&mut self, fd: RawFd, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Option<Moved>;

    /// Has WRITE reported when the kernel takes bytes again.
    fn await_room(&mut self, fd: RawFd);

    /// What was done so far.
    fn counters(&self) -> TransferCounters;
}

/// What hands that complete have done since they were opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TransferCounters {
    /// Streams whose bytes they move now.
    pub adopted: u64,
    /// Receives that brought bytes.
    pub received: u64,
    /// Sends handed to the kernel.
    pub sent: u64,
    /// Times the straight way was taken instead: a long output, a reader that keeps less than it is given.
    pub straight: u64,
    /// Receives that found no buffer and were asked for again.
    pub no_buffers: u64,
    /// Receives taken back because reading rests.
    pub cancelled: u64,
    /// Buffers to receive into.
    pub buffers: u32,
    /// Those of them that the kernel has now; the others come back with the next wait.
    pub buffers_free: u32,
    /// Sends of which it is not yet known what became of them.
    pub sending: u32,
}
