//! A removed descriptor lives on in a duplicate: epoll's registration belongs to the open file, so it would go on
//! reporting a number that nobody watches. The loop must let go of it, sleep, and serve everyone else.

use crate::{drain, loop_on, pair, sleeps_through};
use duolu::{BackendKind, Interest, Next};
use std::io::Write;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, 0);
    let (near, mut far) = pair();
    let keeper = near.try_clone().expect("a duplicate");
    let id = event_loop
        .register(near, Interest::READ, |ctx, stream, _| {
            drain(stream);
            *ctx.data() += 1;
            Next::Remove
        })
        .expect("registered");
    far.write_all(b"x").expect("written");
    event_loop.run_once().expect("a turn");
    assert_eq!((*event_loop.data(), event_loop.exists(id)), (1, false));

    far.write_all(b"for the keeper").expect("written");
    sleeps_through(&mut event_loop);
    let (other, mut peer) = pair();
    event_loop
        .register(other, Interest::READ, |ctx, stream, _| {
            drain(stream);
            *ctx.data() += 10;
            Next::Keep
        })
        .expect("registered");
    peer.write_all(b"x").expect("written");
    event_loop.run_once().expect("a turn");
    assert_eq!(*event_loop.data(), 11, "only the other one was called");
    assert_eq!(drain(&keeper), 14, "and nobody took the keeper's bytes");
}
