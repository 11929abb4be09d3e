//! Writing to a peer that is gone raises SIGPIPE, which ends a process that does not ask otherwise. Sends say
//! MSG_NOSIGNAL; a pipe cannot, and there the signal can be watched like any other. Both fail with EPIPE.

use crate::{MS, loop_on};
use duolu::{BackendKind, Interest, Next};
use duolu_sys::socket;

const SIGPIPE: i32 = 13;
const EPIPE: Option<i32> = Some(32);

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, (0, 0));
    event_loop
        .signal(SIGPIPE, |ctx, count| {
            ctx.data().0 += count;
            Next::Keep
        })
        .expect("watched");
    let (near, far) = socket::socketpair().expect("a pair");
    drop(far);
    event_loop
        .register(near, Interest::WRITE, |ctx, stream, _| {
            let error = socket::send(stream, b"to nobody").expect_err("nobody is there");
            assert_eq!(error.raw_os_error(), EPIPE);
            ctx.data().1 += 1;
            Next::Remove
        })
        .expect("registered");
    event_loop.run_once().expect("a turn");
    event_loop.run_nonblocking().expect("a turn");
    assert_eq!(*event_loop.data(), (0, 1), "no signal for a socket");

    let (reader, writer) = socket::pipe().expect("a pipe");
    drop(reader);
    event_loop
        .register(writer, Interest::WRITE, |ctx, pipe, _| {
            let error = socket::write(pipe, b"to nobody").expect_err("nobody is there");
            assert_eq!(error.raw_os_error(), EPIPE);
            ctx.data().1 += 1;
            Next::Remove
        })
        .expect("registered");
    event_loop.after(50_000 * MS, |_| panic!("the signal was never told"));
    while event_loop.data().0 == 0 {
        event_loop.run_once().expect("a turn");
    }
    assert_eq!(*event_loop.data(), (1, 2));
}
