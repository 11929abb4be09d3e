//! Where the sockets come from: the kernel by sock_diag, or /proc/net/tcp where a sandbox closes that.
//!
//! Neither is a snapshot: the kernel walks its tables while connections come and go. One that changes its state
//! meanwhile may be told twice, and /proc/net/tcp may repeat any line where one read(2) ends and the next begins.

use super::proc_net;
use duolu_sys::tcp_diag::{Diag, DiagError, Query, TcpSocket, TcpState};
use std::collections::HashSet;
use std::fmt;
use std::io;

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
        let diag = match self.closed.map_or_else(|| self.ask(query), Err) {
            Ok(found) => return Ok((without_repeats(found), Source::SockDiag)),
            Err(error) => error,
        };
        if matches!(diag, DiagError::Refused(..) | DiagError::Unsupported(..)) {
            self.closed = Some(diag);
        }
        match proc_net::read(query) {
            Ok(found) => Ok((without_repeats(found), Source::ProcNet(diag))),
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

/// Of what was told twice the later is kept: it is what became of it. Listeners may share an address (SO_REUSEPORT).
fn without_repeats(mut found: Vec<TcpSocket>) -> Vec<TcpSocket> {
    let mut seen = HashSet::with_capacity(found.len());
    found.reverse();
    found.retain(|tcp| {
        let sharer = if tcp.state == TcpState::Listen { tcp.inode } else { 0 };
        seen.insert((tcp.ends(), sharer))
    });
    found.reverse();
    found
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
        let (found, source) = Reader::default().read(&query).expect("sockets");
        assert_eq!((found.len(), source), (3, Source::SockDiag));
        let mut told: Vec<TcpSocket> = found.iter().chain(&found).cloned().collect();
        assert_eq!(without_repeats(told.clone()), found);
        let sharer = told.iter_mut().find(|tcp| tcp.state == TcpState::Listen).expect("listed");
        sharer.inode += 1;
        assert_eq!(without_repeats(told).len(), 4);
    }

    #[test]
    fn a_closed_way_is_remembered_and_said() {
        let closed = DiagError::Incomplete("it never ends");
        let mut reader = Reader { diag: None, closed: Some(closed) };
        let (_, source) = reader.read(&Query::default()).expect("/proc/net/tcp");
        assert_eq!((source, source.name()), (Source::ProcNet(closed), "/proc/net/tcp"));
    }
}
