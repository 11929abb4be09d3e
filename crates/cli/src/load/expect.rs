//! `--expect 'conns>=10k p99<5ms errors=0'`: what has to hold, or the run ends with exit code 1.

use super::conduct::Outcome;
use super::tally::{max_us, quantile_us};
use crate::units::{parse_count, parse_duration};

/// One expectation.
#[derive(Clone, PartialEq, Debug)]
pub struct Expectation {
    text: String,
    figure: Figure,
    relation: Relation,
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Figure {
    Connections,
    Messages,
    Rate,
    Errors,
    /// A quantile of the latency; 1.0 is the greatest.
    Latency(f64),
    Connect(f64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    AtLeast,
    AtMost,
    Equal,
    More,
    Less,
}

const FIGURES: [(&str, Figure); 10] = [
    ("conns", Figure::Connections),
    ("messages", Figure::Messages),
    ("rate", Figure::Rate),
    ("errors", Figure::Errors),
    ("p50", Figure::Latency(0.5)),
    ("p90", Figure::Latency(0.9)),
    ("p99", Figure::Latency(0.99)),
    ("p999", Figure::Latency(0.999)),
    ("max", Figure::Latency(1.0)),
    ("connect_p99", Figure::Connect(0.99)),
];

/// Longer signs first: `>` is the beginning of `>=`.
const RELATIONS: [(&str, Relation); 6] = [
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("==", Relation::Equal),
    ("=", Relation::Equal),
    (">", Relation::More),
    ("<", Relation::Less),
];

/// Several expectations, separated by blanks or commas.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Expectations(Vec<Expectation>);

/// Parses the value of `--expect`.
pub fn parse(text: &str) -> Result<Expectations, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let all = words.map(parse_one).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err("nothing is expected".to_owned()) } else { Ok(Expectations(all)) }
}

fn parse_one(word: &str) -> Result<Expectation, String> {
    let parts = RELATIONS.iter().find_map(|(sign, relation)| {
        let (name, value) = word.split_once(sign)?;
        Some((name, *relation, value))
    });
    let (name, relation, value) =
        parts.ok_or_else(|| format!("'{word}' compares nothing; write conns>=10k, p99<5ms or errors=0"))?;
    let Some((_, figure)) = FIGURES.iter().find(|(known, _)| *known == name) else {
        return Err(format!(
            "'{name}' is no figure; the figures: {}",
            FIGURES.map(|(name, _)| name).join(", ")
        ));
    };
    let value = match figure {
        Figure::Latency(_) | Figure::Connect(_) => parse_duration(value)?.as_secs_f64() * 1e6,
        _ => parse_count(value)? as f64,
    };
    Ok(Expectation { text: word.to_owned(), figure: *figure, relation, value })
}

impl Expectations {
    /// A sentence for each that does not hold.
    pub fn broken(&self, outcome: &Outcome) -> Vec<String> {
        self.0.iter().filter_map(|expectation| expectation.broken(outcome)).collect()
    }
}

impl Expectation {
    fn broken(&self, outcome: &Outcome) -> Option<String> {
        let is_time = matches!(self.figure, Figure::Latency(_) | Figure::Connect(_));
        let Some(found) = self.figure.of(outcome) else {
            return Some(format!("{} does not hold: nothing was measured", self.text));
        };
        let holds = match self.relation {
            Relation::AtLeast => found >= self.value,
            Relation::AtMost => found <= self.value,
            Relation::Equal => found == self.value,
            Relation::More => found > self.value,
            Relation::Less => found < self.value,
        };
        let unit = if is_time { " us" } else { "" };
        (!holds).then(|| format!("{} does not hold: it is {found:.0}{unit}", self.text))
    }
}

impl Figure {
    fn of(self, outcome: &Outcome) -> Option<f64> {
        let tally = &outcome.tally;
        match self {
            Figure::Connections => Some(outcome.held as f64),
            Figure::Messages => Some(tally.messages as f64),
            Figure::Rate => Some(tally.in_window as f64 / outcome.measured.as_secs_f64().max(1e-9)),
            Figure::Errors => Some(tally.errors.values().sum::<u64>() as f64),
            Figure::Latency(1.0) => max_us(&tally.latency),
            Figure::Latency(quantile) => quantile_us(&tally.latency, quantile),
            Figure::Connect(quantile) => quantile_us(&tally.connect, quantile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_read_as_people_write_them() {
        let all = parse("conns>=10k p99<5ms,errors=0 rate>1m max<=2s").expect("five").0;
        let seen: Vec<_> = all.iter().map(|one| (one.figure, one.relation, one.value)).collect();
        assert_eq!(
            seen,
            [
                (Figure::Connections, Relation::AtLeast, 10_000.0),
                (Figure::Latency(0.99), Relation::Less, 5_000.0),
                (Figure::Errors, Relation::Equal, 0.0),
                (Figure::Rate, Relation::More, 1_000_000.0),
                (Figure::Latency(1.0), Relation::AtMost, 2_000_000.0),
            ]
        );
        for bad in ["", "p99", "speed>3", "p99<fast", "errors=none"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
