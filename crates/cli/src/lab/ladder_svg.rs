//! The sequence diagram as a drawing: lifelines coloured by state, arrows that fall as time goes on.

use super::ladder::{Arrow, Kind, Ladder, What, Who};
use super::said::said;
use super::states::State;
use super::svg::{WIDTH, wide};
use crate::lang::Lang;
use crate::report::markup::{escape, px};
use std::fmt::Write;

const LEFT: f64 = 250.0;
const RIGHT: f64 = WIDTH - LEFT;
const ROW: f64 = 25.0;
/// How far an arrow falls on its way.
const FALL: f64 = 9.0;
const PAUSE_MS: u128 = 40;

/// The drawing and its height.
pub fn drawing(ladder: &Ladder, lang: Lang) -> (String, f64) {
    let mut sheet = Sheet { lang, y: 18.0, marks: String::new(), bars: String::new(), since: [None; 2] };
    let _ = write!(
        sheet.marks,
        "<text class=\"h2\" x=\"0\" y=\"{}\">{}</text>",
        px(sheet.y),
        escape(ladder.title.pick(lang))
    );
    sheet.y += 34.0;
    for who in [Who::Client, Who::Server] {
        let name = who.said().pick(lang).to_owned();
        let name = ladder.ports[who as usize].map_or(name.clone(), |port| format!("{name} :{port}"));
        let _ = write!(
            sheet.marks,
            "<text class=\"bold mid\" x=\"{}\" y=\"{}\">{}</text>",
            px(life(who)),
            px(sheet.y),
            escape(&name)
        );
    }
    let top = sheet.y + 8.0;
    sheet.y += 14.0;
    sheet.rows(ladder);
    sheet.y += 10.0;
    let bottom = sheet.y;
    sheet.end_bars(bottom);
    if !ladder.seen {
        sheet.y += 22.0;
        let told = said(
            "Dashed: worked out from the states. In a network of its own duolu lab sees the packets.",
            "虚线：由状态推出。在自己的网络命名空间里，duolu lab 能看到真正的报文。",
        );
        let _ = write!(
            sheet.marks,
            "<text class=\"soft mid\" x=\"{}\" y=\"{}\">{}</text>",
            px(WIDTH / 2.0),
            px(sheet.y),
            told.pick(lang)
        );
    }
    let lives: String = [LEFT, RIGHT]
        .iter()
        .map(|x| format!("<path class=\"life\" d=\"M{} {}V{}\"/>", px(*x), px(top), px(bottom)))
        .collect();
    (format!("<g>{lives}{}{}</g>", sheet.bars, sheet.marks), sheet.y + 6.0)
}

struct Sheet {
    lang: Lang,
    y: f64,
    marks: String,
    bars: String,
    /// The state each end is in, and from where down.
    since: [Option<(State, f64)>; 2],
}

impl Sheet {
    fn rows(&mut self, ladder: &Ladder) {
        let mut before = None;
        for row in &ladder.rows {
            let at = row.at.as_millis();
            if let Some(pause) = before.map(|before| at - before).filter(|pause| *pause >= PAUSE_MS) {
                self.y += ROW;
                self.text("soft mid", WIDTH / 2.0, &format!("⋮ {pause} ms"));
            }
            before = Some(at);
            self.y += ROW;
            match &row.what {
                What::Call { who, name, result, failed } => {
                    let class = if *failed { "code failed" } else { "code" };
                    self.beside(*who, class, &format!("{name} = {result}"));
                }
                What::Packet(arrow) => self.arrow(arrow, ladder.seen),
                What::States(states) => self.states(*states),
                What::Note(Some(who), note) => self.beside(*who, "italic", note.pick(self.lang)),
                What::Note(None, note) => self.text("italic mid label", WIDTH / 2.0, note.pick(self.lang)),
            }
        }
    }

    fn text(&mut self, class: &str, x: f64, text: &str) {
        let (x, y) = (px(x), px(self.y));
        let _ = write!(self.marks, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escape(text));
    }

