//! The terminal: taken for the view, and given back as it was, whatever ends the program.
//!
//! - A return or an error: [`Screen`]'s drop. A panic: ratatui's hook, before the message is written.
//! - SIGTERM, SIGINT, SIGHUP are remembered and end the view in order. (In raw mode Ctrl-C is a key, not a signal.)
//! - A terminal that has gone without a signal (its window was closed, and we lead no session): the view ends, too. Reading
//!   from it would say "nothing" at once, for ever.
//! - SIGTSTP (Ctrl-Z, `kill -TSTP`): the terminal is given back, the process stops, and takes it again when it goes on.

use duolu_sys::process;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGSTOP, SIGTERM, SIGTSTP};
use signal_hook::flag::register;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a signal wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// To end.
    End,
    /// To stop until SIGCONT.
    Suspend,
}

/// The terminal while the view has it.
pub struct Screen {
    /// `None` only for a moment.
    terminal: Option<DefaultTerminal>,
    end: Arc<AtomicBool>,
    suspend: Arc<AtomicBool>,
}

impl Screen {
    /// Takes it: raw mode, the alternate screen.
    ///
    /// # Errors
    /// It is none, or its settings may not be changed.
    pub fn take() -> io::Result<Self> {
        let (end, suspend) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            register(signal, Arc::clone(&end))?;
        }
        register(SIGTSTP, Arc::clone(&suspend))?;
        let terminal = ratatui::try_init()?;
        let screen = Screen { terminal: Some(terminal), end, suspend };
        execute!(io::stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }

    /// Draws; only what has changed is written.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        match &mut self.terminal {
            Some(terminal) => terminal.draw(draw).map(drop),
            None => Ok(()),
        }
    }

    /// Whether the terminal's other side is there: a window that was closed is an end like Ctrl-C.
    pub fn is_there() -> bool {
        wait(Duration::ZERO)
    }

    /// Sleeps for `patience`, or until a key was pressed; then what a signal has asked for since the last time.
    pub fn asked(&self, patience: Duration) -> Option<Asked> {
        if !wait(patience) || self.end.load(Ordering::Relaxed) {
            return Some(Asked::End);
        }
        self.suspend.swap(false, Ordering::Relaxed).then_some(Asked::Suspend)
    }

    /// Gives the terminal back, stops, and takes it again when somebody lets us go on (`fg`).
    ///
    /// # Errors
    /// As `take`.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back(self.terminal.take());
        // SIGTSTP has our handler now; SIGSTOP no process can catch.
        process::kill(std::process::id(), SIGSTOP)?;
        self.terminal = Some(ratatui::try_init()?);
        // The alternate screen is empty again, and a new terminal draws all of it. (Its clear() would ask the terminal
        // where the cursor is, and not every terminal answers.)
        execute!(io::stdout(), EnableBracketedPaste)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back(self.terminal.take());
    }
}

fn give_back(terminal: Option<DefaultTerminal>) {
    // Where the terminal has gone there is nothing to give back.
    let _ = execute!(io::stdout(), DisableBracketedPaste, Show);
    let _ = ratatui::try_restore();
    let Some(mut terminal) = terminal else { return };
    if terminal.show_cursor().is_err() {
        // Its drop would try again and complain on stderr, which has gone likewise: a panic, and then another one.
        std::mem::forget(terminal);
    }
}

/// Sleeps until there may be something to read, or `patience` is over; false where the terminal's other side was closed.
/// crossterm must not be asked then: it reads "nothing" and reads again, without end and whatever its timeout.
fn wait(patience: Duration) -> bool {
    let (stdin, stdout) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    // Where stdin is no terminal crossterm reads from /dev/tty: then keys are looked for when the time is over.
    let keys = if stdin.is_terminal() { PollFlags::IN } else { PollFlags::empty() };
    let mut polled = [PollFd::new(&stdout, PollFlags::empty()), PollFd::new(&stdin, keys)];
    let polled = if keys.is_empty() { &mut polled[..1] } else { &mut polled[..] };
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    // Interrupted, by a signal or a resized window: those are looked at, too.
    let _ = poll(polled, Some(&timeout));
    !polled.iter().any(|end| end.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}
