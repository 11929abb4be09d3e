//! Random programs, peers and transports against streams with layers: the bytes arrive in order and
//! whole both ways, each way ends once and never before its last byte, nothing gets stuck and nothing spins.
//!
//! DUOLU_SEEDS=10000 plays as many; DUOLU_SEED=7 that one. A failure names its seed.

#[path = "streams/filters.rs"]
#[allow(dead_code)]
mod filters;

use duolu::buffer::{Buffer, Pool};
use duolu::stream::{Layer, Transport};
use duolu::{
    Config, Context, Direction, EventId, EventLoop, Layered, PairEnd, Rate, Ready, Stream, StreamEvent,
    StreamOptions,
};
use duolu_core::RawFd;
use duolu_core::stream::{Moved, Then};
use filters::{Hex, Runs, Sealed, decoded};
use std::io::Write;
use std::time::Duration;

#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }
    fn below(&mut self, most: usize) -> usize {
        self.next() as usize % most.max(1)
    }
    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// A transport that moves what it likes, and is interrupted and blocked as it likes.
struct Moody {
    end: PairEnd<World>,
    random: Random,
}

impl Transport for Moody {
    fn descriptor(&self) -> Option<RawFd> {
        None
    }
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        if self.random.one_in(5) {
            return Moved { bytes: 0, then: Then::Blocked };
        }
        let some = if self.random.one_in(2) { 1 + self.random.below(limit.min(40)) } else { limit };
        self.end.read_into(input, pool, some.min(limit))
    }
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
        if self.random.one_in(5) {
            return Moved { bytes: 0, then: Then::Blocked };
        }
        let some = if self.random.one_in(2) { 1 + self.random.below(limit.min(40)) } else { limit };
        self.end.write_from(output, pool, some.min(limit))
    }
    fn shutdown_write(&mut self) {
        self.end.shutdown_write();
    }
    fn ready(&self) -> Ready {
        self.end.ready()
    }
    fn installed(&mut self, id: EventId) {
        self.end.installed(id);
    }
    fn take_woken(&mut self) -> Option<(EventId, Ready)> {
        self.end.take_woken()
    }
}

/// What the program knows.
#[derive(Default)]
struct World {
    taken: Vec<u8>,
    told: Vec<StreamEvent>,
    high: usize,
}

fn bytes(from: usize, len: usize) -> Vec<u8> {
    // Runs of three, so that `Runs` shrinks them.
    (from..from + len).map(|at| (at / 3 % 251) as u8).collect()
}

/// The far end: layers by hand.
struct Far {
    sealed: Option<Sealed>,
    hex: bool,
    runs: Option<Runs>,
    end: PairEnd<World>,
    /// To be sent as the wire has room.
    wire: Buffer,
    /// Received of the wire.
    got: Vec<u8>,
    sent: usize,
    finished: bool,
    shut: bool,
    greeted: bool,
    ended: bool,
}

impl Far {
    fn established(&self) -> bool {
        self.sealed.as_ref().is_none_or(Layer::is_established)
    }

    fn encode(&mut self, plain: &[u8], finish: bool) {
        let mut from = Buffer::new();
        from.append(plain).expect("room");
        let mut layers: Vec<&mut dyn Layer> = Vec::new();
        let mut hex = Hex;
        layers.extend(self.runs.as_mut().map(|layer| layer as &mut dyn Layer));
        if self.hex {
            layers.push(&mut hex);
        }
        layers.extend(self.sealed.as_mut().map(|layer| layer as &mut dyn Layer));
        for layer in layers {
            let mut to = Buffer::new();
            layer.encode(&mut from, &mut to, &mut Pool::new(16, 0), usize::MAX, finish).expect("no fault");
            from = to;
        }
        self.wire.append_buffer(&mut from).expect("room");
    }

