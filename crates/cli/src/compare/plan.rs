//! What will be run: which models, which rungs, how long each, and on which processors.

use super::blocks::Block;
use super::contender::Contender;
use super::progress::about;
use crate::failure::Failure;
use crate::machine::{self, Placement};
use crate::model::Model;
use crate::units;
use crate::walls::grouped;
use std::time::{Duration, Instant};

/// The most connections one rung may ask for: one loader process, one address pair per connection.
const MOST_CONNECTIONS: u64 = 1_000_000;

/// `--quick` promises 90 seconds; what is left of them is for ending the last server and printing.
const QUICK_TOTAL: Duration = Duration::from_secs(82);

/// The shortest window that still says something about p99 on a busy machine.
const SHORTEST_WINDOW: Duration = Duration::from_millis(250);

/// The whole run, decided before anything starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The contenders, in the order of the table.
    pub contenders: Vec<Contender>,
    /// The order in which they run: places in `contenders`.
    pub order: Vec<usize>,
    /// The blocks of results.
    pub blocks: Vec<Block>,
    /// The ladder, ascending.
    pub rungs: Vec<u64>,
    /// How long each rung is measured.
    pub window: Duration,
    /// How often each cell is measured.
    pub repeats: u32,
    /// When the run has to end, if it has to.
    pub ends_at: Option<Instant>,
}

/// One measurement to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The place of its block.
    pub block: usize,
    /// Which repeat.
    pub round: u32,
    /// The place of its contender.
    pub who: usize,
    /// The connections.
    pub rung: u64,
}

impl Plan {
    /// Everything, in the order in which it runs: block by block, in each all contenders once up the ladder, then
    /// all again (ABAB), so that a machine that changes meanwhile does so to all of them.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for block in 0..self.blocks.len() {
            for round in 0..self.repeats {
                for &who in &self.order {
                    steps.extend(self.rungs.iter().map(|&rung| Step { block, round, who, rung }));
                }
            }
        }
        steps
    }

    /// How long the next step may be measured so that all that are left still fit, given what overheads come to on
    /// this machine (1.0: as expected) and how long it has to be to see anything. `None`: there is no time for it.
    pub fn window_for(
        &self,
        step: Step,
        left: &[Step],
        slowness: f64,
        needed: Option<Duration>,
    ) -> Option<Duration> {
        let needed = needed.unwrap_or_default().clamp(self.window, self.window * LONGEST);
        let Some(ends_at) = self.ends_at else { return Some(needed) };
        let now = Instant::now();
        let time = ends_at.saturating_duration_since(now);
        let count = u32::try_from(left.len().max(1)).unwrap_or(u32::MAX);
        let overheads: Duration = left.iter().map(|&step| self.overhead(step)).sum();
        let free = time.saturating_sub(overheads.mul_f64(slowness));
        if time < self.overhead(step) + SHORTEST_WINDOW {
            return None;
        }
        // `max` last: a window of -d may be shorter than the shortest.
        let share = (free / count).min(self.window).max(SHORTEST_WINDOW.min(self.window));
        // A longer window than its share: whatever leaves the others their shortest.
        let most = free.saturating_sub(SHORTEST_WINDOW * (count - 1));
        let long = if needed > self.window { needed.min(most) } else { share };
        Some(share.max(long))
    }

    /// How long steps will take, roughly: for the progress bar.
    pub fn estimate(&self, steps: &[Step]) -> Duration {
        steps.iter().map(|&step| self.estimate_one(step)).sum()
    }

    /// What is about to happen, and how long it will take, roughly: for whoever starts it and wonders.
    pub fn outline(&self) -> String {
        let rungs: Vec<String> = self.rungs.iter().copied().map(grouped).collect();
        let servers = self.contenders.len();
        let more = [(self.blocks.len(), "kinds of work"), (self.repeats as usize, "times over")];
        let more = more.into_iter().filter(|(count, _)| *count > 1);
        let more: String = more.map(|(count, what)| format!(", {count} {what}")).collect();
        let time = self.ends_at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        format!(
            "{servers} server{} with {} connections{more}: {}",
            if servers == 1 { "" } else { "s" },
            rungs.join(", "),
            about(self.estimate(&self.steps()).min(time))
        )
    }

    /// How long one step will take, roughly.
    pub fn estimate_one(&self, step: Step) -> Duration {
        self.window + self.overhead(step)
    }

    /// What a step takes besides its window.
    pub fn overhead(&self, step: Step) -> Duration {
        overhead(self.contenders.get(step.who).and_then(Contender::model), step.rung)
    }
}