    /// Outside a lifeline, on as many rows as it takes.
    fn beside(&mut self, who: Who, class: &str, text: &str) {
        let lines = crate::report::markup::wrap(text, (LEFT - 20.0) / 14.0 / 1.02);
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                self.y += 18.0;
            }
            match who {
                Who::Client => self.text(&format!("{class} end"), LEFT - 14.0, line),
                Who::Server => self.text(class, RIGHT + 14.0, line),
            }
        }
    }

    fn states(&mut self, states: [Option<State>; 2]) {
        for who in [Who::Client, Who::Server] {
            let Some(state) = states[who as usize] else { continue };
            let y = self.y - 12.0;
            self.end_bar(who, y);
            self.since[who as usize] = Some((state, y));
            self.beside(who, &format!("bold {}", class(state)), state.name());
        }
    }

    fn end_bar(&mut self, who: Who, y: f64) {
        if let Some((state, from)) = self.since[who as usize].take() {
            let _ = write!(
                self.bars,
                "<path class=\"bar {}\" d=\"M{} {}V{}\"/>",
                class(state),
                px(life(who)),
                px(from),
                px(y)
            );
        }
    }

    fn end_bars(&mut self, y: f64) {
        self.end_bar(Who::Client, y);
        self.end_bar(Who::Server, y);
    }

    fn arrow(&mut self, arrow: &Arrow, seen: bool) {
        let kind = if arrow.lost { "reset" } else { kind(arrow.kind) };
        let dashed = if !seen || arrow.lost { " dashed" } else { "" };
        let (from, mut to, sign) = match arrow.from {
            Who::Client => (LEFT + 6.0, RIGHT - 6.0, 1.0),
            Who::Server => (RIGHT - 6.0, LEFT + 6.0, -1.0),
        };
        let (y0, mut y1) = (self.y - 9.0, self.y - 9.0 + FALL);
        if arrow.lost {
            // It ends on its way.
            (to, y1) = (from + (to - from) * 0.82, y0 + FALL * 0.82);
        }
        let _ = write!(
            self.marks,
            "<path class=\"arrow k-{kind}{dashed}\" d=\"M{} {}L{} {}\"/>",
            px(from),
            px(y0),
            px(to),
            px(y1)
        );
        let head = if arrow.lost {
            let (x, y) = (to, y1);
            format!(
                "<path class=\"arrow k-{kind}\" d=\"M{} {}L{} {}M{} {}L{} {}\"/>",
                px(x - 5.0),
                px(y - 5.0),
                px(x + 5.0),
                px(y + 5.0),
                px(x - 5.0),
                px(y + 5.0),
                px(x + 5.0),
                px(y - 5.0)
            )
        } else {
            format!(
                "<path class=\"f-{kind}\" d=\"M{} {}L{} {}L{} {}Z\"/>",
                px(to),
                px(y1),
                px(to - sign * 9.0),
                px(y1 - 4.5),
                px(to - sign * 9.0),
                px(y1 + 4.0)
            )
        };
        self.marks.push_str(&head);
        let mut label = arrow.label.pick(self.lang).to_owned();
        if arrow.times > 1 {
            label = format!("{} × {label}", arrow.times);
        }
        let half = wide(&label) * 13.0 / 14.0 / 2.0 + 7.0;
        let (x, y) = (px(WIDTH / 2.0 - half), px(self.y - 13.0));
        let _ = write!(
            self.marks,
            "<rect class=\"paper\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"17\"/>",
            px(2.0 * half)
        );
        self.text(&format!("label mid f-{kind}"), WIDTH / 2.0, &label);
    }
}

fn life(who: Who) -> f64 {
    match who {
        Who::Client => LEFT,
        Who::Server => RIGHT,
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Established | State::Listen => "s-open",
        State::CloseWait => "s-wait",
        State::TimeWait => "s-time",
        State::Closed => "s-gone",
        _ => "s-going",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "open",
        Kind::Data => "data",
        Kind::Close => "close",
        Kind::Reset => "reset",
        Kind::Ack => "ack",
    }
}
