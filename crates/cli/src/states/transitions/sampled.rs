//! What moved between two looks, inferred: a connection that stood in one state and now stands in another has gone the
//! way between them.
//!
//! What that cannot see:
//! (a) A connection that came and went between two looks is known only by the TIME-WAIT that it leaves at the end that
//!     closed first. Where it was reset it leaves none.
//! (b) One that is gone, and was not the first to close, was either closed or reset: only the other end, if it is on this
//!     machine, tells which.
//! (c) Ways beside the usual ones (both ends at once) are seen only when a look happens to fall into them.

use super::life::{Close, Life, Open};
use super::{Ends, Pick};
use crate::inspect::{Snapshot, Socket};
use crate::states::diagram::{Edge, Flow, Other};
use duolu_sys::tcp_diag::TcpState;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A socket as the last look saw it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: TcpState,
    open: Open,
    cookie: u64,
    /// No process has it.
    orphan: bool,
    /// It is one of those that are asked for.
    asked: bool,
}

/// Listeners may share an address, and are told apart by the kernel's number; other sockets by their ends.
type Key = (Ends, u64);

/// Compares each look with the one before.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<HashMap<Key, Seen>>,
}

impl Sampler {
    /// What moved since the last look of the sockets that `pick` takes (`None`: all); nothing at the first. A connection
    /// that was taken once stays so, because its TIME-WAIT has no process any more; and what came out of a listener that
    /// is taken is taken, too.
    pub fn look(&mut self, snapshot: &Snapshot, pick: Option<&Pick>) -> Flow {
        let mut flow = Flow::default();
        let before = self.before.as_ref();
        let was_asked = |key: &Key| before.is_some_and(|seen| seen.get(key).is_some_and(|seen| seen.asked));
        let heard = Heard::of(snapshot, pick);
        let is_picked =
            |socket: &Socket| pick.is_none_or(|pick| pick(socket)) || heard.has(socket.tcp.ends().0);
        let seen = |socket: &Socket| Seen {
            state: socket.tcp.state,
            open: Open::of(socket.role),
            cookie: socket.tcp.cookie,
            orphan: socket.tcp.inode == 0,
            asked: is_picked(socket) || was_asked(&key(socket)),
        };
        let sockets = snapshot.sockets.iter().filter(|socket| socket.tcp.state != TcpState::Closed);
        let now: HashMap<Key, Seen> = sockets.clone().map(|socket| (key(socket), seen(socket))).collect();
        if let Some(before) = self.before.take() {
            let step = Comparison { before: &before, now: &now, heard: &heard };
            for socket in sockets {
                let (key, peer) = (key(socket), snapshot.peer(socket).map(|peer| peer.tcp.state));
                let Some(seen) = now.get(&key) else { continue };
                if seen.asked {
                    step.stands(&key, *seen, peer, &mut flow);
                }
                if !before.contains_key(&key) {
                    step.other_end_passed(&key, *seen, &mut flow);
                }
            }
            for (key, old) in before.iter().filter(|(key, old)| old.asked && !now.contains_key(*key)) {
                step.is_gone(key, *old, &mut flow);
            }
        }
        self.before = Some(now);
        flow
    }

    /// How many stood in FIN-WAIT-2 at the last look without a process.
    pub fn orphans(&self) -> u64 {
        let is_orphan = |seen: &&Seen| seen.asked && seen.orphan && seen.state == TcpState::FinWait2;
        self.before.as_ref().map_or(0, |seen| seen.values().filter(is_orphan).count() as u64)
    }

    /// Whether the socket is one of those that were taken at the last look.
    pub fn is_asked(&self, socket: &Socket) -> bool {
        self.before.as_ref().is_some_and(|seen| seen.get(&key(socket)).is_some_and(|seen| seen.asked))
    }
}

fn key(socket: &Socket) -> Key {
    let listens = socket.tcp.state == TcpState::Listen;
    (socket.tcp.ends(), if listens { socket.tcp.cookie } else { 0 })
}

/// The addresses of the listeners that are asked for.
#[derive(Debug, Default)]
struct Heard {
    everywhere: bool,
    at: HashSet<SocketAddr>,
}

