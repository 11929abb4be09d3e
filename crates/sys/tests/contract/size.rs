//! Many descriptors, high numbers, many changes.

use super::kit::*;
use duolu_core::{Backend, Ready, Token, Trigger};
use duolu_sys::socket;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

pub use super::kit::beside_others as enter;

/// An eventfd that is readable.
fn signalled() -> OwnedFd {
    let fd = socket::eventfd().unwrap();
    put(&fd, &1u64.to_ne_bytes());
    fd
}

/// Waits until `count` different tokens were told, each for READ only; how often is not counted.
fn gather(backend: &mut dyn Backend, count: usize) -> Vec<Token> {
    let mut seen = BTreeMap::new();
    for _ in 0..100 {
        let mut reports = Vec::new();
        backend.wait(Some(0), &mut reports).unwrap();
        for report in reports {
            assert_eq!(report.ready, Ready::READ);
            seen.insert(report.token.bits(), report.token);
        }
        if seen.len() >= count {
            break;
        }
    }
    seen.into_values().collect()
}

fn numbers(fds: &[OwnedFd]) -> Vec<i32> {
    let mut numbers: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
    numbers.sort_unstable();
    numbers
}

fn told(tokens: &[Token]) -> Vec<i32> {
    let mut numbers: Vec<_> = tokens.iter().map(|token| token.fd()).collect();
    numbers.sort_unstable();
    numbers
}

pub fn two_thousand_at_once(backend: &mut dyn Backend) {
    let _many = many();
    let mut fds: Vec<OwnedFd> = (0..2_000).map(|_| signalled()).collect();
    for fd in &fds {
        add(backend, fd, 1, READ);
    }
    assert_eq!(told(&gather(backend, 2_000)), numbers(&fds));
    for _ in 0..10 {
        look(backend);
    }
    assert_eq!(look(backend).len(), 2_000, "by now there is room for all in one wait");
    let quiet = fds.split_off(1_000);
    for fd in &quiet {
        empty(fd);
    }
    assert_eq!(told(&gather(backend, 2_000)), numbers(&fds), "only the unread ones");
    for fd in &fds {
        remove(backend, token(fd, 1));
    }
    assert_eq!(look(backend), []);
    put(&quiet[500], &1u64.to_ne_bytes());
    assert_eq!(wait_for_report(backend), [(token(&quiet[500], 1), Ready::READ)]);
}

pub fn numbers_past_fd_setsize(backend: &mut dyn Backend) {
    let _many = many();
    let quarter = limit() / 4;
    assert!(quarter > 1024, "raise RLIMIT_NOFILE to 5,000 or more for this test");
    let numbers = [1022, 1023, 1024, 1025, 2047, 2048, quarter, quarter + 63, quarter + 64, limit() - 1];
    let fds: Vec<OwnedFd> =
        numbers.into_iter().map(|lowest| socket::dup(signalled(), lowest).unwrap()).collect();
    assert!(fds.iter().all(|fd| fd.as_raw_fd() >= 1022));
    for fd in &fds {
        add(backend, fd, 3, READ);
    }
    for _ in 0..3 {
        assert_eq!(told(&gather(backend, 10)), self::numbers(&fds));
    }
    for fd in &fds[1..] {
        remove(backend, token(fd, 3));
    }
    assert_eq!(look(backend), [(token(&fds[0], 3), Ready::READ)]);
}

