//! Lines in a frame, as SVG. Written here and not with a drawing crate: each element carries a class (so that one
//! file serves light, dark and print), a text alternative and a hover value; labels are placed by what they would
//! cover; and a line ends in a cross with a name. Drawing crates give finished pixels of one colour.

use super::labels::{Rect, column, place};
use super::look::{Look, cross};
use super::markup::{cut, ems, escape, px, wrap};
use super::scale::Scale;
use crate::lang::Lang;
use std::fmt::Write;

/// A measured point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Its values.
    pub at: (f64, f64),
    /// What a pointer on it is told; the first line is the title.
    pub tip: String,
    /// Whether it is only a lower bound: drawn hollow.
    pub hollow: bool,
    /// The lowest and highest value over the repeats.
    pub range: Option<(f64, f64)>,
}

/// The wall at the end of a line.
#[derive(Clone, Debug)]
pub struct End {
    /// Where: how many connections it held, and a latency if there was one.
    pub at: (f64, Option<f64>),
    /// The wall's name.
    pub name: String,
    /// What a pointer on it is told.
    pub tip: String,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// What it looks like.
    pub look: Look,
    /// Its points, by x.
    pub points: Vec<Point>,
    /// Its end, if a wall ended it.
    pub end: Option<End>,
    /// An older result behind the new one: pale, without a name.
    pub pale: bool,
}

/// The size of a chart and of the room around its lines.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Width.
    pub w: f64,
    /// Height.
    pub h: f64,
    /// Room at the left, for the ticks.
    pub left: f64,
    /// Room at the right, for the names.
    pub right: f64,
    /// The size of letters.
    pub font: f64,
    /// Whether the walls' names are written at their crosses.
    pub walls: bool,
    /// The CSS class, which says on which pages it is seen.
    pub class: &'static str,
}

/// A chart.
#[derive(Debug)]
pub struct Chart<'a> {
    /// The language of its text.
    pub lang: Lang,
    /// A name that is unique in the file.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// What is seen, in words.
    pub description: String,
    /// The lines.
    pub series: &'a [Series],
    /// The axes, not yet of a size.
    pub x: Scale,
    /// The axes, not yet of a size.
    pub y: Scale,
    /// The ticks of the x axis.
    pub x_ticks: Vec<(f64, String)>,
    /// How the ticks of the y axis are written.
    pub y_form: fn(f64) -> String,
    /// What the axes are.
    pub x_label: String,
    /// What the axes are.
    pub y_label: String,
}

/// Names are bold, and wider for it.
const BOLD: f64 = 1.08;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;

/// A line in pixels.
struct Drawn<'a> {
    series: &'a Series,
    points: Vec<(f64, f64)>,
    cross: Option<(f64, f64)>,
}

impl Drawn<'_> {
    fn last(&self) -> Option<(f64, f64)> {
        self.cross.or(self.points.last().copied())
    }
}

