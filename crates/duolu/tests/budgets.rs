//! What the loop promises not to cost, counted: no allocation for an event in the steady state, and one system
//! call for a turn. On every backend; io_uring may be left out with DUOLU_TEST_NO_URING=1 where there is none.

use duolu::{BackendKind, Config, Context, EventLoop, Interest, Next, Options};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::process::Command;
use std::time::Duration;

#[path = "budgets/datagrams.rs"]
mod datagrams;
#[path = "budgets/streams.rs"]
mod streams;
#[cfg(feature = "tls")]
#[path = "budgets/tls.rs"]
mod tls;

thread_local! {
    /// Calls of the allocator by this thread: tests that run beside it do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread has asked for and not given back.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn note(bytes: i64) {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        Counting::hold(bytes);
    }
    fn hold(bytes: i64) {
        let _ = HELD.try_with(|held| held.set(held.get() + bytes));
    }
}

// SAFETY: every call goes on to `System` as it came; the counter allocates nothing and touches no memory of the
// allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Counting::note(layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        Counting::hold(-(layout.size() as i64));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        Counting::note(new_size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn kinds() -> impl Iterator<Item = BackendKind> {
    let without_uring = std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1");
    BackendKind::ALL.into_iter().filter(move |kind| *kind != BackendKind::IoUring || !without_uring)
}

fn loop_on<D: 'static>(kind: BackendKind, data: D) -> EventLoop<D> {
    let event_loop = Config::new().backend(kind).build(data).expect("a loop");
    assert_eq!(event_loop.fallback(), None, "{kind} must be available for its budgets");
    event_loop
}

/// Pipes in a ring; every callback takes a byte out of its own and puts it into the next.
#[derive(Default)]
struct Ring {
    writers: Vec<PipeWriter>,
    passed_on: u64,
    timers_fired: u64,
}

const PIPES: usize = 8;

fn ring(kind: BackendKind, options: Options, next: Next) -> EventLoop<Ring> {
    let mut event_loop = loop_on(kind, Ring::default());
    let (readers, writers): (Vec<_>, Vec<_>) = (0..PIPES).map(|_| io::pipe().expect("a pipe")).unzip();
    event_loop.data().writers = writers;
    for (at, reader) in readers.into_iter().enumerate() {
        let callback = move |ctx: &mut Context<Ring>, mut reader: &PipeReader, _| {
            let mut byte = [0];
            reader.read_exact(&mut byte).expect("a byte");
            let ring = ctx.data();
            ring.writers[(at + 1) % PIPES].write_all(&byte).expect("room");
            ring.passed_on += 1;
            next
        };
        event_loop.register(reader, options, callback).expect("a pipe can be watched");
    }
    event_loop
}

fn push_bytes(event_loop: &mut EventLoop<Ring>, bytes: usize) {
    for at in 0..bytes {
        event_loop.data().writers[at * PIPES / bytes].write_all(b"x").expect("room");
    }
}

fn turns(event_loop: &mut EventLoop<impl Sized + 'static>, count: usize) {
    for _ in 0..count {
        event_loop.run_once().expect("a turn");
    }
}

/// What `turns` allocate after a warm-up in which everything has grown to its size.
fn assert_no_allocation(event_loop: &mut EventLoop<Ring>, what: &str) {
    turns(event_loop, 1000);
    let before = event_loop.data().passed_on;
    let allocated = allocations_in(|| turns(event_loop, 4000));
    let kind = event_loop.backend_name();
    assert!(event_loop.data().passed_on >= before + 4000, "{kind}, {what}: the ring stands still");
    assert_eq!(allocated, 0, "{kind}, {what}: allocations in 4,000 turns");
}

#[test]
fn an_event_allocates_nothing() {
    for kind in kinds() {
        let level = Options::new(Interest::READ);
        for (what, options, next) in [
            ("persistent", level, Next::Keep),
            ("re-armed in its callback", level.once(), Next::again()),
            ("re-armed with another interest", level.once(), Next::interest(Interest::READ)),
            ("one-shot", level.one_shot(), Next::again()),
            ("with a timeout that starts anew", level.timeout(Duration::from_secs(9)), Next::Keep),
        ] {
            let mut event_loop = ring(kind, options, next);
            push_bytes(&mut event_loop, 3);
            assert_no_allocation(&mut event_loop, what);
        }
    }
}

