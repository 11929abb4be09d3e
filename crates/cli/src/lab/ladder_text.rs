//! The sequence diagram as text: two lifelines, calls and states outside them, arrows between.

use super::ladder::{Arrow, Kind, Ladder, What, Who};
use super::picture::{Paper, columns, pad, pad_left, wrap};
use super::said::said;
use super::states::State;

/// Columns between the lifelines.
const MIDDLE: usize = 24;
/// A pause that is told: longer than anything that follows from itself at once.
const PAUSE_MS: u128 = 40;

/// The whole diagram.
pub fn text(ladder: &Ladder, paper: &Paper) -> String {
    let side = (paper.width.min(100).saturating_sub(MIDDLE + 4)) / 2;
    let mut page = Page { paper, side, lines: Vec::new() };
    for line in wrap(ladder.title.pick(paper.lang), paper.width) {
        page.lines.push(paper.paint("1", &line));
    }
    page.heads(ladder);
    let mut before = None;
    for row in &ladder.rows {
        let at = row.at.as_millis();
        if let Some(pause) = before.map(|before| at - before).filter(|pause| *pause >= PAUSE_MS) {
            page.middle(&format!("⋮ {pause} ms"));
        }
        before = Some(at);
        match &row.what {
            What::Call { who, name, result, failed } => {
                let style = if *failed { "1;31" } else { "" };
                page.side(*who, &format!("{name} = {result}"), style);
            }
            What::Packet(arrow) => page.arrow(arrow, ladder.seen),
            What::States(states) => page.states(*states),
            What::Note(who, note) => page.note(*who, note.pick(paper.lang)),
        }
    }
    if !ladder.seen {
        let told = said(
            "Dashed: worked out from the states. In a network of its own duolu lab sees the packets.",
            "虚线：由状态推出。在自己的网络命名空间里，duolu lab 能看到真正的报文。",
        );
        for line in wrap(told.pick(paper.lang), paper.width) {
            page.lines.push(paper.paint("2", &line));
        }
    }
    page.lines.join("\n") + "\n"
}

struct Page<'a> {
    paper: &'a Paper,
    /// Columns left of the left lifeline, and right of the right one.
    side: usize,
    lines: Vec<String>,
}

impl Page<'_> {
    fn line(&mut self, left: &str, middle: &str, right: &str) {
        let line = format!("{left} {middle} {right}");
        self.lines.push(line.trim_end().to_owned());
    }

    fn heads(&mut self, ladder: &Ladder) {
        let name = |who: Who| {
            let name = who.said().pick(self.paper.lang).to_owned();
            ladder.ports[who as usize].map_or(name.clone(), |port| format!("{name} :{port}"))
        };
        let (left, right) = (name(Who::Client), name(Who::Server));
        let left = self.paper.paint("1", &pad_left(&left, self.side));
        let right = self.paper.paint("1", &right);
        self.line(&left, &bare(), &right);
    }

    /// Text outside a lifeline, on as many lines as it takes.
    fn side(&mut self, who: Who, text: &str, style: &str) {
        for line in wrap(text, self.side) {
            match who {
                Who::Client => {
                    let line = self.paper.paint(style, &pad_left(&line, self.side));
                    self.line(&line, &bare(), "");
                }
                Who::Server => {
                    let line = self.paper.paint(style, &line);
                    self.line(&" ".repeat(self.side), &bare(), &line);
                }
            }
        }
    }

    /// Text between the lifelines.
    fn middle(&mut self, text: &str) {
        let left = (MIDDLE - 2).saturating_sub(columns(text)) / 2;
        let text = self.paper.paint("2", &pad(&format!("{}{text}", " ".repeat(left)), MIDDLE - 2));
        self.line(&" ".repeat(self.side), &format!("│{text}│"), "");
    }

    fn note(&mut self, who: Option<Who>, note: &str) {
        match who {
            Some(who) => self.side(who, &format!("({note})"), "3"),
            None => {
                let width = self.paper.width.min(100);
                for line in wrap(note, width - 8) {
                    let left = (width - columns(&line)) / 2;
                    self.lines.push(format!("{}{}", " ".repeat(left), self.paper.paint("3", &line)));
                }
            }
        }
    }

    fn states(&mut self, states: [Option<State>; 2]) {
        let name = |state: Option<State>| state.map_or("", |state| state.name());
        let style = |state: Option<State>| state.map_or("", color);
        let [client, server] = states;
        let left = self.paper.paint(style(client), &pad_left(name(client), self.side));
        let right = self.paper.paint(style(server), name(server));
        let end = |state: Option<State>| if state.is_some() { "┃" } else { "│" };
        let middle = format!("{}{}{}", end(client), " ".repeat(MIDDLE - 2), end(server));
        self.line(&left, &middle, &right);
    }

    fn arrow(&mut self, arrow: &Arrow, seen: bool) {
        let mut label = arrow.label.pick(self.paper.lang).to_owned();
        if arrow.times > 1 {
            label = format!("{} × {label}", arrow.times);
        }
        let shaft = if !seen || arrow.lost { "╌" } else { "─" };
        let room = MIDDLE - 4;
        if columns(&label) > room {
            label = format!("{}…", wrap(&label, room - 1).first().map_or("", |line| line));
        }
        let free = room.saturating_sub(columns(&label) + 2);
        let (before, after) = (free / 2, free - free / 2);
        let body = if label.is_empty() {
            shaft.repeat(room)
        } else if columns(&label) + 2 > room {
            pad(&label, room)
        } else {
            format!("{} {label} {}", shaft.repeat(before), shaft.repeat(after))
        };
        let arrow_head = |tip: &'static str| if arrow.lost { "✕" } else { tip };
        let drawn = match arrow.from {
            Who::Client => format!("{shaft}{body}{}", arrow_head("▶")),
            Who::Server => format!("{}{body}{shaft}", arrow_head("◀")),
        };
        let drawn = self.paper.paint(if arrow.lost { "31" } else { kind_color(arrow.kind) }, &drawn);
        self.line(&" ".repeat(self.side), &format!("│{drawn}│"), "");
    }
}

