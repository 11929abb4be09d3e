//! The ladder that is being recorded: what each segment was, seen beside those before it.

use super::ladder::{Arrow, Kind, Ladder, Shade, What, Who};
use super::packet::Segment;
use super::said::Said;
use super::states::State;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

/// What was seen of one end's segments.
#[derive(Clone, Copy, Default, Debug)]
pub struct Seen {
    /// The MSS that it announced in its SYN.
    pub mss: Option<u16>,
    /// Bytes of TCP options in its largest segment.
    pub options: usize,
    /// Data bytes of its largest segment.
    pub largest: u32,
    /// The IP packet that this was in, bytes.
    pub packet: u32,
    /// Segments with data.
    pub segments: u32,
}

/// The ladder that is being recorded.
#[derive(Debug)]
pub struct Scene {
    pub(super) ladder: Ladder,
    pub(super) began: Instant,
    /// Client and server, once they are connected.
    pub(super) ends: Option<[SocketAddr; 2]>,
    pub(super) states: [Option<State>; 2],
    /// Whose incoming segments a filter drops.
    pub(super) deaf: [bool; 2],
    /// The next number each direction has not sent yet: what is below was sent before.
    pub(super) next_seq: HashMap<SocketAddr, u32>,
    pub(super) seen: [Seen; 2],
    /// Whether acknowledgements tell the window, and what each end scales it by.
    pub(super) windows: bool,
    pub(super) scale: [u8; 2],
}

impl Scene {
    /// The beginning of a ladder; `seen`: of packets.
    pub fn new(title: Said, seen: bool) -> Self {
        Scene {
            ladder: Ladder { title, ports: [None; 2], seen, rows: Vec::new() },
            began: Instant::now(),
            ends: None,
            states: [None; 2],
            deaf: [false; 2],
            next_seq: HashMap::new(),
            seen: [Seen::default(); 2],
            windows: false,
            scale: [0; 2],
        }
    }

    /// Both ends are in these states now.
    pub fn enter(&mut self, now: [State; 2]) {
        let before = self.states;
        self.states = now.map(Some);
        let changed = [0, 1].map(|at| (before[at] != Some(now[at])).then_some(now[at]));
        if changed == [None, None] {
            return;
        }
        let at = self.began.elapsed();
        if !self.ladder.seen {
            for arrow in concluded(before, now) {
                self.ladder.push(at, What::Packet(arrow));
            }
        }
        self.ladder.push(at, What::States(changed));
    }

    /// A segment was seen.
    pub fn take(&mut self, segment: &Segment) {
        if self.ends.is_none() && segment.syn && !segment.ack {
            // A connection's first segment says who is who, before connect has returned.
            self.ends = Some([segment.from, segment.to]);
        }
        let Some(ends) = self.ends else { return };
        let from = match ends {
            [client, server] if (segment.from, segment.to) == (client, server) => Who::Client,
            [client, server] if (segment.from, segment.to) == (server, client) => Who::Server,
            _ => return, // another connection of the experiment
        };
        let end = segment.seq.wrapping_add(segment.span());
        let next = self.next_seq.entry(segment.from).or_insert(segment.seq);
        let again = segment.span() > 0 && (end.wrapping_sub(*next) as i32) <= 0;
        // A bare ACK below what it has sent asks for an answer: it probes a window (RFC 9293, 3.8.6.1).
        let probes = segment.span() == 0 && !segment.rst && end.wrapping_add(1) == *next;
        if !again {
            *next = end;
        }
        if let (true, Some(scale)) = (segment.syn, segment.scale) {
            self.scale[from as usize] = scale;
        }
        let seen = &mut self.seen[from as usize];
        seen.mss = seen.mss.or(segment.mss);
        seen.segments += u32::from(segment.len > 0);
        if segment.len > seen.largest {
            seen.largest = segment.len;
            seen.options = segment.options;
            seen.packet = 20 + 20 + segment.options as u32 + segment.len;
        }
        let bare = segment.ack && segment.span() == 0 && !segment.rst && !probes;
        let window = u64::from(segment.window) << self.scale[from as usize];
        let shown = Shade {
            again,
            probes,
            window: (self.windows && bare && from == Who::Server).then_some(window),
            lost: self.deaf[from.other() as usize],
        };
        let arrow = Arrow::seen(from, segment, &shown);
        self.ladder.push(self.began.elapsed(), What::Packet(arrow));
    }
}

