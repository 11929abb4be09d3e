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

pub mod backend;
pub mod interest;
pub mod time;
pub mod timers;

pub use backend::{Backend, Change, Clock, Errno, Features, RawFd, Report, Token, Watch};
pub use interest::{Interest, Ready, Trigger};
pub use time::Instant;
