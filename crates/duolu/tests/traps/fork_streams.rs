//! After a fork a stream's bytes must come to the parent as before: the child has its requests neither cancelled nor
//! answered, and moves its own streams' bytes through a ring of its own.

use crate::{MS, pair};
use duolu::{BackendKind, Config, Context, EventLoop, Stream, StreamEvent, StreamOptions};
use duolu_sys::process::{Ended, Fork, exit_now, fork_alone, wait};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn echo(_: &mut Context, stream: &mut Stream<'_>, _: StreamEvent) {
    stream.echo();
}

fn echoed(event_loop: &mut EventLoop, mut peer: &UnixStream, message: &[u8]) {
    peer.write_all(message).expect("room");
    let mut got = [0; 64];
    for _ in 0..1000 {
        event_loop.run_for(5 * MS).expect("a turn");
        if let Ok(count) = peer.read(&mut got) {
            return assert_eq!(&got[..count], message);
        }
    }
    panic!("nothing came back");
}

pub fn trap(kind: BackendKind) {
    // On io_uring it is the ring that moves the bytes.
    let config = Config::new().backend(kind).stream_completions(kind == BackendKind::IoUring);
    let mut event_loop = config.build(()).expect("a loop");
    assert_eq!((event_loop.fallback(), event_loop.stream_fallback()), (None, None));
    let (near, far) = pair();
    let id = event_loop.stream(near, StreamOptions::new(), echo).expect("a stream");
    echoed(&mut event_loop, &far, b"before");
    match fork_alone().expect("a child") {
        Fork::Child => {
            event_loop.reinit().expect("a kernel side of its own");
            let (near, own) = pair();
            event_loop.stream(near, StreamOptions::new(), echo).expect("a stream");
            echoed(&mut event_loop, &own, b"the child's");
            assert!(event_loop.remove(id), "which the parent must not notice");
            echoed(&mut event_loop, &own, b"the child's as well");
            drop(event_loop);
            exit_now(0);
        }
        Fork::Parent(pid) => assert_eq!(wait(pid).expect("my child"), Ended::Code(0)),
    }
    for message in [&b"after"[..], b"and again"] {
        echoed(&mut event_loop, &far, message);
    }
}
