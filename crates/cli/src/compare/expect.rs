//! `--expect 'conns>=10k p99<5ms errors=0'`: what has to hold, judged for every contender.

use super::blocks::Block;
use super::result::{Cell, Report};
use crate::failure::Failure;
use crate::units;

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub struct Expectation {
    text: String,
    figure: Figure,
    relation: Relation,
    value: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    More,
    Less,
    Equal,
}

const FIGURES: [(&str, Figure); 9] = [
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

/// The two-character ones first: `>` is the beginning of `>=`.
const RELATIONS: [(&str, Relation); 6] = [
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("==", Relation::Equal),
    (">", Relation::More),
    ("<", Relation::Less),
    ("=", Relation::Equal),
];

/// Parses expectations separated by spaces or commas.
pub fn parse(text: &str) -> Result<Vec<Expectation>, Failure> {
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Failure::usage(
            "--expect: nothing is expected; write --expect 'conns>=10k p99<5ms errors=0'",
        ));
    }
    words.into_iter().map(|word| parse_one(word).map_err(Failure::usage)).collect()
}

fn parse_one(word: &str) -> Result<Expectation, String> {
    let relation = RELATIONS
        .iter()
        .filter_map(|(sign, relation)| Some((word.find(sign)?, *sign, *relation)))
        .min_by_key(|(at, sign, _)| (*at, 2 - sign.len()));
    let Some((at, sign, relation)) = relation else {
        return Err(format!("--expect: '{word}' compares nothing; write conns>=10k, p99<5ms or errors=0"));
    };
    let (name, value) = (&word[..at], &word[at + sign.len()..]);
    let Some((_, figure)) = FIGURES.iter().find(|(known, _)| *known == name) else {
        let known = FIGURES.map(|(name, _)| name).join(", ");
        return Err(format!("--expect: '{name}' in '{word}' is no figure; the figures: {known}"));
    };
    let value = match figure {
        Figure::P50 | Figure::P90 | Figure::P99 | Figure::P999 | Figure::Cpu => {
            units::parse_duration(value).map(|time| time.as_secs_f64() * 1e6)
        }
        Figure::Memory => units::parse_size(value).map(|bytes| bytes as f64),
        Figure::Connections | Figure::Rate | Figure::Errors => {
            units::parse_count(value).map(|count| count as f64)
        }
    };
    let value = value.map_err(|error| format!("--expect: in '{word}': {error}"))?;
    Ok(Expectation { text: word.to_owned(), figure: *figure, relation, value })
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
                if !found.is_some_and(|value| expectation.relation.holds(value, expectation.value)) {
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
        (None, _) => return "there is no such figure, because no message was answered".to_owned(),
        (Some(us), Figure::P50 | Figure::P90 | Figure::P99 | Figure::P999 | Figure::Cpu) => {
            format!("it is {}", super::figures::time_us(us))
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

impl Relation {
    fn holds(self, found: f64, expected: f64) -> bool {
        match self {
            Relation::AtLeast => found >= expected,
            Relation::AtMost => found <= expected,
            Relation::More => found > expected,
            Relation::Less => found < expected,
            Relation::Equal => found == expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;

    #[test]
    fn expectations_read_as_people_write_them() {
        let all = parse("conns>=10k p99<5ms,errors=0 mem<=4KiB").unwrap();
        assert_eq!(all.len(), 4);
        assert_eq!((all[0].relation, all[0].value), (Relation::AtLeast, 10_000.0));
        assert_eq!((all[1].relation, all[1].value), (Relation::Less, 5_000.0));
        for (bad, hint) in
            [("", "nothing"), ("p99", "compares"), ("speed>1", "figures"), ("p99<fast", "duration")]
        {
            let sentence = parse(bad).unwrap_err().message().to_owned();
            assert!(sentence.contains(hint), "{bad}: {sentence}");
        }
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
