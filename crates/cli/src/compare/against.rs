//! What is different from an older result (`--against old.json`), and whether it is more than the spread. What counts as
//! a change is decided where the page decides it ([`crate::report::against`]), so that both say the same.

use super::figures::{bytes, cpu_us, rate, spaced, time_us};
use super::result::Report;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::report::against::{FIGURES, Pair, Verdict, conditions, pairs, summary};
use crate::report::input;
use crate::report::run::{Figure, Run};
use crate::walls::grouped;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// How far two single runs usually are apart (measured on a shared two-core machine): a change that is larger is worth
/// telling though nobody can judge it.
fn usual(figure: Figure) -> f64 {
    match figure {
        Figure::Rate => 0.2,
        Figure::P50 | Figure::P99 | Figure::P999 => 0.5,
        Figure::Cpu | Figure::Memory => 0.1,
    }
}

/// What people call a figure, and how it is shown.
fn shown(figure: Figure) -> (&'static str, fn(f64) -> String) {
    match figure {
        Figure::Rate => ("msg/s", rate),
        Figure::P50 => ("p50", time_us),
        Figure::P99 => ("p99", time_us),
        Figure::P999 => ("p99.9", time_us),
        Figure::Cpu => ("CPU per message", cpu_us),
        Figure::Memory => ("memory per connection", bytes),
    }
}

/// The comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Against {
    /// The older result, as it was named.
    pub file: String,
    /// When it was measured.
    pub began_at: String,
    /// What else is different, so that the figures may be for another reason.
    pub differences: Vec<String>,
    /// Cells that are in both.
    pub compared: usize,
    /// Every figure of them.
    pub changes: Vec<Change>,
    /// Lines that now end elsewhere.
    pub walls: Vec<String>,
}

/// One figure of one cell, then and now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// The contender.
    pub model: String,
    /// The rung.
    pub connections: u64,
    /// The mix.
    pub mix: String,
    /// The payload.
    pub payload_bytes: Option<u64>,
    /// The figure: the name of the cell's field.
    pub figure: String,
    /// Then.
    pub old: f64,
    /// Now.
    pub new: f64,
    /// (new - old) / old.
    pub change: f64,
    /// What differences mean nothing below: the larger spread of the two cells, where repeats tell both.
    pub spread: Option<f64>,
    /// Whether they do.
    pub spread_measured: bool,
    /// Whether the change is more than the spread.
    pub more_than_spread: bool,
    /// Whether it is for the better.
    pub better: bool,
    /// What it means.
    pub verdict: Verdict,
}

/// Reads an older result: its file, or the folder of `-o` that it is in.
///
/// # Errors
/// It cannot be read or was cut short (3), or is no result of compare's (2).
pub fn read(path: &Path) -> Result<Value, Failure> {
    let input = input::read(path).map_err(|failure| failure.within("--against"))?;
    if let Some(cut) = input.cut {
        let path = path.display();
        return Err(Failure::cannot(format!("--against: {path}: {cut}; take a whole result")));
    }
    if input.value["results"].as_array().is_none_or(Vec::is_empty) {
        return Err(Failure::usage(format!("--against: {} holds no cell to compare with", path.display())));
    }
    Ok(input.value)
}

/// Lays the two over each other.
pub fn compare(file: &str, old: &Value, new: &Report) -> Against {
    let (before, now) = (Run::read(old, false), Run::of(new));
    let mut against = Against {
        file: file.to_owned(),
        began_at: before.machine["began_at"].as_str().unwrap_or_default().to_owned(),
        differences: differences(&before, &now),
        ..Against::default()
    };
    for work in now.works() {
        for pair in pairs(&before, &now, work) {
            against.compared += 1;
            against.walls.extend(wall_change(&pair));
            against.changes.extend(changes(&pair));
        }
    }
    against
}

fn changes(pair: &Pair<'_>) -> Vec<Change> {
    let work = &pair.new.work;
    let changed = FIGURES
        .into_iter()
        .zip(&pair.changes)
        .filter_map(|(figure, change)| Some((figure, change.as_ref()?)));
    changed
        .map(|(figure, change)| Change {
            model: pair.new.model.clone(),
            connections: pair.new.connections,
            mix: work.mix.clone(),
            payload_bytes: work.payload,
            figure: figure.field().to_owned(),
            old: change.old,
            new: change.new,
            change: change.ratio() - 1.0,
            spread: change.spread,
            spread_measured: change.spread.is_some(),
            more_than_spread: matches!(change.verdict, Verdict::Better | Verdict::Worse),
            better: (change.new > change.old) == figure.more_is_better(),
            verdict: change.verdict,
        })
        .collect()
}

