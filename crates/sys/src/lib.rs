//! duolu's hands: every system call and every kernel-facing `unsafe` of the project.
//!
//! The brain (`duolu-core`) decides what to watch and how long to sleep; this crate does it. It holds
//! - [`backend`]: select, poll, epoll and io_uring behind the one trait [`duolu_core::Backend`];
//! - [`clock`], [`waker`], [`signal`]: the time, the wake-up from another thread, signals for several loops;
//! - [`socket`], [`process`]: safe helpers for what `std` has no way to ask for;
//! - [`transfer`], [`splice`]: bytes between descriptors and buffers, and between descriptors; [`datagram`]: messages in batches;
//! - [`tcp_diag`]: every TCP socket of the machine, and what the kernel knows of it;
//! - [`tracepoint`], [`tcp_trace`]: what the kernel says of itself, among it every change of a TCP state;
//! - [`calls`]: select, poll and epoll bare, for showing what they do; calls by their numbers, for telling what threads
//!   are in;
//! - [`worker`]: forked worker processes, what they count, the sockets a service manager left open;
//! - [`netns`], [`veth`], [`capture`], [`deaf`]: networks of one's own, their packets, and how to lose some;
//! - [`prefetch`]: memory that will be needed soon;
//! - [`sync`]: the one place that names a mutex or an atomic.
//!
//! Linux only. Where a call is younger than Linux 4.14 the code says from which version on it exists and
//! what is done without it.

mod address;
pub mod backend;
pub mod calls;
pub mod capture;
pub mod child;
pub mod clock;
pub mod completion;
pub mod datagram;
pub mod deaf;
pub mod fork_guard;
pub mod heap;
pub mod netns;
pub mod prefetch;
pub mod process;
pub mod signal;
pub mod socket;
pub mod splice;
pub mod sync;
pub mod syscall;
pub mod tcp_diag;
pub mod tcp_trace;
pub mod tracepoint;
pub mod transfer;
pub mod veth;
pub mod waker;
pub mod worker;

pub use clock::MonotonicClock;
pub use waker::Waker;
