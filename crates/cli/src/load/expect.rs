//! What `--expect` can be about in a run, and whether it holds; if not, the run ends with exit code 1.

use super::conduct::Outcome;
use super::tally::{max_us, quantile_us};
use crate::expect::{self, Expectation, Unit};

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

impl expect::Figure for Figure {
    const NAMES: &'static [(&'static str, Self)] = &[
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

    fn unit(self) -> Unit {
        match self {
            Figure::Latency(_) | Figure::Connect(_) => Unit::Time,
            Figure::Connections | Figure::Messages | Figure::Rate | Figure::Errors => Unit::Count,
        }
    }
}

/// Several expectations.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Expectations(Vec<Expectation<Figure>>);

/// Parses the value of `--expect`.
pub fn parse(text: &str) -> Result<Expectations, String> {
    expect::parse(text).map(Expectations)
}

impl Expectations {
    /// A sentence for each that does not hold.
    pub fn broken(&self, outcome: &Outcome) -> Vec<String> {
        self.0.iter().filter_map(|expectation| broken(expectation, outcome)).collect()
    }
}

fn broken(expectation: &Expectation<Figure>, outcome: &Outcome) -> Option<String> {
    let text = &expectation.text;
    let Some(found) = expectation.figure.of(outcome) else {
        return Some(format!("{text} does not hold: nothing was measured"));
    };
    let unit = if expect::Figure::unit(expectation.figure) == Unit::Time { " us" } else { "" };
    (!expectation.holds(found)).then(|| format!("{text} does not hold: it is {found:.0}{unit}"))
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
