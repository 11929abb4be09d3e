//! The sockets of this machine as one moment shows them: states, ends, figures, and who holds them.
//!
//! [`Inspector::snapshot`] is the way in. [`sockets`] reads (sock_diag, or /proc/net/tcp where that is closed, and says
//! which), [`owners`] finds the processes, [`life`] tells what a state means for a connection's history. Shared by
//! `states`, `why` and the walls. Nothing here needs a privilege, and nothing changes what it looks at.

pub mod life;
pub mod owners;
pub mod proc_net;
pub mod sockets;

pub use life::{Age, Closer, Role};
pub use owners::{Owner, Unread};
pub use sockets::{Source, Unreadable};

use duolu_sys::tcp_diag::{Query, TcpSocket, TcpState};
use owners::Owners;
use sockets::{Index, Reader};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

/// One socket, with what the kernel alone does not say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Socket {
    /// As the kernel tells it.
    pub tcp: TcpSocket,
    /// The descriptors that hold it, lowest process first. Empty: nobody's (`tcp.inode` is 0), or not readable.
    pub owners: Vec<Owner>,
    /// Where in the snapshot the other end of the connection stands, if it is a socket of this machine too.
    pub peer: Option<usize>,
    /// Which side of the connection it is.
    pub role: Role,
    /// Since which of the snapshots in a row it has been in this state; not kept of listeners and of what is
    /// ESTABLISHED.
    pub seen_since: Option<Instant>,
}

impl Socket {
    /// Whether the handshake is done and nobody has called accept(2) for it yet.
    pub fn is_unaccepted(&self) -> bool {
        self.tcp.inode == 0 && matches!(self.tcp.state, TcpState::Established | TcpState::CloseWait)
    }

    /// Whether the program has closed it and the kernel alone brings it to its end.
    pub fn is_orphan(&self) -> bool {
        use TcpState::{Closed, Closing, FinWait1, FinWait2, LastAck, TimeWait};
        let closing = [FinWait1, FinWait2, Closing, LastAck, TimeWait, Closed];
        self.tcp.inode == 0 && closing.contains(&self.tcp.state)
    }
}

/// What one moment showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The sockets, in no order; no connection twice.
    pub sockets: Vec<Socket>,
    /// Where they were read.
    pub source: Source,
    /// What kept owners from being found.
    pub unread: Unread,
    /// When the reading began.
    pub taken_at: Instant,
    /// The same by the clock on the wall.
    pub clock: SystemTime,
}

impl Snapshot {
    /// The other end of a connection, if it is on this machine.
    pub fn peer(&self, socket: &Socket) -> Option<&Socket> {
        self.sockets.get(socket.peer?)
    }

    /// Which end closed first, where it can be known.
    pub fn closer(&self, socket: &Socket) -> Option<Closer> {
        life::closer(socket.tcp.state, self.peer(socket).map(|peer| peer.tcp.state))
    }

    /// How long it has been in its state: what the kernel tells, or, if that is longer, since when it has been seen so.
    pub fn age(&self, socket: &Socket) -> Option<Age> {
        let seen = socket.seen_since.map_or(Duration::ZERO, |since| self.taken_at.duration_since(since));
        let seen_ms = u64::try_from(seen.as_millis()).unwrap_or(u64::MAX);
        match life::age(&socket.tcp) {
            Some(age) if !age.at_least || age.ms >= seen_ms => Some(age),
            None if seen_ms == 0 => None,
            _ => Some(Age { ms: seen_ms, at_least: true }),
        }
    }
}

/// Takes snapshots; for many of them keep one.
#[derive(Debug, Default)]
pub struct Inspector {
    reader: Reader,
    owners: Owners,
    seen: foldhash::HashMap<Ends, Seen>,
}

/// An own end and the other one.
type Ends = (SocketAddr, SocketAddr);

/// What the last snapshot showed of one socket.
#[derive(Clone, Copy, Debug)]
struct Seen {
    state: TcpState,
    cookie: u64,
    since: Instant,
}

impl Inspector {
    /// Opens nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything about the sockets that `query` picks. Listeners on the port are told from `query.states`, so that
    /// roles need them in it. O(sockets) and, for the owners, O(descriptors of the machine); in a row of snapshots the
    /// latter takes at most a twentieth of the time (see [`owners`]).
    ///
    /// # Errors
    /// Neither sock_diag nor /proc/net/tcp can be read.
    pub fn snapshot(&mut self, query: &Query) -> Result<Snapshot, Unreadable> {
        let (taken_at, clock) = (Instant::now(), SystemTime::now());
        let (found, source, index) = self.reader.read_indexed(query)?;
        let wanted = found.iter().map(|tcp| tcp.inode).filter(|inode| *inode != 0).collect();
        let unread = self.owners.find(&wanted);
        let peers = peers(&found, &index);
        let roles = life::roles(&found, query.ports);
        let since = self.since(&found, taken_at);
        let parts = found.into_iter().zip(peers).zip(roles).zip(since);
        let sockets = parts
            .map(|(((tcp, peer), role), seen_since)| {
                let owners = self.owners.of(tcp.inode);
                Socket { owners, peer, role, seen_since, tcp }
            })
            .collect();
        Ok(Snapshot { sockets, source, unread, taken_at, clock })
    }

