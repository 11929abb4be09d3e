//! What a state says of a connection's history: who closed first, since when it is in this state, which side it is.

use duolu_sys::tcp_diag::{Ports, TcpSocket, TcpState, TimerKind};
use std::net::SocketAddr;

/// Which end sent the first FIN, seen from one socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closer {
    /// This end.
    Local,
    /// The other end.
    Remote,
    /// Both, before either had seen the other's.
    Both,
}

impl Closer {
    /// The stable name, for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Closer::Local => "local",
            Closer::Remote => "remote",
            Closer::Both => "both",
        }
    }
}

/// How long a socket has been in its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Age {
    /// So many milliseconds.
    pub ms: u64,
    /// It may be longer: the kernel does not keep the time itself, only that of the last segment.
    pub at_least: bool,
}

/// Which side of a connection a socket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Takes connections.
    Listener,
    /// Came out of a listener, as far as ports can tell.
    Server,
    /// Has connected.
    Client,
    /// Nobody listens on either port any more.
    Unknown,
}

impl Role {
    /// The stable name, for JSON; `None` where it is not known.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Role::Listener => Some("listener"),
            Role::Server => Some("server"),
            Role::Client => Some("client"),
            Role::Unknown => None,
        }
    }
}

/// Who closed first, from the states of this end and, where it is on this machine too, of the other one.
///
/// TIME-WAIT of two ends that closed at the same time cannot be told from the usual one when only one end is to be seen:
/// it counts as this end's.
pub fn closer(state: TcpState, peer: Option<TcpState>) -> Option<Closer> {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck, TimeWait};
    match (state, peer) {
        (Closing, _) | (FinWait1, Some(FinWait1 | Closing)) | (TimeWait, Some(TimeWait | Closing)) => {
            Some(Closer::Both)
        }
        (FinWait1 | FinWait2 | TimeWait, _) => Some(Closer::Local),
        (CloseWait | LastAck, _) => Some(Closer::Remote),
        _ => None,
    }
}

/// The kernel keeps TIME-WAIT this long (TCP_TIMEWAIT_LEN); no setting changes it.
pub const TIME_WAIT_MS: u64 = 60_000;

/// How long the socket has been in its state, as far as anything tells.
///
/// - TIME-WAIT: the rest of its 60 seconds is told. A late FIN starts them anew.
/// - CLOSE-WAIT: FIN carries an ACK, and the time of the last ACK is told. It is FIN's own if data was last sent so long
///   before it (or never) that it cannot be the answer to that; otherwise FIN may be older.
/// - FIN-WAIT-2 likewise began with an ACK, and the peer may have sent more since.
pub fn age(tcp: &TcpSocket) -> Option<Age> {
    match tcp.state {
        TcpState::TimeWait => {
            let rest = tcp.timer.filter(|timer| timer.kind == TimerKind::TimeWait)?.expires_ms;
            Some(Age { ms: TIME_WAIT_MS.saturating_sub(u64::from(rest)), at_least: false })
        }
        TcpState::CloseWait => {
            let info = tcp.info.as_deref()?;
            // Keep-alive probes are acknowledged too, and are no data.
            let probed = tcp.timer.is_some_and(|timer| timer.kind == TimerKind::Keepalive);
            // What is not acknowledged after the retransmission timeout is sent again, which counts as sending.
            let ack_due_ms = info.last_ack_recv_ms.saturating_add(info.rto_us / 1000);
            let is_fin = info.data_segs_out == Some(0) || info.last_data_sent_ms > ack_due_ms;
            Some(Age { ms: u64::from(info.last_ack_recv_ms), at_least: probed || !is_fin })
        }
        TcpState::FinWait2 => {
            let info = tcp.info.as_deref()?;
            Some(Age { ms: u64::from(info.last_ack_recv_ms), at_least: true })
        }
        _ => None,
    }
}

