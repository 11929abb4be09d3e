//! A timer is deleted before its only turn: both are due in one turn, and the first one's callback removes the
//! second. It must not be called, and what its closure holds must be let go of at once.

use crate::{MS, loop_on};
use duolu::{BackendKind, Exit};
use std::rc::Rc;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, None);
    let held = Rc::new(());
    let witness = Rc::downgrade(&held);
    let seen = witness.clone();
    event_loop.after(MS, move |ctx| {
        let second = ctx.data().expect("set below");
        assert!(ctx.remove(second));
        assert!(!ctx.exists(second) && !ctx.remove(second));
        assert!(seen.upgrade().is_none(), "the removed closure is dropped");
    });
    let second = event_loop.after(MS, move |_| unreachable!("called though removed: {held:?}"));
    *event_loop.data() = Some(second);
    std::thread::sleep(3 * MS); // both are due in the first turn
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert!(witness.upgrade().is_none());
}
