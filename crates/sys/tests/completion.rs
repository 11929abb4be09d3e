//! Completion I/O against real connections on loopback. Where io_uring is not available these tests fail,
//! unless DUOLU_TEST_NO_URING=1 says that this is known.

use duolu_core::completion::{Completion, ConnId, Report};
use duolu_sys::Waker;
use duolu_sys::completion::{Config, Counters, Uring};
use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SECOND_NS: u64 = 1_000_000_000;
/// Nothing here should take this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn skipped() -> bool {
    std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1")
}

fn uring(config: Config) -> Uring {
    match Uring::new(config) {
        Ok(uring) => uring,
        Err(e) => panic!("{e} (where that is known, set DUOLU_TEST_NO_URING=1)"),
    }
}

/// Every mixture of what a kernel may refuse.
fn mixtures() -> Vec<(&'static str, Config)> {
    let all = Config::default();
    vec![
        ("all", all.clone()),
        ("plain descriptors", Config { direct: false, ..all.clone() }),
        ("visible sends", Config { skip_sends: false, ..all.clone() }),
        ("whole buffers", Config { incremental: false, ..all.clone() }),
        ("nothing", Config { direct: false, skip_sends: false, defer: false, incremental: false, ..all }),
    ]
}

#[derive(Default)]
struct Watched {
    live: AtomicUsize,
    closed: AtomicU64,
    most_pending: AtomicUsize,
    pauses: AtomicU64,
    stop: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
enum Policy {
    /// Sends what comes, straight from the receive buffer.
    Echo,
    /// Sends a copy of what comes.
    Copy,
}

struct Server {
    address: SocketAddr,
    waker: Arc<Waker>,
    watched: Arc<Watched>,
    thread: Option<JoinHandle<(Counters, u32)>>,
}

impl Server {
    fn start(config: Config) -> Server {
        Server::with(config, Policy::Echo)
    }

    fn with(config: Config, policy: Policy) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waker = Arc::new(Waker::new().unwrap());
        let watched = Arc::new(Watched::default());
        let thread = std::thread::spawn({
            let (waker, watched) = (Arc::clone(&waker), Arc::clone(&watched));
            move || serve(uring(config), listener, policy, &waker, &watched)
        });
        Server { address, waker, watched, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Waits until the server has no connection any more.
    fn until_empty(&self) {
        let start = Instant::now();
        while self.watched.live.load(Ordering::Acquire) > 0 {
            assert!(start.elapsed() < PATIENCE, "connections are left");
            self.waker.wake();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the server. Its counters, and how many connections it still had.
    fn stop(mut self) -> (Counters, u32) {
        self.watched.stop.store(true, Ordering::Release);
        self.waker.wake();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.watched.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut uring: Uring,
    listener: TcpListener,
    policy: Policy,
    waker: &Waker,
    watched: &Watched,
) -> (Counters, u32) {
    uring.watch(waker.as_fd().try_clone_to_owned().unwrap(), 7).unwrap();
    uring.listen(OwnedFd::from(listener)).unwrap();
    let mut known: HashSet<ConnId> = HashSet::new();
    loop {
        // Without a limit: whoever forgets to wake up is found out.
        uring.wait(None).unwrap();
        while let Some(report) = uring.next_report() {
            match report {
                Report::Accepted { conn, .. } => {
                    assert!(known.insert(conn), "an id came twice");
                    uring.receive(conn);
                }
                Report::Received { conn, chunk } => {
                    assert!(known.contains(&conn), "bytes for a stranger");
                    assert!(!chunk.is_empty());
                    if policy == Policy::Copy {
                        let copy = uring.bytes(chunk).to_vec();
                        let (head, tail) = copy.split_at(copy.len() / 3);
                        uring.send(conn, head);
                        uring.send(conn, tail);
                    } else {
                        uring.send_chunk(conn, chunk);
                    }
                }
                Report::PeerFinished { conn } => {
                    assert!(known.remove(&conn));
                    uring.close(conn);
                    uring.send(conn, b"after the close");
                }
                Report::Failed { conn, .. } => {
                    assert!(known.remove(&conn));
                    uring.close(conn);
                }
                Report::Drained { conn } => assert!(known.contains(&conn)),
                Report::Readable { user: 7 } => {
                    waker.drain();
                    if !watched.stop.load(Ordering::Acquire) {
                        continue;
                    }
                    // Once more, so that what is lent comes back.
                    while uring.next_report().is_some() {}
                    uring.wait(Some(0)).unwrap();
                    return (uring.counters(), uring.connections());
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
        if known.len() < 10 {
            let most = known.iter().map(|&conn| uring.pending_bytes(conn)).max();
            watched.most_pending.fetch_max(most.unwrap_or(0), Ordering::AcqRel);
        }
        let counters = uring.counters();
        watched.live.store(uring.connections() as usize, Ordering::Release);
        watched.closed.store(counters.closed, Ordering::Release);
        watched.pauses.store(counters.pauses, Ordering::Release);
    }
}

/// Bytes that tell where they belong.
fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8).wrapping_mul(17) ^ seed.wrapping_mul(101)) as u8)
        .collect()
}

/// Sends and receives at once, so that neither side's buffers can stop the other.
fn exchange(stream: &TcpStream, message: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(message).unwrap());
        let mut answer = vec![0; message.len()];
        (&mut &*stream).read_exact(&mut answer).unwrap();
        assert!(answer == message, "the bytes of the answer differ");
    });
}

#[test]
fn echoes_every_size_on_every_mixture() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        for policy in [Policy::Echo, Policy::Copy] {
            let server = Server::with(config.clone(), policy);
            let streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
            let mut bytes = 0;
            for len in [1, 2, 63, 64, 4095, 4096, 4097, 16_384, 65_536, 100_001, 1 << 20] {
                for (seed, stream) in streams.iter().enumerate() {
                    exchange(stream, &pattern(seed + len, len));
                    bytes += len as u64;
                }
            }
            drop(streams);
            server.until_empty();
            let (counters, left) = server.stop();
            assert_eq!((counters.received_bytes, left), (bytes, 0), "{name}");
            assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
        }
    }
}

