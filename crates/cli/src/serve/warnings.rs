//! The library's warnings (a listener out of descriptors, an event that could not be re-armed) on stderr, in the words
//! of a server. The library itself says at most a line a second of each.

use crate::terminal::tell;
use log::{Level, LevelFilter, Log, Metadata, Record};

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }
    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            tell(&format!("duolu serve: {}", record.args()));
        }
    }
    fn flush(&self) {}
}

/// From now on warnings are printed.
pub fn print() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
