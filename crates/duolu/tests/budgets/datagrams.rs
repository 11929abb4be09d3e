//! Datagrams: a batch is one recvmmsg and one sendmmsg, however many messages it has, and allocates nothing.

use crate::{Ring, allocations_in, kinds, loop_on, turns};
use duolu::datagram::Address;
use duolu::{Context, DatagramEvent, DatagramOptions, Datagrams, EventLoop};
use std::net::UdpSocket;

pub const SITUATION: &str = "a batch of datagrams, sent back";
/// What a batch has.
pub const MESSAGES: usize = 32;

/// A socket that sends its messages to itself for ever: ready in each turn, with all of them mostly (the loopback may hand them
/// over in parts).
pub fn round_and_round(mut event_loop: EventLoop<Ring>) -> EventLoop<Ring> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(socket.local_addr().expect("a port")).expect("a socket");
    // One place more than there are messages: where a batch fills all places, there may be more.
    let options = DatagramOptions::new().batch(MESSAGES + 1, 2048);
    let again = |ctx: &mut Context<Ring>, socket: &mut Datagrams<'_>, event: DatagramEvent<'_>| {
        let DatagramEvent::Received(batch) = event else { panic!("{event}") };
        for message in batch {
            assert_eq!(message.bytes().len(), 64);
            socket.send(message.bytes()).expect("room");
            ctx.data().passed_on += 1;
        }
    };
    let id = event_loop.datagrams(socket, options, again).expect("a socket");
    let first = event_loop.with_datagrams(id, |_, socket| {
        (0..MESSAGES).for_each(|_| socket.send_to(Address::Unnamed, &[7; 64]).expect("room"));
    });
    first.expect("it is there");
    event_loop
}

#[test]
fn a_batch_allocates_nothing() {
    for kind in kinds() {
        let mut event_loop = round_and_round(loop_on(kind, Ring::default()));
        turns(&mut event_loop, 100);
        let before = event_loop.data().passed_on;
        let allocated = allocations_in(|| turns(&mut event_loop, 500));
        assert!(event_loop.data().passed_on >= before + 500, "{kind}: it stands still");
        assert_eq!(allocated, 0, "{kind}");
    }
}
