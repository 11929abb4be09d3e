//! Which charts a result gives: the ladder, the small multiples, the latency distributions.

use super::chart::{Chart, End, Frame, Point, Series};
use super::figures::{self, whole};
use super::look::Look;
use super::run::{Cell, Figure, Run, Work};
use super::scale::Scale;
use super::words;
use crate::lang::Lang;
use std::fmt::Write;

/// The picture on a wide page and in print.
pub const WIDE: Frame =
    Frame { w: 1000.0, h: 540.0, left: 62.0, right: 178.0, font: 13.0, walls: true, class: "wide" };
/// The same picture on a phone.
pub const NARROW: Frame =
    Frame { w: 372.0, h: 480.0, left: 50.0, right: 114.0, font: 11.5, walls: true, class: "narrow" };
/// One of several beside each other.
pub const SMALL: Frame =
    Frame { w: 372.0, h: 270.0, left: 52.0, right: 116.0, font: 11.5, walls: false, class: "small" };

/// One of two beside each other.
const MEDIUM: Frame =
    Frame { w: 500.0, h: 310.0, left: 58.0, right: 126.0, font: 12.5, walls: false, class: "small" };

/// A curve begins here: the luckiest answers of all are far below the rest and would take half of the picture.
const FIRST_SHARE: f64 = 0.1;

/// The lines of one result with one work: what every chart of it needs.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The result.
    pub run: &'a Run,
    /// The work.
    pub work: &'a Work,
    /// Every model of the report and what it looks like.
    pub looks: &'a [(String, Look)],
    /// The language.
    pub lang: Lang,
    /// An older result of the same work, to lie behind.
    pub old: Option<&'a Run>,
}

