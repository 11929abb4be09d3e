//! What is different from an older result (`--against old.json`), and whether it is more than the spread.

use super::figures::{bytes, cpu_us, rate, spaced, time_us};
use super::merge;
use super::result::{Cell, Report};
use crate::failure::Failure;
use crate::walls::grouped;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// How a figure is shown.
type Show = fn(f64) -> String;

/// The figures that are laid over each other: the JSON field, what people call it, whether more of it is better, how
/// it is shown, and how far two single runs may be apart where no repeats tell (measured on a shared two-core machine:
/// rates swing by a fifth, CPU per message by a tenth, the tail by half).
const FIGURES: [(&str, &str, bool, Show, f64); 4] = [
    ("rate", "msg/s", true, rate, 0.2),
    ("p99_us", "p99", false, time_us, 0.5),
    ("server_cpu_us_per_msg", "CPU per message", false, cpu_us, 0.1),
    ("server_bytes_per_conn", "memory per connection", false, bytes, 0.1),
];

/// Below this a connection's memory is noise: an allocator's page more or less over hundreds of connections.
const SMALL_MEMORY: f64 = 512.0;

/// The comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// The contender.
    pub model: String,
    /// The rung.
    pub connections: u64,
    /// The mix.
    pub mix: super::blocks::Mix,
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
    /// What differences mean nothing below: the larger spread of the two cells.
    pub spread: f64,
    /// Whether repeats tell that spread; else it is what single runs are usually apart.
    pub spread_measured: bool,
    /// Whether the change is more than the spread.
    pub more_than_spread: bool,
    /// Whether it is for the better.
    pub better: bool,
}

/// Reads an older result: its file, or the folder of `-o` that it is in.
///
/// # Errors
/// It cannot be read or was cut short (3), or is no result of compare's (2).
pub fn read(path: &Path) -> Result<Report, Failure> {
    let inside = path.join("result.json");
    let path = if path.is_dir() { inside.as_path() } else { path };
    let said = |why: String| format!("--against {}: {why}", path.display());
    let wrong = |why: String| Failure::usage(said(why));
    let text = fs::read_to_string(path).map_err(|error| Failure::cannot(said(error.to_string())))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| {
        if error.is_eof() {
            let line = error.line();
            Failure::cannot(said(format!(
                "it was cut short: the JSON ends in the middle, in line {line}; take a whole result.json"
            )))
        } else {
            wrong(format!("this is no result of 'duolu compare --json' or its result.json: {error}"))
        }
    })?;
    if report.schema != 1 {
        return Err(wrong(format!(
            "schema {} is of another version of duolu; this one reads 1",
            report.schema
        )));
    }
    if report.results.is_empty() {
        return Err(wrong("it holds no cell to compare with".to_owned()));
    }
    Ok(aged(report))
}

/// Results from before there were blocks say once for all cells what the connections did.
fn aged(mut report: Report) -> Report {
    use super::blocks::Mix;
    if report.asked.mixes.is_empty() {
        let mix = match (report.asked.churn, report.asked.active) {
            (true, _) => Mix::Churn,
            (false, Some(_)) => Mix::Idle,
            (false, None) => Mix::All,
        };
        for cell in &mut report.results {
            cell.mix = mix;
            cell.payload_bytes = report.asked.payload_bytes;
        }
    }
    report
}

/// Lays the two over each other.
pub fn compare(file: &str, old: &Report, new: &Report) -> Against {
    let mut against = Against {
        file: file.to_owned(),
        began_at: old.machine.began_at.clone(),
        differences: differences(old, new),
        ..Against::default()
    };
    for cell in &new.results {
        let same = |other: &&Cell| {
            (&other.model, other.connections, other.mix, other.payload_bytes)
                == (&cell.model, cell.connections, cell.mix, cell.payload_bytes)
        };
        let Some(before) = old.results.iter().find(same) else { continue };
        against.compared += 1;
        against.walls.extend(wall_change(before, cell));
        if before.wall.is_none() && cell.wall.is_none() {
            against.changes.extend(changes(before, cell));
        }
    }
    against
}

fn changes(old: &Cell, new: &Cell) -> Vec<Change> {
    let mut found = Vec::new();
    for (field, _, more_is_better, _, usual) in FIGURES {
        let get = |cell: &Cell| {
            merge::FIGURES.iter().find(|(name, ..)| *name == field).and_then(|(_, get, _)| get(cell))
        };
        let (Some(before), Some(now)) = (get(old), get(new)) else { continue };
        let small = field == "server_bytes_per_conn" && before.max(now) < SMALL_MEMORY;
        if before <= 0.0 || small {
            continue;
        }
        let measured = |cell: &Cell| cell.spreads.get(field).copied();
        let (spread, spread_measured) = match (measured(old), measured(new)) {
            (Some(one), Some(other)) => (one.max(other), true),
            (one, other) => (one.or(other).unwrap_or(0.0).max(usual), false),
        };
        let change = (now - before) / before;
        found.push(Change {
            model: new.model.clone(),
            connections: new.connections,
            mix: new.mix,
            payload_bytes: new.payload_bytes,
            figure: field.to_owned(),
            old: before,
            new: now,
            change,
            spread,
            spread_measured,
            more_than_spread: change.abs() > spread,
            better: (change > 0.0) == more_is_better,
        });
    }
    found
}

fn wall_change(old: &Cell, new: &Cell) -> Option<String> {
    let name = |cell: &Cell| cell.wall.as_ref().map(|wall| wall.name.clone());
    let who = format!("{} at {}", new.model, grouped(new.connections));
    match (name(old), name(new)) {
        (None, Some(wall)) => {
            Some(format!("{who} held then and now ends at \"{wall}\" (held {}).", grouped(new.established)))
        }
        (Some(wall), None) => Some(format!("{who} ended at \"{wall}\" then and now holds.")),
        (Some(before), Some(now)) if before != now => {
            Some(format!("{who} ended at \"{before}\" then and ends at \"{now}\" now."))
        }
        _ => None,
    }
}

