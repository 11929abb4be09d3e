//! The pictures of a climb: connections against memory, and what one of them costs, how fast they came, how fast a
//! random one answers.

use super::super::chart::{Chart, End, Frame, Point, Series};
use super::super::figures::{self, whole};
use super::super::look::{Look, Marker};
use super::super::scale::Scale;
use super::super::views::{NARROW, SMALL, WIDE, higher, values};
use super::super::words;
use super::rungs::{Climb, Of, Rung};
use crate::lang::Lang;

/// What a line of a chart shows.
struct Measure {
    /// Its name in both languages; empty where the chart has only one.
    name: (&'static str, &'static str),
    /// The name beside a server's, where there are several.
    short: (&'static str, &'static str),
    dash: &'static str,
    marker: Marker,
    of: fn(&Rung) -> Option<f64>,
}

const KERNEL: Measure =
    measure(("kernel, both ends", "内核，两端合计"), ("kernel", "内核"), Marker::Circle, Rung::kernel_in_all);
const SERVER: Measure = Measure {
    dash: "7 3",
    ..measure(("server", "服务器"), ("server", "服务器"), Marker::Diamond, |rung| {
        rung.figure(Of::Server)
    })
};
const P99: Measure = Measure {
    dash: "7 3",
    ..measure(("p99", "p99"), ("p99", "p99"), Marker::Up, |rung| rung.figure(Of::P99))
};
const CONNECTS: Measure = measure(("", ""), ("", ""), Marker::Square, |rung| rung.figure(Of::Connects));

type Words = (&'static str, &'static str);

const fn measure(name: Words, short: Words, marker: Marker, of: fn(&Rung) -> Option<f64>) -> Measure {
    Measure { name, short, dash: "", marker, of }
}

/// One of the charts beside each other.
struct Small<'a> {
    id: &'static str,
    title: (&'static str, &'static str),
    axis: (&'static str, &'static str),
    measures: &'a [Measure],
    form: fn(f64) -> String,
}

/// A figure of the hover text: which, its name, how it is written.
type Row = (Of, (&'static str, &'static str), fn(f64) -> String);

/// Everything a chart of the climb needs.
#[derive(Clone, Copy)]
pub struct Views<'a> {
    pub climb: &'a Climb,
    pub looks: &'a [(String, Look)],
    pub lang: Lang,
}

