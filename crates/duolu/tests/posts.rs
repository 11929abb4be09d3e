//! What other threads post: in order, and none lost, whatever one of them does.

use duolu::{BackendKind, Config, EventLoop};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

fn on_every_backend(test: impl Fn(EventLoop<Vec<u32>>)) {
    for kind in BackendKind::ALL {
        if kind == BackendKind::IoUring && std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|v| v == "1") {
            continue;
        }
        let mut event_loop = Config::new().backend(kind).build(Vec::new()).expect("a loop");
        assert_eq!(event_loop.fallback(), None, "{kind} must be available for its tests");
        // What is lost ends the test instead of hanging it.
        event_loop.after(Duration::from_secs(20), |ctx| ctx.stop());
        test(event_loop);
    }
}

#[test]
fn a_post_that_panics_takes_no_other_with_it() {
    on_every_backend(|mut event_loop| {
        let handle = event_loop.handle();
        handle.post(|ctx| ctx.data().push(1)).expect("a loop");
        handle.post(|_| resume_unwind(Box::new("planted"))).expect("a loop");
        handle.post(|ctx| ctx.data().push(2)).expect("a loop");
        handle.post(|_| resume_unwind(Box::new("planted"))).expect("a loop");
        handle.post(|ctx| ctx.data().push(3)).expect("a loop");
        let caught = catch_unwind(AssertUnwindSafe(|| event_loop.run_once()));
        assert!(caught.is_err(), "{:?}", event_loop.data());
        handle
            .post(|ctx| {
                ctx.data().push(4);
                ctx.stop();
            })
            .expect("a loop");
        let caught = catch_unwind(AssertUnwindSafe(|| event_loop.run_once()));
        assert!(caught.is_err(), "{:?}", event_loop.data());
        assert_eq!(event_loop.stats().posts, 4);
        event_loop.run_until_stopped().expect("a run");
        assert_eq!(*event_loop.data(), [1, 2, 3, 4]);
    });
}

#[test]
fn a_loop_can_still_be_woken_after_a_post_panicked() {
    on_every_backend(|mut event_loop| {
        let handle = event_loop.handle();
        handle.post(|_| resume_unwind(Box::new("planted"))).expect("a loop");
        assert!(catch_unwind(AssertUnwindSafe(|| event_loop.run_once())).is_err());
        let other = std::thread::spawn(move || {
            handle.post(|ctx| {
                ctx.data().push(1);
                ctx.stop();
            })
        });
        event_loop.run_until_stopped().expect("a run");
        other.join().expect("ends").expect("a loop");
        assert_eq!(*event_loop.data(), [1]);
    });
}
