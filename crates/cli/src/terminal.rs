//! Colour and width: decided once, asked everywhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

/// The value of `--color`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum ColorChoice {
    /// Where the stream is a terminal and NO_COLOR is not set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

static CHOICE: AtomicU8 = AtomicU8::new(0);

/// Remembers the choice for the whole run.
pub fn set_color(choice: ColorChoice) {
    CHOICE.store(choice as u8, Ordering::Relaxed);
}

fn decide(is_terminal: bool) -> bool {
    match CHOICE.load(Ordering::Relaxed) {
        1 => true,
        2 => false,
        _ => {
            is_terminal
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Whether stdout is to be coloured.
pub fn stdout_color() -> bool {
    decide(std::io::stdout().is_terminal())
}

/// Whether stderr is to be coloured.
pub fn stderr_color() -> bool {
    decide(std::io::stderr().is_terminal())
}

/// `text` in an SGR style such as `"1;31"`, or plain.
pub fn paint(on: bool, style: &str, text: &str) -> String {
    if on { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}
