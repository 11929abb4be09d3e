//! The text: counts by state, the listeners, a line for each connection, and what the words mean.

use super::args::Plan;
use super::kinds::some_of_each;
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
    /// The terminal's columns and rows; `None`: no terminal, any size will do.
    pub size: Option<(usize, usize)>,
    /// Whether to colour.
    pub color: bool,
}

impl Place {
    /// Sentences are broken here even where columns are not.
    fn sentence_width(self) -> usize {
        self.width().unwrap_or(110).clamp(40, 110)
    }

    fn width(self) -> Option<usize> {
        self.size.map(|(columns, _)| columns)
    }

    /// How many connections are shown unless told: on a terminal what leaves room for the counts above and the words
    /// below, and a few in any case.
    fn lines(self, plan: &Plan, view: &View<'_>, listeners: usize) -> Option<usize> {
        const FEW: usize = 10;
        /// Headings, blank lines, notes, the prompt.
        const AROUND: usize = 10;
        /// States and columns explained.
        const WORDS: usize = 10;
        let (_, height) = self.size?;
        let states = TcpState::ALL.iter().filter(|state| view.count(**state) > 0).count();
        let words = if plan.quiet { 0 } else { WORDS + states };
        Some(height.saturating_sub(AROUND + words + listeners).max(FEW))
    }
}

/// The whole text that a person reads.
pub fn render(plan: &Plan, view: &View<'_>, place: Place) -> String {
    let mut text = heading(plan, view, place);
    let mut heads: Vec<&str> = Vec::new();
    let listeners = view.listeners();
    if !listeners.is_empty() {
        let mut columns = columns::of_listeners(plan.lang, &listeners);
        fit(&mut columns, place.width());
        heads.extend(columns.iter().map(|column| column.head));
        text.push_str(&format!("\n{}", render_columns(&columns, place.color)));
    }
    let limit = match plan.limit {
        Some(0) => None,
        Some(limit) => Some(limit as usize),
        None => place.lines(plan, view, listeners.len()),
    };
    let (rows, hidden) = some_of_each(view.rows(), limit.unwrap_or(usize::MAX));
    let (mut left_out, mut differs) = (Vec::new(), false);
    if !rows.is_empty() {
        let columns;
        (columns, left_out) =
            columns::of_rows(plan.lang, view.snapshot, &rows, place.width().filter(|_| !plan.wide));
        heads.extend(columns.iter().map(|column| column.head));
        differs = columns.iter().flat_map(|column| &column.cells).any(|cell| cell.text.contains('|'));
        text.push_str(&format!("\n{}", render_columns(&columns, place.color)));
    }
    let mut notes = Vec::new();
    if !hidden.is_empty() {
        let each = |(kind, count): &(String, usize)| format!("{kind} {}", grouped(*count as u64));
        let more = hidden.iter().map(each).collect::<Vec<_>>().join(plan.lang.pick(", ", "，"));
        notes.push(match plan.lang {
            Lang::En => format!("More connections: {more}; -n 0 shows all."),
            Lang::Zh => format!("还有连接：{more}；-n 0 显示全部。"),
        });
    }
    if !left_out.is_empty() {
        let names = left_out.iter().rev().copied().collect::<Vec<_>>().join(plan.lang.pick(", ", "、"));
        notes.push(match plan.lang {
            Lang::En => format!("Left out for want of width: {names}; --wide shows them."),
            Lang::Zh => format!("宽度不够，未显示：{names}；--wide 显示全部。"),
        });
    }
    notes.extend(notes_of(plan, view));
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
fn notes_of(plan: &Plan, view: &View<'_>) -> Vec<String> {
    let lang = plan.lang;
    let mut notes = Vec::new();
    let others = view.snapshot.sockets.iter().filter(|socket| plan.target.takes(socket)).count();
    if view.picked.is_empty() && others > 0 {
        let others = grouped(others as u64);
        notes.push(match lang {
            Lang::En => format!("The filter takes none of the {others} sockets that are there."),
            Lang::Zh => format!("那里有 {others} 个套接字，都不符合过滤条件。"),
        });
    }
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
    let (sockets, processes) = (grouped(unread as u64), grouped(view.snapshot.unread.processes as u64));
    match (unread, view.snapshot.unread.processes, lang) {
        (0, ..) => {}
        (_, 0, Lang::En) => notes.push(format!(
            "Who holds {sockets} of these sockets is not to be seen, though every process here is: they are outside \
             this PID namespace (a container's), or on their way from one process to another."
        )),
        (_, 0, Lang::Zh) => notes.push(format!(
            "有 {sockets} 个套接字看不到持有者，虽然这里的进程都能查看：持有者在这个 PID 命名空间（容器）之外，或者描述符正在进程之间传递。"
        )),
        (.., Lang::En) => notes.push(format!(
            "Who holds {sockets} of these sockets is not to be seen: {processes} processes may not be looked into; \
             {}.",
            Unread::UNLOCK
        )),
        (.., Lang::Zh) => notes.push(format!(
            "有 {sockets} 个套接字看不到持有者：{processes} 个进程不允许查看；请用这些进程的用户身份，或以 root\
             （CAP_SYS_PTRACE）在它们的 PID 命名空间里运行。"
        )),
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