#[test]
fn a_timer_that_goes_on_allocates_nothing() {
    for kind in kinds() {
        let mut event_loop = ring(kind, Options::new(Interest::READ), Next::Keep);
        push_bytes(&mut event_loop, 2);
        event_loop.every(Duration::from_micros(300), |ctx| {
            ctx.data().timers_fired += 1;
            Next::Keep
        });
        let rearmed = event_loop.timer(Duration::from_micros(50), |ctx| {
            ctx.data().timers_fired += 1;
            Next::after(Duration::from_micros(50))
        });
        let queue = event_loop.common_timeout(Duration::from_micros(200)).expect("the first of 256");
        event_loop.timer(queue, move |_| Next::after(queue));
        let pushed_off = event_loop.timer(Duration::from_secs(5), |_| Next::Keep);
        // Both structures of the current tick grow to their size: as many cancelled timers as lie there at most.
        for _ in 0..200 {
            event_loop.set_timeout(rearmed, Duration::from_micros(50)).expect("a timer");
        }
        event_loop.on_prepare(move |ctx| {
            ctx.set_timeout(pushed_off, Duration::from_secs(5)).expect("a timer");
        });
        assert_no_allocation(&mut event_loop, "timers re-armed, and a hook");
        assert!(event_loop.data().timers_fired > 5, "{kind}: the timers stand still");
    }
}

#[test]
fn what_is_switched_off_and_on_allocates_nothing() {
    for kind in kinds() {
        let mut event_loop = ring(kind, Options::new(Interest::READ), Next::Keep);
        push_bytes(&mut event_loop, 1);
        let (reader, _writer) = io::pipe().expect("a pipe");
        let id = event_loop.register(reader, Interest::READ, |_, _, _| Next::Keep).expect("a pipe");
        let user = event_loop.user_event(|_, _| Next::Keep);
        let mut switch = |count| {
            for _ in 0..count {
                assert!(event_loop.disable(id));
                event_loop.enable(id).expect("it may be added again");
                event_loop.activate(user, duolu::Ready::USER);
                event_loop.run_once().expect("a turn");
            }
        };
        switch(100);
        assert_eq!(allocations_in(|| switch(2000)), 0, "{kind}");
    }
}

/// `Handle::post` says: one allocation, the callback's box; nothing for a callback that captures nothing.
#[test]
fn a_post_allocates_its_box_and_no_more() {
    for kind in kinds() {
        let mut event_loop = loop_on(kind, 0u64);
        let handle = event_loop.handle();
        let mut batch = |posts: u64| {
            for number in 0..posts {
                handle.post(move |ctx| *ctx.data() += number + 1).expect("the loop is there");
            }
            event_loop.run_once().expect("a turn");
        };
        // Two queues change places; each grows once.
        (0..2).for_each(|_| batch(40));
        assert_eq!(allocations_in(|| (0..100).for_each(|_| batch(40))), 100 * 40, "{kind}");
        let mut empty = || {
            handle.post(|ctx| *ctx.data() = 0).expect("the loop is there");
            event_loop.run_once().expect("a turn");
        };
        assert_eq!(allocations_in(|| (0..100).for_each(|_| empty())), 0, "{kind}, nothing captured");
        assert_eq!(*event_loop.data(), 0);
    }
}

const TURNS: usize = 64;
const CHILD: &str = "DUOLU_BUDGET_CHILD";

/// System calls by name.
type Calls = BTreeMap<String, usize>;

/// The quiet situations: what is set up, and what TURNS turns of it may ask of the kernel beside waiting.
const SITUATIONS: [(&str, &[&str]); 8] = [
    ("a timer and a silent pipe", &[]),
    ("a pipe that stays readable", &[]),
    ("nothing due, asked without waiting", &[]),
    ("a byte going round", &["read", "write"]),
    ("a byte going round, re-armed", &["read", "write"]),
    ("switched off and on", &[]),
    (streams::SITUATION, &["recvfrom", "sendto"]),
    (datagrams::SITUATION, &["recvmmsg", "sendmmsg"]),
];

fn child_turns(kind: BackendKind, situation: &str) {
    let level = Options::new(Interest::READ);
    let mut event_loop = match situation {
        datagrams::SITUATION => datagrams::round_and_round(loop_on(kind, Ring::default())),
        streams::SITUATION => streams::ping_pong(loop_on(kind, Ring::default())),
        streams::BY_COMPLETIONS => streams::ping_pong(streams::completing()),
        "a byte going round, re-armed" => ring(kind, level.once(), Next::again()),
        "a pipe that stays readable" => loop_on(kind, Ring::default()),
        _ => ring(kind, level, Next::Keep),
    };
    if situation.starts_with("a byte") {
        push_bytes(&mut event_loop, 1);
    }
    let (reader, mut writer) = io::pipe().expect("a pipe");
    let id = event_loop.register(reader, level, |_, _, _| Next::Keep).expect("a pipe");
    match situation {
        "a timer and a silent pipe" => {
            event_loop.every(Duration::from_millis(1), |_| Next::Keep);
        }
        "a pipe that stays readable" => writer.write_all(b"x").expect("room"),
        _ => {}
    }
    let mut turn = || match situation {
        "nothing due, asked without waiting" => event_loop.run_nonblocking().expect("a turn"),
        "switched off and on" => {
            event_loop.disable(id);
            event_loop.enable(id).expect("it may be added again");
            event_loop.run_nonblocking().expect("a turn");
        }
        _ => event_loop.run_once().expect("a turn"),
    };
    (0..3).for_each(|_| turn());
    let mut marker = File::options().write(true).open("/dev/null").expect("/dev/null");
    marker.write_all(b"budget begins").expect("a marker");
    (0..TURNS).for_each(|_| turn());
    marker.write_all(b"budget ends").expect("a marker");
    if situation == streams::BY_COMPLETIONS {
        let passed_on = event_loop.data().passed_on;
        assert!(passed_on >= TURNS as u64 / 2, "{passed_on} messages in {TURNS} turns");
    }
    drop(writer);
}

