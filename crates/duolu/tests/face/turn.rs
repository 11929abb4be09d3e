//! The turn: its order, its end, what joins it from outside.

use crate::{MS, loop_on, on_every_backend, pair};
use duolu::{Config, Context, EventLoop, Exit, Interest, Next, Options, Ready};
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

#[test]
fn posts_from_other_threads_arrive_in_order_and_wake_the_loop() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let handle = event_loop.handle();
        let other = handle.clone();
        let thread = std::thread::spawn(move || {
            for n in 0..1000 {
                other.post(move |ctx: &mut Context<Vec<u32>>| ctx.data().push(n)).expect("posted");
            }
            other.stop().expect("posted");
        });
        event_loop.run_until_stopped().expect("a run");
        thread.join().expect("joined");
        assert_eq!(*event_loop.data(), (0..1000).collect::<Vec<_>>());
        drop(event_loop);
        assert!(handle.post(|_| ()).is_err(), "the loop is gone");
    });
}

#[test]
fn what_is_posted_and_never_run_is_dropped_with_the_loop() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let marker = std::sync::Arc::new(());
    let held = std::sync::Arc::clone(&marker);
    event_loop.handle().post(move |_| drop(held)).expect("posted");
    assert_eq!(std::sync::Arc::strong_count(&marker), 2);
    event_loop.data();
    drop(event_loop);
    assert_eq!(std::sync::Arc::strong_count(&marker), 1);
}

#[test]
fn stop_lets_the_pass_finish_and_break_does_not() {
    on_every_backend(|kind| {
        for (stop, expected) in [(true, 3), (false, 1)] {
            let mut event_loop = loop_on(kind, 0);
            for _ in 0..3 {
                let id = event_loop.user_event(move |ctx, _| {
                    *ctx.data() += 1;
                    if stop {
                        ctx.stop()
                    } else {
                        ctx.break_now()
                    }
                    Next::Keep
                });
                event_loop.activate(id, Ready::USER);
            }
            assert_eq!(event_loop.run().expect("a run"), Exit::Stopped);
            assert_eq!(*event_loop.data(), expected);
            if !stop {
                event_loop.run_once().expect("a turn");
                assert_eq!(*event_loop.data(), 2, "what was due is still due");
            }
        }
    });
}

#[test]
fn the_most_urgent_priority_comes_first_and_may_preempt() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let mut streams = Vec::new();
        let urgent = event_loop.user_event(|ctx: &mut Context<Vec<u8>>, _| {
            ctx.data().push(b'u');
            Next::Keep
        });
        for (priority, name) in [(2, b'c'), (0, b'a'), (1, b'b'), (1, b'B')] {
            let (near, mut far) = pair();
            far.write_all(b"x").expect("written");
            streams.push(far);
            event_loop
                .register(
                    near,
                    Options::new(Interest::READ).priority(priority),
                    move |ctx: &mut Context<Vec<u8>>, _, _| {
                        ctx.data().push(name);
                        if name == b'c' {
                            ctx.activate(urgent, Ready::USER); // middle priority: before any other of 2
                        }
                        Next::Remove
                    },
                )
                .expect("registered");
        }
        event_loop.run().expect("a run");
        // In which order the kernel tells of two that are ready is its own affair (io_uring's changes).
        event_loop.data()[1..3].sort_unstable();
        assert_eq!(*event_loop.data(), b"aBbcu");
    });
}

#[test]
fn hooks_run_around_the_wait_and_idle_only_in_quiet_turns() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, String::new());
        event_loop.on_prepare(|ctx: &mut Context<String>| ctx.data().push('p'));
        event_loop.on_check(|ctx: &mut Context<String>| ctx.data().push('c'));
        let idle = Rc::new(Cell::new(None));
        let own = Rc::clone(&idle);
        idle.set(Some(event_loop.on_idle(move |ctx: &mut Context<String>| {
            ctx.data().push('i');
            assert!(ctx.remove_hook(own.get().expect("set")));
        })));
        event_loop.run_once().expect("a turn that must not sleep");
        event_loop.after(Duration::ZERO, |ctx: &mut Context<String>| ctx.data().push('t'));
        event_loop.run_once().expect("a turn");
        assert_eq!(*event_loop.data(), "pcipct");
    });
}

#[test]
fn signals_are_counted() {
    // A signal sent from outside may arrive late, when the loop that was to get it is gone and its ordinary action, which
    // is to end us, is back. So one loop watches it to the end.
    let (watched, watches) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut always = EventLoop::new().expect("a loop");
        always.signal(SIGUSR2, |_, _| Next::Keep).expect("watched");
        watched.send(()).expect("somebody waits for it");
        loop {
            std::thread::park();
        }
    });
    watches.recv().expect("the loop that watches always");
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, 0);
        let id = event_loop
            .signal(SIGUSR2, |ctx, count| {
                *ctx.data() += count;
                Next::Keep
            })
            .expect("watched");
        for _ in 0..3 {
            raise(SIGUSR2);
        }
        // The handler may interrupt a wait before its signal is told: a turn or a few.
        for _ in 0..100 {
            event_loop.run_for(100 * MS).expect("a turn");
            if *event_loop.data() > 0 {
                break;
            }
        }
        // Three, fewer where the kernel merged them, more where some of another backend's came late.
        assert!((1..=12).contains(event_loop.data()), "{kind}: {}", event_loop.data());
        assert!(event_loop.remove(id));
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty, "the hub does not keep the loop running");
        assert!(event_loop.signal(9, |_, _| Next::Keep).is_err(), "SIGKILL cannot be watched");
        assert!(event_loop.signal(65, |_, _| Next::Keep).is_err());
    });
}

const SIGUSR2: i32 = 12;

fn raise(signo: i32) {
    let status = std::process::Command::new("kill")
        .args([format!("-{signo}"), std::process::id().to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success());
}

#[test]
fn budgets_poll_again_between_callbacks() {
    let mut event_loop = Config::new().max_callbacks(2).build(0).expect("a loop");
    for _ in 0..5 {
        let id = event_loop.user_event(|ctx, _| {
            *ctx.data() += 1;
            Next::Keep
        });
        event_loop.activate(id, Ready::USER);
    }
    for expected in [2, 4, 5] {
        event_loop.run_nonblocking().expect("a turn");
        assert_eq!(*event_loop.data(), expected);
    }
    let mut event_loop = Config::new().max_interval(Duration::ZERO).build(0).expect("a loop");
    for _ in 0..2 {
        let id = event_loop.user_event(|ctx, _| {
            *ctx.data() += 1;
            Next::Keep
        });
        event_loop.activate(id, Ready::USER);
    }
    event_loop.run_nonblocking().expect("a turn");
    assert_eq!(*event_loop.data(), 1);
}

#[test]
fn slow_callbacks_are_told() {
    let mut event_loop = EventLoop::new().expect("a loop");
    let told = Rc::new(RefCell::new(Vec::new()));
    let tell = Rc::clone(&told);
    event_loop.watch_slow(5 * MS, move |slow| tell.borrow_mut().push(*slow));
    let slow = event_loop.user_event(|_, _| {
        std::thread::sleep(6 * MS);
        Next::Keep
    });
    event_loop.activate(slow, Ready::USER);
    event_loop.run_once().expect("a turn");
    assert_eq!((told.borrow().len(), told.borrow()[0].id), (1, slow));
    assert!(told.borrow()[0].took >= 6 * MS && event_loop.stats().slow_callbacks == 1);
    event_loop.unwatch_slow();
    event_loop.activate(slow, Ready::USER);
    event_loop.run_once().expect("a turn");
    assert_eq!(told.borrow().len(), 1);
}
