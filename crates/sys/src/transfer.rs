//! Bytes between descriptors and buffers: one system call each, as large as what is there.
//!
//! Traps:
//! (a) A short read has emptied the socket, and a short write has filled it: asking again would only be told EAGAIN. So
//!     both say `Blocked` at once. Level-triggered, nothing is missed by it; by edges, what `core::stream`'s `edges` knows of. (Not so for sendfile, which is short at the
//!     file's end too.)
//! (b) sendfile(2) has no MSG_NOSIGNAL: to a socket that the peer has reset it raises SIGPIPE, unless the process ignores
//!     that, as Rust programs do from the start.
//! (c) sendfile(2) gives 0 at the file's end: a file that became shorter meanwhile would be tried for ever. It is EIO
//!     here, because nothing else can stand for the bytes that were promised.
//! (d) Bytes before a file are sent with MSG_MORE, so that a header does not go out in a packet of its own; the file
//!     follows with the next call.

use crate::syscall;
use crate::syscall::retry;
use duolu_core::Errno;
use duolu_core::buffer::{Block, Buffer, BufferError, FileRegion, Piece, Pool};
use duolu_core::stream::{Moved, Then};
use std::fs::File;
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Blocks that one call reads into at most.
const MOST_BLOCKS: usize = 4;
/// Pieces that one call writes at most: libevent's number. Many small ones are common where memory is added by reference.
const MOST_PIECES: usize = 128;

/// What sort of descriptor it is: send(2) spares the process a SIGPIPE, but only sockets know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A stream socket.
    Socket,
    /// A pipe or anything else. Writing to a pipe without a reader raises SIGPIPE where it is not ignored.
    Other,
}

/// Reads up to `limit` bytes, at most four blocks of the pool, to the end of `buffer`: the blocks become its chunks,
/// without a copy. Nonblocking descriptors only, or it waits.
pub fn read_into(fd: impl AsFd, kind: Kind, buffer: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
    let mut block = pool.take();
    let size = block.bytes().len();
    if limit > size {
        return read_blocks(fd.as_fd(), block, buffer, pool, limit);
    }
    let (fd, into) = (fd.as_fd().as_raw_fd(), &mut block.bytes()[..limit]);
    let outcome = retry(|| match kind {
        // SAFETY: `into` is writable for its length.
        Kind::Socket => syscall!(unsafe { libc::recv(fd, into.as_mut_ptr().cast(), limit, 0) }),
        // SAFETY: as above.
        Kind::Other => syscall!(unsafe { libc::read(fd, into.as_mut_ptr().cast(), limit) }),
    });
    let filled = outcome.unwrap_or(0) as usize;
    let linked = buffer.append_whole_block(block, filled, pool);
    told(outcome, limit, linked)
}

#[inline(never)]
fn read_blocks(
    fd: BorrowedFd<'_>,
    first: Block,
    buffer: &mut Buffer,
    pool: &mut Pool,
    limit: usize,
) -> Moved {
    let mut blocks = [Some(first), None, None, None];
    let mut vectors = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MOST_BLOCKS];
    let (mut asked, mut count) = (0, 0);
    for (block, vector) in blocks.iter_mut().zip(&mut vectors) {
        if asked == limit {
            break;
        }
        let bytes = block.get_or_insert_with(|| pool.take()).bytes();
        let part = bytes.len().min(limit - asked);
        *vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: part };
        (asked, count) = (asked + part, count + 1);
    }
    let fd = fd.as_raw_fd();
    // SAFETY: `count` vectors, each of memory that a block in `blocks` owns and nobody else looks at meanwhile.
    let outcome = retry(|| syscall!(unsafe { libc::readv(fd, vectors.as_ptr(), count) }));
    let mut left = outcome.unwrap_or(0) as usize;
    let mut linked = Ok(());
    for mut block in blocks.into_iter().flatten() {
        let filled = left.min(block.bytes().len());
        left -= filled;
        if let Err(error) = buffer.append_whole_block(block, filled, pool) {
            linked = Err(error);
        }
    }
    told(outcome, asked, linked)
}

