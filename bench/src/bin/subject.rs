//! duolu's side of the comparison: the same ring, timers and idle registrations as `bench/c/*.c`.
//!
//! `persistent|rearm|rearm-oneshot|readd PIPES ACTIVE` answers each count on standard input with the
//! nanoseconds that many events took, and so does `stream PAIRS ACTIVE BYTES`, with TCP connections; `timers COUNT`, `memory COUNT`,
//! `stream-memory COUNT` and `stream-life COUNT` print one line of results.

use duolu::{Context, EventId, EventLoop, Interest, Next, Options, Stream, StreamEvent, StreamOptions};
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::hint::black_box;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Ring {
    writers: Vec<PipeWriter>,
    /// Callbacks to go in this window.
    left: u64,
}

impl Ring {
    #[inline(always)]
    fn pass_on(&mut self, mut reader: &PipeReader, next: usize) {
        let mut byte = [0];
        let read = reader.read(&mut byte).expect("a readable pipe");
        let written = self.writers[next].write(&byte).expect("a writable pipe");
        assert!(read == 1 && written == 1);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Persistent,
    Rearm,
    OneShot,
    Readd,
}

fn make_ring(mode: Mode, pipes: usize, active: usize) -> Outcome<(EventLoop<Ring>, Vec<EventId>)> {
    let mut event_loop = EventLoop::with_data(Ring::default())?;
    let (mut readers, mut writers) = (Vec::new(), Vec::new());
    for _ in 0..pipes {
        let (reader, writer) = io::pipe()?;
        readers.push(reader);
        writers.push(writer);
    }
    for at in 0..active {
        writers[at * (pipes / active)].write_all(b"x")?;
    }
    event_loop.data().writers = writers;
    let mut ids = Vec::new();
    for (at, reader) in readers.into_iter().enumerate() {
        let next = if at + 1 == pipes { 0 } else { at + 1 };
        // A callback for each kind, as a program has (and the C subjects).
        let keep = move |ctx: &mut Context<Ring>, reader: &PipeReader, _| step(ctx, reader, next, Next::Keep);
        let again =
            move |ctx: &mut Context<Ring>, reader: &PipeReader, _| step(ctx, reader, next, Next::again());
        let level = Options::new(Interest::READ);
        ids.push(match mode {
            Mode::Persistent | Mode::Readd => event_loop.register(reader, level, keep),
            Mode::Rearm => event_loop.register(reader, level.once(), again),
            Mode::OneShot => event_loop.register(reader, level.one_shot(), again),
        }?);
    }
    Ok((event_loop, ids))
}

#[inline(always)]
fn step(ctx: &mut Context<Ring>, reader: &PipeReader, next: usize, wanted: Next) -> Next {
    let ring = ctx.data();
    ring.pass_on(reader, next);
    ring.left -= 1;
    if ring.left == 0 {
        ctx.break_now();
    }
    wanted
}

fn window(mode: Mode, event_loop: &mut EventLoop<Ring>, ids: &[EventId], count: u64) -> Outcome {
    if mode != Mode::Readd {
        event_loop.data().left = count;
        event_loop.run()?;
        return Ok(());
    }
    let mut done = 0;
    while done < count {
        for &id in ids {
            event_loop.disable(id);
            event_loop.enable(id)?;
        }
        done += ids.len() as u64;
        event_loop.run_nonblocking()?;
    }
    Ok(())
}

fn converse(mode: Mode, pipes: usize, active: usize) -> Outcome {
    let active = if mode == Mode::Readd { 0 } else { active };
    let (mut event_loop, ids) = make_ring(mode, pipes, active)?;
    for line in io::stdin().lines() {
        let count = line?.trim().parse()?;
        let began = Instant::now();
        window(mode, &mut event_loop, &ids, count)?;
        println!("{}", began.elapsed().as_nanos());
    }
    Ok(())
}

/// splitmix64, as in `bench/c/subject.h`.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Creates (armed for later), adds again, and fires when all are overdue: nanoseconds per timer, how many fired, how
/// many out of order.
fn timers(count: usize) -> Outcome {
    let mut random = count as u64;
    let deadline = |_| Duration::from_micros(500_000 + next_random(&mut random) % 2_000_000);
    let delays: Vec<Duration> = (0..count).map(deadline).collect();
    // Touched beforehand, so that the pages are there.
    let mut event_loop = EventLoop::with_data(vec![u32::MAX; count])?;
    event_loop.data().clear();
    let mut ids = Vec::with_capacity(count);
    let began = Instant::now();
    for at in 0..count as u32 {
        let id = event_loop.timer(Duration::from_secs(3600), move |ctx: &mut Context<Vec<u32>>| {
            ctx.data().push(at);
            Next::Keep
        });
        ids.push(id);
    }
    let created = Instant::now();
    // All have been armed at once, so that nothing has to grow any more.
    for id in &ids {
        event_loop.disable(*id);
    }
    let began_adding = Instant::now();
    for (id, delay) in ids.iter().zip(&delays) {
        event_loop.set_timeout(*id, *delay)?;
    }
    let added = Instant::now();
    while added.elapsed() < Duration::from_millis(2600) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let all_due = Instant::now();
    event_loop.run()?;
    let done = Instant::now();
    let fired = event_loop.into_data();
    let disorder =
        fired.windows(2).filter(|pair| delays[pair[1] as usize] < delays[pair[0] as usize]).count();
    let (create, add, fire) =
        (each(began, created, count), each(began_adding, added, count), each(all_due, done, count));
    println!("{create:.1} {add:.1} {fire:.1} {} {disorder}", fired.len());
    Ok(())
}

/// Counts the bytes the allocator has given out and not got back.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call goes on to `System` as it came; the counter touches no memory of the allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        LIVE.fetch_add(new_size as isize - layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counted page by page; `statm` lags behind by up to 32 pages for each CPU.
fn resident_bytes() -> Outcome<f64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("smaps_rollup has Rss")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
}

