//! A socket that hears nothing: what arrives for it is dropped before its TCP sees it, as if the network had lost it.
//! Needs no privilege, and leaves everybody else's packets alone: IP_MINTTL (ip(7), RFC 5082) has the kernel drop what
//! has crossed a router, and at the highest value also what has not, because packets start with 64.
//!
//! Traps:
//! (a) The option belongs to the socket, not to the descriptor: it goes on after close(2), when nobody can take it off
//!     any more. Keep a descriptor until then; shutdown(2) sends the FIN all the same.
//! (b) A listener's is inherited by what it accepts.
//! (c) Whoever sends with a TTL of 255 (net.ipv4.ip_default_ttl) is heard.
//! (d) A socket filter (SO_ATTACH_FILTER) would do the same, but asks for a privilege on some kernels.

use crate::syscall;
use crate::syscall::io_error;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// From now on everything that arrives for `socket` over IPv4 is dropped.
pub fn make_deaf(socket: impl AsFd) -> io::Result<()> {
    set_least_ttl(socket, 255)
}

/// From now on `socket` hears again.
pub fn make_hear(socket: impl AsFd) -> io::Result<()> {
    set_least_ttl(socket, 0)
}

fn set_least_ttl(socket: impl AsFd, ttl: i32) -> io::Result<()> {
    let len = size_of::<i32>() as libc::socklen_t;
    let (fd, at) = (socket.as_fd().as_raw_fd(), (&raw const ttl).cast());
    // SAFETY: `at` is readable for `len` bytes, an int as the option wants it.
    syscall!(unsafe { libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_MINTTL, at, len) })
        .map(drop)
        .map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn a_deaf_socket_gets_nothing_until_it_hears_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut served = listener.accept().unwrap().0;
        make_deaf(&served).unwrap();
        client.write_all(b"lost").unwrap();
        served.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(served.read(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        make_hear(&served).unwrap();
        served.set_read_timeout(Some(Duration::from_secs(10))).unwrap(); // it is sent again
        assert_eq!(served.read(&mut buffer).unwrap(), 4);
    }
}
