//! The help: keys, what is shown and what is not seen, and each edge with what it is to the program.

use crate::lang::Lang;
use crate::states::diagram::{Edge, Other, Path, Picture, paint, words};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

const KEYS: [(&str, &str, &str); 11] = [
    ("q", "quit", "退出"),
    ("p, space", "pause, and go on", "暂停、继续"),
    ("Tab, t", "table of connections, and back to the diagram", "连接表，再按回到状态图"),
    (
        "/",
        "filter: ports, states, names of processes (:8080 nginx close-wait); Enter applies",
        "过滤：端口、状态、进程名（:8080 nginx close-wait），回车生效",
    ),
    ("Esc", "leaves help or typing; no filter any more", "离开帮助或输入；取消过滤"),
    (
        "s",
        "table: next order (state, age, queues, process, address)",
        "连接表：换排序（状态、时长、队列、进程、地址）",
    ),
    ("↑ ↓ j k", "a line", "上下一行"),
    ("PgUp PgDn", "a page", "上下一页"),
    ("Home End", "the first, the last line", "最前、最后一行"),
    ("l", "English, 中文", "English、中文"),
    ("Ctrl-Z", "stops; fg goes on", "挂起，fg 继续"),
];

/// All of it, in lines of at most `width` columns.
pub fn lines(picture: &Picture, lang: Lang, ink: paint::Ink, width: usize) -> Vec<Line<'static>> {
    let head = |en, zh| Line::styled(lang.pick(en, zh), Style::new().add_modifier(Modifier::BOLD));
    let mut lines = vec![head("Keys", "按键")];
    for (key, en, zh) in KEYS {
        lines.extend(item(key.to_owned(), Style::new(), lang.pick(en, zh), width));
    }
    lines.extend([Line::default(), head("What you see", "看到的是什么")]);
    lines.extend(wrap(
        lang.pick(
            "RFC 9293's state diagram. In the boxes: sockets in that state now. At the lines: what moves a connection along; n/s: so many do each second; ×n: so many have since watching (or this filter) began.",
            "RFC 9293 的状态图。框内：现在处于该状态的套接字数。线旁：什么使连接沿它移动；n/s：每秒多少次；×n：开始观察（或设定过滤）以来多少次。",
        ),
        width,
    ));
    for caveat in words::caveats(picture, lang) {
        lines.push(Line::default());
        lines.extend(wrap(&caveat, width));
    }
    lines.extend([
        Line::default(),
        head("The edges, and what each is to the program", "每条边，以及它对程序意味着什么"),
    ]);
    for path in Path::ALL {
        lines.push(Line::default());
        lines.push(Line::from(vec![
            Span::styled(format!("{0}{0}{0} ", paint::strokes(path)[0]), ink.path(path)),
            Span::raw(path.name(lang)),
        ]));
        for edge in Edge::ALL.into_iter().filter(|edge| edge.path() == path) {
            let name = format!("{} → {}", edge.from(), edge.to());
            let gap = lang.pick(": ", "：");
            let text = format!("{}{gap}{}", edge.cause(lang), edge.program(lang));
            lines.extend(item(name, ink.path(path), &text, width));
        }
    }
    lines.extend([Line::default(), head("Not on the diagram", "图上没有的")]);
    for other in Other::ALL {
        lines.extend(item(other.name(lang).to_owned(), Style::new(), other.program(lang), width));
    }
    lines
}

/// A name in a column of its own where there is room, and what there is to say of it.
fn item(name: String, style: Style, text: &str, width: usize) -> Vec<Line<'static>> {
    const COLUMN: usize = 29;
    let own = Span::raw(&name).width();
    if width < 70 || own >= COLUMN {
        let mut lines = vec![Line::styled(format!("  {name}"), style)];
        lines.extend(wrap(text, width.saturating_sub(4)).into_iter().map(|line| indent(line, 4)));
        return lines;
    }
    let column = if own < 11 { 13 } else { COLUMN + 2 };
    let mut lines: Vec<Line<'static>> =
        wrap(text, width.saturating_sub(column)).into_iter().map(|line| indent(line, column)).collect();
    if let Some(first) = lines.first_mut().and_then(|line| line.spans.first_mut()) {
        *first = Span::styled(format!("  {name}{}", " ".repeat(column - own - 2)), style);
    }
    lines
}

fn indent(mut line: Line<'static>, columns: usize) -> Line<'static> {
    line.spans.insert(0, Span::raw(" ".repeat(columns)));
    line
}

/// Broken between words; a Chinese text between any two letters but not before what closes.
pub fn wrap(text: &str, width: usize) -> Vec<Line<'static>> {
    const NOT_FIRST: &str = "，。；：、）！？";
    let wide = |text: &str| Span::raw(text).width();
    let mut lines = vec![String::new()];
    for piece in pieces(text) {
        let row = lines.last_mut().expect("never empty");
        let fits = wide(row) + wide(piece.trim_end()) <= width;
        if fits || row.is_empty() || piece.starts_with(|letter| NOT_FIRST.contains(letter)) {
            row.push_str(piece);
        } else {
            lines.push(piece.to_owned());
        }
    }
    lines.into_iter().map(|row| Line::from(row.trim_end().to_owned())).collect()
}

/// Words with the blank after them, and single letters of a script that has no blanks.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let is_wide = |letter: char| letter as u32 >= 0x2e80;
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match is_wide(first) {
            true => first.len_utf8(),
            false => {
                let stop = rest.find(|letter| letter == ' ' || is_wide(letter)).unwrap_or(rest.len());
                if rest[stop..].starts_with(' ') { stop + 1 } else { stop }
            }
        };
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::states::diagram::How;

    #[test]
    fn nothing_is_wider_than_the_screen_and_every_edge_is_explained() {
        let picture = Picture::empty(How::Sampled { refused: None });
        for lang in Lang::BOTH {
            for width in [40, 76, 116] {
                let lines = lines(&picture, lang, paint::Ink { color: true }, width);
                for line in &lines {
                    // A mark that closes may stand in the margin.
                    assert!(line.width() <= width + 2, "{width}: {line}");
                }
                let all: String = lines.iter().map(|line| line.to_string() + "\n").collect();
                for edge in Edge::ALL {
                    assert!(all.contains(&format!("{} → {}", edge.from(), edge.to())), "{edge:?}");
                }
            }
        }
    }

    #[test]
    fn text_is_broken_between_words_and_none_is_lost() {
        let text: Vec<String> = wrap("one two  three", 7).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["one two", " three"]);
        let text: Vec<String> = wrap("状态图，RFC 9293", 6).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["状态图，", "RFC", "9293"]);
    }
}
