//! Whose the engine's slots are: one word each, beside the slots.

use super::deferred::Deferred;
use super::finalize::Finalizer;
use crate::event::Ev;
use crate::layout::event;
use duolu_core::reserve_table;

/// What is called when a slot is due.
#[derive(Clone, Copy, Debug)]
pub enum Row {
    Event(Ev),
    Deferred(*mut Deferred),
    Finalizer(*mut Finalizer),
    /// Signals have arrived.
    Signals,
    /// Another thread woke the loop.
    Waker,
}

const KIND: usize = 7;
const EVENT: usize = 0;
const DEFERRED: usize = 1;
const FINALIZER: usize = 2;
const SIGNALS: usize = 3;
const WAKER: usize = 4;

// The low bits are free for the kind. (Programs' events are aligned as C aligns them.)
const _: () =
    assert!(align_of::<event>() == 8 && align_of::<Deferred>() == 8 && align_of::<Finalizer>() == 8);

/// The table. A row is true as long as its slot has a tenant.
#[derive(Debug, Default)]
pub struct Rows(Vec<usize>);

impl Rows {
    /// False: there is no memory for another row.
    #[must_use]
    #[inline(always)]
    pub fn set(&mut self, index: usize, row: Row) -> bool {
        let word = match row {
            Row::Event(ev) => ev.as_ptr() as usize | EVENT,
            Row::Deferred(deferred) => deferred as usize | DEFERRED,
            Row::Finalizer(finalizer) => finalizer as usize | FINALIZER,
            Row::Signals => SIGNALS,
            Row::Waker => WAKER,
        };
        if index == self.0.len() && index < self.0.capacity() {
            self.0.push(word);
            return true;
        }
        if index >= self.0.len() {
            self.grow(index);
        }
        let at = self.0.get_mut(index);
        at.map(|at| *at = word).is_some()
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        if reserve_table(&mut self.0, index + 1).is_ok() {
            self.0.resize(index + 1, SIGNALS);
        }
    }

    #[inline]
    pub fn get(&self, index: usize) -> Row {
        let word = self.0.get(index).copied().unwrap_or(SIGNALS);
        match word & KIND {
            // SAFETY: what `set` was given.
            EVENT => Row::Event(unsafe { Ev::of(word as *mut event) }),
            DEFERRED => Row::Deferred((word & !KIND) as *mut Deferred),
            FINALIZER => Row::Finalizer((word & !KIND) as *mut Finalizer),
            WAKER => Row::Waker,
            _ => Row::Signals,
        }
    }

    /// The row of a slot that is known to be an event's.
    ///
    /// # Safety
    /// It is: only events wait for descriptors without being internal.
    #[inline(always)]
    pub unsafe fn event(&self, index: usize) -> Ev {
        debug_assert!(matches!(self.get(index), Row::Event(_)));
        // SAFETY: every slot that has had a tenant has a row; and the caller's.
        unsafe { Ev::of(*self.0.get_unchecked(index) as *mut event) }
    }
}
