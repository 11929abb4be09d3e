//! Open loop: when which connection's next request is due.
//!
//! The requests of a thread are due at equal distances, one connection after the other, round and round. What is
//! due does not wait for replies: a connection that is still busy owes its requests, sends them as soon as it can,
//! and their latency counts from when they were due. That is the correction for coordinated omission: a server
//! that stalls for 200 ms makes every request that was due meanwhile late, not only the one that was under way.

/// The due times of one thread. All times are nanoseconds since the run's epoch.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    begin_ns: u64,
    distance_ns: f64,
    connections: u64,
    next: u64,
}

impl Schedule {
    /// `rate` requests a second over `connections` connections, the first at `begin_ns`.
    pub fn new(begin_ns: u64, rate: f64, connections: usize) -> Self {
        Schedule { begin_ns, distance_ns: 1e9 / rate, connections: connections as u64, next: 0 }
    }

    fn time_of(&self, slot: u64) -> u64 {
        // Multiplied, not summed, so that it does not drift; exact to a nanosecond for 2^53 ns, 104 days.
        self.begin_ns + (slot as f64 * self.distance_ns) as u64
    }

    /// When the next request is due.
    pub fn next_due_ns(&self) -> u64 {
        self.time_of(self.next)
    }

    /// Takes the next request if it is due at `now_ns`: the number of its connection, and when it was due.
    pub fn take(&mut self, now_ns: u64) -> Option<(usize, u64)> {
        let due_ns = self.next_due_ns();
        if due_ns > now_ns || self.connections == 0 {
            return None;
        }
        let connection = (self.next % self.connections) as usize;
        self.next += 1;
        Some((connection, due_ns))
    }

    /// When request number `turn` (from 0) of the connection with number `connection` was or will be due.
    pub fn due_ns(&self, connection: usize, turn: u64) -> u64 {
        self.time_of(turn * self.connections + connection as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_in_rotation() {
        let mut schedule = Schedule::new(1_000, 1e6, 3);
        assert_eq!(schedule.take(999), None);
        let taken: Vec<_> = std::iter::from_fn(|| schedule.take(5_000)).collect();
        assert_eq!(taken, [(0, 1_000), (1, 2_000), (2, 3_000), (0, 4_000), (1, 5_000)]);
        assert_eq!(schedule.next_due_ns(), 6_000);
        assert_eq!((schedule.due_ns(0, 1), schedule.due_ns(2, 0)), (4_000, 3_000));
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let schedule = Schedule::new(0, 3.0, 1);
        assert_eq!(schedule.due_ns(0, 3_000_000), 1_000_000_000_000_000);
    }
}