#[test]
fn many_connections_at_once_keep_their_bytes_apart() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        let streams: Vec<_> = (0..600).map(|_| server.connect()).collect();
        for round in 0..5 {
            for (seed, mut stream) in streams.iter().enumerate() {
                stream.write_all(&pattern(seed + round, 1 + (seed * 37 + round) % 3000)).unwrap();
            }
            for (seed, mut stream) in streams.iter().enumerate() {
                let expected = pattern(seed + round, 1 + (seed * 37 + round) % 3000);
                let mut answer = vec![0; expected.len()];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer == expected, "{name}: connection {seed} got other bytes");
            }
        }
        drop(streams);
        server.until_empty();
        assert_eq!(server.stop().1, 0);
    }
}

#[test]
fn a_peer_that_never_reads_is_bounded_and_harms_nobody() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let limit = config.max_held_bytes;
        let lent = config.buffer_bytes as usize * usize::from(config.max_buffers);
        let server = Server::start(config);
        let greedy = server.connect();
        greedy.set_nonblocking(true).unwrap();
        // Until everybody's buffers are full: what we still get rid of is what the server still takes.
        let (mut sent, message) = (0usize, pattern(1, 1 << 16));
        let (start, mut quiet_since) = (Instant::now(), Instant::now());
        while quiet_since.elapsed() < Duration::from_millis(500) && start.elapsed() < PATIENCE {
            let from = sent % message.len();
            match (&greedy).write(&message[from..]) {
                Ok(n) => (sent, quiet_since) = (sent + n, Instant::now()),
                Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
                Err(e) => panic!("{name}: {e}"),
            }
        }
        assert!(start.elapsed() < PATIENCE, "{name}: the server takes bytes without end");
        // The server's thread tells when it is woken.
        while server.watched.pauses.load(Ordering::Acquire) == 0 {
            assert!(start.elapsed() < PATIENCE, "{name}: never paused");
            server.waker.wake();
            std::thread::sleep(Duration::from_millis(5));
        }
        let pending = server.watched.most_pending.load(Ordering::Acquire);
        assert!(pending > 0 && pending <= limit + lent, "{name}: {pending} bytes held back");
        exchange(&server.connect(), b"somebody else");
        // Now it reads after all, slowly at first, and gets every byte.
        greedy.set_nonblocking(false).unwrap();
        let (mut got, mut part) = (0, vec![0; 1000]);
        while got < sent {
            let n = (&greedy).read(&mut part).unwrap();
            assert!(n > 0, "{name}: closed after {got} of {sent}");
            for &byte in &part[..n] {
                assert!(byte == message[got % message.len()], "{name}: byte {got} is wrong");
                got += 1;
            }
            if got < 20_000 {
                std::thread::sleep(Duration::from_millis(1));
            } else {
                part.resize(100_000, 0);
            }
        }
        exchange(&greedy, &pattern(9, 300_000));
    }
}