fn told(outcome: Result<isize, Errno>, asked: usize, linked: Result<(), BufferError>) -> Moved {
    if let Err(error) = linked {
        return failed(errno_of(error)); // a part of what was read is lost, so the stream cannot go on
    }
    match outcome {
        Ok(0) if asked > 0 => Moved { bytes: 0, then: Then::End },
        Ok(count) if (count as usize) < asked => Moved { bytes: count as usize, then: Then::Blocked }, // (a)
        Ok(count) => Moved { bytes: count as usize, then: Then::More },
        Err(Errno(libc::EAGAIN)) => Moved { bytes: 0, then: Then::Blocked },
        Err(errno) => failed(errno),
    }
}

fn failed(errno: Errno) -> Moved {
    Moved { bytes: 0, then: Then::Failed(errno) }
}

fn errno_of(error: BufferError) -> Errno {
    match error {
        BufferError::File(errno) => errno,
        BufferError::NoMemory => Errno(libc::ENOMEM),
        _ => Errno(libc::EINVAL),
    }
}

/// Writes up to `limit` bytes from the front of `buffer` and drains what was taken; blocks go back to the pool. One
/// call: the bytes before the first file, or of that file. An empty buffer gives `Blocked`, with nothing asked.
pub fn write_from(fd: impl AsFd, kind: Kind, buffer: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
    let fd = fd.as_fd();
    let front = buffer.front();
    let asked = front.len().min(limit);
    // Mostly all of it lies in one piece.
    if asked == 0 || asked < limit.min(buffer.len()) {
        return write_pieces(fd, kind, buffer, pool, limit);
    }
    let outcome = write_bytes(fd, kind, &front[..asked], 0);
    wrote(outcome, asked, buffer, pool)
}

#[inline(never)]
fn write_pieces(fd: BorrowedFd<'_>, kind: Kind, buffer: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
    let file_first = match buffer.pieces(0).next() {
        Some(Piece::File(file, offset, len)) => Some((Arc::clone(file), offset, len.min(limit))),
        _ => None,
    };
    if let Some((file, offset, len)) = file_first {
        return send_file(fd, kind, &file, offset, len, buffer, pool);
    }
    let mut slices = [IoSlice::new(&[]); MOST_PIECES];
    let (mut asked, mut count, mut flags) = (0, 0, 0);
    for piece in buffer.pieces(0) {
        match piece {
            _ if count == MOST_PIECES || asked == limit => break,
            Piece::File(..) => {
                flags = libc::MSG_MORE; // (d)
                break;
            }
            Piece::Bytes(bytes) => {
                let part = &bytes[..bytes.len().min(limit - asked)];
                slices[count] = IoSlice::new(part);
                (asked, count) = (asked + part.len(), count + 1);
            }
        }
    }
    let outcome = match &slices[..count] {
        [] => return Moved { bytes: 0, then: Then::Blocked },
        [bytes] => write_bytes(fd, kind, bytes, flags),
        slices => write_slices(fd, kind, slices, flags),
    };
    wrote(outcome, asked, buffer, pool)
}

