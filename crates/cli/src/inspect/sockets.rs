//! Where the sockets come from: the kernel by sock_diag, or /proc/net/tcp where a sandbox closes that.
//!
//! Neither is a snapshot: the kernel walks its tables while connections come and go. One that changes its state
//! meanwhile may be told twice, and /proc/net/tcp may repeat any line where one read(2) ends and the next begins.

use super::proc_net;
use duolu_sys::tcp_diag::{Diag, DiagError, Query, TcpSocket, TcpState};
use foldhash::HashMapExt;
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Where the sockets were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Everything the kernel tells.
    SockDiag,
    /// States, ends, queues and inodes only: no backlog, MSS, path MTU, round-trip time, window.
    ProcNet(DiagError),
}

impl Source {
    /// The stable name, for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Source::SockDiag => "sock_diag",
            Source::ProcNet(_) => "/proc/net/tcp",
        }
    }
}

/// Neither way is open.
#[derive(Debug)]
pub struct Unreadable {
    diag: DiagError,
    proc_net: io::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the TCP sockets of this machine cannot be read: {}; and /proc/net/tcp: {}; mount /proc to unlock that",
            self.diag, self.proc_net
        )
    }
}

/// Reads sockets; for many readings keep one.
#[derive(Debug, Default)]
pub struct Reader {
    diag: Option<Diag>,
    closed: Option<DiagError>,
}

impl Reader {
    /// The sockets that `query` picks, none twice. A refusal of sock_diag is remembered, other failures are not.
    ///
    /// # Errors
    /// Neither way is open.
    pub fn read(&mut self, query: &Query) -> Result<(Vec<TcpSocket>, Source), Unreadable> {
        let (mut found, source) = self.told(query)?;
        index(&mut found);
        Ok((found, source))
    }

    /// The same, with the place of each connection.
    ///
    /// # Errors
    /// As of [`Reader::read`].
    pub fn read_indexed(&mut self, query: &Query) -> Result<(Vec<TcpSocket>, Source, Index), Unreadable> {
        let (mut found, source) = self.told(query)?;
        let index = index(&mut found);
        Ok((found, source, index))
    }

    fn told(&mut self, query: &Query) -> Result<(Vec<TcpSocket>, Source), Unreadable> {
        let diag = match self.closed.map_or_else(|| self.ask(query), Err) {
            Ok(found) => return Ok((found, Source::SockDiag)),
            Err(error) => error,
        };
        if matches!(diag, DiagError::Refused(..) | DiagError::Unsupported(..)) {
            self.closed = Some(diag);
        }
        match proc_net::read(query) {
            Ok(found) => Ok((found, Source::ProcNet(diag))),
            Err(proc_net) => Err(Unreadable { diag, proc_net }),
        }
    }

    fn ask(&mut self, query: &Query) -> Result<Vec<TcpSocket>, DiagError> {
        let diag = match &mut self.diag {
            Some(diag) => diag,
            none => none.insert(Diag::open()?),
        };
        diag.dump(query).map(|dump| dump.sockets)
    }
}

/// Where each connection stands, by its own end and the other one. Listeners have no other end, and are not in it.
pub type Index = foldhash::HashMap<(SocketAddr, SocketAddr), usize>;

/// Makes the index, and takes out what was told twice. The later report is kept: it is what became of the socket.
fn index(found: &mut Vec<TcpSocket>) -> Index {
    let mut index = Index::with_capacity(found.len());
    // Listeners may share an address (SO_REUSEPORT).
    let mut listeners: foldhash::HashSet<u64> = foldhash::HashSet::default();
    let mut earlier = Vec::new();
    for (at, tcp) in found.iter().enumerate() {
        let before = match tcp.state {
            TcpState::Listen => (!listeners.insert(tcp.inode)).then_some(at),
            _ => index.insert(tcp.ends(), at),
        };
        earlier.extend(before);
    }
    if earlier.is_empty() {
        return index;
    }
    earlier.sort_unstable();
    let mut at = 0;
    found.retain(|_| {
        at += 1;
        earlier.binary_search(&(at - 1)).is_err()
    });
    self::index(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_sys::tcp_diag::Ports;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_told_twice_counts_once_and_listeners_that_share_a_port_count_each() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        let query = Query { ports: Ports::Either(port), ..Query::default() };
        let (mut found, source) = Reader::default().read(&query).expect("sockets");
        // Another test's client may be in TIME-WAIT on this number.
        found.retain(|tcp| tcp.state != TcpState::TimeWait);
        assert_eq!((found.len(), source), (3, Source::SockDiag));
        let mut twice: Vec<TcpSocket> = found.iter().chain(&found).cloned().collect();
        // What became of the first of them in the meantime.
        let at = found.iter().position(|tcp| tcp.state != TcpState::Listen).expect("a connection");
        twice[found.len() + at].state = TcpState::CloseWait;
        let sharer = Vec::from([TcpSocket {
            inode: 1,
            ..twice.iter().find(|tcp| tcp.state == TcpState::Listen).cloned().expect("listed")
        }]);
        twice.extend(sharer);
        let places = index(&mut twice);
        assert_eq!((twice.len(), places.len()), (4, 2));
        assert_eq!(twice.iter().filter(|tcp| tcp.state == TcpState::CloseWait).count(), 1);
        assert!(places.iter().all(|(ends, at)| twice[*at].ends() == *ends));
    }

    #[test]
    fn a_closed_way_is_remembered_and_said() {
        let closed = DiagError::Incomplete("it never ends");
        let mut reader = Reader { diag: None, closed: Some(closed) };
        let (_, source) = reader.read(&Query::default()).expect("/proc/net/tcp");
        assert_eq!((source, source.name()), (Source::ProcNet(closed), "/proc/net/tcp"));
    }
}