#[test]
fn half_close_gets_everything_then_the_end() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        for len in [0, 1, 5000, 3 << 20, 30 << 20] {
            let mut stream = server.connect();
            let message = pattern(3, len);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    (&stream).write_all(&message).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                });
                // Late, so that the output outlives the peer's FIN.
                std::thread::sleep(Duration::from_millis(if len > 5000 { 200 } else { 0 }));
                let mut answer = Vec::new();
                (&stream).read_to_end(&mut answer).unwrap();
                assert!(answer == message, "{name}: {} of {len} bytes", answer.len());
            });
            stream.flush().unwrap();
        }
        server.until_empty();
    }
}

fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: a readable struct linger.
    let done = unsafe {
        let (value, len) = ((&raw const linger).cast(), size_of::<libc::linger>() as _);
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, len)
    };
    assert_eq!(done, 0);
    drop(stream);
}

#[test]
fn resets_in_the_middle_of_it_end_the_connection_only() {
    if skipped() {
        return;
    }
    for (_, config) in mixtures() {
        let server = Server::start(config);
        let steady = server.connect();
        for round in 0..200 {
            let stream = server.connect();
            if round % 3 > 0 {
                (&stream).write_all(&pattern(round, 20_000)).unwrap();
            }
            if round % 3 == 2 {
                (&stream).read_exact(&mut [0; 10]).unwrap();
            }
            reset(stream);
        }
        exchange(&steady, &pattern(1, 10_000));
        drop(steady);
        server.until_empty();
        let (counters, left) = server.stop();
        assert_eq!((counters.accepted, counters.closed, left), (201, 201, 0));
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn churn_leaves_no_connection_and_no_buffer_behind() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        let server = Server::start(config);
        for i in 0..2000 {
            let mut stream = server.connect();
            if i % 4 > 0 {
                stream.write_all(b"one request").unwrap();
            }
            if i % 4 > 1 {
                let mut answer = [0; 11];
                stream.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"one request");
            }
        }
        server.until_empty();
        let (counters, left) = server.stop();
        assert_eq!((counters.accepted, counters.closed, left), (2000, 2000, 0), "{name}");
        assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
    }
}

#[test]
fn tiny_queues_and_tiny_buffers_lose_nothing() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        // Two entries to submit, four to complete, two buffers of 512 bytes (whole: 32 of 32).
        let tiny = Config {
            submissions: 2,
            completions: 4,
            buffer_bytes: 512,
            first_buffers: 1,
            max_buffers: 2,
            max_held_bytes: 4096,
            ..config
        };
        let server = Server::start(tiny);
        let streams: Vec<_> = (0..100).map(|_| server.connect()).collect();
        for round in 0..3 {
            for (seed, mut stream) in streams.iter().enumerate() {
                stream.write_all(&pattern(seed + round, 3000)).unwrap();
            }
            for (seed, mut stream) in streams.iter().enumerate() {
                let mut answer = vec![0; 3000];
                stream.read_exact(&mut answer).unwrap();
                assert!(answer == pattern(seed + round, 3000), "{name}: connection {seed} got other bytes");
            }
        }
        exchange(&streams[0], &pattern(5, 200_000));
        drop(streams);
        server.until_empty();
        let (counters, _) = server.stop();
        assert!(counters.no_buffers > 0, "{name}: the buffers never ran out, so nothing was tested");
        assert_eq!(counters.buffers_free, counters.buffers, "{name}: buffers are missing");
    }
}

#[test]
fn a_ring_may_be_dropped_with_traffic_in_flight() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        for round in 0..40 {
            let server = Server::start(config.clone());
            let streams: Vec<_> = (0..10).map(|_| server.connect()).collect();
            std::thread::scope(|scope| {
                for stream in &streams {
                    scope.spawn(move || {
                        // Until the server is gone, one way or the other.
                        let message = pattern(round, 50_000);
                        while (&mut &*stream).write_all(&message).is_ok() {}
                    });
                    scope.spawn(move || while (&mut &*stream).read(&mut [0; 10_000]).is_ok_and(|n| n > 0) {});
                }
                std::thread::sleep(Duration::from_millis(round as u64 % 7));
                let (_, left) = server.stop();
                assert!(left <= 10, "{name}");
            });
        }
    }
}

#[test]
fn a_full_table_makes_them_wait_not_fail() {
    if skipped() {
        return;
    }
    let server = Server::start(Config { connections: 8, ..Config::default() });
    // All are in the listen queue; 8 are served, the others as soon as there is a place.
    let mut streams: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"hello").unwrap();
    }
    for mut stream in streams {
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
    server.until_empty();
    assert_eq!(server.stop().0.accepted, 40);
}

