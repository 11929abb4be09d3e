//! What it costs to pass bytes from one TCP socket to another: spliced where it pays, and always copied, in windows by
//! turns. CPU of the loop's thread for each MiB, from /proc/thread-self/schedstat.
//!
//! `relay BYTES-A-WRITE WINDOWS`

use duolu::{Config, Context, EventId, EventLoop, SpliceOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel has it");
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("nanoseconds")
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let one = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    let (two, _) = listener.accept().expect("it connects");
    one.set_nodelay(true).expect("a socket");
    two.set_nodelay(true).expect("a socket");
    (one, two)
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
        while let Ok(got) = receiver.read(&mut into) {
            if got == 0 {
                break;
            }
            count.fetch_add(got as u64, Ordering::Relaxed);
        }
    });
    Line { event_loop, _id: id, received }
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let (bytes, windows) = (arguments.next().unwrap_or(65536), arguments.next().unwrap_or(12));
    let mut costs = [Vec::new(), Vec::new()];
    for window in 0..windows {
        let which = window % 2;
        let options = if which == 0 { SpliceOptions::new() } else { SpliceOptions::new().copies() };
        let mut line = line(bytes, options);
        line.event_loop.run_for(Duration::from_millis(200)).expect("turns");
        let before = (cpu_ns(), line.received.load(Ordering::Relaxed));
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(1) {
            line.event_loop.run_once().expect("a turn");
        }
        let after = (cpu_ns(), line.received.load(Ordering::Relaxed));
        let mib = (after.1 - before.1) as f64 / (1 << 20) as f64;
        costs[which].push((after.0 - before.0) as f64 / 1000.0 / mib);
    }
    for (name, costs) in ["spliced where it pays", "always copied"].into_iter().zip(&mut costs) {
        costs.sort_by(f64::total_cmp);
        let middle = costs[costs.len() / 2];
        println!(
            "{bytes:>6} B a write, {name:<22} {middle:8.1} us/MiB  ({:.1} to {:.1})",
            costs[0],
            costs[costs.len() - 1]
        );
    }
}
