//! Numbers come back at once: a callback removes a connection whose report is already there and opens another,
//! which gets the same number. The new one must not be called for the old one's bytes.

use crate::{MS, drain, loop_on, pair, sleeps_through};
use duolu::{BackendKind, EventId, Interest, Next};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

#[derive(Default)]
struct Data {
    /// Both first connections, and their numbers.
    first: Vec<(EventId, i32)>,
    peer: Option<UnixStream>,
    kept: Vec<UnixStream>,
    new_calls: usize,
}

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, Data::default());
    let mut peers = Vec::new();
    for _ in 0..2 {
        let (near, mut far) = pair();
        far.write_all(b"old").expect("written");
        let number = near.as_raw_fd();
        let id = event_loop.register(near, Interest::READ, replace_the_other).expect("registered");
        event_loop.data().first.push((id, number));
        peers.push(far);
    }
    event_loop.run_once().expect("a turn");
    assert!(event_loop.data().peer.is_some(), "one of the two was called");
    sleeps_through(&mut event_loop);
    assert_eq!(event_loop.data().new_calls, 0, "called for the old connection's bytes");
    let mut peer = event_loop.data().peer.take().expect("just seen");
    peer.write_all(b"new").expect("written");
    event_loop.run_for(50_000 * MS).expect("a turn");
    assert_eq!(event_loop.data().new_calls, 3);
}

fn replace_the_other(ctx: &mut duolu::Context<Data>, stream: &UnixStream, _: duolu::Ready) -> Next {
    assert_eq!(drain(stream), 3);
    let me = ctx.current();
    let other = ctx.data().first.iter().copied().find(|&(id, _)| Some(id) != me);
    let (other, number) = other.expect("two were registered");
    assert!(ctx.remove(other));
    // The lowest free number, sooner or later.
    let near = loop {
        let (a, b) = pair();
        if a.as_raw_fd() == number {
            ctx.data().peer = Some(b);
            break a;
        }
        if b.as_raw_fd() == number {
            ctx.data().peer = Some(a);
            break b;
        }
        assert!(ctx.data().kept.len() < 100, "number {number} does not come back");
        ctx.data().kept.extend([a, b]);
    };
    ctx.register(near, Interest::READ, |ctx, stream, _| {
        ctx.data().new_calls += drain(stream);
        Next::Keep
    })
    .expect("registered");
    Next::Remove
}