    fn greet(&mut self) {
        // The greeting has a fixed length; what is behind it is looked at when all of it is there.
        if !self.greeted && self.got.len() >= 9 {
            let rest = self.got.split_off(9);
            let greeting = std::mem::replace(&mut self.got, rest);
            let sealed = self.sealed.as_mut().expect("only it greets");
            assert_eq!(decoded(sealed, &greeting, false), Ok(vec![]));
            self.greeted = true;
        }
    }

    fn turn(&mut self, random: &mut Random) {
        let mut pool = Pool::new(1024, 1);
        if !self.wire.is_empty() {
            let some = 1 + random.below(5000);
            self.end.write_from(&mut self.wire, &mut pool, some);
        } else if self.finished && !self.shut {
            self.shut = true;
            self.end.shutdown_write();
        }
        let mut input = Buffer::new();
        let some = 1 + random.below(9000);
        let moved = self.end.read_into(&mut input, &mut pool, some);
        self.got.extend(input.remove_vec(input.len()).expect("all of it"));
        self.ended |= moved.then == Then::End;
        if self.sealed.is_some() {
            self.greet();
        }
    }

    /// Everything that came, when the end has.
    fn all(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.got);
        if let Some(sealed) = &mut self.sealed {
            bytes = decoded(sealed, &bytes, true).expect("sealed");
            assert!(sealed.has_ended(), "the seal is there");
        }
        if self.hex {
            bytes = decoded(&mut Hex, &bytes, true).expect("whole");
        }
        match &mut self.runs {
            Some(runs) => decoded(runs, &bytes, true).expect("whole"),
            None => bytes,
        }
    }
}

fn handler(ctx: &mut Context<World>, stream: &mut Stream<'_>, event: StreamEvent) {
    assert!(stream.input().len() <= ctx.data().high, "no more than there is room for");
    let told = &mut ctx.data().told;
    assert!(
        !told.contains(&StreamEvent::Eof) || event == StreamEvent::Written,
        "{event:?} after {:?}",
        told.last()
    );
    told.push(event);
    if event == StreamEvent::Eof {
        take(ctx, stream, usize::MAX); // it may be gone before it is asked again
    }
}

fn take(ctx: &mut Context<World>, stream: &mut Stream<'_>, bytes: usize) {
    let bytes = bytes.min(stream.input().len());
    let some = stream.pull_up(bytes).expect("they are there").to_vec();
    stream.consume(bytes);
    ctx.data().taken.extend(some);
}

