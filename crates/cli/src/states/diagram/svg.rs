//! The diagram as SVG, with what each edge is to the program. Where everything stands is in [`super::places`].

use super::edge::{Edge, Path};
use super::paint::note;
use super::picture::{Picture, short};
use super::places::{Anchor, BOX, SIZE, line, nodes};
use crate::lang::Lang;
use crate::report::markup::{escape, px};
use duolu_sys::tcp_diag::TcpState;
use std::fmt::Write;

/// The `<svg>`. `id` is unique in the file; `style` goes into it, for a file of its own.
pub fn render(id: &str, picture: &Picture, lang: Lang, title: &str, style: Option<&str>) -> String {
    let (width, height) = SIZE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"diagram\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         lang=\"{lang}\" aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        escape(title),
        escape(&sentence(picture, lang))
    );
    if let Some(style) = style {
        let _ = write!(
            svg,
            "<style>{style}</style><rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>"
        );
    }
    for path in Path::ALL {
        let key = path.key();
        let _ = write!(
            svg,
            "<marker id=\"{id}-{key}\" class=\"{key}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"11\" \
             markerHeight=\"11\" markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head\" d=\"M0 0.8L10 5L0 9.2Z\"/></marker>"
        );
    }
    // What moves lies over what does not.
    let mut edges = Edge::ALL;
    edges.sort_by_key(|edge| (picture.since.of(*edge) > 0, picture.lately.of(*edge) > 0));
    for edge in edges {
        draw_edge(&mut svg, id, edge, picture, lang);
    }
    for (state, x, y) in nodes() {
        draw_node(&mut svg, state, (x, y), picture, lang);
    }
    svg.push_str("</svg>");
    svg
}

fn draw_edge(svg: &mut String, id: &str, edge: Edge, picture: &Picture, lang: Lang) {
    let line = line(edge);
    let key = edge.path().key();
    let (rate, total) = (picture.rate(edge), picture.since.of(edge));
    let glow = match (rate > 0.0, total) {
        (true, _) => "moves",
        (false, 0) => "still",
        (false, _) => "moved",
    };
    let anchor = match line.anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let _ = write!(
        svg,
        "<g class=\"edge {key} {glow}\" data-edge=\"{edge:?}\"><path class=\"l\" style=\"stroke-width:{}\" \
         marker-end=\"url(#{id}-{key})\" d=\"{}\"/><text class=\"cause\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}{}</text>\
         <text class=\"program\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text></g>",
        px(thickness(rate)),
        rounded(&line.way),
        px(line.cause.0),
        px(line.cause.1),
        escape(&edge.cause(lang)),
        match figure(edge, picture) {
            Some(figure) => format!(" <tspan class=\"figure\">{}</tspan>", escape(&figure)),
            None => String::new(),
        },
        px(line.program.0),
        px(line.program.1),
        escape(edge.program(lang))
    );
}

fn figure(edge: Edge, picture: &Picture) -> Option<String> {
    if edge.is_never() { None } else { picture.figure(edge) }
}

/// From 2 pixels on, and one more for each ten times as many a second.
fn thickness(rate: f64) -> f64 {
    2.0 + (rate + 1.0).log10().min(4.0)
}

/// Straight pieces with round corners.
fn rounded(way: &[(f64, f64)]) -> String {
    const RADIUS: f64 = 12.0;
    let mut path = format!("M{} {}", px(way[0].0), px(way[0].1));
    for three in way.windows(3) {
        let [before, corner, after] = [three[0], three[1], three[2]];
        let toward = |other: (f64, f64)| {
            let (dx, dy) = (other.0 - corner.0, other.1 - corner.1);
            let length = dx.hypot(dy).max(1.0);
            let step = RADIUS.min(length / 2.0) / length;
            (corner.0 + dx * step, corner.1 + dy * step)
        };
        let (from, to) = (toward(before), toward(after));
        let _ = write!(
            path,
            "L{} {}Q{} {} {} {}",
            px(from.0),
            px(from.1),
            px(corner.0),
            px(corner.1),
            px(to.0),
            px(to.1)
        );
    }
    if let Some(last) = way.last() {
        let _ = write!(path, "L{} {}", px(last.0), px(last.1));
    }
    path
}

