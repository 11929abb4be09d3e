//! TCP: its states, its ends, its ports.

mod half_close;
mod kit;

use super::experiment::Lab;

/// In the order of the notes.
pub const LABS: &[&Lab] = &[&half_close::LAB];
