//! A socket that hears nothing: what arrives for it is dropped before its TCP sees it, as if the network had lost it.
//! Needs no privilege, and leaves everybody else's packets alone (socket(7), SO_ATTACH_FILTER).
//!
//! Traps:
//! (a) The filter belongs to the socket, not to the descriptor: it goes on after close(2), when nobody can take it off
//!     any more. Keep a descriptor until then; shutdown(2) sends the FIN all the same.
//! (b) A listener's filter is inherited by what it accepts.

use crate::syscall;
use crate::syscall::io_error;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// BPF_RET | BPF_K: let so many bytes through.
const RETURN: u16 = 0x06;

/// From now on everything that arrives for `socket` is dropped.
pub fn make_deaf(socket: impl AsFd) -> io::Result<()> {
    let mut program = [libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: 0 }];
    let filter = libc::sock_fprog { len: 1, filter: program.as_mut_ptr() };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let (fd, at) = (socket.as_fd().as_raw_fd(), (&raw const filter).cast());
    // SAFETY: `at` is readable for `len` bytes and points at one instruction; the kernel copies both.
    syscall!(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, at, len) })
        .map(drop)
        .map_err(io_error)
}

/// From now on `socket` hears again. ENOENT: it did all along.
pub fn make_hear(socket: impl AsFd) -> io::Result<()> {
    let unused = 0i32;
    let len = size_of::<i32>() as libc::socklen_t;
    let (fd, at) = (socket.as_fd().as_raw_fd(), (&raw const unused).cast());
    // SAFETY: `at` is readable for `len` bytes, which the kernel does not look at.
    syscall!(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, at, len) })
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
        assert_eq!(make_hear(&served).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        served.set_read_timeout(Some(Duration::from_secs(10))).unwrap(); // it is sent again
        assert_eq!(served.read(&mut buffer).unwrap(), 4);
    }
}