impl Lines<'_> {
    /// The headline: connections against p99, each line to its wall.
    pub fn ladder(&self, id: &str) -> String {
        let series = self.series(Figure::P99);
        let lang = self.lang;
        let chart = Chart {
            id: format!("{id}-ladder"),
            title: lang.pick("Latency up the ladder of connections", "连接数阶梯上的延迟").to_owned(),
            description: self.describe_ladder(),
            y: Scale::log(values(&series), 1.35),
            y_label: lang.pick("p99 latency (log)", "p99 延迟（对数）").to_owned(),
            ..self.chart(&series, Figure::P99)
        };
        [WIDE, NARROW].iter().map(|frame| chart.render(&higher(frame, series.len()))).collect()
    }

    /// A figure by connections, small.
    pub fn small(&self, id: &str, figure: Figure) -> Option<String> {
        let series = self.series(figure);
        if series.iter().all(|series| series.points.is_empty()) {
            return None;
        }
        let name = words::figure(self.lang, figure);
        let chart = Chart {
            id: format!("{id}-{}", figure.field()),
            title: name.to_owned(),
            description: self.describe(figure),
            y: match figure {
                Figure::Rate => Scale::from_zero(values(&series)),
                Figure::Memory => Scale::log(values(&series), 1.3).of_bytes(),
                _ => Scale::log(values(&series), 1.3),
            },
            y_label: match figure {
                Figure::Rate => self.lang.pick("messages/s", "消息/秒").to_owned(),
                _ => self.lang.pick("log", "对数").to_owned(),
            },
            ..self.chart(&series, figure)
        };
        Some(chart.render(&higher(&SMALL, series.len())))
    }

    fn chart<'b>(&self, series: &'b [Series], figure: Figure) -> Chart<'b> {
        let ends = series.iter().filter_map(|series| series.end.as_ref()).map(|end| end.at.0);
        let xs = series.iter().flat_map(|series| &series.points).map(|point| point.at.0);
        let mut rungs = self.run.rungs(self.work);
        rungs.extend(self.old.into_iter().flat_map(|old| old.rungs(self.work)));
        rungs.sort_unstable();
        rungs.dedup();
        // Also the rungs that nobody reached: a line that ends early is seen to end early.
        let x = Scale::log(xs.chain(ends).chain(rungs.iter().map(|rung| *rung as f64)), 1.0);
        let lowest = rungs.first().copied().unwrap_or(1);
        // Below the first rung there are only walls: decades are enough there.
        let decades = (0..12).map(|exponent| 10u64.pow(exponent)).filter(|decade| *decade < lowest);
        let inside = |tick: &u64| (*tick as f64) >= x.low() * 0.99;
        // Where the first line ended, if that is left of all rungs.
        let first_end = series.iter().filter_map(|series| Some(series.end.as_ref()?.at.0 as u64)).min();
        let first_end = first_end.filter(|end| *end < lowest);
        let ticks = first_end.into_iter().chain(decades.chain(rungs.iter().copied()).filter(inside));
        Chart {
            lang: self.lang,
            id: String::new(),
            title: String::new(),
            description: String::new(),
            series,
            x,
            y: x,
            x_ticks: ticks.map(|tick| (tick as f64, whole(tick))).collect(),
            y_form: figure.form(),
            x_label: self.lang.pick("connections (log)", "连接数（对数）").to_owned(),
            y_label: String::new(),
        }
    }

    fn series(&self, figure: Figure) -> Vec<Series> {
        let mut all = Vec::new();
        for (run, pale) in self.old.map(|old| (old, true)).into_iter().chain([(self.run, false)]) {
            for (model, look) in self.looks {
                let cells = run.line(self.work, model);
                // A line from busy connections to sampled ones would fall where nothing became faster.
                let latency = matches!(figure, Figure::P50 | Figure::P99 | Figure::P999);
                let (sampled, full): (Vec<&Cell>, Vec<&Cell>) =
                    cells.into_iter().partition(|cell| latency && cell.sampled());
                if !full.is_empty() {
                    all.push(self.one(model, look, &full, figure, pale));
                }
                if !sampled.is_empty() {
                    let look = Look { dash: "1 4", ..look.clone() };
                    all.push(self.one(&format!("{model} °"), &look, &sampled, figure, pale));
                }
            }
        }
        all
    }

    fn one(&self, model: &str, look: &Look, cells: &[&Cell], figure: Figure, pale: bool) -> Series {
        let value = |cell: &Cell| cell.figure(figure).filter(|value| *value > 0.0);
        let points = cells.iter().filter(|cell| cell.wall.is_none());
        let points = points.filter_map(|cell| {
            let y = value(cell)?;
            Some(Point {
                at: (cell.connections as f64, y),
                tip: tip(self.lang, cell, pale),
                hollow: figure == Figure::Rate && cell.loader_limited()
                    || figure == Figure::P99 && cell.sampled(),
                range: cell.range(figure),
            })
        });
        let held = cells.iter().filter(|cell| cell.wall.is_none()).map(|cell| cell.connections).max();
        let end = cells.iter().find_map(|cell| Some((cell, cell.wall.as_ref()?))).map(|(cell, wall)| End {
            // At the connections that stood; never left of a rung that was held. If none stood nothing is known but
            // the rung.
            at: (
                match cell.established {
                    0 => cell.connections,
                    stood => stood.max(held.unwrap_or(1)).min(cell.connections),
                } as f64,
                value(cell),
            ),
            name: words::wall(self.lang, &wall.name).to_owned(),
            tip: tip(self.lang, cell, pale),
        });
        Series { name: model.to_owned(), look: look.clone(), points: points.collect(), end, pale }
    }

    /// The distributions of latency at a rung, on the axis that gives each further nine the same room.
    pub fn distribution(&self, id: &str, rung: u64, two: bool) -> Option<String> {
        let lang = self.lang;
        let at_rung =
            |cell: &&Cell| cell.connections == rung && cell.wall.is_none() && cell.work == *self.work;
        let curve = |(model, look): &(String, Look)| {
            let cell = self.run.cells.iter().filter(at_rung).find(|cell| cell.model == *model)?;
            let points: Vec<Point> = cell
                .percentiles()
                .into_iter()
                .filter(|(share, _)| *share >= FIRST_SHARE)
                .map(|(share, us)| Point {
                    at: (1.0 / (1.0 - share), us),
                    tip: format!(
                        "{model} · {}\n{} {}",
                        lang.connections(rung),
                        lang.pick(
                            &format!("{} of answers within", percent(share)),
                            &format!("{} 的回答不超过", percent(share))
                        ),
                        figures::time(us)
                    ),
                    hollow: false,
                    range: None,
                })
                .collect();
            let series = Series { name: model.clone(), look: look.clone(), points, end: None, pale: false };
            (series.points.len() > 1).then_some(series)
        };
        let series: Vec<Series> = self.looks.iter().filter_map(curve).collect();
        if series.is_empty() {
            return None;
        }
        let far =
            series.iter().flat_map(|series| &series.points).map(|point| point.at.0).fold(1000.0, f64::max);
        let nines = [
            (1.0, "0 %"),
            (2.0, "50 %"),
            (10.0, "90 %"),
            (100.0, "99 %"),
            (1e3, "99.9 %"),
            (1e4, "99.99 %"),
            (1e5, "99.999 %"),
        ];
        let lowest =
            series.iter().flat_map(|series| &series.points).map(|point| point.at.0).fold(2.0, f64::min);
        let x = Scale::between(lowest, far);
        let ticks = nines.iter().filter(|(at, _)| (lowest * 0.99..=far * 1.01).contains(at));
        let worst: Vec<String> = series
            .iter()
            .filter_map(|series| {
                Some(format!("{} {}", series.name, figures::time(series.points.last()?.at.1)))
            })
            .collect();
        let connections = lang.connections(rung);
        let chart = Chart {
            lang,
            id: format!("{id}-distribution-{rung}"),
            title: match lang {
                Lang::En => format!("Latency distribution at {connections}"),
                Lang::Zh => format!("{connections}时的延迟分布"),
            },
            description: format!("{}: {}.", lang.pick("At the far end", "曲线末端"), lang.list(&worst)),
            x,
            y: Scale::log(values(&series), 1.25),
            x_ticks: ticks.map(|(at, text)| (*at, (*text).to_owned())).collect(),
            y_form: figures::time,
            x_label: lang.pick("share of answers", "回答的比例").to_owned(),
            y_label: lang.pick("latency (log)", "延迟（对数）").to_owned(),
            series: &series,
        };
        let frame = if two { &MEDIUM } else { &SMALL };
        Some(chart.render(&higher(frame, series.len())))
    }

    fn describe_ladder(&self) -> String {
        let mut text = String::new();
        for (model, _) in self.looks {
            let cells = self.run.line(self.work, model);
            let points: Vec<String> = cells
                .iter()
                .filter(|cell| cell.wall.is_none())
                .filter_map(|cell| {
                    Some(format!("{}: {}", whole(cell.connections), figures::time(cell.figure(Figure::P99)?)))
                })
                .collect();
            let end = cells.iter().find_map(|cell| Some((cell, cell.wall.as_ref()?))).map(|(cell, wall)| {
                let name = words::wall(self.lang, &wall.name);
                let (held, asked) = (whole(cell.established), whole(cell.connections));
                match self.lang {
                    Lang::En => format!("ends at {held} of {asked}: {name}"),
                    Lang::Zh => format!("止于 {asked} 中的 {held}：{name}"),
                }
            });
            let all: Vec<String> = points.into_iter().chain(end).collect();
            if !all.is_empty() {
                let _ = write!(text, "{model}: {}. ", self.lang.list(&all));
            }
        }
        text
    }

    fn describe(&self, figure: Figure) -> String {
        let Some(top) = self.run.rungs(self.work).last().copied() else { return String::new() };
        let form = figure.form();
        let at_top = self.looks.iter().filter_map(|(model, _)| {
            let line = self.run.line(self.work, model);
            let cell = line.iter().find(|cell| cell.connections == top && cell.wall.is_none())?;
            Some(format!("{model} {}", form(cell.figure(figure)?)))
        });
        format!("{}: {}.", self.lang.connections(top), self.lang.list(&at_top.collect::<Vec<_>>()))
    }
}

