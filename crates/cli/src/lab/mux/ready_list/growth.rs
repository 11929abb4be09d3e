//! How a wait's cost grows: bars for the largest number watched as text, lines on two logarithmic axes as a drawing.

use super::{Facts, Model, Row};
use crate::lab::mux::kit::nanos;
use crate::lab::picture::{Paper, Picture, pad};
use crate::lab::said::said;
use crate::lab::svg::WIDTH;
use crate::lang::Lang;
use crate::report::markup::{escape, px};
use crate::report::scale::Scale;
use crate::walls::grouped;
use std::fmt::Write;

/// A name, its row's value, and the class that colours it.
type Line = (&'static str, fn(&Row) -> Model, &'static str);

const LINES: [Line; 3] = [
    ("select", |row| row.select, "k-reset"),
    ("poll", |row| row.poll, "s-wait"),
    ("epoll_wait", |row| row.epoll, "k-data"),
];

/// Picture of [`Facts`]: watched, and nanoseconds of select, poll and epoll.
#[derive(Debug)]
pub struct Growth {
    rows: Vec<Row>,
}

impl Growth {
    /// Of these facts.
    pub fn new(facts: &Facts) -> Self {
        Growth { rows: facts.rows.clone() }
    }

    fn costs(&self) -> impl Iterator<Item = f64> {
        self.rows.iter().flat_map(|row| LINES.map(|line| line.1(row).cost.best))
    }
}

impl Picture for Growth {
    fn text(&self, paper: &Paper) -> String {
        let Some(last) = self.rows.last() else { return String::new() };
        let watched = grouped(last.watched as u64);
        let title = match paper.lang {
            Lang::En => format!("one wait at {watched} watched, to scale"),
            Lang::Zh => format!("监听 {watched} 个时的一次等待（按比例）"),
        };
        let most = LINES.map(|line| line.1(last).cost.best).into_iter().fold(1.0, f64::max);
        let room = paper.width - 26;
        let mut text = format!("{}\n", paper.paint("1", &title));
        for (name, model, _) in LINES {
            let cost = model(last).cost.best;
            let bar = paper.paint("34", &blocks(cost / most * room as f64));
            let _ = writeln!(text, "  {} {bar} {}", pad(name, 11), nanos(cost));
        }
        text
    }

    fn svg(&self, lang: Lang) -> Option<(String, f64)> {
        let (top, bottom, left, right) = (44.0, 300.0, 70.0, WIDTH - 110.0);
        let x = Scale::log(self.rows.iter().map(|row| row.watched as f64), 1.0).over(left, right);
        let y = Scale::log(self.costs(), 1.3).over(bottom, top);
        let title = said("one wait, by how many are watched", "一次等待的代价与监听数");
        let mut drawing = format!("<text class=\"h2\" x=\"0\" y=\"18\">{}</text>", title.pick(lang));
        let mut put = |class: &str, (x, y): (f64, f64), text: &str| {
            let _ = write!(
                drawing,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                px(x),
                px(y),
                escape(text)
            );
        };
        let mut shapes = String::new();
        for cost in y.ticks(30.0) {
            let at = y.at(cost);
            let _ = write!(shapes, "<path class=\"rule\" d=\"M{} {}H{}\"/>", px(left), px(at), px(right));
            put("soft end", (left - 10.0, at + 5.0), &tick(cost));
        }
        for row in &self.rows {
            put("soft mid", (x.at(row.watched as f64), bottom + 22.0), &grouped(row.watched as u64));
        }
        put("soft", (right + 16.0, bottom + 22.0), lang.pick("watched", "监听数"));
        let mut lowest = f64::INFINITY;
        let mut names: Vec<(f64, &str)> = Vec::new();
        for (name, model, class) in LINES {
            let points: Vec<(f64, f64)> =
                self.rows.iter().map(|row| (x.at(row.watched as f64), y.at(model(row).cost.best))).collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{} {}", px(*x), px(*y))).collect();
            let _ = write!(shapes, "<path class=\"arrow {class}\" d=\"M{}\"/>", path.join("L"));
            for (x, y) in &points {
                let _ = write!(
                    shapes,
                    "<circle class=\"arrow {class}\" cx=\"{}\" cy=\"{}\" r=\"3\"/>",
                    px(*x),
                    px(*y)
                );
            }
            names.extend(points.last().map(|(_, y)| (*y, name)));
        }
        // Names that would cover each other move up.
        names.sort_by(|one, other| other.0.total_cmp(&one.0));
        for (at, name) in names {
            lowest = (at + 5.0).min(lowest - 17.0);
            put("text", (right + 10.0, lowest), name);
        }
        Some((format!("<g>{shapes}{drawing}</g>"), bottom + 36.0))
    }
}

/// A round number of nanoseconds: `300 us`.
fn tick(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.0} us", ns / 1e3),
        ns => format!("{:.0} ms", ns / 1e6),
    }
}

/// A bar so many columns long, in eighths; whatever is more than nothing is seen.
fn blocks(columns: f64) -> String {
    const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let eighths = (columns * 8.0).round().max(1.0) as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8 - 1]);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::mux::kit::Cost;

    fn facts() -> Facts {
        let model = |ns| Model { cost: Cost { best: ns, worst: ns }, looked_at: 3, found: 3 };
        let row = |watched, ns: [f64; 3]| {
            let [select, poll, epoll] = ns.map(model);
            Row { watched, select, poll, epoll, change: Cost { best: 1.0, worst: 1.0 } }
        };
        let rows = vec![row(10, [500.0, 390.0, 320.0]), row(10_000, [508_000.0, 523_000.0, 320.0])];
        Facts { rows, cut_by_limit: None }
    }

    #[test]
    fn bars_are_to_scale_and_never_nothing() {
        assert_eq!(blocks(0.0), "▏");
        assert_eq!(blocks(2.5), "██▌");
        let text = Growth::new(&facts()).text(&Paper { lang: Lang::En, color: false, width: 80 });
        let lengths: Vec<usize> = text.lines().skip(1).map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [52, 54, 0], "{text}");
    }

    #[test]
    fn the_drawing_has_three_lines_with_their_names() {
        let (drawing, _) = Growth::new(&facts()).svg(Lang::Zh).unwrap();
        assert_eq!(drawing.matches("<circle").count(), 6);
        for (name, _, _) in LINES {
            assert!(drawing.contains(name), "{drawing}");
        }
    }
}
