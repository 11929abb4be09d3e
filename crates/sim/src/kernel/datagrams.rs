//! Datagrams: lost, doubled and overtaken on their way, as the seed has it. A port without a socket answers (ICMP), and a send
//! buffer is full until what was sent has left it.

use super::{Packet, SimKernel};
use crate::end::EndKind;
use crate::errno::{EADDRINUSE, EAGAIN, EBADF, ECONNREFUSED};
use duolu_core::{Errno, RawFd, Ready};

/// Datagrams that a socket's buffers hold, each way. Small, so that tests fill them.
const DATAGRAMS: usize = 64;

/// What happens to datagrams on their way. Nothing, at first, and it takes no time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DatagramNet {
    /// Least travel time.
    pub min_ns: u64,
    /// Most travel time: what is sent later may arrive earlier.
    pub max_ns: u64,
    /// Lost, per thousand.
    pub loss_permille: u32,
    /// Delivered twice, per thousand.
    pub double_permille: u32,
    /// How long each stays in the send buffer.
    pub leaving_ns: u64,
}

impl SimKernel {
    /// A datagram socket with that port. EADDRINUSE: there is one.
    pub fn datagram_socket(&mut self, port: u16) -> Result<RawFd, Errno> {
        if self.ports.contains_key(&port) {
            return Err(EADDRINUSE);
        }
        let fd = self.single(EndKind::Datagram)?;
        let file = self.file_of(fd)?;
        self.ports.insert(port, file);
        let open = self.open_mut(file);
        (open.port, open.capacity) = (port, DATAGRAMS);
        Ok(fd)
    }

    /// Sends one. EAGAIN: the send buffer is full. ECONNREFUSED: an earlier one met a port without a socket; this one was not
    /// sent.
    pub fn send_datagram(&mut self, fd: RawFd, to: u16, bytes: &[u8]) -> Result<(), Errno> {
        let file = self.datagram_file(fd)?;
        let net = self.datagrams;
        let open = self.open_mut(file);
        if open.in_flight >= open.capacity {
            return Err(EAGAIN);
        }
        open.in_flight += 1;
        let from = open.port;
        self.send_at(self.now_ns + net.leaving_ns, file, Packet::Left);
        let Some(&peer) = self.ports.get(&to) else {
            let at_ns = self.travel_ns() + self.travel_ns() - self.now_ns;
            self.send_at(at_ns, file, Packet::Refused);
            return Ok(());
        };
        if self.rng.chance(net.loss_permille) {
            return Ok(());
        }
        let copies = 1 + u32::from(self.rng.chance(net.double_permille));
        for _ in 0..copies {
            let at_ns = self.travel_ns();
            self.send_at(at_ns, peer, Packet::Datagram { from, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    /// Receives one, with the port it came from. EAGAIN: none is there. ECONNREFUSED: as in `send_datagram`.
    pub fn receive_datagram(&mut self, fd: RawFd) -> Result<(u16, Vec<u8>), Errno> {
        let file = self.datagram_file(fd)?;
        self.open_mut(file).messages.pop_front().ok_or(EAGAIN)
    }

    /// Takes the error that waits, if one does (SO_ERROR).
    pub fn take_datagram_error(&mut self, fd: RawFd) -> bool {
        self.datagram_file(fd) == Err(ECONNREFUSED)
    }

    /// Every call tells an error that waits, and does nothing else then (sock_error).
    fn datagram_file(&mut self, fd: RawFd) -> Result<crate::end::FileId, Errno> {
        let file = self.file_of(fd)?;
        self.activity += 1;
        let open = self.open_mut(file);
        if open.kind != EndKind::Datagram {
            return Err(EBADF);
        }
        if core::mem::take(&mut open.refused) {
            self.touch(file, Ready::NONE);
            return Err(ECONNREFUSED);
        }
        Ok(file)
    }

    fn travel_ns(&mut self) -> u64 {
        let net = self.datagrams;
        if net.max_ns == 0 { self.now_ns } else { self.now_ns + self.rng.between(net.min_ns, net.max_ns) }
    }
}
