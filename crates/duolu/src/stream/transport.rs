//! What a stream may be made of.

use duolu_core::Errno;
use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::Moved;
use duolu_sys::socket;
use duolu_sys::transfer::{self, Kind};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Something that moves bytes both ways: a TCP or Unix socket, or what stands for one (a simulated socket in tests).
///
/// The loop watches `descriptor`, which must stay open and the same file as long as the transport is there, and be closed
/// by dropping it. All calls are nonblocking; `Moved` says what came of them.
pub trait Transport: 'static {
    /// What to watch.
    fn descriptor(&self) -> RawFd;
    /// Called once, before it is watched: the descriptor must not block.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }
    /// Reads up to `limit` bytes to the end of `input`.
    fn read_into(&self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    /// Writes up to `limit` bytes from the front of `output`, and drains what was taken.
    fn write_from(&self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    /// Tells the peer that nothing more comes. Errors mean that it is gone, which reading tells better.
    fn shutdown_write(&self);
    /// Has the close that follows tell the peer that the connection was cut, where there is a way to say so.
    fn reset(&self) {}
    /// How the connection that was begun went.
    fn take_error(&self) -> Result<(), Errno> {
        Ok(())
    }
}

macro_rules! socket_transport {
    ($socket:ty) => {
        impl Transport for $socket {
            fn descriptor(&self) -> RawFd {
                self.as_raw_fd()
            }
            fn prepare(&self) -> io::Result<()> {
                socket::set_nonblocking(self, true)
            }
            #[inline]
            fn read_into(&self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
                transfer::read_into(self, Kind::Socket, input, pool, limit)
            }
            #[inline]
            fn write_from(&self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
                transfer::write_from(self, Kind::Socket, output, pool, limit)
            }
            fn shutdown_write(&self) {
                let _ = socket::shutdown(self, Shutdown::Write);
            }
            fn reset(&self) {
                let _ = socket::set_linger(self, Some(0)); // a Unix socket knows no such thing
            }
            fn take_error(&self) -> Result<(), Errno> {
                const EIO: i32 = 5;
                socket::take_error(self).map_err(|error| Errno(error.raw_os_error().unwrap_or(EIO)))
            }
        }
    };
}

socket_transport!(TcpStream);
socket_transport!(UnixStream);
