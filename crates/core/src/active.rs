//! Due callbacks, by priority: intrusive lists, so that taking an event out of the middle is O(1), and a
//! bitmap, so that the most urgent non-empty queue is found in a few instructions.

use crate::event::{ACTIVE, Event, NONE};
use crate::slots::Slots;
use alloc::boxed::Box;

#[derive(Clone, Copy, Debug)]
struct Queue {
    head: u32,
    /// Without meaning while the queue is empty.
    tail: u32,
    len: u32,
}

/// More priorities than a `u8` has: no queue has anything.
const NO_QUEUE: u32 = 256;

/// The queues, one per priority; 0 is the most urgent.
#[derive(Debug)]
pub(crate) struct ActiveQueues {
    /// All that a `u8` can name, so that no access needs a check; 3 KiB.
    queues: Box<[Queue; 256]>,
    priorities: u16,
    /// The most there ever were.
    most: u16,
    /// The most urgent queue that is not empty, or [`NO_QUEUE`].
    top: u32,
    occupied: [u64; 4],
}

impl ActiveQueues {
    pub(crate) fn new(priorities: u16) -> Self {
        let empty = Queue { head: NONE, tail: NONE, len: 0 };
        ActiveQueues {
            queues: Box::new([empty; 256]),
            priorities: priorities.clamp(1, 256),
            most: priorities.clamp(1, 256),
            top: NO_QUEUE,
            occupied: [0; 4],
        }
    }

    pub(crate) fn set_priorities(&mut self, priorities: u16) {
        self.priorities = priorities.clamp(1, 256);
        self.most = self.most.max(self.priorities);
    }

    pub(crate) fn priorities(&self) -> usize {
        usize::from(self.priorities)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.top == NO_QUEUE
    }

    /// O(priorities), including those given up while events still had them.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        if self.most == 1 {
            return self.queues[0].len as usize;
        }
        self.queues[..usize::from(self.most)].iter().map(|queue| queue.len as usize).sum()
    }

    #[inline]
    pub(crate) fn queue_len(&self, priority: u8) -> u32 {
        self.queues[usize::from(priority)].len
    }

    /// The most urgent queue that is not empty.
    #[inline]
    pub(crate) fn most_urgent(&self) -> Option<u8> {
        u8::try_from(self.top).ok()
    }

    /// Whether `priority` is the most urgent queue that is not empty.
    #[inline]
    pub(crate) fn is_most_urgent(&self, priority: u8) -> bool {
        self.top == u32::from(priority)
    }

    fn first_occupied(&self) -> u32 {
        for (word, &bits) in self.occupied.iter().enumerate() {
            if bits != 0 {
                return word as u32 * 64 + bits.trailing_zeros();
            }
        }
        NO_QUEUE
    }

    #[inline]
    pub(crate) fn push(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        debug_assert!(!event.has(ACTIVE));
        event.state |= ACTIVE;
        let priority = event.priority;
        let queue = &mut self.queues[usize::from(priority)];
        event.active_prev = queue.tail;
        event.active_next = NONE;
        let last = queue.tail;
        queue.tail = index;
        queue.len += 1;
        if queue.head == NONE {
            queue.head = index;
            self.occupied[usize::from(priority / 64)] |= 1 << (priority % 64);
            self.top = self.top.min(u32::from(priority));
        } else {
            events[last].active_next = index;
        }
    }

    /// The first of the most urgent queue, with its event.
    #[inline]
    pub(crate) fn pop<'a>(
        &mut self,
        events: &'a mut Slots<Event>,
        priority: u8,
    ) -> Option<(u32, &'a mut Event)> {
        let queue = &mut self.queues[usize::from(priority)];
        let head = queue.head;
        if head == NONE {
            return None;
        }
        let event = &mut events[head];
        debug_assert!(event.has(ACTIVE));
        event.state &= !ACTIVE;
        queue.head = event.active_next;
        queue.len -= 1;
        if queue.head == NONE {
            self.emptied(priority);
        }
        Some((head, event))
    }

    #[inline]
    fn emptied(&mut self, priority: u8) {
        self.occupied[usize::from(priority / 64)] &= !(1 << (priority % 64));
        self.top = self.first_occupied();
    }

    pub(crate) fn remove(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        debug_assert!(event.has(ACTIVE));
        event.state &= !ACTIVE;
        let (prev, next, priority) = (event.active_prev, event.active_next, event.priority);
        let queue = &mut self.queues[usize::from(priority)];
        queue.len -= 1;
        // What a head points back to was popped before it: without meaning.
        let is_head = queue.head == index;
        if next == NONE {
            queue.tail = prev;
        } else {
            events[next].active_prev = prev;
        }
        if !is_head {
            events[prev].active_next = next;
            return;
        }
        queue.head = next;
        if next == NONE {
            self.emptied(priority);
        }
    }

    pub(crate) fn verify(&self, events: &Slots<Event>) {
        let mut all = 0;
        for (priority, queue) in self.queues.iter().enumerate() {
            let (mut at, mut prev, mut len) = (queue.head, NONE, 0);
            while at != NONE {
                let event = &events[at];
                assert!(event.has(ACTIVE) && usize::from(event.priority) == priority);
                assert!(prev == NONE || event.active_prev == prev);
                (prev, at, len) = (at, event.active_next, len + 1);
                assert!(len <= queue.len, "a queue runs in a circle");
            }
            assert!(len == queue.len && (len == 0 || queue.tail == prev));
            assert_eq!(self.occupied[priority / 64] >> (priority % 64) & 1 == 1, len > 0);
            all += len as usize;
        }
        assert_eq!((self.len(), self.top), (all, self.first_occupied()));
        assert_eq!(events.iter().filter(|(_, event)| event.has(ACTIVE)).count(), all);
    }
}
