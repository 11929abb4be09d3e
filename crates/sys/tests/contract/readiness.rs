//! What is told, and how often.

use super::kit::*;
use duolu_core::{Backend, Change, Interest, Ready, Report, Trigger, Watch};
use duolu_sys::socket;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

pub use super::kit::beside_others as enter;

pub fn nothing_watched_is_a_plain_sleep(backend: &mut dyn Backend) {
    assert_eq!(look(backend), []);
    let start = Instant::now();
    assert_eq!(wait(backend, 3_000_000), []);
    assert!(start.elapsed() >= Duration::from_millis(3));
}

pub fn level_is_told_every_wait_as_long_as_it_lasts(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = add(backend, &reader, 1, READ);
    assert_eq!(look(backend), []);
    put(&writer, b"abc");
    for _ in 0..5 {
        assert_eq!(look(backend), [(token, Ready::READ)]);
    }
    empty(&reader);
    for _ in 0..3 {
        assert_eq!(look(backend), []);
    }
    put(&writer, b"d");
    assert_eq!(wait_for_report(backend), [(token, Ready::READ)]);
}

pub fn level_is_not_told_for_what_was_read_meanwhile(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    add(backend, &reader, 1, READ);
    for _ in 0..3 {
        assert_eq!(look(backend), []);
        put(&writer, b"abc");
        empty(&reader);
        assert_eq!(look(backend), [], "read before the wait");
    }
}

pub fn edge_is_told_once_for_each_new_event(backend: &mut dyn Backend) {
    if !backend.features().edge {
        return;
    }
    let (reader, writer) = pair();
    put(&writer, b"before");
    let token = add_with(backend, &reader, 1, READ, Trigger::Edge);
    assert_eq!(look(backend), [(token, Ready::READ)], "what was there at Add is an edge");
    assert_eq!(look(backend), []);
    for _ in 0..3 {
        put(&writer, b"more");
        assert_eq!(wait_for_report(backend), [(token, Ready::READ)], "unread bytes do not hide new ones");
        assert_eq!(look(backend), []);
    }
    empty(&reader);
    assert_eq!(look(backend), []);
    put(&writer, b"again");
    put(&writer, b"twice");
    assert_eq!(wait_for_report(backend), [(token, Ready::READ)], "two at once are one report");
    assert_eq!(look(backend), []);
    drop(writer);
    let last = wait_for_report(backend);
    assert_eq!(last.len(), 1);
    assert!(last[0].1.contains(Ready::READ.with(Ready::HANGUP)), "{last:?}");
    assert_eq!(look(backend), [], "the end is told once too");
}

pub fn one_shot_is_told_once_for_each_add_or_modify(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = add_with(backend, &reader, 1, READ, Trigger::OneShot);
    assert_eq!(look(backend), []);
    put(&writer, b"abc");
    assert_eq!(look(backend), [(token, Ready::READ)]);
    put(&writer, b"def");
    for _ in 0..3 {
        assert_eq!(look(backend), []);
    }
    modify(backend, token, READ, Trigger::OneShot);
    assert_eq!(look(backend), [(token, Ready::READ)], "still readable: re-arming tells");
    assert_eq!(look(backend), []);
    drop(writer);
    assert_eq!(look(backend), [], "not even a hangup while disarmed");
    modify(backend, token, READ, Trigger::Level);
    assert_eq!(look(backend).len(), 1);
    assert_eq!(look(backend).len(), 1);
}

pub fn modify_tells_again_what_was_told_before(backend: &mut dyn Backend) {
    if !backend.features().edge {
        return;
    }
    let (reader, writer) = pipe();
    put(&writer, b"abc");
    let token = add_with(backend, &reader, 1, READ, Trigger::Edge);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    assert_eq!(look(backend), []);
    modify(backend, token, READ, Trigger::Edge);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    assert_eq!(look(backend), []);
}

pub fn modify_changes_interest_and_token(backend: &mut dyn Backend) {
    let (near, far) = pair();
    put(&far, b"abc");
    let first = add(backend, &near, 1, READ);
    assert_eq!(look(backend), [(first, Ready::READ)]);
    let second = token(&near, 2);
    modify(backend, second, WRITE, Trigger::Level);
    assert_eq!(look(backend), [(second, Ready::WRITE)]);
    modify(backend, second, BOTH, Trigger::Level);
    assert_eq!(look(backend), [(second, Ready::READ.with(Ready::WRITE))]);
    modify(backend, second, READ, Trigger::Level);
    empty(&near);
    assert_eq!(look(backend), []);
}

pub fn remove_silences(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = add(backend, &reader, 1, READ);
    put(&writer, b"abc");
    assert_eq!(look(backend), [(token, Ready::READ)]);
    remove(backend, token);
    assert_eq!(look(backend), []);
    assert_eq!(wait(backend, 2_000_000), []);
    drop(writer);
    assert_eq!(look(backend), []);
}

