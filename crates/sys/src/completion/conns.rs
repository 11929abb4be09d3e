//! The table of connections: what the ring has asked of each, and what waits to be sent.
//!
//! No request of a connection refers to memory of its entry. So an entry can be given to the next connection
//! as soon as its close is in the queue; completions that come later carry the old generation and reach nobody.

use super::tags::GENERATION_MASK;
use duolu_core::completion::ConnId;

/// End of a chain of pieces.
pub(super) const NONE: u32 = u32::MAX;

/// What was sent and had no room: a copy, because the buffer it lay in goes back at the end of the turn.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    sent: usize,
}

impl Held {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        // Move the rest to the front only once it is the smaller part: each byte is moved once at most.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn advance(&mut self, sent: usize) {
        self.sent = (self.sent + sent).min(self.bytes.len());
    }
}

/// What of a connection's output is in the submission under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Undecided {
    Nothing,
    /// The chain of this turn's pieces.
    Pieces,
    /// What was held back.
    Held,
}

/// Who sends more than this in one turn is `bulk` from then on. A multishot receive takes up to 32 buffers in one go
/// (2 MiB), and all of that may have to be held back.
const BULK_BYTES: u32 = 256 * 1024;
/// Receives below this, so many in a row, end that.
const SMALL_BYTES: u32 = 16 * 1024;
const MANY_SMALL: u8 = 16;

/// One entry of the table.
pub(super) struct Conn {
    generation: u32,
    /// Whether the slot is taken.
    pub live: bool,
    /// A receive is with the kernel.
    pub armed: bool,
    /// Its end has been asked for.
    pub cancelling: bool,
    /// The program wants to receive.
    pub wanted: bool,
    /// Too much is held back: no receive for now.
    pub paused: bool,
    /// It sends so much that it gets one buffer a turn, not as many as there are.
    pub bulk: bool,
    /// Receives in a row that were small, while `bulk`.
    pub small: u8,
    /// How much came in which turn.
    pub seen_turn: u32,
    pub seen_bytes: u32,
    /// The peer has sent FIN.
    pub finished: bool,
    /// A wait for room to send is with the kernel.
    pub waiting: bool,
    /// Dialled, and a wait until it is there is with the kernel.
    pub connecting: bool,
    /// There may be room for what is held back: try in the next submission.
    pub writable: bool,
    /// It is in the list of those with something to send, shut or close.
    pub dirty: bool,
    /// Shut the sending side when everything is sent.
    pub shut: bool,
    /// Close when everything is sent.
    pub closing: bool,
    /// It broke; to be told and closed.
    pub failed: bool,
    /// What of it is in the submission under way.
    pub undecided: Undecided,
    /// First and last piece of this turn's output.
    pub first: u32,
    pub last: u32,
    /// What had no room.
    pub held: Option<Box<Held>>,
}

impl Conn {
    fn vacant() -> Self {
        Conn {
            generation: 0,
            live: false,
            armed: false,
            cancelling: false,
            wanted: false,
            paused: false,
            bulk: false,
            small: 0,
            seen_turn: 0,
            seen_bytes: 0,
            finished: false,
            waiting: false,
            connecting: false,
            writable: false,
            dirty: false,
            shut: false,
            closing: false,
            failed: false,
            undecided: Undecided::Nothing,
            first: NONE,
            last: NONE,
            held: None,
        }
    }

    /// Whether anything is still to be sent.
    pub(super) fn has_output(&self) -> bool {
        self.first != NONE || self.held.is_some()
    }

    /// Whether the program may still do something with it.
    pub(super) fn usable(&self) -> bool {
        !self.failed && !self.closing
    }

    /// Takes note of what came, and says whether the receive that is with the kernel must end because of it.
    pub(super) fn note(&mut self, bytes: u32, turn: u32) -> bool {
        if self.seen_turn != turn {
            (self.seen_turn, self.seen_bytes) = (turn, 0);
        }
        self.seen_bytes = self.seen_bytes.saturating_add(bytes);
        if self.bulk {
            self.small = if bytes < SMALL_BYTES { self.small + 1 } else { 0 };
            self.bulk = self.small < MANY_SMALL;
            return false;
        }
        self.bulk = self.seen_bytes > BULK_BYTES;
        self.small = 0;
        self.bulk && self.armed && !self.cancelling
    }