fn draw_node(svg: &mut String, state: TcpState, (x, y): (f64, f64), picture: &Picture, lang: Lang) {
    let count = picture.at(state);
    let stale = state == TcpState::CloseWait && picture.stale > 0;
    let class = match count {
        _ if stale => "alarm",
        _ if state == TcpState::Closed => "closed",
        0 => "empty",
        _ => "full",
    };
    // A million fills the box; each tenth of that is a sixth of it less.
    let share = ((count + 1) as f64).log10().min(6.0) / 6.0;
    let _ = write!(
        svg,
        "<g class=\"node {class}\"><rect class=\"box\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"10\"/>",
        px(x),
        px(y),
        px(BOX.0),
        px(BOX.1)
    );
    if state == TcpState::Closed {
        let _ = write!(
            svg,
            "<text class=\"name\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{state}</text></g>",
            px(x + BOX.0 / 2.0),
            px(y + BOX.1 / 2.0 + 5.0)
        );
        return;
    }
    let note = note(state, picture, lang).unwrap_or_default();
    let _ = write!(
        svg,
        "<rect class=\"bar\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"4\" rx=\"2\"/>\
         <text class=\"name\" x=\"{}\" y=\"{}\">{state}</text>\
         <text class=\"note\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <text class=\"count\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text></g>",
        px(x + 12.0),
        px(y + BOX.1 - 9.0),
        px((BOX.0 - 24.0) * share),
        px(x + 12.0),
        px(y + 22.0),
        px(x + BOX.0 - 12.0),
        px(y + 22.0),
        escape(&note),
        px(x + BOX.0 - 12.0),
        px(y + 46.0),
        number(count)
    );
}

fn number(count: u64) -> String {
    if count < 1_000_000 { crate::walls::grouped(count) } else { short(count as f64) }
}

/// The two ways, and what lies beside them, as a list of HTML.
pub fn legend(lang: Lang) -> String {
    let item = |path: Path| {
        format!(
            "<li class=\"{}\"><svg viewBox=\"0 0 46 12\" aria-hidden=\"true\"><line x1=\"0\" y1=\"6\" x2=\"38\" y2=\"6\"/>\
             <path d=\"M36 1.5L46 6L36 10.5Z\"/></svg>{}</li>",
            path.key(),
            escape(path.name(lang))
        )
    };
    format!("<ul class=\"legend\">{}</ul>", Path::ALL.map(item).concat())
}

/// The picture in a sentence: where sockets stand and what moves.
pub fn sentence(picture: &Picture, lang: Lang) -> String {
    let standing: Vec<String> = TcpState::ALL
        .into_iter()
        .filter(|state| picture.at(*state) > 0)
        .map(|state| format!("{state} {}", number(picture.at(state))))
        .collect();
    let moving: Vec<String> = Edge::ALL
        .into_iter()
        .filter_map(|edge| {
            let figure = figure(edge, picture)?;
            Some(format!("{} → {} ({}) {figure}", edge.from(), edge.to(), edge.cause(lang)))
        })
        .collect();
    let part = |head: (&str, &str), parts: &[String]| match parts {
        [] => format!("{}{}", lang.pick(head.0, head.1), lang.pick("none.", "无。")),
        parts => format!("{}{}{}", lang.pick(head.0, head.1), lang.list(parts), lang.pick(".", "。")),
    };
    let gap = lang.pick(" ", "");
    format!(
        "{}{gap}{}",
        part(("Sockets: ", "套接字："), &standing),
        part(("Transitions: ", "状态转换："), &moving)
    )
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;