pub fn remove_silences_what_had_happened_already(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    for trigger in [Trigger::Level, Trigger::OneShot, Trigger::Edge] {
        if trigger == Trigger::Edge && !backend.features().edge {
            continue;
        }
        let token = add_with(backend, &reader, 1, READ, trigger);
        assert_eq!(look(backend), []);
        put(&writer, b"abc");
        remove(backend, token);
        assert_eq!(look(backend), []);
        empty(&reader);
    }
}

pub fn remove_of_the_unknown_is_success(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    remove(backend, token(&reader, 1));
    let known = add(backend, &reader, 2, READ);
    remove(backend, known);
    remove(backend, known);
    put(&writer, b"abc");
    assert_eq!(look(backend), []);
}

pub fn add_of_the_known_replaces(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    add(backend, &reader, 1, READ);
    assert_eq!(look(backend), []);
    let second = add(backend, &reader, 2, READ);
    put(&writer, b"abc");
    assert_eq!(wait_for_report(backend), [(second, Ready::READ)]);
    assert_eq!(look(backend), [(second, Ready::READ)]);
}

pub fn write_readiness_comes_and_goes(backend: &mut dyn Backend) {
    let (near, far) = pair();
    let token = add(backend, &near, 1, WRITE);
    assert_eq!(look(backend), [(token, Ready::WRITE)]);
    fill(&near);
    assert_eq!(look(backend), []);
    empty(&far);
    assert_eq!(wait_for_report(backend), [(token, Ready::WRITE)]);
}

pub fn both_directions_come_in_one_report(backend: &mut dyn Backend) {
    let (near, far) = pair();
    put(&far, b"abc");
    let token = add(backend, &near, 1, BOTH);
    let mut reports = Vec::new();
    backend.wait(Some(0), &mut reports).unwrap();
    assert_eq!(reports, [Report { token, ready: Ready::READ.with(Ready::WRITE) }]);
}

pub fn a_connection_to_accept_is_read(backend: &mut dyn Backend) {
    let listener = listener();
    let token = add(backend, &listener, 1, READ);
    assert_eq!(look(backend), []);
    let connecting = socket::connect(listener.local_addr().unwrap(), None).unwrap();
    let other = add(backend, &connecting.stream, 1, WRITE);
    let mut seen = wait_for_report(backend);
    while seen.len() < 2 {
        seen = wait_for_report(backend);
    }
    assert!(seen.contains(&(token, Ready::READ)) && seen.contains(&(other, Ready::WRITE)), "{seen:?}");
    socket::accept(&listener).unwrap();
}

pub fn peer_closed_is_told_while_bytes_wait(backend: &mut dyn Backend) {
    if !backend.features().peer_closed {
        return;
    }
    let (near, far) = tcp();
    socket::send(&far, b"unread").unwrap();
    poll_one(&near, libc::POLLIN, 10_000);
    let token = add(backend, &near, 1, Interest::PEER_CLOSED);
    assert_eq!(look(backend), [], "bytes were not asked for");
    socket::shutdown(&far, Shutdown::Write).unwrap();
    assert_eq!(wait_for_report(backend), [(token, Ready::PEER_CLOSED)]);
    modify(backend, token, READ.with(Interest::PEER_CLOSED), Trigger::Level);
    assert_eq!(look(backend), [(token, Ready::READ.with(Ready::PEER_CLOSED))]);
}

pub fn hangup_is_told(backend: &mut dyn Backend) {
    let (near, far) = pair();
    let token = add(backend, &near, 1, READ);
    assert_eq!(look(backend), []);
    drop(far);
    let told = wait_for_report(backend);
    // select knows only that reading would not block.
    let hangup = if backend.name() == "select" { Ready::NONE } else { Ready::HANGUP };
    assert_eq!(told, [(token, Ready::READ.with(hangup))]);
    assert_eq!(look(backend).len(), 1, "level");

    let (reader, writer) = pipe();
    remove(backend, token);
    drop(writer);
    let token = add(backend, &reader, 1, READ);
    let told = look(backend);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, token);
    assert!(told[0].1.intersects(Ready::READ.with(Ready::HANGUP)), "{told:?}");
}

pub fn error_is_told(backend: &mut dyn Backend) {
    let (near, far) = tcp();
    let token = add(backend, &near, 1, READ);
    assert_eq!(look(backend), []);
    socket::set_linger(&far, Some(0)).unwrap();
    drop(far);
    let told = wait_for_report(backend);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, token);
    let want = if backend.name() == "select" { Ready::READ } else { Ready::ERROR.with(Ready::HANGUP) };
    assert!(told[0].1.contains(want), "{told:?}");
    // The writing end of a pipe without a reader.
    let (reader, writer) = pipe();
    remove(backend, token);
    drop(reader);
    let token = add(backend, &writer, 1, WRITE);
    let told = look(backend);
    let want = if backend.name() == "select" { Ready::WRITE } else { Ready::ERROR };
    assert!(told.len() == 1 && told[0].0 == token && told[0].1.contains(want), "{told:?}");
}