    pub(super) fn held_len(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.len())
    }
}

/// All connections of a ring, by slot.
#[derive(Default)]
pub(super) struct Conns {
    slots: Vec<Conn>,
    live: u32,
    /// The generation of a slot's first connection.
    first_generation: u32,
    /// Where [`Conns::vacant_slot`] goes on looking.
    cursor: u32,
}

impl Conns {
    /// No slot, and the first connection of each will be of this generation.
    pub(super) fn from_generation(first_generation: u32) -> Self {
        Conns { first_generation: first_generation & GENERATION_MASK, ..Conns::default() }
    }

    /// Greater than every generation there has been.
    pub(super) fn next_generation(&self) -> u32 {
        self.slots.iter().map(|conn| conn.generation + 1).max().unwrap_or(self.first_generation)
    }

    /// A slot below `table` without a connection, and whether it has had one. O(1) until the table has been full
    /// once, then as far as the next gap.
    pub(super) fn vacant_slot(&mut self, table: u32) -> Option<(u32, bool)> {
        let known = self.slots.len() as u32;
        if known < table {
            return Some((known, false));
        }
        if self.live >= table {
            return None;
        }
        let found = (0..known).map(|step| (self.cursor + step) % known);
        let slot = found.into_iter().find(|&slot| !self.slots[slot as usize].live)?;
        self.cursor = (slot + 1) % known;
        Some((slot, true))
    }

    /// A connection has arrived in `slot`. `None`: the slot is taken, which cannot be.
    pub(super) fn open(&mut self, slot: u32) -> Option<ConnId> {
        let at = slot as usize;
        if at >= self.slots.len() {
            let generation = self.first_generation;
            self.slots.resize_with(at + 1, || Conn { generation, ..Conn::vacant() });
        }
        let conn = &mut self.slots[at];
        if conn.live {
            return None;
        }
        let generation = conn.generation;
        *conn = Conn { generation, live: true, ..Conn::vacant() };
        self.live += 1;
        Some(ConnId::new(slot, generation))
    }

    /// The connection is gone; its id is stale from now on.
    pub(super) fn vacate(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id) {
            let generation = conn.generation.wrapping_add(1) & GENERATION_MASK;
            *conn = Conn { generation, ..Conn::vacant() };
            self.live -= 1;
        }
    }

    #[inline]
    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        self.slots.get(id.slot() as usize).filter(|c| c.live && c.generation == id.generation())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slots.get_mut(id.slot() as usize).filter(|c| c.live && c.generation == id.generation())
    }

    /// How many there are.
    pub(super) fn live(&self) -> u32 {
        self.live
    }

    /// All there are.
    pub(super) fn ids(&self) -> Vec<ConnId> {
        let live = self.slots.iter().enumerate().filter(|(_, conn)| conn.live);
        live.map(|(slot, conn)| ConnId::new(slot as u32, conn.generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacated_slot_forgets_its_old_name() {
        let mut conns = Conns::default();
        let old = conns.open(3).unwrap();
        assert!(conns.open(3).is_none(), "taken");
        conns.vacate(old);
        conns.vacate(old);
        assert_eq!(conns.live(), 0);
        let new = conns.open(3).unwrap();
        assert!(conns.get(old).is_none() && conns.get(new).is_some());
        assert_eq!(conns.ids(), [new]);
    }

    #[test]
    fn held_bytes_stay_in_order() {
        let mut held = Held::default();
        let (mut next_in, mut next_out) = (0u8, 0u8);
        for round in 0..200usize {
            let bytes: Vec<u8> = (0..round % 7)
                .map(|_| {
                    next_in = next_in.wrapping_add(1);
                    next_in
                })
                .collect();
            held.append(&bytes);
            let take = held.len().min(round % 5);
            for &byte in &held.rest()[..take] {
                next_out = next_out.wrapping_add(1);
                assert_eq!(byte, next_out);
            }
            held.advance(take);
        }
        assert!(held.bytes.len() <= 2 * held.len() + 8, "what was sent is dropped");
    }
}
