//! Descriptors that are closed, copied and reused: nothing spins, and nothing reaches the wrong owner.
//!
//! Numbers that are closed here are private ones: another test's thread could otherwise get them.

use super::kit::*;
use duolu_core::{Backend, Change, Errno, Ready, Token, Trigger};
use duolu_sys::backend;
use duolu_sys::socket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

pub use super::kit::beside_others as enter;

/// A pipe whose reading end has a private number.
fn private_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = pipe();
    (private(reader), writer)
}

/// After this the backend says no more about anything: it really sleeps.
fn assert_quiet(backend: &mut dyn Backend) {
    // The kernel's side may have to be built anew: one wait may be woken for nothing.
    assert_eq!(look(backend), []);
    let start = Instant::now();
    assert_eq!(wait(backend, 3_000_000), []);
    assert!(start.elapsed() >= Duration::from_millis(3), "{} spins", backend.name());
}

pub fn a_closed_descriptor_never_spins_and_never_fails(backend: &mut dyn Backend) {
    for trigger in [Trigger::Level, Trigger::OneShot] {
        let (reader, writer) = private_pipe();
        let token = add_with(backend, &reader, 1, READ, trigger);
        assert_eq!(look(backend), []);
        drop(reader);
        let mut told = Vec::new();
        for _ in 0..5 {
            told.extend(look(backend));
        }
        assert!(told.is_empty() || told == [(token, Ready::INVALID)], "{told:?}");
        drop(writer);
        // io_uring still holds the file and sees its hangup; then it, too, finds the number closed.
        for _ in 0..5 {
            told.extend(look(backend));
        }
        assert!(told.iter().filter(|(_, ready)| ready.intersects(Ready::INVALID)).count() <= 1, "{told:?}");
        assert!(told.len() <= 2 && told.iter().all(|(who, _)| *who == token), "{told:?}");
        assert_quiet(backend);
        remove(backend, token);
        assert_quiet(backend);
    }
}

pub fn a_closed_descriptor_does_not_disturb_the_others(backend: &mut dyn Backend) {
    let mut pipes: Vec<_> = (0..6).map(|_| private_pipe()).collect();
    let tokens: Vec<_> = pipes.iter().map(|(reader, _)| add(backend, reader, 1, READ)).collect();
    assert_eq!(look(backend), []);
    let closed: Vec<_> = [4, 1, 0].map(|at| (pipes.remove(at), tokens[at])).into();
    for (_, writer) in &pipes {
        put(writer, b"abc");
    }
    drop(closed);
    let mut told: Vec<(Token, Ready)> = Vec::new();
    for _ in 0..5 {
        told.extend(look(backend));
    }
    for at in [2, 3, 5] {
        let count = told.iter().filter(|report| **report == (tokens[at], Ready::READ)).count();
        assert!(count >= 4, "{at} was told {count} times of 5: {told:?}");
    }
    for at in [0, 1, 4] {
        assert!(told.iter().filter(|(token, _)| *token == tokens[at]).count() <= 1, "{told:?}");
    }
    assert_eq!(look(backend).len(), 3);
}

pub fn adding_a_closed_number_is_refused_or_told_as_invalid(backend: &mut dyn Backend) {
    let (reader, _writer) = private_pipe();
    let token = token(&reader, 1);
    drop(reader);
    match backend.apply(Change::Add { token, watch: watch(READ, Trigger::Level) }) {
        Err(errno) => assert_eq!(errno, Errno(libc::EBADF)),
        Ok(()) => {
            let told = look(backend);
            assert!(told.is_empty() || told == [(token, Ready::INVALID)], "{told:?}");
        }
    }
    assert_quiet(backend);
}

pub fn a_negative_number_is_refused(backend: &mut dyn Backend) {
    for number in [-1, i32::MIN] {
        let token = Token::new(number, 1);
        let watch = watch(READ, Trigger::Level);
        assert_eq!(backend.apply(Change::Add { token, watch }), Err(Errno(libc::EBADF)));
        assert_eq!(backend.apply(Change::Modify { token, watch }), Err(Errno(libc::EBADF)));
        assert_eq!(backend.apply(Change::Remove { token }), Ok(()));
    }
    assert_quiet(backend);
}

