//! The diagram as SVG: the arrangement of RFC 9293's figure 5, in pixels, with what each edge is to the program.
//!
//! Lines and places of labels are given by hand, edge by edge; a test with the widest figures in both languages keeps
//! them from lying on each other.

use super::edge::{Edge, Path};
use super::paint::note;
use super::picture::{Picture, short};
use crate::lang::Lang;
use crate::report::markup::{escape, px};
use duolu_sys::tcp_diag::TcpState;
use std::fmt::Write;

/// The drawing's width and height.
pub const SIZE: (f64, f64) = (1180.0, 838.0);
/// A state's.
const BOX: (f64, f64) = (208.0, 62.0);
const LEFT: f64 = 20.0;
const CENTRE: f64 = 486.0;
const RIGHT: f64 = 952.0;
const PITCH: f64 = 120.0;
/// The middle of the first row of states.
const FIRST: f64 = 68.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Anchor {
    Start,
    Middle,
    End,
}

/// Where an edge runs and where its two texts stand: cause and figure, and below or above it the program's side.
struct Line {
    way: Vec<(f64, f64)>,
    cause: (f64, f64),
    program: (f64, f64),
    anchor: Anchor,
}

fn mid(row: u8) -> f64 {
    FIRST + PITCH * f64::from(row)
}

fn top(row: u8) -> f64 {
    mid(row) - BOX.1 / 2.0
}

fn bottom(row: u8) -> f64 {
    mid(row) + BOX.1 / 2.0
}

/// Half-way between two rows of states.
fn between(row: u8) -> f64 {
    bottom(row) + (PITCH - BOX.1) / 2.0
}

/// CLOSED stands there twice, as in the RFC.
fn nodes() -> [(TcpState, f64, f64); 12] {
    use TcpState::*;
    [
        (Closed, CENTRE, top(0)),
        (Listen, CENTRE, top(1)),
        (SynReceived, LEFT, top(2)),
        (SynSent, RIGHT, top(2)),
        (Established, CENTRE, top(3)),
        (FinWait1, LEFT, top(4)),
        (CloseWait, RIGHT, top(4)),
        (FinWait2, LEFT, top(5)),
        (Closing, CENTRE, top(5)),
        (LastAck, RIGHT, top(5)),
        (TimeWait, CENTRE, top(6)),
        (Closed, RIGHT, top(6)),
    ]
}

