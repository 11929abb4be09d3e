//! One of each: an event, a re-arm, a removal and addition, a timer, a post. Wall time by criterion, for a
//! change's before and after; beside raw epoll and libevent, and with instruction counts: `make bench`.

#![allow(missing_docs, reason = "criterion_group makes an undocumented function")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use duolu::{Context, EventLoop, Interest, Next, Options};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::time::{Duration, Instant};

const PIPES: usize = 100;
const ACTIVE: usize = 10;

struct Ring {
    writers: Vec<PipeWriter>,
    left: u64,
}

/// Bytes going round in pipes: each callback takes one and passes it on.
fn ring(options: Options, next: Next) -> io::Result<EventLoop<Ring>> {
    let mut readers = Vec::new();
    let mut writers = Vec::new();
    for _ in 0..PIPES {
        let (reader, writer) = io::pipe()?;
        readers.push(reader);
        writers.push(writer);
    }
    for at in 0..ACTIVE {
        writers[at * PIPES / ACTIVE].write_all(b"x")?;
    }
    let mut event_loop = EventLoop::with_data(Ring { writers, left: 0 })?;
    for (at, reader) in readers.into_iter().enumerate() {
        let to = (at + 1) % PIPES;
        let callback = move |ctx: &mut Context<Ring>, mut reader: &PipeReader, _| {
            let mut byte = [0];
            reader.read_exact(&mut byte).expect("a byte");
            let ring = ctx.data();
            ring.writers[to].write_all(&byte).expect("room");
            ring.left -= 1;
            if ring.left == 0 {
                ctx.break_now();
            }
            next
        };
        event_loop.register(reader, options, callback).expect("a pipe can be watched");
    }
    Ok(event_loop)
}

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one event");
    group.throughput(Throughput::Elements(1));
    let level = Options::new(Interest::READ);
    for (name, options, next) in [
        ("persistent", level, Next::Keep),
        ("re-armed", level.once(), Next::again()),
        ("one-shot", level.one_shot(), Next::again()),
        ("with a timeout", level.timeout(Duration::from_secs(60)), Next::Keep),
    ] {
        let mut event_loop = ring(options, next).expect("a ring");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| {
                event_loop.data().left = count;
                let began = Instant::now();
                event_loop.run().expect("a run");
                began.elapsed()
            });
        });
    }
    group.finish();
}

fn switching(criterion: &mut Criterion) {
    let mut event_loop = EventLoop::new().expect("a loop");
    let (reader, _writer) = io::pipe().expect("a pipe");
    let id = event_loop.register(reader, Interest::READ, |_, _, _| Next::Keep).expect("a pipe");
    criterion.bench_function("remove and add an unchanged event, and a turn", |bencher| {
        bencher.iter(|| {
            event_loop.disable(id);
            event_loop.enable(id).expect("it may be added again");
            event_loop.run_nonblocking().expect("a turn");
        });
    });
}

fn timers(criterion: &mut Criterion) {
    let mut event_loop = EventLoop::with_data(0u64).expect("a loop");
    let pushed_off = event_loop.timer(Duration::from_secs(60), |_| Next::Keep);
    criterion.bench_function("put a timeout off", |bencher| {
        bencher.iter(|| event_loop.set_timeout(pushed_off, Duration::from_secs(60)).expect("a timer"));
    });
    event_loop.remove(pushed_off);
    event_loop.timer(Duration::ZERO, |ctx| {
        *ctx.data() -= 1;
        if *ctx.data() == 0 {
            ctx.stop();
        }
        Next::after(Duration::ZERO)
    });
    criterion.bench_function("a timer that fires, is armed again, and a turn", |bencher| {
        bencher.iter_custom(|count| {
            *event_loop.data() = count;
            let began = Instant::now();
            event_loop.run().expect("a run");
            began.elapsed()
        });
    });
}

fn posts(criterion: &mut Criterion) {
    let mut event_loop = EventLoop::with_data(0u64).expect("a loop");
    let handle = event_loop.handle();
    criterion.bench_function("a post from the loop's own thread, and a turn", |bencher| {
        bencher.iter(|| {
            let number = *event_loop.data();
            handle.post(move |ctx| *ctx.data() = number + 1).expect("the loop is there");
            event_loop.run_once().expect("a turn");
        });
    });
}

fn short() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = one; config = short(); targets = events, switching, timers, posts }
criterion_main!(one);
