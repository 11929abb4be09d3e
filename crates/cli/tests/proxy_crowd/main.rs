//! A crowd through the proxy: of every hundred connections ten read slowly and five never read, for a while; then all of
//! them read to the end. Nothing may be lost, the proxy's memory is bounded by its watermarks, and afterwards it is back
//! where it began. Loader (this program), proxy and upstream are processes of their own. In both forms of the proxy, one after
//! the other: joined sockets, as nothing looks at the bytes, and streams, through memory.
//!
//! Here a thousand for a few seconds; `make proxy-crowd` has 15,000 for a minute (`DUOLU_CROWD`, `DUOLU_CROWD_HOLD`).

#[path = "../serve/server.rs"]
#[allow(dead_code, reason = "each test program takes what it needs")]
mod server;

mod crowd;

use crowd::{Crowd, Totals};
use server::{Server, eventually};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// What may wait in the proxy for one direction of a connection: `--buffer`, and one read beyond it.
const WAITING: u64 = 2 * 64 * 1024;
/// What a connection costs the proxy beside that: two streams, their handlers and rules.
const CONNECTION: u64 = 2048;
/// What stays: the pool of a loop's blocks (1 MiB), and its tables, which never shrink: 160 bytes for each of the two
/// events of a connection.
const POOL: u64 = 3 * MIB / 2;
const TABLES: u64 = 320;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable)
        .map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}: a number")))
}

/// A network of our own, in which the kernel takes little: so the watermarks are what holds the bytes, and not the 10 MiB
/// that the kernel may have on the way of each connection.
fn enter_a_network_of_small_buffers() {
    duolu_sys::netns::enter_next_network()
        .expect("only root can make a network; DUOLU_TEST_NO_ROOT=1 does without");
    for (name, value) in [
        ("tcp_rmem", "4096 32768 65536"),
        ("tcp_wmem", "4096 16384 32768"),
        ("ip_local_port_range", "1024 65535"),
    ] {
        std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

/// A process has descriptors for one of them.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn nothing_is_lost_and_memory_is_bounded() {
    crowd_through(&[]);
}

/// A pipe would hold more than is allowed here. (A rate would do as well, but costs each connection memory of its own.)
#[test]
fn nothing_is_lost_and_memory_is_bounded_through_memory() {
    crowd_through(&["--buffer", "63KiB"]);
}

fn crowd_through(form: &[&str]) {
    let _alone = ALONE.lock();
    if server::told_to_do_without("DUOLU_TEST_NO_ROOT") {
        return;
    }
    enter_a_network_of_small_buffers();
    let connections = number("DUOLU_CROWD", 1000);
    let hold = Duration::from_secs(number("DUOLU_CROWD_HOLD", 5));
    let most = (connections + 100).to_string();
    let echo = Server::start("echo", "epoll-lt", &["-q", "--max-connections", &most]);
    let to = echo.address.to_string();
    let arguments = ["--to", &to, "--processes", "--max-connections", &most, "--admin", "0"];
    let proxy = Server::start("proxy", "epoll-lt", &[&arguments, form].concat());
    let workers = proxy.ready["workers"].as_u64().expect("a number");
    let memory = Memory { pids: [vec![proxy.pid()], proxy.children()].concat() };
    let (before, kernel_before, cpu_before) = (memory.bytes(), kernel_bytes(), memory.cpu_ms());

    let samples = Mutex::new((0, 0));
    let over = AtomicBool::new(false);
    let (totals, took) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let (own, kernel) = (memory.bytes(), kernel_bytes());
                let mut samples = samples.lock().unwrap();
                *samples = (samples.0.max(own), samples.1.max(kernel));
                drop(samples);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let start = Instant::now();
        let outcome = std::panic::catch_unwind(|| Crowd::run(proxy.address, connections, hold));
        over.store(true, Ordering::Relaxed);
        let totals = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (totals, start.elapsed())
    });
    let (peak, kernel_peak) = *samples.lock().unwrap();
    eventually("every connection is closed", || (open(proxy.admin()) == 0).then_some(()));
    let allowed_after = before + workers * POOL + connections * TABLES;
    let after = {
        let until = Instant::now() + Duration::from_secs(10);
        while memory.bytes() > allowed_after && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
        }
        memory.bytes()
    };

    let Totals { messages, bytes, blocked_bytes, readers, .. } = totals;
    let (slow, never) = (readers.slow, readers.never);
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    eprintln!(
        "{form:?}: {connections} connections for {hold:?} ({slow} slow readers, {never} that never read), {workers} proxy \
         processes; {:.1} s in all\n  echoed and compared: {:.1} MiB, of which {messages} messages of 1 KiB; never read until \
         the end: {:.1} MiB\n  the proxy's own memory: {:.1} MiB before, {:.1} at most, {:.1} after\n  the kernel's for TCP on \
         this machine: {:.1} MiB before, {:.1} at most\n  the proxy's CPU: {} ms",
        took.as_secs_f64(),
        mib(bytes),
        mib(blocked_bytes),
        mib(before),
        mib(peak),
        mib(after),
        mib(kernel_before),
        mib(kernel_peak),
        memory.cpu_ms() - cpu_before,
    );
    let allowed = before + workers * POOL + (slow + never) * 2 * WAITING + connections * CONNECTION;
    assert!(peak <= allowed, "{peak} bytes at most, {allowed} by the watermarks");
    assert!(
        blocked_bytes > never * WAITING,
        "those who never read had the watermarks reached: {blocked_bytes} bytes"
    );
    assert!(after <= allowed_after, "{after} bytes afterwards, {before} before");
}

/// Connections that the proxy has open.
fn open(admin: SocketAddr) -> u64 {
    use std::io::{Read, Write};
    let mut stream = server::connect(admin);
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("duolu_connections_open "));
    line.and_then(|number| number.parse().ok()).expect("a number")
}

/// A family of processes.
struct Memory {
    pids: Vec<u32>,
}

impl Memory {
    /// Their own resident memory: without the pages of the program, of which more are read in as it does more.
    fn bytes(&self) -> u64 {
        let of = |pid: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("its size");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
        };
        self.pids.iter().map(of).sum()
    }

    /// The processor time they have used.
    fn cpu_ms(&self) -> u64 {
        let of = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("its state");
            let fields: Vec<&str> =
                stat.rsplit_once(')').expect("a name").1.split_ascii_whitespace().collect();
            let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
            (ticks(11) + ticks(12)) * 10
        };
        self.pids.iter().map(of).sum()
    }
}

/// What the kernel has for TCP, of everybody on this machine.
fn kernel_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages = line.rsplit_once("mem ").and_then(|(_, pages)| pages.trim().parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
