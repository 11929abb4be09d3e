//! Out of descriptors accept(2) leaves the connection in the queue, and a level-triggered listener is ready again
//! at once: a loop that just tries again takes a whole core. This one rests, and serves the queue when it can.

use crate::{MS, loop_on};
use duolu::BackendKind;
use duolu_sys::process::{Limit, descriptor_limit, set_descriptor_limit};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

const CLIENTS: usize = 60;
const ROOM: usize = 10;

pub fn trap(kind: BackendKind) {
    let mut event_loop = loop_on(kind, Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let id = event_loop.accept(listener, |ctx, stream, _| ctx.data().push(stream)).expect("listening");
    event_loop.after(50_000 * MS, |_| panic!("the queue was never served"));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| TcpStream::connect(address).expect("queued")).collect();
    let highest = clients.iter().map(|client| client.as_raw_fd()).max().unwrap_or(0);
    let limit = descriptor_limit().expect("a limit");
    let soft = highest as u64 + 1 + ROOM as u64;
    set_descriptor_limit(Limit { soft, ..limit }).expect("lowered");

    let before = event_loop.stats();
    let end = Instant::now() + 250 * MS;
    while Instant::now() < end {
        event_loop.run_for(50 * MS).expect("a turn");
    }
    let stats = event_loop.stats();
    assert_eq!((stats.accepted, event_loop.data().len()), (ROOM as u64, ROOM));
    assert!(stats.accept_back_offs >= 1);
    let waits = stats.engine.waits - before.engine.waits;
    assert!(waits <= 60, "{waits} waits in a quarter of a second: that is a spin");

    // A listener that rests can be disabled like any other; then it is not enabled behind the program's back.
    while event_loop.is_pending(id) {
        event_loop.run_for(50 * MS).expect("a turn"); // until it has looked again, and rests again
    }
    assert!(event_loop.disable(id) && !event_loop.disable(id));
    for _ in 0..3 {
        event_loop.run_for(60 * MS).expect("a turn");
        assert!(!event_loop.is_pending(id), "enabled again");
    }
    event_loop.enable(id).expect("enabled");

    clients.truncate(ROOM); // room for the rest, who still wait in the queue (they have gone, as clients do)
    while event_loop.data().len() < CLIENTS {
        event_loop.run_once().expect("a turn");
    }
    assert_eq!(event_loop.stats().accepted, CLIENTS as u64, "nobody was lost");
}
