//! Bytes from socket to socket without looking at them: splice(2) through a pipe.
//!
//! Traps:
//! (a) EAGAIN of a splice into a pipe means that the socket is empty or that the pipe is full, and nothing says which. So
//!     it is only ever asked with an empty pipe.
//! (b) A pipe counts its room in pages, not bytes, and each piece of a packet takes one: a short splice has not always
//!     emptied the socket. Level-triggered, nothing is missed by waiting for the kernel to say that there is more.
//! (c) Not every file can be spliced: EINVAL, at the first try, or when the other side is given to. What is in the pipe then
//!     is read out of it.
//! (d) splice(2) has no MSG_NOSIGNAL: to a socket that the peer has reset it raises SIGPIPE, unless the process ignores
//!     that, as Rust programs do from the start.
//! (e) A larger pipe (F_SETPIPE_SZ) is charged to the user and, beyond a soft limit, refused or given a single page; a
//!     pipe of the usual size never is. So the size is left as it is.

use crate::syscall;
use crate::syscall::retry;
use crate::transfer::{self, Kind};
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{Moved, Then};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A pipe for bytes that pass through. Nonblocking at both ends.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// An empty one: two descriptors. EMFILE or ENFILE where there are none left.
    pub fn new() -> Result<Self, Errno> {
        let mut ends = [-1; 2];
        // SAFETY: `ends` has room for the two numbers.
        syscall!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) })?;
        // SAFETY: the kernel has just given both to us, and nobody else knows of them.
        let [reader, writer] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Pipe { reader, writer, held: 0 })
    }

    /// Bytes in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes up to `limit` bytes from a socket. The pipe must be empty: (a).
    pub fn fill(&mut self, from: RawFd, limit: usize) -> Moved {
        debug_assert!(self.held == 0, "trap (a)");
        match splice(from, self.writer.as_raw_fd(), limit) {
            Ok(0) => Moved { bytes: 0, then: Then::End },
            Ok(bytes) => {
                self.held += bytes;
                // (b). What brings half of it at once has more most often.
                Moved { bytes, then: if bytes < limit / 2 { Then::Blocked } else { Then::More } }
            }
            Err(errno) => failed(errno),
        }
    }

    /// Gives what is in it to a socket.
    pub fn drain(&mut self, to: RawFd) -> Moved {
        let asked = self.held;
        match splice(self.reader.as_raw_fd(), to, asked) {
            Ok(bytes) => {
                self.held -= bytes.min(asked);
                Moved { bytes, then: if bytes < asked { Then::Blocked } else { Then::More } }
            }
            Err(errno) => failed(errno),
        }
    }

    /// Moves what is in it to the end of `buffer`, for a file that cannot be spliced to: (c).
    pub fn empty_into(&mut self, buffer: &mut Buffer, pool: &mut Pool) -> Result<(), Errno> {
        while self.held > 0 {
            let moved = transfer::read_into(self.reader.as_fd(), Kind::Other, buffer, pool, self.held);
            match moved.then {
                Then::Failed(errno) => return Err(errno),
                _ if moved.bytes == 0 => return Err(Errno(libc::EIO)), // there must be something
                _ => self.held -= moved.bytes.min(self.held),
            }
        }
        Ok(())
    }
}

/// Whether splice(2) refused for good, and copying would not.
pub fn cannot_be_spliced(moved: Moved) -> Option<Errno> {
    match moved.then {
        Then::Failed(errno @ Errno(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP)) => Some(errno),
        _ => None,
    }
}

fn splice(from: RawFd, to: RawFd, len: usize) -> Result<usize, Errno> {
    let none = std::ptr::null_mut();
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: no offsets are given, so no memory of ours is touched; a wrong descriptor is EBADF.
    retry(|| syscall!(unsafe { libc::splice(from, none, to, none, len, flags) })).map(|bytes| bytes as usize)
}

fn failed(errno: Errno) -> Moved {
    let then = if errno.0 == libc::EAGAIN { Then::Blocked } else { Then::Failed(errno) };
    Moved { bytes: 0, then }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (two, _) = listener.accept().unwrap();
        two.set_nonblocking(true).unwrap();
        (one, two)
    }

    #[test]
    fn through_a_pipe_and_the_ends() {
        let ((mut left, from), (to, mut right)) = (tcp(), UnixStream::pair().unwrap());
        to.set_nonblocking(true).unwrap();
        let mut pipe = Pipe::new().unwrap();
        assert_eq!(pipe.fill(from.as_raw_fd(), 100), Moved { bytes: 0, then: Then::Blocked });
        left.write_all(b"unseen").unwrap();
        let mut moved = pipe.fill(from.as_raw_fd(), 4);
        assert_eq!((moved, pipe.held()), (Moved { bytes: 4, then: Then::More }, 4));
        assert_eq!(pipe.drain(to.as_raw_fd()), Moved { bytes: 4, then: Then::More });
        moved = pipe.fill(from.as_raw_fd(), 100);
        assert_eq!(moved, Moved { bytes: 2, then: Then::Blocked });
        pipe.drain(to.as_raw_fd());
        let mut got = [0; 6];
        right.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"unseen");
        drop(left);
        assert_eq!(pipe.fill(from.as_raw_fd(), 100).then, Then::End);
        drop(right);
        let ((mut left, from), mut buffer, mut pool) = (tcp(), Buffer::new(), Pool::new(4, 2));
        left.write_all(b"nobody takes it").unwrap();
        assert_eq!(pipe.fill(from.as_raw_fd(), 100).bytes, 15);
        assert_eq!(pipe.drain(to.as_raw_fd()).then, Then::Failed(Errno(libc::EPIPE)));
        pipe.empty_into(&mut buffer, &mut pool).unwrap();
        assert_eq!((buffer.remove_vec(15).unwrap(), pipe.held()), (b"nobody takes it".to_vec(), 0));
    }

    #[test]
    fn what_cannot_be_spliced_says_so() {
        // SAFETY: it touches no memory.
        let epoll = syscall!(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).unwrap();
        // SAFETY: the kernel has just given it to us.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut pipe = Pipe::new().unwrap();
        let refused = Some(Errno(libc::EINVAL));
        assert_eq!((cannot_be_spliced(pipe.fill(epoll.as_raw_fd(), 100)), pipe.held()), (refused, 0));
        let (mut one, two) = UnixStream::pair().unwrap();
        one.write_all(b"x").unwrap();
        assert_eq!(pipe.fill(two.as_raw_fd(), 100).bytes, 1);
        assert_eq!((cannot_be_spliced(pipe.drain(epoll.as_raw_fd())), pipe.held()), (refused, 1));
        assert_eq!(cannot_be_spliced(pipe.drain(-1)), None);
    }
}
