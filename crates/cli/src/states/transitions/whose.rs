//! Whether a change that the tracepoint tells is one of this network namespace: the tracepoint tells those of all, and
//! does not say which is whose.
//!
//! - A call (connect, listen, close) is made by a thread, and a thread is in one namespace. So is its socket.
//! - What a segment does to a socket that no call has touched yet (the server's end of a new connection): over loopback
//!   the other end is in the same namespace, and its connect() was a call. The thread that was interrupted says little:
//!   on a busy machine it is any.
//! - Else the address tells: this namespace has it, or not.

use super::Ends;
use duolu_sys::tcp_diag::TcpState;
use duolu_sys::tcp_trace::Transition;
use duolu_sys::tracepoint::Thread;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// Threads come and go, and their numbers are used again; addresses are added to a machine while we watch. And an end of
/// a connection follows the other within this time, or it is told by its own socket.
const FRESH: Duration = Duration::from_secs(5);
/// More sockets, and more threads, than that are not remembered.
const MOST: usize = 1 << 18;

/// Remembers what is ours.
#[derive(Debug)]
pub struct Whose {
    /// The inode of our namespace.
    own: Option<u64>,
    /// Threads that told it when they began.
    told: HashMap<u32, bool>,
    /// Threads that were there before. `None`: a thread of the kernel, gone already, or not to be looked at.
    found: HashMap<u32, Option<bool>>,
    addresses: HashMap<IpAddr, bool>,
    sockets: HashMap<u64, bool>,
    /// By their ends, the sockets of which something was told lately, and shortly before.
    ends: [HashMap<Ends, bool>; 2],
    refreshed: Instant,
}

impl Whose {
    pub fn new() -> Self {
        Whose {
            own: namespace("self"),
            told: HashMap::new(),
            found: HashMap::new(),
            addresses: HashMap::new(),
            sockets: HashMap::new(),
            ends: Default::default(),
            refreshed: Instant::now(),
        }
    }

    /// A thread tells where it is.
    pub fn is_told(&mut self, thread: Thread) {
        if self.told.len() >= MOST {
            self.told.clear();
        }
        if let Some(own) = self.own {
            self.told.insert(thread.tid, thread.network == own);
        }
    }

    /// Whether the change is one of this namespace.
    pub fn is_ours(&mut self, change: &Transition) -> bool {
        if self.refreshed.elapsed() > FRESH {
            self.found.clear();
            self.addresses.clear();
            self.ends.swap(0, 1);
            self.ends[0].clear();
            self.refreshed = Instant::now();
        }
        // The kernel uses the places of sockets again, and the end of one may have been hidden by the port's filter.
        let begins = change.old == TcpState::Closed || change.new == TcpState::SynReceived;
        if begins {
            self.sockets.remove(&change.socket);
        }
        let ours = self.decide(change);
        if self.sockets.len() >= MOST {
            self.sockets.clear();
        }
        match change.new {
            TcpState::Closed => drop(self.sockets.remove(&change.socket)),
            _ => drop(self.sockets.insert(change.socket, ours)),
        }
        if change.local.port() != 0 && self.ends[0].len() < MOST {
            self.ends[0].insert((change.local, change.remote), ours);
        }
        ours
    }

    fn decide(&mut self, change: &Transition) -> bool {
        if !change.interrupt
            && let Some(ours) = self.is_our_thread(change.tid)
        {
            return ours;
        }
        if let Some(ours) = self.sockets.get(&change.socket) {
            return *ours;
        }
        let ip = change.local.ip();
        if !ip.is_loopback() && !ip.is_unspecified() {
            return *self.addresses.entry(ip).or_insert_with(|| UdpSocket::bind((ip, 0)).is_ok());
        }
        let other_end = (change.remote, change.local);
        let known = self.ends.iter().find_map(|ends| ends.get(&other_end).copied());
        known.or_else(|| self.is_our_thread(change.tid)).unwrap_or(true)
    }

    fn is_our_thread(&mut self, tid: u32) -> Option<bool> {
        let own = self.own?;
        if let Some(ours) = self.told.get(&tid) {
            return Some(*ours);
        }
        *self.found.entry(tid).or_insert_with(|| {
            if tid == 0 || fs::read_link(format!("/proc/{tid}/exe")).is_err() {
                return None;
            }
            namespace(&tid.to_string()).map(|of| of == own)
        })
    }
}

fn namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|entry| entry.ino())
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    const OURS: u32 = 1;
    const THEIRS: u32 = 2;

    fn whose() -> Whose {
        let mut whose = Whose { own: Some(100), ..Whose::new() };
        whose.is_told(Thread { tid: OURS, network: 100 });
        whose.is_told(Thread { tid: THEIRS, network: 200 });
        whose
    }

    fn change(
        socket: u64,
        (old, new): (TcpState, TcpState),
        ends: (&str, &str),
        by: u32,
        interrupt: bool,
    ) -> Transition {
        let address = |text: &str| text.parse().expect("an address");
        Transition {
            socket,
            old,
            new,
            local: address(ends.0),
            remote: address(ends.1),
            pid: by,
            tid: by,
            interrupt,
            time_ns: 0,
        }
    }

    #[test]
    fn a_connection_belongs_to_who_called_connect_whoever_is_interrupted() {
        for (caller, bystander) in [(OURS, THEIRS), (THEIRS, OURS)] {
            let mut whose = whose();
            let (client, server) = ("127.0.0.1:40000", "127.0.0.1:80");
            let expected = caller == OURS;
            for one in [
                change(1, (Closed, SynSent), ("127.0.0.1:0", server), caller, false),
                change(1, (SynSent, Established), (client, server), bystander, true),
                change(2, (Listen, SynReceived), (server, client), bystander, true),
                change(2, (SynReceived, Established), (server, client), bystander, true),
                change(1, (Established, FinWait1), (client, server), caller, false),
                change(2, (Established, CloseWait), (server, client), bystander, true),
            ] {
                assert_eq!(whose.is_ours(&one), expected, "{one:?}");
            }
            // The socket's place is used again, by the other namespace; how it ended was not told.
            let again = change(1, (Closed, SynSent), ("127.0.0.1:0", server), bystander, false);
            assert_eq!(whose.is_ours(&again), !expected);
            let again = change(2, (Listen, SynReceived), ("127.0.0.1:80", "127.0.0.1:1"), bystander, true);
            assert_eq!(whose.is_ours(&again), !expected, "nothing else is known of it");
        }
    }

    #[test]
    fn an_address_that_is_not_here_is_another_namespaces() {
        let mut whose = whose();
        // RFC 5737 keeps these addresses out of every network.
        let foreign = change(1, (Listen, SynReceived), ("192.0.2.1:80", "198.51.100.1:1234"), OURS, true);
        assert!(!whose.is_ours(&foreign));
        let nobody = change(2, (Listen, SynReceived), ("127.0.0.1:80", "127.0.0.1:1234"), 0, true);
        assert!(whose.is_ours(&nobody), "nothing speaks against it");
    }
}
