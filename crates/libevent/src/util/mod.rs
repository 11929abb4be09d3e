//! event2/util.h: sockets, addresses, names, text, random bytes and clocks. Thin: what libc does well is libc's.

mod address;
mod port;
mod random;
pub mod resolve;
pub mod sockets;
mod text;
mod time;
