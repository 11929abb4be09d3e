//! `duolu load`: thousands of connections, correct latency histograms.
//!
//! Reading order: [`args`] (what was asked for), [`conduct`] (the run as a whole), [`drive`] and [`phases`] (one
//! thread's event loop), [`worker`] (what a connection does), [`dialogue`] (what is said and how it is checked),
//! [`proof`] (what came too late, and why), [`verdict`] (the wall), [`lost`] (the server ended), [`report`].

mod args;
mod conduct;
mod conn;
mod crowd;
mod dialogue;
mod drive;
pub mod errors;
mod expect;
mod http;
mod lost;
mod pattern;
mod phases;
mod progress;
mod proof;
mod report;
mod schedule;
mod tally;
pub mod target;
mod verdict;
mod worker;

pub use args::Args;

use crate::failure::Failure;
use std::sync::Arc;

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut plan = args.plan()?;
    let crowd = crowd::is_wanted(&plan)?;
    if crowd {
        crowd::prepare(&mut plan);
    }
    let plan = Arc::new(plan);
    let suspect = lost::Suspect::look(&plan);
    let outcome = if crowd { crowd::run(&plan)? } else { conduct::run(&plan)? };
    if outcome.unread {
        return Ok(()); // whoever read the stream has seen what they wanted
    }
    let loader = verdict::Loader::of(&plan, &outcome);
    let lost = lost::judge(&plan, &outcome, &suspect);
    let wall = lost.as_ref().map(lost::Lost::wall).or_else(|| verdict::wall(&plan, &outcome, loader));
    // Churn holds no connection: there those that were on their way at the end are not worth a report.
    let nothing_held = outcome.held == 0 || plan.is_churn();
    let nothing = nothing_held && outcome.tally.messages == 0 && !outcome.interrupted;
    if !nothing || plan.output != args::Output::Text {
        report::print(&plan, &outcome, loader, wall.as_ref())?;
    }
    if outcome.interrupted {
        return Err(Failure::interrupted());
    }
    if let Some(lost) = lost {
        return Err(Failure::target(lost.sentence()));
    }
    if nothing {
        return Err(Failure::cannot(report::nothing_connected(&plan, &outcome, wall.as_ref())));
    }
    match plan.expectations.broken(&outcome)[..] {
        [] => Ok(()),
        ref broken => Err(Failure::expectation(broken.join("; "))),
    }
}
