//! Faults that take a minute, or another kernel, to make: from values as they would be read.

use super::*;
use crate::lang::Lang;
use crate::why::decide;
use crate::why::look::process::Process;
use crate::why::look::threads::Looks;
use crate::why::look::threads::Thread;
use crate::why::look::wait::{Doing, What};
use crate::why::model::Model;
use crate::why::server::Connection;
use crate::why::server::{Listener, Server};
use crate::why::target::Target;
use crate::why::watching::Watching;
use duolu_sys::calls::CallKind;
use duolu_sys::tcp_diag::TcpSocket;
use duolu_sys::tcp_diag::{TcpInfo, TcpState};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

const LISTENER: u64 = 100;

fn process(pid: u32, parent: u32) -> Process {
    Process {
        pid,
        parent,
        name: "server".to_owned(),
        threads: 1,
        fds: Some(Vec::new()),
        ..Process::default()
    }
}

fn thread(pid: u32, tid: u32, what: What, call: &'static str) -> Thread {
    let doing = Doing { what, fd: None, call: Cow::Borrowed(call) };
    Thread {
        pid,
        tid,
        name: "t".to_owned(),
        doings: vec![(doing, 10)],
        set: None,
        looks: 10,
        cpu: Some(0.0),
        queued: Some(0.0),
    }
}

/// What the kernel says of a connection that has done nothing yet.
fn info() -> TcpInfo {
    TcpInfo::parse(&[0; 280]).expect("as long as Linux 6.18 makes it")
}

/// A small segment that waits for an acknowledgement which comes late.
fn held_back() -> TcpInfo {
    let (rtt_us, min_rtt_us) = (Some(41_000), Some(60));
    let sent =
        TcpInfo { notsent: Some(1), unacked: 1, cwnd: 10, snd_mss: 1448, last_data_sent_ms: 10, ..info() };
    TcpInfo { rtt_us, min_rtt_us, ..sent }
}

fn connection(number: u16, state: TcpState, info: TcpInfo) -> Connection {
    let socket = TcpSocket {
        state,
        local: "127.0.0.1:80".parse().expect("an address"),
        remote: ([127, 0, 0, 1], 40_000 + number).into(),
        inode: u64::from(1000 + number),
        uid: 0,
        recv_q: 0,
        send_q: Some(0),
        timer: None,
        cookie: 0,
        shutdown: None,
        only_v6: None,
        info: Some(Box::new(info)),
        memory: None,
        congestion: None,
    };
    Connection { socket, holders: vec![7], was_unread: false }
}

fn server(processes: Vec<Process>, threads: Vec<Thread>, connections: Vec<Connection>) -> Server {
    let listener = Listener {
        address: "127.0.0.1:80".parse().expect("an address"),
        inode: LISTENER,
        uid: 0,
        queue: 0,
        backlog: Some(511),
    };
    let ours: HashSet<u64> =
        connections.iter().map(|connection| connection.socket.inode).chain([LISTENER]).collect();
    let mut states = BTreeMap::new();
    for connection in &connections {
        *states.entry(connection.socket.state).or_default() += 1;
    }
    Server {
        target: Target::Port(None, 80),
        listeners: vec![listener],
        processes,
        looks: Looks { threads, count: 10, lasted: Duration::from_millis(300), ..Looks::default() },
        connections,
        states,
        ours,
        outgoing: Vec::new(),
        counters: Default::default(),
        missing: Vec::new(),
        ended: Vec::new(),
        throttled: None,
        interrupted: false,
    }
}

fn warned(server: &Server) -> Vec<Warning> {
    let watching = Watching::of(server);
    let verdict = decide::decide(server, &watching);
    let connections = server.connections.len() as u64;
    all(&Case { server, watching: &watching, verdict: &verdict, connections }, None)
}

fn names(server: &Server) -> Vec<&'static str> {
    warned(server).iter().map(|warning| warning.name).collect()
}

#[test]
fn a_close_wait_counts_from_its_first_minute_on() {
    let aged = |ms| TcpInfo { last_ack_recv_ms: ms, last_data_sent_ms: ms, ..info() };
    let young = connection(1, TcpState::CloseWait, aged(59_000));
    let old = connection(2, TcpState::CloseWait, aged(3_600_000));
    let alive = connection(3, TcpState::Established, aged(3_600_000));
    assert!(names(&server(vec![process(7, 1)], Vec::new(), vec![young.clone(), alive.clone()])).is_empty());
    let leaking = warned(&server(vec![process(7, 1)], Vec::new(), vec![young, old, alive]));
    let [warning] = &leaking[..] else { panic!("{leaking:?}") };
    let text = warning.evidence.pick(Lang::En);
    assert!(text.contains("60 s: 1;") && text.contains("40002") && text.contains("3600 s"), "{text}");
}

