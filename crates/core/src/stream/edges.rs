//! What an edge-triggered stream remembers. The kernel says once that something has come, and says it again only when
//! more comes; it does not queue the descriptor again after each report, which is what that saves (3 % of a message of
//! 64 bytes). So what a level-triggered loop is simply told again must be known here: whether something may be left.
//!
//! Traps:
//! (a) A read that was filled may have left bytes: they are read in the next pass, by the stream's own will.
//! (b) A short read has emptied the socket (epoll(7), Q9), but for three cases, of which the report tells. An end or an error
//!     that came before the report is no new edge (PEER_CLOSED, HANGUP, ERROR), and recv(2) stops short at the mark of
//!     urgent data, whatever lies behind (URGENT). Then it is read until the kernel has nothing or the end is met.
//! (c) While a stream rests, a report may be told to it in vain; it counts when it goes on.
//! (d) On Unix sockets recv(2) also stops where descriptors were passed along, and nothing tells of that: those stay
//!     level-triggered, by the transport's word.

use super::{EDGES, MISTRUSTED, READABLE, Stream};
use crate::interest::{Interest, Ready};
use crate::stream::{Moved, Then};

/// What is asked for beside READ: see (b).
const BESIDE: Interest = Interest::PEER_CLOSED.with(Interest::URGENT);
/// Where a short read says nothing: (b).
const LEAVES_MORE: Ready =
    Ready::PEER_CLOSED.with(Ready::URGENT).with(Ready::HANGUP).with(Ready::ERROR).with(Ready::INVALID);

impl Stream {
    /// It is watched by [`crate::Trigger::Edge`], on hands with [`crate::Features::exact_edges`]. To be called before
    /// [`Stream::next_interest`].
    pub fn set_edges(&mut self) {
        self.set(EDGES);
    }

    /// The kernel has told this. Only where it is watched by edges does it make a difference.
    #[inline]
    pub fn handle_ready(&mut self, ready: Ready) {
        if ready.intersects(Ready::READ) && self.has(EDGES) {
            self.set(READABLE);
            if ready.intersects(LEAVES_MORE) {
                self.set(MISTRUSTED);
            }
        }
    }

    /// A read from the kernel came to this.
    #[inline]
    pub(super) fn note_read(&mut self, moved: Moved) {
        match moved.then {
            Then::More => {} // (a)
            Then::Blocked if moved.bytes > 0 && self.has(MISTRUSTED) => {}
            _ => self.state &= !(READABLE | MISTRUSTED),
        }
    }

    /// Whether there may be something to read that the kernel does not tell again: it is to be called with READ in the
    /// next pass.
    #[inline]
    pub fn reads_on(&self) -> bool {
        self.has(READABLE) && self.reads()
    }

    /// What to ask for where reading is wanted.
    #[inline]
    pub(super) fn read_interest(&self) -> Interest {
        if self.has(EDGES) { Interest::READ.with(BESIDE) } else { Interest::READ }
    }
}
