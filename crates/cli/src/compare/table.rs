//! The table: a row for each model, a group of columns for each rung, the wall where a line ends.

use super::blocks::{Block, Mix};
use super::diagnose::NO_ANSWER;
use super::figures::{bytes, cpu_us, rate, time_us, wrap};
use super::result::{Cell, Report};
use crate::machine::Placement;
use crate::terminal::paint;
use crate::walls::{Wall, grouped, names};

/// The text is never wider: a mail and a readme have room for it.
pub const WIDEST: usize = 100;

/// What the text looks like.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether it is coloured.
    pub color: bool,
    /// The columns it fits into; names and one group of figures are never narrower than they are.
    pub width: usize,
}

/// The longest name of a model; an own server's may be longer.
const NAME: usize = 13;
/// Rate 5, its mark 1, p99 6, CPU 6, memory 5, and the spaces between them.
const GROUP: usize = 26;
const BETWEEN: usize = 3;

impl Style {
    /// A sentence over as many lines as it takes, painted.
    fn lines(self, code: &str, sentence: &str) -> String {
        if sentence.chars().count() <= self.width {
            return format!("{}\n", paint(self.color, code, sentence));
        }
        let lines = wrap(sentence, self.width);
        lines.iter().map(|line| format!("{}\n", paint(self.color, code, line))).collect()
    }
}

const BOLD: &str = "1";
const DIM: &str = "2";
const BEST: &str = "1;32";
const STOP: &str = "33";

/// The whole text that a person reads.
pub fn render(report: &Report, style: Style) -> String {
    let mut text = heading(report, style);
    let blocks = blocks(report);
    for block in &blocks {
        if blocks.len() > 1 {
            let title = block.title(&report.asked.service);
            text.push_str(&format!("\n{}\n", paint(style.color, BOLD, &title)));
        }
        text.push_str(&Part::of(report, block).render(style));
    }
    text.push('\n');
    text.push_str(&legend(report, style));
    text.push_str(&unavailable(report, style));
    text.push_str(&walls(report, style));
    if !report.shows.is_empty() {
        text.push_str(&format!("\n{}\n", paint(style.color, BOLD, "What this shows")));
        report.shows.iter().for_each(|sentence| text.push_str(&bullet(sentence, style.width)));
    }
    if let Some(against) = &report.against {
        let title = format!("Against {}", against.file);
        text.push_str(&format!("\n{}", style.lines(BOLD, &title)));
        against.sentences().iter().for_each(|sentence| text.push_str(&bullet(sentence, style.width)));
    }
    if report.interrupted {
        text.push_str(&format!(
            "\n{}\n",
            paint(style.color, STOP, "Interrupted: what is above is only a part.")
        ));
    } else if !report.complete {
        text.push_str(&format!(
            "\n{}\n",
            paint(style.color, STOP, "Out of time: some rungs were not measured.")
        ));
    }
    text
}

/// The blocks of which there is something to show, in their order.
fn blocks(report: &Report) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    for cell in &report.results {
        if !found.iter().any(|block| cell.is_of(block)) {
            let active = report.asked.active.filter(|_| cell.mix == Mix::Idle);
            found.push(Block { mix: cell.mix, payload: cell.payload_bytes, active });
        }
    }
    found
}

fn heading(report: &Report, style: Style) -> String {
    let (machine, asked) = (&report.machine, &report.asked);
    let work = match blocks(report)[..] {
        [only] => only.title(&asked.service),
        _ => asked.service.clone(),
    };
    let repeats = match asked.repeats {
        0 | 1 => String::new(),
        repeats => format!("; medians of {repeats} runs"),
    };
    let gib = machine.memory_bytes as f64 / f64::from(1 << 30);
    let cpus = if machine.cpus == 1 { "CPU" } else { "CPUs" };
    let place = place(&machine.placement);
    let of = format!("Linux {}, {} {cpus}, {gib:.0} GiB; {place}", machine.kernel, machine.cpus);
    style.lines(BOLD, &format!("duolu compare: {work}{repeats}")) + &style.lines(DIM, &of)
}

fn place(placement: &Placement) -> String {
    let cpus = |list: &[usize]| list.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    if placement.pinned {
        format!(
            "server on CPU {}, loader on CPU {}",
            cpus(&placement.server_cpus),
            cpus(&placement.loader_cpus)
        )
    } else if placement.shared {
        format!("server and loader share CPU {}", cpus(&placement.server_cpus))
    } else {
        "server and loader not pinned".to_owned()
    }
}

