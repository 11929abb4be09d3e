//! Time, signals, forks, threads, and a loop inside a loop.

use super::busy::{crowd, told};
use super::kit::*;
use duolu_core::{Backend, Clock, Ready, Trigger};
use duolu_sys::backend::{self, Epoll};
use duolu_sys::{MonotonicClock, process, socket};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use super::kit::alone as enter;

pub fn no_timeout_ends_early(backend: &mut dyn Backend) {
    let (reader, _writer) = pipe();
    add(backend, &reader, 1, READ);
    for timeout_ns in [1, 999, 50_000, 999_999, 1_000_001, 1_500_000, 7_000_001] {
        for _ in 0..3 {
            let start = MonotonicClock.now();
            assert_eq!(wait(backend, timeout_ns), []);
            let slept_ns = MonotonicClock.now().saturating_nanos_since(start);
            assert!(slept_ns >= timeout_ns, "{slept_ns} of {timeout_ns} ns");
        }
    }
    // Nor with changes to send out, among them removals.
    for generation in 2..6 {
        let token = add(backend, &reader, generation, READ);
        assert_eq!(look(backend), []);
        remove(backend, token);
        let start = MonotonicClock.now();
        assert_eq!(wait(backend, 2_000_000), []);
        assert!(MonotonicClock.now().saturating_nanos_since(start) >= 2_000_000, "{}", backend.name());
    }
}

pub fn a_huge_timeout_is_for_ever(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = add(backend, &reader, 1, READ);
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        put(&writer, b"abc");
        writer
    });
    assert_eq!(wait(backend, u64::MAX), [(token, Ready::READ)]);
    let mut reports = Vec::new();
    backend.wait(None, &mut reports).unwrap();
    assert_eq!(reports.len(), 1);
    waker.join().unwrap();
}

/// Calls `body` while this thread gets a signal every so often, whose handler does nothing.
fn under_signals(every: Duration, body: impl FnOnce()) {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing; all zeroes are a valid sigaction.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
    }
    // SAFETY: no arguments.
    let here = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(every);
                // SAFETY: the thread lives as long as the scope.
                unsafe { libc::pthread_kill(here, libc::SIGUSR2) };
            }
        });
        let end = Guard(&done);
        body();
        drop(end);
    });
}

/// A body that panics ends the signals too.
struct Guard<'a>(&'a AtomicBool);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub fn a_signal_ends_the_wait(backend: &mut dyn Backend) {
    let (reader, _writer) = pipe();
    add(backend, &reader, 1, READ);
    assert_eq!(look(backend), []);
    under_signals(Duration::from_millis(2), || {
        let start = Instant::now();
        assert_eq!(wait(backend, LONG_NS), []);
        assert!(start.elapsed() < Duration::from_nanos(LONG_NS));
    });
}

pub fn signals_hide_nobody_of_a_crowd(backend: &mut dyn Backend) {
    let (pipes, tokens) = crowd(backend);
    under_signals(Duration::from_micros(20), || {
        for _ in 0..2_000 {
            pipes.iter().for_each(|(_, writer)| put(writer, b"x"));
            let mut seen = wait_for_report(backend);
            seen.sort_unstable_by_key(|(token, _)| token.bits());
            assert_eq!(seen.iter().map(|(token, _)| *token).collect::<Vec<_>>(), tokens);
            pipes.iter().for_each(|(reader, _)| assert_eq!(empty(reader), 1));
        }
    });
}

/// Descriptors stay open beyond a limit that was lowered, but poll(2) takes no longer list (and its backend says so).
pub fn a_lowered_limit_hides_nobody_of_a_crowd(backend: &mut dyn Backend) {
    if ["poll", "select"].contains(&backend.name()) {
        return;
    }
    let (pipes, tokens) = crowd(backend);
    let limit = process::descriptor_limit().unwrap();
    let turn = |backend: &mut dyn Backend| {
        for round in 0..12 {
            let (quiet, busy) = pipes.split_at(round % 3);
            busy.iter().for_each(|(_, writer)| put(writer, b"x"));
            assert_eq!(told(backend), tokens[quiet.len()..]);
            assert_eq!(told(backend), tokens[quiet.len()..]);
            busy.iter().for_each(|(reader, _)| assert_eq!(empty(reader), 1));
        }
    };
    turn(backend);
    pipes.iter().for_each(|(_, writer)| put(writer, b"x"));
    assert_eq!(told(backend), tokens);
    process::set_descriptor_limit(process::Limit { soft: 4, ..limit }).unwrap();
    assert_eq!(told(backend), tokens);
    pipes.iter().for_each(|(reader, _)| assert_eq!(empty(reader), 1));
    turn(backend);
    process::set_descriptor_limit(limit).unwrap();
    turn(backend);
}