pub fn a_copy_that_outlives_the_descriptor_is_silent_after_remove(backend: &mut dyn Backend) {
    let (reader, writer) = private_pipe();
    let (other, other_writer) = pipe();
    let copy = socket::dup(&reader, 0).unwrap();
    let bystander = add_with(backend, &other, 1, READ, Trigger::OneShot);
    put(&other_writer, b"abc");
    assert_eq!(look(backend), [(bystander, Ready::READ)]);
    let token = add(backend, &reader, 1, READ);
    assert_eq!(look(backend), []);
    drop(reader);
    remove(backend, token);
    put(&writer, b"abc");
    assert_quiet(backend);
    // Whatever was done to be rid of it: the bystander is still watched, and still disarmed.
    modify(backend, bystander, READ, Trigger::OneShot);
    assert_eq!(look(backend), [(bystander, Ready::READ)]);
    assert_quiet(backend);
    modify(backend, bystander, READ, Trigger::Level);
    assert_eq!(look(backend), [(bystander, Ready::READ)]);
    drop(copy);
}

pub fn a_copy_that_outlives_the_descriptor_does_not_reach_the_next_owner(backend: &mut dyn Backend) {
    let (old, old_writer) = private_pipe();
    let copy = socket::dup(&old, 0).unwrap();
    let old_token = add(backend, &old, 1, READ);
    assert_eq!(look(backend), []);
    // The number goes to another file, then the brain is told, as in "close, then event_del".
    let (new, new_writer) = pipe();
    take_number(&old, new);
    remove(backend, old_token);
    let new_token = add(backend, &old, 2, READ);
    put(&old_writer, b"abc");
    assert_quiet(backend);
    put(&new_writer, b"abc");
    assert_eq!(wait_for_report(backend), [(new_token, Ready::READ)]);
    drop(copy);
}

pub fn a_number_reused_between_remove_and_add_means_the_new_file(backend: &mut dyn Backend) {
    let (old, old_writer) = private_pipe();
    let old_token = add(backend, &old, 1, READ);
    assert_eq!(look(backend), []);
    put(&old_writer, b"abc");
    remove(backend, old_token);
    let (new, new_writer) = pipe();
    take_number(&old, new);
    let new_token = add(backend, &old, 2, READ);
    assert_quiet(backend);
    put(&new_writer, b"abc");
    assert_eq!(wait_for_report(backend), [(new_token, Ready::READ)]);
}

pub fn a_number_reused_behind_our_back_means_the_new_file_after_modify(backend: &mut dyn Backend) {
    for generation in [1, 2] {
        let (old, old_writer) = private_pipe();
        let copy = socket::dup(&old, 0).unwrap();
        add(backend, &old, 1, READ);
        assert_eq!(look(backend), []);
        let (new, new_writer) = pipe();
        take_number(&old, new);
        let token = token(&old, generation);
        modify(backend, token, READ, Trigger::Level);
        put(&old_writer, b"abc");
        assert_quiet(backend);
        put(&new_writer, b"abc");
        assert_eq!(wait_for_report(backend), [(token, Ready::READ)]);
        // And to a regular file, and back.
        take_number(&old, file());
        modify(backend, token, READ, Trigger::Level);
        assert_eq!(look(backend), [(token, Ready::READ)]);
        let (new, _writer) = pipe();
        take_number(&old, new);
        modify(backend, token, READ, Trigger::Level);
        assert_quiet(backend);
        remove(backend, token);
        drop(copy);
    }
}

pub fn a_late_report_does_not_reach_the_next_owner(backend: &mut dyn Backend) {
    for trigger in [Trigger::Level, Trigger::OneShot, Trigger::Edge] {
        if trigger == Trigger::Edge && !backend.features().edge {
            continue;
        }
        let (old, old_writer) = private_pipe();
        let old_token = add_with(backend, &old, 1, READ, trigger);
        assert_eq!(look(backend), []);
        put(&old_writer, b"abc");
        let (new, new_writer) = pipe();
        remove(backend, old_token);
        take_number(&old, new);
        let new_token = add_with(backend, &old, 2, READ, trigger);
        assert_quiet(backend);
        put(&new_writer, b"abc");
        assert_eq!(wait_for_report(backend), [(new_token, Ready::READ)]);
        remove(backend, new_token);
        assert_quiet(backend);
    }
}

pub fn removed_and_closed_is_released_by_the_next_wait(backend: &mut dyn Backend) {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        if trigger == Trigger::Edge && !backend.features().edge {
            continue;
        }
        let (near, far) = pair();
        let near = private(near);
        let token = add_with(backend, &near, 1, READ, trigger);
        assert_eq!(look(backend), []);
        remove(backend, token);
        drop(near);
        assert_eq!(look(backend), []);
        assert_ne!(poll_one(&far, libc::POLLIN, 0) & libc::POLLHUP, 0, "the peer does not see the end");
    }
}

