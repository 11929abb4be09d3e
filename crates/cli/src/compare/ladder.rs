//! Walks the plan: block by block, round by round, contender by contender, rung by rung, each line to its wall.

use super::blocks::Block;
use super::contender::Contender;
use super::diagnose::{BUSY_MACHINE, LOADER_ENDED, UNEXPLAINED};
use super::merge::merge;
use super::output::{self, Event};
use super::plan::{Plan, Step};
use super::progress::Progress;
use super::result::{Cell, Report};
use super::rung::{self, Climb, Work};
use super::server::Server;
use super::{interrupt, story};
use crate::failure::Failure;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a server may take to bury what a rung left behind.
const SETTLE: Duration = Duration::from_secs(5);

/// So many times longer is the second window when no answer came within the first.
const PATIENT: u32 = 4;

/// A window is to see so many answers on each connection, as far as the last rung lets expect them: twice what is
/// wanted, for a rate falls while connections grow.
const ANSWERS: f64 = 6.0;

/// Where cells go while the run goes on.
#[derive(Clone, Copy)]
pub struct Sinks<'a> {
    /// One line of JSON for each cell on stdout.
    pub stream: bool,
    /// The folder of `-o`: what is there survives whatever happens to us.
    pub folder: Option<&'a Path>,
    /// Whether the run is wanted even if nobody reads the stream any more: for files, or for a judgement.
    pub wanted: bool,
}

/// Measures everything that the plan asks for into `report`.
///
/// # Errors
/// A loader cannot be started at all, or the stream cannot be written. What a contender cannot do is no error: it is a
/// result.
pub fn climb_all(
    plan: &Plan,
    work: &Work,
    progress: Progress,
    report: &mut Report,
    sinks: Sinks<'_>,
) -> Result<(), Failure> {
    let mut walk = Walk {
        plan,
        work: work.clone(),
        progress,
        report,
        sinks,
        left: plan.steps(),
        runs: Vec::new(),
        overheads: (0.0, 0.0),
        unread: false,
        unwritten: None,
    };
    let outcome = walk.all();
    walk.progress.finish();
    walk.collect();
    outcome.and(walk.unwritten.map_or(Ok(()), Err))
}

/// The runs of one cell.
struct Runs {
    block: usize,
    who: usize,
    rung: u64,
    cells: Vec<Cell>,
    told: bool,
}

struct Walk<'a> {
    plan: &'a Plan,
    /// Changed when pinning turns out to be forbidden.
    work: Work,
    progress: Progress,
    report: &'a mut Report,
    sinks: Sinks<'a>,
    /// What is still to come, in the order in which it comes.
    left: Vec<Step>,
    runs: Vec<Runs>,
    /// Seconds that overheads have taken, and that they were expected to take.
    overheads: (f64, f64),
    /// Nobody reads the stream any more.
    unread: bool,
    /// Why a line of the stream is lost, if one is.
    unwritten: Option<Failure>,
}

