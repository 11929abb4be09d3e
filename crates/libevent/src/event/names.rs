//! EV_* in words, for event_base_dump_events.

use super::ev::{EV_CLOSED, EV_ET, EV_PERSIST, EV_READ, EV_SIGNAL, EV_TIMEOUT, EV_WRITE};
use core::ffi::c_short;

const ASKED: [(c_short, &str); 6] = [
    (EV_READ, " Read"),
    (EV_WRITE, " Write"),
    (EV_CLOSED, " EOF"),
    (EV_SIGNAL, " Signal"),
    (EV_PERSIST, " Persist"),
    (EV_ET, " ET"),
];
const TOLD: [(c_short, &str); 5] = [
    (EV_READ, " Read"),
    (EV_WRITE, " Write"),
    (EV_CLOSED, " EOF"),
    (EV_SIGNAL, " Signal"),
    (EV_TIMEOUT, " Timeout"),
];

/// What an event is made with.
pub fn asked(events: c_short, text: &mut String) {
    ASKED.iter().filter(|(bit, _)| events & bit != 0).for_each(|(_, name)| text.push_str(name));
}

/// What it is active for.
pub fn told(events: c_short, text: &mut String) {
    TOLD.iter().filter(|(bit, _)| events & bit != 0).for_each(|(_, name)| text.push_str(name));
}