    /// Since when each has been in its state, as far as the snapshots before this one show.
    fn since(&mut self, found: &[TcpSocket], now: Instant) -> Vec<Option<Instant>> {
        let mut seen = foldhash::HashMap::default();
        let mut since = |tcp: &TcpSocket| {
            if matches!(tcp.state, TcpState::Listen | TcpState::Established) {
                return None;
            }
            let same = |before: &&Seen| before.state == tcp.state && before.cookie == tcp.cookie;
            let since = self.seen.get(&tcp.ends()).filter(same).map_or(now, |before| before.since);
            seen.insert(tcp.ends(), Seen { state: tcp.state, cookie: tcp.cookie, since });
            Some(since)
        };
        let all = found.iter().map(&mut since).collect();
        self.seen = seen;
        all
    }
}

/// For each socket the place of the one with the ends the other way round.
fn peers(found: &[TcpSocket], index: &Index) -> Vec<Option<usize>> {
    let peer = |(at, tcp): (usize, &TcpSocket)| {
        let (local, remote) = tcp.ends();
        // A socket that has connected to itself has no other end.
        index.get(&(remote, local)).copied().filter(|peer| *peer != at)
    };
    found.iter().enumerate().map(peer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_sys::tcp_diag::Ports;
    use std::net::{TcpListener, TcpStream};

    fn snapshot(port: u16) -> Snapshot {
        let query = Query { ports: Ports::Either(port), ..Query::default() };
        Inspector::new().snapshot(&query).expect("sockets")
    }

    #[test]
    fn both_ends_of_a_connection_find_each_other_and_their_process() {
        // An IPv6 listener whose client speaks IPv4: the two ends are told in different forms.
        let listener = TcpListener::bind("[::]:0").expect("bind");
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let before = snapshot(port);
        let waiting = before.sockets.iter().find(|socket| socket.is_unaccepted()).expect("in the queue");
        assert_eq!((waiting.role, waiting.owners.len()), (Role::Server, 0));
        let (server, _) = listener.accept().expect("accept");
        let now = snapshot(port);
        let count = |state| now.sockets.iter().filter(|socket| socket.tcp.state == state).count();
        assert_eq!((count(TcpState::Established), count(TcpState::Listen)), (2, 1));
        let own_port = client.local_addr().unwrap().port();
        // Others' TIME-WAIT may have the same numbers at other addresses.
        let is_ours = |socket: &&Socket| {
            socket.tcp.local.port() == own_port && socket.tcp.state == TcpState::Established
        };
        let ours = now.sockets.iter().find(is_ours).expect("the client");
        assert_eq!(ours.role, Role::Client);
        let theirs = now.peer(ours).expect("the other end");
        assert_eq!((theirs.role, now.closer(theirs)), (Role::Server, None));
        assert_eq!(now.peer(theirs), Some(ours));
        for (socket, stream) in [(ours, &client), (theirs, &server)] {
            let [owner] = &socket.owners[..] else { panic!("{:?}", socket.owners) };
            use std::os::fd::AsRawFd;
            assert_eq!((owner.pid, owner.fd), (std::process::id(), stream.as_raw_fd()));
        }
        let listening = now.sockets.iter().find(|socket| socket.role == Role::Listener).expect("listed");
        assert_eq!((listening.peer, listening.owners.len()), (None, 1));
    }

    #[test]
    fn what_the_kernel_does_not_tell_is_known_from_having_watched() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let (_server, _) = listener.accept().expect("accept");
        client.shutdown(std::net::Shutdown::Write).expect("shutdown");
        let mut inspector = Inspector::new();
        // Without tcp_info, as from /proc/net/tcp: the kernel tells nothing.
        let query = Query { ports: Ports::Local(port), ..Query::default() };
        let age = |inspector: &mut Inspector| {
            let now = inspector.snapshot(&query).expect("sockets");
            let waiting = now.sockets.iter().find(|socket| socket.tcp.state == TcpState::CloseWait);
            waiting.map(|socket| now.age(socket))
        };
        for _ in 0..500 {
            if age(&mut inspector).is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(20));
        let age = age(&mut inspector).expect("CLOSE-WAIT").expect("it has been seen before");
        assert!(age.at_least && age.ms >= 20, "{age:?}");
    }
}
