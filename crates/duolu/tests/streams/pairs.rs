//! Pairs: two streams of one loop, connected in memory. (All other scenarios run over pairs too, with the scenario as one
//! end: the world `memory`.)

use crate::filters::{Hex, Sealed};
use crate::stage::{Log, pattern};
use duolu::{
    Config, Context, Direction, EventId, EventLoop, Exit, Layered, PairEnd, Stream, StreamEvent,
    StreamOptions,
};
use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

fn event_loop() -> EventLoop<Log> {
    Config::new().build(Log::new()).expect("a loop")
}

fn log(mark: u32) -> impl FnMut(&mut Context<Log>, &mut Stream<'_>, StreamEvent) {
    move |ctx, _, event| ctx.data().push((mark, event))
}

fn echo(_: &mut Context<Log>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        assert!(stream.echo());
    }
}

/// Reads on whatever it has to send: or else, where an echo waits for it to read, both would wait.
fn greedy() -> StreamOptions {
    StreamOptions::new().output_marks(0, usize::MAX)
}

fn input_of(event_loop: &mut EventLoop<Log>, id: EventId) -> Vec<u8> {
    let input = event_loop.with_stream(id, |_, stream| {
        let all = stream.input().len();
        stream.pull_up(all).expect("all of it").to_vec()
    });
    input.expect("a stream")
}

#[test]
fn what_one_writes_the_other_reads_and_the_run_ends_when_both_rest() {
    let mut event_loop = event_loop();
    let (one, two) = event_loop.pair(greedy(), log(1), StreamOptions::new(), echo).expect("two streams");
    let bytes = pattern(1_000_000);
    event_loop.with_stream(one, |_, stream| stream.write_all(&bytes).expect("open"));
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert!(input_of(&mut event_loop, one) == bytes);
    event_loop.with_stream(one, |_, stream| stream.finish());
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert!(!event_loop.exists(one) && !event_loop.exists(two));
    let told: Vec<_> = event_loop.data().iter().filter(|(_, event)| *event == StreamEvent::Eof).collect();
    assert_eq!(told, [&(1, StreamEvent::Eof)]);
}

/// A chunk is the same memory on the other side.
#[test]
fn chunks_move_without_a_copy() {
    let mut event_loop = event_loop();
    let (one, two) =
        event_loop.pair(StreamOptions::new(), log(1), StreamOptions::new(), log(2)).expect("two streams");
    let chunk = pattern(50_000);
    let at = chunk.as_ptr();
    let mut buffer = duolu::buffer::Buffer::new();
    buffer.append_vec(chunk).expect("room");
    assert_eq!(event_loop.with_stream(one, |_, stream| stream.send_buffer(&mut buffer)), Some(true));
    event_loop.run().expect("a run");
    // Read in parts of what one read takes, which share it.
    let arrived = event_loop.with_stream(two, |_, stream| (stream.input().len(), stream.front().as_ptr()));
    assert_eq!(arrived, Some((50_000, at)));
}

/// What is written to somebody who does not read is bounded, and goes on when he does.
#[test]
fn watermarks_suspends_and_timeouts_are_those_of_a_socket() {
    let mut event_loop = event_loop();
    let (one, two) = event_loop
        .pair(
            StreamOptions::new(),
            log(1),
            StreamOptions::new().input_marks(0, 100),
            |_: &mut Context<Log>, stream: &mut Stream<'_>, _| {
                assert!(stream.input().len() <= 100);
            },
        )
        .expect("two streams");
    event_loop.with_stream(one, |_, stream| stream.write_all(&pattern(300_000)).expect("open"));
    event_loop.with_stream(two, |_, stream| stream.suspend(Direction::Read));
    for _ in 0..3 {
        event_loop.run_nonblocking().expect("a turn");
    }
    let unsent = event_loop.with_stream(one, |_, stream| stream.unsent()).expect("a stream");
    assert!(unsent >= 300_000 - 64 * 1024, "{unsent}");
    let mut taken = Vec::new();
    event_loop.with_stream(two, |_, stream| stream.unsuspend(Direction::Read));
    for _ in 0..100 {
        event_loop.run_nonblocking().expect("a turn");
        event_loop.with_stream(two, |_, stream| {
            taken.extend_from_slice(stream.front());
            let front = stream.front().len();
            stream.consume(front);
        });
    }
    assert!(taken.len() > 500 && taken == pattern(taken.len()));
    event_loop.with_stream(one, |_, stream| {
        stream.set_timeout(Direction::Write, Some(Duration::from_millis(15)));
    });
    // Then it reads no more: the writer's timeout ends it, and the reader gets what was written before, and the end.
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert!(!event_loop.exists(one));
    assert!(event_loop.data().contains(&(1, StreamEvent::Timeout(Direction::Write))));
    while event_loop.exists(two) {
        event_loop.with_stream(two, |_, stream| {
            taken.extend_from_slice(stream.front());
            let front = stream.front().len();
            stream.consume(front);
        });
        event_loop.run_nonblocking().expect("a turn");
    }
    assert!(taken.len() > 500 && taken == pattern(taken.len()));
}

