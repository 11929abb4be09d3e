//! Listening sockets: whose they are, how long their queue is, which connections nobody has accepted yet.
//!
//! (a) The queue and its bound come from sock_diag (inet_diag, sock_diag(7)), because /proc/net/tcp does not
//!     show the bound. Where netlink is closed to us (some sandboxes), /proc/net/tcp answers without it.
//! (b) A connection that the kernel has completed and no process has accepted has no inode: that tells "in the
//!     listen queue" from "accepted and silent" for every single connection.

use super::process;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, socket_with};
use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;

/// A TCP socket as the kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// For a listening socket the connections that wait for accept(2); else bytes that wait for read(2).
    pub recv_q: u32,
    /// For a listening socket the bound of that queue, where known; else bytes not yet acknowledged.
    pub send_q: Option<u32>,
    /// 0: no process has it yet (see (b)).
    pub inode: u64,
}

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
    let all = sockets(LISTEN, target.port());
    let reaches = |entry: &&Entry| {
        let (bound, ip) = (entry.local.ip().to_canonical(), target.ip().to_canonical());
        bound == ip || bound.is_unspecified()
    };
    all.iter()
        .filter(reaches)
        .map(|entry| Queue { waiting: entry.recv_q, backlog: entry.send_q, inode: entry.inode })
        .collect()
}

/// The far ends of the connections to `target` that the kernel has completed and nobody has accepted.
pub fn not_accepted(target: SocketAddr) -> HashSet<SocketAddr> {
    sockets(ESTABLISHED, target.port())
        .into_iter()
        .filter(|entry| entry.inode == 0 && entry.local.ip().to_canonical() == target.ip().to_canonical())
        .map(|entry| SocketAddr::new(entry.remote.ip().to_canonical(), entry.remote.port()))
        .collect()
}

/// The processes (of our own user, unless we are root) that hold one of these listening sockets, lowest pid
/// first: the parent before the workers that inherited it. Walks /proc/*/fd: O(descriptors of the machine).
pub fn owners(queues: &[Queue]) -> Vec<u32> {
    let wanted: HashSet<String> = queues.iter().map(|queue| format!("socket:[{}]", queue.inode)).collect();
    let me = std::process::id();
    let mut pids: Vec<u32> =
        process::all().into_iter().filter(|&pid| pid != me && holds(pid, &wanted)).collect();
    pids.sort_unstable();
    pids
}

/// The processes that listen where `target` points to; see [`owners`].
pub fn server_pids(target: SocketAddr) -> Vec<u32> {
    let queues = queues(target);
    if queues.is_empty() { Vec::new() } else { owners(&queues) }
}

fn holds(pid: u32, wanted: &HashSet<String>) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    entries
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|link| link.to_str().is_some_and(|link| wanted.contains(link)))
}

/// TCP sockets in `state` on local port `port`, of both address families.
fn sockets(state: u8, port: u16) -> Vec<Entry> {
    let families = [(AddressFamily::INET, "/proc/net/tcp"), (AddressFamily::INET6, "/proc/net/tcp6")];
    families
        .into_iter()
        .flat_map(|(family, path)| diag(family, state, port).unwrap_or_else(|_| from_proc(path, state, port)))
        .collect()
}

/// One sock_diag dump, filtered by the kernel.
fn diag(family: AddressFamily, state: u8, port: u16) -> rustix::io::Result<Vec<Entry>> {
    const BY_FAMILY: u16 = 20;
    const REQUEST_DUMP: u16 = 0x301;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // struct nlmsghdr, then struct inet_diag_req_v2 (linux/inet_diag.h); unused fields stay 0.
    let mut request = [0u8; 16 + 56];
    request[0..4].copy_from_slice(&72u32.to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    request[16] = family.as_raw() as u8;
    request[17] = 6; // IPPROTO_TCP
    request[20..24].copy_from_slice(&(1u32 << state).to_ne_bytes());
    request[24..26].copy_from_slice(&port.to_be_bytes());
    rustix::net::send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let (got, _) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if got == 0 || collect(&buffer[..got], &mut found)? {
            return Ok(found);
        }
    }
}

/// Takes one datagram apart. `true`: it was the last.
fn collect(mut data: &[u8], found: &mut Vec<Entry>) -> rustix::io::Result<bool> {
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    while let Some(header) = data.get(..16) {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        match u16::from_ne_bytes([header[4], header[5]]) {
            DONE => return Ok(true),
            ERROR => return Err(rustix::io::Errno::PERM),
            _ => {}
        }
        let Some(message) = data.get(16..length) else { return Err(rustix::io::Errno::BADMSG) };
        found.extend(entry(message));
        data = data.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// struct inet_diag_msg.
fn entry(message: &[u8]) -> Option<Entry> {
    let message: &[u8; 72] = message.get(..72)?.try_into().ok()?;
    let word =
        |at: usize| u32::from_ne_bytes([message[at], message[at + 1], message[at + 2], message[at + 3]]);
    let port = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    let ip = |at: usize| -> IpAddr {
        let bytes: [u8; 16] = std::array::from_fn(|i| message[at + i]);
        match message[0] == AddressFamily::INET.as_raw() as u8 {
            true => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            false => Ipv6Addr::from(bytes).into(),
        }
    };
    Some(Entry {
        local: SocketAddr::new(ip(8), port(4)),
        remote: SocketAddr::new(ip(24), port(6)),
        recv_q: word(56),
        send_q: Some(word(60)),
        inode: u64::from(word(68)),
    })
}

/// The same from /proc/net/tcp, which does not tell the backlog.
fn from_proc(path: &str, state: u8, port: u16) -> Vec<Entry> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(proc_line)
        .filter(|(entry, found)| *found == state && entry.local.port() == port)
        .map(|(entry, _)| entry)
        .collect()
}

fn proc_line(line: &str) -> Option<(Entry, u8)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, recv_q) = fields.get(4)?.split_once(':')?;
    let entry = Entry {
        local: proc_address(fields.get(1)?)?,
        remote: proc_address(fields.get(2)?)?,
        recv_q: u32::from_str_radix(recv_q, 16).ok()?,
        send_q: None,
        inode: fields.get(9)?.parse().ok()?,
    };
    Some((entry, u8::from_str_radix(fields.get(3)?, 16).ok()?))
}

/// `0100007F:1F90`: words in the machine's byte order, the port as a number.
fn proc_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<u32> = (0..ip.len() / 8)
        .map(|at| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
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
        let by_proc = from_proc("/proc/net/tcp", LISTEN, target.port());
        assert_eq!((by_proc.len(), by_proc[0].recv_q, by_proc[0].inode), (1, 1, queue.inode));
        let by_proc = from_proc("/proc/net/tcp", ESTABLISHED, target.port());
        assert_eq!(by_proc.iter().filter(|entry| entry.inode == 0).count(), 1);
    }

    #[test]
    fn both_families_and_the_wildcard_are_read() {
        let Ok(listener) = TcpListener::bind("[::]:0") else { return };
        let port = listener.local_addr().expect("address").port();
        assert_eq!(queues(SocketAddr::from(([127, 0, 0, 1], port))).len(), 1);
        assert_eq!(
            proc_address("0100007F:1F90"),
            Some("127.0.0.1:8080".parse().unwrap()).filter(|_| cfg!(target_endian = "little"))
        );
        assert_eq!(proc_address("rubbish"), None);
        assert_eq!(queues(SocketAddr::from(([127, 0, 0, 1], 1))), Vec::new());
    }
}
