//! Traps that event loops are known to fall into, one file each, on every backend, through the Rust face.
//!
//! Each trap runs in a process of its own with one thread: some fork, some lower the descriptor limit, and all
//! may count on the numbers of descriptors. A trap that takes longer than a minute has caught its prey and
//! is ended. `cargo test -p duolu --test traps -- fork` runs those whose name contains "fork".
//! Where io_uring cannot be had, DUOLU_TEST_NO_URING=1 leaves it out.

use duolu::{BackendKind, Config, EventLoop};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

macro_rules! traps {
    ($($name:ident: $path:literal,)*) => {
        $(#[path = $path] mod $name;)*
        const TRAPS: &[(&str, fn(BackendKind))] = &[$((stringify!($name), $name::trap)),*];
    };
}

traps! {
    clock_jump: "traps/clock_jump.rs",
    deleted_timer: "traps/deleted_timer.rs",
    duplicate: "traps/duplicate.rs",
    emfile: "traps/emfile.rs",
    fork: "traps/fork.rs",
    fork_streams: "traps/fork_streams.rs",
    hangup: "traps/hangup.rs",
    no_pipe: "traps/no_pipe.rs",
    past_1024: "traps/past_1024.rs",
    regular_file: "traps/regular_file.rs",
    removed_event: "traps/removed_event.rs",
    reused_number: "traps/reused_number.rs",
    rounding: "traps/rounding.rs",
    sigpipe: "traps/sigpipe.rs",
}

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// A loop on exactly that backend.
fn loop_on<D: 'static>(kind: BackendKind, data: D) -> EventLoop<D> {
    let mut event_loop = Config::new().backend(kind).build(data).expect("a loop");
    assert_eq!(event_loop.fallback(), None);
    assert_eq!(event_loop.backend_name(), kind.name());
    event_loop
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().expect("a socket pair");
    a.set_nonblocking(true).expect("non-blocking");
    b.set_nonblocking(true).expect("non-blocking");
    (a, b)
}

fn drain(mut stream: &UnixStream) -> usize {
    stream.read(&mut [0; 4096]).unwrap_or(0)
}

/// Runs the loop for some 20 ms in which nothing is to happen: it must sleep through them, not spin.
fn sleeps_through<D: 'static>(event_loop: &mut EventLoop<D>) {
    let before = event_loop.stats();
    let end = Instant::now() + 20 * MS;
    while Instant::now() < end {
        event_loop.run_for(10 * MS).expect("a turn");
    }
    let after = event_loop.stats();
    let waits = after.engine.waits - before.engine.waits;
    assert!(waits <= 6, "{waits} waits in 20 ms of nothing");
    assert_eq!(after.callbacks, before.callbacks, "called for nothing");
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, backend] = arguments.as_slice()
        && flag == "--trap"
    {
        let kind = backend.parse().expect("a backend");
        let (_, trap) = TRAPS.iter().find(|(known, _)| known == name).expect("a trap");
        trap(kind);
        return ExitCode::SUCCESS;
    }
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let (mut run, mut failed) = (0, 0);
    for &(name, _) in TRAPS {
        for kind in BackendKind::ALL {
            let title = format!("{name}::{kind}");
            let left_out = kind == BackendKind::IoUring
                && std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|v| v == "1");
            if left_out || filter.is_some_and(|filter| !title.contains(filter.as_str())) {
                continue;
            }
            run += 1;
            if let Err(why) = run_alone(name, kind) {
                failed += 1;
                println!("trap {title} FAILED: {why}");
            }
        }
    }
    println!("traps: {} of {run} hold", run - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One trap in a process of its own.
fn run_alone(name: &str, kind: BackendKind) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .args(["--trap", name, kind.name()])
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let status = wait(&mut child)?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => return Ok(status),
            None if Instant::now() > end => {
                let _ = child.kill();
                let _ = child.wait();
                return Err("still running after a minute".into());
            }
            None => std::thread::sleep(MS),
        }
    }
}
