//! The table of connections: the order of its lines, and its columns as a terminal's lines.

use crate::inspect::{Snapshot, Socket};
use crate::lang::Lang;
use crate::states::view::{End, Row, View};
use duolu_sys::tcp_diag::TcpState;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use std::cmp::Reverse;

/// By what it is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// By the states, in the order of a connection's life.
    State,
    /// Who has been in its state for longest.
    Age,
    /// Where most bytes wait.
    Queues,
    /// By the process.
    Holder,
    /// By address and port.
    Address,
}

impl Sort {
    /// All, in the order in which `s` goes through them.
    const ALL: [Sort; 5] = [Sort::State, Sort::Age, Sort::Queues, Sort::Holder, Sort::Address];

    /// The one after it.
    pub fn next(self) -> Self {
        Sort::ALL[(self as usize + 1) % Sort::ALL.len()]
    }

    /// What it goes by.
    pub const fn name(self, lang: Lang) -> &'static str {
        match self {
            Sort::State => lang.pick("state", "状态"),
            Sort::Age => lang.pick("age", "时长"),
            Sort::Queues => lang.pick("queues", "队列"),
            Sort::Holder => lang.pick("process", "进程"),
            Sort::Address => lang.pick("address", "地址"),
        }
    }

    /// A view's lines in this order; those that it makes equal keep the order of life.
    pub fn rows<'a>(self, view: &View<'a>) -> Vec<Row<'a>> {
        let mut rows = view.rows();
        match self {
            Sort::State => {}
            Sort::Age => rows.sort_by_cached_key(|row| Reverse(ages(view.snapshot, row))),
            Sort::Queues => rows.sort_by_cached_key(|row| Reverse(queued(row))),
            Sort::Holder => rows.sort_by_cached_key(holder),
            Sort::Address => rows.sort_by_cached_key(|row| (row.right.address, row.left.address)),
        }
        rows
    }
}

fn ends<'a>(row: &Row<'a>) -> impl Iterator<Item = &'a Socket> + use<'a> {
    [row.left, row.right].into_iter().filter_map(|end: End<'a>| end.there.socket())
}

fn ages(snapshot: &Snapshot, row: &Row<'_>) -> u64 {
    ends(row).filter_map(|socket| snapshot.age(socket)).map(|age| age.ms).max().unwrap_or(0)
}

fn queued(row: &Row<'_>) -> u64 {
    let of = |socket: &Socket| u64::from(socket.tcp.recv_q) + u64::from(socket.tcp.send_q.unwrap_or(0));
    // A minisocket has no queues.
    ends(row).filter(|socket| socket.tcp.state != TcpState::TimeWait).map(of).sum()
}

/// The server's, or else the client's; what nobody holds comes last.
fn holder(row: &Row<'_>) -> (bool, String, u32) {
    let owner = |end: End<'_>| {
        let owner = end.there.socket()?.owners.first()?;
        Some((false, owner.process.to_string(), owner.pid))
    };
    owner(row.right).or_else(|| owner(row.left)).unwrap_or((true, String::new(), 0))
}

/// A line as `layout` has painted it (SGR), for ratatui.
pub fn line(painted: &str) -> Line<'static> {
    let mut spans = Vec::new();
    let mut style = Style::new();
    for (at, part) in painted.split("\x1b[").enumerate() {
        let text = match part.split_once('m') {
            Some((codes, text)) if at > 0 => {
                style = codes.split(';').fold(style, sgr);
                text
            }
            _ => part,
        };
        if !text.is_empty() {
            spans.push(Span::styled(text.to_owned(), style));
        }
    }
    Line::from(spans)
}

fn sgr(style: Style, code: &str) -> Style {
    const COLORS: [Color; 8] = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
    ];
    match code.parse() {
        Ok(0) | Err(_) => Style::new(),
        Ok(1) => style.add_modifier(Modifier::BOLD),
        Ok(2) => style.add_modifier(Modifier::DIM),
        Ok(7) => style.add_modifier(Modifier::REVERSED),
        Ok(code @ 30usize..=37) => style.fg(COLORS[code - 30]),
        _ => style,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::paint;

    #[test]
    fn painted_text_keeps_its_styles_and_loses_its_escapes() {
        let painted = format!("a {} c {}", paint(true, "1;31", "b"), paint(true, "2", "d"));
        let line = line(&painted);
        let parts: Vec<(&str, Style)> =
            line.spans.iter().map(|span| (span.content.as_ref(), span.style)).collect();
        let bold = Style::new().add_modifier(Modifier::BOLD).fg(Color::Red);
        let dim = Style::new().add_modifier(Modifier::DIM);
        assert_eq!(parts, [("a ", Style::new()), ("b", bold), (" c ", Style::new()), ("d", dim)]);
    }

    #[test]
    fn s_goes_through_every_order_and_comes_back() {
        let mut sort = Sort::State;
        for at in 0..Sort::ALL.len() {
            assert_eq!(sort as usize, at);
            sort = sort.next();
        }
        assert_eq!(sort, Sort::State);
    }
}
