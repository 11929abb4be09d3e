//! The text: counts by state, the listeners, a line for each connection, and what the words mean.

use super::args::Plan;
use super::layout::{fit, render as render_columns, wrap};
use super::view::{Row, View};
use super::{columns, words};
use crate::inspect::{Source, Unread};
use crate::lang::Lang;
use crate::terminal::paint;
use crate::walls::grouped;
use duolu_sys::tcp_diag::TcpState;
use unicode_width::UnicodeWidthStr;

const BOLD: &str = "1";
const DIM: &str = "2";
const WARN: &str = "33";

/// Where a text goes.
#[derive(Clone, Copy)]
pub struct Place {
    /// The terminal's columns; `None`: no terminal, any width will do.
    pub width: Option<usize>,
    /// Whether to colour.
    pub color: bool,
}

impl Place {
    /// Sentences are broken here even where columns are not.
    fn sentence_width(self) -> usize {
        self.width.unwrap_or(110).clamp(40, 110)
    }
}

/// The whole text that a person reads.
pub fn render(plan: &Plan, view: &View<'_>, place: Place) -> String {
    let mut text = heading(plan, view, place);
    let mut heads: Vec<&str> = Vec::new();
    let listeners = view.listeners();
    if !listeners.is_empty() {
        let mut columns = columns::of_listeners(plan.lang, &listeners);
        fit(&mut columns, place.width);
        heads.extend(columns.iter().map(|column| column.head));
        text.push_str(&format!("\n{}", render_columns(&columns, place.color)));
    }
    let rows = view.rows();
    let limit = plan.limit.unwrap_or(if place.width.is_some() { 100 } else { 0 });
    let shown = if limit == 0 { rows.len() } else { rows.len().min(limit as usize) };
    let (mut left_out, mut differs) = (Vec::new(), false);
    if let Some(rows) = rows.get(..shown).filter(|rows| !rows.is_empty()) {
        let columns;
        (columns, left_out) =
            columns::of_rows(plan.lang, view.snapshot, rows, place.width.filter(|_| !plan.wide));
        heads.extend(columns.iter().map(|column| column.head));
        differs = columns.iter().flat_map(|column| &column.cells).any(|cell| cell.text.contains('|'));
        text.push_str(&format!("\n{}", render_columns(&columns, place.color)));
    }
    let mut notes = Vec::new();
    if shown < rows.len() {
        let more = grouped((rows.len() - shown) as u64);
        notes.push(match plan.lang {
            Lang::En if rows.len() - shown == 1 => "1 more connection; -n 0 shows all.".to_owned(),
            Lang::En => format!("{more} more connections; -n 0 shows all."),
            Lang::Zh => format!("还有 {more} 个连接；-n 0 显示全部。"),
        });
    }
    if !left_out.is_empty() {
        let names = left_out.iter().rev().copied().collect::<Vec<_>>().join(plan.lang.pick(", ", "、"));
        notes.push(match plan.lang {
            Lang::En => format!("Left out for want of width: {names}; --wide shows them."),
            Lang::Zh => format!("宽度不够，未显示：{names}；--wide 显示全部。"),
        });
    }
    notes.extend(notes_of(plan.lang, view));
    if !notes.is_empty() {
        text.push('\n');
        for note in notes {
            let lines = wrap(&note, place.sentence_width(), 0);
            lines.lines().for_each(|line| text.push_str(&format!("{}\n", paint(place.color, WARN, line))));
        }
    }
    if !plan.quiet {
        text.push_str(&explanations(plan.lang, view, &rows, &heads, differs, place));
    }
    text
}

/// `3 sockets on :8888: LISTEN 1, ESTABLISHED 2`.
fn heading(plan: &Plan, view: &View<'_>, place: Place) -> String {
    let all = grouped(view.picked.len() as u64);
    let counts: Vec<String> = TcpState::ALL
        .into_iter()
        .map(|state| (state, view.count(state)))
        .filter(|(_, count)| *count > 0)
        .map(|(state, count)| format!("{state} {}", grouped(count as u64)))
        .collect();
    let counts = counts.join(plan.lang.pick(", ", "，"));
    let at = plan.target.shown();
    let sockets = if view.picked.len() == 1 { "socket" } else { "sockets" };
    let title = match (plan.lang, at) {
        (Lang::En, Some(at)) => format!("{all} TCP {sockets} on {at}"),
        (Lang::En, None) => format!("{all} TCP {sockets}"),
        (Lang::Zh, Some(at)) => format!("{at} 上有 {all} 个 TCP 套接字"),
        (Lang::Zh, None) => format!("{all} 个 TCP 套接字"),
    };
    let colon = if counts.is_empty() { "" } else { plan.lang.pick(": ", "：") };
    let lines = wrap(&format!("{title}{colon}{counts}"), place.sentence_width(), 0);
    match lines.strip_prefix(&title) {
        Some(rest) => format!("{}{rest}", paint(place.color, BOLD, &title)),
        None => lines,
    }
}

/// What is not complete, and what would make it so.
fn notes_of(lang: Lang, view: &View<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Source::ProcNet(why) = view.snapshot.source {
        notes.push(match lang {
            Lang::En => format!(
                "Read from /proc/net/tcp, which tells no backlog, MSS, path MTU, round-trip time or window: {why}."
            ),
            Lang::Zh => {
                format!("数据来自 /proc/net/tcp，没有 backlog、MSS、路径 MTU、RTT 和窗口。原因：{why}。")
            }
        });
    }
    let unread = view.unread();
    if unread > 0 {
        let (sockets, processes) = (grouped(unread as u64), grouped(view.snapshot.unread.processes as u64));
        notes.push(match lang {
            Lang::En => format!(
                "Who holds {sockets} of these sockets is not to be seen: {processes} processes may not be looked \
                 into; {}.",
                Unread::UNLOCK
            ),
            Lang::Zh => format!(
                "有 {sockets} 个套接字看不到持有者：{processes} 个进程不允许查看；请用这些进程的用户身份，或以 root\
                 （CAP_SYS_PTRACE）在它们的 PID 命名空间里运行。"
            ),
        });
    }
    notes
}

/// The states and columns that are to be seen, each in a line.
fn explanations(
    lang: Lang,
    view: &View<'_>,
    rows: &[Row<'_>],
    heads: &[&str],
    differs: bool,
    place: Place,
) -> String {
    let seen = |state: TcpState| {
        view.count(state) > 0
            || rows.iter().any(|row| {
                [row.left, row.right]
                    .iter()
                    .any(|end| end.there.socket().is_some_and(|socket| socket.tcp.state == state))
            })
    };
    let mut lines: Vec<(&str, &str)> = TcpState::ALL
        .into_iter()
        .filter(|state| seen(*state))
        .map(|state| (state.name(), words::state(lang, state)))
        .collect();
    let mut told: Vec<&str> = Vec::new();
    for head in heads {
        if let Some(meaning) = words::column(lang, head).filter(|_| !told.contains(head)) {
            told.push(head);
            lines.push((head, meaning));
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    if differs {
        let meaning = lang
            .pick("the left end's value | the right end's, where they differ", "左端的值|右端的值（不同时）");
        lines.push(("a|b", meaning));
    }
    const NAME: usize = 14;
    let mut text = "\n".to_owned();
    for (name, meaning) in lines {
        let pad = " ".repeat(NAME.saturating_sub(name.width()));
        let sentence = wrap(&format!("{name}{pad}{meaning}"), place.sentence_width(), NAME);
        sentence.lines().for_each(|line| text.push_str(&format!("{}\n", paint(place.color, DIM, line))));
    }
    text
}
