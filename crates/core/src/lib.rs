//! duolu's brain: what is watched, when to sleep, what is due and in which order.
//!
//! Nothing here opens a descriptor, reads a clock or calls a callback. Time comes in as an argument,
//! the kernel is behind the [`Backend`] trait, and due events leave by value as [`Active`].
//! So every decision can be tested on a virtual clock (see the crate `duolu-sim`).
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod active;
pub mod backend;
pub mod buffer;
pub mod completion;
pub mod datagram;
pub mod engine;
mod event;
pub mod interest;
pub mod proxy_protocol;
pub mod reactor;
mod signals;
mod slots;
pub mod stream;
pub mod time;
pub mod timers;
pub mod transfers;
mod watch;

pub use backend::{Backend, Change, Clock, Errno, Features, RawFd, Report, Token, Watch};
pub use engine::Engine;
pub use event::{Active, EventSpec, Source};
pub use interest::{Interest, Ready, Trigger};
pub use reactor::{Budget, Counters, Reactor, Refused, Rules, Timeout};
pub use slots::{EventId, reserve_table};
pub use time::Instant;
pub use timers::{CommonTimeout, Timers};
pub use transfers::{TransferCounters, Transfers};
