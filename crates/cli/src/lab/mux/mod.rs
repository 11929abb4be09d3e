//! Waiting for many: select, poll, epoll.

use super::experiment::Lab;

/// In the order of the notes.
pub const LABS: &[&Lab] = &[];
