//! Sockets and pipes, where std has no way to ask: options before `bind`, accept4, a connect that does not
//! wait, sends that raise no SIGPIPE.
//!
//! Everything here is nonblocking and closed on exec from birth: set later, another thread's fork could slip
//! in between (open(2), O_CLOEXEC). EINTR is retried where the call can be repeated.
//!
//! Traps:
//! (a) Writing to a connection that the peer has reset raises SIGPIPE, which ends the process. Rust programs
//!     ignore it from the start, C programs do not: every send here carries MSG_NOSIGNAL. write(2) cannot.
//! (b) A nonblocking connect that was started answers EINPROGRESS; that is success so far. When the socket is
//!     writable, SO_ERROR tells how it went. connect(2) interrupted (EINTR) goes on likewise.
//! (c) bind before connect takes a local port for *all* destinations, so at most some 28,000 connections, unless
//!     IP_BIND_ADDRESS_NO_PORT (Linux 4.2) leaves the port to connect (ip(7)).
//! (d) The kernel doubles SO_RCVBUF and SO_SNDBUF for its own book-keeping, and cuts them to
//!     net.core.rmem_max and wmem_max without an error (socket(7)): ask what you got.

use crate::address::Address;
use crate::syscall;
use crate::syscall::{io_error, own, retry};
use duolu_core::Errno;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// How a listener is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// SO_REUSEADDR, on by default: without it a server that was restarted cannot bind its port for up to a
    /// minute, as long as a connection of its former life is in TIME_WAIT. On Linux it does not let two
    /// listeners share a port (socket(7)).
    pub reuse_address: bool,
    /// SO_REUSEPORT: several listeners of the same user on one port; the kernel spreads the connections.
    pub reuse_port: bool,
    /// How many connections may wait to be accepted; the kernel cuts it to net.core.somaxconn (listen(2)).
    pub backlog: i32,
    /// IPV6_V6ONLY for an IPv6 address; `None` leaves net.ipv6.bindv6only to decide. Ignored for IPv4.
    pub only_v6: Option<bool>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions { reuse_address: true, reuse_port: false, backlog: 4096, only_v6: None }
    }
}

/// A nonblocking listener on `address`; port 0 lets the kernel choose.
///
/// # Errors
/// EADDRINUSE: someone listens there. EADDRNOTAVAIL: the address is not this machine's. EACCES: a port below
/// 1024 without the right to it. EMFILE, ENFILE: out of descriptors.
pub fn listen(address: SocketAddr, options: &ListenOptions) -> io::Result<TcpListener> {
    let socket = tcp_socket(&address)?;
    if options.reuse_address {
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    }
    if options.reuse_port {
        set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    if let (SocketAddr::V6(_), Some(only)) = (&address, options.only_v6) {
        set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, i32::from(only))?;
    }
    bind(socket.as_fd(), &address)?;
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::listen(socket.as_raw_fd(), options.backlog) }).map_err(io_error)?;
    Ok(socket.into())
}

/// Accepts one connection, nonblocking, without asking for the peer's address. One system call (accept4(2)).
///
/// # Errors
/// WouldBlock: none is waiting. EMFILE, ENFILE, ENOBUFS, ENOMEM: it stays in the queue, and a level-triggered
/// watch will tell again at once: back off. ECONNABORTED, EPERM and the like concern that one connection: go on.
pub fn accept(listener: impl AsFd) -> io::Result<TcpStream> {
    accept_raw(listener.as_fd(), std::ptr::null_mut(), std::ptr::null_mut()).map(TcpStream::from)
}

/// The same, with the peer's address.
pub fn accept_from(listener: impl AsFd) -> io::Result<(TcpStream, SocketAddr)> {
    let mut peer = Address::empty();
    let stream = accept_raw(listener.as_fd(), peer.as_mut_ptr(), &mut peer.len)?;
    Ok((stream.into(), peer.to_std()?))
}

fn accept_raw(
    listener: BorrowedFd<'_>,
    address: *mut libc::sockaddr,
    len: *mut libc::socklen_t,
) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: both null, or an address with room for its `len`.
    retry(|| syscall!(unsafe { libc::accept4(listener.as_raw_fd(), address, len, flags) }))
        .map(own)
        .map_err(io_error)
}

