//! Which sockets of a snapshot are shown, and the two ends of a connection put together.

use super::args::Plan;
use crate::inspect::{Role, Snapshot, Socket};
use duolu_sys::tcp_diag::TcpState;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

/// What is shown of a snapshot.
pub struct View<'a> {
    /// All of it.
    pub snapshot: &'a Snapshot,
    /// The sockets that the filters take, in the snapshot's order.
    pub picked: Vec<&'a Socket>,
}

/// A connection: a client on the left and a server on the right where that is known, else this end on the left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row<'a> {
    /// The client's end.
    pub left: End<'a>,
    /// The server's end.
    pub right: End<'a>,
}

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End<'a> {
    /// Its address.
    pub address: SocketAddr,
    /// What is there.
    pub there: There<'a>,
}

/// What is at an end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum There<'a> {
    /// A socket of this machine.
    Here(&'a Socket),
    /// Nothing any more: its socket is gone, or in another network namespace.
    Gone,
    /// Another machine, of which nothing is known.
    Elsewhere,
}

impl<'a> There<'a> {
    /// The socket, if it is here.
    pub fn socket(self) -> Option<&'a Socket> {
        match self {
            There::Here(socket) => Some(socket),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// Applies the filters.
    pub fn of(plan: &Plan, snapshot: &'a Snapshot) -> Self {
        let picks = |socket: &&Socket| plan.filter.states.contains(socket.tcp.state) && plan.takes(socket);
        View { snapshot, picked: snapshot.sockets.iter().filter(picks).collect() }
    }

    /// How many of the sockets to be seen are held by somebody who is not.
    pub fn unread(&self) -> usize {
        let peers = self.picked.iter().filter_map(|socket| self.snapshot.peer(socket));
        let hidden = |socket: &&Socket| socket.tcp.inode != 0 && socket.owners.is_empty();
        let all = self.picked.iter().copied().chain(peers).filter(hidden);
        all.map(std::ptr::from_ref).collect::<HashSet<*const Socket>>().len()
    }

    /// How many of them are in each state.
    pub fn count(&self, state: TcpState) -> usize {
        self.picked.iter().filter(|socket| socket.tcp.state == state).count()
    }

    /// The listeners, by port.
    pub fn listeners(&self) -> Vec<&'a Socket> {
        let mut found: Vec<&Socket> =
            self.picked.iter().copied().filter(|socket| socket.tcp.state == TcpState::Listen).collect();
        found.sort_by_key(|socket| (socket.tcp.local.port(), socket.tcp.local.ip(), socket.tcp.inode));
        found
    }

    /// The connections, a pair of ends as one, in the order of a connection's life.
    pub fn rows(&self) -> Vec<Row<'a>> {
        let here = self.own_addresses();
        let mut paired: HashSet<*const Socket> = HashSet::new();
        let mut rows = Vec::new();
        for socket in self.picked.iter().copied().filter(|socket| socket.tcp.state != TcpState::Listen) {
            if paired.contains(&std::ptr::from_ref(socket)) {
                continue;
            }
            let peer = self.snapshot.peer(socket);
            paired.extend(peer.map(std::ptr::from_ref));
            rows.push(row(socket, peer, &here));
        }
        rows.sort_by_cached_key(|row| (order(row), row.right.address, row.left.address));
        rows
    }

    fn own_addresses(&self) -> HashSet<IpAddr> {
        self.snapshot.sockets.iter().map(|socket| socket.tcp.ends().0.ip()).collect()
    }
}

fn row<'a>(socket: &'a Socket, peer: Option<&'a Socket>, here: &HashSet<IpAddr>) -> Row<'a> {
    let (local, remote) = socket.tcp.ends();
    let own = End { address: local, there: There::Here(socket) };
    let there = match peer {
        Some(peer) => There::Here(peer),
        None if remote.ip().is_loopback() || here.contains(&remote.ip()) => There::Gone,
        None => There::Elsewhere,
    };
    let other = End { address: remote, there };
    let is_right = match (socket.role, peer.map(|peer| peer.role)) {
        (Role::Server, _) => true,
        (Role::Client, _) => false,
        (_, Some(Role::Client)) => true,
        // Which side is which is not known: the larger port is more often the client's.
        (_, Some(_)) => local.port() < remote.port(),
        (_, None) => false,
    };
    if is_right { Row { left: other, right: own } } else { Row { left: own, right: other } }
}

/// The place of a row's states in [`TcpState::ALL`]; the end that is further on decides, so that what closes stands
/// together.
pub fn order(row: &Row<'_>) -> (usize, usize) {
    let place = |end: &End<'_>| {
        let state = end.there.socket().map(|socket| socket.tcp.state)?;
        TcpState::ALL.iter().position(|other| *other == state)
    };
    let places: Vec<usize> = [place(&row.left), place(&row.right)].into_iter().flatten().collect();
    let latest = places.iter().max().copied().unwrap_or(0);
    (latest, places.iter().min().copied().unwrap_or(0))
}