impl Chart<'_> {
    /// The SVG element.
    pub fn render(&self, frame: &Frame) -> String {
        let plot =
            Rect { x: frame.left, y: TOP, w: frame.w - frame.left - frame.right, h: frame.h - TOP - BOTTOM };
        let inset = 10.0; // markers at the ends of the x axis are whole
        let x = self.x.over(plot.x + inset, plot.x + plot.w - inset);
        let y = self.y.over(plot.y + plot.h, plot.y);
        let drawn: Vec<Drawn<'_>> = self.series.iter().map(|series| draw(series, &x, &y, &plot)).collect();
        let id = format!("{}-{}", self.id, frame.class);
        let mut svg = format!(
            "<svg class=\"chart {}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\" \
             font-size=\"{}\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
            frame.class,
            px(frame.w),
            px(frame.h),
            px(frame.font),
            escape(&self.title),
            escape(&self.description)
        );
        self.axes(&mut svg, frame, &plot, &x, &y);
        // Pale ones first, so that the new result lies on top of the old.
        for pale in [true, false] {
            for line in drawn.iter().filter(|line| line.series.pale == pale) {
                self.line(&mut svg, line, &y);
            }
        }
        self.names(&mut svg, frame, &plot, &drawn);
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, frame: &Frame, plot: &Rect, x: &Scale, y: &Scale) {
        let (right, bottom) = (plot.x + plot.w, plot.y + plot.h);
        svg.push_str("<g class=\"axes\">");
        let mut grid = String::new();
        for tick in self.y.over(bottom, plot.y).ticks(frame.font * 2.0) {
            let at = y.at(tick);
            let _ = write!(grid, "M{} {}H{}", px(plot.x), px(at), px(right));
            let text = super::figures::tick(tick, self.y_form);
            label(svg, (plot.x - 8.0, at + frame.font * 0.35), "end", "tick", &text);
        }
        let _ = write!(svg, "<path class=\"grid\" d=\"{grid}\"/>");
        let mut ticks = String::new();
        let mut written: Vec<(f64, f64)> = Vec::new();
        // The last tick first: the top rung is the one that is read.
        for (value, text) in self.x_ticks.iter().rev() {
            let at = x.at(*value);
            let half = ems(text) * frame.font / 2.0 + 4.0;
            let _ = write!(ticks, "M{} {}v5", px(at), px(bottom));
            if written.iter().all(|(left, end)| at + half < *left || at - half > *end) {
                label(svg, (at, bottom + 6.0 + frame.font), "middle", "tick", text);
                written.push((at - half, at + half));
            }
        }
        let _ =
            write!(svg, "<path class=\"axis\" d=\"M{} {}H{}{ticks}\"/>", px(plot.x), px(bottom), px(right));
        label(svg, (2.0, frame.font + 2.0), "start", "axis-name", &self.y_label);
        label(svg, (plot.x + plot.w, frame.h - 5.0), "end", "axis-name", &self.x_label);
        svg.push_str("</g>\n");
    }

    fn line(&self, svg: &mut String, line: &Drawn<'_>, y: &Scale) {
        let series = line.series;
        let _ = write!(
            svg,
            "<g class=\"s {}{}\" data-s=\"{}\">",
            series.look.class,
            if series.pale { " pale" } else { "" },
            escape(&series.name)
        );
        let mut path = String::new();
        for (at, point) in line.points.iter().chain(&line.cross).enumerate() {
            let _ = write!(path, "{}{} {}", if at == 0 { 'M' } else { 'L' }, px(point.0), px(point.1));
        }
        if line.points.len() + usize::from(line.cross.is_some()) > 1 {
            let _ = write!(svg, "<path class=\"l\" stroke-dasharray=\"{}\" d=\"{path}\"/>", series.look.dash);
        }
        // Curves of many points have a marker now and then; all of them can be hovered.
        let each = line.points.len().div_ceil(8).max(1);
        let count = line.points.len();
        for (at, (point, place)) in series.points.iter().zip(&line.points).enumerate() {
            if let Some((low, high)) = point.range {
                let (x, low, high) = (px(place.0), px(y.at(low)), px(y.at(high)));
                let _ = write!(svg, "<path class=\"range\" d=\"M{x} {low}V{high}\"/>");
            }
            let shown = (count - 1 - at).is_multiple_of(each);
            let size = if series.pale { 2.6 } else { 4.0 };
            let shape = if shown { series.look.marker.path(*place, size) } else { String::new() };
            let class = if point.hollow { "dot hollow" } else { "dot" };
            hover(svg, *place, &point.tip, &format!("<path class=\"{class}\" d=\"{shape}\"/>"));
        }
        if let (Some(end), Some(place)) = (&series.end, line.cross) {
            let size = if series.pale { 4.0 } else { 6.0 };
            let d = cross(place, size);
            let mark = format!("<path class=\"halo\" d=\"{d}\"/><path class=\"x\" d=\"{d}\"/>");
            hover(svg, place, &end.tip, &mark);
        }
        svg.push_str("</g>\n");
    }

    /// The names: in a column at the right for lines that reach the right edge, at their end for others.
    fn names(&self, svg: &mut String, frame: &Frame, plot: &Rect, drawn: &[Drawn<'_>]) {
        let edge = plot.x + plot.w * 0.93;
        let named = || drawn.iter().filter(|line| !line.series.pale);
        let reach: Vec<&Drawn<'_>> =
            named().filter(|line| line.last().is_some_and(|at| at.0 >= edge)).collect();
        let taken = self.column(svg, frame, plot, &reach);
        let early: Vec<&Drawn<'_>> =
            named().filter(|line| line.last().is_some_and(|at| at.0 < edge)).collect();
        self.blocks(svg, frame, plot, drawn, &early, taken);
    }

    fn column(&self, svg: &mut String, frame: &Frame, plot: &Rect, lines: &[&Drawn<'_>]) -> Vec<Rect> {
        let height = frame.font * 1.3;
        let has_wall = |line: &Drawn<'_>| frame.walls && line.series.end.is_some();
        let wanted: Vec<(f64, f64)> = lines
            .iter()
            .filter_map(|line| Some((line.last()?.1, if has_wall(line) { height * 2.0 } else { height })))
            .collect();
        let left = plot.x + plot.w + frame.font * 1.5;
        let room = (frame.w - left - 8.0) / frame.font;
        // Beside the lines; beyond them only where there are too many, since the ticks are there.
        let needed: f64 = wanted.iter().map(|(_, height)| height).sum();
        let fits = needed <= plot.h;
        let (top, bottom) = if fits { (plot.y - 8.0, plot.y + plot.h + 4.0) } else { (14.0, frame.h - 18.0) };
        let middles = column(&wanted, top, bottom);
        svg.push_str("<g class=\"names\">");
        for ((line, middle), (_, tall)) in lines.iter().zip(middles).zip(&wanted) {
            let Some(end) = line.last() else { continue };
            let first = if has_wall(line) { middle - tall / 4.0 } else { middle };
            open(svg, line.series);
            let bend = plot.x + plot.w + 2.0;
            let _ = write!(
                svg,
                "<path class=\"lead\" d=\"M{} {}H{}L{} {}\"/><path class=\"dot\" d=\"{}\"/>",
                px(end.0 + 7.0),
                px(end.1),
                px(bend.max(end.0 + 7.0)),
                px(left - 6.0),
                px(first),
                line.series.look.marker.path((left, first), 3.4)
            );
            let at = (left + 8.0, first + frame.font * 0.35);
            label(svg, at, "start", "name", &cut(&line.series.name, room));
            if let (true, Some(end)) = (has_wall(line), &line.series.end) {
                let at = (left + 8.0, first + height + frame.font * 0.3);
                label(svg, at, "start", "wall", &cut(&format!("✕ {}", end.name), room));
            }
            svg.push_str("</g>");
        }
        svg.push_str("</g>\n");
        let ends = lines.iter().filter_map(|line| line.last());
        ends.map(|(x, y)| Rect { x: x - 8.0, y: y - 8.0, w: 16.0, h: 16.0 }).collect()
    }

    /// Lines that end early: one block of text for those that end at about the same place at the same wall.
    fn blocks(
        &self,
        svg: &mut String,
        frame: &Frame,
        plot: &Rect,
        drawn: &[Drawn<'_>],
        lines: &[&Drawn<'_>],
        mut taken: Vec<Rect>,
    ) {
        let ink: Vec<(f64, f64)> = drawn.iter().filter(|line| !line.series.pale).flat_map(ink).collect();
        taken.extend(lines.iter().filter_map(|line| line.last()).map(|(x, y)| Rect {
            x: x - 8.0,
            y: y - 8.0,
            w: 16.0,
            h: 16.0,
        }));
        let mut clusters: Vec<Vec<&Drawn<'_>>> = Vec::new();
        for line in lines {
            let wall = |line: &Drawn<'_>| line.series.end.as_ref().map(|end| end.name.clone());
            let near = |other: &&Drawn<'_>| match (line.last(), other.last()) {
                (Some(one), Some(two)) => {
                    (one.0 - two.0).hypot(one.1 - two.1) < frame.font * if frame.walls { 6.0 } else { 3.0 }
                }
                _ => false,
            };
            let same = |cluster: &&mut Vec<&Drawn<'_>>| {
                cluster.iter().any(near) && (!frame.walls || wall(cluster[0]) == wall(line))
            };
            match clusters.iter_mut().find(same) {
                Some(cluster) => cluster.push(line),
                None => clusters.push(vec![line]),
            }
        }
        for cluster in clusters {
            self.block(svg, frame, plot, &cluster, &ink, &mut taken);
        }
    }

    fn block(
        &self,
        svg: &mut String,
        frame: &Frame,
        plot: &Rect,
        cluster: &[&Drawn<'_>],
        ink: &[(f64, f64)],
        taken: &mut Vec<Rect>,
    ) {
        // A small chart has a legend above it: a heap of names would only hide the lines.
        if !frame.walls && cluster.len() > 3 {
            return;
        }
        let Some(point) = cluster.iter().find_map(|line| line.last()) else { return };
        let most = if frame.walls { (plot.w * 0.55 / frame.font).min(21.0) } else { 11.0 };
        let wall = cluster[0].series.end.as_ref().filter(|_| frame.walls);
        let mut rows: Vec<(&str, String)> = Vec::new();
        let title = wall.map(|wall| wrap(&format!("✕ {}", wall.name), most)).unwrap_or_default();
        rows.extend(title.into_iter().map(|row| ("wall", row)));
        let mut row = String::new();
        for (at, line) in cluster.iter().enumerate() {
            let comma = if at + 1 < cluster.len() { self.lang.pick(", ", "、") } else { "" };
            let name = cut(&line.series.name, most - 1.0) + comma;
            if !row.is_empty() && ems(&row) + ems(&name) > most {
                rows.push(("name", row.trim_end().to_owned()));
                row.clear();
            }
            row.push_str(&name);
        }
        rows.push(("name", row));
        let height = frame.font * 1.25;
        let widest = rows.iter().map(|(_, text)| ems(text)).fold(0.0, f64::max) * frame.font;
        let size = (widest * BOLD + 4.0, height * rows.len() as f64);
        let room = Rect { x: plot.x + 4.0, y: TOP - 6.0, w: plot.w - 4.0, h: plot.h };
        let rect = place(point, size, &room, taken, ink);
        taken.push(rect);
        let alone = cluster.len() == 1;
        if alone {
            open(svg, cluster[0].series);
        } else {
            svg.push_str("<g class=\"s m-many\">");
        }
        let touch = rect.nearest(point);
        if (touch.0 - point.0).hypot(touch.1 - point.1) > 14.0 {
            let _ = write!(
                svg,
                "<path class=\"lead\" d=\"M{} {}L{} {}\"/>",
                px(point.0),
                px(point.1),
                px(touch.0),
                px(touch.1)
            );
        }
        for (at, (class, text)) in rows.iter().enumerate() {
            let y = rect.y + height * (at as f64 + 0.78);
            label(svg, (rect.x + 2.0, y), "start", &format!("{class} over"), text);
        }
        svg.push_str("</g>\n");
    }
}

fn open(svg: &mut String, series: &Series) {
    let _ = write!(svg, "<g class=\"s {}\" data-s=\"{}\">", series.look.class, escape(&series.name));
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, class: &str, text: &str) {
    let _ = write!(
        svg,
        "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
        px(x),
        px(y),
        escape(text)
    );
}

fn hover(svg: &mut String, (x, y): (f64, f64), tip: &str, shape: &str) {
    let (x, y) = (px(x), px(y));
    let _ =
        write!(svg, "<g class=\"p\" data-x=\"{x}\" data-y=\"{y}\"><title>{}</title>{shape}</g>", escape(tip));
}

/// A line in pixels. A wall at which not one answer came stands where the line was; a line without any answer ends
/// at the top: its latency has no bound.
fn draw<'a>(series: &'a Series, x: &Scale, y: &Scale, plot: &Rect) -> Drawn<'a> {
    let points: Vec<(f64, f64)> =
        series.points.iter().map(|point| (x.at(point.at.0), y.at(point.at.1))).collect();
    let cross = series.end.as_ref().map(|end| {
        let height = end.at.1.map(|value| y.at(value));
        let height = height.or_else(|| points.last().map(|point| point.1)).unwrap_or(plot.y + 8.0);
        (x.at(end.at.0), height)
    });
    Drawn { series, points, cross }
}

/// Points each few pixels along a line: what a label should not cover.
fn ink(line: &Drawn<'_>) -> Vec<(f64, f64)> {
    let corners: Vec<(f64, f64)> = line.points.iter().chain(&line.cross).copied().collect();
    let mut ink = corners.clone();
    for pair in corners.windows(2) {
        let (dx, dy) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        let steps = (dx.hypot(dy) / 6.0).ceil().clamp(1.0, 400.0);
        ink.extend((1..steps as u32).map(|step| {
            let share = f64::from(step) / steps;
            (pair[0].0 + dx * share, pair[0].1 + dy * share)
        }));
    }
    ink
}