/// Not a test of its own: what runs under strace.
#[test]
#[ignore = "run by one_system_call_a_turn, under strace"]
fn child() {
    let task = std::env::var(CHILD).expect("a backend and a situation");
    let (kind, situation) = task.split_once(' ').expect("a backend and a situation");
    child_turns(kind.parse().expect("a backend's name"), situation);
}

fn strace(kind: BackendKind, situation: &str) -> Calls {
    let directory = std::env::temp_dir();
    let slug = situation.replace([' ', ','], "-");
    let trace = directory.join(format!("duolu-budget-{}-{kind}-{slug}", std::process::id()));
    let this = std::env::current_exe().expect("this test");
    let ran = Command::new("strace")
        .args(["-f", "-qq", "--signal=none", "-o"])
        .arg(&trace)
        .arg(this)
        .args(["--exact", "child", "--ignored", "--test-threads=1"])
        .env(CHILD, format!("{kind} {situation}"))
        .output();
    let ran = match ran {
        Ok(ran) => ran,
        Err(error) => panic!("strace, which counts the system calls, does not run: {error}; install strace"),
    };
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{kind}, {situation}: {said}");
    let lines = std::fs::read_to_string(&trace).expect("strace's output");
    std::fs::remove_file(&trace).expect("strace's output");
    calls_between_markers(&lines).unwrap_or_else(|| panic!("{kind}, {situation}: no markers in\n{lines}"))
}

/// What the thread that wrote the markers asked of the kernel in between.
fn calls_between_markers(lines: &str) -> Option<Calls> {
    let calls = || lines.lines().filter_map(|line| line.split_once(' ')).map(|(id, call)| (id, call.trim()));
    let (thread, _) = calls().find(|(_, call)| call.contains("\"budget begins\""))?;
    let own = calls().filter(|(id, _)| *id == thread).map(|(_, call)| call);
    let mut inside = own.skip_while(|call| !call.contains("\"budget begins\"")).skip(1);
    let mut counted = Calls::new();
    for call in inside.by_ref() {
        if call.contains("\"budget ends\"") {
            return Some(counted);
        }
        // The second half of a call that another thread's line cut in two is no call.
        if let Some((name, _)) = call.split_once('(').filter(|_| !call.starts_with("<...")) {
            *counted.entry(name.to_owned()).or_default() += 1;
        }
    }
    None
}

/// Time is asked of the vdso, which is no system call; where the kernel has no clock that the vdso can
/// read, these lines would show clock_gettime, and the test would rightly say so.
#[test]
fn one_system_call_a_turn() {
    for kind in kinds() {
        if kind == BackendKind::IoUring {
            let expected = Calls::from([("io_uring_enter".to_owned(), TURNS)]);
            assert_eq!(strace(kind, streams::BY_COMPLETIONS), expected, "both ways ride on the wait");
        }
        for (situation, beside) in SITUATIONS {
            let wait = match kind {
                BackendKind::Select => "pselect6",
                BackendKind::Poll => "ppoll",
                BackendKind::Epoll if situation.contains("timer") => "epoll_pwait2",
                BackendKind::Epoll if cfg!(target_arch = "x86_64") => "epoll_wait",
                BackendKind::Epoll => "epoll_pwait", // what there is elsewhere
                BackendKind::IoUring => "io_uring_enter",
            };
            let expected: Calls =
                beside.iter().chain([&wait]).map(|name| ((*name).to_owned(), TURNS)).collect();
            let mut calls = strace(kind, situation);
            // On a busy machine the timer is due before it is waited for, and a look needs no nanoseconds.
            for look in ["epoll_wait", "epoll_pwait"].into_iter().filter(|look| *look != wait) {
                let looks = calls.remove(look).unwrap_or(0);
                calls.entry(wait.to_owned()).and_modify(|waits| *waits += looks);
            }
            assert_eq!(calls, expected, "{kind}, {situation}: calls in {TURNS} turns");
        }
    }
}