/// Those that the backend has.
fn triggers(backend: &dyn Backend) -> &'static [Trigger] {
    let all = &[Trigger::Level, Trigger::OneShot, Trigger::Edge];
    if backend.features().edge { all } else { &all[..2] }
}

pub fn let_go_of_and_closed_is_released_at_once(backend: &mut dyn Backend) {
    // What was told before is asked in another way than what never was.
    for (&trigger, told) in
        triggers(backend).iter().flat_map(|trigger| (0..7).map(move |told| (trigger, told)))
    {
        let (near, far) = pair();
        let near = private(near);
        let token = add_with(backend, &near, 1, READ, trigger);
        assert_eq!(look(backend), []);
        for _ in 0..told {
            put(&far, b"x");
            look(backend);
            empty(&near);
            modify(backend, token, READ, trigger);
            assert_eq!(look(backend), []);
        }
        backend.let_go(near.as_raw_fd());
        drop(near);
        assert_ne!(poll_one(&far, libc::POLLIN, 0) & libc::POLLHUP, 0, "the peer does not see the end");
        remove(backend, token);
        assert_quiet(backend);
    }
}

pub fn let_go_of_and_changed_goes_on(backend: &mut dyn Backend) {
    for fd in [-1, 9999, i32::MAX] {
        backend.let_go(fd);
    }
    for &trigger in triggers(backend) {
        let (near, far) = pair();
        let mut token = add_with(backend, &near, 1, READ, trigger);
        backend.let_go(near.as_raw_fd());
        assert_eq!(look(backend), []);
        for generation in 2..6 {
            backend.let_go(near.as_raw_fd());
            backend.let_go(near.as_raw_fd());
            token = Token::new(near.as_raw_fd(), generation);
            modify(backend, token, READ, trigger);
            assert_quiet(backend);
            put(&far, b"abc");
            assert_eq!(wait_for_report(backend), [(token, Ready::READ)]);
            empty(&near);
        }
        remove(backend, token);
        assert_quiet(backend);
    }
}

pub fn let_go_of_and_copied_leaves_nothing_behind(backend: &mut dyn Backend) {
    let (other, other_writer) = pipe();
    let exact = backend.features().exact_edges;
    let bystander = add_with(backend, &other, 1, READ, if exact { Trigger::Edge } else { Trigger::OneShot });
    put(&other_writer, b"abc");
    assert_eq!(look(backend), [(bystander, Ready::READ)]);
    assert_eq!(backend.holds_files(), backend.features().edge);
    for generation in 1..5 {
        let (near, far) = private_pipe();
        let copy = socket::dup(&near, 0).unwrap();
        let token = add(backend, &near, generation, READ);
        assert_eq!(look(backend), []);
        backend.let_go(near.as_raw_fd());
        drop(near);
        remove(backend, token);
        put(&far, b"abc");
        // Else the bystander would be told again.
        assert_quiet(backend);
        drop(copy);
    }
}

pub fn who_was_deceived_once_wants_descriptors_let_go_of(backend: &mut dyn Backend) {
    let holds = |backend: &dyn Backend| backend.holds_files();
    assert_eq!(holds(backend), backend.name() == "io_uring");
    let (near, far) = private_pipe();
    let copy = socket::dup(&near, 0).unwrap();
    let token = add(backend, &near, 1, READ);
    assert_eq!(look(backend), []);
    drop(near);
    remove(backend, token);
    put(&far, b"abc");
    assert_quiet(backend);
    assert_eq!(holds(backend), backend.features().o_ready);
    backend.reinit().unwrap();
    assert_eq!(holds(backend), backend.features().o_ready);
    drop(copy);
}

pub fn dropping_the_backend_releases_everything(backend: &mut dyn Backend) {
    let mut mine = backend::open(backend.name().parse().unwrap()).unwrap();
    let peers: Vec<_> = (0..300)
        .map(|at| {
            let (near, far) = pair();
            add_with(&mut *mine, &near, 1, READ, if at % 2 == 0 { Trigger::Level } else { Trigger::OneShot });
            (near, far)
        })
        .collect();
    assert_eq!(look(&mut *mine), []);
    // Closed while watched. (Other threads may get the numbers: no wait from here on.)
    let far: Vec<_> = peers.into_iter().map(|(_, far)| far).collect();
    drop(mine);
    for far in far {
        assert_ne!(poll_one(&far, libc::POLLIN, 0) & libc::POLLHUP, 0, "the peer does not see the end");
    }
}
