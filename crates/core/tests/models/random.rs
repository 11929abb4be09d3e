//! What decides in a model's play: a seed, or the bytes of a fuzzer (fuzz/), which so learns what leads where.

/// A source of decisions.
pub enum Random<'a> {
    /// splitmix64.
    Seed(u64),
    /// As many as there are bytes; zeros behind them.
    #[allow(dead_code, reason = "fuzz/ uses it")]
    Bytes(&'a [u8]),
}

impl Random<'_> {
    /// One of `bound` numbers from 0 on.
    pub fn below(&mut self, bound: usize) -> usize {
        let number = match self {
            Random::Seed(state) => {
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ z >> 31
            }
            Random::Bytes(bytes) => {
                // No more bytes than the bound needs: a fuzzer makes more of few.
                let wanted = (bound.ilog2() as usize / 8 + 1).min(bytes.len());
                let (taken, rest) = bytes.split_at(wanted);
                *bytes = rest;
                taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
            }
        };
        (number % bound as u64) as usize
    }

    pub fn one_in(&mut self, bound: usize) -> bool {
        self.below(bound) == 0
    }

    /// Whether nothing is left that could decide.
    pub fn is_over(&self) -> bool {
        matches!(self, Random::Bytes([]))
    }
}
