//! `duolu states`: TCP's states on this machine, a line for each connection.
//!
//! Reading order: [`args`] and [`target`] (what was asked for), [`view`] (which sockets, and the two ends of a
//! connection as one), [`text`] with [`columns`], [`kinds`], [`layout`] and [`words`], [`json`], [`stream`], [`missing`] (nothing there); then
//! the state diagram: [`diagram`] (what is drawn, and how), [`transitions`] (what moved), [`watch`] (live) and [`file`].
//! What is shown comes from [`crate::inspect`].

mod address;
mod args;
mod columns;
mod diagram;
mod figure;
mod file;
mod json;
mod kinds;
mod layout;
mod missing;
mod stream;
mod target;
mod text;
mod transitions;
mod view;
mod watch;
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
    match plan.output.clone() {
        Output::Stream { interval, count } => return stream::run(&plan, interval, count),
        Output::Watch { interval, via } => return watch::run(plan, interval, via),
        Output::File { path, duration, via } => return file::run(plan, &path, duration, via),
        Output::Text | Output::Json => {}
    }
    let snapshot =
        Inspector::new().snapshot(&plan.query()).map_err(|error| Failure::cannot(error.to_string()))?;
    let view = View::of(&plan, &snapshot);
    let missing = missing::reason(&plan, &view);
    match plan.output {
        Output::Json => {
            terminal::written(json::write(&plan, &view, std::io::stdout().lock()))?;
        }
        _ if missing.is_some() => {}
        _ => {
            let place = text::Place { size: terminal::stdout_size(), color: terminal::stdout_color() };
            terminal::print(&text::render(&plan, &view, place))?;
        }
    }
    // The process ends: to free what is known of 10,000 sockets piece by piece would be a millisecond for nothing.
    std::mem::forget(snapshot);
    missing.map_or(Ok(()), Err)
}