/// One block of results as a table.
struct Part<'a> {
    cells: Vec<&'a Cell>,
    /// Those who have a row.
    rows: Vec<&'a str>,
    /// The rungs that at least one of them climbed.
    rungs: Vec<u64>,
    /// The width of the column of names.
    name: usize,
}

impl<'a> Part<'a> {
    fn of(report: &'a Report, block: &Block) -> Self {
        let cells: Vec<&Cell> = report.results.iter().filter(|cell| cell.is_of(block)).collect();
        let climbed = |rung: &u64| cells.iter().any(|cell| cell.connections == *rung);
        let rungs = report.asked.connections.iter().copied().filter(climbed).collect();
        let measured = |name: &&str| cells.iter().any(|cell| cell.model == *name);
        let rows: Vec<&str> = report.asked.models.iter().map(String::as_str).filter(measured).collect();
        let longest = rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        Part { rungs, rows, name: NAME.max(longest), cells }
    }

    fn render(&self, style: Style) -> String {
        // As many groups stand side by side; more rungs make a second table.
        let side_by_side = (style.width.saturating_sub(self.name) / (GROUP + BETWEEN)).max(1);
        let tables = self.rungs.len().div_ceil(side_by_side).max(1);
        let chunks = self.rungs.chunks(self.rungs.len().div_ceil(tables).max(1));
        chunks.map(|rungs| format!("\n{}", self.table(rungs, style))).collect()
    }

    fn table(&self, rungs: &[u64], style: Style) -> String {
        let gap = " ".repeat(BETWEEN);
        let width = self.name;
        let mut title = " ".repeat(width);
        let mut columns = format!("{:width$}", "model");
        let mut rule = "─".repeat(width);
        for rung in rungs {
            let name = format!(" {} connection{} ", grouped(*rung), if *rung == 1 { "" } else { "s" });
            title.push_str(&format!("{gap}{name:─^GROUP$}"));
            columns.push_str(&format!("{gap}{:>5}  {:>6} {:>6} {:>5}", "msg/s", "p99", "CPU", "mem"));
            rule.push_str(&format!("{gap}{}", "─".repeat(GROUP)));
        }
        let mut text =
            format!("{}\n{}\n", paint(style.color, DIM, &title), paint(style.color, BOLD, &columns));
        text.push_str(&format!("{}\n", paint(style.color, DIM, &rule)));
        let climbed = |name: &&&str| {
            self.cells.iter().any(|cell| cell.model == **name && rungs.contains(&cell.connections))
        };
        for name in self.rows.iter().filter(climbed) {
            text.push_str(&self.row(name, rungs, style));
        }
        text
    }

    fn row(&self, name: &str, rungs: &[u64], style: Style) -> String {
        let width = self.name;
        let mut line = paint(style.color, BOLD, &format!("{name:width$}"));
        let mut used = width;
        for rung in rungs {
            let found = self.cells.iter().find(|cell| cell.model == name && cell.connections == *rung);
            let Some(cell) = found else { break };
            line.push_str(&" ".repeat(BETWEEN));
            used += BETWEEN;
            if let Some(wall) = &cell.wall {
                let held = format!("■ {} (held {})", wall.name, grouped(cell.established));
                let short = format!("■ {}", wall.name);
                let room = style.width.saturating_sub(used).max(12);
                let shown = [held, short].into_iter().find(|text| text.chars().count() <= room);
                let shown = shown.unwrap_or_else(|| {
                    let cut: String = wall.name.chars().take(room - 3).collect();
                    format!("■ {cut}…")
                });
                line.push_str(&paint(style.color, STOP, &shown));
                break;
            }
            line.push_str(&self.figures(cell, style));
            used += GROUP;
        }
        format!("{}\n", line.trim_end())
    }

    fn figures(&self, cell: &Cell, style: Style) -> String {
        let show = |value: Option<f64>, form: fn(f64) -> String| value.map_or("-".to_owned(), form);
        let rate = format!("{:>5}", show(cell.rate, rate));
        let rivals = self.cells.iter().filter(|other| other.connections == cell.connections && other.held());
        let best = rivals.filter_map(|other| other.rate).fold(0.0, f64::max);
        let is_best = cell.rate.is_some_and(|rate| rate >= best);
        let rate = if is_best { paint(style.color, BEST, &rate) } else { rate };
        format!(
            "{rate}{} {:>6} {:>6} {:>5}",
            mark(cell),
            show(cell.p99_us, time_us),
            show(cell.server_cpu_us_per_msg, cpu_us),
            show(cell.server_bytes_per_conn, bytes)
        )
    }
}

