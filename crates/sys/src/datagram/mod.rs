//! Datagrams, a batch with each system call: recvmmsg(2) into an [`Inbox`], sendmmsg(2) through an [`Outbox`]. Both are used
//! again and again: a message allocates nothing.
//!
//! Traps:
//! (a) Kernels before 4.18 do not know UDP_SEGMENT and ignore it in a control message: everything would go out as one datagram.
//!     So it is looked for first, with getsockopt ([`prepare`]).
//! (b) recvmmsg tells an error only where it got nothing; else the error waits for the next call. And a datagram longer than
//!     its place is cut, which nothing but MSG_TRUNC in its flags says; given to the call MSG_TRUNC also has it tell the real
//!     length.
//! (c) With IP_RECVERR the socket stays "in error" (POLLERR) until its error queue is read: a loop that does not would spin.
//!     [`take_error`] reads it whether this crate asked for it or the program did.
//! (d) What the kernel drops because the receive buffer is full it tells nobody, unless asked (SO_RXQ_OVFL).

mod inbox;
mod outbox;

pub use inbox::{Batch, Inbox, Message};
pub use outbox::Outbox;

use crate::address::Address;
use crate::socket::{option, set_nonblocking, set_option};
use crate::syscall;
use crate::syscall::retry;
use duolu_core::{Errno, datagram};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Room for the control messages of one datagram, in words so that they are aligned: at most one in6_pktinfo, three integers
/// and one sock_extended_err with an address, with their headers.
const CONTROL_WORDS: usize = 24;
type Control = [u64; CONTROL_WORDS];

/// What the kernel is to tell of datagrams beside the datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SocketOptions {
    /// The kernel joins datagrams of one sender into one message (UDP_GRO, Linux 5.0), where it can; without it nothing
    /// changes. The places of the inbox should have 64 KiB, or else more is cut.
    pub gro: bool,
    /// To which of the machine's addresses each was sent (IP_PKTINFO).
    pub local_address: bool,
    /// The two bits by which routers say that they are congested (RFC 3168).
    pub ecn: bool,
    /// ICMP errors of unconnected sockets too, each with the address that it is about (IP_RECVERR).
    pub icmp_errors: bool,
}

/// What the kernel can do for a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// It cuts a long message into datagrams (UDP_SEGMENT, Linux 4.18), as long as the device agrees.
    pub segments: bool,
    /// It joins datagrams, and was told to.
    pub gro: bool,
    /// A call may tell the error of an earlier datagram. Not so between Unix sockets: they are told at once.
    pub late_errors: bool,
}

/// Makes a socket nonblocking and turns on what is asked for.
///
/// # Errors
/// InvalidInput: no datagram socket, or a Unix one that is to tell of IP addresses.
pub fn prepare(socket: impl AsFd, options: &SocketOptions) -> io::Result<Abilities> {
    let socket = socket.as_fd();
    let wrong = |message| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    if option(socket, libc::SOL_SOCKET, libc::SO_TYPE)? != libc::SOCK_DGRAM {
        return wrong("this is no datagram socket: use Context::stream for connections");
    }
    set_nonblocking(socket, true)?;
    // (d). Not every kind of socket knows it.
    let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    let v6 = match option(socket, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ if options.local_address || options.ecn || options.icmp_errors => {
            return wrong("local_address, ecn and icmp_errors are of the Internet; this socket is not");
        }
        _ => return Ok(Abilities { segments: false, gro: false, late_errors: false }),
    };
    let turn_on = |asked: bool, v4_name, v6_name| match (asked, v6) {
        (false, _) => Ok(()),
        (true, false) => set_option(socket, libc::IPPROTO_IP, v4_name, 1),
        (true, true) => {
            // For IPv4 by way of mapped addresses; a socket for IPv6 only may refuse.
            let _ = set_option(socket, libc::IPPROTO_IP, v4_name, 1);
            set_option(socket, libc::IPPROTO_IPV6, v6_name, 1)
        }
    };
    turn_on(options.local_address, libc::IP_PKTINFO, libc::IPV6_RECVPKTINFO)?;
    turn_on(options.ecn, libc::IP_RECVTOS, libc::IPV6_RECVTCLASS)?;
    turn_on(options.icmp_errors, libc::IP_RECVERR, libc::IPV6_RECVERR)?;
    let segments = option(socket, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok(); // (a)
    let gro = options.gro && set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
    Ok(Abilities { segments, gro, late_errors: true })
}

/// The largest packet that the path to the connected peer takes, headers included, as far as is known (IP_MTU, ip(7)).
/// ENOTCONN: the socket is not connected.
pub fn path_mtu(socket: impl AsFd) -> io::Result<usize> {
    let socket = socket.as_fd();
    let mtu = match option(socket, libc::SOL_SOCKET, libc::SO_DOMAIN)? {
        libc::AF_INET6 => option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU)?,
        _ => option(socket, libc::IPPROTO_IP, libc::IP_MTU)?,
    };
    Ok(mtu as usize)
}

/// Takes what went wrong with earlier datagrams: the next of the error queue, with the address that the datagram was sent to
/// (c), or else SO_ERROR.
pub fn take_error(socket: impl AsFd) -> Option<(Errno, datagram::Address)> {
    let socket = socket.as_fd();
    while let Some((errno, to)) = queued_error(socket) {
        // Time stamps and the like, which the program asked for and nobody reads, come this way too.
        if errno.0 != 0 && errno.0 != libc::ENOMSG {
            return Some((errno, to));
        }
    }
    match option(socket, libc::SOL_SOCKET, libc::SO_ERROR) {
        Ok(0) | Err(_) => None,
        Ok(errno) => Some((Errno(errno), datagram::Address::Unnamed)),
    }
}

/// One of the error queue, with errno 0 where it is none.
fn queued_error(socket: BorrowedFd<'_>) -> Option<(Errno, datagram::Address)> {
    let (mut to, mut control) = (Address::empty(), [0u64; CONTROL_WORDS]);
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = to.as_mut_ptr().cast();
    header.msg_namelen = to.len;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: name and control data have the room that the header says; there is no payload.
    retry(|| syscall!(unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) })).ok()?;
    to.len = header.msg_namelen;
    let mut errno = 0;
    each_control(&control, header.msg_controllen, |level, kind, data| {
        if matches!((level, kind), (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)) {
            errno = i32_of(data); // ee_errno, the first member of sock_extended_err (ip(7))
        }
    });
    Some((Errno(errno), to.to_datagram()))
}

/// Hands out (level, type, data) of every control message.
fn each_control(control: &Control, len: usize, mut look: impl FnMut(i32, i32, &[u8])) {
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_control = control.as_ptr().cast_mut().cast();
    header.msg_controllen = len.min(size_of::<Control>()) as _;
    // SAFETY: the header's control data lies in `control`, aligned, and the kernel has written as much of it as it says; the
    // macros stay inside of that, and the length of the data is cut to what is left.
    unsafe {
        let end = header.msg_control.cast::<u8>().add(header.msg_controllen);
        let mut at = libc::CMSG_FIRSTHDR(&header);
        while !at.is_null() {
            let data = libc::CMSG_DATA(at);
            let told = ((*at).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let there = (end as usize).saturating_sub(data as usize);
            look((*at).cmsg_level, (*at).cmsg_type, std::slice::from_raw_parts(data, told.min(there)));
            at = libc::CMSG_NXTHDR(&header, at);
        }
    }
}

/// An integer at the beginning of control data; 0 where there is less.
fn i32_of(data: &[u8]) -> i32 {
    data.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests;
