//! Streams: a message is one recv and one send, and allocates nothing; an idle stream holds little memory.

use crate::{HELD, Ring, allocations_in, kinds, loop_on, turns};
use duolu::{
    BackendKind, Config, Context, Direction, EventLoop, Rate, SpliceOptions, Stream, StreamEvent,
    StreamOptions,
};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

pub const SITUATION: &str = "a message between two streams";
pub const BY_COMPLETIONS: &str = "a message between two streams by completions";

/// On io_uring, which moves the bytes by itself.
pub fn completing() -> EventLoop<Ring> {
    let event_loop = Config::new().stream_completions(true).build(Ring::default()).expect("a loop");
    assert_eq!(event_loop.stream_fallback(), None, "it must be available for its budgets");
    event_loop
}

/// On every backend, and by completions.
fn loops() -> impl Iterator<Item = fn() -> EventLoop<Ring>> {
    let on = |kind: BackendKind| -> fn() -> EventLoop<Ring> {
        match kind {
            BackendKind::Select => || loop_on(BackendKind::Select, Ring::default()),
            BackendKind::Poll => || loop_on(BackendKind::Poll, Ring::default()),
            BackendKind::Epoll => || loop_on(BackendKind::Epoll, Ring::default()),
            BackendKind::IoUring => || loop_on(BackendKind::IoUring, Ring::default()),
        }
    };
    let with = kinds().any(|kind| kind == BackendKind::IoUring);
    kinds().map(on).chain(with.then_some(completing as fn() -> EventLoop<Ring>))
}

fn pass_on(ctx: &mut Context<Ring>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        assert!(stream.echo());
        ctx.data().passed_on += 1;
    }
}

fn pair_with(event_loop: &mut EventLoop<Ring>, options: StreamOptions, message: &[u8]) {
    let (one, two) = UnixStream::pair().expect("descriptors");
    let id = event_loop.stream(one, options.clone(), pass_on).expect("a stream");
    event_loop.stream(two, options, pass_on).expect("a stream");
    event_loop.with_stream(id, |_, stream| stream.write_all(message).expect("it is open"));
}

/// Two streams that give each other the same message for ever: one of them is ready in each turn.
pub fn ping_pong(mut event_loop: EventLoop<Ring>) -> EventLoop<Ring> {
    pair_with(&mut event_loop, StreamOptions::new(), &[7; 64]);
    event_loop
}

#[test]
fn a_message_allocates_nothing() {
    for new in loops() {
        let rate = Rate { bytes_per_second: 1 << 40, burst: 1 << 40 };
        let timed = StreamOptions::new().read_timeout(Duration::from_secs(60));
        for (options, bytes) in [
            (StreamOptions::new(), 64),
            (StreamOptions::new(), 1024),
            (StreamOptions::new(), 16 * 1024),
            (timed.write_timeout(Duration::from_secs(60)), 64),
            (StreamOptions::new().rate(Direction::Read, rate), 64),
            (StreamOptions::new(), 65),
        ] {
            let mut event_loop = new();
            let kind = (event_loop.backend_name(), event_loop.features().transfers);
            let group = event_loop.rate_group(Some(rate), Some(rate));
            let options = if bytes == 65 { options.group(&group) } else { options };
            pair_with(&mut event_loop, options.clone(), &vec![7; bytes]);
            turns(&mut event_loop, 200);
            let before = event_loop.data().passed_on;
            let allocated = allocations_in(|| turns(&mut event_loop, 2000));
            assert!(event_loop.data().passed_on >= before + 1000, "{kind:?}: it stands still");
            assert_eq!(allocated, 0, "{kind:?}, {bytes} bytes, {options:?}");
        }
    }
}

/// All of it: the event, the loop's tables, the object with its two buffers.
#[test]
fn an_idle_stream_holds_little_memory() {
    const STREAMS: usize = 400;
    for new in loops() {
        let mut event_loop = new();
        let kind = (event_loop.backend_name(), event_loop.features().transfers);
        let mut held = Vec::new();
        // Beside what each stream holds this counts the room that the tables of the loop have taken in advance.
        for _ in 0..STREAMS / 2 {
            let (one, two) = UnixStream::pair().expect("descriptors");
            for socket in [one, two] {
                event_loop.stream(socket, StreamOptions::new(), pass_on).expect("a stream");
            }
            event_loop.run_nonblocking().expect("a turn");
            held.push(HELD.get());
        }
        let each = (held[STREAMS / 2 - 1] - held[0]) / (STREAMS as i64 - 2);
        // Measured: 304 on select, 306 on epoll, 319 on poll, 331 on io_uring, tables not yet used up included; by
        // completions 669, of which 339 are 132 KiB that the ring's own table took in advance: untouched as yet.
        let most = if kind.1 { 350 + 132 * 1024 / STREAMS as i64 } else { 350 };
        assert!(each <= most, "{kind:?}: {each} bytes for each idle stream");
    }
}

/// A message between joined sockets, small and copied or large and spliced, allocates nothing: blocks and pipes come back.
#[test]
fn a_spliced_message_allocates_nothing() {
    for kind in kinds() {
        for bytes in [64, 64 * 1024] {
            let mut event_loop = loop_on(kind, Ring::default());
            let ((one, mut first), (two, mut second)) =
                (UnixStream::pair().expect("descriptors"), UnixStream::pair().expect("descriptors"));
            first.set_nonblocking(true).expect("a socket");
            second.set_nonblocking(true).expect("a socket");
            let id = event_loop.splice(one, two, SpliceOptions::new(), |_, _| {}).expect("two sockets");
            let (message, mut into) = (vec![7; bytes], vec![0; bytes]);
            let mut pass = |messages: usize| {
                for _ in 0..messages {
                    let (mut sent, mut got) = (0, 0);
                    while got < bytes {
                        sent += first.write(&message[sent..]).unwrap_or(0);
                        event_loop.run_nonblocking().expect("a turn");
                        got += second.read(&mut into).unwrap_or(0);
                    }
                }
            };
            pass(20);
            assert_eq!(allocations_in(|| pass(200)), 0, "{kind}, {bytes} bytes");
            assert!(event_loop.exists(id));
        }
    }
}
