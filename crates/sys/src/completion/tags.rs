//! What the kernel's 64 bits of user data say: which kind of request, on which slot, in which generation.

use duolu_core::completion::ConnId;

/// The kind of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Op {
    /// Accept; the slot is the listener's.
    Accept = 1,
    /// Wait until there is something to accept, where accepting itself would not wait.
    AcceptReady,
    /// Watch a descriptor; the slot is the watch's.
    Watch,
    /// Receive, multishot.
    Receive,
    /// Send.
    Send,
    /// Wait for room to send.
    Writable,
    /// Shut the sending side.
    Shutdown,
    /// Close.
    Close,
    /// Cancel another request.
    Cancel,
    /// Wait until a dialled connection is there.
    Connect,
}

/// Generations in a tag have 24 bits: a completion would have to be late by 16 million connections of the
/// same slot to be mistaken.
pub(super) const GENERATION_MASK: u32 = 0x00ff_ffff;

/// Kind, generation and slot in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag(pub u64);

impl Tag {
    pub(super) fn new(op: Op, slot: u32, generation: u32) -> Self {
        Tag((op as u64) << 56 | u64::from(generation & GENERATION_MASK) << 32 | u64::from(slot))
    }

    pub(super) fn of(op: Op, conn: ConnId) -> Self {
        Tag::new(op, conn.slot(), conn.generation())
    }

    pub(super) fn op(self) -> Option<Op> {
        use Op::{Accept, AcceptReady, Cancel, Close, Connect, Receive, Send, Shutdown, Watch, Writable};
        [Accept, AcceptReady, Watch, Receive, Send, Writable, Shutdown, Close, Cancel, Connect]
            .get(((self.0 >> 56) as usize).wrapping_sub(1))
            .copied()
    }

    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & GENERATION_MASK
    }

    pub(super) fn conn(self) -> ConnId {
        ConnId::new(self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gives_back_what_went_in() {
        let ops = [Op::Accept, Op::AcceptReady, Op::Watch, Op::Receive, Op::Send, Op::Writable, Op::Shutdown];
        for op in ops.into_iter().chain([Op::Close, Op::Cancel, Op::Connect]) {
            let tag = Tag::new(op, u32::MAX, GENERATION_MASK);
            assert_eq!((tag.op(), tag.slot(), tag.generation()), (Some(op), u32::MAX, GENERATION_MASK));
        }
        assert_eq!(Tag(0).op(), None);
        assert_eq!(Tag(u64::MAX).op(), None);
    }
}