/// One connection to a ring in this thread: the ring's side and ours.
fn pair(uring: &mut Uring) -> (ConnId, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let id = uring.listen(OwnedFd::from(listener)).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let Report::Accepted { listener, conn } = next(uring) else { panic!("nobody came") };
    assert_eq!(listener, id);
    uring.unlisten(id);
    assert_eq!(next(uring), Report::Unlistened { listener: id, errno: None });
    (conn, stream)
}

fn next(uring: &mut Uring) -> Report {
    let start = Instant::now();
    loop {
        if let Some(report) = uring.next_report() {
            return report;
        }
        assert!(start.elapsed() < PATIENCE, "nothing is reported");
        uring.wait(Some(SECOND_NS)).unwrap();
    }
}

#[test]
fn stale_ids_and_stale_chunks_reach_nobody() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (old, mut peer) = pair(&mut uring);
    uring.receive(old);
    peer.write_all(b"first").unwrap();
    let Report::Received { conn, chunk } = next(&mut uring) else { panic!("no bytes") };
    assert_eq!((conn, uring.bytes(chunk)), (old, &b"first"[..]));
    let made_up = duolu_core::completion::Chunk::new(chunk.turn(), chunk.start() + 1, 5);
    assert_eq!(uring.bytes(made_up), b"", "only what is lent is shown");
    uring.send_chunk(old, chunk.part(1..3));
    uring.wait(Some(0)).unwrap();
    assert_eq!(uring.bytes(chunk), b"", "the turn is over");
    uring.send_chunk(old, chunk);
    uring.wait(Some(0)).unwrap();
    uring.cancel(old);
    uring.wait(Some(0)).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"ir");

    let (new, mut peer) = pair(&mut uring);
    assert_eq!((new.slot(), new.generation()), (old.slot(), old.generation() + 1), "the slot is used again");
    uring.send(old, b"for nobody");
    uring.shutdown(old);
    uring.close(old);
    uring.cancel(old);
    uring.send(new, b"for you");
    uring.close(new);
    uring.wait(Some(0)).unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"for you");
    assert_eq!(uring.next_report(), None);
}