fn wall_change(pair: &Pair<'_>) -> Option<String> {
    let who = format!("{} at {}", pair.new.model, grouped(pair.new.connections));
    let held = grouped(pair.new.established);
    Some(match pair.walls()? {
        (None, Some(wall)) => format!("{who} held then and now ends at \"{}\" (held {held}).", wall.name),
        (Some(wall), None) => format!("{who} ended at \"{}\" then and now holds.", wall.name),
        (Some(before), Some(now)) => {
            format!("{who} ended at \"{}\" then and ends at \"{}\" now.", before.name, now.name)
        }
        (None, None) => return None,
    })
}

/// What else is not the same: a figure that changed may have changed for that.
fn differences(old: &Run, new: &Run) -> Vec<String> {
    let name = |path: &str| path.trim_start_matches('/').replace(['/', '_'], " ");
    let told = conditions(old, new).into_iter();
    told.map(|(path, then, now)| format!("{}: {then} then, {now} now", name(path))).collect()
}

impl Against {
    /// What people read: what changed by more than the spread, and how much did not.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.compared == 0 {
            said.push("No cell is in both: other models, rungs, mixes or payloads.".to_owned());
        }
        said.extend(self.differences.iter().map(|what| format!("Not the same: {what}.")));
        said.extend(self.walls.iter().cloned());
        said.extend(self.changes.iter().filter(|change| change.is_worth_telling()).map(Change::sentence));
        let verdicts: Vec<Verdict> = self.changes.iter().map(|change| change.verdict).collect();
        if self.compared > 0 {
            said.push(summary(Lang::En, &verdicts, self.walls.len()));
        }
        said
    }
}

impl Change {
    fn figure(&self) -> Option<Figure> {
        FIGURES.into_iter().find(|figure| figure.field() == self.figure)
    }

    /// What is more than the spread; of single runs what is more than those usually differ.
    fn is_worth_telling(&self) -> bool {
        let far = || self.figure().is_some_and(|figure| self.change.abs() > usual(figure));
        self.more_than_spread || (self.verdict == Verdict::Unknown && far())
    }

    fn sentence(&self) -> String {
        let Some((what, show)) = self.figure().map(shown) else { return String::new() };
        let with_unit = |value: f64| {
            let text = show(value);
            if self.figure == "rate" { text } else { spaced(&text) }
        };
        let mix = if self.mix == "all" { String::new() } else { format!(" ({})", self.mix) };
        let direction = if self.better { "better" } else { "worse" };
        let meaning = match self.spread {
            Some(spread) => format!(", spread {:.0} %), {direction}", spread * 100.0),
            None => format!("), {direction} unless by chance: measured once"),
        };
        format!(
            "{} at {}{mix}: {what} {} → {} ({:+.0} %{meaning}.",
            self.model,
            grouped(self.connections),
            with_unit(self.old),
            with_unit(self.new),
            self.change * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::result::Cell;
    use super::*;
    use crate::compare::samples;
    use crate::walls::Wall;

    fn cell<'a>(report: &'a mut Report, model: &str, rung: u64) -> &'a mut Cell {
        let mine = |cell: &&mut Cell| cell.model == model && cell.connections == rung;
        report.results.iter_mut().find(mine).expect("a sample")
    }

    fn against(old: &Report, new: &Report) -> Against {
        compare("old.json", &serde_json::to_value(old).expect("JSON"), new)
    }

    fn repeated(mut report: Report, spread: f64) -> Report {
        for cell in &mut report.results {
            cell.repeats = 5;
            cell.spreads = FIGURES.map(|figure| (figure.field().to_owned(), spread)).into();
        }
        report
    }

    #[test]
    fn what_changed_by_more_than_the_spread_is_told_and_nothing_else() {
        let old = repeated(samples::report(), 0.2);
        let mut new = old.clone();
        cell(&mut new, "epoll-et", 1_000).rate = Some(49_000.0);
        cell(&mut new, "fork", 1_000).rate = Some(34_000.0);
        let against = against(&old, &new);
        assert_eq!(against.compared, 7);
        let told = against.sentences().join("\n");
        assert!(
            told.contains("epoll-et at 1,000: msg/s 98.0k → 49.0k (-50 %, spread 20 %), worse."),
            "{told}"
        );
        assert!(!told.contains("fork at") && told.contains("0 better, 1 worse"), "{told}");
        assert!(!told.contains("--repeats"), "{told}");
        let change = against.changes.iter().find(|change| change.more_than_spread).expect("one");
        assert_eq!((change.verdict, change.better, change.spread), (Verdict::Worse, false, Some(0.2)));
        let value = serde_json::to_value(change).expect("JSON");
        assert_eq!((&value["verdict"], &value["spread_measured"]), (&"worse".into(), &true.into()));
    }

