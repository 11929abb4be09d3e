//! What will be run: which models, which rungs, how long each, and on which processors.

use crate::failure::Failure;
use crate::machine::{self, Placement};
use crate::model::Model;
use crate::units;
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
    /// The models, in the order of the table.
    pub models: Vec<Model>,
    /// The ladder, ascending.
    pub rungs: Vec<u64>,
    /// How long each rung is measured.
    pub window: Duration,
    /// How often each cell is measured.
    pub repeats: u32,
    /// When the run has to end, if it has to.
    pub ends_at: Option<Instant>,
}

impl Plan {
    /// The longest that a first rung may be measured so that all of `cells` still fit.
    pub fn window_for(&self, model: Model, rung: u64, cells_left: &[(Model, u64)]) -> Option<Duration> {
        let Some(ends_at) = self.ends_at else { return Some(self.window) };
        let left = ends_at.saturating_duration_since(Instant::now());
        let overheads: Duration = cells_left.iter().map(|&(model, rung)| overhead(model, rung)).sum();
        let share =
            left.saturating_sub(overheads) / u32::try_from(cells_left.len().max(1)).unwrap_or(u32::MAX);
        if left < overhead(model, rung) + SHORTEST_WINDOW {
            return None;
        }
        Some(share.clamp(SHORTEST_WINDOW, self.window))
    }

    /// How long the given cells will take, roughly: for the progress bar.
    pub fn estimate(&self, cells: &[(Model, u64)]) -> Duration {
        cells.iter().map(|&(model, rung)| self.estimate_one(model, rung)).sum()
    }

    /// How long one cell will take, roughly.
    pub fn estimate_one(&self, model: Model, rung: u64) -> Duration {
        (self.window + overhead(model, rung)) * self.repeats
    }

    /// Every cell, in the order of the table.
    pub fn cells(&self) -> Vec<(Model, u64)> {
        self.models.iter().flat_map(|&model| self.rungs.iter().map(move |&rung| (model, rung))).collect()
    }
}

/// What a cell takes besides its window: connecting, warming up, closing. From runs on a 2-core machine; only
/// the progress bar and the fitting of `--quick` into its time depend on it.
fn overhead(model: Model, rung: u64) -> Duration {
    let connections_per_second = match model {
        Model::Fork => 2_000,
        Model::Thread | Model::Select | Model::Poll => 6_000,
        _ => 15_000,
    };
    Duration::from_millis(400 + rung * 1000 / connections_per_second)
}

/// Builds the plan from what the user wrote.
pub fn plan(
    models: &str,
    rungs: Option<&str>,
    quick: bool,
    window: Option<Duration>,
    repeats: u32,
) -> Result<Plan, Failure> {
    let default_rungs = if quick { "100,1k,5k" } else { "100,1k,5k,10k" };
    let default_window = if quick { Duration::from_secs(1) } else { Duration::from_secs(3) };
    let rungs = parse_rungs(rungs.unwrap_or(default_rungs))?;
    let window = window.unwrap_or(default_window);
    if window < Duration::from_millis(100) || window > Duration::from_secs(3600) {
        return Err(Failure::usage("-d: a rung is measured for 100ms to 1h; write 2s or 500ms"));
    }
    if !(1..=100).contains(&repeats) {
        return Err(Failure::usage("--repeats: from 1 to 100"));
    }
    let ends_at = quick.then(|| Instant::now() + QUICK_TOTAL);
    Ok(Plan { models: parse_models(models)?, rungs, window, repeats, ends_at })
}

/// Parses `--models`: names separated by commas, or `all`. The order of the table is kept, duplicates fall out.
pub fn parse_models(list: &str) -> Result<Vec<Model>, Failure> {
    let mut wanted = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if name == "all" {
            wanted.extend(Model::ALL);
        } else if let Some(model) = Model::ALL.into_iter().find(|model| model.name() == name) {
            wanted.push(model);
        } else {
            return Err(unknown_model(name));
        }
    }
    if wanted.is_empty() {
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
        return Placement { pinned: false, shared: true, server_cpus: cpus.clone(), loader_cpus: cpus };
    }
    let (server, rest) = cpus.split_at(workers.clamp(1, cpus.len() - 1));
    let siblings: Vec<usize> = server.iter().flat_map(|&cpu| machine::core_siblings(cpu)).collect();
    let apart: Vec<usize> = rest.iter().copied().filter(|cpu| !siblings.contains(cpu)).collect();
    let loader_cpus = if apart.is_empty() { rest.to_vec() } else { apart };
    Placement { pinned: true, shared: false, server_cpus: server.to_vec(), loader_cpus }
}

/// The order in which models run: as listed, or shuffled by `seed` so that a machine that warms up or slows down
/// does not favour the same model every time. The same seed gives the same order (splitmix64, Fisher-Yates).
pub fn running_order(models: &[Model], seed: Option<u64>) -> Vec<Model> {
    let mut order = models.to_vec();
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
    }

    #[test]
    fn rungs_are_sorted_and_bounded() {
        assert_eq!(parse_rungs("5k,100,1000,100").unwrap(), [100, 1000, 5000]);
        for bad in ["", "0", "ten", "2m"] {
            assert!(parse_rungs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_seed_always_gives_the_same_order_and_loses_no_model() {
        let shuffled = running_order(&Model::ALL, Some(7));
        assert_eq!(shuffled, running_order(&Model::ALL, Some(7)));
        assert_ne!(shuffled, running_order(&Model::ALL, Some(8)));
        assert_eq!(running_order(&Model::ALL, None), Model::ALL);
        assert!(Model::ALL.iter().all(|model| shuffled.contains(model)));
    }

    #[test]
    fn quick_shortens_its_windows_instead_of_overrunning() {
        let mut plan = plan("all", None, true, None, 1).unwrap();
        let cells = plan.cells();
        let window = plan.window_for(Model::Fork, 100, &cells).unwrap();
        assert!(window <= plan.window && window >= SHORTEST_WINDOW);
        plan.ends_at = Some(Instant::now() + Duration::from_secs(20));
        assert!(plan.window_for(Model::Fork, 100, &cells).unwrap() < window);
        plan.ends_at = Some(Instant::now());
        assert_eq!(plan.window_for(Model::Fork, 5000, &cells[..1]), None);
    }
}
