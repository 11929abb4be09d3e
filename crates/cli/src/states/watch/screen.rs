//! The terminal: taken for the view, and given back as it was, whatever ends the program.
//!
//! - A return or an error: [`Screen`]'s drop. A panic: ratatui's hook, before the message is written.
//! - SIGTERM, SIGINT, SIGHUP are remembered and end the view in order. (In raw mode Ctrl-C is a key, not a signal.)
//! - SIGTSTP (Ctrl-Z, `kill -TSTP`): the terminal is given back, the process stops, and takes it again when it goes on.

use duolu_sys::process;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGSTOP, SIGTERM, SIGTSTP};
use signal_hook::flag::register;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    terminal: DefaultTerminal,
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
        let screen = Screen { terminal, end, suspend };
        execute!(io::stdout(), EnableBracketedPaste)?;
        Ok(screen)
    }

    /// Draws; only what has changed is written.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw).map(drop)
    }

    /// What a signal has asked for since the last time.
    pub fn asked(&self) -> Option<Asked> {
        if self.end.load(Ordering::Relaxed) {
            return Some(Asked::End);
        }
        self.suspend.swap(false, Ordering::Relaxed).then_some(Asked::Suspend)
    }

    /// Gives the terminal back, stops, and takes it again when somebody lets us go on (`fg`).
    ///
    /// # Errors
    /// As `take`.
    pub fn suspend(&mut self) -> io::Result<()> {
        give_back();
        // SIGTSTP has our handler now; SIGSTOP no process can catch.
        process::kill(std::process::id(), SIGSTOP)?;
        self.terminal = ratatui::try_init()?;
        // The alternate screen is empty again, and a new terminal draws all of it. (Its clear() would ask the terminal
        // where the cursor is, and not every terminal answers.)
        execute!(io::stdout(), EnableBracketedPaste)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let _ = execute!(io::stdout(), DisableBracketedPaste, Show);
    // Where the terminal has gone there is nothing to give back.
    let _ = ratatui::try_restore();
}
