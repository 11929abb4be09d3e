//! What it costs to pass bytes from one TCP socket to another, spliced and copied, by turns. Two tables:
//!
//! - one piece at a time, from a sender that waits for it: where splicing begins to pay, for the thresholds of
//!   `duolu_core::stream::Relay`;
//! - a stream without end through `Context::splice` as it is, and with `SpliceOptions::copies`: what a MiB costs.
//!
//! CPU time of the thread that passes on, and nobody else's. `duolu-bench-relay [ROUNDS] [WINDOWS]`

use duolu::buffer::{Buffer, Pool};
use duolu::{Config, Context, EventId, EventLoop, SpliceOptions};
use duolu_sys::splice::Pipe;
use duolu_sys::transfer::{Kind, read_into, write_from};
use rustix::time::{ClockId, clock_gettime};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// As the relay has it.
const COPY_AT_ONCE: usize = 16 * 1024;
const SPLICE_AT_ONCE: usize = 64 * 1024;
const WINDOW: Duration = Duration::from_millis(300);

/// User and system time of this thread.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (two, _) = listener.accept().expect("it connects");
    one.set_nodelay(true).expect("a socket");
    two.set_nodelay(true).expect("a socket");
    (one, two)
}

/// Lowest quartile, median, highest.
fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|part| values[(values.len() * part / 4).min(values.len() - 1)])
}

/// sender -> from, to -> receiver, all ends in this thread.
struct Way {
    sender: TcpStream,
    from: TcpStream,
    to: TcpStream,
    receiver: TcpStream,
    pipe: Pipe,
    pool: Pool,
}

impl Way {
    fn new() -> Self {
        let ((sender, from), (to, receiver)) = (pair(), pair());
        from.set_nonblocking(true).expect("a socket");
        to.set_nonblocking(true).expect("a socket");
        Way {
            sender,
            from,
            to,
            receiver,
            pipe: Pipe::new().expect("two descriptors"),
            pool: Pool::new(32 * 1024, 4),
        }
    }

    /// What it costs to pass on so many bytes that are there, in ns.
    fn pass(&mut self, bytes: &mut [u8], spliced: bool) -> f64 {
        self.sender.write_all(bytes).expect("there is room");
        // Until all of it is there, which it is at once but for a machine that is busy elsewhere.
        while rustix::io::ioctl_fionread(&self.from).ok() != Some(bytes.len() as u64) {
            std::thread::yield_now();
        }
        let (mut passed, before) = (0, cpu_ns());
        while passed < bytes.len() {
            passed += if spliced { self.splice() } else { self.copy() };
        }
        let took = cpu_ns() - before;
        self.receiver.read_exact(bytes).expect("all of it");
        took
    }

    fn splice(&mut self) -> usize {
        let moved = self.pipe.fill(self.from.as_raw_fd(), SPLICE_AT_ONCE).bytes;
        while self.pipe.held() > 0 {
            self.pipe.drain(self.to.as_raw_fd());
        }
        moved
    }

    fn copy(&mut self) -> usize {
        let mut buffer = Buffer::new();
        let moved = read_into(&self.from, Kind::Socket, &mut buffer, &mut self.pool, COPY_AT_ONCE).bytes;
        while !buffer.is_empty() {
            write_from(&self.to, Kind::Socket, &mut buffer, &mut self.pool, usize::MAX);
        }
        moved
    }
}

/// A piece spliced, copied, and copied once more, in an order that turns.
fn pieces(rounds: usize) {
    println!("| a piece, KiB | copied, us | spliced, us | spliced against copied | copied against itself |");
    println!("|---|---|---|---|---|");
    for kib in [1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64] {
        let mut bytes = vec![7; kib * 1024];
        let mut way = Way::new();
        for spliced in [true, false].repeat(50) {
            way.pass(&mut bytes, spliced);
        }
        let Compared { copied, spliced, ratio, null } =
            by_turns(rounds, |splices| way.pass(&mut bytes, splices));
        println!("| {kib} | {:.1} | {:.1} | {ratio} | {null} |", copied / 1000.0, spliced / 1000.0);
    }
}

/// Medians, and what splicing costs against copying, and copying against itself: median with quartiles.
struct Compared {
    copied: f64,
    spliced: f64,
    ratio: String,
    null: String,
}

/// Copies, copies and splices by turns, so many rounds; who begins changes with each.
fn by_turns(rounds: usize, mut cost: impl FnMut(bool) -> f64) -> Compared {
    let mut costs = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..3 {
            let which = (round + turn) % 3;
            costs[which].push(cost(which == 2));
        }
    }
    let against = |one: usize| {
        let mut ratios: Vec<f64> = costs[one].iter().zip(&costs[0]).map(|(one, base)| one / base).collect();
        let [low, middle, high] = quartiles(&mut ratios);
        format!("{middle:.2} ({low:.2} to {high:.2})")
    };
    let (ratio, null) = (against(2), against(1));
    let [copied, spliced] = [0, 2].map(|which: usize| quartiles(&mut costs[which].clone())[1]);
    Compared { copied, spliced, ratio, null }
}

/// A sender and a receiver, each a thread, with a relay between them.
struct Line {
    event_loop: EventLoop,
    _id: EventId,
    received: Arc<AtomicU64>,
}

fn line(bytes: usize, options: SpliceOptions) -> Line {
    let ((mut sender, one), (two, mut receiver)) = (pair(), pair());
    let mut event_loop = Config::new().build(()).expect("a loop");
    let id = event_loop.splice(one, two, options, |_: &mut Context, _| {}).expect("two sockets");
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    std::thread::spawn(move || {
        let message = vec![7; bytes];
        while sender.write_all(&message).is_ok() {}
    });
    std::thread::spawn(move || {
        let mut into = vec![0; 256 * 1024];
        while let Ok(got @ 1..) = receiver.read(&mut into) {
            count.fetch_add(got as u64, Ordering::Relaxed);
        }
    });
    Line { event_loop, _id: id, received }
}

/// Microseconds of CPU for each MiB, in a window.
fn window(bytes: usize, options: SpliceOptions) -> f64 {
    let mut line = line(bytes, options);
    line.event_loop.run_for(WINDOW / 3).expect("turns");
    let (cpu_before, before) = (cpu_ns(), line.received.load(Ordering::Relaxed));
    let began = Instant::now();
    while began.elapsed() < WINDOW {
        line.event_loop.run_once().expect("a turn");
    }
    let mib = (line.received.load(Ordering::Relaxed) - before) as f64 / (1 << 20) as f64;
    (cpu_ns() - cpu_before) / 1000.0 / mib
}

fn streams(windows: usize) {
    println!(
        "\n| bytes a write | copied, us a MiB | as it is, us a MiB | against copied | copied against itself |"
    );
    println!("|---|---|---|---|---|");
    for bytes in [64, 1024, 4096, 16 * 1024, 64 * 1024] {
        let Compared { copied, spliced, ratio, null } = by_turns(windows, |splices| {
            let options = SpliceOptions::new();
            window(bytes, if splices { options } else { options.copies() })
        });
        println!("| {bytes} | {copied:.0} | {spliced:.0} | {ratio} | {null} |");
    }
}

/// Rounds of pieces (600), windows of streams (12); 0 leaves a table out.
fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let (rounds, windows) = (arguments.next().unwrap_or(600), arguments.next().unwrap_or(12));
    if rounds > 0 {
        pieces(rounds);
    }
    if windows > 0 {
        streams(windows);
    }
}