    #[test]
    fn single_runs_are_told_where_they_are_far_apart_but_never_judged() {
        let (old, mut new) = (samples::report(), samples::report());
        cell(&mut new, "epoll-et", 1_000).rate = Some(49_000.0);
        cell(&mut new, "fork", 1_000).rate = Some(34_000.0);
        let against = against(&old, &new);
        let told = against.sentences().join("\n");
        assert!(
            told.contains("msg/s 98.0k → 49.0k (-50 %), worse unless by chance: measured once."),
            "{told}"
        );
        assert!(!told.contains("fork at") && told.contains("--repeats 5"), "{told}");
        assert!(against.changes.iter().all(|change| !change.more_than_spread && change.spread.is_none()));
    }

    /// The rule is the page's: whatever the two look like, each figure has the same verdict there.
    #[test]
    fn the_page_judges_the_same() {
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from((seed >> 33) as u32) / f64::from(1_u32 << 31)
        };
        for _ in 0..50 {
            let (mut old, mut new) = (samples::report(), samples::report());
            for cell in old.results.iter_mut().chain(&mut new.results) {
                cell.repeats = if next() < 0.3 { 1 } else { 3 };
                cell.rate = cell.rate.map(|rate| rate * (0.5 + next()));
                cell.p99_us = cell.p99_us.filter(|_| next() < 0.9).map(|us| us * (0.5 + next()));
                cell.server_bytes_per_conn = cell.server_bytes_per_conn.map(|bytes| bytes * (0.5 + next()));
                cell.loader_limited = next() < 0.2;
                cell.spreads = FIGURES.map(|figure| (figure.field().to_owned(), next() * 0.4)).into();
            }
            let counted = against(&old, &new);
            let verdicts: Vec<Verdict> = counted.changes.iter().map(|change| change.verdict).collect();
            let html = crate::report::page(
                &serde_json::to_value(&new).unwrap(),
                &serde_json::to_value(&old).unwrap(),
            );
            let said = summary(Lang::En, &verdicts, counted.walls.len());
            assert!(html.contains(&said), "{said}");
            for (class, verdict) in
                [("better", Verdict::Better), ("worse", Verdict::Worse), ("within", Verdict::Within)]
            {
                let fields = html.matches(&format!("<td class=\"{class}\"")).count() / 2; // in both languages
                assert_eq!(fields, verdicts.iter().filter(|given| **given == verdict).count(), "{class}");
            }
        }
    }

    #[test]
    fn walls_that_moved_and_other_machines_are_told() {
        let (old, mut new) = (samples::report(), samples::report());
        let last = cell(&mut new, "fork", 5_000);
        (last.wall, last.established) = (Some(Wall::new("processes", "4,000", "more")), 4_000);
        new.machine.kernel = "7.0".to_owned();
        new.results.iter_mut().find(|cell| cell.model == "prefork").unwrap().wall = None;
        let told = against(&old, &new).sentences().join("\n");
        assert!(
            told.contains("fork at 5,000 held then and now ends at \"processes\" (held 4,000)."),
            "{told}"
        );
        assert!(told.contains("prefork at 100 ended at") && told.contains("now holds"), "{told}");
        assert!(told.contains("Not the same: kernel: 6.18.0 then, 7.0 now."), "{told}");
    }

    #[test]
    fn older_results_without_blocks_are_understood() {
        let mut value = serde_json::to_value(samples::report()).unwrap();
        value["asked"].as_object_mut().unwrap().remove("mixes");
        for cell in value["results"].as_array_mut().unwrap() {
            for field in ["mix", "payload_bytes", "histogram", "spreads", "runs", "active"] {
                cell.as_object_mut().unwrap().remove(field);
            }
        }
        assert_eq!(compare("old.json", &value, &samples::report()).compared, 7);
        value["asked"]["churn"] = true.into();
        assert_eq!(compare("old.json", &value, &samples::report()).compared, 0, "that was other work");
    }
}
