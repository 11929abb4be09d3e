//! Listening sockets: whose they are, how long their queue is, which connections nobody has accepted yet.
//!
//! (a) The queue and its bound come from sock_diag (inet_diag, sock_diag(7)), because /proc/net/tcp does not
//!     show the bound. Where netlink is closed to us (some sandboxes), /proc/net/tcp answers without it.
//! (b) A connection that the kernel has completed and no process has accepted has no inode: that tells "in the
//!     listen queue" from "accepted and silent" for every single connection.

use crate::inspect::owners;
use crate::inspect::sockets::Reader;
use duolu_sys::tcp_diag::{Ports, Query, StateSet, TcpSocket, TcpState};
use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

/// One listening socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// Connections that wait for accept(2).
    pub waiting: u32,
    /// listen(2)'s backlog after the cut to somaxconn. The kernel lets one more wait. `None`: not readable.
    pub backlog: Option<u32>,
    /// The inode of the socket.
    pub inode: u64,
}

impl Queue {
    /// Whether the next handshake is dropped.
    pub fn is_full(&self) -> bool {
        self.backlog.is_some_and(|backlog| self.waiting > backlog)
    }
}

/// The listening sockets that take connections to `target` (several with SO_REUSEPORT).
pub fn queues(target: SocketAddr) -> Vec<Queue> {
    let all = sockets(TcpState::Listen, target.port());
    let reaches = |entry: &&TcpSocket| {
        let (bound, ip) = (entry.local.ip().to_canonical(), target.ip().to_canonical());
        bound == ip || bound.is_unspecified()
    };
    all.iter()
        .filter(reaches)
        .map(|entry| Queue { waiting: entry.recv_q, backlog: entry.send_q, inode: entry.inode })
        .collect()
}

/// Connections to `target` that wait for accept(2), in all its queues together.
pub fn waiting(target: SocketAddr) -> u64 {
    queues(target).iter().map(|queue| u64::from(queue.waiting)).sum()
}

/// The far ends of the connections to `target` that the kernel has completed and nobody has accepted.
pub fn not_accepted(target: SocketAddr) -> HashSet<SocketAddr> {
    sockets(TcpState::Established, target.port())
        .into_iter()
        .filter(|entry| entry.inode == 0)
        .map(|entry| entry.ends())
        .filter(|(local, _)| local.ip() == target.ip().to_canonical())
        .map(|(_, remote)| remote)
        .collect()
}

/// The processes (of our own user, unless we are root) that hold one of these listening sockets, lowest pid
/// first: the parent before the workers that inherited it. Walks /proc/*/fd: O(descriptors of the machine).
pub fn owners(queues: &[Queue]) -> Vec<u32> {
    let wanted = queues.iter().map(|queue| queue.inode).collect();
    let (held, _) = owners::walk(&wanted);
    let pids: BTreeSet<u32> = held.into_values().flatten().map(|owner| owner.pid).collect();
    pids.into_iter().filter(|pid| *pid != std::process::id()).collect()
}

/// The processes that listen where `target` points to; see [`owners`].
pub fn server_pids(target: SocketAddr) -> Vec<u32> {
    let queues = queues(target);
    if queues.is_empty() { Vec::new() } else { owners(&queues) }
}

/// TCP sockets in `state` on local port `port`, of both address families. None where nothing can be read: the callers
/// look for evidence, and find none.
fn sockets(state: TcpState, port: u16) -> Vec<TcpSocket> {
    let query = Query { states: StateSet::of(&[state]), ports: Ports::Local(port), ..Query::default() };
    Reader::default().read(&query).map_or_else(|_| Vec::new(), |(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_that_nobody_accepted_are_seen_by_both_ways() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let target = listener.local_addr().expect("address");
        let first = TcpStream::connect(target).expect("connect");
        let second = TcpStream::connect(target).expect("connect");
        let queue = queues(target)[0];
        assert_eq!(queue.waiting, 2);
        assert!(queue.backlog.is_none_or(|backlog| backlog >= 2));
        let waiting = not_accepted(target);
        assert!(
            waiting.contains(&first.local_addr().unwrap()) && waiting.contains(&second.local_addr().unwrap())
        );
        let _accepted = listener.accept().expect("accept");
        assert_eq!(queues(target)[0].waiting, 1);
        assert!(!not_accepted(target).contains(&first.local_addr().unwrap()));
    }

    #[test]
    fn both_families_and_the_wildcard_are_read() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().expect("address").port();
        assert_eq!(queues(SocketAddr::from(([127, 0, 0, 1], port))).len(), 1);
        assert_eq!(queues(SocketAddr::from(([127, 0, 0, 1], 1))), Vec::new());
    }
}