#[test]
fn clients_that_do_not_read_are_told_from_a_slow_server() {
    let held =
        TcpInfo { busy_us: Some(1_000_000), rwnd_limited_us: Some(900_000), notsent: Some(70_000), ..info() };
    let fine =
        TcpInfo { busy_us: Some(1_000_000), rwnd_limited_us: Some(100_000), notsent: Some(70_000), ..info() };
    let of = |info: &TcpInfo| {
        names(&server(
            vec![process(7, 1)],
            Vec::new(),
            vec![connection(1, TcpState::Established, info.clone())],
        ))
    };
    assert_eq!(of(&held), ["peers-do-not-read"]);
    assert!(of(&fine).is_empty());
}

#[test]
fn forty_milliseconds_are_suspicious_only_where_something_is_held_back() {
    let late = held_back();
    let far = TcpInfo { min_rtt_us: Some(40_000), ..held_back() };
    let busy = TcpInfo { notsent: Some(0), ..held_back() };
    let of = |info: &TcpInfo| {
        names(&server(
            vec![process(7, 1)],
            Vec::new(),
            vec![connection(1, TcpState::Established, info.clone())],
        ))
    };
    assert_eq!(of(&late), ["delayed-ack"]);
    assert!(of(&far).is_empty() && of(&busy).is_empty());
}

#[test]
fn a_core_is_full_also_where_others_take_part_of_it() {
    let busy =
        |cpu, queued| Thread { cpu: Some(cpu), queued: Some(queued), ..thread(7, 7, What::Running, "") };
    let of = |thread| names(&server(vec![process(7, 1)], vec![thread], Vec::new()));
    assert_eq!(of(busy(0.99, 0.0)), ["core-full"]);
    assert_eq!(of(busy(0.5, 0.48)), ["core-full"]);
    assert!(of(busy(0.7, 0.1)).is_empty());
}

/// Yama's ptrace_scope leaves the kernel's functions and takes the system calls.
#[test]
fn without_system_calls_the_model_is_told_as_far_as_it_goes() {
    let connections = || (1..=3).map(|at| connection(at, TcpState::Established, info())).collect::<Vec<_>>();
    let decide = |server: &Server| {
        let verdict = decide::decide(server, &Watching::of(server));
        (verdict.model, verdict.certain)
    };
    let reading = |tid| thread(7, tid, What::In(CallKind::Read), "wait_woken");
    let threads =
        vec![thread(7, 7, What::PollOrSelect, "poll_schedule_timeout"), reading(8), reading(9), reading(10)];
    assert_eq!(decide(&server(vec![process(7, 1)], threads, connections())), (Model::Thread, false));
    let one = vec![thread(7, 7, What::PollOrSelect, "poll_schedule_timeout")];
    assert_eq!(decide(&server(vec![process(7, 1)], one, connections())), (Model::PollOrSelect, false));
    let nothing = vec![thread(7, 7, What::Hidden, "")];
    assert_eq!(decide(&server(vec![process(7, 1)], nothing, connections())), (Model::Unknown, false));
}

#[test]
fn every_warning_is_said_in_both_languages() {
    let late = held_back();
    let old = TcpInfo { last_ack_recv_ms: 90_000, last_data_sent_ms: 90_000, ..info() };
    let held = TcpInfo { busy_us: Some(9), rwnd_limited_us: Some(900_000), notsent: Some(1), ..info() };
    let busy = Thread { cpu: Some(1.0), ..thread(7, 7, What::Running, "") };
    let connections = vec![
        connection(1, TcpState::Established, late),
        connection(2, TcpState::CloseWait, old),
        connection(3, TcpState::Established, held),
    ];
    let warnings = warned(&server(vec![process(7, 1)], vec![busy], connections));
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    for warning in &warnings {
        let texts = warning.fixes.iter().map(|fix| &fix.line).chain([&warning.evidence]);
        for said in texts {
            assert_ne!(said.pick(Lang::En), said.pick(Lang::Zh));
            assert!(said.pick(Lang::Zh).chars().any(|letter| letter as u32 >= 0x4e00), "{said:?}");
        }
    }
}
