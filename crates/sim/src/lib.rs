//! duolu's pretend hands: a scripted kernel and a virtual clock, so that every decision of the brain can be
//! tested without a real descriptor, without sleeping, and replayed from one seed.
//!
//! - [`SimKernel`]: descriptors numbered like a kernel numbers them, open files behind them, bounded buffers,
//!   half-close, reset, a network with delay and loss, datagrams that are lost, doubled and overtaken, scripted faults. Shared through [`Sim`].
//! - [`SimBackend`]: a `Backend` over it that imitates one of four real ones ([`Personality`]) with its traps,
//!   and that holds the brain to the contract of the trait: a breach panics with both sides' view.
//! - [`SimClock`]: virtual nanoseconds. Waiting moves them on to the deadline or to the next happening.
//!
//! Test infrastructure: panics are its way to fail a test.
#![forbid(unsafe_code)]

mod backend;
mod clock;
mod end;
mod faults;
mod kernel;
mod rng;

pub use backend::{BackendStats, Personality, SimBackend};
pub use clock::{Sim, SimClock};
pub use end::{Delay, EndKind};
pub use faults::Faults;
pub use kernel::{DatagramNet, SimKernel};
pub use rng::Rng;

/// The error numbers the simulated kernel uses (Linux's).
pub mod errno {
    use duolu_core::Errno;
    /// Operation not permitted.
    pub const EPERM: Errno = Errno(1);
    /// Interrupted by a signal.
    pub const EINTR: Errno = Errno(4);
    /// Not an open descriptor, or not open for that.
    pub const EBADF: Errno = Errno(9);
    /// Would block.
    pub const EAGAIN: Errno = Errno(11);
    /// Out of memory.
    pub const ENOMEM: Errno = Errno(12);
    /// The operation does not fit the kind of file.
    pub const EINVAL: Errno = Errno(22);
    /// The process is out of descriptors.
    pub const EMFILE: Errno = Errno(24);
    /// The user is out of epoll watches.
    pub const ENOSPC: Errno = Errno(28);
    /// Nobody reads the other end any more.
    pub const EPIPE: Errno = Errno(32);
    /// Another socket has that port.
    pub const EADDRINUSE: Errno = Errno(98);
    /// The peer reset the connection.
    pub const ECONNRESET: Errno = Errno(104);
    /// Nobody listens there.
    pub const ECONNREFUSED: Errno = Errno(111);
}
