//! Due callbacks, by priority: intrusive lists, so that taking an event out of the middle is O(1), and a
//! bitmap, so that the most urgent non-empty queue is found in a few instructions.

use crate::event::{ACTIVE, Event, NONE};
use crate::slots::Slots;
use alloc::vec;
use alloc::vec::Vec;

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: u32,
    tail: u32,
    len: u32,
}

/// The queues, one per priority; 0 is the most urgent.
#[derive(Debug)]
pub(crate) struct ActiveQueues {
    queues: Vec<Queue>,
    occupied: [u64; 4],
    len: usize,
}

impl ActiveQueues {
    pub(crate) fn new(priorities: u16) -> Self {
        let empty = Queue { head: NONE, tail: NONE, len: 0 };
        ActiveQueues { queues: vec![empty; usize::from(priorities.clamp(1, 256))], occupied: [0; 4], len: 0 }
    }

    pub(crate) fn priorities(&self) -> usize {
        self.queues.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn queue_len(&self, priority: u8) -> u32 {
        self.queues[usize::from(priority)].len
    }

    /// The most urgent queue that is not empty.
    #[inline]
    pub(crate) fn most_urgent(&self) -> Option<u8> {
        for (word, &bits) in self.occupied.iter().enumerate() {
            if bits != 0 {
                return Some((word as u32 * 64 + bits.trailing_zeros()) as u8);
            }
        }
        None
    }

    #[inline]
    pub(crate) fn push(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        debug_assert!(!event.has(ACTIVE));
        event.state |= ACTIVE;
        let priority = usize::from(event.priority);
        let queue = &mut self.queues[priority];
        event.active_prev = queue.tail;
        event.active_next = NONE;
        let last = queue.tail;
        queue.tail = index;
        queue.len += 1;
        self.len += 1;
        if last == NONE {
            queue.head = index;
            self.occupied[priority / 64] |= 1 << (priority % 64);
        } else {
            events[last].active_next = index;
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self, events: &mut Slots<Event>, priority: u8) -> Option<u32> {
        let head = self.queues[usize::from(priority)].head;
        if head == NONE {
            return None;
        }
        self.remove(events, head);
        Some(head)
    }

    #[inline]
    pub(crate) fn remove(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        debug_assert!(event.has(ACTIVE));
        event.state &= !ACTIVE;
        let (prev, next, priority) = (event.active_prev, event.active_next, usize::from(event.priority));
        let queue = &mut self.queues[priority];
        queue.len -= 1;
        self.len -= 1;
        if prev == NONE {
            queue.head = next;
        }
        if next == NONE {
            queue.tail = prev;
        }
        if queue.head == NONE {
            self.occupied[priority / 64] &= !(1 << (priority % 64));
        }
        if prev != NONE {
            events[prev].active_next = next;
        }
        if next != NONE {
            events[next].active_prev = prev;
        }
    }

    pub(crate) fn verify(&self, events: &Slots<Event>) {
        let mut all = 0;
        for (priority, queue) in self.queues.iter().enumerate() {
            let (mut at, mut prev, mut len) = (queue.head, NONE, 0);
            while at != NONE {
                let event = &events[at];
                assert!(event.has(ACTIVE) && usize::from(event.priority) == priority);
                assert_eq!(event.active_prev, prev);
                (prev, at, len) = (at, event.active_next, len + 1);
                assert!(len <= queue.len, "a queue runs in a circle");
            }
            assert_eq!((queue.tail, queue.len), (prev, len));
            assert_eq!(self.occupied[priority / 64] >> (priority % 64) & 1 == 1, len > 0);
            all += len as usize;
        }
        assert_eq!(self.len, all);
        assert_eq!(events.iter().filter(|(_, event)| event.has(ACTIVE)).count(), all);
    }
}