fn mark(cell: &Cell) -> char {
    if cell.sampled && cell.answered() {
        return '°';
    }
    match cell.limited_by.as_ref().map(|limit| limit.name.as_str()) {
        Some(names::CORE) => '*',
        Some(names::LOADER) => '~',
        Some(NO_ANSWER) => '!',
        _ => ' ',
    }
}

fn legend(report: &Report, style: Style) -> String {
    let marked = |wanted: char| report.results.iter().any(|cell| cell.wall.is_none() && mark(cell) == wanted);
    let mut lines =
        vec!["CPU: the server's CPU time for one message; mem: its memory for one connection".to_owned()];
    if marked('*') {
        lines.push(match report.machine.placement.shared {
            true => "*  one core full: server and loader shared it, so compare CPU, not msg/s".to_owned(),
            false => {
                format!("*  {}: the server's; this is what it can do there", names::CORE)
            }
        });
    }
    if marked('~') {
        lines.push(format!("~  {}: the server could do more than this", names::LOADER));
    }
    if marked('°') {
        lines.push(
            "°  sampled: beyond the loader's descriptors one connection at a time exchanges, at random. So"
                .to_owned(),
        );
        lines
            .push("   there is no rate, and its p99 does not compare with one where all are busy".to_owned());
    }
    let mut text: String = lines.iter().map(|line| style.lines(DIM, line)).collect();
    for cell in report.results.iter().filter(|cell| cell.wall.is_none() && mark(cell) == '!') {
        let why = cell.limited_by.as_ref().map_or("", |limit| &limit.evidence);
        let line = format!("! no figure for {} at {}: {why}", cell.model, grouped(cell.connections));
        text.push_str(&paragraph(&line, 0, style.width));
    }
    text
}

/// The models that cannot run here, those with the same reason together.
fn unavailable(report: &Report, style: Style) -> String {
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
        text.push_str(&format!("\n{}", style.lines(STOP, &format!("cannot run here: {models}"))));
        text.push_str(&paragraph(why, 4, style.width));
    }
    text
}

/// Each wall once: who met it, what was read, what moves it.
fn walls(report: &Report, style: Style) -> String {
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
            text.push_str(&explain(name, &same, style));
        }
    }
    text
}

/// One wall: who, and then evidence and fix of the first who met it, and of others if they differ in more than
/// numbers.
fn explain(name: &str, met: &[(&Cell, &Wall)], style: Style) -> String {
    let several = met.iter().any(|(cell, _)| cell.mix != met[0].0.mix);
    let who: Vec<String> = met
        .iter()
        .map(|(cell, _)| {
            let mix = if several { format!(" ({})", cell.mix.name()) } else { String::new() };
            let (asked, held) = (grouped(cell.connections), grouped(cell.established));
            format!("{} at {asked}{mix} (held {held})", cell.model)
        })
        .collect();
    let mut text = format!("\n{}\n", paint(style.color, STOP, &format!("■ {name}")));
    text.push_str(&paragraph(&who.join(", "), 2, style.width));
    let mut shapes: Vec<String> = Vec::new();
    for (cell, wall) in met {
        let shape: String = wall.evidence.chars().filter(|c| !c.is_ascii_digit() && *c != ',').collect();
        if !shapes.contains(&shape) {
            text.push_str(&paragraph(&format!("{}: {}", cell.model, wall.evidence), 4, style.width));
            text.push_str(&paragraph(&format!("fix: {}", wall.fix), 4, style.width));
            shapes.push(shape);
        }
    }
    text
}

fn paragraph(sentence: &str, indent: usize, width: usize) -> String {
    let lines = wrap(sentence, width.saturating_sub(indent));
    lines.iter().map(|line| format!("{:indent$}{line}\n", "")).collect()
}

fn bullet(sentence: &str, width: usize) -> String {
    let lines = wrap(sentence, width.saturating_sub(4));
    let mark = |at: usize| if at == 0 { "  - " } else { "    " };
    lines.iter().enumerate().map(|(at, line)| format!("{}{line}\n", mark(at))).collect()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
