//! The table: a row for each model, a group of columns for each rung, the wall where a line ends.

use super::figures::{bytes, cpu_us, rate, time_us, wrap};
use super::result::{Cell, Report};
use crate::model::Model;
use crate::terminal::paint;
use crate::walls::{Wall, grouped, names};

/// The table fits into this many columns: a terminal side by side with something else, a mail, a readme.
const WIDTH: usize = 100;
/// The longest name of a model.
const NAME: usize = 13;
/// Rate 5, its mark 1, p99 6, CPU 6, memory 5, and the spaces between them.
const GROUP: usize = 26;
const BETWEEN: usize = 3;
/// As many groups stand side by side; more rungs make a second block.
const GROUPS: usize = (WIDTH - NAME) / (GROUP + BETWEEN);

const BOLD: &str = "1";
const DIM: &str = "2";
const BEST: &str = "1;32";
const STOP: &str = "33";

/// The whole text that a person reads.
pub fn render(report: &Report, color: bool) -> String {
    let mut text = heading(report, color);
    let rungs = rungs(report);
    let blocks = rungs.len().div_ceil(GROUPS).max(1);
    for block in rungs.chunks(rungs.len().div_ceil(blocks).max(1)) {
        text.push('\n');
        text.push_str(&render_block(report, block, color));
    }
    text.push('\n');
    text.push_str(&legend(report, color));
    text.push_str(&unavailable(report, color));
    text.push_str(&walls(report, color));
    if !report.shows.is_empty() {
        text.push_str(&format!("\n{}\n", paint(color, BOLD, "What this shows")));
        report.shows.iter().for_each(|sentence| text.push_str(&bullet(sentence)));
    }
    if report.interrupted {
        text.push_str(&format!("\n{}\n", paint(color, STOP, "Interrupted: what is above is only a part.")));
    } else if !report.complete {
        text.push_str(&format!("\n{}\n", paint(color, STOP, "Out of time: some rungs were not measured.")));
    }
    text
}

fn heading(report: &Report, color: bool) -> String {
    let (machine, asked) = (&report.machine, &report.asked);
    let messages = match (asked.active, asked.churn) {
        (_, true) => "a connection for each request".to_owned(),
        (Some(active), _) => format!("{} connections active, the rest idle", grouped(active)),
        (None, _) => "every connection active".to_owned(),
    };
    let bytes = asked.payload_bytes.map_or(String::new(), |bytes| format!(" of {} bytes", grouped(bytes)));
    let work = format!("{}{bytes}, {messages}", asked.service);
    let placement = &machine.placement;
    let cpus = |list: &[usize]| list.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let place = if placement.pinned {
        format!(
            "server on CPU {}, loader on CPU {}",
            cpus(&placement.server_cpus),
            cpus(&placement.loader_cpus)
        )
    } else {
        format!("server and loader share CPU {}", cpus(&placement.server_cpus))
    };
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    format!(
        "{}\n{}\n",
        paint(color, BOLD, &format!("duolu compare: {work}")),
        paint(
            color,
            DIM,
            &format!(
                "Linux {}, {} CPU{}, {gib:.0} GiB; {place}",
                machine.kernel,
                machine.cpus,
                if machine.cpus == 1 { "" } else { "s" }
            )
        )
    )
}

/// The rungs that were climbed by at least one model.
fn rungs(report: &Report) -> Vec<u64> {
    let climbed = |rung: &u64| report.results.iter().any(|cell| cell.connections == *rung);
    report.asked.connections.iter().copied().filter(climbed).collect()
}

/// The models that have a row.
fn rows(report: &Report) -> Vec<Model> {
    let measured = |model: &Model| report.results.iter().any(|cell| cell.model == *model);
    report.asked.models.iter().copied().filter(measured).collect()
}

fn render_block(report: &Report, rungs: &[u64], color: bool) -> String {
    let gap = " ".repeat(BETWEEN);
    let mut title = " ".repeat(NAME);
    let mut columns = format!("{:NAME$}", "model");
    let mut rule = "─".repeat(NAME);
    for rung in rungs {
        let name = format!(" {} connection{} ", grouped(*rung), if *rung == 1 { "" } else { "s" });
        title.push_str(&format!("{gap}{name:─^GROUP$}"));
        columns.push_str(&format!("{gap}{:>5}  {:>6} {:>6} {:>5}", "msg/s", "p99", "CPU", "mem"));
        rule.push_str(&format!("{gap}{}", "─".repeat(GROUP)));
    }
    let mut text = format!("{}\n{}\n", paint(color, DIM, &title), paint(color, BOLD, &columns));
    text.push_str(&format!("{}\n", paint(color, DIM, &rule)));
    for model in rows(report) {
        text.push_str(&row(report, model, rungs, color));
    }
    text
}