impl Walk<'_> {
    fn all(&mut self) -> Result<(), Failure> {
        let plan = self.plan;
        for block in 0..plan.blocks.len() {
            for round in 0..plan.repeats {
                if plan.blocks.len() * plan.repeats as usize > 1 {
                    let title = plan.blocks[block].title(self.work.speak.name());
                    self.progress.say(&format!("{title}; round {} of {}", round + 1, plan.repeats));
                }
                for &who in &plan.order {
                    self.climb(block, round, who)?;
                    self.save();
                    if self.unread && !self.sinks.wanted {
                        self.report.complete = false;
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn climb(&mut self, block: usize, round: u32, who: usize) -> Result<(), Failure> {
        let plan = self.plan;
        let contender = &plan.contenders[who];
        if interrupt::requested() {
            self.report.interrupted = true;
            self.report.complete = false;
            return Ok(());
        }
        let rungs = self.open_rungs(block, round, who);
        if rungs.is_empty() || self.report.unavailable.contains_key(&contender.name) {
            self.skip(block, round, who);
            return Ok(());
        }
        let began = Instant::now();
        let mut server = match Server::start(contender, &self.work) {
            Ok(server) => server,
            Err(_) if interrupt::requested() => return self.climb(block, round, who),
            Err(why) => {
                self.progress.say(&format!("{:13}  cannot run here: {why}", contender.name));
                self.report.unavailable.insert(contender.name.clone(), why);
                self.skip(block, round, who);
                return Ok(());
            }
        };
        self.told_unpinned(server.unpinned().map(str::to_owned));
        self.hint_hidden(&server);
        let mut cells = Vec::new();
        let mut late = began.elapsed();
        for &rung in &rungs {
            let step = Step { block, round, who, rung };
            let Some(cell) = self.measure(&mut server, step, cells.last(), late)? else { break };
            late = Duration::ZERO;
            let ended = cell.wall.is_some();
            cells.push(cell.clone());
            self.keep(step, cell);
            if ended {
                break;
            }
        }
        self.skip(block, round, who);
        server.end();
        self.progress.line_done(&contender.name, &cells);
        self.tell(block, round, who);
        Ok(())
    }

    /// The rungs that are still worth climbing: a wall whose cause was proven in the first round stands.
    fn open_rungs(&self, block: usize, round: u32, who: usize) -> Vec<u64> {
        let passing = [UNEXPLAINED, LOADER_ENDED, BUSY_MACHINE];
        let proven =
            |cell: &Cell| cell.wall.as_ref().is_some_and(|wall| !passing.contains(&wall.name.as_str()));
        let mine = self.runs.iter().filter(|runs| runs.block == block && runs.who == who);
        let end = mine
            .filter(|runs| round > 0 && runs.cells.first().is_some_and(proven))
            .map(|runs| runs.rung)
            .min();
        self.plan.rungs.iter().copied().filter(|rung| end.is_none_or(|end| *rung < end)).collect()
    }

    /// Measures a cell once. `None`: interrupted, or no time is left for it.
    fn measure(
        &mut self,
        server: &mut Server,
        step: Step,
        below: Option<&Cell>,
        late: Duration,
    ) -> Result<Option<Cell>, Failure> {
        let block = self.plan.blocks[step.block];
        let needed = below.and_then(|cell| needed(cell, block.active(step.rung)));
        let Some(window) = self.plan.window_for(step, &self.left, self.slowness(), needed) else {
            self.report.complete = false;
            return Ok(None);
        };
        let estimate = self.plan.estimate_one(step);
        let began = Instant::now();
        self.progress.begin(estimate);
        server.settle(SETTLE);
        let mut measured = self.climb_once(server, block, step, window)?;
        let mut spent = window;
        if measured.as_ref().is_some_and(|cell| cell.wall.is_none() && !cell.answered())
            && self.fits(step, window * PATIENT)
        {
            // They stand, but no answer came within the window: it was too short for this machine.
            server.settle(SETTLE);
            measured = self.climb_once(server, block, step, window * PATIENT)?;
            spent += window * PATIENT;
        }
        if measured.as_ref().is_some_and(|cell| cell.wall.is_none()) {
            self.overheads.0 += (late + began.elapsed()).saturating_sub(spent).as_secs_f64();
            self.overheads.1 += self.plan.overhead(step).as_secs_f64();
        }
        self.progress.end(estimate);
        self.left.retain(|other| *other != step);
        self.report.interrupted |= interrupt::requested();
        self.report.complete &= measured.is_some() && !self.report.interrupted;
        Ok(measured)
    }

    fn climb_once(
        &mut self,
        server: &mut Server,
        block: Block,
        step: Step,
        window: Duration,
    ) -> Result<Option<Cell>, Failure> {
        let (progress, name) = (&self.progress, server.contender.name.clone());
        let mut tick = || progress.tick(&name, step.rung);
        Ok(match rung::climb(server, block, step.rung, window, &self.work, &mut tick)? {
            Climb::Stopped => None,
            Climb::Measured(measured) => {
                self.told_unpinned(measured.unpinned);
                Some(measured.cell)
            }
        })
    }

    /// How many times longer than expected overheads are on this machine; never less than once.
    fn slowness(&self) -> f64 {
        let (real, expected) = self.overheads;
        if expected > 0.0 { (real / expected).clamp(1.0, 10.0) } else { 1.0 }
    }

    /// Whether a window of this length can be had, beside the shortest ones of all that are to come.
    fn fits(&self, step: Step, window: Duration) -> bool {
        let needed = Some(window);
        let Some(_) = self.plan.ends_at else { return true };
        self.plan.window_for(step, &self.left, self.slowness(), needed).is_some_and(|got| got >= window)
    }

    /// The steps of a line that will not be measured: a wall, or it cannot run.
    fn skip(&mut self, block: usize, round: u32, who: usize) {
        let plan = self.plan;
        let mine = |step: &Step| (step.block, step.round, step.who) == (block, round, who);
        for &step in self.left.iter().filter(|step| mine(step)) {
            self.progress.end(plan.estimate_one(step));
        }
        self.left.retain(|step| !mine(step));
    }

    fn keep(&mut self, step: Step, cell: Cell) {
        let Step { block, who, rung, .. } = step;
        let known = self.runs.iter_mut().find(|runs| (runs.block, runs.who, runs.rung) == (block, who, rung));
        match known {
            Some(runs) => runs.cells.push(cell),
            None => self.runs.push(Runs { block, who, rung, cells: vec![cell], told: false }),
        }
    }

    /// Tells a stream the cells of a line that are complete now.
    fn tell(&mut self, block: usize, round: u32, who: usize) {
        if !self.sinks.stream || (round + 1 < self.plan.repeats && !self.report.interrupted) {
            return;
        }
        let mine = |runs: &&mut Runs| runs.block == block && runs.who == who && !runs.told;
        for runs in self.runs.iter_mut().filter(mine) {
            runs.told = true;
            if let Some(cell) = merge(&runs.cells) {
                match output::print_line(&Event::Cell { schema: 1, cell: &cell }) {
                    Ok(read) => self.unread |= !read,
                    Err(failure) => self.unwritten = self.unwritten.take().or(Some(failure)),
                }
            }
        }
    }

    /// Puts what there is into the report, in the order of the table. A line ends at its first wall, though another
    /// round may have come further.
    fn collect(&mut self) {
        let mut order: Vec<&Runs> = self.runs.iter().collect();
        order.sort_by_key(|runs| (runs.block, runs.who, runs.rung));
        let mut ended = None;
        self.report.results.clear();
        for runs in order {
            let Some(cell) = merge(&runs.cells) else { continue };
            let line = (runs.block, runs.who);
            if ended == Some(line) {
                continue;
            }
            ended = cell.wall.is_some().then_some(line);
            self.report.results.push(cell);
        }
    }

    /// Writes what there is into the folder of `-o`: it is there even if we are killed. A folder that cannot be
    /// written any more is told at the end.
    fn save(&mut self) {
        let Some(folder) = self.sinks.folder else { return };
        if self.left.is_empty() {
            return; // all of it follows in a moment
        }
        self.collect();
        let complete = std::mem::replace(&mut self.report.complete, false);
        self.report.shows = story::tell(self.report);
        let _ = output::write_data(folder, self.report);
        self.report.complete = complete;
    }

    /// Pinning was refused: said once, and kept with the figures.
    fn told_unpinned(&mut self, why: Option<String>) {
        let Some(why) = why else { return };
        self.progress.say(&format!(
            "duolu: no permission to pin processes to processors ({why}): server and loader run where the kernel puts them"
        ));
        for placement in [&mut self.work.placement, &mut self.report.machine.placement] {
            placement.pinned = false;
            placement.refused = Some(why.clone());
        }
    }

    fn hint_hidden(&self, server: &Server) {
        if server.roots.is_empty() {
            self.progress.say(&format!(
                "duolu: the process that listens on {} belongs to another user: its CPU time and memory stay unknown",
                server.address
            ));
        }
    }
}

/// How long a window has to be for some answers on each of `active` connections, if they come as fast as at the rung
/// below. `None` where that says nothing.
fn needed(below: &Cell, active: u64) -> Option<Duration> {
    let rate = below.rate.filter(|rate| *rate > 0.0)?;
    Duration::try_from_secs_f64(active as f64 / rate * ANSWERS).ok()
}

/// The names of contenders, in the order in which they run.
pub fn names_in_order(plan: &Plan) -> Vec<String> {
    let name = |contender: &Contender| contender.name.clone();
    plan.order.iter().filter_map(|&who| plan.contenders.get(who).map(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;
    use crate::model::Model;

    #[test]
    fn a_window_is_long_enough_for_some_answers_on_each_connection() {
        let cell = samples::cell(Model::Fork, 1_000, 10_000.0);
        assert_eq!(needed(&cell, 5_000), Some(Duration::from_secs(3)));
        let silent = Cell { rate: None, ..cell };
        assert_eq!(needed(&silent, 5_000), None);
    }
}
