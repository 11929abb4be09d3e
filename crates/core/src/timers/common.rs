//! Common timeouts: a queue for each duration that many timers share.
//!
//! Timers of one duration fall due in the order in which they were armed, so a queue is in order without
//! sorting: arming appends, and only its head can be next. A tournament over the heads (a heap-shaped tree
//! whose every node names the earlier of its two children) names the earliest of all. It is played again
//! along one path, at most eight matches, only when a head changes.

use super::slab::{NIL, Place, Rank, Slab};
use alloc::vec;
use alloc::vec::Vec;

/// As libevent's MAX_COMMON_TIMEOUTS. Programs use a handful.
const MAX_QUEUES: usize = 256;

struct Queue {
    duration_ns: u64,
    head: u32,
    tail: u32,
    /// The head's, or [`Rank::NEVER`]: here too, so that a match does not touch the slab.
    first: Rank,
}

pub(super) struct Common {
    queues: Vec<Queue>,
    /// `winners[1]` is the root, node `n` has the children `2n` and `2n + 1`. The leaves, the second half, are
    /// the queues in order and are not stored. Empty while there are fewer than two queues.
    winners: Vec<u16>,
}

impl Common {
    pub(super) const fn new() -> Self {
        Common { queues: Vec::new(), winners: Vec::new() }
    }

    pub(super) fn find_or_make(&mut self, duration_ns: u64) -> Option<u16> {
        if let Some(at) = self.queues.iter().position(|queue| queue.duration_ns == duration_ns) {
            return Some(at as u16);
        }
        if self.queues.len() == MAX_QUEUES {
            return None;
        }
        self.queues.push(Queue { duration_ns, head: NIL, tail: NIL, first: Rank::NEVER });
        if self.queues.len() > self.leaves() {
            self.grow();
        }
        Some(self.queues.len() as u16 - 1)
    }

    #[inline]
    pub(super) fn duration_ns(&self, queue: u16) -> Option<u64> {
        self.queues.get(usize::from(queue)).map(|queue| queue.duration_ns)
    }

    /// Whether a timer with that deadline may be appended to that queue: it is not before the last one's.
    #[inline]
    pub(super) fn takes(&self, slab: &Slab, queue: u16, deadline: u64) -> bool {
        let tail = self.queues[usize::from(queue)].tail;
        tail == NIL || slab.rank(tail).deadline <= deadline
    }

    /// Appends a new entry, which the queue [`takes`](Common::takes).
    #[inline]
    pub(super) fn append(&mut self, slab: &mut Slab, at: u16, index: u32) {
        let queue = &mut self.queues[usize::from(at)];
        slab.link_back(index, queue.tail, Place::Queue(at));
        queue.tail = index;
        if queue.head == NIL {
            self.set_head(slab, at, index);
        }
    }

    /// Takes an entry out of queue `at`, which is where it is.
    pub(super) fn remove(&mut self, slab: &mut Slab, at: u16, index: u32) {
        let (prev, next) = slab.unlink(index);
        if next == NIL {
            self.queues[usize::from(at)].tail = prev;
        }
        if prev == NIL {
            self.set_head(slab, at, next);
        }
    }

    /// Whether nobody has made a queue.
    #[inline]
    pub(super) fn is_unused(&self) -> bool {
        self.queues.is_empty()
    }

    /// The earliest timer of all queues, or [`Rank::NEVER`].
    #[inline]
    pub(super) fn first(&self) -> Rank {
        self.rank(self.winner(1))
    }

    /// Takes the earliest timer out of its queue, where there is one. The caller frees its entry.
    pub(super) fn pop(&mut self, slab: &mut Slab) -> u32 {
        let at = self.winner(1);
        let index = self.queues[usize::from(at)].head;
        self.remove(slab, at, index);
        index
    }

    fn set_head(&mut self, slab: &Slab, at: u16, head: u32) {
        let queue = &mut self.queues[usize::from(at)];
        queue.head = head;
        queue.first = if head == NIL { Rank::NEVER } else { slab.rank(head) };
        let mut node = (self.leaves() + usize::from(at)) / 2;
        while node > 0 {
            self.winners[node] = self.play(node);
            node /= 2;
        }
    }

    /// How many queues the tournament has room for: a power of two.
    #[inline]
    fn leaves(&self) -> usize {
        self.winners.len().max(1)
    }

    fn grow(&mut self) {
        self.winners = vec![0; self.queues.len().next_power_of_two()];
        for node in (1..self.winners.len()).rev() {
            self.winners[node] = self.play(node);
        }
    }

    /// The earlier of a node's two children.
    fn play(&self, node: usize) -> u16 {
        let (left, right) = (self.winner(2 * node), self.winner(2 * node + 1));
        if self.rank(right) < self.rank(left) { right } else { left }
    }

    /// The queue that a node names; for a leaf, the queue that it is.
    #[inline]
    fn winner(&self, node: usize) -> u16 {
        match node.checked_sub(self.leaves()) {
            Some(queue) => queue as u16,
            None => self.winners[node],
        }
    }

    /// A queue's first; leaves beyond the last queue have none.
    #[inline]
    fn rank(&self, queue: u16) -> Rank {
        self.queues.get(usize::from(queue)).map_or(Rank::NEVER, |queue| queue.first)
    }

    /// Asserts the invariants and counts the timers.
    pub(super) fn verify(&self, slab: &Slab) -> usize {
        let mut count = 0;
        for (at, queue) in self.queues.iter().enumerate() {
            let mut last = None;
            let tail = slab.verify_list(queue.head, Place::Queue(at as u16), |rank| {
                assert!(last < Some(rank), "queue {at} is in order");
                last = Some(rank);
                count += 1;
            });
            assert_eq!(tail, queue.tail, "queue {at} knows its tail");
            let first = if queue.head == NIL { Rank::NEVER } else { slab.rank(queue.head) };
            assert_eq!(queue.first, first, "queue {at} knows its first");
        }
        let earliest = self.queues.iter().map(|queue| queue.first).min();
        assert_eq!(self.first(), earliest.unwrap_or(Rank::NEVER), "the tournament names the earliest");
        count
    }
}
