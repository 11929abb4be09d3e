//! Bytes that tell whose they are: every message of every connection is a window of one pseudo-random buffer,
//! at an offset that (connection, sequence) gives.
//!
//! Checking a reply is then one memcmp with memory that is already there, and sending allocates and copies
//! nothing. A byte lost, doubled, foreign or out of order makes the rest of the reply disagree: the chance that
//! a wrong byte equals the expected one is 1 in 256, so a shift by one byte survives n bytes of reply with
//! probability 256^-n. Two neighbouring messages of one connection never share their offset.

/// A prime, so that a step that is not a multiple of it visits every offset.
const OFFSETS: u64 = 65_521;

/// The buffer and its windows.
pub struct Pattern {
    bytes: Box<[u8]>,
    payload: usize,
    salt: u64,
}

impl Pattern {
    /// Windows of `payload` bytes. `salt` sets two loaders of one server apart.
    pub fn new(payload: usize, salt: u64) -> Self {
        // xorshift64* (Vigna 2016): no statistics are asked of it, only that neighbours differ.
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let next = || {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
        };
        let bytes = std::iter::repeat_with(next).take(payload + OFFSETS as usize).collect();
        Pattern { bytes, payload, salt }
    }

    /// The bytes of message `sequence` of `connection`.
    #[inline]
    pub fn message(&self, connection: u64, sequence: u64) -> &[u8] {
        let place = connection.wrapping_add(self.salt) % OFFSETS * 40_503 + sequence % OFFSETS * 7_919;
        let offset = (place % OFFSETS) as usize;
        &self.bytes[offset..offset + self.payload]
    }
}

/// The first place where two slices of one length disagree.
pub fn first_difference(got: &[u8], expected: &[u8]) -> Option<usize> {
    if got == expected { None } else { got.iter().zip(expected).position(|(got, expected)| got != expected) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn messages_differ_by_connection_and_sequence() {
        let pattern = Pattern::new(16, 7);
        let mut seen = HashSet::new();
        for sequence in 0..OFFSETS {
            assert!(seen.insert(pattern.message(3, sequence)), "{sequence}");
        }
        assert_ne!(pattern.message(0, 0), pattern.message(1, 0));
        assert_ne!(pattern.message(0, 0), Pattern::new(16, 8).message(0, 0));
        assert_eq!(pattern.message(u64::MAX, u64::MAX).len(), 16);
    }

    #[test]
    fn a_lost_doubled_or_changed_byte_is_found() {
        let pattern = Pattern::new(64, 0);
        let message = pattern.message(1, 2);
        let mut lost = message.to_vec();
        lost.remove(10);
        lost.push(pattern.message(1, 3)[0]);
        let mut doubled = message.to_vec();
        doubled.insert(10, message[10]);
        doubled.pop();
        let mut changed = message.to_vec();
        changed[63] ^= 1;
        for wrong in [lost, doubled, changed] {
            assert!(first_difference(&wrong, message).is_some());
        }
        assert_eq!(first_difference(message, message), None);
    }
}
