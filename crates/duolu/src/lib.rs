//! duolu (多路): one callback event loop over select, poll, epoll and io_uring.
//!
//! ```
//! use duolu::{EventLoop, Interest, Next};
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//!
//! // An echo server, its loop, and a client of it, all on one thread.
//! let mut event_loop = EventLoop::new()?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! event_loop.accept(listener, |ctx, stream, _peer| {
//!     let served = ctx.register(stream, Interest::READ, |_, mut stream: &TcpStream, _| {
//!         let mut buffer = [0; 4096];
//!         match stream.read(&mut buffer) {
//!             Ok(n) if n > 0 && stream.write_all(&buffer[..n]).is_ok() => Next::Keep,
//!             _ => Next::Remove, // deregisters, then closes
//!         }
//!     });
//!     if let Err(error) = served {
//!         eprintln!("cannot serve: {error}");
//!     }
//! })?;
//! let client = TcpStream::connect(address)?;
//! (&client).write_all(b"many roads")?;
//! event_loop.register(client, Interest::READ, |ctx, mut client: &TcpStream, _| {
//!     let mut reply = [0; 10];
//!     client.read_exact(&mut reply).expect("an echo");
//!     assert_eq!(&reply, b"many roads");
//!     ctx.stop();
//!     Next::Remove
//! })?;
//! event_loop.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`EventLoop`] runs, [`Context`] is what every callback gets, [`Config`] chooses.
//! - The loop owns what it watches (`F: AsFd`), so a descriptor cannot be closed behind its back; borrowed or raw ones
//!   need `unsafe`. A callback may add, remove, re-arm and stop anything, itself included: nothing is borrowed
//!   meanwhile, so nothing panics.
//! - [`Context::stream`] reads and writes by itself, with buffers, watermarks, timeouts and rate limits.
//! - [`Context::datagrams`] receives and sends batches of datagrams, over UDP or Unix sockets.
//! - [`Handle`] reaches a loop from other threads.
#![deny(unsafe_code)]

mod config;
mod context;
pub mod datagram;
mod error;
mod event_loop;
mod handle;
mod hooks;

mod listener;

pub mod net;
mod object;
mod options;
pub mod proxy_protocol;
mod signals;
mod stats;
pub mod stream;
#[cfg(feature = "tls")]
pub mod tls;

pub use config::{BACKEND_VARIABLE, Config, STREAMS_VARIABLE};
pub use context::Context;
pub use datagram::{DatagramEvent, DatagramHandler, DatagramOptions, Datagrams};
pub use duolu_core::buffer;
pub use duolu_core::stream::{Direction, Rate, Side, StreamEvent, Totals};
pub use duolu_core::{
    CommonTimeout, Counters, EventId, Features, Instant, Interest, Ready, TransferCounters, Trigger,
};
pub use duolu_sys::backend::BackendKind;
pub use duolu_sys::transfer::SharedFile;
pub use error::Error;
pub use event_loop::{EventLoop, Exit};
pub use handle::{Closed, Handle};
pub use hooks::HookId;

pub use listener::{AcceptOptions, AsListener};
pub use object::Handler;
pub use options::{After, Next, Options, Rearm};
pub use stats::{SlowCallback, Stats};
pub use stream::{Layer, LayerError, Layered, PairEnd, RateGroup, SpliceEnd, SpliceOptions, Spliced};
pub use stream::{Stream, StreamHandler, StreamOptions};

/// The READMEs' examples compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../../../README.zh-CN.md")]
struct Readmes;
