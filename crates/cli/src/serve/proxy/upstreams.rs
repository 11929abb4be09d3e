//! Whose turn it is.

use duolu::Instant;
use std::net::SocketAddr;
use std::time::Duration;

/// As many as [`Tried`] has bits for.
pub const MOST_UPSTREAMS: usize = 64;
/// How long one that failed is passed over, as long as there are others: long enough that a dead one costs next to
/// nothing, short enough that it is back soon.
const REST: Duration = Duration::from_secs(1);

/// Which upstreams a connection has tried: a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tried(u64);

impl Tried {
    /// Another time, this one may be tried.
    pub fn forget(&mut self, index: usize) {
        self.0 &= !(1 << index);
    }

    fn has(self, index: usize) -> bool {
        self.0 & 1 << index != 0
    }
}

/// The upstreams of one loop.
pub struct Upstreams {
    all: Vec<Upstream>,
    /// Whose turn is next.
    next: usize,
}

struct Upstream {
    address: SocketAddr,
    rests_until: Instant,
}

impl Upstreams {
    /// Each loop begins with another one.
    pub fn new(addresses: Vec<SocketAddr>, first: usize) -> Self {
        let next = first % addresses.len();
        let all =
            addresses.into_iter().map(|address| Upstream { address, rests_until: Instant::ZERO }).collect();
        Upstreams { all, next }
    }

    /// The next one in turn that has not been tried: one that has failed lately only if there is no other.
    pub fn next(&mut self, tried: &mut Tried, now: Instant) -> Option<(usize, SocketAddr)> {
        let count = self.all.len();
        let mut order =
            (self.next..self.next + count).map(|index| index % count).filter(|index| !tried.has(*index));
        let resting = order.clone().next();
        let index = order.find(|index| self.all[*index].rests_until <= now).or(resting)?;
        self.next = (index + 1) % count;
        tried.0 |= 1 << index;
        Some((index, self.all[index].address))
    }

    /// It has refused, or did not answer.
    pub fn has_failed(&mut self, index: usize, now: Instant) {
        self.all[index].rests_until = now.saturating_add(REST);
    }

    /// Where it is.
    pub fn address(&self, index: usize) -> SocketAddr {
        self.all[index].address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_take_turns_and_one_that_failed_rests() {
        let addresses = (1..=3).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let mut upstreams = Upstreams::new(addresses, 4);
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let mut one = |ms| upstreams.next(&mut Tried::default(), at(ms)).map(|(index, _)| index);
        assert_eq!([one(0), one(0), one(0), one(0)], [Some(1), Some(2), Some(0), Some(1)]);
        upstreams.has_failed(2, at(0));
        let mut tried = Tried::default();
        let all = std::array::from_fn(|_| upstreams.next(&mut tried, at(999)).map(|(index, _)| index));
        assert_eq!(all, [Some(0), Some(1), Some(2), None], "each once, and the one that failed last");
        tried.forget(1);
        assert_eq!(upstreams.next(&mut tried, at(999)).map(|(index, _)| index), Some(1));
        assert_eq!(
            upstreams.next(&mut Tried::default(), at(1000)).map(|(index, _)| index),
            Some(2),
            "it is back"
        );
    }
}
