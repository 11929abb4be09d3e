//! What an experiment looks like: as text in a terminal, and as SVG.

use super::said::Said;
use crate::lang::Lang;
use crate::terminal::paint;
use std::fmt::Debug;
use unicode_width::UnicodeWidthStr;

/// How a picture is written as text.
#[derive(Clone, Copy, Debug)]
pub struct Paper {
    /// The reader's language.
    pub lang: Lang,
    /// Whether it may be coloured.
    pub color: bool,
    /// Columns, at least 60.
    pub width: usize,
}

impl Paper {
    /// `text` in a style such as `"1;31"`, where there is colour.
    pub fn paint(&self, style: &str, text: &str) -> String {
        paint(self.color && !text.is_empty(), style, text)
    }
}

/// What an experiment looks like.
pub trait Picture: Debug {
    /// Lines that each fit the paper and end in a line feed.
    fn text(&self, paper: &Paper) -> String;
    /// `<g>...</g>` for a drawing [`super::svg::WIDTH`] wide, from y = 0 on, and its height. Colours are the classes of [`super::svg::STYLE`].
    fn svg(&self, lang: Lang) -> Option<(String, f64)>;
}

/// Columns that a text takes: Chinese takes two each.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` with spaces behind it up to `width` columns.
pub fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// `text` with spaces before it up to `width` columns.
pub fn pad_left(text: &str, width: usize) -> String {
    format!("{}{text}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Breaks a text into lines of at most `width` columns: at spaces, and between Chinese characters, but not before a mark that closes.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for piece in pieces(paragraph) {
            let bare = piece.trim_end();
            if !line.is_empty() && columns(&line) + columns(bare) > width {
                lines.push(line.trim_end().to_owned());
                line = String::new();
            }
            if line.is_empty() {
                line.push_str(piece.trim_start());
            } else {
                line.push_str(piece);
            }
            while columns(line.trim_end()) > width {
                let cut = fitting(&line, width);
                let rest = line.split_off(cut);
                lines.push(std::mem::replace(&mut line, rest));
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Where a text would have to be cut to fit, in bytes; at least one character.
fn fitting(text: &str, width: usize) -> usize {
    let mut end = 0;
    for (at, letter) in text.char_indices() {
        let next = at + letter.len_utf8();
        if at > 0 && columns(&text[..next]) > width {
            break;
        }
        end = next;
    }
    end
}

/// The parts between which a line may end; spaces stay behind the part before them.
fn pieces(text: &str) -> Vec<&str> {
    let is_wide = |letter: char| letter as u32 >= 0x2e80;
    let closes = |letter: char| "，。；：、？！）」』”’》,.;:?!)".contains(letter);
    let opens = |letter: char| "（「『“‘《(".contains(letter);
    let mut cuts = vec![0];
    let mut before: Option<char> = None;
    for (at, letter) in text.char_indices() {
        let may_break = before.is_some_and(|before| {
            (before == ' ' && letter != ' ')
                || ((is_wide(before) || is_wide(letter))
                    && !closes(letter)
                    && !opens(before)
                    && letter != ' ')
        });
        if may_break {
            cuts.push(at);
        }
        before = Some(letter);
    }
    cuts.push(text.len());
    cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).filter(|piece| !piece.is_empty()).collect()
}

/// A table: the first row are the headings.
#[derive(Debug)]
pub struct Table {
    /// What it shows.
    pub title: Said,
    /// Rows of as many cells each.
    pub rows: Vec<Vec<Said>>,
}

impl Picture for Table {
    fn text(&self, paper: &Paper) -> String {
        let count = self.rows.first().map_or(0, Vec::len);
        let cell = |row: &[Said], at: usize| row.get(at).map_or("", |cell| cell.pick(paper.lang)).to_owned();
        let widths: Vec<usize> = (0..count)
            .map(|at| self.rows.iter().map(|row| columns(&cell(row, at))).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in wrap(self.title.pick(paper.lang), paper.width) {
            text += &format!("{}\n", paper.paint("1", &line));
        }
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = (0..count)
                .map(|at| {
                    let style = if number == 0 { "2" } else { "" };
                    let padded = pad(&cell(row, at), widths[at]);
                    if style.is_empty() { padded } else { paper.paint(style, &padded) }
                })
                .collect();
            text += &format!("  {}\n", cells.join("  ").trim_end());
        }
        text
    }

    fn svg(&self, lang: Lang) -> Option<(String, f64)> {
        Some(super::svg::table(self, lang))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_between_words_and_between_characters() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("关闭之后，端口还在", 8), ["关闭之", "后，端口", "还在"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\nb", 10), ["a", "b"]);
        assert_eq!(wrap("", 10), Vec::<String>::new());
        for width in 2..30 {
            for line in wrap("调用 shutdown(SHUT_WR)，然后 close()：两次", width) {
                assert!(columns(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn wide_characters_are_counted_as_two() {
        assert_eq!(pad("多路", 6), "多路  ");
        assert_eq!(pad_left("多路", 5), " 多路");
    }
}
