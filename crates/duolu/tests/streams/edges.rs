//! What a stream that is watched by edges must know itself, because the kernel does not say it twice. The same must hold where
//! it is watched by level, so all worlds play it.

use crate::stage::{Socket, World, pattern};
use duolu::{BackendKind, Direction, StreamEvent, StreamOptions};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, send, sendmsg};
use std::cell::Cell;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;

/// The kernel's words for how an epoll of this process watches a descriptor (proc(5), fdinfo): EPOLLET, PRI and RDHUP among them.
fn epoll_events(fd: RawFd) -> Option<u32> {
    let infos = std::fs::read_dir("/proc/self/fdinfo").expect("procfs");
    let all = infos.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    all.flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let mut words = line.strip_prefix("tfd:")?.split_whitespace();
            let watched: RawFd = words.next()?.parse().ok()?;
            let events = words.skip_while(|word| *word != "events:").nth(1)?;
            (watched == fd).then(|| u32::from_str_radix(events, 16).ok())?
        })
        .next()
}

scenarios! {
    /// On epoll, and only TCP: not where a short read may leave something and nothing tells.
    fn tcp_is_watched_by_edges_where_they_are_exact(s) {
        const EDGE: u32 = 1 << 31;
        const BESIDE: u32 = 0x2000 | 2;
        let expected = match s.world {
            World::Tcp(BackendKind::Epoll) => Some(EDGE | BESIDE),
            World::Unix(BackendKind::Epoll) => Some(0),
            _ => return,
        };
        let fd = Rc::new(Cell::new(-1));
        let found = Rc::clone(&fd);
        let wrap = move |socket: Socket| {
            found.set(match &socket {
                Socket::Tcp(socket) => socket.as_raw_fd(),
                Socket::Unix(socket) => socket.as_raw_fd(),
                _ => unreachable!("a real socket"),
            });
            socket
        };
        let (_, _peer) = s.stream_upon(1, StreamOptions::new(), wrap, |_, _, _| {});
        s.turn_once();
        assert_eq!(epoll_events(fd.get()).map(|events| events & (EDGE | BESIDE)), expected);
    }

    /// A read that is filled leaves bytes of which nothing more is heard.
    fn what_a_filled_read_leaves_is_read(s) {
        let options = StreamOptions::new().most_at_once(Direction::Read, 10);
        let reads = Rc::new(Cell::new(0));
        let count = Rc::clone(&reads);
        let (_, mut peer) = s.stream(1, options, move |_, stream, event| {
            if event == StreamEvent::Read {
                count.set(count.get() + 1);
                assert!(stream.input().len() <= 10);
                assert!(stream.echo());
            }
        });
        s.send_all(&mut peer, &pattern(95));
        assert_eq!(s.collect(&mut peer, 95), pattern(95));
        assert_eq!(reads.get(), 10);
        s.quiet();
    }

    /// One that is filled does not keep its neighbours waiting: they are looked for before it is gone on with.
    fn a_full_one_takes_turns(s) {
        let one_byte = StreamOptions::new().most_at_once(Direction::Read, 1);
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let mut peers = Vec::new();
        for mark in [1, 2] {
            let order = Rc::clone(&order);
            let (_, peer) = s.stream(mark, one_byte.clone(), move |_, stream, event| {
                if event == StreamEvent::Read {
                    stream.consume(1);
                    order.borrow_mut().push(mark);
                }
            });
            peers.push(peer);
        }
        let mut both = peers.iter_mut();
        let (first, second) = (both.next().expect("two"), both.next().expect("two"));
        s.send_all(first, &[0; 8]);
        s.until("the first byte", |_| !order.borrow().is_empty());
        s.send_all(second, &[0; 4]);
        s.until("all of it", |_| order.borrow().len() == 12);
        let order = order.borrow();
        let last_of_second = order.iter().rposition(|mark| *mark == 2);
        assert!(last_of_second < Some(11), "{:?}: {order:?}", s.world);
    }

    /// They are one edge, and the read is short because of the end behind it.
    fn bytes_and_the_end_that_come_together(s) {
        let (id, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        s.send_all(&mut peer, b"the last words");
        peer.finish();
        assert_eq!(s.collect(&mut peer, 14), b"the last words");
        s.end_of(&mut peer);
        drop(peer);
        s.until("the end", |s| s.gone(id));
        assert_eq!(s.told(1), [StreamEvent::Eof]);
    }

    /// It rests when it is told that there is something, because a neighbour has just had it rest; that it goes on again
    /// looks like no change at all to the kernel.
    fn what_is_told_while_it_rests_is_not_forgotten(s) {
        let options = StreamOptions::new().output_marks(0, usize::MAX);
        let (resting, mut peer) = s.stream(1, options, |_, stream, event| {
            if event == StreamEvent::Read {
                stream.consume(usize::MAX);
            }
        });
        // The kernel is asked for room as well, so that it goes on being watched.
        let simulated = matches!(s.world, World::Sim(_) | World::Memory);
        s.event_loop.with_stream(resting, |_, stream| {
            stream.write_all(&pattern(if simulated { 100_000 } else { 20_000_000 })).expect("it is open");
        });
        (0..4).for_each(|_| s.turn_once());
        let neighbour = |s: &mut crate::stage::Stage, mark, rests| {
            let handler = move |ctx: &mut duolu::Context<_>, stream: &mut duolu::Stream<'_>, event| {
                if event == StreamEvent::Read {
                    stream.consume(usize::MAX);
                    ctx.with_stream(resting, |_, stream| match rests {
                        true => stream.suspend(Direction::Read),
                        false => stream.unsuspend(Direction::Read),
                    });
                }
            };
            s.stream(mark, StreamOptions::new(), handler).1
        };
        let (mut before, mut behind) = (neighbour(s, 2, true), neighbour(s, 3, false));
        (0..4).for_each(|_| s.turn_once());
        // Their bytes are there before the loop looks, so all three are told in one pass, mostly in this order.
        for peer in [&mut before, &mut peer, &mut behind] {
            assert_eq!(peer.send(b"hello"), 5);
        }
        s.until("what was told", |s| {
            let log = s.event_loop.data();
            log.contains(&(1, StreamEvent::Read)) && log.contains(&(3, StreamEvent::Read))
        });
        if matches!(s.world, World::Tcp(BackendKind::Epoll)) {
            let log = s.event_loop.data().iter();
            let order: Vec<u32> = log.filter(|told| told.1 == StreamEvent::Read).map(|told| told.0).collect();
            assert_eq!(order, [2, 3, 1], "it was told in vain in between");
        }
    }

    /// A short read that leaves something: recv(2) stops at the mark, and what lies behind was there before.
    fn what_lies_behind_urgent_data_is_read(s) {
        let (_, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        let Socket::Tcp(socket) = &peer else { return };
        assert_eq!(send(socket, b"before", SendFlags::empty()), Ok(6));
        assert_eq!(send(socket, b"!", SendFlags::OOB), Ok(1));
        assert_eq!(send(socket, b"behind", SendFlags::empty()), Ok(6));
        assert_eq!(s.collect(&mut peer, 12), b"beforebehind", "the urgent byte is not in the stream");
        // And afterwards all is as it was.
        s.send_all(&mut peer, b"more");
        assert_eq!(s.collect(&mut peer, 4), b"more");
    }

    /// The same on a Unix socket, where nothing tells.
    fn what_lies_behind_a_descriptor_is_read(s) {
        let (_, mut peer) = s.stream(1, StreamOptions::new(), |_, stream, event| {
            if event == StreamEvent::Read {
                assert!(stream.echo());
            }
        });
        let Socket::Unix(socket) = &peer else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut passed = SendAncillaryBuffer::new(&mut space);
        let descriptors = [socket.as_fd()];
        assert!(passed.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let with = sendmsg(socket, &[IoSlice::new(b"with")], &mut passed, SendFlags::empty());
        assert_eq!(with, Ok(4));
        assert_eq!(send(socket, b"without", SendFlags::empty()), Ok(7));
        assert_eq!(s.collect(&mut peer, 11), b"withwithout");
    }
}
