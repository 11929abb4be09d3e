//! Out of descriptors while accepting: a process of its own, because the limit counts for all of it.

use duolu_core::completion::{Completion, Report};
use duolu_sys::completion::{Config, Uring};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

fn limit_descriptors(most: u64) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: a readable rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

fn cpu_time() -> Duration {
    let mut usage: libc::rusage = unsafe_zeroed();
    // SAFETY: a writable rusage.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) }, 0);
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

fn unsafe_zeroed() -> libc::rusage {
    // SAFETY: integers only.
    unsafe { std::mem::zeroed() }
}

#[test]
fn out_of_descriptors_it_rests_and_recovers() {
    if std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut uring = Uring::new(Config { direct: false, ..Config::default() })
        .unwrap_or_else(|e| panic!("{e} (where that is known, set DUOLU_TEST_NO_URING=1)"));
    uring.listen(OwnedFd::from(listener)).unwrap();
    let mut peers: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    // A few of them find a descriptor.
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    limit_descriptors(open + 5);
    let mut conns = Vec::new();
    let (start, cpu) = (Instant::now(), cpu_time());
    while start.elapsed() < Duration::from_secs(1) {
        uring.wait(Some(100_000_000)).unwrap();
        while let Some(report) = uring.next_report() {
            let Report::Accepted { conn, .. } = report else { panic!("{report:?}") };
            conns.push(conn);
        }
    }
    let (rests, cpu) = (uring.counters().accept_rests, cpu_time() - cpu);
    assert!(!conns.is_empty() && conns.len() < 20, "{} were accepted", conns.len());
    assert!((1..=21).contains(&rests), "{rests} rests in a second");
    assert!(cpu < Duration::from_millis(100), "{cpu:?} of a second: that is a spin");

    // One goes, another one comes, and is served.
    let accepted = conns.len();
    uring.cancel(conns.pop().unwrap());
    while conns.len() < accepted {
        assert!(start.elapsed() < Duration::from_secs(60), "nobody is accepted any more");
        uring.wait(Some(1_000_000_000)).unwrap();
        while let Some(report) = uring.next_report() {
            let Report::Accepted { conn, .. } = report else { panic!("{report:?}") };
            uring.send(conn, b"you are in");
            conns.push(conn);
        }
    }
    uring.wait(Some(0)).unwrap();
    let mut answer = [0; 10];
    let peer = &mut peers[accepted];
    peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"you are in");
    peer.write_all(b"thanks").unwrap();
}
