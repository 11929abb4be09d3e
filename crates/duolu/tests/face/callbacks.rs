//! What a callback may do to its loop, a panic included.

use crate::{MS, counting, loop_on, on_every_backend, pair};
use duolu::{BackendKind, Context, EventId, EventLoop, Exit, Interest, Next, Ready};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

#[test]
fn an_event_removed_by_an_earlier_callback_of_the_same_turn_is_never_called() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, (Vec::<EventId>::new(), 0));
        for _ in 0..2 {
            let (near, mut far) = pair();
            far.write_all(b"x").expect("written");
            let id = event_loop.register(near, Interest::READ, move |ctx, _: &UnixStream, _| {
                let _keep_open = &far;
                let me = ctx.current();
                ctx.data().1 += 1;
                for other in ctx.data().0.clone() {
                    if Some(other) != me {
                        assert!(ctx.remove(other));
                        assert!(!ctx.remove(other), "a stale id is refused");
                    }
                }
                Next::Remove
            });
            let id = id.expect("registered");
            event_loop.data().0.push(id);
        }
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(event_loop.data().1, 1);
    });
}

#[test]
fn a_callback_may_remove_itself_and_register_another_in_its_place() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        let (second, mut second_far) = pair();
        far.write_all(b"x").expect("written");
        second_far.write_all(b"y").expect("written");
        let mut second = Some(second);
        event_loop
            .register(near, Interest::READ, move |ctx: &mut Context<Vec<u8>>, _, _| {
                let me = ctx.current().expect("running");
                assert!(ctx.remove(me));
                let other = ctx.register(second.take().expect("once"), Interest::READ, counting);
                assert_eq!(other.expect("registered").index(), me.index(), "the slot is reused");
                Next::again() // too late: it is gone, which is no fault
            })
            .expect("registered");
        event_loop.run_once().expect("a turn");
        event_loop.run_once().expect("a turn");
        assert_eq!(event_loop.data(), b"y");
    });
}

#[test]
fn a_hook_that_panics_is_gone_and_does_not_keep_the_loop_turning() {
    let mut event_loop = loop_on(BackendKind::Epoll, ());
    event_loop.on_idle(|_| std::panic::resume_unwind(Box::new("planted")));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| event_loop.run_once()));
    assert!(caught.is_err());
    event_loop.exit_after(20 * MS);
    let before = event_loop.stats().turns;
    assert_eq!(event_loop.run().expect("a run"), Exit::Stopped);
    let turns = event_loop.stats().turns - before;
    assert!(turns < 20, "{turns} turns for one timer: the idle hook still counts");
}

#[test]
fn a_panic_in_a_callback_leaves_a_loop_that_works() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        event_loop
            .register(near, Interest::READ, |_, _: &UnixStream, _| -> Next {
                std::panic::resume_unwind(Box::new("planted"))
            })
            .expect("registered");
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| event_loop.run_once()));
        assert!(caught.is_err());
        // Most likely the same number: the former owner must be gone from the kernel.
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, counting).expect("registered");
        far.write_all(b"good").expect("written");
        event_loop.run_once().expect("a turn");
        assert_eq!(event_loop.data(), b"good");
    });
}

#[test]
fn a_callback_that_activates_itself_does_not_starve_others() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let selfish = event_loop.user_event(|ctx: &mut Context<Vec<u8>>, _| {
            let me = ctx.current().expect("running");
            ctx.activate(me, Ready::USER);
            Next::Keep
        });
        event_loop.activate(selfish, Ready::USER);
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        event_loop.register(near, Interest::READ, counting).expect("registered");
        for _ in 0..3 {
            event_loop.run_once().expect("a turn");
        }
        assert_eq!(event_loop.data(), b"x");
    });
}

#[test]
fn an_id_of_another_loop_names_nothing_here() {
    let mut one = EventLoop::new().expect("a loop");
    let mut other = EventLoop::with_data(0).expect("a loop");
    let foreign: Vec<_> = (0..50).map(|_| one.user_event(|_, _| Next::Keep)).collect();
    let own: Vec<_> = (0..50)
        .map(|_| {
            other.user_event(|ctx, _| {
                *ctx.data() += 1;
                Next::Keep
            })
        })
        .collect();
    for &id in &foreign {
        assert!(!other.activate(id, Ready::USER) && !other.remove(id) && !other.disable(id));
    }
    assert!(own.iter().all(|&id| other.exists(id)));
    let handle = other.handle();
    handle.post(|ctx| *ctx.data() += 1).expect("posted");
    other.run_once().expect("the waker is still watched");
    assert_eq!(*other.data(), 1);
}

/// Nobody should do this; but it is safe code, so no source may be closed while an engine still watches it.
#[test]
fn a_callback_that_exchanges_its_loop_for_another_closes_nothing_and_spins_nowhere() {
    on_every_backend(|kind| {
        let mut here = loop_on(kind, Vec::new());
        let mut there = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        far.set_nonblocking(true).expect("non-blocking");
        far.write_all(b"x").expect("written");
        let there_after = Rc::new(RefCell::new(None));
        let out = Rc::clone(&there_after);
        there.register(pair().0, Interest::READ, |_, _: &UnixStream, _| Next::Remove).expect("registered");
        let mut there = Some(there);
        here.register(near, Interest::READ, move |ctx: &mut Context<Vec<u8>>, _, _| {
            let mut there = there.take().expect("once");
            std::mem::swap(ctx, &mut *there);
            *out.borrow_mut() = Some(there);
            Next::Keep
        })
        .expect("registered");
        here.run_once().expect("a turn");
        assert_eq!(
            far.read(&mut [0; 8]).expect_err("still open").kind(),
            std::io::ErrorKind::WouldBlock,
            "{kind}: closed while watched"
        );
        let mut swapped = there_after.borrow_mut().take().expect("swapped");
        let before = swapped.stats().turns;
        while swapped.stats().turns - before < 5 {
            swapped.run_for(MS).expect("a turn");
        }
        let waits = swapped.stats().engine.reports;
        swapped.run_for(20 * MS).expect("a turn");
        assert_eq!(swapped.stats().engine.reports, waits, "{kind}: told for ever");
        here.run_for(MS).expect("a turn");
    });
}
