//! Where the states stand in a terminal and how the edges run between them: the arrangement of RFC 9293's figure 5, in
//! cells. A plan knows nothing of numbers; that no label can lie on a state, a line or another label is a test of it.

use super::edge::Edge;
use duolu_sys::tcp_diag::TcpState;

/// A rectangle of cells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// Left.
    pub x: u16,
    /// Top.
    pub y: u16,
    /// Width.
    pub w: u16,
    /// Height.
    pub h: u16,
}

impl Area {
    /// Whether a cell lies in it.
    pub fn has(&self, x: u16, y: u16) -> bool {
        (self.x..self.x + self.w).contains(&x) && (self.y..self.y + self.h).contains(&y)
    }
}

/// Where in its room a label stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// At the left, beside a line that runs down at its left.
    Left,
    /// At the right.
    Right,
    /// In the middle of a line, which it interrupts.
    Inside,
}

/// An edge's line and the room for its label.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which.
    pub edge: Edge,
    /// The corners of its way, from the cell beside the one state to the cell beside the other, which is the arrow's
    /// head. Each lies straight above, below or beside the one before.
    pub way: Vec<(u16, u16)>,
    /// The room for cause and figure.
    pub room: Area,
    /// Where in it.
    pub align: Align,
}

/// The whole drawing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// The states. CLOSED stands in it twice, as in the RFC: where connections begin and where they end.
    pub nodes: Vec<(TcpState, Area)>,
    /// The edges.
    pub routes: Vec<Route>,
    /// The room beside ESTABLISHED for what is not an edge: accept().
    pub aside: Area,
}

/// The plans' measures: states of one row, and states in boxes of three.
const SMALL: (u16, u16) = (22, 1);
const LARGE: (u16, u16) = (24, 3);
/// Rows between two rows of states: a line's corner and its arrow.
const GAP: u16 = 2;
const ROWS: u16 = 7;
/// Wider, and the eye no longer finds from one state to the next.
const WIDEST: u16 = 124;

impl Plan {
    /// The narrowest.
    pub const LEAST: (u16, u16) = (78, ROWS + GAP * (ROWS - 1));

    /// The largest plan for so many columns and rows; `None` where not even the smallest fits.
    pub fn fit(columns: u16, rows: u16) -> Option<Plan> {
        let tall = LARGE.1 * ROWS + GAP * (ROWS - 1);
        match (columns, rows) {
            (columns, rows) if columns < Plan::LEAST.0 || rows < Plan::LEAST.1 => None,
            (columns, rows) if columns >= 110 && rows >= tall => Some(plan(columns.min(WIDEST), LARGE)),
            (columns, _) => Some(plan(columns.min(WIDEST), SMALL)),
        }
    }
}