/// A connection that was begun.
#[derive(Debug)]
pub struct Connecting {
    /// Nonblocking.
    pub stream: TcpStream,
    /// Whether it stands already. If not, wait until it is writable and ask [`take_error`].
    pub connected: bool,
}

/// Begins to connect, from `source` if given: its port may be 0, and then the kernel chooses one that is free
/// for this destination (trap (c)).
///
/// # Errors
/// EADDRNOTAVAIL: no local port is left, or `source` is not this machine's. ECONNREFUSED and ENETUNREACH may
/// come here or, as SO_ERROR, later.
pub fn connect(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<Connecting> {
    let socket = tcp_socket(&address)?;
    if let Some(source) = source {
        if source.port() == 0 {
            set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        }
        bind(socket.as_fd(), &source)?;
    }
    let address = Address::of(&address);
    // SAFETY: an initialised address of `len` bytes.
    let outcome = syscall!(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len) });
    let connected = match outcome {
        Ok(_) => true,
        // Trap (b).
        Err(Errno(libc::EINPROGRESS | libc::EINTR)) => false,
        Err(errno) => return Err(io_error(errno)),
    };
    Ok(Connecting { stream: socket.into(), connected })
}

/// Takes SO_ERROR: how a connect went, or what broke the connection. `Ok` means no error. Taking clears it.
pub fn take_error(socket: impl AsFd) -> io::Result<()> {
    match option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_ERROR)? {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// TCP_NODELAY: small writes go out at once and do not wait for the peer's delayed acknowledgement (40 ms).
pub fn set_nodelay(socket: impl AsFd, on: bool) -> io::Result<()> {
    set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, i32::from(on))
}

/// SO_LINGER. `Some(0)`: close sends RST and throws away what is unsent; no TIME_WAIT. `None`: the default.
pub fn set_linger(socket: impl AsFd, linger_s: Option<u16>) -> io::Result<()> {
    let linger =
        libc::linger { l_onoff: i32::from(linger_s.is_some()), l_linger: i32::from(linger_s.unwrap_or(0)) };
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_LINGER, linger)
}

/// TCP_LINGER2 below zero: a closed socket does not wait for the peer's FIN. close sends FIN, and RST as soon as that is
/// acknowledged, so the peer reads a clean end of file and neither side keeps a TIME_WAIT (tcp(7)). For clients that
/// open so many connections that the ports would run out.
pub fn set_abort_after_fin(socket: impl AsFd) -> io::Result<()> {
    set_option(socket.as_fd(), libc::IPPROTO_TCP, libc::TCP_LINGER2, -1)
}

/// SO_RCVBUF, bytes; trap (d).
pub fn set_recv_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, i32::try_from(bytes).unwrap_or(i32::MAX))
}

/// SO_SNDBUF, bytes; trap (d).
pub fn set_send_buffer(socket: impl AsFd, bytes: usize) -> io::Result<()> {
    set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, i32::try_from(bytes).unwrap_or(i32::MAX))
}

/// What the kernel made of SO_RCVBUF and SO_SNDBUF, bytes, its doubling included.
pub fn buffers(socket: impl AsFd) -> io::Result<(usize, usize)> {
    let recv = option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF)?;
    let send = option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF)?;
    Ok((recv as usize, send as usize))
}

/// shutdown(2): FIN for `Write` and `Both`. ENOTCONN where the peer was faster; mostly no error to act on.
pub fn shutdown(socket: impl AsFd, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::shutdown(socket.as_fd().as_raw_fd(), how) }).map(drop).map_err(io_error)
}

/// O_NONBLOCK. It belongs to the open file: every copy of the descriptor sees it (fcntl(2)).
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed.
    let before = syscall!(unsafe { libc::fcntl(fd, libc::F_GETFL) }).map_err(io_error)?;
    let after = if on { before | libc::O_NONBLOCK } else { before & !libc::O_NONBLOCK };
    if before == after {
        return Ok(());
    }
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::fcntl(fd, libc::F_SETFL, after) }).map(drop).map_err(io_error)
}

