//! Random peers, kernels and programs against the stream's judgement, beside a simple model of what must come of it: the
//! bytes arrive in order and whole, each way ends at most once and never before its last byte, marks and rates are kept,
//! and what is over is closed.

use crate::random::Random;
use duolu_core::buffer::Pool;
use duolu_core::stream::{Action, Direction, Moved, Rate, Stream, StreamEvent, Then, pause};
use duolu_core::{Errno, Instant, Interest};

const RESET: Errno = Errno(104);

/// The socket between the stream and its peer, and what the peer does.
#[derive(Default)]
struct Socket {
    /// Sent by the peer and not yet read.
    incoming: usize,
    ended: bool,
    reset: bool,
    /// What the kernel still takes.
    room: usize,
    shut: bool,
}

/// What must be true, counted apart from the stream.
#[derive(Default)]
struct Model {
    socket: Socket,
    /// Bytes carry their own position, modulo 251.
    sent_by_peer: usize,
    read: usize,
    taken: usize,
    written: usize,
    sent: usize,
    ended: [u32; 2],
    errors: u32,
    told_up_to: usize,
    finished: bool,
    reset: bool,
    closing: bool,
    high: usize,
    burst: Option<usize>,
    /// The play is to end.
    draining: bool,
}

fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at % 251) as u8).collect()
}

fn peer(random: &mut Random<'_>, model: &mut Model) {
    let socket = &mut model.socket;
    match random.below(12) as u64 {
        0..=4 if !socket.ended && !socket.reset => {
            let bytes = random.below(9000);
            socket.incoming += bytes;
            model.sent_by_peer += bytes;
        }
        5..=8 => socket.room += random.below(20_000),
        9 if random.one_in(20) => socket.ended = true,
        10 if random.one_in(40) => socket.reset = true,
        _ => {}
    }
}

fn hands(random: &mut Random<'_>, stream: &mut Stream, model: &mut Model, now: Instant) {
    let wants = stream.wants();
    if stream.is_connecting() {
        assert_eq!(wants, Interest::WRITE);
        if random.one_in(3) {
            stream.handle_writable();
            let refused = random.one_in(10);
            stream.handle_connected(if refused { Err(RESET) } else { Ok(()) });
        }
        return;
    }
    let readable = model.socket.incoming > 0 || model.socket.ended || model.socket.reset;
    if wants.contains(Interest::READ) && readable {
        read(random, stream, model, now);
    }
    if wants.contains(Interest::WRITE) && (model.socket.room > 0 || model.socket.reset) {
        stream.handle_writable();
    }
    flush(random, stream, model, now);
}

fn read(random: &mut Random<'_>, stream: &mut Stream, model: &mut Model, now: Instant) {
    let budget = stream.read_budget(now);
    assert!(budget <= 64 * 1024 && budget <= model.high, "{budget}");
    if let Some(burst) = model.burst {
        assert!(budget <= burst || stream.must_read());
    }
    if budget == 0 {
        return;
    }
    let socket = &mut model.socket;
    let at_once = if model.draining { usize::MAX } else { 1 + random.below(70_000) };
    let got = socket.incoming.min(budget).min(at_once);
    if got == 0 {
        let then = match () {
            _ if socket.reset => Then::Failed(RESET),
            _ if socket.ended => Then::End,
            _ => Then::Blocked,
        };
        return stream.handle_read(Moved { bytes: 0, then }, now);
    }
    socket.incoming -= got;
    stream.input_mut().append(&pattern(model.read, got)).expect("room");
    model.read += got;
    let then = if got < budget { Then::Blocked } else { Then::More };
    stream.handle_read(Moved { bytes: got, then }, now);
}

fn flush(random: &mut Random<'_>, stream: &mut Stream, model: &mut Model, now: Instant) {
    let budget = stream.write_budget(now);
    if budget > 0 {
        let asked = budget.min(stream.output().len());
        assert!(asked > 0 && !model.socket.shut, "nothing is written after the end");
        let moved = if model.socket.reset {
            Moved { bytes: 0, then: Then::Failed(RESET) }
        } else {
            let taken = asked.min(model.socket.room);
            model.socket.room -= taken;
            let mut bytes = vec![0; taken];
            stream.output_mut().remove(&mut bytes).expect("it is there");
            assert!(bytes == pattern(model.sent, taken), "in order");
            model.sent += taken;
            Moved { bytes: taken, then: if taken < asked { Then::Blocked } else { Then::More } }
        };
        stream.handle_write(moved, now);
    }
    while stream.must_read() {
        assert!(!stream.has_events() || stream.is_readable());
        let before = model.read;
        read(random, stream, model, now);
        if stream.must_read() && model.read == before {
            stream.handle_read(Moved { bytes: 0, then: Then::Blocked }, now);
        }
    }
}