/// What must have gone over a network whose packets we do not see.
fn concluded(before: [Option<State>; 2], now: [State; 2]) -> Vec<Arrow> {
    use State::{CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, TimeWait};
    if before == [None, None] && now == [Established; 2] {
        return vec![
            Arrow::concluded(Who::Client, "SYN", Kind::Open),
            Arrow::concluded(Who::Server, "SYN ACK", Kind::Open),
            Arrow::concluded(Who::Client, "ACK", Kind::Ack),
        ];
    }
    let ended = |who: Who| {
        let after = matches!(now[who as usize], FinWait1 | FinWait2 | Closing | TimeWait | LastAck);
        match before[who as usize] {
            Some(Established) => after,
            // Gone without a trace: its FIN is acknowledged, or the connection was reset; the other end tells.
            Some(CloseWait) => after || now[who.other() as usize] == TimeWait,
            _ => false,
        }
    };
    [Who::Client, Who::Server]
        .into_iter()
        .filter(|&who| ended(who))
        .map(|who| Arrow::concluded(who, "FIN", Kind::Close))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::Lang;

    const CLIENT: &str = "127.0.0.1:40000";
    const SERVER: &str = "127.0.0.1:80";

    /// A segment with so many bytes from `from`, which begins with the number `seq`.
    fn segment(from: &str, seq: u32, len: u32) -> Segment {
        let to = if from == CLIENT { SERVER } else { CLIENT };
        Segment {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            seq,
            len,
            syn: false,
            fin: false,
            rst: false,
            ack: true,
            acked: 0,
            window: 100,
            mss: None,
            scale: None,
            options: 12,
        }
    }

    fn labels(scene: &Scene) -> Vec<String> {
        let label = |row: &crate::lab::ladder::Row| match &row.what {
            What::Packet(arrow) => {
                let lost = if arrow.lost { " lost" } else { "" };
                Some(format!("{:?} {}×{}{lost}", arrow.from, arrow.times, arrow.label.pick(Lang::En)))
            }
            _ => None,
        };
        scene.ladder.rows.iter().filter_map(label).collect()
    }

    #[test]
    fn a_segment_is_what_those_before_it_make_of_it() {
        let mut scene = Scene::new(Said::same("test"), true);
        scene.windows = true;
        scene.take(&segment(SERVER, 7, 3)); // of an older connection: nobody has begun this one
        scene.take(&Segment { syn: true, ack: false, ..segment(CLIENT, u32::MAX, 0) });
        scene.take(&Segment { syn: true, scale: Some(4), ..segment(SERVER, 500, 0) });
        scene.take(&segment(CLIENT, 0, 10)); // numbers go on after 2^32 - 1
        scene.take(&segment(CLIENT, 10, 10));
        scene.take(&segment(SERVER, 501, 0));
        scene.take(&segment(CLIENT, 10, 10));
        scene.take(&segment(CLIENT, 19, 0));
        scene.deaf = [false, true];
        scene.take(&Segment { fin: true, ..segment(CLIENT, 20, 0) });
        let expected = [
            "Client 1×SYN",
            "Server 1×SYN ACK",
            "Client 2×10 B",
            "Server 1×ACK win 1600",
            "Client 1×10 B again",
            "Client 1×window probe",
            "Client 1×FIN lost",
        ];
        assert_eq!(labels(&scene), expected);
        let Seen { largest, packet, segments, .. } = scene.seen[Who::Client as usize];
        assert_eq!((largest, packet, segments), (10, 62, 3));
    }

    #[test]
    fn states_without_packets_tell_what_must_have_gone() {
        let mut scene = Scene::new(Said::same("test"), false);
        for states in [
            [State::Established; 2],
            [State::FinWait2, State::CloseWait],
            [State::FinWait2, State::CloseWait],
            [State::TimeWait, State::Closed],
        ] {
            scene.enter(states);
        }
        assert_eq!(
            labels(&scene),
            ["Client 1×SYN", "Server 1×SYN ACK", "Client 1×ACK", "Client 1×FIN", "Server 1×FIN"]
        );
        let mut reset = Scene::new(Said::same("test"), false);
        reset.states = [Some(State::FinWait2), Some(State::CloseWait)];
        reset.enter([State::Closed; 2]);
        assert_eq!(labels(&reset), Vec::<String>::new(), "a reset is no FIN");
    }
}
