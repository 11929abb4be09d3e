//! After a fork parent and child share the kernel's side of a loop: what the child adds or removes there would be
//! added and removed in the parent, and a wake-up would reach either. `reinit` in the child gives it its own.

use crate::{MS, drain, loop_on, pair, sleeps_through};
use duolu::{BackendKind, Interest, Next};
use duolu_sys::process::{Ended, Fork, exit_now, fork_alone, wait};
use std::io::Write;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, 0);
    let (near, mut far) = pair();
    let shared = event_loop
        .register(near, Interest::READ, |ctx, stream, _| {
            *ctx.data() += drain(stream);
            Next::Keep
        })
        .expect("registered");
    event_loop.after(50_000 * MS, |_| panic!("nothing came"));
    event_loop.run_nonblocking().expect("a turn");

    match fork_alone().expect("a child") {
        Fork::Child => {
            event_loop.reinit().expect("a kernel side of its own");
            far.write_all(b"child").expect("written");
            event_loop.run_once().expect("a turn");
            assert_eq!(*event_loop.data(), 5, "everything stayed pending");
            assert!(event_loop.remove(shared), "which the parent must not notice");
            event_loop.handle().post(|ctx| *ctx.data() += 100).expect("a loop");
            event_loop.run_once().expect("a turn");
            assert_eq!(*event_loop.data(), 105, "a post wakes the child's own loop");
            sleeps_through(&mut event_loop);
            event_loop.handle().wake(); // left for nobody: it must not reach the parent
            exit_now(0);
        }
        Fork::Parent(pid) => {
            assert_eq!(wait(pid).expect("my child"), Ended::Code(0));
            let (told, reports) = (*event_loop.data(), event_loop.stats().engine.reports);
            sleeps_through_but_for_a_late_report(&mut event_loop);
            if kind != BackendKind::IoUring {
                assert_eq!(event_loop.stats().engine.reports, reports, "the child's wake-up came here");
            }
            assert_eq!(*event_loop.data(), told, "the child's byte and post were the child's");
            far.write_all(b"parent").expect("written");
            event_loop.run_once().expect("a turn");
            assert_eq!(*event_loop.data(), told + 6, "still watched, though the child removed it");
        }
    }
}

/// The shared socket was readable for a moment, before the child read it: io_uring may tell that once.
fn sleeps_through_but_for_a_late_report(event_loop: &mut duolu::EventLoop<usize>) {
    event_loop.run_nonblocking().expect("a turn");
    sleeps_through(event_loop);
}
