//! /proc/net/tcp and tcp6: the same sockets where netlink is closed to us, with less about each (proc(5)).
//!
//! Traps:
//! (a) Addresses are words in the machine's byte order, ports are plain numbers, both in hexadecimal.
//! (b) Of a listener tx_queue is always 0: the backlog is not told.
//! (c) Times are in clock ticks of 1/100 s, whatever the kernel's own HZ is (USER_HZ).

use duolu_sys::tcp_diag::{Families, Ports, Query, TcpSocket, TcpState, Timer, TimerKind};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const MS_PER_TICK: u32 = 10;

/// The sockets that `query` picks; the details it may ask for are not there.
///
/// # Errors
/// The file of an asked family cannot be read; a machine without IPv6 has no tcp6, and that is none.
pub fn read(query: &Query) -> io::Result<Vec<TcpSocket>> {
    let mut found = Vec::new();
    if query.families != Families::V6 {
        found.extend(sockets(&fs::read_to_string("/proc/net/tcp")?, query));
    }
    if query.families != Families::V4 {
        match fs::read_to_string("/proc/net/tcp6") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            text => found.extend(sockets(&text?, query)),
        }
    }
    Ok(found)
}

/// Whether somebody has bound this port for UDP.
pub fn has_udp(port: u16) -> bool {
    let bound = |line: &str| -> Option<u16> { Some(address(line.split_whitespace().nth(1)?)?.port()) };
    ["/proc/net/udp", "/proc/net/udp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .any(|text| text.lines().skip(1).any(|line| bound(line) == Some(port)))
}

fn sockets<'a>(text: &'a str, query: &'a Query) -> impl Iterator<Item = TcpSocket> + 'a {
    text.lines().skip(1).filter_map(socket).filter(|socket| {
        query.states.contains(socket.state)
            && match query.ports {
                Ports::Any => true,
                Ports::Local(port) => socket.local.port() == port,
                Ports::Either(port) => [socket.local.port(), socket.remote.port()].contains(&port),
            }
    })
}

/// One line: sl, local, remote, state, tx:rx, timer:when, retransmits, uid, probes, inode, ...
fn socket(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = TcpState::from_raw(u8::from_str_radix(fields.next()?, 16).ok()?)?;
    let (send_q, recv_q) = two(fields.next()?)?;
    let (kind, ticks) = two(fields.next()?)?;
    let retransmits = u32::from_str_radix(fields.next()?, 16).ok()?;
    let uid = fields.next()?.parse().ok()?;
    let probes: u32 = fields.next()?.parse().ok()?;
    let inode = fields.next()?.parse().ok()?;
    let timer = TimerKind::from_raw(u8::try_from(kind).ok()?).map(|kind| Timer {
        kind,
        expires_ms: ticks.saturating_mul(MS_PER_TICK),
        tries: u8::try_from(retransmits.max(probes)).unwrap_or(u8::MAX),
    });
    Some(TcpSocket {
        state,
        local,
        remote,
        inode,
        uid,
        recv_q,
        // Trap (b).
        send_q: (state != TcpState::Listen).then_some(send_q),
        timer,
        cookie: 0,
        shutdown: None,
        only_v6: None,
        info: None,
        memory: None,
        congestion: None,
    })
}

/// `00000000:00000006`.
fn two(text: &str) -> Option<(u32, u32)> {
    let (first, second) = text.split_once(':')?;
    Some((u32::from_str_radix(first, 16).ok()?, u32::from_str_radix(second, 16).ok()?))
}

/// `0100007F:1F90`; trap (a).
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_sys::tcp_diag::{Diag, StateSet};
    use std::net::{TcpListener, TcpStream, UdpSocket};

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_are_read_as_the_kernel_writes_them() {
        let listener = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 \
                        4242 1 0000000000000000 100 0 0 10 0";
        let found = socket(listener).expect("a line");
        assert_eq!(
            (found.local.to_string().as_str(), found.recv_q, found.send_q),
            ("127.0.0.1:8080", 3, None)
        );
        assert_eq!((found.uid, found.inode, found.timer), (1000, 4242, None));
        let time_wait = "  12: 00000000000000000000000001000000:1F90 00000000000000000000000001000000:D431 06 \
                         00000000:00000000 03:00000F5A 00000000     0        0 0 3 0000000000000000";
        let found = socket(time_wait).expect("a line");
        assert_eq!((found.local.to_string().as_str(), found.remote.port()), ("[::1]:8080", 54321));
        let timer = found.timer.expect("it runs");
        assert_eq!((timer.kind, timer.expires_ms), (TimerKind::TimeWait, 39_300));
        for rubbish in ["", "0: x", "1: 0100007F:1F90 00000000:0000 0A", "1: 01:02 03:04 FF 0:0 0:0 0 0 0 0"]
        {
            assert_eq!(socket(rubbish), None, "{rubbish}");
        }
        assert_eq!(address("é100007F:1F90"), None);
    }

    #[test]
    fn it_agrees_with_sock_diag() {
        let listener = TcpListener::bind("[::1]:0").expect("bind");
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).expect("connect");
        // Other tests' clients may be in TIME-WAIT on this number, and end meanwhile.
        let is_ours = |socket: &TcpSocket| socket.state != TcpState::TimeWait;
        for states in [StateSet::ALL, StateSet::of(&[TcpState::Listen])] {
            for ports in [Ports::Either(port), Ports::Local(port)] {
                let query = Query { ports, states, ..Query::default() };
                let told = |found: Vec<TcpSocket>| {
                    let facts = |s: TcpSocket| (s.state, s.local, s.remote, s.inode, s.recv_q);
                    let mut found: Vec<_> = found.into_iter().filter(is_ours).map(facts).collect();
                    found.sort_unstable();
                    // The file may repeat a line where one read(2) ends and the next begins.
                    found.dedup();
                    found
                };
                let diag = Diag::open().expect("sock_diag").dump(&query).expect("an answer").sockets;
                assert!(!diag.is_empty());
                assert_eq!(told(read(&query).expect("readable")), told(diag), "{query:?}");
            }
        }
        let v4 = Query { families: Families::V4, ports: Ports::Either(port), ..Query::default() };
        assert!(!read(&v4).expect("readable").iter().any(is_ours));
    }

    #[test]
    fn a_port_of_udp_is_known() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let port = socket.local_addr().unwrap().port();
        assert!(has_udp(port));
        drop(socket);
        assert!(!has_udp(port));
    }
}
