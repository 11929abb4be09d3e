//! The turn of more than one ring; traps (a), (d) and (e) of the [folder](super).

use super::{LOOK, Rings};
use crate::completion::Uring;
use duolu_core::Errno;
use std::time::Instant;

impl Rings {
    /// The turn of more than one ring.
    pub(super) fn wait_all(&mut self, deadline: Option<Instant>) -> Result<(), Errno> {
        self.rings[0].counters.waits += 1;
        if std::mem::take(&mut self.crossed) {
            for ring in &mut self.rings {
                if ring.needs_turn() {
                    ring.hand_over(); // trap (a)
                }
            }
        }
        loop {
            for at in 1..self.rings.len() {
                let ring = &mut self.rings[at];
                while ring.inbox.is_empty() && (ring.ring.has_work() || ring.again || ring.needs_turn()) {
                    ring.again = false; // but `collect` says so where there were completions: trap (e)
                    ring.run_turn(Some(0))?;
                }
                if !ring.inbox.is_empty() {
                    self.ready.push_back(at);
                }
            }
            let sleep_ns = if self.ready.is_empty() { self.sleep_ns(deadline) } else { Some(0) };
            let first = &mut self.rings[0];
            if first.inbox.is_empty() {
                first.run_turn(sleep_ns)?;
            }
            let woken = std::mem::take(&mut first.woken);
            if !first.inbox.is_empty() {
                self.ready.push_front(0);
            }
            if !self.ready.is_empty() || !woken {
                return Ok(());
            }
        }
    }

    /// Until the deadline, or until some listener is to be tried again.
    fn sleep_ns(&self, deadline: Option<Instant>) -> Option<u64> {
        let look = self.needs_look().then(|| Instant::now() + LOOK);
        let tries = self.rings[1..].iter().filter_map(|ring| ring.listeners.next_try());
        let first = deadline.into_iter().chain(look).chain(tries).min()?;
        let left = first.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether something may become possible that no completion tells of.
    fn needs_look(&self) -> bool {
        self.is_homeless() || (self.rings.len() > 1 && self.rings.iter().any(Uring::has_idle_listeners))
    }
}

impl Uring {
    /// Whether something is to be handed over, given back or tried again.
    fn needs_turn(&mut self) -> bool {
        !self.dirty.is_empty()
            || !self.starved.is_empty()
            || self.buffers.are_lent()
            || self.has_idle_listeners()
            || self.ring.has_requests()
    }
}
