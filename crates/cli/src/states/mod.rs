//! `duolu states`: TCP's states on this machine, a line for each connection.
//!
//! Reading order: [`args`] and [`target`] (what was asked for), [`view`] (which sockets, and the two ends of a
//! connection as one), [`text`] with [`columns`], [`layout`] and [`words`], [`json`], [`stream`], [`missing`] (nothing there). What
//! is shown comes from [`crate::inspect`].

mod args;
mod columns;
mod json;
mod layout;
mod missing;
mod stream;
mod target;
mod text;
mod view;
mod words;

pub use args::Args;

use crate::failure::Failure;
use crate::inspect::Inspector;
use crate::terminal;
use args::Output;
use view::View;

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let plan = args.plan()?;
    if let Output::Stream { interval, count } = plan.output {
        return stream::run(&plan, interval, count);
    }
    let snapshot =
        Inspector::new().snapshot(&plan.query()).map_err(|error| Failure::cannot(error.to_string()))?;
    let view = View::of(&plan, &snapshot);
    let missing = missing::reason(&plan, &view);
    match plan.output {
        Output::Json => terminal::print(&(json::render(&plan, &view) + "\n"))?,
        _ if missing.is_some() => {}
        _ => {
            let place = text::Place { width: terminal::stdout_width(), color: terminal::stdout_color() };
            terminal::print(&text::render(&plan, &view, place))?;
        }
    }
    missing.map_or(Ok(()), Err)
}
