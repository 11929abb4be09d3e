//! The state of each end of a connection, as the kernel tells it to anybody: /proc/net/tcp of our own network.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// A TCP state, by the names of RFC 9293.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum State {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    /// There is no such socket.
    Closed,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl State {
    /// include/net/tcp_states.h.
    fn numbered(number: u8) -> Self {
        match number {
            1 => State::Established,
            2 => State::SynSent,
            3 | 12 => State::SynReceived,
            4 => State::FinWait1,
            5 => State::FinWait2,
            6 => State::TimeWait,
            8 => State::CloseWait,
            9 => State::LastAck,
            10 => State::Listen,
            11 => State::Closing,
            _ => State::Closed,
        }
    }

    /// The RFC's name.
    pub const fn name(self) -> &'static str {
        match self {
            State::Established => "ESTABLISHED",
            State::SynSent => "SYN-SENT",
            State::SynReceived => "SYN-RECEIVED",
            State::FinWait1 => "FIN-WAIT-1",
            State::FinWait2 => "FIN-WAIT-2",
            State::TimeWait => "TIME-WAIT",
            State::Closed => "CLOSED",
            State::CloseWait => "CLOSE-WAIT",
            State::LastAck => "LAST-ACK",
            State::Listen => "LISTEN",
            State::Closing => "CLOSING",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One socket, as a line of /proc/net/tcp has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Socket {
    /// Its own end.
    pub local: SocketAddr,
    /// The other end; all zeroes for a listener.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// Bytes sent and not acknowledged; for a listener nothing.
    pub send_q: u32,
    /// Bytes that wait for read(2); for a listener connections that wait for accept(2).
    pub recv_q: u32,
    /// When the running timer ends, in ticks of 10 ms: TIME-WAIT's, the retransmission's.
    pub timer_ticks: Option<u32>,
}

/// Every IPv4 socket of this network.
pub fn sockets() -> Vec<Socket> {
    let text = fs::read_to_string("/proc/self/net/tcp").unwrap_or_default();
    text.lines().skip(1).filter_map(line).collect()
}

/// The state of the end at `local` of its connection with `remote`.
pub fn state(local: SocketAddr, remote: SocketAddr) -> State {
    socket(local, remote).map_or(State::Closed, |socket| socket.state)
}

/// The end at `local` of its connection with `remote`.
pub fn socket(local: SocketAddr, remote: SocketAddr) -> Option<Socket> {
    sockets().into_iter().find(|socket| socket.local == local && socket.remote == remote)
}

/// The sockets on a port, in this order: listening first.
pub fn on_port(port: u16) -> Vec<Socket> {
    let mut found: Vec<Socket> = sockets().into_iter().filter(|socket| socket.local.port() == port).collect();
    found.sort_by_key(|socket| socket.state != State::Listen);
    found
}

fn line(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    let (send_q, recv_q) = fields.get(4)?.split_once(':')?;
    let (timer, ticks) = fields.get(5)?.split_once(':')?;
    Some(Socket {
        local: address(fields.get(1)?)?,
        remote: address(fields.get(2)?)?,
        state: State::numbered(hex(fields.get(3)?)? as u8),
        send_q: hex(send_q)?,
        recv_q: hex(recv_q)?,
        timer_ticks: (timer != "00").then(|| hex(ticks)).flatten(),
    })
}

/// `0100007F:1F90`: the address in the machine's byte order, the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Shutdown, TcpListener, TcpStream};

    #[test]
    fn both_ends_of_a_connection_are_found_in_their_states() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let client = TcpStream::connect(there).unwrap();
        let here = client.local_addr().unwrap();
        let served = listener.accept().unwrap().0;
        assert_eq!((state(here, there), state(there, here)), (State::Established, State::Established));
        client.shutdown(Shutdown::Write).unwrap();
        let seen = (0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            (state(here, there), state(there, here)) == (State::FinWait2, State::CloseWait)
        });
        assert!(seen, "{:?}", sockets());
        assert_eq!(on_port(there.port())[0].state, State::Listen);
        drop((client, served));
        assert_eq!(state(here, "127.0.0.2:1".parse().unwrap()), State::Closed);
    }
}
