//! The Rust face on every backend: what a callback may do to its loop, and that nothing of it panics, leaks or
//! reaches the wrong owner.

use duolu::{BackendKind, Config, Context, EventId, EventLoop, Exit, Interest, Next, Options, Ready, Rearm};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Runs a test on every backend. io_uring must be there unless DUOLU_TEST_NO_URING=1 says that it cannot be.
fn on_every_backend(test: impl Fn(BackendKind)) {
    for kind in BackendKind::ALL {
        if kind == BackendKind::IoUring && std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|v| v == "1") {
            continue;
        }
        test(kind);
    }
}

fn loop_on<D: 'static>(kind: BackendKind, data: D) -> EventLoop<D> {
    let mut event_loop = Config::new().backend(kind).priorities(3).build(data).expect("a loop");
    assert_eq!(event_loop.fallback(), None, "{kind} must be available for its tests");
    assert_eq!(event_loop.backend_name(), kind.to_string());
    event_loop
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a socket pair");
    a.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

fn drain(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let n = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(n);
    bytes
}

/// A callback that reads and counts.
fn counting(ctx: &mut Context<Vec<u8>>, stream: &UnixStream, _: Ready) -> Next {
    let bytes = drain(stream);
    ctx.data().extend(bytes);
    Next::Keep
}

#[test]
fn data_arrives_through_the_loops_own_data() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, counting).expect("registered");
        far.write_all(b"one").expect("written");
        event_loop.run_once().expect("a turn");
        far.write_all(b"two").expect("written");
        event_loop.run_once().expect("a turn");
        assert_eq!(event_loop.into_data(), b"onetwo");
    });
}

#[test]
fn the_loop_ends_when_nothing_is_pending() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, 0);
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        event_loop.after(MS, |ctx| *ctx.data() += 1);
        event_loop.user_event(|_, _| Next::Keep);
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), 1);
    });
}

#[test]
fn a_removed_source_is_closed_and_its_peer_sees_the_end() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, ());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, |_, _: &UnixStream, _| Next::Remove).expect("registered");
        far.write_all(b"x").expect("written");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        // io_uring lets go of the file with its next call at the latest.
        event_loop.run_nonblocking().expect("a turn");
        // The byte was left unread, so the end may be told as a reset.
        far.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        let end = far.read(&mut [0; 8]);
        assert!(matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn dropping_the_loop_closes_everything_at_once() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        event_loop.register(near, Interest::READ, counting).expect("registered");
        event_loop.run_nonblocking().expect("a turn");
        drop(event_loop);
        far.set_read_timeout(Some(Duration::from_secs(5))).expect("a limit");
        assert_eq!(far.read(&mut [0; 8]).expect("the end"), 0);
    });
}

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
fn two_events_on_one_shared_descriptor() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, (0, 0));
        let (near, mut far) = pair();
        let near = Rc::new(near);
        far.write_all(b"x").expect("written");
        event_loop
            .register(Rc::clone(&near), Interest::READ, |ctx, stream: &Rc<UnixStream>, ready| {
                assert!(ready.contains(Ready::READ) && !ready.contains(Ready::WRITE));
                drain(stream);
                ctx.data().0 += 1;
                Next::Keep
            })
            .expect("registered");
        event_loop
            .register(near, Interest::WRITE, |ctx, _: &Rc<UnixStream>, ready| {
                assert!(ready.contains(Ready::WRITE) && !ready.contains(Ready::READ));
                ctx.data().1 += 1;
                Next::Remove
            })
            .expect("registered");
        for _ in 0..3 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), (1, 1));
        far.write_all(b"y").expect("written");
        event_loop.run_once().expect("a turn");
        assert_eq!(*event_loop.data(), (2, 1), "reading goes on after writing is removed");
    });
}

#[test]
fn mixed_triggers_on_one_descriptor_are_refused_with_advice() {
    let mut event_loop = loop_on(BackendKind::Epoll, ());
    let (near, _far) = pair();
    let near = Rc::new(near);
    let keep = |_: &mut Context<()>, _: &Rc<UnixStream>, _: Ready| Next::Keep;
    event_loop.register(Rc::clone(&near), Options::new(Interest::READ).edge(), keep).expect("registered");
    let error = event_loop.register(near, Interest::WRITE, keep).expect_err("mixed");
    assert!(error.to_string().contains("dup(2)"), "{error}");
}

#[test]
fn one_shot_is_silent_until_rearmed() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, 0);
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        let id = event_loop
            .register(near, Options::new(Interest::READ).one_shot(), |ctx, _: &UnixStream, _| {
                *ctx.data() += 1;
                if *ctx.data() == 2 { Next::again() } else { Next::Keep }
            })
            .expect("registered");
        for _ in 0..3 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), 1);
        assert!(!event_loop.is_pending(id));
        event_loop.enable(id).expect("enabled");
        for _ in 0..4 {
            event_loop.run_for(MS).expect("a turn");
        }
        assert_eq!(*event_loop.data(), 3, "enabled once, re-armed by itself once");
    });
}

#[test]
fn a_once_event_can_be_rearmed_for_something_else() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        event_loop
            .register(near, Options::new(Interest::READ).once(), |ctx, stream: &UnixStream, ready| {
                ctx.data().push(ready);
                drain(stream);
                match ctx.data().len() {
                    1 => Next::interest(Interest::WRITE),
                    2 => Next::Rearm(Rearm::again().interest(Interest::READ).after(MS)),
                    _ => Next::Remove,
                }
            })
            .expect("registered");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), [Ready::READ, Ready::WRITE, Ready::TIMEOUT]);
    });
}