/// The side of each. A server's port is one that somebody listens on; where nobody does any more, the port that was
/// asked for.
pub fn roles(found: &[TcpSocket], ports: Ports) -> Vec<Role> {
    let listening = found.iter().filter(|tcp| tcp.state == TcpState::Listen);
    let listeners: foldhash::HashSet<SocketAddr> = listening.map(|tcp| tcp.ends().0).collect();
    let wildcards: foldhash::HashSet<u16> =
        listeners.iter().filter(|at| at.ip().is_unspecified()).map(SocketAddr::port).collect();
    let is_heard = |at: &SocketAddr| wildcards.contains(&at.port()) || listeners.contains(at);
    let asked = match ports {
        Ports::Any => None,
        Ports::Local(port) | Ports::Either(port) => Some(port),
    };
    let role = |tcp: &TcpSocket| {
        if tcp.state == TcpState::Listen {
            return Role::Listener;
        }
        let (local, remote) = tcp.ends();
        match (is_heard(&local), is_heard(&remote)) {
            (true, false) => return Role::Server,
            (false, true) => return Role::Client,
            _ => {}
        }
        match (asked == Some(local.port()), asked == Some(remote.port())) {
            (true, false) => Role::Server,
            (false, true) => Role::Client,
            _ if matches!(tcp.state, TcpState::SynSent) => Role::Client,
            _ if matches!(tcp.state, TcpState::SynReceived) => Role::Server,
            _ => Role::Unknown,
        }
    };
    found.iter().map(role).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_sys::tcp_diag::{TcpInfo, Timer};

    fn tcp(state: TcpState, local: &str, remote: &str) -> TcpSocket {
        TcpSocket {
            state,
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
            inode: 1,
            uid: 0,
            recv_q: 0,
            send_q: Some(0),
            timer: None,
            cookie: 0,
            shutdown: None,
            only_v6: None,
            info: None,
            memory: None,
            congestion: None,
        }
    }

    /// tcp_info with an RTO of 200 ms and these times.
    fn info(sent_ms: u32, ack_ms: u32, data_segs_out: u32) -> Option<Box<TcpInfo>> {
        let mut bytes = [0u8; 232];
        for (at, value) in [(8, 200_000), (44, sent_ms), (56, ack_ms), (156, data_segs_out)] {
            bytes[at..at + 4].copy_from_slice(&u32::to_ne_bytes(value));
        }
        TcpInfo::parse(&bytes).map(Box::new)
    }

    #[test]
    fn the_state_tells_who_closed_first() {
        use TcpState::{CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, Listen, TimeWait};
        for (state, peer, expected) in [
            (Established, Some(Established), None),
            (Listen, None, None),
            (FinWait1, None, Some(Closer::Local)),
            (FinWait1, Some(FinWait1), Some(Closer::Both)),
            (FinWait2, Some(CloseWait), Some(Closer::Local)),
            (CloseWait, Some(FinWait2), Some(Closer::Remote)),
            (LastAck, None, Some(Closer::Remote)),
            (Closing, None, Some(Closer::Both)),
            (TimeWait, None, Some(Closer::Local)),
            (TimeWait, Some(TimeWait), Some(Closer::Both)),
        ] {
            assert_eq!(closer(state, peer), expected, "{state} {peer:?}");
        }
    }

    #[test]
    fn ages_are_told_as_exactly_as_the_kernel_knows_them() {
        let mut socket = tcp(TcpState::TimeWait, "127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(age(&socket), None);
        socket.timer = Some(Timer { kind: TimerKind::TimeWait, expires_ms: 41_500, tries: 0 });
        assert_eq!(age(&socket), Some(Age { ms: 18_500, at_least: false }));
        let mut socket = tcp(TcpState::CloseWait, "127.0.0.1:1", "127.0.0.1:2");
        assert_eq!(age(&socket), None);
        // Nothing was ever sent; long before; just before; after it.
        for (sent_ms, ack_ms, segments, at_least) in [
            (9_000, 5_000, 0, false),
            (9_000, 5_000, 7, false),
            (5_100, 5_000, 7, true),
            (10, 5_000, 7, true),
        ] {
            socket.info = info(sent_ms, ack_ms, segments);
            assert_eq!(age(&socket), Some(Age { ms: 5_000, at_least }), "{sent_ms} {ack_ms} {segments}");
        }
        socket.info = info(9_000, 5_000, 0);
        socket.timer = Some(Timer { kind: TimerKind::Keepalive, expires_ms: 1, tries: 0 });
        assert!(age(&socket).is_some_and(|age| age.at_least));
        assert_eq!(age(&tcp(TcpState::Established, "127.0.0.1:1", "127.0.0.1:2")), None);
    }

    #[test]
    fn sides_are_told_by_who_listens_and_else_by_the_port_asked_for() {
        use TcpState::{Established, FinWait2, Listen, SynSent};
        let (server, client) = ("127.0.0.1:80", "127.0.0.1:4000");
        let found = [
            tcp(Listen, "0.0.0.0:80", "0.0.0.0:0"),
            tcp(Established, server, client),
            tcp(Established, client, server),
            tcp(Established, "10.0.0.1:5000", "10.0.0.2:9"),
        ];
        let expected = [Role::Listener, Role::Server, Role::Client, Role::Unknown];
        assert_eq!(roles(&found, Ports::Any), expected);
        let orphans = [tcp(FinWait2, server, client), tcp(SynSent, client, server)];
        assert_eq!(roles(&orphans, Ports::Either(80)), [Role::Server, Role::Client]);
        assert_eq!(roles(&orphans, Ports::Any), [Role::Unknown, Role::Client]);
    }
}
