//! TLS: the layer by itself, byte by byte; streams over it on every backend; and openssl and curl at the other end.
#![cfg(feature = "tls")]

#[path = "tls/ca.rs"]
mod ca;
#[path = "tls/config.rs"]
mod config;
#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/layer.rs"]
mod layer;
#[path = "tls/wire.rs"]
mod wire;
