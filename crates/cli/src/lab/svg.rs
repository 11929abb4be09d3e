//! Drawings for files: one SVG that stands alone, light or dark as its reader likes, without a network.

use super::picture::{Picture, Table};
use crate::lang::Lang;
use crate::report::markup::{ems, escape, px, wrap};
use std::fmt::Write;

/// How wide every drawing is.
pub const WIDTH: f64 = 760.0;

/// The classes that drawings use.
pub const STYLE: &str = include_str!("svg.css");

/// One drawing after the other.
pub fn stack(pictures: &[&dyn Picture], lang: Lang) -> Option<(String, f64)> {
    let (mut all, mut height) = (String::new(), 0.0);
    for (drawing, tall) in pictures.iter().filter_map(|picture| picture.svg(lang)) {
        let _ = write!(all, "<g transform=\"translate(0 {})\">{drawing}</g>", px(height));
        height += tall + 24.0;
    }
    (height > 0.0).then_some((all, height))
}

/// A file of its own, with a heading.
pub fn file(
    command: &str,
    title: &str,
    under: &[String],
    pictures: &[&dyn Picture],
    lang: Lang,
) -> Option<String> {
    let (drawing, tall) = stack(pictures, lang)?;
    let mut heading = format!("<text class=\"brand\" x=\"24\" y=\"34\">{}</text>", escape(command));
    let mut y = 66.0;
    for line in wrap(title, WIDTH / 24.0 / 1.03) {
        let _ = write!(heading, "<text class=\"h1\" x=\"24\" y=\"{}\">{}</text>", px(y), escape(&line));
        y += 31.0;
    }
    y -= 5.0;
    for line in under {
        let _ = write!(heading, "<text class=\"sub\" x=\"24\" y=\"{}\">{}</text>", px(y), escape(line));
        y += 20.0;
    }
    let (width, height) = (WIDTH + 48.0, y + tall + 12.0);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" lang=\"{lang}\" \
         role=\"img\" aria-label=\"{}\">\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{w}\" height=\"{h}\"/>\n\
         {heading}\n<g transform=\"translate(24 {})\">{drawing}</g>\n</svg>\n",
        escape(title),
        px(y + 4.0),
        w = px(width),
        h = px(height),
    ))
}

/// How wide a text is about, in pixels of a 14-pixel font.
pub fn wide(text: &str) -> f64 {
    ems(text) * 14.0
}

/// A table as a drawing.
pub fn table(table: &Table, lang: Lang) -> (String, f64) {
    let count = table.rows.first().map_or(0, Vec::len).max(1);
    let cell = |row: usize, at: usize| table.rows[row].get(at).map_or("", |cell| cell.pick(lang));
    let mut widths: Vec<f64> = (0..count)
        .map(|at| (0..table.rows.len()).map(|row| wide(cell(row, at))).fold(0.0, f64::max) + 26.0)
        .collect();
    let sum: f64 = widths.iter().sum();
    let scale = (WIDTH / sum.max(1.0)).min(1.25);
    widths.iter_mut().for_each(|width| *width *= scale);
    let mut drawing =
        format!("<text class=\"h2\" x=\"0\" y=\"18\">{}</text>", escape(table.title.pick(lang)));
    let mut y = 50.0;
    for row in 0..table.rows.len() {
        let mut x = 0.0;
        for (at, width) in widths.iter().enumerate() {
            let class = if row == 0 { "soft" } else { "text" };
            let _ = write!(
                drawing,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                px(x),
                px(y),
                escape(cell(row, at))
            );
            x += width;
        }
        let _ = write!(
            drawing,
            "<path class=\"rule\" d=\"M0 {y}H{x}\"/>",
            y = px(y + 9.0),
            x = px(widths.iter().sum::<f64>().min(WIDTH))
        );
        y += 28.0;
    }
    (format!("<g>{drawing}</g>"), y)
}