pub fn a_refused_connect_is_told(backend: &mut dyn Backend) {
    let gone = listener().local_addr().unwrap();
    let Ok(connecting) = socket::connect(gone, None) else { return };
    let token = add(backend, &connecting.stream, 1, WRITE);
    let told = wait_for_report(backend);
    assert_eq!(told[0].0, token);
    assert!(told[0].1.contains(Ready::WRITE), "{told:?}");
    assert!(socket::take_error(&connecting.stream).is_err());
}

pub fn a_regular_file_is_always_ready(backend: &mut dyn Backend) {
    let file = file();
    let (reader, _writer) = pipe();
    let token = add(backend, &file, 1, BOTH);
    add(backend, &reader, 1, READ);
    let all = Ready::READ.with(Ready::WRITE);
    for _ in 0..3 {
        assert_eq!(look(backend), [(token, all)]);
        assert_eq!(wait(backend, LONG_NS), [(token, all)], "and it does not sleep");
    }
    modify(backend, token, READ, Trigger::OneShot);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    assert_eq!(look(backend), []);
    let start = Instant::now();
    assert_eq!(wait(backend, 2_000_000), [], "disarmed: it does sleep");
    assert!(start.elapsed() >= Duration::from_millis(2));
    if backend.features().edge {
        for _ in 0..2 {
            modify(backend, token, WRITE, Trigger::Edge);
            assert_eq!(look(backend), [(token, Ready::WRITE)]);
            for _ in 0..3 {
                assert_eq!(look(backend), [], "nothing new ever happens to a file");
            }
        }
    }
}

pub fn a_regular_file_can_be_changed_and_removed(backend: &mut dyn Backend) {
    let (file, (reader, writer)) = (file(), pipe());
    let one = add(backend, &file, 1, READ);
    assert_eq!(look(backend), [(one, Ready::READ)]);
    remove(backend, one);
    assert_eq!(look(backend), []);
    let two = add(backend, &file, 2, WRITE);
    let pipe_token = add(backend, &reader, 1, READ);
    put(&writer, b"abc");
    let both = look(backend);
    assert!(both.contains(&(two, Ready::WRITE)) && both.contains(&(pipe_token, Ready::READ)), "{both:?}");
    assert_eq!(both.len(), 2);
    if backend.features().peer_closed {
        modify(backend, two, Interest::PEER_CLOSED, Trigger::Level);
        assert_eq!(look(backend), [(pipe_token, Ready::READ)], "a file has no peer");
        assert_eq!(look(backend), [(pipe_token, Ready::READ)]);
    }
}

pub fn a_directory_counts_as_a_file(backend: &mut dyn Backend) {
    let directory = OwnedFd::from(std::fs::File::open("/").unwrap());
    let token = add(backend, &directory, 1, READ);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    remove(backend, token);
    assert_eq!(look(backend), []);
}

pub fn exclusive_watches_can_be_changed(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    let token = token(&reader, 1);
    let exclusive = Watch { interest: READ, trigger: Trigger::Level, exclusive: true };
    backend.apply(Change::Add { token, watch: exclusive }).unwrap();
    put(&writer, b"abc");
    assert_eq!(wait_for_report(backend), [(token, Ready::READ)]);
    // What epoll refuses to be exclusive, and refuses to modify.
    for (interest, trigger) in [
        (READ, Trigger::OneShot),
        (READ.with(Interest::PEER_CLOSED), Trigger::Level),
        (READ, Trigger::Level),
        (READ, Trigger::Level),
    ] {
        backend.apply(Change::Modify { token, watch: Watch { interest, trigger, exclusive: true } }).unwrap();
        assert_eq!(wait_for_report(backend), [(token, Ready::READ)], "{interest:?} {trigger:?}");
    }
    modify(backend, token, READ, Trigger::Level);
    assert_eq!(look(backend), [(token, Ready::READ)]);
    backend.apply(Change::Add { token, watch: exclusive }).unwrap();
    assert_eq!(look(backend), [(token, Ready::READ)]);
    remove(backend, token);
    assert_eq!(look(backend), []);
}

pub fn reports_are_appended(backend: &mut dyn Backend) {
    let (reader, writer) = pipe();
    put(&writer, b"abc");
    let token = add(backend, &reader, 1, READ);
    let earlier = Report { token: super::kit::token(&writer, 9), ready: Ready::USER };
    let mut reports = vec![earlier];
    backend.wait(Some(0), &mut reports).unwrap();
    assert_eq!(reports, [earlier, Report { token, ready: Ready::READ }]);
}