/// So many times longer than was asked for is the longest window that is made longer by itself.
const LONGEST: u32 = 8;

/// What a cell takes besides its window: connecting, warming up, closing. From runs on a 2-core machine; only
/// the progress bar and the fitting of `--quick` into its time depend on it.
fn overhead(model: Option<Model>, rung: u64) -> Duration {
    let connections_per_second = match model {
        Some(Model::Fork) => 2_000,
        None | Some(Model::Thread | Model::Select | Model::Poll) => 6_000,
        _ => 15_000,
    };
    Duration::from_millis(400 + rung * 1000 / connections_per_second)
}

/// What the command line says about the ladder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `--connections`.
    pub rungs: Option<&'a str>,
    /// `--quick`.
    pub quick: bool,
    /// `--duration`.
    pub window: Option<Duration>,
    /// `--repeats`.
    pub repeats: u32,
    /// `--seed`.
    pub seed: Option<u64>,
}

/// Builds the plan from what the user wrote.
pub fn plan(contenders: Vec<Contender>, blocks: Vec<Block>, wanted: Wanted<'_>) -> Result<Plan, Failure> {
    // Several blocks, or several rounds, within 90 seconds: with fewer rungs each is seen.
    let many = blocks.len() * wanted.repeats as usize > 1;
    let default_rungs = match (wanted.quick, many) {
        (true, true) => "100,1k",
        (true, false) => "100,1k,5k",
        (false, _) => "100,1k,5k,10k",
    };
    let default_window = if wanted.quick { Duration::from_secs(1) } else { Duration::from_secs(3) };
    let rungs = parse_rungs(wanted.rungs.unwrap_or(default_rungs))?;
    let window = wanted.window.unwrap_or(default_window);
    if window < Duration::from_millis(100) || window > Duration::from_secs(3600) {
        return Err(Failure::usage("-d: a rung is measured for 100ms to 1h; write 2s or 500ms"));
    }
    if !(1..=100).contains(&wanted.repeats) {
        return Err(Failure::usage("--repeats: from 1 to 100"));
    }
    let mut names: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::usage(format!("two servers are called '{}': give one a --name", twice[0])));
    }
    let ends_at = wanted.quick.then(|| Instant::now() + QUICK_TOTAL);
    let order = running_order(contenders.len(), wanted.seed);
    Ok(Plan { contenders, order, blocks, rungs, window, repeats: wanted.repeats, ends_at })
}

/// Parses `--models`: names separated by commas, `all`, or `none`. The order of the table is kept, duplicates fall out.
pub fn parse_models(list: &str) -> Result<Vec<Model>, Failure> {
    let (mut wanted, mut none) = (Vec::new(), false);
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == "none" {
            none = true;
        } else if name == "all" {
            wanted.extend(Model::ALL);
        } else if let Some(model) = Model::ALL.into_iter().find(|model| model.name() == name) {
            wanted.push(model);
        } else {
            return Err(unknown_model(name));
        }
    }
    if wanted.is_empty() && !none {
        return Err(Failure::usage(
            "--models: no model named; write --models epoll-et,io_uring or --models all",
        ));
    }
    Ok(Model::ALL.into_iter().filter(|model| wanted.contains(model)).collect())
}