fn program(random: &mut Random<'_>, stream: &mut Stream, model: &mut Model) {
    match random.below(30) as u64 {
        0..=9 => {
            let most = random.below(20_000);
            let mut bytes = vec![0; most.min(stream.input().len())];
            stream.input_mut().remove(&mut bytes).expect("it is there");
            assert!(model.closing || bytes == pattern(model.taken, bytes.len()), "in order");
            model.taken += bytes.len();
        }
        10..=17 if stream.is_writable() => {
            let bytes = random.below(30_000);
            stream.output_mut().append(&pattern(model.written, bytes)).expect("room");
            model.written += bytes;
        }
        18 => stream.pause(Direction::Read, pause::USER),
        19 => stream.pause(Direction::Write, pause::USER),
        20..=22 => stream.resume(Direction::Read, pause::USER),
        23..=25 => stream.resume(Direction::Write, pause::USER),
        26 if random.one_in(10) => {
            stream.finish();
            model.finished = true;
            model.closing |= stream.is_closing(); // after a timeout that was not forgiven
        }
        27 if random.one_in(60) => {
            stream.close(1_000_000);
            (model.finished, model.closing) = (true, true);
        }
        28 if random.one_in(60) => {
            stream.reset();
            (model.reset, model.closing) = (true, true);
        }
        28 if random.one_in(3) => {
            model.high = 1 + random.below(100_000);
            stream.set_input_marks(random.below(100), model.high.max(100));
            model.high = model.high.max(100);
        }
        _ => {}
    }
}

fn told(event: StreamEvent, stream: &mut Stream, model: &mut Model, random: &mut Random<'_>) {
    assert!(!model.closing, "nothing is told after close");
    assert_eq!(model.errors, 0, "nothing is told after an error: {event:?}");
    match event {
        StreamEvent::Connected => assert_eq!(model.ended, [0, 0]),
        StreamEvent::Read => {
            assert_eq!(model.ended[0], 0, "no bytes after the end");
            model.told_up_to = model.read;
        }
        StreamEvent::Written => assert!(model.sent > 0),
        StreamEvent::Eof => {
            model.ended[0] += 1;
            assert!(model.socket.ended && model.socket.incoming == 0, "not before the last byte");
            assert_eq!(model.told_up_to, model.read, "the last byte was told");
        }
        StreamEvent::Error(..) => {
            model.errors += 1;
            assert_eq!(model.told_up_to, model.read, "what was read was told");
        }
        StreamEvent::Timeout(direction) => {
            assert!(stream.is_paused(direction));
            if random.one_in(2) {
                stream.resume(direction, pause::DISABLED);
            } else {
                model.ended[usize::from(direction == Direction::Write)] += 1;
            }
        }
    }
    assert!(model.ended[0] <= 1 && model.ended[1] <= 1, "each way ends once");
}

/// True where it came to its end.
pub fn play(mut random: Random<'_>) -> bool {
    let mut model = Model { high: usize::MAX, ..Model::default() };
    let mut stream = if random.one_in(3) { Stream::connecting() } else { Stream::new() };
    let half_open = random.one_in(2);
    stream.allow_half_open(half_open);
    if random.one_in(2) {
        stream.set_timeout(Direction::Read, Some(1 + random.below(3_000_000) as u64));
        stream.set_timeout(Direction::Write, Some(1 + random.below(3_000_000) as u64));
    }
    if random.one_in(3) {
        let burst = 1 + random.below(50_000) as u64;
        model.burst = Some(burst as usize);
        let rate = Rate { bytes_per_second: 1_000_000 + random.below(1_000_000_000) as u64, burst };
        stream.set_rate(Direction::Read, Some(rate.into()));
        stream.set_rate(Direction::Write, Some(rate.into()));
    }
    let mut pool = Pool::new(16 * 1024, 4);
    let mut now = Instant::ZERO;
    for step in 0..3000 {
        now = now.saturating_add_nanos(random.below(20_000) as u64);
        if step > 2500 {
            // It must come to an end: the peer takes everything and ends, and nothing holds the stream up.
            for direction in [Direction::Read, Direction::Write] {
                stream.set_timeout(direction, None);
                stream.set_rate(direction, None);
            }
            (model.burst, model.draining) = (None, true);
            model.socket.room = 1 << 30;
            model.socket.ended = true;
            stream.resume(Direction::Read, pause::USER);
            stream.resume(Direction::Write, pause::USER);
            stream.finish();
            model.finished = true;
            model.closing |= stream.is_closing();
            let all = stream.input().len();
            model.taken += stream.input_mut().drain(all).expect("it is there");
            now = now.saturating_add_nanos(1_000_000);
        } else {
            peer(&mut random, &mut model);
        }
        if stream.deadline().is_some_and(|deadline| deadline <= now) {
            stream.handle_time(now);
        }
        hands(&mut random, &mut stream, &mut model, now);
        while let Some(event) = stream.next_event() {
            told(event, &mut stream, &mut model, &mut random);
        }
        if step <= 2500 {
            program(&mut random, &mut stream, &mut model);
        }
        stream.settle(now);
        flush(&mut random, &mut stream, &mut model, now);
        while let Some(action) = stream.next_action() {
            match action {
                Action::ShutdownWrite => {
                    assert!(!model.socket.shut, "once");
                    assert_eq!(model.sent, model.written, "everything is sent first");
                    assert!(model.finished || !half_open && model.ended[0] == 1);
                    model.socket.shut = true;
                }
                Action::Reset => {
                    assert!(model.reset);
                    return true;
                }
                Action::Close => {
                    assert!(!model.reset, "the peer is to know");
                    assert!(!stream.has_events(), "everything was told");
                    return true;
                }
            }
        }
        stream.settle(now);
        stream.tidy(&mut pool);
        stream.verify();
        if model.closing {
            assert!(stream.input().is_empty(), "what comes is dropped");
        }
    }
    false
}
