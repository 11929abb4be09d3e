//! Seeing the packets of a network (packet(7)).
//!
//! Traps:
//! (a) A packet on the loopback is sent and received, and a socket for every protocol sees it twice. A socket for
//!     one protocol sees only what arrives: each packet once.
//! (b) Where segmentation is left to the interface, which the loopback always does, a "packet" is as large as the sender liked,
//!     up to 64 KiB: not what a wire would carry.
//! (c) Packets that find the socket's buffer full are not seen. The kernel counts them; [`Capture::missed`].

use crate::syscall;
use crate::syscall::{io_error, own, retry};
use duolu_core::Errno;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// Room for what a lab sends in a second, packets counted with their data (trap c).
static BUFFER: libc::c_int = 64 << 20;

/// Sees packets of the network of the thread that opened it.
#[derive(Debug)]
pub struct Capture(OwnedFd);

/// Which packets are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ways {
    /// IPv4 packets that arrive: for a loopback (trap a).
    Arriving,
    /// Packets of every kind that arrive or leave, in this order: for a cable.
    Both,
}

impl Capture {
    /// Begins to see.
    ///
    /// # Errors
    /// EPERM: needs CAP_NET_RAW over this network.
    pub fn open(ways: Ways) -> io::Result<Self> {
        let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let wanted = match ways {
            Ways::Arriving => libc::ETH_P_IP, // trap (a)
            Ways::Both => libc::ETH_P_ALL,
        };
        let protocol = i32::from((wanted as u16).to_be());
        // SAFETY: integers only.
        let socket = syscall!(unsafe { libc::socket(libc::AF_PACKET, kind, protocol) }).map_err(io_error)?;
        let socket = own(socket);
        // SAFETY: the kernel reads one int. Where it is refused the usual buffer has to do.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const BUFFER).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        Ok(Capture(socket))
    }

    /// The next packet, from its IP header on, cut to `buffer`; and the length that it had. `None`: none has arrived.
    pub fn next(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let (fd, flags) = (self.0.as_raw_fd(), libc::MSG_TRUNC);
        // SAFETY: `buffer` is writable for its length.
        let got =
            retry(|| syscall!(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags) }));
        match got {
            Ok(bytes) => Ok(Some(bytes as usize)),
            Err(Errno(libc::EAGAIN)) => Ok(None),
            Err(errno) => Err(io_error(errno)),
        }
    }

    /// How many packets were not seen since this was last asked (trap c).
    pub fn missed(&self) -> io::Result<u32> {
        // SAFETY: plain numbers.
        let mut stats: libc::tpacket_stats = unsafe { std::mem::zeroed() };
        let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: `stats` is writable for `len` bytes.
        syscall!(unsafe {
            libc::getsockopt(
                self.0.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut stats).cast(),
                &mut len,
            )
        })
        .map_err(io_error)?;
        Ok(stats.tp_drops)
    }
}