fn plan(width: u16, (w, h): (u16, u16)) -> Plan {
    let pitch = h + GAP;
    // A row of states: its top, its middle, and the first row below it.
    let top = |row: u16| row * pitch;
    let mid = |row: u16| row * pitch + h / 2;
    let below = |row: u16| row * pitch + h;
    let above = |row: u16| row * pitch - 1;
    let (left, centre, right) = (0, (width - w) / 2, width - w);
    let (left_end, centre_end) = (w, centre + w);
    let box_at = |x: u16, row: u16| Area { x, y: top(row), w, h };
    let nodes = vec![
        (TcpState::Closed, box_at(centre, 0)),
        (TcpState::Listen, box_at(centre, 1)),
        (TcpState::SynReceived, box_at(left, 2)),
        (TcpState::SynSent, box_at(right, 2)),
        (TcpState::Established, box_at(centre, 3)),
        (TcpState::FinWait1, box_at(left, 4)),
        (TcpState::CloseWait, box_at(right, 4)),
        (TcpState::FinWait2, box_at(left, 5)),
        (TcpState::Closing, box_at(centre, 5)),
        (TcpState::LastAck, box_at(right, 5)),
        (TcpState::TimeWait, box_at(centre, 6)),
        (TcpState::Closed, box_at(right, 6)),
    ];
    // Rooms are given by their first and last column.
    let room = |from: u16, to: u16, y: u16, h: u16| Area { x: from, y, w: to + 1 - from, h };
    let route = |edge: Edge| {
        let (way, room, align) = match edge {
            Edge::PassiveOpen => (
                vec![(centre + 4, below(0)), (centre + 4, above(1))],
                room(left, centre + 2, below(0), 1),
                Align::Right,
            ),
            Edge::ListenerClosed => (
                vec![(centre + 14, above(1)), (centre + 14, below(0))],
                room(centre + 6, centre + 12, below(0), 2),
                Align::Right,
            ),
            Edge::ActiveOpen => (
                vec![(centre_end, mid(0)), (right + 18, mid(0)), (right + 18, above(2))],
                room(centre_end, right + 16, below(0), 1),
                Align::Right,
            ),
            Edge::ConnectFailed => (
                vec![
                    (right + 6, above(2)),
                    (right + 6, above(1)),
                    (centre + 19, above(1)),
                    (centre + 19, below(0)),
                ],
                room(right + 8, right + 16, top(1), h + 2),
                Align::Left,
            ),
            Edge::SynArrived => (
                vec![(centre + 4, below(1)), (left + 10, below(1)), (left + 10, above(2))],
                room(left + 12, centre + 10, above(2), 1),
                Align::Left,
            ),
            Edge::ListenerSends => (
                vec![(centre + 18, below(1)), (right + 2, below(1)), (right + 2, above(2))],
                room(centre + 12, right, above(2), 1),
                Align::Right,
            ),
            Edge::HandshakeReset => (
                vec![(left + 4, above(2)), (left + 4, mid(1)), (centre - 1, mid(1))],
                room(left + 4, centre - 2, mid(1) - 1, 1),
                Align::Left,
            ),
            Edge::BothOpened => (
                vec![(right - 1, mid(2)), (left_end, mid(2))],
                room(left_end + 3, right - 4, mid(2), 1),
                Align::Inside,
            ),
            Edge::Accepted => (
                vec![(left + 16, below(2)), (centre + 6, below(2)), (centre + 6, above(3))],
                room(left + 6, centre + 4, above(3), 1),
                Align::Right,
            ),
            Edge::Connected => (
                vec![(right + 6, below(2)), (centre + 16, below(2)), (centre + 16, above(3))],
                room(centre + 18, width - 1, above(3), 1),
                Align::Left,
            ),
            Edge::ClosedEarly => (
                vec![(left + 4, below(2)), (left + 4, above(4))],
                room(left + 6, centre - 2, mid(3), 1),
                Align::Left,
            ),
            Edge::ActiveClose => (
                vec![(centre + 6, below(3)), (left + 12, below(3)), (left + 12, above(4))],
                room(left + 14, centre + 17, above(4), 1),
                Align::Left,
            ),
            Edge::FinArrived => (
                vec![(centre + 16, below(3)), (right + 14, below(3)), (right + 14, above(4))],
                room(centre + 19, right + 12, above(4), 1),
                Align::Right,
            ),
            Edge::BothClosed => (
                vec![(left_end, mid(4)), (centre + 11, mid(4)), (centre + 11, above(5))],
                room(centre + 13, right + 2, below(4), 2),
                Align::Left,
            ),
            Edge::FinAcked => (
                vec![(left + 4, below(4)), (left + 4, above(5))],
                room(left + 6, centre + 9, below(4), 1),
                Align::Left,
            ),
            Edge::PassiveClose => (
                vec![(right + 4, below(4)), (right + 4, above(5))],
                room(right + 6, width - 1, below(4), 2),
                Align::Left,
            ),
            Edge::PeerClosed => (
                vec![(left + 4, below(5)), (left + 4, mid(6)), (centre - 1, mid(6))],
                room(left + 6, centre - 2, below(5), 2),
                Align::Left,
            ),
            Edge::BothAcked => (
                vec![(centre + 11, below(5)), (centre + 11, above(6))],
                room(centre, centre + 9, below(5), 2),
                Align::Right,
            ),
            Edge::LastAcked => (
                vec![(right + 4, below(5)), (right + 4, above(6))],
                room(right + 6, width - 1, below(5), 2),
                Align::Left,
            ),
            Edge::Expired => (
                vec![(centre_end, mid(6)), (right - 1, mid(6))],
                match h {
                    1 => room(centre + 13, right + 2, above(6), 1),
                    _ => room(centre_end + 1, right - 2, mid(6) - 1, 1),
                },
                Align::Right,
            ),
        };
        Route { edge, way, room, align }
    };
    let routes = Edge::ALL.into_iter().map(route).collect();
    let aside = room(centre_end + 2, width - 1, mid(3), 1);
    Plan { width, height: top(ROWS - 1) + h, nodes, routes, aside }
}