pub fn a_crowd_goes_on_in_another_thread(backend: &mut dyn Backend) {
    let (pipes, tokens) = crowd(backend);
    let mut sent = Sent(backend);
    for round in 0..8 {
        for turn in 0..round {
            pipes.iter().for_each(|(_, writer)| put(writer, b"x"));
            assert_eq!(told(sent.get()), tokens, "round {round}, turn {turn}");
            pipes[turn..].iter().for_each(|(reader, _)| drop(socket::read(reader, &mut [0; 64])));
        }
        pipes.iter().for_each(|(_, writer)| put(writer, b"y"));
        std::thread::scope(|scope| {
            let there = scope.spawn(|| (told(sent.get()), told(sent.get())));
            assert_eq!(there.join().unwrap(), (tokens.clone(), tokens.clone()), "round {round}");
        });
        pipes.iter().for_each(|(reader, _)| assert!(empty(reader) > 0));
    }
}

pub fn reinit_after_fork_leaves_the_parent_alone(backend: &mut dyn Backend) {
    let (level, level_writer) = pipe();
    let (edge, edge_writer) = pipe();
    let level_token = add(backend, &level, 1, READ);
    let trigger = if backend.features().edge { Trigger::Edge } else { Trigger::OneShot };
    let edge_token = add_with(backend, &edge, 1, READ, trigger);
    assert_eq!(look(backend), []);
    let came_through = in_child(|| {
        backend.reinit().unwrap();
        put(&level_writer, b"abc");
        assert_eq!(look(backend), [], "empty after reinit");
        let again = add(backend, &level, 2, READ);
        assert_eq!(wait_for_report(backend), [(again, Ready::READ)]);
        empty(&level);
        remove(backend, again);
        assert_eq!(look(backend), []);
    });
    assert!(came_through, "see the child's panic above");
    assert_eq!(look(backend), []);
    put(&level_writer, b"abc");
    assert_eq!(wait_for_report(backend), [(level_token, Ready::READ)]);
    empty(&level);
    put(&edge_writer, b"abc");
    assert_eq!(wait_for_report(backend), [(edge_token, Ready::READ)]);
    assert_eq!(look(backend), []);
}

pub fn a_child_may_drop_the_backend(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let mut mine = Some(backend::open(backend.name().parse().unwrap()).unwrap());
    let token = add(mine.as_deref_mut().unwrap(), &reader, 1, READ);
    assert_eq!(look(mine.as_deref_mut().unwrap()), []);
    assert!(in_child(|| drop(mine.take())));
    // One that goes on without reinit may share what it likes with its parent, but not break it.
    assert!(in_child(|| {
        look(mine.as_deref_mut().unwrap());
        if mine.as_deref().unwrap().name() == "io_uring" {
            // With epoll this would reach into the parent's: the reason for reinit. A ring must not be touched.
            remove(mine.as_deref_mut().unwrap(), token);
            look(mine.as_deref_mut().unwrap());
        }
        drop(mine.take());
    }));
    put(&writer, b"abc");
    assert_eq!(wait_for_report(mine.as_deref_mut().unwrap()), [(token, Ready::READ)]);
    empty(&reader);
    assert_eq!(look(mine.as_deref_mut().unwrap()), []);
}

pub fn reinit_forgets_everything(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let file = file();
    put(&writer, b"abc");
    add(backend, &reader, 1, READ);
    add(backend, &file, 1, READ);
    assert_eq!(look(backend).len(), 2);
    backend.reinit().unwrap();
    assert_eq!(look(backend), []);
    let token = add(backend, &reader, 1, READ);
    assert_eq!(look(backend), [(token, Ready::READ)]);
}

