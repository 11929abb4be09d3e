//! A timeout rounded down to milliseconds is 0 during its last millisecond, and the loop spins until the deadline.

use crate::loop_on;
use duolu::{BackendKind, Exit};
use std::time::{Duration, Instant};

pub fn trap(kind: BackendKind) {
    for us in [1, 300, 999, 1_001, 3_700] {
        let delay = Duration::from_micros(us);
        let mut event_loop = loop_on(kind, None);
        let start = Instant::now();
        event_loop.after(delay, |ctx| *ctx.data() = Some(Instant::now()));
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        let called = event_loop.data().expect("called");
        assert!(called - start >= delay, "early");
        let waits = event_loop.stats().engine.waits;
        assert!(waits <= 4, "{waits} waits for one timer of {us} us");
    }
}
