//! Counters, and the watch for slow callbacks and loop lag, which costs nothing when it is off.

use duolu_core::{Counters, EventId, Ready};
use std::time::Duration;

/// What a loop has done since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Turns taken.
    pub turns: u64,
    /// Callbacks called; the engine's `activations`.
    pub callbacks: u64,
    /// Connections accepted by `Context::accept`.
    pub accepted: u64,
    /// Times a listener rested because the process was out of descriptors or memory.
    pub accept_back_offs: u64,
    /// Closures run that other threads posted.
    pub posts: u64,
    /// Callbacks that took longer than the watch's threshold; 0 while no watch is on.
    pub slow_callbacks: u64,
    /// The longest callback while a watch was on, in nanoseconds.
    pub longest_callback_ns: u64,
    /// The longest time between two polls while a watch was on, in nanoseconds: how late an event may be called (the
    /// loop's lag).
    pub longest_turn_ns: u64,
    /// The engine's own.
    pub engine: Counters,
}

/// A callback that held the loop up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlowCallback {
    /// Whose callback.
    pub id: EventId,
    /// Why it was called.
    pub ready: Ready,
    /// How long it took.
    pub took: Duration,
}

pub(crate) struct SlowWatch {
    pub(crate) threshold_ns: u64,
    pub(crate) tell: Box<dyn FnMut(&SlowCallback)>,
}

impl<D: 'static> crate::Context<D> {
    /// Measures every callback (two clock readings, about 50 ns) and tells of those longer than `threshold`.
    pub fn watch_slow(&mut self, threshold: Duration, tell: impl FnMut(&SlowCallback) + 'static) {
        let threshold_ns = duolu_core::time::duration_nanos(threshold);
        self.slow = Some(SlowWatch { threshold_ns, tell: Box::new(tell) });
        self.note_extras();
    }

    /// Ends the measuring.
    pub fn unwatch_slow(&mut self) {
        self.slow = None;
        self.note_extras();
    }

    pub(crate) fn note_extras(&mut self) {
        self.extras = self.slow.is_some() || !self.hooks.is_empty();
    }
}
