//! Timers, and timeouts of descriptors.

use crate::{MS, drain, loop_on, on_every_backend, pair};
use duolu::{Context, Exit, Interest, Next, Options, Ready};
use std::io::Write;
use std::time::Duration;

#[test]
fn timers_fire_in_exact_order_and_periodic_ones_until_removed() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let start = event_loop.now();
        for (name, us) in [('d', 3001), ('b', 2000), ('a', 1), ('c', 2000)] {
            let at = start.saturating_add(Duration::from_micros(us));
            event_loop.after(at, move |ctx: &mut Context<Vec<char>>| ctx.data().push(name));
        }
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(*event_loop.data(), ['a', 'b', 'c', 'd']);
        let mut left = 3;
        event_loop.every(MS, move |ctx| {
            ctx.data().push('t');
            left -= 1;
            if left == 0 { Next::Remove } else { Next::Keep }
        });
        event_loop.run().expect("a run");
        assert_eq!(event_loop.data()[4..], ['t', 't', 't']);
    });
}

#[test]
fn a_timeout_on_a_descriptor_starts_anew_with_activity() {
    on_every_backend(|kind| {
        let mut event_loop = loop_on(kind, Vec::new());
        let (near, mut far) = pair();
        let hour = Duration::from_secs(3600);
        let id = event_loop
            .register(
                near,
                Options::new(Interest::READ).timeout(hour),
                |ctx: &mut Context<Vec<_>>, stream, ready| {
                    drain(stream);
                    let deadline = ctx.deadline(ctx.current().expect("running"));
                    ctx.data().push((ready, deadline));
                    if ready.contains(Ready::TIMEOUT) { Next::Remove } else { Next::Keep }
                },
            )
            .expect("registered");
        let first = event_loop.deadline(id).expect("armed");
        std::thread::sleep(MS);
        far.write_all(b"x").expect("written");
        event_loop.run_once().expect("a turn");
        let (ready, second) = event_loop.data()[0];
        assert_eq!(ready, Ready::READ);
        assert!(second.expect("armed") >= first.saturating_add(MS), "activity put it off");
        event_loop.set_timeout(id, MS).expect("set");
        assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
        assert_eq!(event_loop.data()[1].0, Ready::TIMEOUT);
        assert_eq!(event_loop.data().len(), 2);
    });
}
