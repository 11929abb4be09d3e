//! TCP: its states, its ends, its ports.

mod backlog;
mod cable;
mod close_order;
mod dup_close;
mod echo;
mod fork_leak;
mod half_close;
mod kit;
mod mss;
mod mtu;
mod processes;
mod rebind;
mod reuseport;
mod time_wait;
mod walls;
mod window;

use super::experiment::Lab;

/// In the order of the notes.
pub const LABS: &[&Lab] = &[
    &processes::LAB,
    &walls::LAB,
    &mtu::LAB,
    &mss::LAB,
    &window::LAB,
    &time_wait::LAB,
    &close_order::LAB,
    &backlog::LAB,
    &half_close::LAB,
    &dup_close::LAB,
    &fork_leak::LAB,
    &rebind::LAB,
    &reuseport::LAB,
];
