//! Many descriptors that are ready in every turn, and those among them that cease to be.

use super::kit::*;
use duolu_core::{Backend, Change, Ready, Token, Trigger, Watch};
use std::os::fd::{AsRawFd, OwnedFd};

pub use super::kit::beside_others as enter;

const CROWD: usize = 8;

pub fn crowd(backend: &mut dyn Backend) -> (Vec<(OwnedFd, OwnedFd)>, Vec<Token>) {
    let mut pipes: Vec<_> = (0..CROWD).map(|_| pipe()).collect();
    pipes.sort_unstable_by_key(|(reader, _)| reader.as_raw_fd());
    let tokens = pipes.iter().map(|(reader, _)| add(backend, reader, 1, READ)).collect();
    assert_eq!(look(backend), []);
    (pipes, tokens)
}

fn sorted(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.sort_unstable_by_key(|token| token.bits());
    tokens
}

pub fn told(backend: &mut dyn Backend) -> Vec<Token> {
    let reports = look(backend);
    assert!(reports.iter().all(|(_, ready)| *ready == Ready::READ), "{reports:?}");
    sorted(reports.into_iter().map(|(token, _)| token).collect())
}

pub fn a_crowd_is_told_every_wait_and_no_longer(backend: &mut dyn Backend) {
    let (pipes, tokens) = crowd(backend);
    for round in 0..20 {
        for (_, writer) in &pipes {
            put(writer, b"x");
        }
        for _ in 0..round % 3 + 1 {
            assert_eq!(told(backend), tokens);
        }
        let (read, unread) = pipes.split_at(round % CROWD);
        read.iter().for_each(|(reader, _)| assert!(empty(reader) < 64));
        assert_eq!(told(backend), tokens[read.len()..]);
        unread.iter().for_each(|(reader, _)| assert!(empty(reader) < 64));
        assert_eq!(told(backend), []);
    }
}

pub fn who_pauses_in_a_crowd_is_told_at_once_when_he_goes_on(backend: &mut dyn Backend) {
    let (pipes, tokens) = crowd(backend);
    for pause in 0..12 {
        for (_, writer) in &pipes {
            put(writer, b"x");
        }
        assert_eq!(told(backend), tokens);
        empty(&pipes[0].0);
        for _ in 0..pause {
            assert_eq!(told(backend), tokens[1..], "after a pause of {pause}");
        }
        put(&pipes[0].1, b"y");
        assert_eq!(told(backend), tokens, "after a pause of {pause}");
    }
}

pub fn a_crowd_that_fell_silent_wakes_the_sleeper(backend: &mut dyn Backend) {
    let (pipes, tokens) = crowd(backend);
    for busy in 0..6 {
        for _ in 0..busy {
            pipes.iter().for_each(|(_, writer)| put(writer, b"x"));
            assert_eq!(told(backend), tokens);
            pipes.iter().for_each(|(reader, _)| assert!(empty(reader) < 64));
        }
        let last = &pipes[CROWD - 1].1;
        let reports = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                put(last, b"z");
            });
            wait_for_report(backend)
        });
        assert_eq!(reports, [(tokens[CROWD - 1], Ready::READ)]);
        empty(&pipes[CROWD - 1].0);
    }
}

pub fn one_of_a_crowd_can_be_closed_without_a_word(backend: &mut dyn Backend) {
    let (mut pipes, mut tokens) = crowd(backend);
    while pipes.len() > 1 {
        pipes.iter().for_each(|(_, writer)| put(writer, b"x"));
        assert_eq!(told(backend), tokens);
        pipes.remove(0);
        let closed = tokens.remove(0);
        let reports = look(backend);
        for (token, ready) in &reports {
            assert!(*token != closed || ready.contains(Ready::INVALID), "{reports:?}");
        }
        let others = reports.into_iter().map(|(token, _)| token).filter(|token| *token != closed);
        assert_eq!(sorted(others.collect()), tokens);
        remove(backend, closed);
        assert_eq!(told(backend), tokens);
        pipes.iter().for_each(|(reader, _)| assert!(empty(reader) < 64));
    }
}

/// Whatever is added, removed, replaced, written and read between two waits: level-triggered, a wait tells what poll(2)
/// would.
pub fn a_crowd_is_told_as_poll_would(backend: &mut dyn Backend) {
    for seed in 1..=60_u64 {
        let mut random = seed;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as usize % below
        };
        let mut pipes: Vec<_> = (0..CROWD).map(|_| pipe()).collect();
        let mut watched: Vec<Option<Token>> = vec![None; CROWD];
        let mut generation = 0;
        for step in 0..300 {
            let at = next(CROWD);
            match (next(16), watched[at]) {
                (0..6, _) => put(&pipes[at].1, b"abc"),
                (6..10, _) => assert!(empty(&pipes[at].0) <= 900),
                (10, Some(token)) => {
                    remove(backend, token);
                    watched[at] = None;
                }
                (11, Some(token)) => {
                    remove(backend, token);
                    pipes[at] = pipe(); // often the same numbers
                    watched[at] = None;
                }
                (12, Some(token)) => {
                    generation += 1;
                    let new = Token::new(token.fd(), generation);
                    let exclusive = false;
                    let watch = Watch { interest: READ, trigger: Trigger::Level, exclusive };
                    backend.apply(Change::Modify { token: new, watch }).unwrap();
                    watched[at] = Some(new);
                }
                (10..15, None) => {
                    generation += 1;
                    watched[at] = Some(add(backend, &pipes[at].0, generation, READ));
                }
                _ => {
                    for _ in 0..next(4) + 1 {
                        let ready = |token: &Token| poll_raw(token.fd(), libc::POLLIN, 0) != 0;
                        let expected = watched.iter().flatten().copied().filter(ready).collect();
                        assert_eq!(told(backend), sorted(expected), "seed {seed}, step {step}");
                    }
                }
            }
        }
        for token in watched.into_iter().flatten() {
            remove(backend, token);
        }
    }
}