/// More than io_uring's completion queue and epoll's buffer hold.
pub fn more_than_any_queue_holds(backend: &mut dyn Backend) {
    let _many = many();
    let count = (limit() / 2 - 3_000).clamp(100, 6_000) as usize;
    let fds: Vec<OwnedFd> = (0..count).map(|_| signalled()).collect();
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        if trigger == Trigger::Edge && !backend.features().edge {
            continue;
        }
        for fd in &fds {
            add_with(backend, fd, 1, READ, trigger);
        }
        assert_eq!(told(&gather(backend, count)), numbers(&fds), "{trigger:?}");
        if trigger == Trigger::OneShot {
            assert_eq!(look(backend), []);
        }
        if trigger == Trigger::Level && backend.name() != "epoll" {
            let mut reports = Vec::new();
            backend.wait(Some(0), &mut reports).unwrap();
            assert_eq!(reports.len(), count, "level is told in full at every wait; epoll takes turns");
        }
    }
    if backend.features().edge {
        for fd in &fds {
            modify(backend, token(fd, 1), READ, Trigger::Edge);
        }
        assert_eq!(told(&gather(backend, count)), numbers(&fds));
        // An edge may be told twice where queues ran over; it ends, though.
        gather(backend, 1);
        for fd in &fds {
            put(fd, &1u64.to_ne_bytes());
        }
        assert_eq!(told(&gather(backend, count)), numbers(&fds), "new edges on all");
    }
    for fd in &fds {
        remove(backend, token(fd, 1));
    }
    assert_eq!(look(backend), []);
}

/// More changes than io_uring's submission queue holds, and only the last one counts.
pub fn ten_thousand_changes_without_a_wait(backend: &mut dyn Backend) {
    let fds: Vec<OwnedFd> = (0..10).map(|_| signalled()).collect();
    for generation in 0..1_000 {
        for fd in &fds {
            add(backend, fd, generation, READ);
            if generation % 2 == 0 {
                modify(backend, token(fd, generation), WRITE, Trigger::OneShot);
            }
            if generation != 999 {
                remove(backend, token(fd, generation));
            }
        }
    }
    let mut want: Vec<_> = fds.iter().map(|fd| (token(fd, 999), Ready::READ)).collect();
    want.sort_unstable_by_key(|(token, _)| token.fd());
    for _ in 0..2 {
        let mut got = look(backend);
        got.sort_unstable_by_key(|(token, _)| token.fd());
        assert_eq!(got, want);
    }
}

/// Random changes against a model.
pub fn a_growing_and_shrinking_set_stays_right(backend: &mut dyn Backend) {
    let pairs: Vec<_> = (0..48).map(|_| pair()).collect();
    let mut model: Vec<Option<(Token, duolu_core::Interest)>> = vec![None; pairs.len()];
    let mut filled = vec![false; pairs.len()];
    let mut seed = 0x2545_F491_4F6C_DD1Du64;
    for step in 0..4_000u32 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let at = (seed >> 8) as usize % pairs.len();
        let (near, far) = &pairs[at];
        let interest = [READ, WRITE, BOTH][(seed >> 40) as usize % 3];
        match (seed & 3, model[at]) {
            (0, Some((token, _))) => {
                remove(backend, token);
                model[at] = None;
            }
            (1, Some((token, _))) => {
                modify(backend, token, interest, Trigger::Level);
                model[at] = Some((token, interest));
            }
            (2, _) => {
                if filled[at] {
                    empty(near);
                } else {
                    put(far, b"abc");
                }
                filled[at] = !filled[at];
            }
            _ => model[at] = Some((add(backend, near, step, interest), interest)),
        }
        let mut want: Vec<(Token, Ready)> = Vec::new();
        for (at, (token, interest)) in model.iter().enumerate().filter_map(|(at, m)| m.map(|m| (at, m))) {
            let mut ready = Ready::NONE;
            if interest.intersects(READ) && filled[at] {
                ready |= Ready::READ;
            }
            if interest.intersects(WRITE) {
                ready |= Ready::WRITE;
            }
            if !ready.is_empty() {
                want.push((token, ready));
            }
        }
        if step % 3 == 0 {
            let mut got = look(backend);
            got.sort_unstable_by_key(|(token, _)| token.fd());
            want.sort_unstable_by_key(|(token, _)| token.fd());
            assert_eq!(got, want, "step {step}");
        }
    }
}