/// Receives into `buffer`. `Ok(0)`: the peer has ended its sending (unless `buffer` is empty).
#[inline]
pub fn recv(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `buffer` is writable for its length.
    bytes(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// The same into memory nobody has written yet. The first so many bytes of `buffer` are initialised after.
#[inline]
pub fn recv_uninit(socket: impl AsFd, buffer: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `buffer` is writable for its length; the kernel does not read it.
    bytes(|| unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

/// Receives into several buffers, one after the other. At most 1,024 (IOV_MAX) are used.
pub fn recv_vectored(socket: impl AsFd, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    let count = buffers.len().min(1024) as i32;
    // SAFETY: IoSliceMut has the layout of iovec (its documentation), and each is writable.
    bytes(|| unsafe { libc::readv(fd, buffers.as_mut_ptr().cast(), count) })
}

/// Sends from `bytes`; less than all is no error. EPIPE instead of SIGPIPE, trap (a).
#[inline]
pub fn send(socket: impl AsFd, data: &[u8]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `data` is readable for its length.
    bytes(|| unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) })
}

/// The same from several buffers in turn. At most 1,024 (IOV_MAX) are used.
pub fn send_vectored(socket: impl AsFd, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: all zeroes are a valid msghdr: no address, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = buffers.as_ptr().cast_mut().cast();
    message.msg_iovlen = buffers.len().min(1024) as _;
    // SAFETY: IoSlice has the layout of iovec (its documentation); sendmsg only reads.
    bytes(|| unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL) })
}

/// read(2), for anything that is not a socket.
#[inline]
pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `buffer` is writable for its length.
    bytes(|| unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) })
}

/// write(2), for anything that is not a socket. On a pipe without a reader it raises SIGPIPE unless the process
/// ignores that, as Rust programs do: trap (a).
#[inline]
pub fn write(fd: impl AsFd, data: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: `data` is readable for its length.
    bytes(|| unsafe { libc::write(fd, data.as_ptr().cast(), data.len()) })
}

/// Two connected stream sockets (AF_UNIX), nonblocking.
pub fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    syscall!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) }).map_err(io_error)?;
    Ok((own(ends[0]), own(ends[1])))
}

/// The reading and the writing end of a pipe, nonblocking.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    syscall!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })
        .map_err(io_error)?;
    Ok((own(ends[0]), own(ends[1])))
}

/// An eventfd with counter 0, nonblocking. For waking a loop take [`crate::Waker`], which merges wakes.
pub fn eventfd() -> io::Result<OwnedFd> {
    crate::waker::eventfd().map_err(io_error)
}

/// Another descriptor of the same open file, closed on exec, with the lowest free number from `lowest` on.
/// EINVAL: `lowest` is past RLIMIT_NOFILE.
pub fn dup(fd: impl AsFd, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) })
        .map(own)
        .map_err(io_error)
}

/// Runs a call that answers with a count of bytes.
#[inline]
fn bytes(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    retry(|| syscall!(call())).map(|count| count as usize).map_err(io_error)
}

fn tcp_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::socket(family, kind, 0) }).map(own).map_err(io_error)
}

fn bind(socket: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let address = Address::of(address);
    // SAFETY: an initialised address of `len` bytes.
    syscall!(unsafe { libc::bind(socket.as_raw_fd(), address.as_ptr(), address.len) })
        .map(drop)
        .map_err(io_error)
}

pub(crate) fn set_option<T>(socket: BorrowedFd<'_>, level: i32, name: i32, value: T) -> io::Result<()> {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes; the callers pass the type that the option wants.
    syscall!(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len) })
        .map(drop)
        .map_err(io_error)
}

pub(crate) fn option(socket: BorrowedFd<'_>, level: i32, name: i32) -> io::Result<i32> {
    let mut value = 0i32;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let at = (&raw mut value).cast();
    // SAFETY: `value` is writable for `len` bytes.
    syscall!(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, at, &mut len) }).map_err(io_error)?;
    Ok(value)
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