fn unknown_model(name: &str) -> Failure {
    let all = Model::ALL.map(Model::name);
    let nearest = nearest(name, &all).map_or(String::new(), |model| format!(" Did you mean '{model}'?"));
    Failure::usage(format!("--models: there is no model '{name}'.{nearest} The models: {}", all.join(", ")))
}

/// Parses `--connections`: counts separated by commas, sorted, each once.
pub fn parse_rungs(list: &str) -> Result<Vec<u64>, Failure> {
    let mut rungs = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        let count =
            units::parse_count(text).map_err(|error| Failure::usage(format!("--connections: {error}")))?;
        if !(1..=MOST_CONNECTIONS).contains(&count) {
            return Err(Failure::usage(format!(
                "--connections: {text} is outside 1 to {MOST_CONNECTIONS}; for more, run several loaders"
            )));
        }
        rungs.push(count);
    }
    if rungs.is_empty() {
        return Err(Failure::usage("--connections: no number; write --connections 100,1k,5k"));
    }
    rungs.sort_unstable();
    rungs.dedup();
    Ok(rungs)
}

/// Gives the server its own processors, the loader the rest. With one processor both share it. Hardware threads
/// of the server's cores are kept from the loader where that leaves any: they are not cores of their own.
pub fn place(workers: usize) -> Placement {
    let cpus = machine::allowed_cpus();
    if cpus.len() < 2 {
        let shared = Placement { shared: true, server_cpus: cpus.clone(), ..Placement::default() };
        return Placement { loader_cpus: cpus, ..shared };
    }
    let (server, rest) = cpus.split_at(workers.clamp(1, cpus.len() - 1));
    let siblings: Vec<usize> = server.iter().flat_map(|&cpu| machine::core_siblings(cpu)).collect();
    let apart: Vec<usize> = rest.iter().copied().filter(|cpu| !siblings.contains(cpu)).collect();
    let loader_cpus = if apart.is_empty() { rest.to_vec() } else { apart };
    Placement { pinned: true, shared: false, server_cpus: server.to_vec(), loader_cpus, refused: None }
}

/// The order in which contenders run: as listed, or shuffled by `seed` so that a machine that warms up or slows down
/// does not favour the same one every time. The same seed gives the same order (splitmix64, Fisher-Yates).
fn running_order(count: usize, seed: Option<u64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let Some(mut state) = seed else { return order };
    for last in (1..order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        order.swap(last, (mixed % (last as u64 + 1)) as usize);
    }
    order
}

