//! `--json` and `--json-stream`: schema 1 of the contract. Fields may be added, never renamed. What is not known is null.

use super::address::{Address, Remote};
use super::args::Plan;
use super::view::View;
use crate::inspect::{Age, Closer, Owner, Snapshot, Socket, Source, Unread};
use duolu_sys::tcp_diag::{Memory, TcpInfo, TcpState, Timer, TimerKind};
use serde::{Serialize, Serializer};
use std::io::{self, BufWriter, Write};
use std::time::UNIX_EPOCH;

/// Writes one object and a line's end. The text of many sockets is long: it is never held as a whole.
///
/// # Errors
/// Those of `to`.
pub fn write(plan: &Plan, view: &View<'_>, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(64 * 1024, to);
    serde_json::to_writer(&mut to, &Object::of(plan, view))?;
    to.write_all(b"\n")?;
    to.flush()
}

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    port: Option<u16>,
    /// The addresses, where a host was asked for.
    hosts: &'a [std::net::IpAddr],
    taken_at_ms: u64,
    source: &'static str,
    /// Why it is not sock_diag.
    source_note: Option<String>,
    counts: Counts,
    sockets: Entries<'a>,
    unread: Option<Hidden>,
}

/// What was not to be found out about owners.
#[derive(Serialize)]
struct Hidden {
    sockets: usize,
    processes: usize,
    unlock: &'static str,
}

/// Every state, those that nothing is in too.
struct Counts([(TcpState, usize); 11]);

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(state, count)| (state.name(), count)))
    }
}

/// Made one by one as they are written.
struct Entries<'a> {
    snapshot: &'a Snapshot,
    picked: &'a [&'a Socket],
    wide: bool,
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.picked.iter().map(|socket| entry(self.snapshot, socket, self.wide)))
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    state: &'static str,
    local: Address,
    remote: Remote,
    pid: Option<u32>,
    fd: Option<i32>,
    process: Option<&'a str>,
    recv_q: u32,
    send_q: Option<u32>,
    mss: Option<u32>,
    advmss: Option<u32>,
    pmtu: Option<u32>,
    rtt_us: Option<u32>,
    cwnd: Option<u32>,
    snd_wnd: Option<u32>,
    rcv_wnd: Option<u32>,
    wscale: Option<Scales>,
    who_closed_first: Option<&'static str>,
    age_ms: Option<u64>,
    age_at_least: Option<bool>,
    role: Option<&'static str>,
    family: u8,
    peer: Option<Peer<'a>>,
    accepted: Option<bool>,
    /// Only if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    owners: Option<Vec<Held<'a>>>,
    #[serde(flatten)]
    wide: Option<Wide>,
    #[serde(flatten)]
    more: Option<More<'a>>,
}

/// The window scales that were agreed on.
#[derive(Serialize)]
struct Scales {
    snd: Option<u8>,
    rcv: Option<u8>,
}

/// The other end of a connection whose ends are both here.
#[derive(Serialize)]
struct Peer<'a> {
    state: &'static str,
    pid: Option<u32>,
    fd: Option<i32>,
    process: Option<&'a str>,
}

#[derive(Serialize)]
struct Held<'a> {
    pid: u32,
    fd: i32,
    process: &'a str,
}

#[derive(Serialize)]
struct Clock {
    kind: &'static str,
    expires_ms: u32,
    tries: u8,
}

#[derive(Serialize)]
struct Shut {
    reading: bool,
    writing: bool,
}

/// With --wide.
#[derive(Serialize)]
struct Wide {
    uid: Option<u32>,
    inode: u64,
    timer: Option<Clock>,
    shut: Option<Shut>,
}

/// With --wide: what only sock_diag tells, and not of listeners and minisockets.
#[derive(Serialize)]
struct More<'a> {
    rcv_mss: u32,
    rttvar_us: u32,
    min_rtt_us: Option<u32>,
    rto_us: u32,
    ssthresh: Option<u32>,
    unacked: u32,
    lost: u32,
    retrans_total: u32,
    notsent: Option<u32>,
    bytes_sent: Option<u64>,
    bytes_acked: Option<u64>,
    bytes_received: Option<u64>,
    bytes_retrans: Option<u64>,
    last_data_sent_ms: u32,
    last_data_recv_ms: u32,
    last_ack_recv_ms: u32,
    delivery_rate: Option<u64>,
    busy_us: Option<u64>,
    rwnd_limited_us: Option<u64>,
    sndbuf_limited_us: Option<u64>,
    timestamps: bool,
    sack: bool,
    rcvbuf: Option<u32>,
    sndbuf: Option<u32>,
    drops: Option<u32>,
    congestion: Option<&'a str>,
}

impl<'a> Object<'a> {
    fn of(plan: &'a Plan, view: &'a View<'a>) -> Self {
        let snapshot = view.snapshot;
        let since_epoch = snapshot.clock.duration_since(UNIX_EPOCH).unwrap_or_default();
        let sockets = view.unread();
        Object {
            schema: 1,
            port: plan.target.port,
            hosts: &plan.target.hosts,
            taken_at_ms: u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
            source: snapshot.source.name(),
            source_note: match snapshot.source {
                Source::SockDiag => None,
                Source::ProcNet(why) => Some(why.to_string()),
            },
            counts: Counts(TcpState::ALL.map(|state| (state, view.count(state)))),
            sockets: Entries { snapshot, picked: &view.picked, wide: plan.wide },
            unread: (sockets > 0).then_some(Hidden {
                sockets,
                processes: snapshot.unread.processes,
                unlock: Unread::UNLOCK,
            }),
        }
    }
}

