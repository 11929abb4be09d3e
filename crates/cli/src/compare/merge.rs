//! Several runs of one cell become one: each figure the median of its runs, with how far they were apart.

use super::result::{Cell, Run};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2Serializer};
use std::collections::BTreeMap;

type Get = fn(&Cell) -> Option<f64>;
type Set = fn(&mut Cell, Option<f64>);

/// The figures that are medians: the name of the JSON field, how it is read, how it is written.
pub const FIGURES: [(&str, Get, Set); 15] = [
    ("rate", |cell| cell.rate, |cell, value| cell.rate = value),
    ("p50_us", |cell| cell.p50_us, |cell, value| cell.p50_us = value),
    ("p90_us", |cell| cell.p90_us, |cell, value| cell.p90_us = value),
    ("p99_us", |cell| cell.p99_us, |cell, value| cell.p99_us = value),
    ("p999_us", |cell| cell.p999_us, |cell, value| cell.p999_us = value),
    ("connect_p99_us", |cell| cell.connect_p99_us, |cell, value| cell.connect_p99_us = value),
    ("server_cpu_us_per_msg", |cell| cell.server_cpu_us_per_msg, |c, value| c.server_cpu_us_per_msg = value),
    ("server_bytes_per_conn", |cell| cell.server_bytes_per_conn, |c, value| c.server_bytes_per_conn = value),
    ("kernel_bytes_per_conn", |cell| cell.kernel_bytes_per_conn, |c, value| c.kernel_bytes_per_conn = value),
    (
        "machine_bytes_per_conn",
        |cell| cell.machine_bytes_per_conn,
        |c, value| c.machine_bytes_per_conn = value,
    ),
    ("loader_cpu", |cell| cell.loader_cpu, |cell, value| cell.loader_cpu = value),
    ("server_cpu", |cell| cell.server_cpu, |cell, value| cell.server_cpu = value),
    ("others_cpu", |cell| cell.others_cpu, |cell, value| cell.others_cpu = value),
    ("own_cpu", |cell| cell.own_cpu, |cell, value| cell.own_cpu = value),
    ("stolen_cpu", |cell| cell.stolen_cpu, |cell, value| cell.stolen_cpu = value),
];

/// One cell from the runs of it. Whether the line ends here, most runs say: a wall that half of them met stands.
/// `None` for no runs.
pub fn merge(runs: &[Cell]) -> Option<Cell> {
    let walled: Vec<&Cell> = runs.iter().filter(|run| run.wall.is_some()).collect();
    let ends = walled.len() * 2 >= runs.len();
    let counted: Vec<&Cell> =
        if ends { walled } else { runs.iter().filter(|run| run.wall.is_none()).collect() };
    // Where there is nothing to take the median of (a wall's words), the run in the middle speaks.
    let mut by_rate = counted.clone();
    by_rate.sort_by(|a, b| a.rate.unwrap_or(0.0).total_cmp(&b.rate.unwrap_or(0.0)));
    let mut cell = (*by_rate.get((by_rate.len().max(1) - 1) / 2)?).clone();
    cell.repeats = u32::try_from(runs.len()).unwrap_or(u32::MAX);
    if runs.len() == 1 {
        return Some(cell);
    }
    for (name, get, set) in FIGURES {
        let mut values: Vec<f64> = counted.iter().filter_map(|run| get(run)).collect();
        set(&mut cell, median(&mut values));
        if let Some(spread) = spread(&values) {
            cell.spreads.insert(name.to_owned(), spread);
        }
    }
    cell.spread = cell.spreads.get("rate").copied();
    cell.max_us = counted.iter().filter_map(|run| run.max_us).reduce(f64::max);
    cell.messages = counted.iter().map(|run| run.messages).sum();
    cell.window_s = counted.iter().map(|run| run.window_s).sum();
    cell.errors = counted.iter().map(|run| run.errors).sum();
    cell.errors_by_kind = BTreeMap::new();
    for (kind, count) in counted.iter().flat_map(|run| &run.errors_by_kind) {
        *cell.errors_by_kind.entry(kind.clone()).or_default() += count;
    }
    cell.histogram = add_histograms(&counted);
    cell.runs = runs.iter().map(one_run).collect();
    Some(cell)
}

