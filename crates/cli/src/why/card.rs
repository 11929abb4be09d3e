//! The X-ray card for a terminal.

use super::Report;
use super::machine;
use super::view::{self, Chip, Instance, Node, Row};
use super::wall::{Bar, Fix, Unit, head, short};
use crate::lab::picture::{Paper, columns, pad, pad_left, wrap};
use crate::lab::said::Said;
use crate::lang::Lang;
use crate::walls::grouped;
use rustix::termios::tcgetwinsize;

/// Lines are no longer than this: longer ones are hard to read.
const WIDEST: usize = 108;
/// And no shorter.
const NARROWEST: usize = 48;

/// The width of the terminal, or of a page where there is none.
pub fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let terminal =
        || tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col)).filter(|&wide| wide > 0);
    asked.or_else(terminal).unwrap_or(100).clamp(NARROWEST, WIDEST)
}

/// All of it.
pub fn text(report: &Report<'_>, paper: &Paper) -> String {
    let lang = paper.lang;
    let mut text = format!("{}\n", paper.paint("1", &view::heading(report, lang)));
    text += &lines(&view::verdict(report, lang), 0, "1;36", paper);
    for evidence in &report.case.verdict.evidence {
        text += &lines(evidence.pick(lang), 2, "", paper);
    }
    text += &lines(&view::numbers(report, lang), 2, "2", paper);
    if let Some(states) = view::states(report) {
        text += &lines(&states, 2, "2", paper);
    }
    let tree = view::tree(report, lang);
    if !tree.is_empty() {
        text.push('\n');
        for (at, node) in tree.iter().enumerate() {
            text += &self::node(node, is_last(&tree, at), paper);
        }
    }
    if !report.bars.is_empty() {
        text += &heading(lang.pick("Headroom", "余量"), paper);
        text += &bars(report, paper);
    }
    text += &next(report, paper);
    if !report.warnings.is_empty() {
        text += &heading(lang.pick("Warnings", "警告"), paper);
        for warning in &report.warnings {
            text += &marked("!", "1;31", warning.evidence.pick(lang), paper);
            text += &fixes(&warning.fixes, paper);
        }
    }
    let not_read = not_read(report, lang);
    if !not_read.is_empty() {
        text += &heading(lang.pick("Not read", "没有读到的"), paper);
    }
    for (what, unlock) in not_read {
        text += &marked("-", "33", &what, paper);
        if let Some(unlock) = unlock {
            text += &lines(&format!("{}{unlock}", lang.pick("unlock: ", "解锁：")), 4, "", paper);
        }
    }
    text
}

/// What could not be read, and what would unlock it.
pub fn not_read(report: &Report<'_>, lang: Lang) -> Vec<(String, Option<String>)> {
    let server = report.case.server;
    let ended = server.ended.iter().map(|ended| match lang {
        Lang::En => format!("{ended} ended while it was being looked at: what is above is from before"),
        Lang::Zh => format!("{ended} 在观察期间结束：以上是结束之前读到的"),
    });
    let mut all: Vec<(String, Option<String>)> = ended.map(|sentence| (sentence, None)).collect();
    if server.interrupted {
        let short = lang.pick("interrupted: a shorter look than asked for", "被中断：观察时间比要求的短");
        all.push((short.to_owned(), None));
    }
    let pick = |said: &Said| said.pick(lang).to_owned();
    all.extend(server.missing.iter().map(|missing| (pick(&missing.what), Some(pick(&missing.unlock)))));
    all
}

fn heading(title: &str, paper: &Paper) -> String {
    format!("\n{}\n", paper.paint("1", title))
}

/// A paragraph, indented; lines after the first a little more.
fn lines(sentence: &str, indent: usize, style: &str, paper: &Paper) -> String {
    let lines = wrap(sentence, paper.width.saturating_sub(indent));
    lines.iter().map(|line| format!("{:indent$}{}\n", "", paint(paper, style, line))).collect()
}

fn paint(paper: &Paper, style: &str, text: &str) -> String {
    if style.is_empty() { text.to_owned() } else { paper.paint(style, text) }
}

fn marked(mark: &str, style: &str, sentence: &str, paper: &Paper) -> String {
    let lines = wrap(sentence, paper.width - 4);
    let line = |(at, line): (usize, &String)| match at {
        0 => format!("  {} {line}\n", paper.paint(style, mark)),
        _ => format!("    {line}\n"),
    };
    lines.iter().enumerate().map(line).collect()
}

/// Whether no sibling follows.
fn is_last(tree: &[Node], at: usize) -> bool {
    let depth = tree[at].depth;
    tree[at + 1..].iter().take_while(|node| node.depth >= depth).all(|node| node.depth > depth)
}

