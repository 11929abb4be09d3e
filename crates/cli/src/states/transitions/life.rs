//! The lives that a connection can have on the diagram: how it opens, how it closes. What lies between two looks at it
//! is the part of a life between two states.

use super::super::diagram::Edge;
use crate::inspect::Role;
use duolu_sys::tcp_diag::TcpState;

/// How it came to ESTABLISHED.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// By connect().
    Active,
    /// Out of a listener.
    Passive,
    /// Nobody knows: it is not counted.
    Unknown,
}

/// How it came from ESTABLISHED to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// This end first.
    Active,
    /// The other end first.
    Passive,
    /// Both at once.
    Both,
}

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    pub open: Open,
    pub close: Close,
}

impl Life {
    fn edges(self) -> Vec<Edge> {
        let open: &[Edge] = match self.open {
            Open::Active => &[Edge::ActiveOpen, Edge::Connected],
            Open::Passive => &[Edge::SynArrived, Edge::Accepted],
            Open::Unknown => &[],
        };
        let close: &[Edge] = match self.close {
            Close::Active => &[Edge::ActiveClose, Edge::FinAcked, Edge::PeerClosed, Edge::Expired],
            Close::Passive => &[Edge::FinArrived, Edge::PassiveClose, Edge::LastAcked],
            Close::Both => &[Edge::ActiveClose, Edge::BothClosed, Edge::BothAcked, Edge::Expired],
        };
        [open, close].concat()
    }

    /// From its beginning to where it stands in `state`; nothing where this life does not come there.
    pub fn until(self, state: TcpState) -> Vec<Edge> {
        let mut edges = self.edges();
        let count = edges.iter().position(|edge| edge.to() == state).map_or(0, |last| last + 1);
        edges.truncate(count);
        edges
    }

    /// From where it stands in `from` to where it stands in `to`; `None` where it does not come from the one to the
    /// other.
    pub fn between(self, from: TcpState, to: TcpState) -> Option<Vec<Edge>> {
        let edges = self.edges();
        let first = edges.iter().position(|edge| edge.from() == from)?;
        let last = edges.iter().rposition(|edge| edge.to() == to).filter(|last| *last >= first)?;
        Some(edges[first..=last].to_vec())
    }
}

impl Open {
    /// The side that a socket is shows how it was opened.
    pub fn of(role: Role) -> Self {
        match role {
            Role::Client => Open::Active,
            Role::Server => Open::Passive,
            Role::Listener | Role::Unknown => Open::Unknown,
        }
    }

    /// How the other end was opened.
    pub fn other(self) -> Self {
        match self {
            Open::Active => Open::Passive,
            Open::Passive => Open::Active,
            Open::Unknown => Open::Unknown,
        }
    }
}

impl Close {
    /// What a state, and the other end's where it is known, says about how a connection closes.
    pub fn of(state: TcpState, peer: Option<TcpState>) -> Self {
        use TcpState::{CloseWait, Closing, LastAck, TimeWait};
        match (state, peer) {
            (CloseWait | LastAck, _) => Close::Passive,
            (Closing, _) | (TimeWait, Some(TimeWait | Closing)) => Close::Both,
            _ => Close::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::*;

    #[test]
    fn every_life_is_without_gaps_and_ends_in_closed() {
        for open in [Open::Active, Open::Passive, Open::Unknown] {
            for close in [Close::Active, Close::Passive, Close::Both] {
                let edges = Life { open, close }.until(Closed);
                assert!(edges.windows(2).all(|pair| pair[0].to() == pair[1].from()), "{edges:?}");
                assert_eq!(edges.last().map(|edge| edge.to()), Some(Closed));
            }
        }
    }

    #[test]
    fn a_part_of_a_life_lies_between_two_states() {
        let client = Life { open: Open::Active, close: Close::Active };
        assert_eq!(client.until(Established), [Edge::ActiveOpen, Edge::Connected]);
        let to_the_end = [Edge::ActiveClose, Edge::FinAcked, Edge::PeerClosed];
        assert_eq!(client.between(Established, TimeWait).as_deref(), Some(&to_the_end[..]));
        assert_eq!(client.between(TimeWait, Established), None);
        assert_eq!(client.between(CloseWait, Closed), None);
        let server = Life { open: Open::Passive, close: Close::Passive };
        assert_eq!(server.between(CloseWait, Closed).map(|edges| edges.len()), Some(2));
        assert!(client.until(CloseWait).is_empty());
    }
}
