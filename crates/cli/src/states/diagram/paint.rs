//! The diagram in a terminal: a plan's lines, states and labels, with a picture's numbers.
//!
//! The two ways through the figure differ by line (heavy, double, dashed) and by colour, so that neither a monochrome
//! terminal nor an eye that confuses two colours loses one.

use super::edge::{Edge, Path};
use super::picture::{Picture, short};
use super::plan::{Align, Area, Plan, Route};
use crate::lang::Lang;
use duolu_sys::tcp_diag::TcpState;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

/// How things look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ink {
    /// Colours are allowed.
    pub color: bool,
}

impl Ink {
    /// A way's own style.
    pub fn path(self, path: Path) -> Style {
        match path {
            Path::Client => self.tint(Color::Cyan),
            Path::Server => self.tint(Color::Magenta),
            Path::Rare => Style::new(),
        }
    }

    /// What somebody should look at.
    pub fn alarm(self) -> Style {
        self.tint(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// What is of less use.
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    fn tint(self, color: Color) -> Style {
        if self.color { Style::new().fg(color) } else { Style::new() }
    }
}

/// A way's line: along, down, and the four corners as seen from the line that comes out at right and bottom, bottom and
/// left, top and right, top and left.
pub const fn strokes(path: Path) -> [&'static str; 6] {
    match path {
        Path::Client => ["━", "┃", "┏", "┓", "┗", "┛"],
        Path::Server => ["═", "║", "╔", "╗", "╚", "╝"],
        Path::Rare => ["┄", "┆", "╭", "╮", "╰", "╯"],
    }
}

/// Draws the diagram with its left upper corner at `at`; the plan fits into the buffer.
pub fn paint(buffer: &mut Buffer, at: (u16, u16), plan: &Plan, picture: &Picture, lang: Lang, ink: Ink) {
    for route in &plan.routes {
        line(buffer, at, plan, route, picture, ink);
    }
    for route in &plan.routes {
        label(buffer, at, route, picture, lang, ink);
    }
    for (state, area) in &plan.nodes {
        node(buffer, at, *state, *area, picture, lang, ink);
    }
    let aside = Rect { x: at.0 + plan.aside.x, y: at.1 + plan.aside.y, width: plan.aside.w, height: 1 };
    buffer.set_stringn(aside.x, aside.y, accept(lang), aside.width.into(), ink.faint());
}

/// The call that everybody looks for on the diagram.
const fn accept(lang: Lang) -> &'static str {
    lang.pick("accept() moves nothing", "accept() 不改变状态")
}

/// How brightly an edge is drawn: it moves, it has moved, it has not.
fn glow(picture: &Picture, edge: Edge, ink: Ink) -> Style {
    let style = ink.path(edge.path());
    match (picture.lately.of(edge), picture.since.of(edge)) {
        (0, 0) => style.add_modifier(Modifier::DIM),
        (0, _) => style,
        _ => style.add_modifier(Modifier::BOLD),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
    Up,
    Down,
}

fn side((x, y): (u16, u16), (to_x, to_y): (u16, u16)) -> Side {
    if to_y == y {
        if to_x < x { Side::Left } else { Side::Right }
    } else if to_y < y {
        Side::Up
    } else {
        Side::Down
    }
}

fn line(buffer: &mut Buffer, at: (u16, u16), plan: &Plan, route: &Route, picture: &Picture, ink: Ink) {
    let cells = route.cells();
    let strokes = strokes(route.edge.path());
    let style = glow(picture, route.edge, ink);
    for (place, &(x, y)) in cells.iter().enumerate() {
        if route.align == Align::Inside && route.room.has(x, y) {
            continue;
        }
        // The first comes out of its state, the last goes into the other.
        let from = match place {
            0 => toward(plan, route.edge.from(), (x, y)),
            _ => Some(side((x, y), cells[place - 1])),
        };
        let to = match cells.get(place + 1) {
            Some(next) => Some(side((x, y), *next)),
            None => toward(plan, route.edge.to(), (x, y)),
        };
        let (Some(from), Some(to)) = (from, to) else { continue };
        let symbol = match (place + 1 == cells.len(), from, to) {
            (true, _, Side::Left) => "◀",
            (true, _, Side::Right) => "▶",
            (true, _, Side::Up) => "▲",
            (true, _, Side::Down) => "▼",
            (_, Side::Left | Side::Right, Side::Left | Side::Right) => strokes[0],
            (_, Side::Up | Side::Down, Side::Up | Side::Down) => strokes[1],
            (_, Side::Right, Side::Down) | (_, Side::Down, Side::Right) => strokes[2],
            (_, Side::Left, Side::Down) | (_, Side::Down, Side::Left) => strokes[3],
            (_, Side::Right, Side::Up) | (_, Side::Up, Side::Right) => strokes[4],
            (_, Side::Left, Side::Up) | (_, Side::Up, Side::Left) => strokes[5],
        };
        if let Some(cell) = buffer.cell_mut((at.0 + x, at.1 + y)) {
            cell.set_symbol(symbol).set_style(style);
        }
    }
}

/// The side of a cell on which a state stands.
fn toward(plan: &Plan, state: TcpState, (x, y): (u16, u16)) -> Option<Side> {
    let around = [
        (Side::Up, (Some(x), y.checked_sub(1))),
        (Side::Down, (Some(x), y.checked_add(1))),
        (Side::Left, (x.checked_sub(1), Some(y))),
        (Side::Right, (x.checked_add(1), Some(y))),
    ];
    around.into_iter().find_map(|(side, cell)| {
        let (x, y) = (cell.0?, cell.1?);
        plan.nodes.iter().any(|(node, area)| *node == state && area.has(x, y)).then_some(side)
    })
}

fn node(
    buffer: &mut Buffer,
    at: (u16, u16),
    state: TcpState,
    area: Area,
    picture: &Picture,
    lang: Lang,
    ink: Ink,
) {
    let count = picture.at(state);
    let stale = state == TcpState::CloseWait && picture.stale > 0;
    let style = match count {
        _ if stale => ink.alarm(),
        0 if state != TcpState::Closed => ink.faint(),
        _ => Style::new().add_modifier(Modifier::BOLD),
    };
    let rect = Rect { x: at.0 + area.x, y: at.1 + area.y, width: area.w, height: area.h };
    let number = match (state, count) {
        // Nothing stands in CLOSED but sockets that nobody has used yet.
        (TcpState::Closed, _) => String::new(),
        (_, count) if count < 1_000_000 => crate::walls::grouped(count),
        (_, count) => short(count as f64),
    };
    let number = if stale { format!("! {number}") } else { number };
    let inner = if area.h == 1 {
        let edges = if stale { style.add_modifier(Modifier::REVERSED) } else { style };
        buffer.set_string(rect.x, rect.y, "[", edges);
        buffer.set_string(rect.x + rect.width - 1, rect.y, "]", edges);
        Rect { x: rect.x + 1, width: rect.width - 2, ..rect }
    } else {
        let kind = if count > 0 { BorderType::Thick } else { BorderType::Rounded };
        let mut block = Block::bordered().border_type(kind).border_style(style);
        if let Some(note) = note(state, picture, lang) {
            block = block.title_bottom(Line::from(format!(" {note} ")).right_aligned());
        }
        let inner = block.inner(rect);
        block.render(rect, buffer);
        Rect { x: inner.x + 1, width: inner.width - 2, ..inner }
    };
    buffer.set_style(inner, style);
    buffer.set_string(inner.x, inner.y, state.name(), style);
    let end = inner.x + inner.width - Span::raw(&number).width() as u16;
    buffer.set_string(end, inner.y, &number, style);
}

/// What there is to say of a state beside its number.
pub fn note(state: TcpState, picture: &Picture, lang: Lang) -> Option<String> {
    match (state, picture.queue) {
        (TcpState::Listen, Some((length, bound))) if picture.at(state) > 0 => {
            Some(format!("{} {length}/{bound}", lang.pick("queue", "队列")))
        }
        (TcpState::CloseWait, _) if picture.stale > 0 => Some(match lang {
            Lang::En => format!("{} over 60 s", short(picture.stale as f64)),
            Lang::Zh => format!("{} 个 >60 秒", short(picture.stale as f64)),
        }),
        _ => None,
    }
}

fn label(buffer: &mut Buffer, at: (u16, u16), route: &Route, picture: &Picture, lang: Lang, ink: Ink) {
    let figure = if route.edge.is_never() { None } else { picture.figure(route.edge) };
    let rows = rows(&route.edge.cause(lang), figure.as_deref(), usize::from(route.room.w));
    let style = match picture.since.of(route.edge) {
        0 => ink.faint(),
        _ => Style::new(),
    };
    let of_figure = glow(picture, route.edge, ink).add_modifier(Modifier::BOLD);
    for (row, (words, figure)) in (0..route.room.h).zip(rows) {
        let gap = if words.is_empty() || figure.is_empty() { "" } else { " " };
        let mut line =
            Line::from(vec![Span::styled(words, style), Span::raw(gap), Span::styled(figure, of_figure)]);
        if route.align == Align::Inside {
            line.spans.insert(0, Span::raw(" "));
            line.spans.push(Span::raw(" "));
        }
        let width = line.width() as u16;
        let x = route.room.x
            + match route.align {
                Align::Left => 0,
                Align::Right => route.room.w.saturating_sub(width),
                Align::Inside => {
                    fill(buffer, at, route, width, picture, ink);
                    route.room.w.saturating_sub(width) / 2
                }
            };
        buffer.set_line(at.0 + x, at.1 + route.room.y + row, &line, route.room.w);
    }
}

/// The rest of a line that its label does not take.
fn fill(buffer: &mut Buffer, at: (u16, u16), route: &Route, width: u16, picture: &Picture, ink: Ink) {
    let style = glow(picture, route.edge, ink);
    let free = route.room.w.saturating_sub(width);
    let (before, after) = (free / 2, free - free / 2);
    let stroke = strokes(route.edge.path())[0];
    let y = at.1 + route.room.y;
    buffer.set_string(at.0 + route.room.x, y, stroke.repeat(before.into()), style);
    buffer.set_string(at.0 + route.room.x + route.room.w - after, y, stroke.repeat(after.into()), style);
}

/// Cause and figure in rows of at most `width` columns: words, and what stands after them in the same row.
fn rows(cause: &str, figure: Option<&str>, width: usize) -> Vec<(String, String)> {
    let wide = |text: &str| Span::raw(text).width();
    let mut rows: Vec<(String, String)> = Vec::new();
    for word in cause.split(' ') {
        match rows.last_mut() {
            Some((row, _)) if wide(row) + 1 + wide(word) <= width => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push((word.to_owned(), String::new())),
        }
    }
    if let Some(figure) = figure {
        match rows.last_mut() {
            Some((row, place)) if wide(row) + 1 + wide(figure) <= width => *place = figure.to_owned(),
            _ => rows.push((String::new(), figure.to_owned())),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::diagram::How;
    use std::time::Duration;

    /// Everything moves, with the widest figures there are.
    fn busy() -> Picture {
        let mut picture = Picture::empty(How::Traced { lost: 0 });
        for state in TcpState::ALL {
            picture.set(state, 123_456);
        }
        for edge in Edge::ALL {
            picture.lately.take_many(edge, 12_345);
            picture.since.take_many(edge, 12_345);
        }
        (picture.span, picture.queue) = (Duration::from_secs(1), Some((4096, 4096)));
        picture
    }

    #[test]
    fn every_label_fits_its_room_in_both_languages() {
        let figure = busy().figure(Edge::ActiveOpen).expect("it moves");
        assert_eq!(figure.len(), 7, "the widest");
        for (columns, rows_free) in [(78, 19), (80, 20), (110, 33), (120, 37)] {
            let plan = Plan::fit(columns, rows_free).expect("fits");
            for lang in Lang::BOTH {
                assert!(Span::raw(accept(lang)).width() <= usize::from(plan.aside.w));
            }
            for route in &plan.routes {
                for lang in Lang::BOTH {
                    let figure = (!route.edge.is_never()).then_some(figure.as_str());
                    let rows = rows(&route.edge.cause(lang), figure, usize::from(route.room.w));
                    let what = format!("{:?} in {lang} at {columns}: {rows:?}", route.edge);
                    assert!(rows.len() <= usize::from(route.room.h), "{what}");
                    for (words, figure) in rows {
                        let width = Span::raw(format!("{words} {figure}").trim()).width();
                        assert!(width <= usize::from(route.room.w), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn states_and_their_numbers_stand_where_the_plan_has_them() {
        for lang in Lang::BOTH {
            let plan = Plan::fit(80, 20).expect("fits");
            let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width: 80, height: 19 });
            paint(&mut buffer, (0, 0), &plan, &busy(), lang, Ink { color: false });
            for (state, area) in &plan.nodes {
                let text: String = (area.x..area.x + area.w).map(|x| buffer[(x, area.y)].symbol()).collect();
                let number = if *state == TcpState::Closed { "" } else { "123,456" };
                assert!(
                    text.starts_with(&format!("[{state} ")) && text.ends_with(&format!("{number}]")),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn the_two_ways_differ_without_colour() {
        for path in Path::ALL {
            for other in Path::ALL.into_iter().filter(|other| *other != path) {
                for (one, two) in strokes(path).iter().zip(strokes(other)) {
                    assert_ne!(*one, two, "{path:?} {other:?}");
                }
            }
            assert_ne!(Ink { color: true }.path(path), Ink { color: true }.alarm());
        }
    }
}