fn node(node: &Node, is_last: bool, paper: &Paper) -> String {
    let indent = node.depth * 2;
    let branch = match (node.depth, is_last) {
        (0, _) => "",
        (_, true) => "└ ",
        (_, false) => "├ ",
    };
    let room = paper.width.saturating_sub(indent + 2);
    let title = paper.paint("1", &node.title);
    let mut text = match columns(&node.title) + 2 + columns(branch) + columns(&node.facts) <= room {
        true => format!("{:indent$}{branch}{title}  {}\n", "", paper.paint("2", &node.facts)),
        false => format!("{:indent$}{branch}{title}\n{}", "", lines(&node.facts, indent + 4, "2", paper)),
    };
    let indent = indent + columns(branch) + 2;
    for row in &node.threads {
        text += &self::row(row, indent, paper);
    }
    for instance in &node.instances {
        text += &self::instance(instance, indent, paper);
    }
    text
}

fn instance(instance: &Instance, indent: usize, paper: &Paper) -> String {
    let note = if instance.note.is_empty() {
        String::new()
    } else {
        format!("  {}", paper.paint("2", &instance.note))
    };
    let mut text = format!("{:indent$}{}{note}\n", "", paper.paint("36", &instance.title));
    let widest = instance.rows.iter().map(|row| columns(&row.text)).max().unwrap_or(0);
    for row in &instance.rows {
        let padded = Row { text: pad(&row.text, widest), ..row.clone() };
        text += &self::row(&padded, indent + 2, paper);
    }
    text
}

fn row(row: &Row, indent: usize, paper: &Paper) -> String {
    let chips: Vec<String> = row.chips.iter().map(|chip| self::chip(*chip, paper)).collect();
    let chips = if chips.is_empty() { String::new() } else { format!("  {}", chips.join(" ")) };
    let taken: usize = row.chips.iter().map(|chip| columns(&chip.text()) + 3).sum();
    let lines = wrap(&row.text, paper.width.saturating_sub(indent + taken).max(20));
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let tail = if at + 1 == lines.len() { chips.as_str() } else { "" };
        // wrap() takes the padding away that keeps marks below each other.
        let line = if lines.len() == 1 { row.text.as_str() } else { line };
        text += &format!("{:indent$}{}\n", "", format!("{line}{tail}").trim_end());
    }
    text
}

fn chip(chip: Chip, paper: &Paper) -> String {
    let style = match chip {
        Chip::Level => "34",
        Chip::Edge => "35",
        Chip::OneShot => "33",
        Chip::Exclusive => "32",
        Chip::Busy(part) if part >= 90 => "1;31",
        Chip::Busy(_) => "2",
    };
    match chip {
        Chip::Busy(_) => paper.paint(style, &chip.text()),
        _ => paper.paint(style, &format!("[{}]", chip.text())),
    }
}

/// Below this part a wall is far away, and is told in a word.
pub const FAR: f64 = 0.01;

fn bars(report: &Report<'_>, paper: &Paper) -> String {
    let lang = paper.lang;
    let next = report.next().map(|next| next as *const Bar);
    let is_next = |bar: &Bar| next == Some(std::ptr::from_ref(bar));
    let (near, far): (Vec<&Bar>, Vec<&Bar>) =
        report.bars.iter().partition(|bar| bar.part() >= FAR || is_next(bar));
    let names: Vec<String> = near.iter().map(|bar| name(bar, lang)).collect();
    let numbers: Vec<String> = near.iter().map(|bar| amounts(bar)).collect();
    let name_wide = names.iter().map(|name| columns(name)).max().unwrap_or(0).min(paper.width / 3);
    let number_wide = numbers.iter().map(|number| columns(number)).max().unwrap_or(0);
    let arrow = lang.pick("← next", "← 下一堵");
    let room = paper.width.saturating_sub(2 + name_wide + 2 + number_wide + 2 + 2 + columns(arrow));
    let length = room.clamp(6, 30);
    let mut text = String::new();
    for ((bar, name), number) in near.iter().zip(&names).zip(&numbers) {
        let drawn = drawn(bar.part(), length);
        let style = match bar.part() {
            part if part >= 0.9 => "31",
            part if part >= 0.7 => "33",
            _ => "32",
        };
        let mark = if is_next(bar) { format!("  {}", paper.paint("1;31", arrow)) } else { String::new() };
        let name = cut(name, name_wide);
        let (name, number) = (pad(&name, name_wide), pad_left(number, number_wide));
        let line = format!("  {name}  {number}  {}{mark}", paper.paint(style, &pad(&drawn, length)));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if !far.is_empty() {
        let far: Vec<String> =
            far.iter().map(|bar| format!("{} {}", short(lang, bar.wall), amounts(bar))).collect();
        let sentence = format!("{}{}", lang.pick("below 1 %: ", "不到 1 %："), far.join(" · "));
        text += &lines(&sentence, 2, "2", paper);
    }
    text
}

/// `descriptors, nginx 4711`.
pub fn name(bar: &Bar, lang: Lang) -> String {
    let short = short(lang, bar.wall);
    match &bar.of {
        Some(of) => format!("{short}{}{of}", lang.pick(", ", "，")),
        None => short.to_owned(),
    }
}

fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if columns(&short) + columns(letter.encode_utf8(&mut [0; 4])) + 1 > width {
            break;
        }
        short.push(letter);
    }
    short + "…"
}

