//! The tracepoint of TCP states, on real connections. Needs root; where that cannot be had, DUOLU_TEST_NO_ROOT=1
//! leaves it out.

use duolu_sys::tcp_diag::TcpState::*;
use duolu_sys::tcp_trace::{Missed, TcpTrace, Told, Transition};
use duolu_sys::waker::Waker;
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

fn opened(port: Option<u16>) -> Option<TcpTrace> {
    if std::env::var_os("DUOLU_TEST_NO_ROOT").is_some_and(|value| value == "1") {
        return None;
    }
    Some(TcpTrace::open(port).unwrap_or_else(|e| panic!("{e} (not root: set DUOLU_TEST_NO_ROOT=1)")))
}

/// Drains until `enough`, at most five seconds.
fn fetch(trace: &mut TcpTrace, enough: impl Fn(&[Transition]) -> bool) -> Vec<Transition> {
    let (nobody, begun) = (Waker::new().unwrap(), Instant::now());
    let mut seen = Vec::new();
    while begun.elapsed() < Duration::from_secs(5) {
        trace.wait(nobody.as_fd(), Duration::from_millis(20)).unwrap();
        let missed = trace.drain(|told| {
            if let Told::Change(change) = told {
                seen.push(*change);
            }
        });
        assert_eq!(missed, Missed::default());
        if enough(&seen) {
            break;
        }
    }
    seen
}

#[test]
fn each_connection_walks_both_paths_and_is_seen_to() {
    const CONNECTIONS: usize = 200;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let port = address.port();
    let Some(mut trace) = opened(Some(port)) else { return };
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect(address).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        drop(client);
        // The FIN has arrived: CLOSE-WAIT, and the orderly end of both paths.
        assert_eq!(served.read(&mut [0; 1]).unwrap(), 0);
    }
    drop(listener);
    // The listener's own end comes last, and the filter lets in others that have no port yet.
    let ours = |change: &Transition| change.local.port() == port || change.remote.port() == port;
    let is_end = |change: &Transition| (change.old, change.new) == (Listen, Closed);
    let seen = fetch(&mut trace, |seen| seen.iter().any(|change| ours(change) && is_end(change)));
    let mut counts = BTreeMap::new();
    for change in seen.iter().filter(|change| ours(change)) {
        *counts.entry((change.local.port() == port, change.old, change.new)).or_insert(0) += 1;
    }
    let expected: BTreeMap<_, _> = [
        (false, Closed, SynSent),
        (false, SynSent, Established),
        (false, Established, FinWait1),
        (false, FinWait1, FinWait2),
        // What is then TIME-WAIT (trap (a)).
        (false, FinWait2, Closed),
        (true, Listen, SynReceived),
        (true, SynReceived, Established),
        (true, Established, CloseWait),
        (true, CloseWait, LastAck),
        (true, LastAck, Closed),
    ]
    .into_iter()
    .map(|edge| (edge, CONNECTIONS))
    .chain([((true, Listen, Closed), 1)])
    .collect();
    assert_eq!(counts, expected);
    assert!(seen.is_sorted_by_key(|change| change.time_ns));
    // Outside of interrupts it is this process that called.
    let called = |change: &&Transition| ours(change) && !change.interrupt && change.old == Closed;
    assert!(seen.iter().filter(called).all(|change| change.pid == std::process::id()), "{seen:?}");
}

#[test]
fn a_thread_that_starts_tells_its_network_namespace() {
    use std::os::unix::fs::MetadataExt;
    let Some(mut trace) = opened(Some(1)) else { return };
    let (own, started) = std::thread::spawn(|| {
        let own = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
        let name = std::fs::read_link("/proc/thread-self").unwrap();
        (own, name.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap())
    })
    .join()
    .unwrap();
    let mut told = Vec::new();
    trace.drain(|what| {
        if let Told::Thread(thread) = what {
            told.push((thread.tid, thread.network));
        }
    });
    assert!(told.contains(&(started, own)), "{started} in {own}: {told:?}");
}

#[test]
fn addresses_of_both_families_are_read_and_mapped_ones_are_plain() {
    let Some(mut trace) = opened(None) else { return };
    for bind in ["[::1]:0", "[::]:0"] {
        let listener = TcpListener::bind(bind).unwrap();
        let port = listener.local_addr().unwrap().port();
        let host = if bind == "[::1]:0" { "::1" } else { "127.0.0.1" };
        let client = TcpStream::connect((host, port)).unwrap();
        let (own, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let is_ours = |change: &Transition| (change.local, change.remote) == (own, peer);
        let is_server = |change: &Transition| (change.local, change.remote) == (peer, own);
        let both = |seen: &[Transition]| seen.iter().any(is_ours) && seen.iter().any(is_server);
        let seen = fetch(&mut trace, both);
        assert!(both(&seen), "{bind}: {own} {peer} {seen:?}");
    }
}