#[inline]
fn write_bytes(fd: BorrowedFd<'_>, kind: Kind, bytes: &[u8], flags: i32) -> Result<isize, Errno> {
    let (fd, from, len) = (fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
    retry(|| match kind {
        // SAFETY: `from` is readable for `len`, here and below.
        Kind::Socket => syscall!(unsafe { libc::send(fd, from, len, libc::MSG_NOSIGNAL | flags) }),
        // SAFETY: as above.
        Kind::Other => syscall!(unsafe { libc::write(fd, from, len) }),
    })
}

fn write_slices(fd: BorrowedFd<'_>, kind: Kind, slices: &[IoSlice<'_>], flags: i32) -> Result<isize, Errno> {
    let (fd, count) = (fd.as_raw_fd(), slices.len());
    match kind {
        Kind::Socket => {
            // SAFETY: all zeroes are a valid msghdr: no address, no control data.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = slices.as_ptr().cast_mut().cast();
            message.msg_iovlen = count as _;
            // SAFETY: IoSlice has the layout of iovec (its documentation); sendmsg only reads.
            retry(|| syscall!(unsafe { libc::sendmsg(fd, &message, libc::MSG_NOSIGNAL | flags) }))
        }
        Kind::Other => {
            // SAFETY: IoSlice has the layout of iovec (its documentation); writev only reads.
            retry(|| syscall!(unsafe { libc::writev(fd, slices.as_ptr().cast(), count as i32) }))
        }
    }
}

fn wrote(outcome: Result<isize, Errno>, asked: usize, buffer: &mut Buffer, pool: &mut Pool) -> Moved {
    match outcome {
        Ok(count) => {
            let bytes = count as usize;
            if let Err(error) = buffer.drain_into(bytes, pool) {
                return failed(errno_of(error)); // frozen: it would be sent twice
            }
            Moved { bytes, then: if bytes < asked { Then::Blocked } else { Then::More } } // (a)
        }
        Err(Errno(libc::EAGAIN)) => Moved { bytes: 0, then: Then::Blocked },
        Err(errno) => failed(errno),
    }
}

fn send_file(
    fd: BorrowedFd<'_>,
    kind: Kind,
    file: &Arc<dyn FileRegion>,
    offset: u64,
    len: usize,
    buffer: &mut Buffer,
    pool: &mut Pool,
) -> Moved {
    let outcome = retry(|| {
        let mut from = offset as libc::off64_t;
        // SAFETY: `from` is writable; the kernel checks the descriptors (a wrong one is EBADF).
        syscall!(unsafe { libc::sendfile64(fd.as_raw_fd(), file.fd(), &mut from, len) })
    });
    match outcome {
        Ok(0) => failed(Errno(libc::EIO)), // (c)
        Ok(count) => match buffer.drain_into(count as usize, pool) {
            Ok(bytes) => Moved { bytes, then: Then::More },
            Err(error) => failed(errno_of(error)),
        },
        Err(Errno(libc::EAGAIN)) => Moved { bytes: 0, then: Then::Blocked },
        // Not every file system lets its files be sent so, nor does every descriptor take them.
        Err(Errno(libc::EINVAL | libc::ENOSYS | libc::EBADF | libc::EOPNOTSUPP)) => {
            copy_file(fd, kind, file, offset, len, buffer, pool)
        }
        Err(errno) => failed(errno),
    }
}

/// pread and send: through a block of the pool.
fn copy_file(
    fd: BorrowedFd<'_>,
    kind: Kind,
    file: &Arc<dyn FileRegion>,
    offset: u64,
    len: usize,
    buffer: &mut Buffer,
    pool: &mut Pool,
) -> Moved {
    let mut block = pool.take();
    let most = block.bytes().len().min(len);
    let moved = match file.read_at(offset, &mut block.bytes()[..most]) {
        Ok(0) => failed(Errno(libc::EIO)), // (c)
        Ok(got) => {
            let bytes = &block.bytes()[..got.min(most)];
            let outcome = write_bytes(fd, kind, bytes, 0);
            wrote(outcome, bytes.len(), buffer, pool)
        }
        Err(errno) => failed(errno),
    };
    pool.put(block);
    moved
}

/// An open file for [`Buffer::append_file`].
#[derive(Debug)]
pub struct SharedFile(pub File);

impl FileRegion for SharedFile {
    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.0.read_at(into, offset) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno(error.raw_os_error().unwrap_or(libc::EIO))),
                Ok(count) => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
#[path = "transfer_tests.rs"]
mod tests;
