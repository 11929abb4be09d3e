//! Who waits for which signal.

use crate::event::{Event, LISTED, NONE};
use crate::reactor::Refused;
use crate::slots::Slots;

/// Linux has signals 1 to 64.
const SIGNALS: usize = 65;

#[derive(Debug)]
pub(crate) struct Signals {
    heads: [u32; SIGNALS],
}

impl Signals {
    pub(crate) const fn new() -> Self {
        Signals { heads: [NONE; SIGNALS] }
    }

    pub(crate) fn check(signo: i32) -> Result<(), Refused> {
        if (1..SIGNALS as i32).contains(&signo) { Ok(()) } else { Err(Refused::BadSignal(signo)) }
    }

    /// The first event that waits for `signo`, or NONE.
    pub(crate) fn head(&self, signo: i32) -> u32 {
        self.heads.get(signo as usize).copied().unwrap_or(NONE)
    }

    pub(crate) fn attach(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        event.state |= LISTED;
        let head = &mut self.heads[event.number as usize];
        event.next = *head;
        *head = index;
    }

    pub(crate) fn detach(&mut self, events: &mut Slots<Event>, index: u32) {
        let event = &mut events[index];
        event.state &= !LISTED;
        let (signo, next) = (event.number as usize, event.next);
        if self.heads[signo] == index {
            self.heads[signo] = next;
            return;
        }
        let mut at = self.heads[signo];
        while events[at].next != index {
            at = events[at].next;
        }
        events[at].next = next;
    }
}