impl Route {
    /// Every cell of the line with the directions in which it goes on, the head's last.
    pub fn cells(&self) -> Vec<(u16, u16)> {
        let mut cells = vec![self.way[0]];
        for corner in &self.way[1..] {
            while let Some(&(x, y)) = cells.last().filter(|cell| *cell != corner) {
                let step = |from: u16, to: u16| match from.cmp(&to) {
                    std::cmp::Ordering::Less => from + 1,
                    std::cmp::Ordering::Equal => from,
                    std::cmp::Ordering::Greater => from - 1,
                };
                cells.push((step(x, corner.0), step(y, corner.1)));
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn sizes() -> Vec<Plan> {
        let sizes = [(78, 19), (80, 21), (97, 24), (110, 33), (118, 36), (120, 37), (250, 90)];
        sizes.into_iter().map(|(columns, rows)| Plan::fit(columns, rows).expect("fits")).collect()
    }

    #[test]
    fn nothing_lies_on_anything_else() {
        for plan in sizes() {
            let mut taken: HashMap<(u16, u16), String> = HashMap::new();
            let mut put = |x: u16, y: u16, what: String| {
                assert!(x < plan.width && y < plan.height, "{what} at {x},{y} is outside");
                if let Some(other) = taken.insert((x, y), what.clone()) {
                    panic!("{what} lies on {other} at {x},{y} of {}x{}", plan.width, plan.height);
                }
            };
            for (state, area) in &plan.nodes {
                for (x, y) in (0..area.w).flat_map(|dx| (0..area.h).map(move |dy| (area.x + dx, area.y + dy)))
                {
                    put(x, y, state.to_string());
                }
            }
            for x in plan.aside.x..plan.aside.x + plan.aside.w {
                put(x, plan.aside.y, "the aside".to_owned());
            }
            for route in &plan.routes {
                // A label may interrupt its own line and no other.
                let inside = route.align == Align::Inside;
                for (x, y) in route.cells() {
                    if !(inside && route.room.has(x, y)) {
                        put(x, y, format!("the line of {:?}", route.edge));
                    }
                }
                let room = route.room;
                for (x, y) in (0..room.w).flat_map(|dx| (0..room.h).map(move |dy| (room.x + dx, room.y + dy)))
                {
                    put(x, y, format!("the label of {:?}", route.edge));
                }
            }
        }
    }

    #[test]
    fn a_line_begins_and_ends_beside_its_states() {
        for plan in sizes() {
            for route in &plan.routes {
                let beside = |state: TcpState, (x, y): (u16, u16)| {
                    plan.nodes.iter().filter(|(node, _)| *node == state).any(|(_, area)| {
                        area.has(x + 1, y)
                            || area.has(x, y + 1)
                            || x > 0 && area.has(x - 1, y)
                            || y > 0 && area.has(x, y - 1)
                    })
                };
                let (first, last) = (route.way[0], *route.way.last().unwrap());
                assert!(beside(route.edge.from(), first), "{:?} begins at {first:?}", route.edge);
                assert!(beside(route.edge.to(), last), "{:?} ends at {last:?}", route.edge);
                for pair in route.way.windows(2) {
                    assert!(pair[0].0 == pair[1].0 || pair[0].1 == pair[1].1, "{:?} is askew", route.edge);
                }
            }
            assert_eq!(plan.routes.len(), Edge::ALL.len());
        }
    }

    #[test]
    fn where_it_does_not_fit_there_is_none() {
        assert_eq!(Plan::fit(77, 50), None);
        assert_eq!(Plan::fit(200, 18), None);
        assert!(Plan::fit(80, 20).is_some_and(|plan| plan.height == 19));
        assert!(Plan::fit(120, 36).is_some_and(|plan| plan.height == 33));
    }
}