fn entry<'a>(snapshot: &'a Snapshot, socket: &'a Socket, wide: bool) -> Entry<'a> {
    let tcp = &socket.tcp;
    let info = tcp.info.as_deref();
    let owner = socket.owners.first();
    let age: Option<Age> = snapshot.age(socket);
    let (local, remote) = tcp.ends();
    let listens = tcp.state == TcpState::Listen;
    let has_scales = |info: &&TcpInfo| info.snd_wscale.is_some() || info.rcv_wscale.is_some();
    let scales = info.filter(has_scales);
    Entry {
        state: tcp.state.name(),
        local: Address(local),
        remote: if listens { Remote::Any { is_v6: tcp.is_v6() } } else { Remote::Of(Address(remote)) },
        pid: owner.map(|owner| owner.pid),
        fd: owner.map(|owner| owner.fd),
        process: owner.map(|owner| &*owner.process),
        recv_q: tcp.recv_q,
        send_q: tcp.send_q,
        mss: info.map(|info| info.snd_mss),
        advmss: info.map(|info| info.advmss),
        pmtu: info.map(|info| info.pmtu).filter(|pmtu| *pmtu != 0),
        rtt_us: info.and_then(|info| info.rtt_us),
        cwnd: info.map(|info| info.cwnd),
        snd_wnd: info.and_then(|info| info.snd_wnd),
        rcv_wnd: info.and_then(|info| info.rcv_wnd),
        wscale: scales.map(|info| Scales { snd: info.snd_wscale, rcv: info.rcv_wscale }),
        who_closed_first: snapshot.closer(socket).map(Closer::name),
        age_ms: age.map(|age| age.ms),
        age_at_least: age.map(|age| age.at_least),
        role: socket.role.name(),
        family: if tcp.is_v6() { 6 } else { 4 },
        peer: snapshot.peer(socket).map(peer),
        accepted: (tcp.state == TcpState::Established || tcp.state == TcpState::CloseWait)
            .then_some(!socket.is_unaccepted()),
        owners: (socket.owners.len() > 1).then(|| socket.owners.iter().map(held).collect()),
        wide: wide.then(|| self::wide(socket)),
        more: info.filter(|_| wide).map(|info| more(info, tcp.memory, tcp.congestion.as_deref())),
    }
}

fn wide(socket: &Socket) -> Wide {
    let tcp = &socket.tcp;
    let shut = tcp.shutdown.filter(|_| tcp.state != TcpState::Listen);
    Wide {
        uid: (tcp.inode != 0).then_some(tcp.uid),
        inode: tcp.inode,
        timer: tcp.timer.map(clock),
        shut: shut.map(|shut| Shut { reading: shut.reading, writing: shut.writing }),
    }
}

fn peer(peer: &Socket) -> Peer<'_> {
    let owner = peer.owners.first();
    Peer {
        state: peer.tcp.state.name(),
        pid: owner.map(|owner| owner.pid),
        fd: owner.map(|owner| owner.fd),
        process: owner.map(|owner| &*owner.process),
    }
}

fn held(owner: &Owner) -> Held<'_> {
    Held { pid: owner.pid, fd: owner.fd, process: &owner.process }
}

fn clock(timer: Timer) -> Clock {
    let kind = match timer.kind {
        TimerKind::Retransmit => "retransmit",
        TimerKind::Keepalive => "keepalive",
        TimerKind::TimeWait => "time-wait",
        TimerKind::ZeroWindow => "zero-window",
        TimerKind::Other(_) => "other",
    };
    Clock { kind, expires_ms: timer.expires_ms, tries: timer.tries }
}

fn more<'a>(info: &TcpInfo, memory: Option<Memory>, congestion: Option<&'a str>) -> More<'a> {
    More {
        rcv_mss: info.rcv_mss,
        rttvar_us: info.rttvar_us,
        min_rtt_us: info.min_rtt_us,
        rto_us: info.rto_us,
        ssthresh: info.ssthresh,
        unacked: info.unacked,
        lost: info.lost,
        retrans_total: info.total_retrans,
        notsent: info.notsent,
        bytes_sent: info.bytes_sent,
        bytes_acked: info.bytes_acked,
        bytes_received: info.bytes_received,
        bytes_retrans: info.bytes_retrans,
        last_data_sent_ms: info.last_data_sent_ms,
        last_data_recv_ms: info.last_data_recv_ms,
        last_ack_recv_ms: info.last_ack_recv_ms,
        delivery_rate: info.delivery_rate,
        busy_us: info.busy_us,
        rwnd_limited_us: info.rwnd_limited_us,
        sndbuf_limited_us: info.sndbuf_limited_us,
        timestamps: info.timestamps,
        sack: info.sack,
        rcvbuf: memory.map(|memory| memory.receive_buffer),
        sndbuf: memory.map(|memory| memory.send_buffer),
        drops: memory.and_then(|memory| memory.drops),
        congestion,
    }
}
