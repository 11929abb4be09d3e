//! What is answered: struct inet_diag_msg and its attributes.

use super::bytes::{Bytes, attributes};
use super::request::{CONG, INFO, SHUTDOWN, SKMEMINFO, SKV6ONLY};
use super::{TcpInfo, TcpState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A TCP socket as the kernel tells it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcpSocket {
    /// Its state.
    pub state: TcpState,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end; of a listener the wildcard address and port 0.
    pub remote: SocketAddr,
    /// The inode of the descriptor. 0: no process has it, because it is not accepted yet, or closed already.
    pub inode: u64,
    /// The user who made it. 0 also for what no process has any more.
    pub uid: u32,
    /// Bytes that came and wait for read(2). Of a listener: connections that wait for accept(2).
    pub recv_q: u32,
    /// Bytes written and not yet acknowledged. Of a listener: the bound of its queue, listen(2)'s backlog after the cut
    /// to somaxconn (`None` where only /proc/net/tcp can be read).
    pub send_q: Option<u32>,
    /// The timer that runs.
    pub timer: Option<Timer>,
    /// The kernel's number of the socket, unique while the machine is up. 0: not known.
    pub cookie: u64,
    /// Which directions the program has shut. `None`: not told (minisockets).
    pub shutdown: Option<Shut>,
    /// IPV6_V6ONLY of an IPv6 socket.
    pub only_v6: Option<bool>,
    /// Where asked for, and not of listeners and minisockets.
    pub info: Option<Box<TcpInfo>>,
    /// Where asked for, and not of minisockets.
    pub memory: Option<Memory>,
    /// The name of the congestion control, where asked for.
    pub congestion: Option<Box<str>>,
}

/// The timer of a socket, and how long until it is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timer {
    /// Which.
    pub kind: TimerKind,
    /// Milliseconds until it is due.
    pub expires_ms: u32,
    /// How often it has been due without an answer.
    pub tries: u8,
}

/// What a socket waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimerKind {
    /// An acknowledgement; then the segment is sent again.
    Retransmit,
    /// A sign of life (SO_KEEPALIVE), or, of an orphan in FIN-WAIT-2, the peer's FIN.
    Keepalive,
    /// The end of TIME-WAIT, or of a FIN-WAIT-2 that has no process: the socket is a minisocket.
    TimeWait,
    /// A window that opens again.
    ZeroWindow,
    /// A timer that this program does not know.
    Other(u8),
}

impl TimerKind {
    /// From idiag_timer, or the first number of `tr` in /proc/net/tcp. 0 is none.
    pub fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => return None,
            1 => TimerKind::Retransmit,
            2 => TimerKind::Keepalive,
            3 => TimerKind::TimeWait,
            4 => TimerKind::ZeroWindow,
            other => TimerKind::Other(other),
        })
    }
}

/// The directions that are shut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shut {
    /// Nothing more will be read: the peer's FIN came, or shutdown(SHUT_RD), or close.
    pub reading: bool,
    /// Nothing more will be written: FIN is on its way.
    pub writing: bool,
}

/// SO_MEMINFO: bytes of kernel memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// In the receive queue, with the kernel's own overhead.
    pub receive: u32,
    /// SO_RCVBUF as it is now.
    pub receive_buffer: u32,
    /// On its way to the device.
    pub send: u32,
    /// SO_SNDBUF as it is now.
    pub send_buffer: u32,
    /// In the send queue.
    pub send_queued: u32,
    /// Packets thrown away (Linux 4.7).
    pub drops: Option<u32>,
}

/// One reply. `None`: shorter than the struct, of another family, or in a state that RFC 9293 does not know.
pub(super) fn socket(message: &[u8]) -> Option<TcpSocket> {
    const FIXED: usize = 72;
    let all = Bytes(message.get(..FIXED)?);
    let state = TcpState::from_raw(all.u8(1)?)?;
    let family = i32::from(all.u8(0)?);
    let interface = all.u32(40)?;
    let mut socket = TcpSocket {
        state,
        local: address(family, all.array(8)?, all.be16(4)?, interface)?,
        remote: address(family, all.array(24)?, all.be16(6)?, interface)?,
        inode: u64::from(all.u32(68)?),
        uid: all.u32(64)?,
        recv_q: all.u32(56)?,
        send_q: Some(all.u32(60)?),
        timer: timer(all.u8(2)?, all.u8(3)?, all.u32(52)?),
        cookie: u64::from(all.u32(44)?) | u64::from(all.u32(48)?) << 32,
        shutdown: None,
        only_v6: None,
        info: None,
        memory: None,
        congestion: None,
    };
    for (kind, data) in attributes(&message[FIXED..]) {
        match kind {
            // A listener's is empty but for its queue, which is told above.
            INFO if state != TcpState::Listen => socket.info = TcpInfo::parse(data).map(Box::new),
            SKMEMINFO => socket.memory = memory(Bytes(data)),
            CONG => socket.congestion = text(data),
            SHUTDOWN => socket.shutdown = data.first().map(|bits| shut(*bits)),
            SKV6ONLY => socket.only_v6 = data.first().map(|flag| *flag != 0),
            _ => {}
        }
    }
    Some(socket)
}

fn timer(kind: u8, tries: u8, expires: u32) -> Option<Timer> {
    // A timer that has just become due counts backwards: the difference of two times is below zero.
    let expires_ms = if expires > i32::MAX as u32 { 0 } else { expires };
    TimerKind::from_raw(kind).map(|kind| Timer { kind, expires_ms, tries })
}

fn address(family: i32, bytes: [u8; 16], port: u16, interface: u32) -> Option<SocketAddr> {
    match family {
        libc::AF_INET => {
            let [a, b, c, d, ..] = bytes;
            Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(bytes);
            // A link-local address means something only with its interface.
            let scope = if ip.is_unicast_link_local() { interface } else { 0 };
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        _ => None,
    }
}

fn memory(words: Bytes<'_>) -> Option<Memory> {
    Some(Memory {
        receive: words.u32(0)?,
        receive_buffer: words.u32(4)?,
        send: words.u32(8)?,
        send_buffer: words.u32(12)?,
        send_queued: words.u32(20)?,
        drops: words.u32(32),
    })
}

fn shut(bits: u8) -> Shut {
    Shut { reading: bits & 1 != 0, writing: bits & 2 != 0 }
}

fn text(data: &[u8]) -> Option<Box<str>> {
    let name = data.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(Box::from)
}

impl TcpSocket {
    /// Whether it is a socket of AF_INET6, be it with mapped IPv4 addresses.
    pub fn is_v6(&self) -> bool {
        self.local.is_ipv6()
    }

    /// Both ends with mapped IPv4 addresses as plain ones, so that the two ends of a connection compare equal even if
    /// one program used an IPv6 socket for it.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        (canonical(self.local), canonical(self.remote))
    }
}

/// `[::ffff:127.0.0.1]:80` is `127.0.0.1:80`.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}
