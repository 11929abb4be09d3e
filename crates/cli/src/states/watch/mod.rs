//! `duolu states --watch`: the diagram, live, and a table of connections behind it.
//!
//! Reading order: [`app`] (what is shown and what a key does; no terminal in it), [`filter`], [`draw`] with [`table`] and
//! [`help`], [`screen`] (the terminal, and giving it back whatever happens). [`run`] joins them to an [`Observer`].

mod app;
mod draw;
mod filter;
mod help;
mod screen;
mod table;

use super::args::Plan;
use super::diagram::paint::Ink;
use super::transitions::{Observer, Pick, Via};
use crate::failure::Failure;
use crate::terminal;
use app::{Action, App};
use duolu_sys::tcp_diag::Ports;
use filter::Filter;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use screen::{Asked, Screen};
use std::io::IsTerminal;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A signal waits at most so long for its answer.
const HEED: Duration = Duration::from_millis(150);

/// Shows the diagram until the user has seen enough.
///
/// # Errors
/// stdout is no terminal (2); the sockets, or a tracepoint that was demanded, cannot be read (3); 130 after Ctrl-C.
pub fn run(plan: Plan, interval: Duration, via: Via) -> Result<(), Failure> {
    if !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "--watch draws on a terminal, and stdout is none; --json-stream writes a line each second, -o FILE.html the picture",
        ));
    }
    let plan = Rc::new(plan);
    let mut observer = observe(&plan, &Filter::default(), via)?;
    // What can fail for good does so before the screen is taken.
    let first = observer.look().map_err(|error| Failure::cannot(error.to_string()))?;
    let ink = Ink { color: terminal::stdout_color() };
    let mut app = App::new(plan.target.shown(), plan.lang, ink, plan.filter.states);
    app.show(first, |socket| observer.is_asked(socket));
    let mut screen = Screen::take().map_err(unusable)?;
    let mut due = Instant::now() + interval;
    loop {
        if let Err(error) = screen.draw(|frame| draw::draw(frame, &mut app)) {
            return Err(if Screen::is_there() { unusable(error) } else { Failure::interrupted() });
        }
        match wait(&mut app, &screen, due)? {
            Action::Redraw => {}
            Action::Quit => return Ok(()),
            Action::Interrupted => return Err(Failure::interrupted()),
            Action::Suspend => {
                screen.suspend().map_err(unusable)?;
                due = Instant::now();
            }
            Action::Refilter => {
                observer = observe(&plan, app.filter(), via)?;
                look(&mut observer, &mut app);
                due = Instant::now() + interval;
            }
            Action::Look => {
                let begun = Instant::now();
                look(&mut observer, &mut app);
                // Looks that were missed are not made up for, and at most half of the time goes into looking.
                let now = Instant::now();
                due = (due + interval).max(now + (now - begun));
            }
        }
    }
}

fn look(observer: &mut Observer, app: &mut App) {
    match observer.look() {
        Ok(look) => app.show(look, |socket| observer.is_asked(socket)),
        Err(error) => app.fail(error.to_string()),
    }
}

/// Waits for a key, a signal, or the next look.
fn wait(app: &mut App, screen: &Screen, due: Instant) -> Result<Action, Failure> {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        let patience = if app.is_paused() { HEED } else { left.min(HEED) };
        match screen.asked(patience) {
            Some(Asked::End) => return Ok(Action::Interrupted),
            Some(Asked::Suspend) => return Ok(Action::Suspend),
            None => {}
        }
        if !event::poll(Duration::ZERO).map_err(unusable)? {
            if due <= Instant::now() && !app.is_paused() {
                return Ok(Action::Look);
            }
            continue;
        }
        match event::read().map_err(unusable)? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if let Some(action) = app.key(key) {
                    return Ok(action);
                }
            }
            Event::Resize(..) => return Ok(Action::Redraw),
            _ => {}
        }
    }
}

/// One that sees what the command line and the filter ask for.
pub fn observe(plan: &Rc<Plan>, filter: &Filter, via: Via) -> Result<Observer, Failure> {
    // A port is the kernel's own filter, and the tracepoint's too.
    let (ports, rest) = match (plan.target.ports(), filter.only_port()) {
        (Ports::Any, Some(port)) => (Ports::Either(port), Filter::default()),
        (ports, _) => (ports, filter.clone()),
    };
    let pick = (plan.has_pick() || rest.has_pick()).then(|| {
        let plan = Rc::clone(plan);
        Box::new(move |socket: &crate::inspect::Socket| plan.takes(socket) && rest.takes(socket)) as Pick
    });
    Observer::new(ports, pick, via).map_err(|why| Failure::cannot(why.unlock(plan.lang)))
}

fn unusable(error: std::io::Error) -> Failure {
    Failure::cannot(format!("the terminal cannot be used: {error}"))
}
