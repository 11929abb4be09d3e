//! What a stream may be made of.

use duolu_core::buffer::{Buffer, Pool};
use duolu_core::stream::{LayerError, LayerState, Moved};
use duolu_core::{Errno, EventId, Ready};
use duolu_sys::socket;
use duolu_sys::transfer::{self, Kind};
use std::any::{Any, TypeId};
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// EINPROGRESS.
pub(super) const NOT_YET: Errno = Errno(115);

/// Something that moves bytes both ways: a TCP or Unix socket, the end of a pair in memory, what stands for one of them (a
/// simulated socket in tests), or [`Layered`](super::Layered) upon another transport.
///
/// The loop watches `descriptor`, which must stay open and the same file as long as the transport is there, and be closed
/// by dropping it. All calls are nonblocking; `Moved` says what came of them. What is provided already is right for
/// everything that has no layers and costs nothing there.
pub trait Transport: 'static {
    /// Whether layers stand between: then `read_through` and `write_through` are called instead of `read_into` and
    /// `write_from`.
    const LAYERED: bool = false;

    /// What to watch; `None`: it is in memory, and says itself what can be done ([`Transport::ready`]).
    fn descriptor(&self) -> Option<RawFd>;
    /// Whether it is a stream socket and nothing else: to read it is recv(2) on the descriptor, to write it send(2). Then
    /// the loop may move its bytes in another way ([`crate::Config::stream_completions`]).
    fn is_plain_socket(&self) -> bool {
        false
    }
    /// Whether a read that brings less than it was asked for leaves nothing behind, unless the kernel reports an end, an
    /// error or urgent data: then it may be watched by edges, which is cheaper. True of TCP; not of Unix sockets, where
    /// a read also ends behind bytes that descriptors came with.
    fn short_read_empties(&self) -> bool {
        false
    }
    /// What to watch from now on, told once: for what had no descriptor as long as it was not connected.
    #[inline]
    fn take_descriptor(&mut self) -> Option<RawFd> {
        None
    }
    /// Called once, before it is watched: the descriptor must not block.
    fn prepare(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Reads up to `limit` bytes to the end of `input`.
    fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    /// Writes up to `limit` bytes from the front of `output`, and drains what was taken.
    fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved;
    /// Tells the peer that nothing more comes. Errors mean that it is gone, which reading tells better.
    fn shutdown_write(&mut self);
    /// Has the close that follows tell the peer that the connection was cut, where there is a way to say so.
    fn reset(&mut self) {}
    /// The descriptor to splice(2) from and to, where what passes through it is what `read_into` and `write_from` move.
    fn splice_descriptor(&self) -> Option<RawFd> {
        None
    }
    /// How the connection that was begun went; EINPROGRESS: that is not known yet.
    fn take_error(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    // Layers.

    /// As `read_into`, and no more than `wire` bytes from the wire, which is made less by what came.
    #[inline]
    fn read_through(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize, wire: &mut usize) -> Moved {
        let moved = self.read_into(input, pool, limit.min(*wire));
        *wire -= moved.bytes;
        moved
    }
    /// As `write_from`, and no more than `wire` bytes to the wire, which is made less by what went. `finish`: nothing
    /// comes behind `output`.
    #[inline]
    fn write_through(
        &mut self,
        output: &mut Buffer,
        pool: &mut Pool,
        limit: usize,
        wire: &mut usize,
        finish: bool,
    ) -> Moved {
        let _ = finish;
        let moved = self.write_from(output, pool, limit.min(*wire));
        *wire -= moved.bytes;
        moved
    }
    /// How the layers are.
    #[inline]
    fn layers(&self) -> LayerState {
        LayerState::NONE
    }
    /// The outermost layer of that type.
    fn find_layer(&mut self, _: TypeId) -> Option<&mut dyn Any> {
        None
    }
    /// Why a layer cannot go on.
    fn layer_error(&self) -> Option<&LayerError> {
        None
    }
    /// The program wants what layers keep back to go out.
    fn flush_layers(&mut self) {}

    // What is in memory.

    /// What could be done now; asked where there is no descriptor.
    fn ready(&self) -> Ready {
        Ready::NONE
    }
    /// Under which id it is in a loop.
    fn installed(&mut self, _: EventId) {}
    /// Whom the last calls have given something to do, and what.
    #[inline]
    fn take_woken(&mut self) -> Option<(EventId, Ready)> {
        None
    }
}

macro_rules! socket_transport {
    ($socket:ty, $short_read_empties:expr) => {
        impl Transport for $socket {
            fn descriptor(&self) -> Option<RawFd> {
                Some(self.as_raw_fd())
            }
            fn is_plain_socket(&self) -> bool {
                true
            }
            fn short_read_empties(&self) -> bool {
                $short_read_empties
            }
            fn prepare(&mut self) -> io::Result<()> {
                socket::set_nonblocking(self, true)
            }
            #[inline]
            fn read_into(&mut self, input: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
                transfer::read_into(&*self, Kind::Socket, input, pool, limit)
            }
            #[inline]
            fn write_from(&mut self, output: &mut Buffer, pool: &mut Pool, limit: usize) -> Moved {
                transfer::write_from(&*self, Kind::Socket, output, pool, limit)
            }
            fn shutdown_write(&mut self) {
                let _ = socket::shutdown(self, Shutdown::Write);
            }
            fn reset(&mut self) {
                let _ = socket::set_linger(self, Some(0)); // a Unix socket knows no such thing
            }
            fn splice_descriptor(&self) -> Option<RawFd> {
                Some(self.as_raw_fd())
            }
            fn take_error(&mut self) -> Result<(), Errno> {
                const EIO: i32 = 5;
                socket::take_error(self).map_err(|error| Errno(error.raw_os_error().unwrap_or(EIO)))
            }
        }
    };
}

socket_transport!(TcpStream, true);
socket_transport!(UnixStream, false);

/// What a program may ask of a transport of any type.
pub(super) trait Layers {
    fn find(&mut self, which: TypeId) -> Option<&mut dyn Any>;
    fn error(&self) -> Option<&LayerError>;
    fn unsent(&self) -> usize;
    fn flush(&mut self);
}

impl<S: Transport> Layers for S {
    fn find(&mut self, which: TypeId) -> Option<&mut dyn Any> {
        self.find_layer(which)
    }
    fn error(&self) -> Option<&LayerError> {
        self.layer_error()
    }
    fn unsent(&self) -> usize {
        self.layers().unsent
    }
    fn flush(&mut self) {
        self.flush_layers();
    }
}