/// The same frame, high enough for a name for each line.
pub fn higher(frame: &Frame, lines: usize) -> Frame {
    Frame { h: frame.h.max(lines as f64 * frame.font * 1.3 + 60.0), ..*frame }
}

pub fn values(series: &[Series]) -> impl Iterator<Item = f64> {
    let points = series.iter().flat_map(|series| &series.points);
    let points = points.flat_map(|point| {
        let (low, high) = point.range.unwrap_or((point.at.1, point.at.1));
        [low, point.at.1, high]
    });
    points.chain(series.iter().filter_map(|series| series.end.as_ref()?.at.1))
}

fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What a pointer on a cell is told: a title, then a figure on each line.
fn tip(lang: Lang, cell: &Cell, pale: bool) -> String {
    let mut text = format!("{} · {}", cell.model, lang.connections(cell.connections));
    if pale {
        text.push_str(lang.pick(" (old)", "（旧）"));
    }
    if let Some(wall) = &cell.wall {
        let name = words::wall(lang, &wall.name);
        let _ = match lang {
            Lang::En => write!(text, "\n✕ {name}: held {}", whole(cell.established)),
            Lang::Zh => write!(text, "\n✕ {name}：承载 {}", whole(cell.established)),
        };
    }
    for figure in [Figure::P50, Figure::P99, Figure::P999, Figure::Rate, Figure::Cpu, Figure::Memory] {
        if let Some(value) = cell.figure(figure) {
            let _ = write!(text, "\n{}\t{}", words::figure(lang, figure), figure.form()(value));
            if let Some(spread) = cell.spread(figure) {
                let _ = write!(text, " ±{:.0} %", spread * 50.0);
            }
        }
    }
    if cell.sampled() {
        let _ = write!(text, "\n{}", lang.pick("° sampled, one at a time", "° 抽样，每次一个连接"));
    }
    if cell.errors > 0 {
        let _ = write!(text, "\n{}\t{}", lang.pick("errors", "错误"), whole(cell.errors));
    }
    if let Some(limit) = &cell.limited_by {
        let _ = write!(text, "\n{}\t{}", lang.pick("bounded by", "受限于"), words::wall(lang, &limit.name));
    }
    text
}
