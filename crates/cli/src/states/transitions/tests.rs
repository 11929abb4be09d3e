//! On real connections over loopback. The tracepoint needs root, and another network namespace unshare(1) and ip(8):
//! DUOLU_TEST_NO_ROOT=1 and DUOLU_TEST_NO_NETNS=1 do without.

use super::*;
use crate::states::diagram::{Edge, Other};
use duolu_sys::socket::{set_abort_after_fin, set_linger};
use duolu_sys::tcp_trace::{TcpTrace, Told};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

const LINGER_NONE: Option<u16> = Some(0);

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value == "1")
}

/// Tests that listen to the tracepoint take turns: while another one's listening begins or ends, the kernel does not tell of
/// every delayed ACK (tcp_trace, (g)); and an ACK is delayed where this process stands still before it answers.
static LISTENING: Mutex<()> = Mutex::new(());

fn listen_alone() -> MutexGuard<'static, ()> {
    LISTENING.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Stage {
    listener: TcpListener,
    observer: Observer,
    /// Let go when the observer is gone.
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Stage {
    /// A listener that has been looked at once; `None` where the kernel cannot be asked.
    fn new(via: Via) -> Option<Self> {
        if via == Via::Trace && is_set("DUOLU_TEST_NO_ROOT") {
            return None;
        }
        let alone = (via == Via::Trace).then(listen_alone);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().unwrap().port();
        let observer = Observer::new(Ports::Either(port), None, via);
        let observer = observer.unwrap_or_else(|e| panic!("{e:?} (not root: set DUOLU_TEST_NO_ROOT=1)"));
        let mut stage = Stage { listener, observer, _alone: alone };
        stage.moved();
        Some(stage)
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn connect(&self) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).expect("connect");
        (client, self.listener.accept().expect("accept").0)
    }

    fn look(&mut self) -> Picture {
        self.observer.look().expect("sockets").picture
    }

    /// What moved since the last look.
    fn moved(&mut self) -> Flow {
        // What the last millisecond brought is held back.
        std::thread::sleep(Duration::from_millis(5));
        self.look().lately
    }

    /// Looks until as much has moved as is expected, or five seconds long.
    fn expect(&mut self, edges: &[(Edge, u64)], others: &[(Other, u64)]) {
        self.expect_either(&[(edges, others)]);
    }

    /// The same, where it depends on the time which of these moved.
    fn expect_either(&mut self, either: &[Moves<'_>]) {
        let expected = either.iter();
        let expected: Vec<_> = expected
            .map(|(edges, others)| (named(edges.iter().copied()), named(others.iter().copied())))
            .collect();
        let (mut flow, begun) = (Flow::default(), Instant::now());
        loop {
            flow.add(&self.moved());
            // One that expires is somebody else's, from before, on this port's number: ours last a minute.
            let edges = Edge::ALL.map(|edge| (edge, if edge == Edge::Expired { 0 } else { flow.of(edge) }));
            let others = Other::ALL.map(|other| (other, flow.of_other(other)));
            let found = (named(edges.into_iter()), named(others.into_iter()));
            if expected.contains(&found) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "{found:?} moved, and not {expected:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Edges and others, with how often each.
type Moves<'a> = (&'a [(Edge, u64)], &'a [(Other, u64)]);

fn named<T: std::fmt::Debug>(counts: impl Iterator<Item = (T, u64)>) -> BTreeMap<String, u64> {
    counts.filter(|(_, count)| *count > 0).map(|(what, count)| (format!("{what:?}"), count)).collect()
}

/// The client closes first; the server sees it, and closes.
fn close_in_turn(client: TcpStream, mut server: TcpStream) {
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
}

fn both_ways(times: u64) -> Vec<(Edge, u64)> {
    let not_taken = [
        Edge::PassiveOpen,
        Edge::ListenerClosed,
        Edge::ConnectFailed,
        Edge::ListenerSends,
        Edge::HandshakeReset,
        Edge::BothOpened,
        Edge::ClosedEarly,
        Edge::BothClosed,
        Edge::BothAcked,
        // A minute later.
        Edge::Expired,
    ];
    Edge::ALL.into_iter().filter(|edge| !not_taken.contains(edge)).map(|edge| (edge, times)).collect()
}

#[test]
fn whatever_came_and_went_between_two_looks_is_counted_on_every_edge() {
    for via in [Via::Sample, Via::Trace] {
        let Some(mut stage) = Stage::new(via) else { continue };
        for _ in 0..100 {
            let (client, server) = stage.connect();
            close_in_turn(client, server);
        }
        stage.expect(&both_ways(100), &[]);
        let picture = stage.look();
        // The port may have been another's a minute ago.
        assert!(picture.at(TcpState::TimeWait) >= 100 && picture.at(TcpState::Listen) == 1);
        assert_eq!(picture.since.of(Edge::PeerClosed), 100, "the sum stays");
        assert_eq!(picture.lately, Flow::default());
    }
}

#[test]
fn each_step_of_one_connection_is_seen_when_it_is_taken() {
    for via in [Via::Sample, Via::Trace] {
        let Some(mut stage) = Stage::new(via) else { continue };
        let (client, mut server) = stage.connect();
        let opened = [Edge::ActiveOpen, Edge::SynArrived, Edge::Accepted, Edge::Connected];
        stage.expect(&opened.map(|edge| (edge, 1)), &[]);
        client.shutdown(Shutdown::Write).expect("shutdown");
        assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
        // Takes the ACK along, which else waits for a timer that the kernel does not always tell of (tcp_trace, (g)).
        server.write_all(b"x").expect("half open");
        (&client).read_exact(&mut [0; 1]).expect("half open");
        let half = [Edge::ActiveClose, Edge::FinAcked, Edge::FinArrived];
        stage.expect(&half.map(|edge| (edge, 1)), &[]);
        let picture = stage.look();
        assert_eq!((picture.at(TcpState::CloseWait), picture.at(TcpState::FinWait2)), (1, 1));
        drop(server);
        let rest = [Edge::PassiveClose, Edge::LastAcked, Edge::PeerClosed];
        stage.expect(&rest.map(|edge| (edge, 1)), &[]);
    }
}

#[test]
fn a_reset_is_named_and_takes_no_edge() {
    for via in [Via::Sample, Via::Trace] {
        let Some(mut stage) = Stage::new(via) else { continue };
        let (client, mut server) = stage.connect();
        stage.moved();
        set_linger(&client, LINGER_NONE).expect("SO_LINGER");
        drop(client);
        assert!(server.read(&mut [0; 1]).is_err(), "ECONNRESET");
        stage.expect(&[], &[(Other::CutOff, 2)]);
    }
}

#[test]
fn who_closed_first_and_did_not_wait_is_named() {
    let Some(mut stage) = Stage::new(Via::Trace) else { return };
    let (client, server) = stage.connect();
    stage.moved();
    set_abort_after_fin(&client).expect("TCP_LINGER2");
    close_in_turn(client, server);
    // The reset comes for whatever acknowledges the client's FIN: the server's own FIN, and LAST-ACK ends either way. Where
    // this process stands still before the server closes, it is a bare ACK.
    let left = [Edge::ActiveClose, Edge::FinAcked, Edge::FinArrived].map(|edge| (edge, 1));
    let all = [&left[..], &[(Edge::PassiveClose, 1), (Edge::LastAcked, 1)]].concat();
    stage.expect_either(&[
        (&all, &[(Other::NoTimeWait, 1)]),
        (&left, &[(Other::NoTimeWait, 1), (Other::CutOff, 1)]),
    ]);
}

#[test]
fn a_listener_that_opens_and_closes_walks_its_edges() {
    for via in [Via::Sample, Via::Trace] {
        let Some(mut stage) = Stage::new(via) else { continue };
        let address = stage.listener.local_addr().unwrap();
        let another = TcpListener::bind("127.0.0.1:0").expect("bind");
        std::mem::drop(std::mem::replace(&mut stage.listener, another));
        stage.expect(&[(Edge::ListenerClosed, 1)], &[]);
        stage.listener = TcpListener::bind(address).expect("the same port");
        stage.expect(&[(Edge::PassiveOpen, 1)], &[]);
    }
}

#[test]
fn a_refused_connect_is_seen_by_the_kernel_only() {
    let Some(mut stage) = Stage::new(Via::Trace) else { return };
    let address = stage.listener.local_addr().unwrap();
    let another = TcpListener::bind("127.0.0.1:0").expect("bind");
    drop(std::mem::replace(&mut stage.listener, another));
    stage.moved();
    assert!(TcpStream::connect(address).is_err());
    stage.expect(&[(Edge::ActiveOpen, 1), (Edge::ConnectFailed, 1)], &[]);
}

#[test]
fn a_clients_own_port_is_followed_from_the_call_that_had_none_yet() {
    if is_set("DUOLU_TEST_NO_ROOT") {
        return;
    }
    let stage = Stage::new(Via::Sample).expect("needs no root");
    // A port that the kernel is about to choose cannot be asked for: the client binds it first.
    let probe = TcpListener::bind("127.0.0.1:0").expect("bind");
    let from = probe.local_addr().unwrap();
    drop(probe);
    let alone = listen_alone();
    let mut observer = Observer::new(Ports::Either(from.port()), None, Via::Trace).expect("root");
    observer.look().expect("sockets");
    let connecting =
        duolu_sys::socket::connect(stage.listener.local_addr().unwrap(), Some(from)).expect("connect");
    let mut watched = Stage { listener: stage.listener, observer, _alone: Some(alone) };
    let (_server, peer) = watched.listener.accept().expect("accept");
    assert_eq!(peer, from);
    let opened = [Edge::ActiveOpen, Edge::SynArrived, Edge::Accepted, Edge::Connected];
    watched.expect(&opened.map(|edge| (edge, 1)), &[]);
    drop(connecting);
}

#[test]
fn what_happens_in_another_network_namespace_is_not_ours() {
    if is_set("DUOLU_TEST_NO_NETNS") {
        return;
    }
    let Some(mut stage) = Stage::new(Via::Trace) else { return };
    let port = stage.port();
    let mut everything = TcpTrace::open(Some(port)).expect("root");
    let script = format!(
        "ip link set lo up && {{ timeout 5 nc -l 127.0.0.1 {port} & }} && \
         for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; echo x | timeout 5 nc -N 127.0.0.1 {port} && exit 0; done; exit 9"
    );
    let ran = Command::new("unshare").args(["--net", "sh", "-c", &script]).output().expect("unshare");
    assert!(ran.status.success(), "{ran:?} (no namespaces: set DUOLU_TEST_NO_NETNS=1)");
    // What the last millisecond brought is held back.
    std::thread::sleep(Duration::from_millis(20));
    let mut seen = 0;
    everything.drain(|told| {
        if let Told::Change(change) = told {
            seen += u64::from(change.local.port() == port || change.remote.port() == port);
        }
    });
    assert!(seen >= 10, "the tracepoint told {seen} changes from the other namespace");
    assert_eq!(stage.moved(), Flow::default(), "and none of them is ours");
    // Ours still count.
    let (client, server) = stage.connect();
    close_in_turn(client, server);
    stage.expect(&both_ways(1), &[]);
}

#[test]
fn a_pick_counts_only_its_own_and_keeps_them_to_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().unwrap();
    let connect = || (TcpStream::connect(address).expect("connect"), listener.accept().expect("accept").0);
    let (wanted, mut served) = connect();
    let (unwanted, unwanted_served) = connect();
    let from = wanted.local_addr().unwrap();
    // As a process would be: known only as long as somebody holds the socket.
    let pick: Pick = Box::new(move |socket| socket.tcp.ends().0 == from && socket.tcp.inode != 0);
    let mut observer = Observer::new(Ports::Either(address.port()), Some(pick), Via::Auto).expect("sampling");
    let picture = observer.look().expect("sockets").picture;
    assert_eq!(picture.how, How::Sampled { refused: Some(Refusal::Filtered) });
    assert_eq!((picture.at(TcpState::Established), picture.at(TcpState::Listen)), (1, 0));
    close_in_turn(unwanted, unwanted_served);
    drop(wanted);
    assert_eq!(served.read(&mut [0; 1]).expect("the end"), 0);
    drop(served);
    let begun = Instant::now();
    while observer.look().expect("sockets").picture.at(TcpState::TimeWait) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "its TIME-WAIT is not shown");
    }
    let taken: Vec<Edge> = Edge::ALL.into_iter().filter(|edge| observer.since.of(*edge) > 0).collect();
    assert_eq!(taken, [Edge::ActiveClose, Edge::FinAcked, Edge::PeerClosed]);
}

#[test]
fn what_came_out_of_a_picked_listener_is_counted_though_nobody_held_it_when_looked_at() {
    let listener = TcpListener::bind("0.0.0.0:0").expect("bind");
    let port = listener.local_addr().unwrap().port();
    // As a server's process would be: whatever is bound to its port, as long as it holds it.
    let pick: Pick = Box::new(move |socket| socket.tcp.local.port() == port && socket.tcp.inode != 0);
    let mut observer = Observer::new(Ports::Either(port), Some(pick), Via::Auto).expect("sampling");
    observer.look().expect("sockets");
    for _ in 0..10 {
        let client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        close_in_turn(client, listener.accept().expect("accept").0);
    }
    let begun = Instant::now();
    while observer.since.of(Edge::LastAcked) < 10 {
        observer.look().expect("sockets");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", observer.since);
    }
    let server = [Edge::SynArrived, Edge::Accepted, Edge::FinArrived, Edge::PassiveClose, Edge::LastAcked];
    for edge in Edge::ALL {
        assert_eq!(observer.since.of(edge), if server.contains(&edge) { 10 } else { 0 }, "{edge:?}");
    }
}

#[test]
fn the_fullest_queue_is_the_one_with_the_least_room() {
    assert_eq!(fuller(None, (0, 0)), None, "not known");
    let of = |queues: &[(u32, u32)]| queues.iter().fold(None, |one, other| fuller(one, *other));
    assert_eq!(of(&[(1, 4096), (3, 4), (100, 4096), (0, 0)]), Some((3, 4)));
    assert_eq!(of(&[(0, 128), (0, 4096)]), Some((0, 128)));
}
