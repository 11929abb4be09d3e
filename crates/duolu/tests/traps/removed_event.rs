//! An event is removed by an earlier callback of the same turn, although its report is already there. Its
//! callback must not be called, and its descriptor is closed at once.

use crate::{drain, loop_on, pair};
use duolu::{BackendKind, EventId, Exit, Interest, Next};
use std::io::{Read, Write};

#[derive(Default)]
struct Data {
    ids: Vec<EventId>,
    called: u32,
}

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, Data::default());
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (near, mut far) = pair();
        far.write_all(b"x").expect("written");
        let id = event_loop
            .register(near, Interest::READ, |ctx, stream, _| {
                assert_eq!(drain(stream), 1);
                ctx.data().called += 1;
                let me = ctx.current();
                for id in ctx.data().ids.clone() {
                    assert!(Some(id) == me || ctx.remove(id));
                }
                Next::Remove
            })
            .expect("registered");
        event_loop.data().ids.push(id);
        peers.push(far);
    }
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert_eq!(event_loop.data().called, 1, "the others were removed first");
    event_loop.run_nonblocking().expect("a turn");
    for mut peer in peers {
        let error_or_end = peer.read(&mut [0; 9]);
        // With its byte unread the closed one resets its peer; the one that was called just ends.
        assert!(matches!(error_or_end, Ok(0)) || error_or_end.is_err_and(|e| e.raw_os_error() == Some(104)));
    }
}