#[test]
fn shutdown_sends_the_end_and_still_receives() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (conn, mut peer) = pair(&mut uring);
    uring.receive(conn);
    let body: &'static [u8] = pattern(4, 24 << 20).leak();
    uring.send_static(conn, body);
    uring.shutdown(conn);
    uring.wait(Some(0)).unwrap();
    assert!(uring.pending_bytes(conn) > 0, "24 MiB do not fit into two sockets");
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        peer.read_to_end(&mut answer).unwrap();
        peer.write_all(b"thanks").unwrap();
        answer
    });
    let mut drained = false;
    loop {
        match next(&mut uring) {
            Report::Drained { .. } => drained = true,
            Report::Received { chunk, .. } => {
                assert_eq!(uring.bytes(chunk), b"thanks");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(drained);
    assert!(reader.join().unwrap() == body);
    assert_eq!(next(&mut uring), Report::PeerFinished { conn });
}

#[test]
fn thousands_of_pieces_in_one_turn_arrive_in_order() {
    if skipped() {
        return;
    }
    for (_, config) in mixtures() {
        let mut uring = uring(config);
        let (conn, mut peer) = pair(&mut uring);
        let mut expected = Vec::new();
        for i in 0..5000u32 {
            let piece = pattern(i as usize, 1 + i as usize % 700);
            uring.send(conn, &piece);
            uring.send_static(conn, b"|");
            expected.extend_from_slice(&piece);
            expected.push(b'|');
        }
        uring.close(conn);
        let reader = std::thread::spawn(move || {
            let mut answer = Vec::new();
            peer.read_to_end(&mut answer).unwrap();
            answer
        });
        while uring.connections() > 0 {
            uring.wait(Some(SECOND_NS / 10)).unwrap();
            assert_eq!(uring.next_report(), None);
        }
        // The close itself is handed over by the next turn.
        uring.wait(Some(0)).unwrap();
        assert!(reader.join().unwrap() == expected);
    }
}

#[test]
fn a_wait_ends_at_its_time_and_costs_one_call() {
    if skipped() {
        return;
    }
    let mut uring = uring(Config::default());
    let (conn, mut peer) = pair(&mut uring);
    uring.receive(conn);
    uring.wait(Some(0)).unwrap();
    let start = Instant::now();
    uring.wait(Some(30_000_000)).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(uring.next_report(), None);
    let before = uring.counters();
    for _ in 0..100 {
        peer.write_all(b"ping").unwrap();
        let Report::Received { chunk, .. } = next(&mut uring) else { panic!("no bytes") };
        uring.send_chunk(conn, chunk);
        uring.wait(Some(0)).unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
    }
    let after = uring.counters();
    assert_eq!(after.enters - before.enters, after.waits - before.waits, "one system call a turn");
}

#[test]
fn dropping_a_ring_gives_back_its_descriptors() {
    if skipped() {
        return;
    }
    for (name, config) in mixtures() {
        // Other tests open descriptors in this process at the same time: look for our own.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut uring = uring(config);
        uring.listen(OwnedFd::from(listener)).unwrap();
        let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
        for _ in 0..20 {
            let Report::Accepted { conn, .. } = next(&mut uring) else { panic!("nobody came") };
            uring.receive(conn);
        }
        drop(uring);
        assert!(open_descriptors() > 0);
        for peer in &mut peers {
            peer.set_read_timeout(Some(PATIENCE)).unwrap();
            // A ring without DEFER_TASKRUN interrupts its thread's system calls (EINTR): read again then.
            let mut rest = Vec::new();
            assert_eq!(peer.read_to_end(&mut rest).unwrap(), 0, "{name}: still open");
        }
        let start = Instant::now();
        while TcpStream::connect(address).is_ok() {
            assert!(start.elapsed() < PATIENCE, "{name}: still listening");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn rings_on_one_listener_take_turns() {
    if skipped() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::new([const { AtomicUsize::new(0) }; 3]);
    let stop = Arc::new(AtomicBool::new(false));
    let armed = Arc::new(Barrier::new(4));
    let rings: Vec<_> = (0..3)
        .map(|index| {
            let (counts, stop, armed) = (counts.clone(), stop.clone(), armed.clone());
            let listener = listener.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut uring = uring(Config { accept_in_turn: true, ..Config::default() });
                uring.listen(OwnedFd::from(listener)).unwrap();
                uring.wait(Some(0)).unwrap();
                armed.wait();
                while !stop.load(Ordering::Acquire) {
                    uring.wait(Some(SECOND_NS / 50)).unwrap();
                    while let Some(report) = uring.next_report() {
                        let Report::Accepted { conn, .. } = report else { panic!("{report:?}") };
                        counts[index].fetch_add(1, Ordering::AcqRel);
                        uring.send(conn, b"!");
                    }
                }
            })
        })
        .collect();
    // One after the other, so that the rings are asleep and it is the kernel that chooses.
    armed.wait();
    let mut peers = Vec::new();
    for _ in 0..60 {
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.read_exact(&mut [0]).unwrap();
        peers.push(peer);
    }
    stop.store(true, Ordering::Release);
    for ring in rings {
        ring.join().unwrap();
    }
    let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::Acquire)).collect();
    assert!(counts.iter().all(|&count| count >= 4), "one ring gets them all: {counts:?}");
}

#[test]
fn who_floods_gets_one_buffer_a_turn_and_is_paused_with_little_more() {
    if skipped() {
        return;
    }
    let config = Config::default();
    let (limit, buffer) = (config.max_held_bytes, config.buffer_bytes as usize);
    let mut uring = uring(config);
    let (conn, peer) = pair(&mut uring);
    uring.receive(conn);
    peer.set_nonblocking(true).unwrap();
    let (message, start) = (pattern(1, 1 << 16), Instant::now());
    // As much as the sockets hold, then one turn.
    let turn = |uring: &mut Uring, echo: bool| {
        while (&peer).write(&message).is_ok() {}
        uring.wait(Some(SECOND_NS / 20)).unwrap();
        let mut bytes = 0;
        while let Some(report) = uring.next_report() {
            let Report::Received { chunk, .. } = report else { continue };
            bytes += chunk.len() as usize;
            if echo {
                uring.send_chunk(conn, chunk);
            }
        }
        bytes
    };
    // A multishot receive takes several buffers in one go; nothing says when it will do so first.
    while turn(&mut uring, false) <= 256 * 1024 {
        assert!(start.elapsed() < PATIENCE, "there never was much in one turn, so nothing was tested");
    }
    // What was under way when that was noticed.
    turn(&mut uring, false);
    for _ in 0..50 {
        let bytes = turn(&mut uring, false);
        assert!(bytes <= buffer, "{bytes} in one turn");
    }
    let mut quiet = 0;
    while quiet < 5 {
        quiet = if turn(&mut uring, true) == 0 { quiet + 1 } else { 0 };
        assert!(start.elapsed() < PATIENCE, "never paused");
    }
    let pending = uring.pending_bytes(conn);
    assert!(pending > limit && pending <= limit + 2 * buffer, "{pending} bytes held back");
}