impl Views<'_> {
    /// The headline: memory of the kernel and of the server against connections.
    pub fn memory(&self) -> String {
        let measures = [KERNEL, SERVER];
        let series = self.series(&measures, figures::bytes, true);
        let chart = Chart {
            id: format!("{}-memory", self.lang.key()),
            title: self.lang.pick("Memory against connections", "内存随连接数的变化").to_owned(),
            description: self.describe(&series, figures::bytes),
            y: Scale::log(values(&series), 1.5).of_bytes(),
            y_label: self.lang.pick("memory (log)", "内存（对数）").to_owned(),
            ..self.chart(&series, figures::bytes)
        };
        [WIDE, NARROW].iter().map(|frame| chart.render(&higher(frame, series.len()))).collect()
    }

    /// The small ones: a title and a picture each.
    pub fn small(&self) -> Vec<(String, String)> {
        let each = [
            Measure { of: |rung| rung.figure(Of::Kernel), ..KERNEL },
            Measure { of: Rung::server_each, ..SERVER },
        ];
        let p50 = Measure {
            name: ("p50", "p50"),
            short: ("p50", "p50"),
            of: |rung| rung.figure(Of::P50),
            ..KERNEL
        };
        let (connects, trips) = ([CONNECTS], [P99, p50]);
        let charts = [
            Small {
                id: "each",
                title: ("bytes a connection", "每个连接的字节"),
                axis: ("bytes", "字节"),
                measures: &each,
                form: plain,
            },
            Small {
                id: "connects",
                title: ("connects a second", "每秒新建连接"),
                axis: ("connects/s", "连接/秒"),
                measures: &connects,
                form: figures::rate,
            },
            Small {
                id: "trips",
                title: ("round trip of a random one", "随机一个连接的往返时间"),
                axis: ("time", "时间"),
                measures: &trips,
                form: figures::time,
            },
        ];
        charts.iter().filter_map(|small| self.one_small(small)).collect()
    }

    fn one_small(&self, small: &Small<'_>) -> Option<(String, String)> {
        let series = self.series(small.measures, small.form, false);
        if series.is_empty() {
            return None;
        }
        let title = self.lang.pick(small.title.0, small.title.1).to_owned();
        let chart = Chart {
            id: format!("{}-{}", self.lang.key(), small.id),
            title: title.clone(),
            description: self.describe(&series, small.form),
            y: Scale::from_zero(values(&series)),
            y_label: self.lang.pick(small.axis.0, small.axis.1).to_owned(),
            ..self.chart(&series, small.form)
        };
        Some((title, chart.render(&higher(&FRAME, series.len()))))
    }

    fn chart<'b>(&self, series: &'b [Series], form: fn(f64) -> String) -> Chart<'b> {
        let steps = self.climb.steps();
        let ends = series.iter().filter_map(|series| series.end.as_ref()).map(|end| end.at.0);
        let x = Scale::log(steps.iter().map(|step| *step as f64).chain(ends), 1.0);
        Chart {
            lang: self.lang,
            id: String::new(),
            title: String::new(),
            description: String::new(),
            series,
            x,
            y: x,
            x_ticks: steps.into_iter().map(|step| (step as f64, whole(step))).collect(),
            y_form: form,
            x_label: self.lang.pick("connections (log)", "连接数（对数）").to_owned(),
            y_label: String::new(),
        }
    }

    /// A line for each server and measure. `walls`: whether a line that was stopped ends in a cross.
    fn series(&self, measures: &[Measure], form: fn(f64) -> String, walls: bool) -> Vec<Series> {
        let one = self.looks.len() == 1;
        let mut all = Vec::new();
        for (line, look) in self.looks {
            let rungs = self.climb.line(line);
            for measure in measures {
                let (en, zh) = if one { measure.name } else { measure.short };
                let name = match (one, self.lang.pick(en, zh)) {
                    (_, "") => line.clone(),
                    (true, what) => what.to_owned(),
                    (false, what) => format!("{line} {what}"),
                };
                let look = Look { dash: measure.dash, marker: measure.marker, ..look.clone() };
                let points = rungs.iter().filter_map(|rung| {
                    let value = (measure.of)(rung).filter(|value| *value > 0.0)?;
                    Some(Point {
                        at: (rung.held as f64, value),
                        tip: self.tip(rung, &name, &form(value)),
                        hollow: false,
                        range: None,
                    })
                });
                let stopped = rungs.iter().find_map(|rung| Some((rung, rung.end()?))).filter(|_| walls);
                let end = stopped.map(|(rung, wall)| End {
                    at: (rung.held as f64, (measure.of)(rung)),
                    name: words::wall(self.lang, &wall.name).to_owned(),
                    tip: self.tip(rung, &name, &format!("✕ {}", words::wall(self.lang, &wall.name))),
                });
                let points = points.collect();
                all.push(Series { name, look, points, end, pale: false });
            }
        }
        all.retain(|series| !series.points.is_empty());
        all
    }

    fn tip(&self, rung: &Rung, name: &str, value: &str) -> String {
        let lang = self.lang;
        let mut text = format!("{} · {}\n{name}\t{value}", rung.line, lang.connections(rung.held));
        let rows: [Row; 5] = [
            (Of::Server, ("server's memory", "服务器内存"), figures::bytes),
            (Of::Kernel, ("kernel, a connection", "内核，每连接"), plain),
            (Of::Connects, ("connects a second", "每秒新建"), figures::rate),
            (Of::P50, ("round trip p50", "往返 p50"), figures::time),
            (Of::P99, ("round trip p99", "往返 p99"), figures::time),
        ];
        for (of, (en, zh), form) in rows {
            if let Some(value) = rung.figure(of) {
                text += &format!("\n{}\t{}", lang.pick(en, zh), form(value));
            }
        }
        text
    }

    fn describe(&self, series: &[Series], form: fn(f64) -> String) -> String {
        let line = |series: &Series| {
            let points: Vec<String> = series
                .points
                .iter()
                .map(|point| format!("{}: {}", whole(point.at.0 as u64), form(point.at.1)))
                .collect();
            format!("{}: {}.", series.name, self.lang.list(&points))
        };
        series.iter().map(line).collect::<Vec<_>>().join(" ")
    }
}

/// Names of two servers and two measures need more room at the right than a model's.
const FRAME: Frame = Frame { right: 138.0, ..SMALL };

/// Bytes that are compared with each other, in one unit.
pub fn plain(bytes: f64) -> String {
    whole(bytes.round() as u64)
}
