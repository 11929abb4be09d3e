//! What the cells show, in two to five plain sentences. Nothing is said that is not in the cells.

use super::blocks::Mix;
use super::figures::{bytes, cpu_us, factor, rate, spaced};
use super::result::{Cell, Report};
use crate::machine::DISTURBED;
use crate::walls::{grouped, names};

/// Rates nearer than this are called equal: two runs on a quiet machine differ by as much.
const EQUAL: f64 = 1.1;

/// Repeats that are further apart than this part of their median say that the machine is not steady.
const WIDE: f64 = 0.2;

/// The sentences, block by block.
pub fn tell(report: &Report) -> Vec<String> {
    let mut groups: Vec<(Mix, Option<u64>)> = Vec::new();
    for cell in &report.results {
        if !groups.contains(&(cell.mix, cell.payload_bytes)) {
            groups.push((cell.mix, cell.payload_bytes));
        }
    }
    let mut sentences = Vec::new();
    for group in &groups {
        let cells: Vec<&Cell> =
            report.results.iter().filter(|cell| (cell.mix, cell.payload_bytes) == *group).collect();
        let mut told = tell_block(report, &cells);
        if let (true, Some(first)) = (groups.len() > 1, told.first_mut()) {
            let bytes = group.1.map_or(String::new(), |bytes| format!(", {} B", grouped(bytes)));
            *first = format!("{}{bytes}: {first}", group.0.name());
        }
        sentences.extend(told);
    }
    sentences.extend(who_was_sampled(report));
    sentences.extend(whose_limit(report));
    sentences.extend(who_disturbed(report));
    sentences
}

fn tell_block(report: &Report, cells: &[&Cell]) -> Vec<String> {
    let Some(&top) =
        report.asked.connections.iter().rfind(|rung| cells.iter().any(|cell| cell.connections == **rung))
    else {
        return Vec::new();
    };
    let at_top: Vec<&Cell> =
        cells.iter().copied().filter(|cell| cell.connections == top && cell.held()).collect();
    let mut sentences = vec![who_held(report, cells, top, &at_top)];
    sentences.extend(who_fell_behind(top, &at_top));
    sentences.extend(what_it_cost(&at_top));
    sentences.extend(how_it_grew(report, cells, top, &at_top));
    sentences
}

fn who_held(report: &Report, cells: &[&Cell], top: u64, at_top: &[&Cell]) -> String {
    let seen = |model: &&String| cells.iter().any(|cell| cell.model == **model);
    let measured: Vec<&String> = report.asked.models.iter().filter(seen).collect();
    let connections = format!("{} connection{}", grouped(top), if top == 1 { "" } else { "s" });
    let held: Vec<&str> = at_top.iter().map(|cell| cell.model.as_str()).collect();
    let mut sentence = match (held.len(), measured.len()) {
        (0, 1) => format!("{} did not hold {connections}.", measured[0]),
        (0, _) => format!("Nobody held all {connections}."),
        (1, 1) => format!("{} held all {connections}.", held[0]),
        (2, 2) => format!("Both held all {connections}."),
        (held, all) if held == all => format!("All {all} held {connections}."),
        _ => format!("Held all {connections}: {}.", held.join(", ")),
    };
    let mut stops: Vec<(&str, Vec<String>)> = Vec::new();
    for cell in cells {
        let Some(wall) = &cell.wall else { continue };
        let who = format!("{} at {} of {}", cell.model, grouped(cell.established), grouped(cell.connections));
        match stops.iter_mut().find(|(name, _)| *name == wall.name) {
            Some((_, models)) => models.push(who),
            None => stops.push((&wall.name, vec![who])),
        }
    }
    for (wall, models) in stops {
        sentence.push_str(&format!(" Stopped by \"{wall}\": {}.", models.join(", ")));
    }
    sentence
}

/// A figure and the cell it belongs to.
type Of<'a> = (f64, &'a Cell);

/// The cells with the least and the most of a figure, if they are two.
fn extremes<'a>(cells: &[&'a Cell], figure: fn(&Cell) -> Option<f64>) -> Option<(Of<'a>, Of<'a>)> {
    let known = || cells.iter().filter_map(|cell| Some((figure(cell)?, *cell)));
    let least = known().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let most = known().max_by(|a, b| a.0.total_cmp(&b.0))?;
    (least.1.model != most.1.model && least.0 > 0.0).then_some((least, most))
}

fn who_fell_behind(top: u64, at_top: &[&Cell]) -> Option<String> {
    let ((slow, slowest), (fast, fastest)) = extremes(at_top, |cell| cell.rate)?;
    let at = format!("At {}", grouped(top));
    if fast < slow * EQUAL {
        return Some(format!("{at} none answered over 10 % more messages a second than another."));
    }
    let least = if fastest.loader_limited { "at least " } else { "" };
    Some(format!(
        "{at}, {} answered {least}{} messages a second and {} {}: {} times fewer.",
        fastest.model,
        rate(fast),
        slowest.model,
        rate(slow),
        factor(fast / slow)
    ))
}

