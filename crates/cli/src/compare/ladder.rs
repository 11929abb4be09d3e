//! Walks the plan: model by model, rung by rung, each line to its wall.

use super::interrupt;
use super::output::{self, Event};
use super::plan::Plan;
use super::progress::Progress;
use super::result::{Cell, Report};
use super::rung::{Climb, Server, Work};
use crate::failure::Failure;
use crate::model::Model;
use std::time::{Duration, Instant};

/// How long a server may take to bury what a rung left behind.
const SETTLE: Duration = Duration::from_secs(5);

/// So many times longer is the second window when no answer came within the first.
const PATIENT: u32 = 4;

/// Measures everything that the plan asks for into `report`.
///
/// # Errors
/// A loader cannot be started at all. What a model cannot do is no error: it is a result.
pub fn climb_all(
    plan: &Plan,
    order: &[Model],
    work: &Work,
    progress: Progress,
    report: &mut Report,
    stream: bool,
) -> Result<(), Failure> {
    let mut walk = Walk { plan, work, progress, report, stream, left: cells_in(order, plan) };
    let outcome = order.iter().try_for_each(|&model| walk.climb(model));
    walk.progress.finish();
    let models = walk.report.asked.models.clone();
    let place = |model: Model| models.iter().position(|other| *other == model);
    walk.report.results.sort_by_key(|cell| (place(cell.model), cell.connections));
    outcome
}

fn cells_in(order: &[Model], plan: &Plan) -> Vec<(Model, u64)> {
    order.iter().flat_map(|&model| plan.rungs.iter().map(move |&rung| (model, rung))).collect()
}

struct Walk<'a> {
    plan: &'a Plan,
    work: &'a Work,
    progress: Progress,
    report: &'a mut Report,
    stream: bool,
    /// The cells that are still to come, in the order in which they come.
    left: Vec<(Model, u64)>,
}

impl Walk<'_> {
    fn climb(&mut self, model: Model) -> Result<(), Failure> {
        if interrupt::requested() {
            self.report.interrupted = true;
            self.report.complete = false;
            return Ok(());
        }
        let mut server = match Server::start(model, self.work) {
            Ok(server) => server,
            Err(_) if interrupt::requested() => return self.climb(model),
            Err(why) => {
                self.progress.say(&format!("{model:13}  cannot run here: {why}"));
                self.report.unavailable.insert(model.name(), why);
                self.skip(model);
                return Ok(());
            }
        };
        let first = self.report.results.len();
        for &rung in &self.plan.rungs {
            let Some(cell) = self.measure(&mut server, rung)? else { break };
            let ended = cell.wall.is_some();
            if self.stream {
                output::print_line(&Event::Cell { schema: 1, cell: &cell });
            }
            self.report.results.push(cell);
            if ended {
                break;
            }
        }
        self.skip(model);
        server.end();
        self.progress.model_done(model, &self.report.results[first..]);
        Ok(())
    }

    /// Measures a cell as often as the plan says. `None`: interrupted, or no time is left for it.
    fn measure(&mut self, server: &mut Server, rung: u64) -> Result<Option<Cell>, Failure> {
        let model = server.model;
        let Some(window) = self.plan.window_for(model, rung, &self.left) else {
            self.report.complete = false;
            return Ok(None);
        };
        let estimate = self.plan.estimate_one(model, rung);
        self.progress.begin(estimate);
        let mut runs = Vec::new();
        for _ in 0..self.plan.repeats {
            server.settle(SETTLE);
            let Some(mut cell) = self.climb_once(server, rung, window)? else { break };
            if cell.wall.is_none() && cell.rate.is_none() && self.fits(window * PATIENT) {
                // They stand, but no answer came within the window: it was too short for this machine.
                server.settle(SETTLE);
                let Some(longer) = self.climb_once(server, rung, window * PATIENT)? else { break };
                cell = longer;
            }
            runs.push(cell);
            if runs.last().is_some_and(|cell| cell.wall.is_some()) {
                break; // the line ends here, however often one looks
            }
        }
        self.progress.end(estimate);
        self.left.retain(|cell| *cell != (model, rung));
        self.report.interrupted |= interrupt::requested();
        self.report.complete &= !runs.is_empty() && !self.report.interrupted;
        Ok(merge(runs))
    }

    fn climb_once(&self, server: &mut Server, rung: u64, window: Duration) -> Result<Option<Cell>, Failure> {
        let model = server.model;
        Ok(match server.climb(rung, window, self.work, &mut || self.progress.tick(model, rung))? {
            Climb::Stopped => None,
            Climb::Measured(cell) => Some(*cell),
        })
    }

    /// Whether a window of this length can be had, beside the others that are to come.
    fn fits(&self, window: Duration) -> bool {
        let Some(ends_at) = self.plan.ends_at else { return true };
        let left = ends_at.saturating_duration_since(Instant::now());
        left > self.plan.estimate(&self.left) + window
    }

    /// The cells of a model that will not be measured: a wall, or it cannot run.
    fn skip(&mut self, model: Model) {
        let plan = self.plan;
        for &(other, rung) in self.left.iter().filter(|(other, _)| *other == model) {
            self.progress.end(plan.estimate_one(other, rung));
        }
        self.left.retain(|(other, _)| *other != model);
    }
}

/// The run with the median rate, and how far the rates were apart. A run that met a wall is the one that counts.
fn merge(mut runs: Vec<Cell>) -> Option<Cell> {
    let repeats = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    if runs.last()?.wall.is_some() {
        return runs.pop().map(|cell| Cell { repeats, ..cell });
    }
    let rate = |cell: &Cell| cell.rate.unwrap_or(0.0);
    runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let (lowest, highest) = (rate(runs.first()?), rate(runs.last()?));
    let median = runs.swap_remove((runs.len() - 1) / 2);
    let spread = (repeats > 1 && rate(&median) > 0.0).then(|| (highest - lowest) / rate(&median));
    Some(Cell { repeats, spread, ..median })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;

    #[test]
    fn the_median_run_counts_and_the_spread_is_told() {
        let runs = [90.0, 110.0, 100.0].map(|rate| samples::cell(Model::Poll, 10, rate)).to_vec();
        let merged = merge(runs).unwrap();
        assert_eq!((merged.rate, merged.repeats), (Some(100.0), 3));
        assert!((merged.spread.unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(merge(vec![samples::cell(Model::Poll, 10, 1.0)]).unwrap().spread, None);
        assert!(merge(Vec::new()).is_none());
    }
}