fn play(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    (0..4).for_each(|_| _ = random.next());
    let world = World { high: usize::MAX, ..World::default() };
    let mut event_loop: EventLoop<World> = Config::new().build(world).expect("a loop");
    let (ours, theirs) = PairEnd::both(&event_loop.handle());
    let ours = Moody { end: ours, random: Random(random.next() | 1) };
    let mut options = StreamOptions::new().allow_half_open().output_marks(0, usize::MAX);
    if random.one_in(2) {
        let high = 20 + random.below(3000);
        event_loop.data().high = high;
        options = options.input_marks(0, high);
    }
    if random.one_in(3) {
        let rate = Rate { bytes_per_second: 5_000_000, burst: 500 + random.below(5000) as u64 };
        options = options.rate(Direction::Read, rate).rate(Direction::Write, rate);
    }
    let server = random.one_in(2);
    let greets = |server| if server { Sealed::server() } else { Sealed::client() };
    let (sealed, hex, runs) = [
        (false, true, false),
        (false, false, true),
        (true, false, false),
        (true, true, true),
        (true, false, true),
    ][random.below(5)];
    let id = match (sealed, hex, runs) {
        (false, true, _) => event_loop.stream(Layered::new(ours, Hex), options, handler),
        (false, false, _) => event_loop.stream(Layered::new(ours, Runs::default()), options, handler),
        (true, false, false) => event_loop.stream(Layered::new(ours, greets(server)), options, handler),
        (true, true, _) => {
            let sealed = Layered::new(ours, greets(server));
            event_loop.stream(Layered::new(Layered::new(sealed, Hex), Runs::default()), options, handler)
        }
        (true, false, true) => {
            let sealed = Layered::new(ours, greets(server));
            event_loop.stream(Layered::new(sealed, Runs::default()), options, handler)
        }
    };
    let id = id.expect("a stream");
    let mut far = Far {
        sealed: sealed.then(|| greets(!server)),
        hex,
        runs: runs.then(Runs::default),
        end: theirs,
        wire: Buffer::new(),
        got: Vec::new(),
        sent: 0,
        finished: false,
        shut: false,
        greeted: false,
        ended: false,
    };
    let mut written = 0;
    for _ in 0..150 {
        match random.below(14) {
            0..=3 => {
                let some = random.below(4000);
                event_loop.with_stream(id, |_, stream| {
                    stream.write_all(&bytes(written, some)).expect("open");
                    written += some;
                });
            }
            4..=6 => {
                let some = random.below(2000);
                event_loop.with_stream(id, |ctx, stream| take(ctx, stream, some));
            }
            7 => {
                let way = if random.one_in(2) { Direction::Read } else { Direction::Write };
                let suspend = random.one_in(2);
                event_loop.with_stream(
                    id,
                    |_, stream| {
                        if suspend { stream.suspend(way) } else { stream.unsuspend(way) }
                    },
                );
            }
            8 => drop(event_loop.with_stream(id, |_, stream| stream.flush().expect("open"))),
            9..=11 if far.established() => {
                let some = random.below(4000);
                let plain = bytes(far.sent, some);
                far.encode(&plain, false);
                far.sent += some;
            }
            12 if !far.established() => far.encode(b"", false),
            _ => far.turn(&mut random),
        }
        if random.one_in(2) {
            event_loop.run_for(Duration::from_micros(random.below(300) as u64)).expect("a turn");
        }
    }
    // To the end: both finish, in either order, and take everything.
    let close = random.one_in(3);
    event_loop.with_stream(id, |_, stream| {
        stream.unsuspend(Direction::Read);
        stream.unsuspend(Direction::Write);
        if !close {
            stream.finish();
        }
    });
    let mut steps = 0;
    while event_loop.exists(id) {
        steps += 1;
        assert!(
            steps < 60_000,
            "it is stuck: {:?}, {} unsent",
            event_loop.data().told.last(),
            far.wire.len()
        );
        if !far.established() {
            far.encode(b"", false);
        } else if !far.finished {
            far.finished = true;
            far.encode(b"", true);
        }
        far.turn(&mut random);
        let finishes = close && event_loop.data().told.contains(&StreamEvent::Eof);
        event_loop.with_stream(id, |ctx, stream| {
            take(ctx, stream, usize::MAX);
            if finishes {
                stream.close();
            }
        });
        let before = event_loop.stats().callbacks;
        event_loop.run_for(Duration::from_millis(1)).expect("a turn");
        assert!(event_loop.stats().callbacks - before < 20, "it spins");
    }
    while !far.ended {
        far.turn(&mut random);
        steps += 1;
        assert!(steps < 60_000, "the far end is not told the end");
    }
    let world = event_loop.into_data();
    assert!(world.taken == bytes(0, far.sent), "{} of {} bytes came", world.taken.len(), far.sent);
    let all = far.all();
    assert!(all == bytes(0, written), "{} of {written} bytes went", all.len());
    let count = |event: StreamEvent| world.told.iter().filter(|told| **told == event).count();
    assert_eq!((count(StreamEvent::Eof), count(StreamEvent::Connected)), (1, usize::from(sealed)));
    let others = |event: &&StreamEvent| matches!(event, StreamEvent::Error(..) | StreamEvent::Timeout(_));
    assert_eq!(world.told.iter().filter(others).count(), 0);
}

#[test]
fn random_programs() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("DUOLU_SEED") {
        return play(seed);
    }
    for seed in 1..=number("DUOLU_SEEDS").unwrap_or(120) {
        if let Err(panic) = std::panic::catch_unwind(|| play(seed)) {
            eprintln!("seed {seed}: DUOLU_SEED={seed} replays it");
            std::panic::resume_unwind(panic);
        }
    }
}