fn what_it_cost(at_top: &[&Cell]) -> Option<String> {
    let ((little, cheap), (much, dear)) = extremes(at_top, |cell| cell.server_cpu_us_per_msg)?;
    let mut sentence = format!(
        "A message cost the server {} of CPU on {}, {} on {}",
        spaced(&cpu_us(little)),
        cheap.model,
        spaced(&cpu_us(much)),
        dear.model
    );
    if let Some(((small, light), (large, heavy))) =
        extremes(at_top, |cell| cell.server_bytes_per_conn.map(|bytes| bytes.max(1.0)))
    {
        let (small, large) = (spaced(&bytes(small)), spaced(&bytes(large)));
        sentence.push_str(&format!(
            "; a connection {small} of memory on {}, {large} on {}",
            light.model, heavy.model
        ));
    }
    Some(sentence + ".")
}

/// Who lost most of its rate between the first and the last rung.
fn how_it_grew(report: &Report, cells: &[&Cell], top: u64, at_top: &[&Cell]) -> Option<String> {
    let first = *report.asked.connections.first()?;
    let mut all: Vec<(f64, &str)> = Vec::new();
    for cell in at_top {
        let start = cells.iter().find(|other| other.model == cell.model && other.connections == first);
        let start = start.and_then(|start| start.rate).filter(|rate| *rate > 0.0);
        if let (Some(now), Some(start)) = (cell.rate, start) {
            all.push((now / start, &cell.model));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ((least, worst), (most, best)) = (*all.first()?, *all.last()?);
    (first < top && worst != best).then(|| {
        format!(
            "From {} to {} connections {worst} kept {:.0} % of its rate, {best} {:.0} %.",
            grouped(first),
            grouped(top),
            least * 100.0,
            most * 100.0
        )
    })
}

/// With more connections than the loader has descriptors.
fn who_was_sampled(report: &Report) -> Option<String> {
    let mut rungs: Vec<u64> = report
        .results
        .iter()
        .filter(|cell| cell.sampled && cell.answered())
        .map(|cell| cell.connections)
        .collect();
    rungs.sort_unstable();
    rungs.dedup();
    let from = grouped(*rungs.first()?);
    Some(format!(
        "From {from} connections on (°) the loader has fewer descriptors than connections: one at a time exchanges, at \
         random, so there is no rate, and latencies compare only with one another."
    ))
}

fn whose_limit(report: &Report) -> Option<String> {
    if report.machine.placement.shared {
        return Some(
            "Server and loader shared one processor: each took from the other, so compare CPU, not msg/s."
                .to_owned(),
        );
    }
    let stood: Vec<&Cell> = report.results.iter().filter(|cell| cell.wall.is_none()).collect();
    let measured = stood.len();
    let by_loader = |cell: &&&Cell| cell.limited_by.as_ref().is_some_and(|limit| limit.name == names::LOADER);
    match stood.iter().filter(by_loader).count() {
        0 => None,
        count if count == measured => {
            Some("The loader was the limit everywhere: every msg/s is a lower bound, compare CPU.".to_owned())
        }
        count => Some(format!("In {count} of {measured} cells (~) the loader was the limit: a lower bound.")),
    }
}

/// Others took processor time from the run: then every figure but the counts is too bad.
fn who_disturbed(report: &Report) -> Vec<String> {
    let cells = &report.results;
    let worst = |read: fn(&Cell) -> Option<f64>| {
        let used: Vec<f64> = cells.iter().filter_map(read).collect();
        let disturbed = used.iter().filter(|&&used| used >= DISTURBED).count();
        (disturbed > 0).then(|| (used.iter().copied().fold(0.0, f64::max), disturbed))
    };
    let mut sentences = Vec::new();
    if let Some((most, disturbed)) = worst(|cell| cell.others_cpu) {
        sentences.push(format!(
            "A noisy machine: other programs used up to {most:.1} cores meanwhile ({disturbed} of {} cells): run it on a \
             quiet machine.",
            cells.len()
        ));
    } else if let Some(why) = &report.machine.noisy {
        sentences.push(format!("A noisy machine: {why}."));
    }
    if let Some((most, disturbed)) = worst(|cell| cell.stolen_cpu) {
        sentences.push(format!(
            "The hypervisor took up to {most:.1} cores away meanwhile ({disturbed} of {} cells): the figures are its too.",
            cells.len()
        ));
    }
    let swinging = cells.iter().filter(|cell| cell.spread.is_some_and(|spread| spread > WIDE)).count();
    if swinging > 0 {
        sentences.push(format!(
            "In {swinging} of {} cells the repeats were more than {:.0} % apart: small differences there mean nothing.",
            cells.len(),
            WIDE * 100.0
        ));
    }
    sentences
}