fn line(edge: Edge) -> Line {
    use Anchor::*;
    let (left_end, centre_end) = (LEFT + BOX.0, CENTRE + BOX.0);
    let (way, cause, program, anchor) = match edge {
        Edge::PassiveOpen => {
            let (x, y) = (CENTRE + 40.0, between(0));
            (vec![(x, bottom(0)), (x, top(1))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::ListenerClosed => {
            let (x, y) = (CENTRE + 112.0, between(0));
            (vec![(x, top(1)), (x, bottom(0))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::ActiveOpen => {
            let (x, y) = (RIGHT + 146.0, mid(0) - 15.0);
            let text = centre_end + 14.0;
            (vec![(centre_end, y), (x, y), (x, top(2))], (text, y - 24.0), (text, y - 8.0), Start)
        }
        Edge::ConnectFailed => {
            let (x, y) = (RIGHT + 50.0, mid(0) + 15.0);
            let text = x - 12.0;
            (vec![(x, top(2)), (x, y), (centre_end, y)], (text, y + 22.0), (text, y + 38.0), End)
        }
        Edge::SynArrived => {
            let (x, y) = (CENTRE + 40.0, between(1));
            let (to, text) = (LEFT + 140.0, LEFT + 140.0);
            (vec![(x, bottom(1)), (x, y), (to, y), (to, top(2))], (text, y - 24.0), (text, y - 8.0), Start)
        }
        Edge::ListenerSends => {
            let (x, y) = (RIGHT + 18.0, mid(1));
            (vec![(centre_end, y), (x, y), (x, top(2))], (x - 12.0, y + 20.0), (x - 12.0, y + 36.0), End)
        }
        Edge::HandshakeReset => {
            let (x, y) = (LEFT + 50.0, mid(1));
            (vec![(x, top(2)), (x, y), (CENTRE, y)], (x, y - 24.0), (x, y - 8.0), Start)
        }
        Edge::BothOpened => {
            let (y, x) = (mid(2), CENTRE + BOX.0 / 2.0);
            (vec![(RIGHT, y), (left_end, y)], (x, y - 8.0), (x, y + 17.0), Middle)
        }
        Edge::Accepted => {
            let (x, y, to) = (LEFT + 140.0, between(2), CENTRE + 58.0);
            (
                vec![(x, bottom(2)), (x, y), (to, y), (to, top(3))],
                (x + 14.0, y - 8.0),
                (x + 14.0, y + 17.0),
                Start,
            )
        }
        Edge::Connected => {
            let (x, y, to) = (RIGHT + 56.0, between(2), CENTRE + 138.0);
            (
                vec![(x, bottom(2)), (x, y), (to, y), (to, top(3))],
                (x - 14.0, y - 8.0),
                (x - 14.0, y + 17.0),
                End,
            )
        }
        Edge::ClosedEarly => {
            let (x, y) = (LEFT + 50.0, mid(3));
            (vec![(x, bottom(2)), (x, top(4))], (x + 12.0, y), (x + 12.0, y + 16.0), Start)
        }
        Edge::ActiveClose => {
            let (x, y, to) = (CENTRE + 58.0, between(3), LEFT + 140.0);
            (
                vec![(x, bottom(3)), (x, y), (to, y), (to, top(4))],
                (to + 14.0, y - 8.0),
                (to + 14.0, y + 17.0),
                Start,
            )
        }
        Edge::FinArrived => {
            let (x, y, to) = (CENTRE + 138.0, between(3), RIGHT + 98.0);
            (
                vec![(x, bottom(3)), (x, y), (to, y), (to, top(4))],
                (to - 14.0, y - 8.0),
                (to - 14.0, y + 17.0),
                End,
            )
        }
        Edge::BothClosed => {
            let (x, y) = (CENTRE + 98.0, mid(4));
            (
                vec![(left_end, y), (x, y), (x, top(5))],
                (left_end + 20.0, y - 8.0),
                (left_end + 20.0, y + 17.0),
                Start,
            )
        }
        Edge::FinAcked => {
            let (x, y) = (LEFT + 98.0, between(4));
            (vec![(x, bottom(4)), (x, top(5))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::PassiveClose => {
            let (x, y) = (RIGHT + 98.0, between(4));
            (vec![(x, bottom(4)), (x, top(5))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::PeerClosed => {
            let (x, y) = (LEFT + 98.0, mid(6));
            (vec![(x, bottom(5)), (x, y), (CENTRE, y)], (x + 14.0, y - 24.0), (x + 14.0, y - 8.0), Start)
        }
        Edge::BothAcked => {
            let (x, y) = (CENTRE + 98.0, between(5));
            (vec![(x, bottom(5)), (x, top(6))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::LastAcked => {
            let (x, y) = (RIGHT + 98.0, between(5));
            (vec![(x, bottom(5)), (x, top(6))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::Expired => {
            let (y, x) = (mid(6), (centre_end + RIGHT) / 2.0);
            (vec![(centre_end, y), (RIGHT, y)], (x, y - 8.0), (x, y + 17.0), Middle)
        }
    };
    Line { way, cause, program, anchor }
}

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
mod tests {
    use super::*;
    use crate::report::labels::Rect;
    use crate::report::markup::ems;
    use crate::states::diagram::How;
    use std::time::Duration;

    /// Text sizes: causes and figures, and what they are to the program.
    const CAUSE: f64 = 13.5;
    const PROGRAM: f64 = 12.0;

    #[test]
    fn texts_are_as_large_as_they_are_measured() {
        let style = include_str!("drawing.css");
        for (class, size) in [("cause", CAUSE), ("program", PROGRAM), ("name", 13.5), ("note", 11.5)] {
            assert!(style.contains(&format!(".diagram .{class} {{ font-size: {size}px;")), "{class}");
        }
    }

    /// Everything moves, with the widest figures there are.
    fn busy() -> Picture {
        let mut picture = Picture::empty(How::Traced { lost: 0 });
        for state in TcpState::ALL {
            picture.set(state, 999_999);
        }
        for edge in Edge::ALL {
            picture.lately.take_many(edge, 12_345);
            picture.since.take_many(edge, 12_345);
        }
        (picture.span, picture.queue, picture.stale) = (Duration::from_secs(1), Some((4096, 4096)), 12_345);
        picture
    }

    fn text((x, y): (f64, f64), anchor: Anchor, text: &str, size: f64) -> Rect {
        let w = ems(text) * size;
        let x = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - w / 2.0,
            Anchor::End => x - w,
        };
        Rect { x, y: y - size * 0.8, w, h: size }
    }

    /// A line's straight pieces, as wide as a line can be.
    fn pieces(way: &[(f64, f64)]) -> Vec<Rect> {
        let half = thickness(1e9) / 2.0;
        way.windows(2)
            .map(|pair| {
                let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
                Rect {
                    x: x1.min(x2) - half,
                    y: y1.min(y2) - half,
                    w: (x1 - x2).abs() + 2.0 * half,
                    h: (y1 - y2).abs() + 2.0 * half,
                }
            })
            .collect()
    }

    #[test]
    fn nothing_lies_on_anything_else() {
        let picture = busy();
        let boxes: Vec<(String, Rect)> = nodes()
            .into_iter()
            .map(|(state, x, y)| (state.to_string(), Rect { x, y, w: BOX.0, h: BOX.1 }))
            .collect();
        for lang in Lang::BOTH {
            let mut texts = Vec::new();
            for edge in Edge::ALL {
                let line = line(edge);
                let cause = match figure(edge, &picture) {
                    Some(figure) => format!("{} {figure}", edge.cause(lang)),
                    None => edge.cause(lang),
                };
                texts.push((format!("{edge:?} cause"), text(line.cause, line.anchor, &cause, CAUSE)));
                let program = text(line.program, line.anchor, edge.program(lang), PROGRAM);
                texts.push((format!("{edge:?} program"), program));
            }
            let lines = Edge::ALL
                .into_iter()
                .flat_map(|edge| pieces(&line(edge).way).into_iter().map(move |r| (format!("{edge:?}"), r)));
            let others: Vec<(String, Rect)> = lines.chain(boxes.clone()).collect();
            for (at, (name, rect)) in texts.iter().enumerate() {
                let room = Rect { x: 0.0, y: 0.0, w: SIZE.0, h: SIZE.1 };
                assert!(rect.inside(&room), "{name} in {lang} leaves the drawing: {rect:?}");
                for (other, place) in others.iter().chain(&texts[at + 1..]) {
                    assert!(
                        rect.overlap(place) == 0.0,
                        "{name} lies on {other} in {lang}: {rect:?} {place:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn lines_neither_share_their_way_nor_cross_a_state() {
        let all: Vec<(Edge, Vec<Rect>)> =
            Edge::ALL.into_iter().map(|edge| (edge, pieces(&line(edge).way))).collect();
        for (at, (edge, one)) in all.iter().enumerate() {
            for (other, two) in &all[at + 1..] {
                let crossed = one.iter().any(|rect| two.iter().any(|other| rect.overlap(other) > 0.0));
                assert!(!crossed, "{edge:?} and {other:?}");
            }
            for (state, x, y) in nodes() {
                let inner = Rect { x: x + 4.0, y: y + 4.0, w: BOX.0 - 8.0, h: BOX.1 - 8.0 };
                assert!(one.iter().all(|rect| rect.overlap(&inner) == 0.0), "{edge:?} and {state}");
            }
        }
    }

    #[test]
    fn a_line_begins_and_ends_at_its_states() {
        for edge in Edge::ALL {
            let way = line(edge).way;
            let touches = |state: TcpState, (px, py): (f64, f64)| {
                nodes()
                    .into_iter()
                    .filter(|node| node.0 == state)
                    .any(|(_, x, y)| (x..=x + BOX.0).contains(&px) && (y..=y + BOX.1).contains(&py))
            };
            assert!(touches(edge.from(), way[0]), "{edge:?}");
            assert!(touches(edge.to(), way[way.len() - 1]), "{edge:?}");
        }
    }

    #[test]
    fn what_stands_in_a_state_fits_its_box() {
        let picture = busy();
        for lang in Lang::BOTH {
            for state in TcpState::ALL {
                let note = note(state, &picture, lang).unwrap_or_default();
                let used = ems(&note) * 11.5 + ems(state.name()) * 13.5 + 24.0;
                assert!(used <= BOX.0, "{state} in {lang}: {used}");
            }
        }
    }

    #[test]
    fn the_sentence_says_what_the_picture_shows() {
        let mut picture = Picture::empty(How::Sampled { refused: None });
        picture.set(TcpState::Listen, 1);
        assert_eq!(sentence(&picture, Lang::En), "Sockets: LISTEN 1. Transitions: none.");
        picture.since.take(Edge::ActiveOpen);
        let said = sentence(&picture, Lang::Zh);
        assert_eq!(said, "套接字：LISTEN 1。状态转换：CLOSED → SYN-SENT (connect() → SYN) ×1。");
    }
}
