//! Where the states stand in the drawing, how the edges run, and where their two texts stand: the arrangement of RFC
//! 9293's figure 5, in pixels, given by hand edge by edge. A test with the widest figures in both languages keeps them
//! from lying on each other.

use super::edge::Edge;
use duolu_sys::tcp_diag::TcpState;

/// The drawing's width and height.
pub const SIZE: (f64, f64) = (1180.0, 838.0);
/// A state's.
pub const BOX: (f64, f64) = (208.0, 62.0);
const LEFT: f64 = 20.0;
const CENTRE: f64 = 486.0;
const RIGHT: f64 = 952.0;
const PITCH: f64 = 120.0;
/// The middle of the first row of states.
const FIRST: f64 = 68.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
/// Which end of a text stands at its place.
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// Where an edge runs and where its two texts stand: cause and figure, and below or above it the program's side.
pub struct Line {
    pub way: Vec<(f64, f64)>,
    pub cause: (f64, f64),
    pub program: (f64, f64),
    pub anchor: Anchor,
}

fn mid(row: u8) -> f64 {
    FIRST + PITCH * f64::from(row)
}

fn top(row: u8) -> f64 {
    mid(row) - BOX.1 / 2.0
}

fn bottom(row: u8) -> f64 {
    mid(row) + BOX.1 / 2.0
}

/// Half-way between two rows of states.
fn between(row: u8) -> f64 {
    bottom(row) + (PITCH - BOX.1) / 2.0
}

/// CLOSED stands there twice, as in the RFC.
pub fn nodes() -> [(TcpState, f64, f64); 12] {
    use TcpState::*;
    [
        (Closed, CENTRE, top(0)),
        (Listen, CENTRE, top(1)),
        (SynReceived, LEFT, top(2)),
        (SynSent, RIGHT, top(2)),
        (Established, CENTRE, top(3)),
        (FinWait1, LEFT, top(4)),
        (CloseWait, RIGHT, top(4)),
        (FinWait2, LEFT, top(5)),
        (Closing, CENTRE, top(5)),
        (LastAck, RIGHT, top(5)),
        (TimeWait, CENTRE, top(6)),
        (Closed, RIGHT, top(6)),
    ]
}

pub fn line(edge: Edge) -> Line {
    use Anchor::*;
    let (left_end, centre_end) = (LEFT + BOX.0, CENTRE + BOX.0);
    let (way, cause, program, anchor) = match edge {
        Edge::PassiveOpen => {
            let (x, y) = (CENTRE + 40.0, between(0));
            (vec![(x, bottom(0)), (x, top(1))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::ListenerClosed => {
            let (x, y) = (CENTRE + 112.0, between(0));
            (vec![(x, top(1)), (x, bottom(0))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::ActiveOpen => {
            let (x, y) = (RIGHT + 146.0, mid(0) - 15.0);
            let text = centre_end + 14.0;
            (vec![(centre_end, y), (x, y), (x, top(2))], (text, y - 24.0), (text, y - 8.0), Start)
        }
        Edge::ConnectFailed => {
            let (x, y) = (RIGHT + 50.0, mid(0) + 15.0);
            let text = x - 12.0;
            (vec![(x, top(2)), (x, y), (centre_end, y)], (text, y + 22.0), (text, y + 38.0), End)
        }
        Edge::SynArrived => {
            let (x, y) = (CENTRE + 40.0, between(1));
            let (to, text) = (LEFT + 140.0, LEFT + 140.0);
            (vec![(x, bottom(1)), (x, y), (to, y), (to, top(2))], (text, y - 24.0), (text, y - 8.0), Start)
        }
        Edge::ListenerSends => {
            let (x, y) = (RIGHT + 18.0, mid(1));
            (vec![(centre_end, y), (x, y), (x, top(2))], (x - 12.0, y + 20.0), (x - 12.0, y + 36.0), End)
        }
        Edge::HandshakeReset => {
            let (x, y) = (LEFT + 50.0, mid(1));
            (vec![(x, top(2)), (x, y), (CENTRE, y)], (x, y - 24.0), (x, y - 8.0), Start)
        }
        Edge::BothOpened => {
            let (y, x) = (mid(2), CENTRE + BOX.0 / 2.0);
            (vec![(RIGHT, y), (left_end, y)], (x, y - 8.0), (x, y + 17.0), Middle)
        }
        Edge::Accepted => {
            let (x, y, to) = (LEFT + 140.0, between(2), CENTRE + 58.0);
            (
                vec![(x, bottom(2)), (x, y), (to, y), (to, top(3))],
                (x + 14.0, y - 8.0),
                (x + 14.0, y + 17.0),
                Start,
            )
        }
        Edge::Connected => {
            let (x, y, to) = (RIGHT + 56.0, between(2), CENTRE + 138.0);
            (
                vec![(x, bottom(2)), (x, y), (to, y), (to, top(3))],
                (x - 14.0, y - 8.0),
                (x - 14.0, y + 17.0),
                End,
            )
        }
        Edge::ClosedEarly => {
            let (x, y) = (LEFT + 50.0, mid(3));
            (vec![(x, bottom(2)), (x, top(4))], (x + 12.0, y), (x + 12.0, y + 16.0), Start)
        }
        Edge::ActiveClose => {
            let (x, y, to) = (CENTRE + 58.0, between(3), LEFT + 140.0);
            (
                vec![(x, bottom(3)), (x, y), (to, y), (to, top(4))],
                (to + 14.0, y - 8.0),
                (to + 14.0, y + 17.0),
                Start,
            )
        }
        Edge::FinArrived => {
            let (x, y, to) = (CENTRE + 138.0, between(3), RIGHT + 98.0);
            (
                vec![(x, bottom(3)), (x, y), (to, y), (to, top(4))],
                (to - 14.0, y - 8.0),
                (to - 14.0, y + 17.0),
                End,
            )
        }
        Edge::BothClosed => {
            let (x, y) = (CENTRE + 98.0, mid(4));
            (
                vec![(left_end, y), (x, y), (x, top(5))],
                (left_end + 20.0, y - 8.0),
                (left_end + 20.0, y + 17.0),
                Start,
            )
        }
        Edge::FinAcked => {
            let (x, y) = (LEFT + 98.0, between(4));
            (vec![(x, bottom(4)), (x, top(5))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::PassiveClose => {
            let (x, y) = (RIGHT + 98.0, between(4));
            (vec![(x, bottom(4)), (x, top(5))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::PeerClosed => {
            let (x, y) = (LEFT + 98.0, mid(6));
            (vec![(x, bottom(5)), (x, y), (CENTRE, y)], (x + 14.0, y - 24.0), (x + 14.0, y - 8.0), Start)
        }
        Edge::BothAcked => {
            let (x, y) = (CENTRE + 98.0, between(5));
            (vec![(x, bottom(5)), (x, top(6))], (x + 12.0, y - 3.0), (x + 12.0, y + 13.0), Start)
        }
        Edge::LastAcked => {
            let (x, y) = (RIGHT + 98.0, between(5));
            (vec![(x, bottom(5)), (x, top(6))], (x - 12.0, y - 3.0), (x - 12.0, y + 13.0), End)
        }
        Edge::Expired => {
            let (y, x) = (mid(6), (centre_end + RIGHT) / 2.0);
            (vec![(centre_end, y), (RIGHT, y)], (x, y - 8.0), (x, y + 17.0), Middle)
        }
    };
    Line { way, cause, program, anchor }
}
