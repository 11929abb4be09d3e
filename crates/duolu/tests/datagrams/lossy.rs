//! A network that loses, doubles and overtakes, by seed, on a virtual clock: a protocol that bears it gets everything over.

use crate::stage::World;
use duolu::{Context, DatagramEvent, DatagramOptions, Datagrams, Next};
use duolu_sim::DatagramNet;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const MESSAGES: u32 = 60;

/// Stop and wait: the same number is sent until it is acknowledged.
#[test]
fn stop_and_wait_gets_everything_over() {
    for seed in 0..60 {
        for world in [World::SIM_EPOLL, World::SIM_POLL, World::SIM_SELECT, World::SIM_IO_URING] {
            let mut s = world.stage(seed).expect("simulated");
            s.sim.as_ref().expect("simulated").kernel().datagrams = DatagramNet {
                min_ns: 1_000_000,
                max_ns: 30_000_000,
                loss_permille: 300,
                double_permille: 200,
                leaving_ns: 10_000,
            };
            let expected = Rc::new(Cell::new(0));
            let next = Rc::clone(&expected);
            let (_, server) = s.serve(1, DatagramOptions::new(), move |_, socket, event| {
                let DatagramEvent::Received(batch) = event else { panic!("nothing else can happen") };
                for message in batch {
                    let number = u32::from_ne_bytes(message.bytes().try_into().expect("four bytes"));
                    assert!(number <= next.get(), "nothing may be skipped");
                    next.set(next.get().max(number + 1));
                    socket.reply(&message, message.bytes()).expect("room");
                }
            });
            let acknowledged = Rc::new(Cell::new(0u32));
            let so_far = Rc::clone(&acknowledged);
            let (client, _) =
                s.serve(2, DatagramOptions::new(), move |_, socket: &mut Datagrams<'_>, event| {
                    let DatagramEvent::Received(batch) = event else { panic!("nothing else can happen") };
                    for message in batch {
                        if message.bytes() == so_far.get().to_ne_bytes() {
                            so_far.set(so_far.get() + 1);
                            socket.send_to(server, &so_far.get().to_ne_bytes()).expect("room");
                        }
                    }
                });
            let so_far = Rc::clone(&acknowledged);
            s.event_loop.every(Duration::from_millis(70), move |ctx: &mut Context<_>| {
                let again = so_far.get().to_ne_bytes();
                ctx.with_datagrams(client, |_, socket| socket.send_to(server, &again))
                    .expect("it is there")
                    .expect("room");
                Next::Keep
            });
            for _ in 0..100_000 {
                if acknowledged.get() >= MESSAGES {
                    break;
                }
                s.event_loop.run_once().expect("a turn");
            }
            assert!(acknowledged.get() >= MESSAGES && expected.get() >= MESSAGES, "{world:?}, seed {seed}");
            let stats = s.with(client, |socket| socket.stats());
            assert!(stats.sent > u64::from(MESSAGES) && stats.refused == 0, "{stats:?}");
        }
    }
}