/// `996/1,024`.
pub fn amounts(bar: &Bar) -> String {
    match bar.unit {
        Unit::Count => format!("{}/{}", grouped(bar.used), grouped(bar.limit)),
        Unit::Percent => format!("{} %/{} %", bar.used, bar.limit),
        Unit::Bytes => format!("{}/{}", machine::bytes(bar.used), machine::bytes(bar.limit)),
    }
}

/// A bar in eighths of a column.
fn drawn(part: f64, length: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part * (length * 8) as f64).round() as usize;
    // Something is there, however little.
    let eighths = if part > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// `descriptors, at 1,017 connections`.
pub fn next_title(bar: &Bar, lang: Lang) -> String {
    let (wall, at) = (short(lang, bar.wall), bar.at.map_or(String::new(), |at| lang.connections(at)));
    match (lang, bar.about) {
        (Lang::En, false) => format!("{wall}, at {at}"),
        (Lang::En, true) => format!("{wall}, at about {at}"),
        (Lang::Zh, false) => format!("{wall}，到 {at}时"),
        (Lang::Zh, true) => format!("{wall}，约到 {at}时"),
    }
}

fn next(report: &Report<'_>, paper: &Paper) -> String {
    let lang = paper.lang;
    let Some(bar) = report.next() else {
        return String::new();
    };
    let (head, title) = (lang.pick("Next wall: ", "下一堵墙："), next_title(bar, lang));
    let now = grouped(report.case.connections);
    let now = match lang {
        Lang::En => format!(" (now {now})"),
        Lang::Zh => format!("（现在 {now}）"),
    };
    let mut text = String::from("\n");
    if columns(head) + columns(&title) + columns(&now) <= paper.width {
        let (head, title) = (paper.paint("1", head), paper.paint("1;31", &title));
        text += &format!("{head}{title}{}\n", paper.paint("2", &now));
    } else {
        text += &lines(&format!("{head}{title}{now}"), 0, "1;31", paper);
    }
    text += &lines(bar.evidence.pick(lang), 2, "", paper);
    text += &lines(&format!("{} {}", lang.pick("read in", "读自"), bar.source.pick(lang)), 2, "2", paper);
    text + &fixes(&bar.fixes, paper)
}

/// Lines that can be copied are never broken.
fn fixes(fixes: &[Fix], paper: &Paper) -> String {
    let lang = paper.lang;
    let heads: Vec<&str> = (0..fixes.len()).map(|at| head(fixes, at, lang)).collect();
    let widest = heads.iter().map(|head| columns(head)).max().unwrap_or(0);
    let mut text = String::new();
    for (fix, name) in fixes.iter().zip(heads) {
        let line = fix.line.pick(lang);
        let head = paper.paint("32", &pad(name, widest));
        let indent = 4 + widest + 2;
        let rows = if fix.is_command() {
            vec![line.to_owned()]
        } else {
            wrap(line, paper.width.saturating_sub(indent).max(24))
        };
        for (at, row) in rows.iter().enumerate() {
            text += &match at {
                0 => format!("    {head}  {row}\n"),
                _ => format!("{:indent$}{row}\n", ""),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_in_eighths() {
        assert_eq!(drawn(0.0, 10), "");
        assert_eq!(drawn(0.0001, 10), "▏");
        assert_eq!(drawn(0.5, 10), "█████");
        assert_eq!(drawn(996.0 / 1024.0, 10), "█████████▊");
        assert_eq!(drawn(1.0, 10), "██████████");
    }

    #[test]
    fn a_long_name_is_cut_to_its_columns() {
        assert_eq!(cut("descriptors", 20), "descriptors");
        assert_eq!(cut("descriptors", 6), "descr…");
        assert!(columns(&cut("描述符描述符", 6)) <= 6);
    }
}
