//! What deploy/ says, tried: HAProxy in front of three servers, and the units of systemd.

mod balancer;
mod network;
#[allow(dead_code, reason = "the tests of serve take the rest")]
#[path = "../serve/server.rs"]
mod server;
mod systemd;
#[path = "../support/wait.rs"]
mod wait;
