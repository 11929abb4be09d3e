//! `duolu states` beside real sockets in every state that a program can bring about, and beside ss(8).
//!
//! Needs iproute2, strace and setpriv; some tests need root (DUOLU_TEST_NO_ROOT=1 does without it).

mod against_ss;
mod closed;
mod file;
mod kit;
#[path = "../support/looking.rs"]
mod looking;
mod shown;
mod stream;
mod watch;
