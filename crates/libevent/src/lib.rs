//! libevent 2.1's C ABI: its names and its layouts, on duolu's loop and buffers.
//!
//! One file or folder per header of libevent's; the functions are documented there. Here stands what is decided behind
//! them. Three rules hold everywhere:
//! - A pointer of the caller's is checked once, where it comes in; behind that the calls are safe ones.
//! - No lock is held and nothing is borrowed while a callback runs, so that it may call anything.
//! - Failures set errno and are what the header says a failure is. No allocation failure aborts ([`mem`]).

// The C headers document these names; what a caller must keep to is said there, too.
#![allow(missing_docs, clippy::missing_safety_doc)]
// C's names.
#![allow(non_camel_case_types)]

#[cfg(not(target_os = "linux"))]
compile_error!("duolu runs on Linux only");

pub mod base;
pub mod buffer;
pub mod bufferevent;
pub mod event;
pub mod layout;
pub mod layout_more;
pub mod listener;
pub mod lock;
pub mod log;
pub mod mem;
mod not_yet;
pub mod tag;
pub mod thread;
pub mod util;
pub mod variadic;

pub use base::event_base;