/// The name in `known` that is nearest to `name`, if one is near enough to be meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let best = known.iter().min_by_key(|candidate| distance(&name, candidate))?;
    let close = distance(&name, best) <= 1 + name.len().max(best.len()) / 3;
    let contained = known.iter().find(|candidate| name.len() >= 3 && candidate.starts_with(name.as_str()));
    contained.or(close.then_some(best)).copied()
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(a != b)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Mix;
    use super::*;

    #[test]
    fn models_keep_the_tables_order_and_unknown_ones_get_a_suggestion() {
        assert_eq!(parse_models("io_uring,fork,fork").unwrap(), [Model::Fork, Model::IoUring]);
        assert_eq!(parse_models("poll,all").unwrap(), Model::ALL);
        let sentence = |name| parse_models(name).unwrap_err().message().to_owned();
        assert!(sentence("epol-et").contains("Did you mean 'epoll-et'?"));
        assert!(sentence("io-uring").contains("Did you mean 'io_uring'?"));
        assert!(sentence("epoll").contains("Did you mean 'epoll-lt'?"));
        assert!(!sentence("kqueue-or-something-else").contains("Did you mean"));
        assert!(parse_models(" , ").is_err());
        assert_eq!(parse_models("none").unwrap(), []);
    }

    #[test]
    fn rungs_are_sorted_and_bounded() {
        assert_eq!(parse_rungs("5k,100,1000,100").unwrap(), [100, 1000, 5000]);
        for bad in ["", "0", "ten", "2m"] {
            assert!(parse_rungs(bad).is_err(), "{bad}");
        }
    }

    fn quick(repeats: u32) -> Plan {
        let contenders = Model::ALL.map(Contender::from).to_vec();
        let block = Block { mix: Mix::All, payload: Some(64), active: None };
        plan(contenders, vec![block], Wanted { quick: true, repeats, ..Wanted::default() }).unwrap()
    }

    #[test]
    fn a_seed_always_gives_the_same_order_and_loses_nobody() {
        let shuffled = running_order(10, Some(7));
        assert_eq!(shuffled, running_order(10, Some(7)));
        assert_ne!(shuffled, running_order(10, Some(8)));
        let mut sorted = shuffled;
        sorted.sort_unstable();
        assert_eq!(sorted, running_order(10, None));
    }

    #[test]
    fn repeats_alternate_over_the_contenders() {
        let plan = Plan { rungs: vec![5], order: vec![1, 0], ..quick(2) };
        let seen: Vec<_> = plan.steps().iter().map(|step| (step.round, step.who)).collect();
        assert_eq!(seen, [(0, 1), (0, 0), (1, 1), (1, 0)]);
        assert_eq!(quick(2).rungs, [100, 1_000], "fewer rungs, so that all rounds fit");
    }

    #[test]
    fn the_outline_says_what_comes_and_how_long_it_takes() {
        assert_eq!(quick(1).outline(), "10 servers with 100, 1,000, 5,000 connections: about 50 s");
        let long = Plan { repeats: 3, ends_at: None, ..quick(1) };
        assert_eq!(
            long.outline(),
            "10 servers with 100, 1,000, 5,000 connections, 3 times over: about 3 min"
        );
    }

    #[test]
    fn two_of_the_same_name_are_refused() {
        let contenders = vec![Contender::from(Model::Poll), Contender::from(Model::Poll)];
        let failure = plan(contenders, Vec::new(), Wanted { repeats: 1, ..Wanted::default() }).unwrap_err();
        assert!(failure.message().contains("called 'poll'"));
    }

    #[test]
    fn quick_shortens_its_windows_instead_of_overrunning() {
        let mut plan = quick(1);
        let steps = plan.steps();
        let window = |plan: &Plan, left: &[Step]| plan.window_for(left[0], left, 1.0, None);
        let first = window(&plan, &steps).unwrap();
        assert!(first <= plan.window && first >= SHORTEST_WINDOW);
        assert!(plan.window_for(steps[0], &steps, 4.0, None).unwrap() < first, "a slow machine");
        plan.ends_at = Some(Instant::now() + Duration::from_secs(20));
        assert!(window(&plan, &steps).unwrap() < first);
        plan.ends_at = Some(Instant::now());
        assert_eq!(window(&plan, &steps[..1]), None);
        // -d may be shorter than the shortest window that quick would choose.
        plan = quick(1);
        plan.window = SHORTEST_WINDOW / 2;
        assert_eq!(window(&plan, &steps), Some(SHORTEST_WINDOW / 2));
    }

    #[test]
    fn a_round_that_takes_long_gets_a_longer_window_if_the_others_keep_theirs() {
        let mut plan = quick(1);
        let steps = plan.steps();
        let long = Some(Duration::from_secs(4));
        let window = |plan: &Plan, left: &[Step]| plan.window_for(left[0], left, 1.0, long).unwrap();
        assert_eq!(window(&plan, &steps), Duration::from_secs(4));
        plan.ends_at = Some(Instant::now() + plan.estimate(&steps) / 3);
        let squeezed = window(&plan, &steps);
        assert!(squeezed >= SHORTEST_WINDOW && squeezed < Duration::from_secs(4), "{squeezed:?}");
        plan.ends_at = None;
        assert_eq!(window(&plan, &steps), Duration::from_secs(4), "no hurry");
    }
}
