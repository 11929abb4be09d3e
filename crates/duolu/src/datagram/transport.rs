//! What a datagram socket may be.

use duolu_core::Errno;
use duolu_core::datagram::{Address, Sender};
use duolu_sys::datagram::{self, Abilities, Inbox, Outbox, SocketOptions};
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixDatagram;

/// Something that sends and receives datagrams: a UDP or Unix socket, or what stands for one (a simulated socket in tests).
///
/// The loop watches `descriptor`, which must stay open and the same file as long as the transport is there, and be closed
/// by dropping it. All calls are nonblocking.
pub trait DatagramTransport: 'static {
    /// What to watch.
    fn descriptor(&self) -> RawFd;
    /// Called once, before it is watched: the descriptor must not block.
    fn prepare(&self, options: &SocketOptions) -> io::Result<Abilities>;
    /// Fills the inbox: how many messages. EAGAIN where there is none; other errors are of earlier datagrams.
    fn receive(&self, inbox: &mut Inbox) -> Result<usize, Errno>;
    /// Sends the first of the sender's pieces: how many the kernel took, at least one.
    fn send(&self, outbox: &mut Outbox, sender: &Sender) -> Result<usize, Errno>;
    /// Takes the error of an earlier datagram, and whom that was sent to.
    fn take_error(&self) -> Option<(Errno, Address)>;
    /// See [`super::Datagrams::path_mtu`].
    fn path_mtu(&self) -> io::Result<usize>;
}

macro_rules! socket_transport {
    ($socket:ty) => {
        impl DatagramTransport for $socket {
            fn descriptor(&self) -> RawFd {
                self.as_raw_fd()
            }
            fn prepare(&self, options: &SocketOptions) -> io::Result<Abilities> {
                datagram::prepare(self, options)
            }
            fn receive(&self, inbox: &mut Inbox) -> Result<usize, Errno> {
                inbox.receive(self)
            }
            fn send(&self, outbox: &mut Outbox, sender: &Sender) -> Result<usize, Errno> {
                outbox.send(self, sender.pieces())
            }
            fn take_error(&self) -> Option<(Errno, Address)> {
                datagram::take_error(self)
            }
            fn path_mtu(&self) -> io::Result<usize> {
                datagram::path_mtu(self)
            }
        }
    };
}

socket_transport!(UdpSocket);
socket_transport!(UnixDatagram);
