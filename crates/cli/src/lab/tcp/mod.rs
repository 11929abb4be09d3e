//! TCP: its states, its ends, its ports.

mod close_order;
mod dup_close;
mod fork_leak;
mod half_close;
mod kit;
mod rebind;
mod reuseport;
mod time_wait;

use super::experiment::Lab;

/// In the order of the notes.
pub const LABS: &[&Lab] = &[
    &time_wait::LAB,
    &close_order::LAB,
    &half_close::LAB,
    &dup_close::LAB,
    &fork_leak::LAB,
    &rebind::LAB,
    &reuseport::LAB,
];