fn one_run(cell: &Cell) -> Run {
    Run {
        rate: cell.rate,
        p99_us: cell.p99_us,
        server_cpu_us_per_msg: cell.server_cpu_us_per_msg,
        others_cpu: cell.others_cpu,
        wall: cell.wall.as_ref().map(|wall| wall.name.clone()),
    }
}

/// The median, of an even number the mean of the two in the middle. Sorts.
pub fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// (highest - lowest) / median of sorted values; `None` for fewer than two, or around zero.
fn spread(sorted: &[f64]) -> Option<f64> {
    let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
    let middle = median(&mut sorted.to_vec())?;
    (sorted.len() > 1 && middle > 0.0).then(|| (highest - lowest) / middle)
}

/// The latencies of all runs in one histogram. `None` where none of them has one that can be read.
fn add_histograms(cells: &[&Cell]) -> Option<String> {
    let mut all = cells.iter().filter_map(|cell| decode(cell.histogram.as_deref()?));
    let mut sum = all.next()?;
    for histogram in all {
        sum.add(histogram).ok()?;
    }
    let mut bytes = Vec::new();
    V2Serializer::new().serialize(&sum, &mut bytes).ok()?;
    Some(STANDARD.encode(bytes))
}

fn decode(text: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(text).ok()?;
    Deserializer::new().deserialize(&mut &bytes[..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::samples;
    use crate::model::Model;
    use crate::walls::Wall;

    fn runs(rates: &[f64]) -> Vec<Cell> {
        rates.iter().map(|&rate| samples::cell(Model::Poll, 10, rate)).collect()
    }

    fn histogram(values: &[u64]) -> String {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        values.iter().for_each(|&value| histogram.record(value).unwrap());
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).unwrap();
        STANDARD.encode(bytes)
    }

    #[test]
    fn medians_count_and_the_spread_is_told() {
        let mut three = runs(&[90.0, 110.0, 100.0]);
        three[1].p99_us = Some(9_999.0);
        three[2].p99_us = None;
        let merged = merge(&three).unwrap();
        assert_eq!((merged.rate, merged.repeats, merged.runs.len()), (Some(100.0), 3, 3));
        assert!((merged.spread.unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(merged.p99_us, Some(f64::midpoint(4_200.0, 9_999.0)));
        assert!(merged.spreads["p99_us"] > 0.5);
        let rates: Vec<_> = merged.runs.iter().map(|run| run.rate).collect();
        assert_eq!(rates, [Some(90.0), Some(110.0), Some(100.0)], "in the order in which they ran");
        assert_eq!(merge(&runs(&[90.0, 110.0])).unwrap().rate, Some(100.0));
        let single = merge(&runs(&[1.0])).unwrap();
        assert_eq!((single.spread, single.runs.len(), single.repeats), (None, 0, 1));
        assert!(merge(&[]).is_none());
    }

    #[test]
    fn a_wall_stands_when_half_of_the_runs_met_it() {
        let wall = |cell: &mut Cell| cell.wall = Some(Wall::new("accept queue", "12 wait", "accept"));
        let mut three = runs(&[90.0, 110.0, 100.0]);
        wall(&mut three[1]);
        let merged = merge(&three).unwrap();
        assert_eq!((merged.wall.clone(), merged.rate), (None, Some(95.0)), "two of three held");
        assert_eq!(merged.runs[1].wall.as_deref(), Some("accept queue"));
        wall(&mut three[0]);
        assert!(merge(&three).unwrap().wall.is_some());
        assert!(merge(&three[..2]).unwrap().wall.is_some());
    }

    #[test]
    fn histograms_and_errors_add_up() {
        let mut two = runs(&[90.0, 110.0]);
        two[0].histogram = Some(histogram(&[1_000, 2_000]));
        two[1].histogram = Some(histogram(&[4_000_000]));
        two[0].errors_by_kind.insert("reset".to_owned(), 2);
        two[1].errors_by_kind.insert("reset".to_owned(), 3);
        let merged = merge(&two).unwrap();
        let all = decode(merged.histogram.as_deref().unwrap()).unwrap();
        assert_eq!((all.len(), all.min()), (3, 1_000));
        assert_eq!(merged.errors_by_kind["reset"], 5);
        two[1].histogram = Some("cut sho".to_owned());
        assert_eq!(decode(merge(&two).unwrap().histogram.as_deref().unwrap()).unwrap().len(), 2);
    }
}
