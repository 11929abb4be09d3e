//! What the terminal shows: a title, the diagram or the table or the help, and the keys.

use super::app::{App, Tab};
use super::{help, table};
use crate::lang::Lang;
use crate::states::diagram::page::sockets;
use crate::states::diagram::paint::{self, strokes};
use crate::states::diagram::plan::Plan;
use crate::states::diagram::{Edge, Path, Picture, words};
use crate::states::{columns, layout};
use crate::walls::grouped;
use duolu_sys::tcp_diag::TcpState;
use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

/// Title and keys.
const FRAME: u16 = 2;
/// Lines below the diagram: what stands out, the legend, how it is known.
const BELOW: u16 = 3;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.height <= FRAME {
        return;
    }
    title(buffer, area, app);
    let body = Rect { y: area.y + 1, height: area.height - FRAME, ..area };
    match (app.help, app.tab) {
        (true, _) => show_help(buffer, body, app),
        (_, Tab::Diagram) => diagram(buffer, body, app),
        (_, Tab::Table) => connections(buffer, body, app),
    }
    keys(buffer, Rect { y: area.y + area.height - 1, height: 1, ..area }, app);
}

fn title(buffer: &mut Buffer, area: Rect, app: &App) {
    let lang = app.lang;
    let mut left = format!(" duolu states {}", app.at.as_deref().unwrap_or(""));
    if !app.typed.is_empty() {
        left.push_str(&format!(" /{}", app.typed));
    }
    let left = left.trim_end().to_owned();
    let sockets = format!("   {}", sockets(lang, app.counted()));
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let line = Line::from(vec![Span::styled(left, bold), Span::raw(sockets)]);
    buffer.set_line(area.x, area.y, &line, area.width);
    let right = match (&app.failed, app.is_paused()) {
        (Some(why), _) => Line::styled(format!(" {why} "), app.ink.alarm()),
        (None, true) => {
            Line::styled(lang.pick(" PAUSED ", " 已暂停 "), bold.add_modifier(Modifier::REVERSED))
        }
        (None, false) => Line::default(),
    };
    let width = (right.width() as u16).min(area.width);
    buffer.set_line(area.x + area.width - width, area.y, &right, width);
}

fn keys(buffer: &mut Buffer, area: Rect, app: &App) {
    let lang = app.lang;
    if let Some(typing) = &app.typing {
        let hint = lang.pick(
            "  ports, states, processes; Enter applies, Esc does not",
            "  端口、状态、进程；回车生效，Esc 放弃",
        );
        let line = Line::from(vec![
            Span::styled(format!(" /{typing}"), Style::new().add_modifier(Modifier::BOLD)),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
            Span::styled(hint, app.ink.faint()),
        ]);
        buffer.set_line(area.x, area.y, &line, area.width);
        return;
    }
    let other = match app.tab {
        Tab::Diagram => ("Tab", lang.pick("table", "连接表")),
        Tab::Table => ("Tab", lang.pick("diagram", "状态图")),
    };
    let mut shown = vec![("q", lang.pick("quit", "退出")), ("p", lang.pick("pause", "暂停")), other];
    shown.push(("/", lang.pick("filter", "过滤")));
    if app.tab == Tab::Table {
        shown.push(("s", lang.pick("sort", "排序")));
    }
    shown.extend([("l", lang.pick("中文", "English")), ("?", lang.pick("help", "帮助"))]);
    let spans = shown.into_iter().flat_map(|(key, means)| {
        let key =
            Span::styled(format!(" {key} "), Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED));
        [key, Span::raw(format!(" {means}  "))]
    });
    buffer.set_line(area.x, area.y, &Line::from_iter(spans), area.width);
}

fn diagram(buffer: &mut Buffer, area: Rect, app: &App) {
    let Some(look) = app.look() else { return };
    let picture = &look.picture;
    let plan = Plan::fit(area.width, area.height.saturating_sub(BELOW))
        .or_else(|| Plan::fit(area.width, area.height));
    let Some(plan) = plan else { return counts(buffer, area, app, picture) };
    let left = area.x + (area.width - plan.width) / 2;
    let spare = area.height - plan.height;
    // A tall screen keeps the picture in its middle.
    let top = area.y + spare.saturating_sub(BELOW + 1) / 2;
    paint::paint(buffer, (left, top), &plan, picture, app.lang, app.ink);
    let below = below(app, picture, spare.min(BELOW + 1));
    let first = area.y + area.height - below.len() as u16;
    for (row, line) in (first..).zip(below) {
        buffer.set_line(left, row, &line, area.width - (left - area.x));
    }
}

/// What stands below the diagram, in the order of what it is worth, as much of it as there is room for.
fn below(app: &App, picture: &Picture, room: u16) -> Vec<Line<'static>> {
    let lang = app.lang;
    let keepers = app.look().map(|look| &look.keepers[..]).unwrap_or_default();
    let stale = words::stale(picture, keepers, lang).map(|text| Line::styled(text, app.ink.alarm()));
    let others = words::others(picture, lang);
    let others = (!others.is_empty()).then(|| {
        let head = lang.pick("Not on the diagram: ", "图上没有的：");
        Line::from(format!("{head}{}", lang.list(&others)))
    });
    let how = Line::styled(words::how(picture, lang), app.ink.faint());
    let mut lines: Vec<Line<'static>> = stale.into_iter().chain(others).collect();
    if lines.is_empty() {
        lines.push(Line::default());
    }
    // What is alarming, the legend and how it is known come first.
    lines.truncate(room.saturating_sub(2).max(1).into());
    lines.extend([legend(app), how]);
    lines.truncate(room.into());
    lines
}