fn row(report: &Report, model: Model, rungs: &[u64], color: bool) -> String {
    let mut line = paint(color, BOLD, &format!("{:NAME$}", model.name()));
    let mut used = NAME;
    for rung in rungs {
        let Some(cell) = cell(report, model, *rung) else { break };
        line.push_str(&" ".repeat(BETWEEN));
        used += BETWEEN;
        if let Some(wall) = &cell.wall {
            let held = format!("■ {} (held {})", wall.name, grouped(cell.established));
            let short = format!("■ {}", wall.name);
            let room = WIDTH - used;
            let shown = [held, short].into_iter().find(|text| text.chars().count() <= room);
            let shown = shown.unwrap_or_else(|| {
                let cut: String = wall.name.chars().take(room - 3).collect();
                format!("■ {cut}…")
            });
            line.push_str(&paint(color, STOP, &shown));
            break;
        }
        line.push_str(&figures(report, cell, color));
        used += GROUP;
    }
    format!("{}\n", line.trim_end())
}

fn cell(report: &Report, model: Model, rung: u64) -> Option<&Cell> {
    report.results.iter().find(|cell| cell.model == model && cell.connections == rung)
}

fn figures(report: &Report, cell: &Cell, color: bool) -> String {
    let show = |value: Option<f64>, form: fn(f64) -> String| value.map_or("-".to_owned(), form);
    let rate = format!("{:>5}", show(cell.rate, rate));
    let best = report.results.iter().filter(|other| other.connections == cell.connections && other.held());
    let best = best.filter_map(|other| other.rate).fold(0.0, f64::max);
    let rate = if cell.rate.is_some_and(|rate| rate >= best) { paint(color, BEST, &rate) } else { rate };
    format!(
        "{rate}{} {:>6} {:>6} {:>5}",
        mark(cell),
        show(cell.p99_us, time_us),
        show(cell.server_cpu_us_per_msg, cpu_us),
        show(cell.server_bytes_per_conn, bytes)
    )
}

fn mark(cell: &Cell) -> char {
    match cell.limited_by.as_ref().map(|limit| limit.name.as_str()) {
        Some(names::CORE) => '*',
        Some(names::LOADER) => '~',
        _ => ' ',
    }
}

fn legend(report: &Report, color: bool) -> String {
    let marked = |wanted: char| report.results.iter().any(|cell| cell.wall.is_none() && mark(cell) == wanted);
    let mut lines =
        vec!["CPU: the server's CPU time for one message; mem: its memory for one connection".to_owned()];
    if marked('*') {
        lines.push(match report.machine.placement.shared {
            true => "*  one core full: server and loader shared it, so compare CPU, not msg/s".to_owned(),
            false => {
                format!("*  one core full: the server's ({}); this is what it can do there", names::CORE)
            }
        });
    }
    if marked('~') {
        lines.push(format!("~  {}: the server could do more than this", names::LOADER));
    }
    lines.iter().map(|line| format!("{}\n", paint(color, DIM, line))).collect()
}

/// The models that cannot run here, those with the same reason together.
fn unavailable(report: &Report, color: bool) -> String {
    let mut text = String::new();
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (model, why) in &report.unavailable {
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, models)) => models.push(model),
            None => reasons.push((why, vec![model])),
        }
    }
    for (why, models) in reasons {
        let models = models.join(", ");
        text.push_str(&format!("\n{}\n", paint(color, STOP, &format!("cannot run here: {models}"))));
        text.push_str(&paragraph(why, 4));
    }
    text
}

/// Each wall once: who met it, what was read, what moves it.
fn walls(report: &Report, color: bool) -> String {
    let mut text = String::new();
    let met: Vec<(&Cell, &Wall)> =
        report.results.iter().filter_map(|cell| Some((cell, cell.wall.as_ref()?))).collect();
    let mut names: Vec<&str> = met.iter().map(|(_, wall)| wall.name.as_str()).collect();
    names.dedup();
    let mut told: Vec<&str> = Vec::new();
    for name in names {
        if !told.contains(&name) {
            told.push(name);
            let same: Vec<_> = met.iter().copied().filter(|(_, wall)| wall.name == name).collect();
            text.push_str(&explain(name, &same, color));
        }
    }
    text
}

/// One wall: who, and then evidence and fix of the first who met it, and of others if they differ in more than
/// numbers.
fn explain(name: &str, met: &[(&Cell, &Wall)], color: bool) -> String {
    let who: Vec<String> = met
        .iter()
        .map(|(cell, _)| {
            format!("{} at {} (held {})", cell.model, grouped(cell.connections), grouped(cell.established))
        })
        .collect();
    let mut text = format!("\n{}\n", paint(color, STOP, &format!("■ {name}")));
    text.push_str(&paragraph(&who.join(", "), 2));
    let mut shapes: Vec<String> = Vec::new();
    for (cell, wall) in met {
        let shape: String = wall.evidence.chars().filter(|c| !c.is_ascii_digit() && *c != ',').collect();
        if !shapes.contains(&shape) {
            text.push_str(&paragraph(&format!("{}: {}", cell.model, wall.evidence), 4));
            text.push_str(&paragraph(&format!("fix: {}", wall.fix), 4));
            shapes.push(shape);
        }
    }
    text
}

fn paragraph(sentence: &str, indent: usize) -> String {
    let lines = wrap(sentence, WIDTH - indent);
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

fn bullet(sentence: &str) -> String {
    let lines = wrap(sentence, WIDTH - 4);
    let mark = |at: usize| if at == 0 { "  - " } else { "    " };
    lines.iter().enumerate().map(|(at, line)| format!("{}{line}\n", mark(at))).collect()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
