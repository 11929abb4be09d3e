//! The Rust face on every backend: what a callback may do to its loop, and that nothing of it panics, leaks or
//! reaches the wrong owner.

mod callbacks;
mod sources;
mod surroundings;
mod time;
mod turn;

use duolu::{BackendKind, Config, Context, EventLoop, Next, Ready};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// Runs a test on every backend. io_uring must be there unless DUOLU_TEST_NO_URING=1 says that it cannot be.
fn on_every_backend(test: impl Fn(BackendKind)) {
    for kind in BackendKind::ALL {
        if kind == BackendKind::IoUring && std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|v| v == "1") {
            continue;
        }
        test(kind);
    }
}

fn loop_on<D: 'static>(kind: BackendKind, data: D) -> EventLoop<D> {
    let mut event_loop = Config::new().backend(kind).priorities(3).build(data).expect("a loop");
    assert_eq!(event_loop.fallback(), None, "{kind} must be available for its tests");
    assert_eq!(event_loop.backend_name(), kind.to_string());
    event_loop
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a socket pair");
    a.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

fn drain(mut stream: &UnixStream) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let n = stream.read(&mut bytes).unwrap_or(0);
    bytes.truncate(n);
    bytes
}

/// A callback that reads and counts.
fn counting(ctx: &mut Context<Vec<u8>>, stream: &UnixStream, _: Ready) -> Next {
    let bytes = drain(stream);
    ctx.data().extend(bytes);
    Next::Keep
}
