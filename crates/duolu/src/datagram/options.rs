//! How a datagram socket is to be used.

use duolu_sys::datagram::SocketOptions;

/// How a datagram socket is to be used. The default: 32 messages with each system call, 4 times a turn at most, of any length;
/// 1,024 messages or 1 MiB may wait to be sent.
#[derive(Clone, Copy, Debug)]
pub struct DatagramOptions {
    pub(super) socket: SocketOptions,
    pub(super) batch: (usize, usize),
    pub(super) batches: u32,
    pub(super) send_limit: (usize, usize),
    pub(super) priority: Option<u8>,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        DatagramOptions {
            socket: SocketOptions::default(),
            // More than 32 saves little: the system call is a thirtieth then. And no datagram has more bytes than 64 KiB.
            batch: (32, 64 * 1024),
            batches: 4,
            send_limit: (1024, 1024 * 1024),
            priority: None,
        }
    }
}

impl DatagramOptions {
    /// The default.
    pub fn new() -> Self {
        DatagramOptions::default()
    }
    /// Up to so many messages are received with each system call (1 to 1,024), up to so many bytes of each: longer ones are
    /// cut, which [`super::Message::is_truncated`] tells. Sockets of one loop that use the default share the memory, of which
    /// only as much is used as messages were long (whole pages); a socket that says otherwise has its own.
    pub fn batch(mut self, messages: usize, bytes: usize) -> Self {
        self.batch = (messages, bytes);
        self
    }
    /// Receives so many batches in a turn at most (at least 1), so that a flood does not starve others.
    pub fn batches_a_turn(mut self, batches: u32) -> Self {
        self.batches = batches.max(1);
        self
    }
    /// So many messages and bytes may wait to be sent.
    pub fn send_limit(mut self, messages: usize, bytes: usize) -> Self {
        self.send_limit = (messages, bytes);
        self
    }
    /// Has the kernel join datagrams of one sender into one message (UDP_GRO, Linux 5.0), where it can: receiving many costs a
    /// fraction then. Take them with [`super::Message::segments`].
    pub fn gro(mut self) -> Self {
        self.socket.gro = true;
        self
    }
    /// Has [`super::Message::local`] tell to which address a message was sent (IP_PKTINFO), and
    /// [`super::Datagrams::reply`] answer from there.
    pub fn local_address(mut self) -> Self {
        self.socket.local_address = true;
        self
    }
    /// Has [`super::Message::ecn`] tell the two bits of RFC 3168.
    pub fn ecn(mut self) -> Self {
        self.socket.ecn = true;
        self
    }
    /// Has errors of earlier datagrams told with the address they were sent to, and those of unconnected sockets at all
    /// (IP_RECVERR).
    pub fn icmp_errors(mut self) -> Self {
        self.socket.icmp_errors = true;
        self
    }
    /// 0 is the most urgent; must be below `Config::priorities`.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = Some(priority);
        self
    }
}
