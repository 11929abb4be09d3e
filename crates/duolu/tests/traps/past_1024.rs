//! select(2)'s own sets end at descriptor 1023, and setting a bit beyond them writes into foreign memory. Ours
//! grow, so select serves numbers as high as the others do.

use crate::{drain, loop_on, pair};
use duolu::{BackendKind, Interest, Next};
use duolu_sys::process::raise_descriptor_limit;
use duolu_sys::socket;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const NUMBER: i32 = 3_000;

pub fn trap(kind: BackendKind) {
    let limit = raise_descriptor_limit().expect("a limit");
    assert!(limit.soft > NUMBER as u64, "this needs {NUMBER} descriptors: raise the limit (ulimit -Hn)");
    let (near, mut far) = pair();
    let high = UnixStream::from(socket::dup(&near, NUMBER).expect("a high number"));
    assert!(high.as_raw_fd() >= NUMBER);
    drop(near);
    let mut event_loop = loop_on(kind, 0);
    let id = event_loop
        .register(high, Interest::READ, |ctx, stream, _| {
            *ctx.data() += drain(stream);
            Next::Keep
        })
        .expect("registered");
    event_loop.run_nonblocking().expect("a turn");
    far.write_all(b"hello").expect("written");
    event_loop.run_once().expect("a turn");
    assert_eq!(*event_loop.data(), 5);
    assert!(event_loop.remove(id));
    event_loop.run_nonblocking().expect("a turn");
    assert!(far.write_all(b"x").is_err(), "closed");
}
