//! A sequence diagram: what client and server called, what went over the network, in which state that left them.

use super::packet::Segment;
use super::picture::{Paper, Picture};
use super::said::{Said, said};
use super::states::State;
use super::{ladder_svg, ladder_text};
use crate::lang::Lang;
use std::time::Duration;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// On the left: it connects.
    Client,
    /// On the right: it accepts.
    Server,
}

impl Who {
    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Who::Client => Who::Server,
            Who::Server => Who::Client,
        }
    }

    /// Its name.
    pub const fn said(self) -> Said {
        match self {
            Who::Client => said("client", "客户端"),
            Who::Server => said("server", "服务器"),
        }
    }
}

/// A sequence diagram.
#[derive(Debug)]
pub struct Ladder {
    /// What is tried here.
    pub title: Said,
    /// The two, with their ports where they are known.
    pub ports: [Option<u16>; 2],
    /// Whether the packets were seen. If not, arrows are worked out from the states.
    pub seen: bool,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// One row, and when it was, from the ladder's beginning.
#[derive(Debug)]
pub struct Row {
    /// When.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What a row shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A system call and its result.
    Call {
        /// Whose.
        who: Who,
        /// `close()`.
        name: String,
        /// `0`, `5 bytes`, `EPIPE`.
        result: String,
        /// Whether the result is an error.
        failed: bool,
    },
    /// A segment on its way.
    Packet(Arrow),
    /// The states from here on; `None` where it is the same as before.
    States([Option<State>; 2]),
    /// Something to notice, on the side of one or of both.
    Note(Option<Who>, Said),
}

/// A segment on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrow {
    /// Its sender.
    pub from: Who,
    /// What it is.
    pub label: Said,
    /// How it is drawn.
    pub kind: Kind,
    /// It did not reach the other one's TCP.
    pub lost: bool,
    /// So many alike in a row.
    pub times: u32,
}

/// What a segment does not say by itself.
#[derive(Clone, Copy, Debug)]
pub struct Shade {
    /// It was sent before.
    pub again: bool,
    /// It only asks for an answer.
    pub probes: bool,
    /// The window that it tells, where that is to be shown.
    pub window: Option<u64>,
    /// It did not reach the other one's TCP.
    pub lost: bool,
}

/// How an arrow is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SYN: it begins.
    Open,
    /// Data.
    Data,
    /// FIN: one direction ends.
    Close,
    /// RST: it is over.
    Reset,
    /// A bare acknowledgement.
    Ack,
}

impl Ladder {
    /// Adds a row. The same segment over and over is counted, not drawn again; of acknowledgements in a row the last
    /// tells the window.
    pub fn push(&mut self, at: Duration, what: What) {
        if let (What::Packet(new), Some(Row { what: What::Packet(last), .. })) = (&what, self.rows.last_mut())
            && last.counts(new)
        {
            let times = last.times + 1;
            *last = Arrow { times, ..new.clone() };
            return;
        }
        self.rows.push(Row { at, what });
    }
}

impl Arrow {
    /// Whether a new one may be counted with this one.
    fn counts(&self, new: &Arrow) -> bool {
        let alike = (self.from, self.kind, self.lost) == (new.from, new.kind, new.lost);
        let tells_window = |arrow: &Arrow| arrow.label.pick(Lang::En).starts_with("ACK win");
        match self.kind {
            Kind::Data => alike && self.label == new.label,
            Kind::Ack => alike && (self.label == new.label || tells_window(self) && tells_window(new)),
            _ => false,
        }
    }

    /// A segment that was seen.
    pub fn seen(from: Who, segment: &Segment, shade: &Shade) -> Self {
        let kind = match segment {
            Segment { rst: true, .. } => Kind::Reset,
            Segment { syn: true, .. } => Kind::Open,
            Segment { fin: true, .. } => Kind::Close,
            Segment { len: 1.., .. } => Kind::Data,
            _ => Kind::Ack,
        };
        let label =
            if shade.probes { said("window probe", "窗口探测") } else { label(segment, kind, shade) };
        Arrow { from, label, kind, lost: shade.lost, times: 1 }
    }

    /// A segment that must have been there, from what became of the states.
    pub fn concluded(from: Who, label: &'static str, kind: Kind) -> Self {
        Arrow { from, label: Said::same(label), kind, lost: false, times: 1 }
    }
}

fn label(segment: &Segment, kind: Kind, shade: &Shade) -> Said {
    let mut words: Vec<String> = Vec::new();
    for (flag, name) in [(segment.syn, "SYN"), (segment.fin, "FIN"), (segment.rst, "RST")] {
        if flag {
            words.push(name.to_owned());
        }
    }
    // Every segment but the first acknowledges; it is told where it is the point.
    if segment.ack && matches!(kind, Kind::Ack | Kind::Open) {
        words.push("ACK".to_owned());
    }
    words.extend(segment.mss.map(|mss| format!("mss {mss}")));
    if segment.len > 0 {
        words.push(format!("{} B", segment.len));
    }
    words.extend(shade.window.map(|bytes| format!("win {bytes}")));
    let label = words.join(" ");
    if shade.again {
        return Said::from((format!("{label} again"), format!("{label} 重传")));
    }
    Said::same(label)
}

impl Picture for Ladder {
    fn text(&self, paper: &Paper) -> String {
        ladder_text::text(self, paper)
    }

    fn svg(&self, lang: Lang) -> Option<(String, f64)> {
        Some(ladder_svg::drawing(self, lang))
    }
}