/// A backend in another thread.
struct Sent<'a>(&'a mut dyn Backend);
// SAFETY: the four backends are plain data and descriptors; one thread at a time uses it.
unsafe impl Send for Sent<'_> {}

impl Sent<'_> {
    fn get(&mut self) -> &mut dyn Backend {
        self.0
    }
}

pub fn another_thread_may_go_on(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let (other, other_writer) = pipe();
    let level = add(backend, &reader, 1, READ);
    let shot = add_with(backend, &other, 1, READ, Trigger::OneShot);
    put(&other_writer, b"abc");
    assert_eq!(wait_for_report(backend), [(shot, Ready::READ)]);
    let mut sent = Sent(backend);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(look(sent.get()), []);
            put(&writer, b"abc");
            assert_eq!(wait_for_report(sent.get()), [(level, Ready::READ)]);
        });
    });
    assert_eq!(look(backend), [(level, Ready::READ)]);
    empty(&reader);
    assert_eq!(look(backend), []);
}

pub fn the_thread_that_armed_may_end(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let mut sent = Sent(backend);
    let token = std::thread::scope(|scope| {
        let armed = scope.spawn(|| {
            let token = add_with(sent.get(), &reader, 1, READ, Trigger::OneShot);
            assert_eq!(look(sent.get()), []);
            token
        });
        armed.join().unwrap()
    });
    put(&writer, b"abc");
    assert_eq!(wait_for_report(backend), [(token, Ready::READ)]);
    assert_eq!(look(backend), []);
}

/// The backend's own descriptor and a pipe that it watches.
fn embedded(backend: &mut dyn Backend) -> Option<i32> {
    let descriptor = backend.descriptor();
    assert_eq!(descriptor.is_some(), backend.features().embeddable);
    descriptor
}

pub fn an_outer_poll_wakes(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = add(backend, &reader, 1, READ);
    let Some(descriptor) = embedded(backend) else { return };
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 0), 0);
    for _ in 0..3 {
        put(&writer, b"abc");
        assert_eq!(poll_raw(descriptor, libc::POLLIN, 10_000), libc::POLLIN);
        assert_eq!(look(backend), [(token, Ready::READ)]);
        assert_eq!(poll_raw(descriptor, libc::POLLIN, 10_000), libc::POLLIN, "level, also from outside");
        assert_eq!(look(backend), [(token, Ready::READ)]);
        empty(&reader);
        assert_eq!(look(backend), []);
        assert_eq!(poll_raw(descriptor, libc::POLLIN, 0), 0, "quiet again");
    }
}

pub fn an_outer_epoll_wakes(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let Some(descriptor) = embedded(backend) else { return };
    let token = add_with(backend, &reader, 1, READ, Trigger::Edge);
    let mut outer = Epoll::new().unwrap();
    // SAFETY: open until the backend is reinitialised or dropped.
    let inner = add(&mut outer, unsafe { BorrowedFd::borrow_raw(descriptor) }, 1, READ);
    assert_eq!(look(&mut outer), []);
    for _ in 0..3 {
        let (writer, at) = (&writer, Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                put(writer, b"abc");
            });
            assert_eq!(wait_for_report(&mut outer), [(inner, Ready::READ)]);
            assert!(at.elapsed() < Duration::from_nanos(LONG_NS));
        });
        assert_eq!(look(backend), [(token, Ready::READ)]);
        assert_eq!(look(&mut outer), [], "an edge told once");
    }
}

pub fn a_nested_change_without_a_wait_counts(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    put(&writer, b"abc");
    let Some(descriptor) = embedded(backend) else { return };
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 0), 0);
    let token = add(backend, &reader, 1, READ);
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 10_000), libc::POLLIN);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    remove(backend, token);
    assert_eq!(look(backend), []);
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 0), 0);
    let file = file();
    let token = add(backend, &file, 1, READ);
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 10_000), libc::POLLIN, "a regular file wakes too");
    assert_eq!(look(backend), [(token, Ready::READ)]);
    remove(backend, token);
    assert_eq!(look(backend), []);
    assert_eq!(poll_raw(descriptor, libc::POLLIN, 0), 0);
}
