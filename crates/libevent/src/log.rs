//! Where messages go: to the program's own callback (event_set_log_callback), else to stderr as libevent writes them.

use std::io::Write;

/// Says something that the program's author should know.
pub fn warn(text: &str) {
    // Nobody is left to tell where stderr is closed.
    let _ = writeln!(std::io::stderr(), "[warn] {text}");
}
