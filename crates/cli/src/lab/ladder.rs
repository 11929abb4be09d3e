//! A sequence diagram: what client and server called, what went over the network, in which state that left them.

use super::packet::Segment;
use super::picture::{Paper, Picture};
use super::said::{Said, said};
use super::states::State;
use super::{ladder_svg, ladder_text};
use crate::report::Lang;
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
    /// Adds a row. The same segment over and over is counted, not drawn again.
    pub fn push(&mut self, at: Duration, what: What) {
        if let (What::Packet(new), Some(Row { what: What::Packet(last), .. })) = (&what, self.rows.last_mut())
        {
            let alike = Arrow { times: last.times, ..new.clone() } == *last;
            if alike && matches!(new.kind, Kind::Data | Kind::Ack) {
                last.times += 1;
                return;
            }
        }
        self.rows.push(Row { at, what });
    }
}

impl Arrow {
    /// A segment that was seen.
    pub fn seen(from: Who, segment: &Segment, again: bool, window: Option<u64>, lost: bool) -> Self {
        let mut words: Vec<String> = Vec::new();
        let kind = match segment {
            Segment { rst: true, .. } => Kind::Reset,
            Segment { syn: true, .. } => Kind::Open,
            Segment { fin: true, .. } => Kind::Close,
            Segment { len: 1.., .. } => Kind::Data,
            _ => Kind::Ack,
        };
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
        words.extend(window.map(|bytes| format!("win {bytes}")));
        let mut label = words.join(" ");
        let label = if again {
            let zh = format!("{label} 重传");
            label += " again";
            Said::from((label, zh))
        } else {
            Said::same(label)
        };
        Arrow { from, label, kind, lost, times: 1 }
    }

    /// A segment that must have been there, from what became of the states.
    pub fn concluded(from: Who, label: &'static str, kind: Kind) -> Self {
        Arrow { from, label: Said::same(label), kind, lost: false, times: 1 }
    }
}

impl Picture for Ladder {
    fn text(&self, paper: &Paper) -> String {
        ladder_text::text(self, paper)
    }

    fn svg(&self, lang: Lang) -> Option<(String, f64)> {
        Some(ladder_svg::drawing(self, lang))
    }
}
