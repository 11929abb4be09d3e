//! Columns of text for a terminal: as wide as what they hold, and fewer of them where the terminal is narrow.

use crate::terminal::paint;
use unicode_width::UnicodeWidthStr;

/// Between two columns.
const GAP: usize = 2;

/// One column.
pub struct Column {
    /// Its heading.
    pub head: &'static str,
    /// Its cells, from top to bottom.
    pub cells: Vec<Cell>,
    /// 0: always shown. Else the largest goes first where there is no room.
    pub dispensable: u8,
    /// Figures stand at the right.
    pub is_figure: bool,
}

/// One cell.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// What it says; empty: nothing.
    pub text: String,
    /// An SGR style.
    pub style: &'static str,
}

impl Cell {
    /// With a style.
    pub fn styled(text: impl Into<String>, style: &'static str) -> Self {
        Cell { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), style: "" }
    }
}

impl Column {
    /// A column that is always shown.
    pub fn new(head: &'static str, cells: Vec<Cell>) -> Self {
        Column { head, cells, dispensable: 0, is_figure: false }
    }

    /// May be left out: the largest number first.
    pub fn dispensable(mut self, rank: u8) -> Self {
        self.dispensable = rank;
        self
    }

    /// Numbers.
    pub fn figures(mut self) -> Self {
        self.is_figure = true;
        self
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| width(&cell.text));
        cells.max().unwrap_or(0).max(width(self.head))
    }

    fn is_empty(&self) -> bool {
        self.cells.iter().all(|cell| cell.text.is_empty())
    }
}

/// How many columns of a terminal a text takes. Most is ASCII, and there are many cells.
fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// Leaves out the columns that say nothing, and then as many as it takes to fit into `width`. Gives the headings of the
/// latter.
pub fn fit(columns: &mut Vec<Column>, width: Option<usize>) -> Vec<&'static str> {
    columns.retain(|column| !column.is_empty());
    let mut left_out = Vec::new();
    while width.is_some_and(|width| total(columns) > width) {
        let ranked = columns.iter().enumerate().max_by_key(|(_, column)| column.dispensable);
        let Some((at, _)) = ranked.filter(|(_, column)| column.dispensable > 0) else { break };
        left_out.push(columns.remove(at).head);
    }
    left_out
}

/// How wide the columns are side by side.
fn total(columns: &[Column]) -> usize {
    columns.iter().map(|column| column.width() + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Headings and rows.
pub fn render(columns: &[Column], color: bool) -> String {
    let widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let heads: Vec<Cell> = columns.iter().map(|column| Cell::styled(column.head, "2")).collect();
    let rows = columns.iter().map(|column| column.cells.len()).max().unwrap_or(0);
    let (mut text, nothing) = (String::new(), Cell::default());
    line(&mut text, columns, &widths, heads.iter().collect(), color);
    for row in 0..rows {
        let cells = columns.iter().map(|column| column.cells.get(row).unwrap_or(&nothing)).collect();
        line(&mut text, columns, &widths, cells, color);
    }
    text
}

fn line(text: &mut String, columns: &[Column], widths: &[usize], cells: Vec<&Cell>, color: bool) {
    let last = cells.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate().take(last + 1) {
        let pad = widths[at].saturating_sub(width(&cell.text));
        let (before, after) = if column.is_figure { (pad, 0) } else { (0, pad) };
        text.extend(std::iter::repeat_n(' ', before));
        match color && !cell.style.is_empty() {
            true => text.push_str(&paint(color, cell.style, &cell.text)),
            false => text.push_str(&cell.text),
        }
        if at < last {
            text.extend(std::iter::repeat_n(' ', after + GAP));
        }
    }
    text.push('\n');
}

/// Breaks a sentence into lines, the second and following indented: at blanks, and between Chinese characters anywhere
/// but before a mark that ends something.
pub fn wrap(sentence: &str, width: usize, indent: usize) -> String {
    let (mut text, mut line) = (String::new(), String::new());
    for word in words(sentence) {
        let blank = usize::from(!line.trim().is_empty() && line.ends_with(' '));
        if line.width() - blank + word.trim_end().width() + blank > width && !line.trim().is_empty() {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
        }
        line.push_str(word);
    }
    text.push_str(line.trim_end());
    text.push('\n');
    text
}

/// The smallest parts that stay together, each with the blank behind it.
fn words(sentence: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut before: Option<char> = None;
    for (at, c) in sentence.char_indices() {
        let wide = |c: char| c > '\u{2e7f}';
        let closes = "，。；：、）」》？！".contains(c);
        let breaks = match before {
            Some(' ') => c != ' ',
            Some(before) => (wide(before) || wide(c)) && !closes && !"（「《".contains(before),
            None => false,
        };
        if breaks {
            parts.push(&sentence[start..at]);
            start = at;
        }
        before = Some(c);
    }
    parts.push(&sentence[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column> {
        vec![
            Column::new("STATE", vec!["LISTEN".into(), "ESTABLISHED".into()]),
            Column::new("AGE", vec![Cell::default(), Cell::default()]),
            Column::new("RTT", vec!["8us".into(), "12ms".into()]).figures().dispensable(1),
            Column::new("CWND", vec!["10".into(), Cell::default()]).figures().dispensable(2),
        ]
    }

    #[test]
    fn columns_are_as_wide_as_what_they_hold_and_go_in_order() {
        let mut wide = columns();
        assert!(fit(&mut wide, None).is_empty());
        let expected = "STATE         RTT  CWND\nLISTEN        8us    10\nESTABLISHED  12ms\n";
        assert_eq!(render(&wide, false), expected);
        assert_eq!(total(&wide), 23);
        let mut narrow = columns();
        assert_eq!(fit(&mut narrow, Some(22)), ["CWND"]);
        assert_eq!(fit(&mut narrow, Some(10)), ["RTT"]);
        assert_eq!(narrow.len(), 1, "what says which line it is stays");
    }

    #[test]
    fn chinese_takes_two_columns_and_breaks_anywhere() {
        let two =
            vec![Column::new("状态", vec!["LISTEN".into()]), Column::new("持有者", vec!["nginx".into()])];
        assert_eq!(render(&two, false), "状态    持有者\nLISTEN  nginx\n");
        assert_eq!(wrap("对端已关闭，程序没有 close()。", 12, 2), "对端已关闭，\n  程序没有\n  close()。\n");
        assert_eq!(wrap("the other end has closed", 13, 1), "the other end\n has closed\n");
    }
}
