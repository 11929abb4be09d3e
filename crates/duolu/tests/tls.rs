//! TLS: the layer by itself, byte by byte; streams over it on every backend; and openssl and curl at the other end.
#![cfg(feature = "tls")]

#[path = "streams/stage.rs"]
#[macro_use]
#[allow(dead_code)] // the other half is for streams without layers
mod stage;

#[path = "tls/ca.rs"]
mod ca;
#[path = "tls/config.rs"]
mod config;
#[path = "tls/far.rs"]
mod far;
#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/inside.rs"]
mod inside;
#[path = "tls/interop.rs"]
mod interop;
#[path = "tls/layer.rs"]
mod layer;
#[path = "streams/replacing.rs"]
mod replacing;
#[path = "tls/streams.rs"]
mod streams;
#[path = "tls/wire.rs"]
mod wire;
