//! Hang-ups and errors are reported unasked, again and again, as long as they last. Nobody who is not interested
//! now (disabled, or a one-shot that has told) may be called, and the loop must not spin for it.

use crate::{drain, loop_on, pair, sleeps_through};
use duolu::{BackendKind, Interest, Next, Options};
use std::io::Write;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, 0);
    let (near, far) = pair();
    let id = event_loop
        .register(near, Interest::READ, |ctx, stream, _| {
            assert_eq!(drain(stream), 0, "the end");
            *ctx.data() += 1;
            Next::Remove
        })
        .expect("registered");
    event_loop.disable(id);
    drop(far);
    sleeps_through(&mut event_loop);
    event_loop.enable(id).expect("enabled");
    event_loop.run_once().expect("a turn");
    assert_eq!(*event_loop.data(), 1);

    let (near, mut far) = pair();
    event_loop
        .register(near, Options::new(Interest::READ).one_shot(), |ctx, stream, _| {
            drain(stream);
            *ctx.data() += 10;
            Next::Keep
        })
        .expect("registered");
    far.write_all(b"x").expect("written");
    event_loop.run_once().expect("a turn");
    drop(far);
    sleeps_through(&mut event_loop);
    assert_eq!(*event_loop.data(), 11);
}