impl Heard {
    fn of(snapshot: &Snapshot, pick: Option<&Pick>) -> Self {
        let Some(pick) = pick else { return Heard { everywhere: true, ..Heard::default() } };
        let listens = |socket: &&Socket| socket.tcp.state == TcpState::Listen && pick(socket);
        let at = snapshot.sockets.iter().filter(listens).map(|socket| socket.tcp.ends().0).collect();
        Heard { everywhere: false, at }
    }

    fn has(&self, end: SocketAddr) -> bool {
        let wildcard = |ip: IpAddr| self.at.contains(&SocketAddr::new(ip, end.port()));
        self.everywhere
            || self.at.contains(&end)
            || wildcard(Ipv4Addr::UNSPECIFIED.into())
            || wildcard(Ipv6Addr::UNSPECIFIED.into())
    }
}

struct Comparison<'a> {
    before: &'a HashMap<Key, Seen>,
    now: &'a HashMap<Key, Seen>,
    heard: &'a Heard,
}

impl Comparison<'_> {
    fn stands(&self, key: &Key, new: Seen, peer: Option<TcpState>, flow: &mut Flow) {
        let close = Close::of(new.state, peer);
        let Some(old) = self.before.get(key).copied() else {
            return begins(new, close, flow);
        };
        // What stays of a closed socket has a number of its own, and so has what becomes of a half-open one.
        let successor = new.orphan && matches!(new.state, TcpState::TimeWait | TcpState::FinWait2)
            || old.state == TcpState::SynReceived;
        let same = old.cookie == new.cookie || old.state != new.state && successor;
        if same && old.state == new.state {
            return;
        }
        let way = || Life { open: old.open, close }.between(old.state, new.state);
        match Edge::between(old.state, new.state).map(|edge| vec![edge]).or_else(way) {
            Some(edges) if same => take(&edges, flow),
            // The same two ends, and another connection.
            _ => {
                self.is_gone(key, old, flow);
                begins(new, close, flow);
            }
        }
    }

    fn is_gone(&self, key: &Key, old: Seen, flow: &mut Flow) {
        use TcpState::*;
        match old.state {
            Listen => return flow.take(Edge::ListenerClosed),
            TimeWait => return flow.take(Edge::Expired),
            LastAck => return flow.take(Edge::LastAcked),
            FinWait2 if old.orphan => return flow.other(Other::OrphanGivenUp),
            FinWait1 | FinWait2 | Closing => return flow.other(Other::CutOff),
            _ => {}
        }
        let ((local, remote), _) = *key;
        let other_end = ((remote, local), 0);
        let closed_first = |seen: &Seen| matches!(seen.state, TimeWait | FinWait2);
        let passive = Life { open: old.open, close: Close::Passive };
        match (self.now.get(&other_end), self.before.contains_key(&other_end), old.state) {
            (Some(other), _, _) if closed_first(other) => {
                take(&passive.between(old.state, Closed).unwrap_or_default(), flow);
            }
            (_, _, SynSent) => flow.take(Edge::ConnectFailed),
            (_, _, SynReceived) => flow.other(Other::HandshakeFailed),
            // Both ends were here and are gone, and neither left a TIME-WAIT behind.
            (None, true, _) => flow.other(Other::CutOff),
            // The peer is elsewhere, and had closed before: the usual end.
            (_, _, CloseWait) => take(&[Edge::PassiveClose, Edge::LastAcked], flow),
            _ => flow.other(Other::Vanished),
        }
    }

    /// (a): a connection within this machine that is known only by the TIME-WAIT of the end that closed first. The other
    /// end has gone its whole way.
    fn other_end_passed(&self, ((local, remote), _): &Key, new: Seen, flow: &mut Flow) {
        let other_end = ((*remote, *local), 0);
        let known = self.before.contains_key(&other_end) || self.now.contains_key(&other_end);
        let is_asked = self.heard.has(*remote);
        if new.state == TcpState::TimeWait && local.ip() == remote.ip() && is_asked && !known {
            let life = Life { open: new.open.other(), close: Close::Passive };
            take(&life.until(TcpState::Closed), flow);
        }
    }
}

/// A connection that the last look did not see.
fn begins(new: Seen, close: Close, flow: &mut Flow) {
    match new.state {
        TcpState::Listen => flow.take(Edge::PassiveOpen),
        state => take(&Life { open: new.open, close }.until(state), flow),
    }
}

fn take(edges: &[Edge], flow: &mut Flow) {
    edges.iter().for_each(|edge| flow.take(*edge));
}
