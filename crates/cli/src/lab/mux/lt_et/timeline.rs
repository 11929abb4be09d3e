//! The scenario as a timeline: how full the receive buffer was after each step, and a tick where epoll reported; level
//! above edge.

use super::{Act, Seen, Step};
use crate::lab::picture::{Paper, Picture, columns, pad, pad_left};
use crate::lab::said::{Said, said};
use crate::lab::svg::WIDTH;
use crate::lang::Lang;
use crate::report::markup::{escape, px};
use std::fmt::Write;

/// Columns of a step, of the names at the left, and lines of a bar, in text.
const STEP: usize = 8;
const NAMES: usize = 10;
const LINES: usize = 3;
/// Blocks from one eighth to full.
const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// What [`super::play`] saw.
#[derive(Debug)]
pub struct Timeline {
    steps: Vec<Step>,
    /// What a full bar stands for.
    most: u64,
}

impl Timeline {
    /// Of these steps.
    pub fn new(steps: Vec<Step>) -> Self {
        let most = steps.iter().map(|step| step.level.unread.max(step.edge.unread)).max().unwrap_or(0).max(1);
        Timeline { steps, most }
    }
}

/// A name, and which half of a step.
type Side = (&'static str, fn(&Step) -> Seen);

const SIDES: [Side; 2] = [("LT", |step| step.level), ("ET", |step| step.edge)];

const TITLE: Said = said(
    "the receive buffer after each step, and ▲ where epoll_wait reported",
    "每一步之后的接收缓冲区；▲ 表示 epoll_wait 报告了",
);

impl Act {
    /// Two short lines.
    fn said(self) -> (Said, String) {
        match self {
            Act::Send(bytes) => (said("comes", "到来"), format!("+{}", crate::walls::grouped(bytes as u64))),
            Act::Read(bytes) => (said("read", "读走"), format!("-{}", crate::walls::grouped(bytes as u64))),
            Act::Wait => (said("wait", "等待"), String::new()),
        }
    }
}

impl Picture for Timeline {
    fn text(&self, paper: &Paper) -> String {
        let lang = paper.lang;
        let mut text = format!("{}\n\n", paper.paint("1", TITLE.pick(lang)));
        let heads: Vec<(Said, String)> = self.steps.iter().map(|step| step.act.said()).collect();
        let row = |name: &str, cells: Vec<String>| {
            let cells: String = cells.iter().map(|cell| pad_left(cell, STEP)).collect();
            format!("{}{cells}", pad(name, NAMES)).trim_end().to_owned() + "\n"
        };
        text += &row("", heads.iter().map(|head| head.0.pick(lang).to_owned()).collect());
        text += &row("", heads.iter().map(|head| head.1.clone()).collect());
        for (name, side) in SIDES {
            let seen: Vec<Seen> = self.steps.iter().map(side).collect();
            for line in (0..LINES).rev() {
                let cells = seen.iter().map(|seen| bar(seen.unread, self.most, line)).collect();
                let name = if line == LINES - 1 { name } else { "" };
                let drawn = row(name, cells);
                let (head, bars) = drawn.split_at(drawn.len().min(NAMES));
                text += &format!("{head}{}", paper.paint("34", bars.trim_end_matches('\n')));
                text.push('\n');
            }
            let unread = seen.iter().map(|seen| crate::walls::grouped(seen.unread)).collect();
            text += &row(lang.pick("  unread", "  未读"), unread);
            let ticks = seen.iter().map(|seen| tick(seen).to_owned()).collect();
            text += &format!("{}\n", row(lang.pick("  event", "  事件"), ticks).trim_end());
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        debug_assert!(text.lines().all(|line| columns(line) <= paper.width + 9));
        text
    }

    fn svg(&self, lang: Lang) -> Option<(String, f64)> {
        const LEFT: f64 = 90.0;
        const TALL: f64 = 72.0;
        let wide = (WIDTH - LEFT) / self.steps.len().max(1) as f64;
        let middle = |at: usize| LEFT + wide * (at as f64 + 0.5);
        let mut drawing = format!("<text class=\"h2\" x=\"0\" y=\"18\">{}</text>", escape(TITLE.pick(lang)));
        let mut label = |class: &str, x: f64, y: f64, text: &str| {
            let _ = write!(
                drawing,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                px(x),
                px(y),
                escape(text)
            );
        };
        for (at, step) in self.steps.iter().enumerate() {
            let (head, bytes) = step.act.said();
            label("soft mid", middle(at), 46.0, head.pick(lang));
            label("mid", middle(at), 64.0, &bytes);
        }
        let mut y = 84.0;
        let mut shapes = String::new();
        for (name, side) in SIDES {
            let base = y + TALL;
            label("bold", 0.0, y + 20.0, name);
            label("soft", 0.0, base + 20.0, lang.pick("unread", "未读"));
            label("soft", 0.0, base + 42.0, lang.pick("event", "事件"));
            let _ = write!(shapes, "<path class=\"rule\" d=\"M{} {}H{}\"/>", px(LEFT), px(base), px(WIDTH));
            for (at, step) in self.steps.iter().enumerate() {
                let seen = side(step);
                let tall = TALL * seen.unread as f64 / self.most as f64;
                let _ = write!(
                    shapes,
                    "<rect class=\"f-data\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
                    px(middle(at) - wide * 0.36),
                    px(base - tall),
                    px(wide * 0.72),
                    px(tall)
                );
                label("mid", middle(at), base + 20.0, &crate::walls::grouped(seen.unread));
                let class = if seen.reported { "mid bold" } else { "mid soft" };
                label(class, middle(at), base + 42.0, tick(&seen));
            }
            y = base + 66.0;
        }
        Some((format!("<g>{shapes}{drawing}</g>"), y - 14.0))
    }
}

fn tick(seen: &Seen) -> &'static str {
    if seen.reported { "▲" } else { "·" }
}

/// One line of a bar; line 0 is the lowest. Whatever is not empty shows at least an eighth.
fn bar(unread: u64, most: u64, line: usize) -> String {
    let eighths = (unread * (8 * LINES) as u64).div_ceil(most) as usize;
    let here = eighths.saturating_sub(8 * line).min(8);
    match here {
        0 => String::new(),
        here => EIGHTHS[here - 1].to_string().repeat(STEP - 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(act: Act, unread: u64, level: bool, edge: bool) -> Step {
        Step { act, level: Seen { unread, reported: level }, edge: Seen { unread, reported: edge } }
    }

    fn notes() -> Timeline {
        Timeline::new(vec![
            step(Act::Send(1000), 1000, true, true),
            step(Act::Read(500), 500, true, false),
            step(Act::Send(1), 501, true, true),
        ])
    }

    #[test]
    fn bars_grow_by_eighths_and_a_byte_is_seen() {
        assert_eq!(bar(1000, 1000, 2), "██████");
        assert_eq!(bar(500, 1000, 1), "▄▄▄▄▄▄");
        assert_eq!(bar(500, 1000, 2), "");
        assert_eq!(bar(1, 1000, 0), "▁▁▁▁▁▁");
        assert_eq!(bar(0, 1000, 0), "");
    }

    #[test]
    fn the_text_shows_both_sides_within_eighty_columns() {
        for lang in Lang::BOTH {
            let text = notes().text(&Paper { lang, color: false, width: 80 });
            assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
            let ticks: Vec<usize> =
                text.lines().skip(1).map(|line| line.matches('▲').count()).filter(|n| *n > 0).collect();
            assert_eq!(ticks, [3, 2], "{text}");
            assert!(text.contains("501"));
        }
    }

    #[test]
    fn the_drawing_has_a_bar_for_each_step_and_side() {
        let (drawing, height) = notes().svg(Lang::En).unwrap();
        assert_eq!(drawing.matches("<rect").count(), 6);
        assert_eq!(drawing.matches('▲').count(), 1 + 3 + 2);
        assert!(height > 200.0);
    }
}
