//! Runs C programs with two libevents, the system's and duolu's, and compares what they say.
//!
//! A program of `programs/` is compiled once, against the system's headers and objects, and run seven times: with each
//! library, with epoll, poll and select, and with ours on io_uring, which must say what C libevent says on epoll. What it prints
//! and how it exits must be equal, so it prints nothing that differs from run to run (no addresses, no times). Its first lines
//! may say `conform: KEY=VALUE ...`, see [`Program`].
//!
//! `DUOLU_LIBEVENT=FILE` has that object tested instead of the one cargo builds here (a sanitized one, say), and
//! `DUOLU_LIBEVENT_PRELOAD=FILE` has a sanitizer's runtime loaded before it.

mod build;
mod program;
mod run;

pub use build::{Ours, compile, ours};
pub use program::{Method, Program, same};
pub use run::{Outcome, run};

/// Lines that only one of two texts has, in the style of diff: the common beginning and end are left out.
#[must_use]
pub fn difference(reference: &str, ours: &str) -> String {
    let (left, right): (Vec<_>, Vec<_>) = (reference.lines().collect(), ours.lines().collect());
    let same = left.iter().zip(&right).take_while(|(left, right)| left == right).count();
    let tail = left[same..].iter().rev().zip(right[same..].iter().rev());
    let tail = tail.take_while(|(left, right)| left == right).count();
    let mut text = String::new();
    for line in &left[same.saturating_sub(3)..same] {
        text += &format!("  {line}\n");
    }
    for line in left[same..left.len() - tail].iter().take(40) {
        text += &format!("- {line}\n");
    }
    for line in right[same..right.len() - tail].iter().take(40) {
        text += &format!("+ {line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_difference_shows_what_differs_and_what_came_before() {
        assert_eq!(super::difference("a\nb\nc\nd\n", "a\nx\ny\nd\n"), "  a\n- b\n- c\n+ x\n+ y\n");
        assert_eq!(super::difference("a\n", "a\n"), "  a\n");
        assert_eq!(super::difference("a\n", "a\na\n"), "  a\n+ a\n");
    }
}
