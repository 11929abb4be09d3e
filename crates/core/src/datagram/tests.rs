//! Unit tests of the judgement: against a model, and each rule by itself.

use super::*;
use crate::backend::Errno;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use std::net::SocketAddr;

const EAGAIN: Errno = Errno(11);
const EINVAL: Errno = Errno(22);
const EIO: Errno = Errno(5);
const EMSGSIZE: Errno = Errno(90);
const ENOBUFS: Errno = Errno(105);
const ECONNREFUSED: Errno = Errno(111);
const EHOSTUNREACH: Errno = Errno(113);

fn to(port: u16) -> Address {
    Address::Inet(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A generator of numbers: the same ones each time.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit
    }
}

/// Every datagram that goes in comes out, whole, in order and to its address, however it is cut and however many a call takes.
#[test]
fn the_queue_is_a_queue_of_datagrams() {
    for seed in 0..60 {
        let mut draw = Draw(seed);
        let mut queue = SendQueue::new(50, 20_000);
        let mut model: VecDeque<(u16, Vec<u8>)> = VecDeque::new();
        let mut next = 0u8;
        for _ in 0..400 {
            if draw.below(3) > 0 {
                let bytes: Vec<u8> =
                    (0..draw.below(3000)).map(|_| (next, next = next.wrapping_add(1)).0).collect();
                let segment = [0, 0, 1, 7, 500, 5000][draw.below(6)];
                let port = draw.below(9) as u16;
                let before = (queue.len(), queue.bytes());
                match queue.push(to(port), None, &bytes, segment) {
                    Ok(()) if segment == 0 || bytes.is_empty() => model.push_back((port, bytes)),
                    Ok(()) => model.extend(bytes.chunks(segment).map(|part| (port, part.to_vec()))),
                    Err(error) => {
                        assert!(matches!(error, SendRefused::Full), "{error}");
                        assert_eq!((queue.len(), queue.bytes()), before, "refused without change");
                    }
                }
            } else {
                let split_from = [0, 7, usize::MAX][draw.below(3)];
                for _ in 0..draw.below(20) {
                    let Some(piece) = queue.pieces(split_from).next() else { break };
                    let size = if piece.segment == 0 {
                        piece.bytes.len().max(1)
                    } else {
                        usize::from(piece.segment)
                    };
                    assert!(
                        piece.segment == 0 || size < split_from && piece.datagrams() <= MOST_SEGMENTS as u64
                    );
                    let parts = if piece.bytes.is_empty() {
                        alloc::vec![&[][..]]
                    } else {
                        piece.bytes.chunks(size).collect()
                    };
                    assert_eq!(parts.len() as u64, piece.datagrams());
                    for part in parts {
                        let (port, bytes) = model.pop_front().expect("the model has it too");
                        assert!(part == bytes && *piece.to == to(port));
                    }
                    queue.drop_piece(split_from);
                }
            }
            assert_eq!(queue.bytes(), model.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
            assert_eq!(queue.is_empty(), model.is_empty());
        }
    }
}

#[test]
fn what_can_never_fit_is_told_apart_from_what_does_not_fit_now() {
    let mut queue = SendQueue::new(2, 100);
    assert_eq!(queue.push(to(1), None, &[0; 101], 0), Err(SendRefused::TooBig { most: 100 }));
    assert_eq!(queue.push(to(1), None, &[0; 100], 70_000), Err(SendRefused::BadSegment));
    assert_eq!(queue.push(to(1), None, &[0; 60], 0), Ok(()));
    assert_eq!(queue.push(to(1), None, &[0; 41], 0), Err(SendRefused::Full));
    assert_eq!(queue.push(to(1), None, &[0; 40], 0), Ok(()));
    assert_eq!(queue.push(to(1), None, &[], 0), Err(SendRefused::Full));
}

fn sender() -> Sender {
    Sender::new(10, 100_000, true, true)
}

#[test]
fn an_error_of_an_earlier_datagram_costs_none() {
    let mut sender = sender();
    sender.push(to(1), None, b"x", 0).expect("room");
    sender.handle_sent(Err(EHOSTUNREACH));
    assert!(sender.may_send() && !sender.has_reports());
    (0..9).for_each(|_| sender.handle_sent(Err(ECONNREFUSED)));
    sender.handle_sent(Ok(1));
    for errno in [ECONNREFUSED, EHOSTUNREACH] {
        assert_eq!(sender.next_report(), Some(Report::Error { errno, to: Address::Unnamed }));
    }
    assert_eq!(sender.next_report(), None);
    assert_eq!(sender.stats(), SendStats { sent: 1, refused: 0, failed: 0 });
}

#[test]
fn what_fails_twice_is_told_as_lost_and_the_rest_goes_on() {
    let mut sender = sender();
    for port in 1..=3 {
        sender.push(to(port), None, b"x", 0).expect("room");
    }
    (0..4).for_each(|_| sender.handle_sent(Err(EMSGSIZE)));
    sender.handle_sent(Ok(1));
    assert_eq!(sender.next_report(), Some(Report::Unsent { errno: EMSGSIZE, to: to(1), messages: 2 }));
    assert_eq!(sender.next_report(), None);
    assert_eq!(sender.stats(), SendStats { sent: 1, refused: 0, failed: 2 });
}

#[test]
fn a_socket_without_late_errors_does_not_try_twice() {
    let mut sender = Sender::new(10, 1000, false, false);
    sender.push(to(1), None, b"x", 0).expect("room");
    sender.handle_sent(Err(ECONNREFUSED));
    assert_eq!(sender.next_report(), Some(Report::Unsent { errno: ECONNREFUSED, to: to(1), messages: 1 }));
}

/// Trap (b): writable is said, and yet there is no room.
#[test]
fn a_promise_that_was_broken_is_not_trusted_again() {
    let mut sender = sender();
    sender.push(to(1), None, b"x", 0).expect("room");
    sender.handle_sent(Err(EAGAIN));
    assert!(sender.wants_writable() && !sender.may_send() && sender.rest_ns().is_none());
    sender.handle_writable();
    assert!(sender.may_send() && !sender.wants_writable());
    let mut last = 0;
    for _ in 0..10 {
        sender.handle_sent(Err(EAGAIN));
        let rest = sender.rest_ns().expect("it rests");
        assert!(rest >= last && !sender.wants_writable() && !sender.may_send());
        last = rest;
        sender.handle_writable();
        assert!(!sender.may_send(), "only the timer ends it");
        sender.handle_rested();
        assert!(sender.may_send());
    }
    assert_eq!(last, 50_000_000);
    sender.handle_sent(Ok(1));
    sender.push(to(1), None, b"x", 0).expect("room");
    sender.handle_sent(Err(ENOBUFS));
    assert_eq!(sender.rest_ns(), Some(1_000_000), "anew");
}

#[test]
fn segments_that_are_not_cut_go_one_by_one() {
    for (errno, small_too) in [(EIO, true), (EINVAL, false), (EMSGSIZE, false)] {
        let mut sender = sender();
        sender.push(to(1), None, &[7; 250], 100).expect("room");
        sender.push(to(1), None, &[7; 25], 10).expect("room");
        assert_eq!(sender.pieces().count(), 2);
        sender.handle_sent(Err(errno));
        assert_eq!(sender.pieces().count(), if small_too { 6 } else { 4 });
        assert!(!sender.has_reports());
        sender.handle_sent(Ok(sender.pieces().count()));
        assert_eq!((sender.stats().sent, sender.queue().is_empty()), (6, true));
    }
}

#[test]
fn who_was_refused_is_told_of_room_once() {
    let mut sender = sender();
    while sender.push(to(1), None, b"x", 0).is_ok() {}
    sender.refuse();
    sender.handle_sent(Ok(4));
    assert_eq!(sender.next_report(), None, "not for every message");
    sender.handle_sent(Ok(1));
    assert_eq!((sender.next_report(), sender.next_report()), (Some(Report::Writable), None));
}

#[test]
fn addresses_of_unix_sockets() {
    assert!(
        Address::path("").is_none()
            && Address::path([b'x'; 108]).is_none()
            && Address::path("a\0b").is_none()
    );
    let Some(Address::Unix(name)) = Address::path("/run/x") else { panic!("a path") };
    assert_eq!((name.as_path(), name.as_abstract()), (Some(&b"/run/x"[..]), None));
    assert_eq!(Address::from_sun_path(name.sun_path()), Address::path("/run/x").expect("a path"));
    let Some(Address::Unix(name)) = Address::abstract_name(b"x\0y") else { panic!("a name") };
    assert_eq!((name.as_path(), name.as_abstract()), (None, Some(&b"x\0y"[..])));
    assert_eq!(std::format!("{name}"), "@x\\x00y");
    assert!(Address::abstract_name([1; 107]).is_some() && Address::abstract_name([1; 108]).is_none());
    assert!(Address::from_sun_path(b"").is_unnamed());
}