#[test]
fn timers_fire_in_exact_order_and_periodic_ones_until_removed() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let start = event_loop.now();
        for (name, us) in [('d', 3001), ('b', 2000), ('a', 1), ('c', 2000)] {
            let at = start.saturating_add(Duration::from_micros(us));
            event_loop.after(at, move |ctx: &mut Context<Vec<char>>| ctx.data().push(name));
        }
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), ['a', 'b', 'c', 'd']);
        let mut left = 3;
        event_loop.every(MS, move |ctx| {
            ctx.data().push('t');
            left -= 1;
            if left == 0 { Next::Remove } else { Next::Keep }
        });
        event_loop.run().expect("a run");
        assert_eq!(event_loop.data()[4..], ['t', 't', 't']);
    });
}

#[test]
fn a_timeout_on_a_descriptor_starts_anew_with_activity() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        let hour = Duration::from_secs(3600);
        let id = event_loop
            .register(
                near,
                Options::new(Interest::READ).timeout(hour),
                |ctx: &mut Context<Vec<_>>, stream, ready| {
                    drain(stream);
                    let deadline = ctx.deadline(ctx.current().expect("running"));
                    ctx.data().push((ready, deadline));
                    if ready.contains(Ready::TIMEOUT) { Next::Remove } else { Next::Keep }
                },
            )
            .expect("registered");
        let first = event_loop.deadline(id).expect("armed");
        std::thread::sleep(MS);
        far.write_all(b"x").expect("written");
        event_loop.run_once().expect("a turn");
        let (ready, second) = event_loop.data()[0];
        assert_eq!(ready, Ready::READ);
        assert!(second.expect("armed") >= first.saturating_add(MS), "activity put it off");
        event_loop.set_timeout(id, MS).expect("set");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(event_loop.data()[1].0, Ready::TIMEOUT);
        assert_eq!(event_loop.data().len(), 2);
    });
}

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
        assert_eq!(*event_loop.data(), b"abBcu");
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
    let mut always = EventLoop::new().expect("a loop");
    always.signal(SIGUSR2, |_, _| Next::Keep).expect("watched");
    std::mem::forget(always);
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

#[test]
fn a_loop_inside_a_loop() {
    for kind in [BackendKind::Epoll, BackendKind::IoUring] {
        let mut inner = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        inner.register(near, Interest::READ, counting).expect("registered");
        let descriptor = inner.descriptor().expect("embeddable");
        assert_eq!(inner.sleep(), None);
        let mut outer = EventLoop::new().expect("a loop");
        // SAFETY: `inner` outlives `outer`'s only turn.
        #[allow(unsafe_code)]
        let watch = unsafe {
            outer.register_raw(descriptor, Interest::READ, |ctx, _, _| {
                ctx.stop();
                Next::Keep
            })
        };
        watch.expect("registered");
        far.write_all(b"in").expect("written");
        outer.run().expect("a run");
        inner.run_nonblocking().expect("a turn");
        assert_eq!(inner.data(), b"in", "{kind}");
        inner.after(Duration::from_secs(9), |_| ());
        let sleep = inner.sleep().expect("a timer is armed");
        assert!(sleep > Duration::from_secs(8) && sleep <= Duration::from_secs(9));
    }
}

#[test]
fn an_unknown_backend_in_the_environment_is_an_error_that_lists_the_names() {
    let exe = std::env::current_exe().expect("this test");
    let run = |value: &str| {
        let output = std::process::Command::new(&exe)
            .args(["--exact", "--nocapture", "the_loop_says_which_backend_the_environment_chose"])
            .env("DUOLU_BACKEND", value)
            .output()
            .expect("runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(run("poll").contains("chose poll"));
    assert!(run("").contains("chose epoll"));
    let refused = run("kqueue");
    assert!(
        refused.contains("DUOLU_BACKEND=kqueue names no backend; use one of select, poll, epoll, io_uring"),
        "{refused}"
    );
}

#[test]
fn the_loop_says_which_backend_the_environment_chose() {
    match EventLoop::new() {
        Ok(mut event_loop) => println!("chose {}", event_loop.backend_name()),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn a_listener_accepts_all_that_wait_and_can_remove_itself() {
    use std::net::{TcpListener, TcpStream};
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).expect("connected")).collect();
        event_loop
            .accept(listener, |ctx: &mut Context<Vec<u16>>, stream, peer| {
                assert_eq!(stream.peer_addr().expect("connected"), peer);
                let flags = std::fs::read_to_string(format!(
                    "/proc/self/fdinfo/{}",
                    std::os::fd::AsRawFd::as_raw_fd(&stream)
                ));
                assert!(flags.expect("open").contains("flags:\t02004002"), "non-blocking, close on exec");
                ctx.data().push(peer.port());
                if ctx.data().len() == 5 {
                    let me = ctx.current().expect("running");
                    ctx.remove(me);
                }
            })
            .expect("listening");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        let ports: Vec<_> = clients.iter().map(|client| client.local_addr().expect("bound").port()).collect();
        assert_eq!(*event_loop.data(), ports);
        assert_eq!(event_loop.stats().accepted, 5);
        event_loop.run_nonblocking().expect("a turn"); // io_uring lets go of the listener here at the latest
        assert!(TcpStream::connect(address).is_err(), "the listener is closed");
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