fn legend(app: &App) -> Line<'static> {
    let parts = Path::ALL.into_iter().flat_map(|path| {
        let line = Span::styled(strokes(path)[0].repeat(2), app.ink.path(path).add_modifier(Modifier::BOLD));
        [line, Span::raw(format!(" {}  ", path.name(app.lang)))]
    });
    Line::from_iter(parts)
}

/// Where the diagram does not fit: a line for each state.
fn counts(buffer: &mut Buffer, area: Rect, app: &App, picture: &Picture) {
    let lang = app.lang;
    let mut lines: Vec<Line<'static>> = TcpState::ALL
        .into_iter()
        .filter(|state| *state != TcpState::Closed)
        .map(|state| {
            let arrive: f64 =
                Edge::ALL.iter().filter(|edge| edge.to() == state).map(|edge| picture.rate(*edge)).sum();
            let rate = if arrive > 0.0 {
                format!("+{}/s", crate::states::diagram::short(arrive))
            } else {
                String::new()
            };
            let note = paint::note(state, picture, lang).unwrap_or_default();
            let style = match picture.at(state) {
                _ if state == TcpState::CloseWait && picture.stale > 0 => app.ink.alarm(),
                0 => app.ink.faint(),
                _ => Style::new().add_modifier(Modifier::BOLD),
            };
            let count = grouped(picture.at(state));
            Line::from(vec![
                Span::styled(format!(" {:<12} {count:>9}", state.name()), style),
                Span::raw(format!(" {rate:>8}  {note}")),
            ])
        })
        .collect();
    let keepers = app.look().map(|look| &look.keepers[..]).unwrap_or_default();
    if let Some(stale) = words::stale(picture, keepers, lang) {
        lines.push(Line::styled(format!(" {stale}"), app.ink.alarm()));
    }
    let (columns, rows) = Plan::LEAST;
    lines.push(Line::styled(
        match lang {
            Lang::En => format!(" The diagram needs {columns} columns and {} rows.", rows + FRAME),
            Lang::Zh => format!(" 状态图需要 {columns} 列、{} 行。", rows + FRAME),
        },
        app.ink.faint(),
    ));
    for (row, line) in (area.y..area.y + area.height).zip(lines) {
        buffer.set_line(area.x, row, &line, area.width);
    }
}

fn connections(buffer: &mut Buffer, area: Rect, app: &mut App) {
    let Some(view) = app.view() else { return };
    let (lang, color) = (app.lang, app.ink.color);
    let width = usize::from(area.width).saturating_sub(1);
    let listeners = view.listeners();
    let mut lines: Vec<Line<'static>> = Vec::new();
    if !listeners.is_empty() {
        let most = usize::from(area.height / 3).max(1);
        let mut shown = columns::of_listeners(lang, &listeners[..listeners.len().min(most)]);
        layout::fit(&mut shown, Some(width));
        lines.extend(layout::render(&shown, color).lines().map(table::line));
        lines.push(Line::default());
    }
    let rows = app.sort.rows(&view);
    // Headings above, a line on what is shown below.
    let room = usize::from(area.height).saturating_sub(lines.len() + 2).max(1);
    let scroll = app.scroll.min(rows.len().saturating_sub(room));
    let shown = &rows[scroll..rows.len().min(scroll + room)];
    if !shown.is_empty() {
        let (columns, _) = columns::of_rows(lang, view.snapshot, shown, Some(width));
        lines.extend(layout::render(&columns, color).lines().map(table::line));
    }
    let (first, last, all) =
        (grouped(scroll as u64 + 1), grouped((scroll + shown.len()) as u64), grouped(rows.len() as u64));
    let by = app.sort.name(lang);
    let status = match (lang, shown.is_empty()) {
        (Lang::En, true) => "no connections".to_owned(),
        (Lang::Zh, true) => "没有连接".to_owned(),
        (Lang::En, false) => format!("{first} to {last} of {all} connections, by {by}"),
        (Lang::Zh, false) => format!("第 {first} 到 {last} 个，共 {all} 个连接，按{by}排序"),
    };
    drop(view);
    (app.scroll, app.page) = (scroll, room);
    for (row, line) in (area.y..area.y + area.height.saturating_sub(1)).zip(lines) {
        buffer.set_line(area.x + 1, row, &line, area.width.saturating_sub(1));
    }
    let status = Line::styled(status, app.ink.faint());
    buffer.set_line(area.x + 1, area.y + area.height - 1, &status, area.width.saturating_sub(1));
}

fn show_help(buffer: &mut Buffer, area: Rect, app: &mut App) {
    let Some(look) = app.look() else { return };
    let width = usize::from(area.width).saturating_sub(4).min(116);
    let lines = help::lines(&look.picture, app.lang, app.ink, width);
    let room = usize::from(area.height);
    app.scroll = app.scroll.min(lines.len().saturating_sub(room));
    app.page = room;
    for (row, line) in (area.y..area.y + area.height).zip(&lines[app.scroll..]) {
        buffer.set_line(area.x + 2, row, line, area.width.saturating_sub(2));
    }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
