//! Connecting, on every backend: it needs a real listener.

use duolu::{BackendKind, Config, Context, Direction, EventLoop, Stream, StreamEvent, StreamOptions};
use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

type Told = Vec<(StreamEvent, Vec<u8>)>;

pub fn loops<D: Default + 'static>() -> impl Iterator<Item = EventLoop<D>> {
    let without = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
    let kinds = BackendKind::ALL.into_iter().filter(move |kind| *kind != BackendKind::IoUring || !without);
    kinds.map(|kind| {
        let event_loop = Config::new().backend(kind).build(D::default()).expect("a loop");
        assert_eq!(event_loop.fallback(), None, "DUOLU_TEST_NO_URING=1 leaves io_uring out");
        event_loop
    })
}

fn tell(ctx: &mut Context<Told>, stream: &mut Stream<'_>, event: StreamEvent) {
    let front = stream.front().to_vec();
    stream.consume(front.len());
    ctx.data().push((event, front));
}

#[test]
fn what_was_written_before_goes_out_when_it_stands() {
    for mut event_loop in loops::<Told>() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        event_loop
            .accept(listener, |ctx, socket, _| {
                let echo = |ctx: &mut Context<Told>, stream: &mut Stream<'_>, event| {
                    stream.echo();
                    if event == StreamEvent::Eof {
                        ctx.stop();
                    }
                };
                ctx.stream(socket, StreamOptions::new(), echo).expect("a stream");
            })
            .expect("a listener");
        let id = event_loop.connect(address, StreamOptions::new(), tell).expect("it begins");
        event_loop.with_stream(id, |_, stream| {
            stream.write_all(b"early").expect("it is kept");
            stream.finish();
        });
        event_loop.exit_after(Duration::from_secs(20));
        event_loop.run().expect("a run");
        for _ in 0..100 {
            event_loop.run_for(Duration::from_millis(5)).expect("a turn");
            if !event_loop.exists(id) {
                break;
            }
        }
        use StreamEvent::{Connected, Eof, Read, Written};
        let told = [(Connected, vec![]), (Written, vec![]), (Read, b"early".to_vec()), (Eof, vec![])];
        let kind = event_loop.backend_name();
        assert_eq!(event_loop.data()[..], told, "{}", kind);
    }
}

#[test]
fn a_refusal_is_one_error() {
    for mut event_loop in loops::<Told>() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        drop(listener);
        let begun = event_loop.connect(address, StreamOptions::new(), tell);
        let id = begun.expect("on the loopback a nonblocking connect is refused later");
        event_loop.exit_after(Duration::from_secs(20));
        while event_loop.exists(id) {
            event_loop.run_once().expect("a turn");
        }
        const ECONNREFUSED: i32 = 111;
        let refused = StreamEvent::Error(Direction::Write, duolu_core::Errno(ECONNREFUSED));
        let kind = event_loop.backend_name();
        assert_eq!(event_loop.data()[..], [(refused, vec![])], "{}", kind);
    }
}
