//! Colour, decided once and asked everywhere; and the two streams: stdout is data, stderr is for people.

use crate::failure::Failure;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use unicode_width::UnicodeWidthStr;

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

/// How many columns stdout has, if it is a terminal.
pub fn stdout_width() -> Option<usize> {
    stdout_size().map(|(columns, _)| columns)
}

/// How many columns and rows stdout has, if it is a terminal.
pub fn stdout_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    // A terminal that does not know its size says 0.
    let or = |told: u16, usual: usize| if told == 0 { usual } else { usize::from(told) };
    Some((or(size.ws_col, 80), or(size.ws_row, 24)))
}

/// Data on stdout. A reader that has gone away (`| head`) has seen what it wanted, and that is no failure.
///
/// # Errors
/// Whatever else keeps the data from its reader, such as a full disk: exit code 3.
pub fn print(text: &str) -> Result<(), Failure> {
    stream(text).map(drop)
}

/// A line of an endless stream on stdout. `false`: its reader has gone, so nobody wants the next one either.
///
/// # Errors
/// As [`print`].
pub fn stream(line: &str) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()))
}

/// What [`stream`] says of an outcome, for what is too long to be held as a whole before it is written.
///
/// # Errors
/// As [`print`].
pub fn written(outcome: std::io::Result<()>) -> Result<bool, Failure> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::cannot(format!("cannot write the result to stdout: {error}"))),
    }
}

/// A line on stderr. `eprintln!` panics when nobody reads stderr any more or its disk is full; a server serves on. One
/// write, so that the lines of several processes do not mix. On a terminal it breaks between words.
pub fn tell(sentence: &str) {
    let width = stderr_width();
    let lines: String = sentence.lines().map(|line| folded(line, width.unwrap_or(usize::MAX))).collect();
    let _ = std::io::stderr().lock().write_all(lines.as_bytes());
}

/// How many columns stderr has, if it is a terminal.
pub fn stderr_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A line over as many as it takes, each indented like the first; a longer word stays whole.
fn folded(line: &str, width: usize) -> String {
    if line.width() <= width {
        return format!("{line}\n");
    }
    let indent = &line[..line.len() - line.trim_start().len()];
    let (mut text, mut used) = (indent.to_owned(), indent.width());
    for word in line.split_whitespace() {
        if used > indent.width() && used + 1 + word.width() > width {
            text.push('\n');
            text.push_str(indent);
            used = indent.width();
        } else if used > indent.width() {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += word.width();
    }
    text + "\n"
}

/// `text` in an SGR style such as `"1;31"`, or plain.
pub fn paint(on: bool, style: &str, text: &str) -> String {
    if on { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_breaks_between_words_and_keeps_its_indent() {
        assert_eq!(folded("  one two  three", 80), "  one two  three\n");
        assert_eq!(folded("  one two three", 9), "  one two\n  three\n");
        assert_eq!(folded("extraordinarily long", 5), "extraordinarily\nlong\n");
        assert_eq!(folded("多路 复用", 6), "多路\n复用\n", "a Chinese letter takes two columns");
    }
}
