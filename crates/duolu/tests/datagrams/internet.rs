//! What only UDP has: on every backend.

use crate::stage::{Told, World, pattern};
use duolu::datagram::Address;
use duolu::{DatagramEvent, DatagramOptions};
use std::cell::Cell;
use std::net::UdpSocket;
use std::rc::Rc;

const WORLDS: [World; 5] = [World::SELECT, World::POLL, World::EPOLL, World::IO_URING, World::EPOLL_V6];

fn in_every_world(scenario: impl Fn(&mut crate::stage::Stage)) {
    WORLDS.into_iter().filter_map(|world| world.stage(1)).for_each(|mut stage| scenario(&mut stage));
}

#[test]
fn an_answer_comes_from_where_it_was_asked() {
    for world in &WORLDS[..4] {
        let Some(mut s) = world.stage(1) else { continue };
        let everywhere = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = everywhere.local_addr().expect("a port").port();
        let echo = |_: &mut _, socket: &mut duolu::Datagrams<'_>, event: DatagramEvent<'_>| {
            if let DatagramEvent::Received(batch) = event {
                for message in batch {
                    socket.reply(&message, message.bytes()).expect("room");
                }
            }
        };
        let options = DatagramOptions::new().local_address();
        s.event_loop.datagrams(everywhere, options, echo).expect("a socket");
        let asked = ([127, 0, 0, 55], port).into();
        let (mut client, _) = s.socket();
        client.connect(Address::Inet(asked)); // so it hears nobody else
        let client = s.adopt(client, 2, DatagramOptions::new(), |_, _, _| {});
        s.with(client, |socket| socket.send(b"where are you?").expect("room"));
        s.until("the answer", |s| s.received(2) == [b"where are you?"]);
    }
}

#[test]
fn errors_name_whom_they_are_about() {
    in_every_world(|s| {
        let nowhere: Vec<_> = (0..3).map(|_| s.nowhere()).collect();
        let (client, _) = s.serve(1, DatagramOptions::new().icmp_errors(), |_, _, _| {});
        let (_, somewhere) = s.listen(2);
        for (at, (to, _)) in nowhere.iter().enumerate() {
            s.with(client, |socket| socket.send_to(*to, b"anybody there?").expect("room"));
            s.with(client, |socket| socket.send_to(somewhere, &[at as u8]).expect("room"));
        }
        s.until("all of them", |s| s.told(1).len() == 3 && s.received(2).len() == 3);
        let mut told = s.told(1);
        for (to, _) in &nowhere {
            let at = told.iter().position(|told| *told == Told::Error(111, *to)).expect("it is told");
            told.remove(at);
        }
        s.quiet();
    });
}

#[test]
fn joined_datagrams_come_apart_as_they_were_sent() {
    in_every_world(|s| {
        let (sizes, messages) = (Rc::new(Cell::new((0, 0))), Rc::new(Cell::new(0)));
        let (seen, count) = (Rc::clone(&sizes), Rc::clone(&messages));
        let (_, to) = s.serve(1, DatagramOptions::new().gro(), move |_, _, event| {
            if let DatagramEvent::Received(batch) = event {
                for message in batch {
                    count.set(count.get() + 1);
                    for segment in message.segments() {
                        seen.set((seen.get().0 + segment.len(), seen.get().1 + 1));
                        assert!(segment.len() == 1000 || segment.len() == 600);
                    }
                }
            }
        });
        let (client, _) = s.listen(2);
        s.with(client, |socket| socket.send_segments(to, &pattern(63_600), 1000).expect("room"));
        s.until("all of it", |_| sizes.get() == (63_600, 64));
        assert!(s.received(1).concat() == pattern(63_600));
        assert!(messages.get() <= 64);
    });
}

#[test]
fn the_marks_of_a_congested_router_are_told() {
    in_every_world(|s| {
        let marks = Rc::new(Cell::new(None));
        let seen = Rc::clone(&marks);
        let (_, to) = s.serve(1, DatagramOptions::new().ecn(), move |_, _, event| {
            if let DatagramEvent::Received(mut batch) = event {
                seen.set(batch.next().and_then(|message| message.ecn()));
            }
        });
        let (client, _) = s.listen(2);
        s.with(client, |socket| socket.send_to(to, b"x").expect("room"));
        s.until("a message", |_| marks.get().is_some());
        assert_eq!(marks.get(), Some(0));
    });
}