/// Bytes from the allocator and resident, per idle event, each on a descriptor of its own.
fn memory(count: usize) -> Outcome {
    let mut event_loop = EventLoop::new()?;
    let (reader, _writer) = io::pipe()?;
    let copies: Vec<PipeReader> = (0..count).map(|_| reader.try_clone()).collect::<Result<_, _>>()?;
    let mut copies = copies.into_iter();
    let (heap, resident) = (LIVE.load(Ordering::Relaxed), resident_bytes()?);
    for copy in copies.by_ref() {
        event_loop.register(copy, Interest::READ, |_, reader: &PipeReader, _| {
            black_box(reader);
            Next::Keep
        })?;
    }
    event_loop.run_nonblocking()?;
    let heap = (LIVE.load(Ordering::Relaxed) - heap) as f64;
    let resident = resident_bytes()? - resident;
    println!("{:.1} {:.1}", heap / count as f64, resident / count as f64);
    Ok(())
}

/// TCP connections over the loopback device, both ends.
fn connections(count: usize) -> Outcome<Vec<[TcpStream; 2]>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let connection = |_| {
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (two, _) = listener.accept()?;
        one.set_nodelay(true)?;
        two.set_nodelay(true)?;
        Ok([one, two])
    };
    (0..count).map(connection).collect()
}

/// Streams at both ends of connections, with a message going to and fro in the first `active` ones.
fn make_streams(pairs: usize, active: usize, bytes: usize) -> Outcome<EventLoop<Ring>> {
    let mut event_loop = EventLoop::with_data(Ring::default())?;
    let message = vec![7; bytes];
    for (at, [mut one, two]) in connections(pairs)?.into_iter().enumerate() {
        if at < active {
            one.write_all(&message)?;
        }
        for socket in [one, two] {
            event_loop.stream(socket, StreamOptions::new(), pass_back)?;
        }
    }
    Ok(event_loop)
}

fn pass_back(ctx: &mut Context<Ring>, stream: &mut Stream<'_>, event: StreamEvent) {
    if event == StreamEvent::Read {
        stream.echo();
        let ring = ctx.data();
        ring.left -= 1;
        if ring.left == 0 {
            ctx.break_now();
        }
    }
}

fn converse_by_streams(pairs: usize, active: usize, bytes: usize) -> Outcome {
    let mut event_loop = make_streams(pairs, active, bytes)?;
    for line in io::stdin().lines() {
        event_loop.data().left = line?.trim().parse()?;
        let began = Instant::now();
        event_loop.run()?;
        println!("{}", began.elapsed().as_nanos());
    }
    Ok(())
}

/// As `memory`, per idle stream.
fn stream_memory(count: usize) -> Outcome {
    let mut event_loop = EventLoop::with_data(Ring::default())?;
    let mut sockets = connections(count.div_ceil(2))?.into_iter().flatten();
    let (heap, resident) = (LIVE.load(Ordering::Relaxed), resident_bytes()?);
    for socket in sockets.by_ref().take(count) {
        event_loop.stream(socket, StreamOptions::new(), pass_back)?;
    }
    event_loop.run_nonblocking()?;
    let heap = (LIVE.load(Ordering::Relaxed) - heap) as f64;
    let resident = resident_bytes()? - resident;
    println!("{:.1} {:.1}", heap / count as f64, resident / count as f64);
    Ok(())
}

/// Wall time of making a stream and of removing it (which closes its socket), in nanoseconds each.
fn stream_life(count: usize) -> Outcome {
    let mut event_loop = EventLoop::with_data(Ring::default())?;
    let sockets: Vec<TcpStream> = connections(count.div_ceil(2))?.into_iter().flatten().take(count).collect();
    let mut ids = Vec::with_capacity(count);
    let began = Instant::now();
    for socket in sockets {
        ids.push(event_loop.stream(socket, StreamOptions::new(), pass_back)?);
    }
    let made = Instant::now();
    for id in ids {
        event_loop.remove(id);
    }
    println!("{:.1} {:.1}", each(began, made, count), each(made, Instant::now(), count));
    Ok(())
}

fn each(from: Instant, to: Instant, count: usize) -> f64 {
    (to - from).as_nanos() as f64 / count as f64
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mode = match arguments[..] {
        ["timers", count] => return timers(count.parse()?),
        ["memory", count] => return memory(count.parse()?),
        ["stream-life", count] => return stream_life(count.parse()?),
        ["stream-memory", count] => return stream_memory(count.parse()?),
        ["stream", pairs, active, bytes] => {
            return converse_by_streams(pairs.parse()?, active.parse()?, bytes.parse()?);
        }
        ["persistent", ..] => Mode::Persistent,
        ["rearm", ..] => Mode::Rearm,
        ["rearm-oneshot", ..] => Mode::OneShot,
        ["readd", ..] => Mode::Readd,
        _ => {
            return Err(
                "usage: persistent|rearm|rearm-oneshot|readd PIPES ACTIVE, stream PAIRS ACTIVE BYTES, \
                        timers|memory|stream-memory|stream-life N"
                    .into(),
            );
        }
    };
    match arguments[1..] {
        [pipes, active] => converse(mode, pipes.parse()?, active.parse()?),
        _ => Err("needs PIPES and ACTIVE".into()),
    }
}