/// What else is not the same: a figure that changed may have changed for that.
fn differences(old: &Report, new: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, then: String, now: String| {
        if then != now {
            found.push(format!("{what}: {then} then, {now} now"));
        }
    };
    let cpu = |report: &Report| report.machine.cpu_model.clone().unwrap_or_default();
    differ("kernel", old.machine.kernel.clone(), new.machine.kernel.clone());
    differ("processor", cpu(old), cpu(new));
    differ("processors", old.machine.cpus.to_string(), new.machine.cpus.to_string());
    differ("duolu", old.machine.duolu.clone(), new.machine.duolu.clone());
    differ("service", old.asked.service.clone(), new.asked.service.clone());
    differ("workers", old.asked.workers.to_string(), new.asked.workers.to_string());
    differ("pinned", old.machine.placement.pinned.to_string(), new.machine.placement.pinned.to_string());
    let noisy = |report: &Report| report.machine.noisy.clone().unwrap_or_else(|| "quiet".to_owned());
    differ("machine", noisy(old), noisy(new));
    if !old.complete {
        found.push("the older run was not complete".to_owned());
    }
    found
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
        let beyond: Vec<&Change> = self.changes.iter().filter(|change| change.more_than_spread).collect();
        said.extend(beyond.iter().map(|change| change.sentence()));
        if self.compared > 0 {
            let assumed = self.changes.iter().any(|change| !change.spread_measured);
            let hint = if assumed {
                " Where there is one run only, the spread is what single runs are usually apart: --repeats 5 measures it."
            } else {
                ""
            };
            said.push(format!(
                "{} of {} figures of {} cells changed by more than the spread.{hint}",
                beyond.len(),
                self.changes.len(),
                self.compared
            ));
        }
        said
    }
}

impl Change {
    fn sentence(&self) -> String {
        let known = FIGURES.iter().find(|(field, ..)| *field == self.figure);
        let (what, show) =
            known.map_or((self.figure.as_str(), rate as Show), |&(_, what, _, show, _)| (what, show));
        let with_unit = |value: f64| {
            let text = show(value);
            if self.figure == "rate" { text } else { spaced(&text) }
        };
        format!(
            "{} at {}{}: {what} {} → {} ({:+.0} %, spread {:.0} %), {}.",
            self.model,
            grouped(self.connections),
            if self.mix == super::blocks::Mix::All {
                String::new()
            } else {
                format!(" ({})", self.mix.name())
            },
            with_unit(self.old),
            with_unit(self.new),
            self.change * 100.0,
            self.spread * 100.0,
            if self.better { "better" } else { "worse" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;
    use crate::walls::Wall;

    fn cell<'a>(report: &'a mut Report, model: &str, rung: u64) -> &'a mut Cell {
        let mine = |cell: &&mut Cell| cell.model == model && cell.connections == rung;
        report.results.iter_mut().find(mine).expect("a sample")
    }

    #[test]
    fn what_changed_by_more_than_the_spread_is_told_and_nothing_else() {
        let (old, mut new) = (samples::report(), samples::report());
        cell(&mut new, "epoll-et", 1_000).rate = Some(49_000.0);
        cell(&mut new, "fork", 1_000).rate = Some(34_000.0);
        let against = compare("old.json", &old, &new);
        assert_eq!(against.compared, 7);
        let told = against.sentences().join("\n");
        assert!(
            told.contains("epoll-et at 1,000: msg/s 98.0k → 49.0k (-50 %, spread 20 %), worse."),
            "{told}"
        );
        assert!(!told.contains("fork at") && told.contains("1 of "), "{told}");
        assert!(told.contains("--repeats 5"), "{told}");
    }

    #[test]
    fn a_measured_spread_counts_more_than_an_assumed_one() {
        let (mut old, mut new) = (samples::report(), samples::report());
        for report in [&mut old, &mut new] {
            for cell in &mut report.results {
                cell.spreads = FIGURES.map(|(field, ..)| (field.to_owned(), 0.02)).into();
            }
        }
        cell(&mut new, "fork", 100).rate = Some(42_000.0 * 1.05);
        let against = compare("old.json", &old, &new);
        let beyond: Vec<&Change> = against.changes.iter().filter(|change| change.more_than_spread).collect();
        assert_eq!(beyond.len(), 1);
        assert!(beyond[0].better && beyond[0].spread_measured && beyond[0].figure == "rate");
        assert!(!against.sentences().join(" ").contains("--repeats"));
    }

    #[test]
    fn walls_that_moved_and_other_machines_are_told() {
        let (old, mut new) = (samples::report(), samples::report());
        let last = cell(&mut new, "fork", 5_000);
        (last.wall, last.established) = (Some(Wall::new("processes", "4,000", "more")), 4_000);
        new.machine.kernel = "7.0".to_owned();
        new.results.iter_mut().find(|cell| cell.model == "prefork").unwrap().wall = None;
        let told = compare("old.json", &old, &new).sentences().join("\n");
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
        value["asked"]["churn"] = true.into();
        for cell in value["results"].as_array_mut().unwrap() {
            for field in ["mix", "payload_bytes", "histogram", "spreads", "runs"] {
                cell.as_object_mut().unwrap().remove(field);
            }
        }
        let report = aged(serde_json::from_value(value).expect("an older result"));
        assert_eq!(report.results[0].mix.name(), "churn");
        assert_eq!(report.results[0].payload_bytes, Some(64));
    }
}