fn bare() -> String {
    format!("│{}│", " ".repeat(MIDDLE - 2))
}

/// A state's colour: alive, on its way out, waiting for us, waiting for time.
fn color(state: State) -> &'static str {
    match state {
        State::Established | State::Listen => "1;32",
        State::CloseWait => "1;33",
        State::TimeWait => "1;35",
        State::Closed => "2",
        _ => "1;36",
    }
}

fn kind_color(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "32",
        Kind::Data => "",
        Kind::Close => "36",
        Kind::Reset => "1;31",
        Kind::Ack => "2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::ladder::Row;
    use crate::lab::said::Said;
    use crate::lang::Lang;
    use std::time::Duration;

    fn ladder(seen: bool) -> Ladder {
        let arrow = |from, label: (&'static str, &'static str), kind, lost| {
            What::Packet(Arrow { from, label: label.into(), kind, lost, times: 1 })
        };
        let rows = [
            (0, What::States([Some(State::Established); 2])),
            (
                0,
                What::Call {
                    who: Who::Client,
                    name: "shutdown(SHUT_WR)".to_owned(),
                    result: "0".to_owned(),
                    failed: false,
                },
            ),
            (0, arrow(Who::Client, ("FIN", "FIN"), Kind::Close, false)),
            (200, arrow(Who::Server, ("FIN again", "FIN 重传"), Kind::Close, true)),
            (201, What::States([Some(State::FinWait2), Some(State::CloseWait)])),
            (201, What::Note(None, Said::from(("half closed", "半关闭了")))),
        ];
        let rows = rows.map(|(ms, what)| Row { at: Duration::from_millis(ms), what }).into();
        Ladder { title: Said::same("half"), ports: [Some(40000), Some(80)], seen, rows }
    }

    #[test]
    fn it_fits_eighty_columns_and_its_lifelines_stand_straight() {
        for lang in Lang::BOTH {
            let text = text(&ladder(true), &Paper { lang, color: false, width: 80 });
            for line in text.lines() {
                assert!(columns(line) <= 80, "{line}");
                if let Some(at) = line.find(['│', '┃']) {
                    assert_eq!(columns(&line[..at]), 27, "{text}");
                    let last = line.rfind(['│', '┃']).unwrap();
                    assert_eq!(columns(&line[..last]), 27 + MIDDLE - 1, "{text}");
                }
            }
            assert!(text.contains("⋮ 200 ms") && text.contains("✕"), "{text}");
            assert!(text.contains("FIN-WAIT-2 ┃") && text.contains("┃ CLOSE-WAIT"), "{text}");
        }
    }

    #[test]
    fn what_was_not_seen_is_dashed_and_says_so() {
        let paper = Paper { lang: Lang::En, color: false, width: 80 };
        assert!(!text(&ladder(true), &paper).contains("Dashed"));
        let text = text(&ladder(false), &paper);
        assert!(text.contains("╌ FIN ╌") && text.contains("Dashed"), "{text}");
    }
}
