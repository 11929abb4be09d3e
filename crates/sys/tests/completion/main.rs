//! Completion I/O against real connections on loopback. Where io_uring is not available these tests fail,
//! unless DUOLU_TEST_NO_URING=1 says that this is known.

mod bounds;
mod ends;
mod exchange;
mod server;

use duolu_core::completion::{Completion, ConnId, Report};
use duolu_sys::completion::{Config, Uring};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
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
