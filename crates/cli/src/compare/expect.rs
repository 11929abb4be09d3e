//! `--expect 'conns>=10k p99<5ms errors=0'`: what has to hold, judged for every contender.

use super::blocks::Block;
use super::result::{Cell, Report};
use crate::expect::{self, Unit};
use crate::failure::Failure;

/// One expectation of a contender.
pub type Expectation = expect::Expectation<Figure>;

/// What can be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    Connections,
    P50,
    P90,
    P99,
    P999,
    Rate,
    Errors,
    Cpu,
    Memory,
}

impl expect::Figure for Figure {
    const NAMES: &'static [(&'static str, Self)] = &[
        ("conns", Figure::Connections),
        ("p50", Figure::P50),
        ("p90", Figure::P90),
        ("p99", Figure::P99),
        ("p999", Figure::P999),
        ("rate", Figure::Rate),
        ("errors", Figure::Errors),
        ("cpu", Figure::Cpu),
        ("mem", Figure::Memory),
    ];

    fn unit(self) -> Unit {
        match self {
            Figure::P50 | Figure::P90 | Figure::P99 | Figure::P999 | Figure::Cpu => Unit::Time,
            Figure::Memory => Unit::Size,
            Figure::Connections | Figure::Rate | Figure::Errors => Unit::Count,
        }
    }
}

/// Parses expectations separated by spaces or commas.
pub fn parse(text: &str) -> Result<Vec<Expectation>, Failure> {
    expect::parse(text).map_err(|why| Failure::usage(format!("--expect: {why}")))
}

/// Judges every contender that ran, in every block at the highest rung it was measured at; errors over all its rungs.
/// Gives one sentence for each expectation that did not hold.
pub fn judge(report: &Report, blocks: &[Block], expectations: &[Expectation]) -> Vec<String> {
    let mut broken = Vec::new();
    for block in blocks {
        let place = if blocks.len() > 1 { format!(" ({})", short(block)) } else { String::new() };
        for model in &report.asked.models {
            let mine = |cell: &&Cell| cell.model == *model && cell.is_of(block);
            let cells: Vec<&Cell> = report.results.iter().filter(mine).collect();
            if cells.is_empty() {
                if !report.unavailable.contains_key(model) {
                    broken.push(format!("{model} was not measured{place}"));
                }
                continue;
            }
            for expectation in expectations {
                let found = expectation.figure.of(&cells);
                if !found.is_some_and(|value| expectation.holds(value)) {
                    broken.push(format!(
                        "{} does not hold for {model}{place}: {}",
                        expectation.text,
                        told(expectation, found, &cells)
                    ));
                }
            }
        }
    }
    if report.results.is_empty() {
        broken.push("nothing was measured".to_owned());
    }
    broken
}

/// `idle, 64 bytes`.
fn short(block: &Block) -> String {
    let bytes =
        block.payload.map_or(String::new(), |bytes| format!(", {} bytes", crate::walls::grouped(bytes)));
    format!("{}{bytes}", block.mix.name())
}

fn told(expectation: &Expectation, found: Option<f64>, cells: &[&Cell]) -> String {
    let value = match (found, expectation.figure) {
        (None, _) if cells.last().is_some_and(|cell| cell.sampled) => {
            return "there is no such figure: with so many connections only a random one at a time exchanges"
                .to_owned();
        }
        (None, _) => return "there is no such figure, because no message was answered".to_owned(),
        (Some(us), figure) if expect::Figure::unit(figure) == Unit::Time => {
            let sampled = if cells.last().is_some_and(|cell| cell.sampled) { " (sampled)" } else { "" };
            format!("it is {}{sampled}", super::figures::time_us(us))
        }
        (Some(count), _) => format!("it is {}", crate::walls::grouped(count.round() as u64)),
    };
    let wall = cells.iter().find_map(|cell| cell.wall.as_ref());
    wall.map_or(value.clone(), |wall| format!("{value} ({}: {})", wall.name, wall.evidence))
}

impl Figure {
    fn of(self, cells: &[&Cell]) -> Option<f64> {
        let last = cells.last()?;
        match self {
            Figure::Connections => cells.iter().map(|cell| cell.established).max().map(|count| count as f64),
            Figure::Errors => Some(cells.iter().map(|cell| cell.errors).sum::<u64>() as f64),
            Figure::P50 => last.p50_us,
            Figure::P90 => last.p90_us,
            Figure::P99 => last.p99_us,
            Figure::P999 => last.p999_us,
            Figure::Rate => last.rate,
            Figure::Cpu => last.server_cpu_us_per_msg,
            Figure::Memory => last.server_bytes_per_conn,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;

    #[test]
    fn a_word_that_is_no_expectation_is_told_with_the_flag() {
        assert_eq!(parse("conns>=10k p99<5ms,errors=0 mem<=4KiB cpu<10us").unwrap().len(), 5);
        let sentence = parse("speed>1").unwrap_err().message().to_owned();
        assert!(sentence.starts_with("--expect: 'speed'") && sentence.contains("cpu, mem"), "{sentence}");
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_model_and_wall() {
        let report = samples::report();
        assert_eq!(judge(&report, &samples::blocks(), &parse("conns>=8 p99<10s").unwrap()), [] as [&str; 0]);
        let broken = judge(&report, &samples::blocks(), &parse("conns>=5k errors=0").unwrap());
        assert!(broken.iter().all(|sentence| sentence.contains("prefork")), "{broken:?}");
        assert!(broken[0].contains("conns>=5k") && broken[0].contains("more connections than processes"));
    }
}