/// In each event of either end, either end is removed: the other is told its end, once, and nothing else.
#[test]
fn each_may_be_removed_in_any_callback_of_either() {
    let kinds =
        [StreamEvent::Read, StreamEvent::Written, StreamEvent::Eof, StreamEvent::Timeout(Direction::Read)];
    for kind in kinds {
        for own in [true, false] {
            let mut event_loop = event_loop();
            let (end_one, end_two) = PairEnd::both(&event_loop.handle());
            let options = StreamOptions::new().read_timeout(Duration::from_millis(5)).allow_half_open();
            let other = event_loop.stream(end_two, StreamOptions::new(), log(2)).expect("a stream");
            let one = event_loop.stream(
                end_one,
                options,
                move |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
                    ctx.data().push((1, event));
                    if event == kind {
                        stream.write_all(b"last").unwrap_or_default();
                        let gone = if own { stream.id() } else { other };
                        assert!(ctx.remove(gone));
                    }
                },
            );
            let one = one.expect("a stream");
            event_loop.with_stream(other, |_, stream| match kind {
                StreamEvent::Read => stream.write_all(b"x").expect("open"),
                StreamEvent::Eof => stream.finish(),
                _ => {}
            });
            if kind == StreamEvent::Written {
                event_loop.with_stream(one, |_, stream| stream.write_all(b"x").expect("open"));
            }
            event_loop.run_until_gone(if own { other } else { one });
            let removed = if own { one } else { other };
            assert!(!event_loop.exists(removed), "{kind:?}");
            let left = if own { 2 } else { 1 };
            let told: Vec<_> =
                event_loop.data().iter().filter(|(mark, _)| *mark == left).map(|told| told.1).collect();
            let ends = |event: &&StreamEvent| !matches!(event, StreamEvent::Read | StreamEvent::Written);
            let ends: Vec<_> = told.iter().filter(ends).collect();
            // An end may be followed by the failure of what was still to be sent; half open, by its own timeout.
            assert!((1..=2).contains(&ends.len()), "{kind:?} {own}: {told:?}");
            let may_go_on = matches!(ends[0], StreamEvent::Eof | StreamEvent::Timeout(Direction::Read));
            assert!(ends.len() == 1 || may_go_on, "{kind:?} {own}: {told:?}");
        }
    }
}

trait Turns {
    fn run_until_gone(&mut self, id: EventId);
}

impl Turns for EventLoop<Log> {
    fn run_until_gone(&mut self, id: EventId) {
        for _ in 0..1000 {
            if !self.exists(id) {
                return;
            }
            self.run_for(Duration::from_millis(5)).expect("a turn");
        }
        panic!("it stays: {:?}", self.data());
    }
}

/// A panic in one closes it alone; the other is told.
#[test]
fn a_panic_in_one_is_an_end_to_the_other() {
    let mut event_loop = event_loop();
    let panics = |_: &mut Context<Log>, _: &mut Stream<'_>, _| panic!("on purpose");
    let (one, two) =
        event_loop.pair(StreamOptions::new(), panics, StreamOptions::new(), log(2)).expect("two streams");
    event_loop.with_stream(two, |_, stream| stream.write_all(b"x").expect("open"));
    let run = std::panic::AssertUnwindSafe(|| event_loop.run());
    assert!(std::panic::catch_unwind(run).is_err());
    assert!(!event_loop.exists(one));
    event_loop.run_until_gone(two);
    assert_eq!(event_loop.data().last(), Some(&(2, StreamEvent::Eof)));
}

#[test]
fn a_file_arrives_as_bytes() {
    let path = std::env::temp_dir().join(format!("duolu-pair-{}", std::process::id()));
    std::fs::write(&path, pattern(200_000)).expect("a file");
    let file = std::sync::Arc::new(duolu::SharedFile(std::fs::File::open(&path).expect("a file")));
    std::fs::remove_file(&path).expect("a file");
    let mut event_loop = event_loop();
    let (one, two) =
        event_loop.pair(StreamOptions::new(), log(1), StreamOptions::new(), log(2)).expect("two streams");
    event_loop.with_stream(one, |_, stream| {
        stream.write_all(b"head").expect("open");
        assert!(stream.send_file(file, 100, 150_000));
    });
    event_loop.run().expect("a run");
    let expected = [b"head", &pattern(200_000)[100..150_100]].concat();
    assert!(input_of(&mut event_loop, two) == expected);
}

/// Layers on both ends of a pair speak with each other: established, both ways, and the end.
#[test]
fn layers_on_both_ends() {
    let mut event_loop = event_loop();
    let (client, server) = PairEnd::both(&event_loop.handle());
    let client = Layered::new(Layered::new(client, Sealed::client()), Hex);
    let server = Layered::new(Layered::new(server, Sealed::server()), Hex);
    let server = event_loop.stream(server, StreamOptions::new(), echo).expect("a stream");
    let received = Rc::new(RefCell::new(Vec::new()));
    let bytes = Rc::clone(&received);
    let counts = move |ctx: &mut Context<Log>, stream: &mut Stream<'_>, event| {
        ctx.data().push((1, event));
        let all = stream.input().len();
        bytes.borrow_mut().extend_from_slice(stream.pull_up(all).expect("all of it"));
        stream.consume(all);
    };
    let client = event_loop.stream(client, greedy().allow_half_open(), counts).expect("a stream");
    let bytes = pattern(700_000);
    event_loop.with_stream(client, |_, stream| {
        stream.write_all(&bytes).expect("open");
        stream.finish();
    });
    assert_eq!(event_loop.run().expect("a run"), Exit::Empty);
    assert!(!event_loop.exists(server));
    let told: Vec<_> = event_loop.data().iter().map(|(_, event)| *event).collect();
    assert_eq!((told.first(), told.last()), (Some(&StreamEvent::Connected), Some(&StreamEvent::Eof)));
    assert!(!event_loop.exists(client) && *received.borrow() == bytes);
}
