//! The numbers to be drawn.

use super::edge::Edge;
use super::step::Other;
use crate::states::transitions::Refusal;
use duolu_sys::tcp_diag::TcpState;
use std::time::Duration;

/// How often each edge was taken, and each of what the figure leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flow {
    edges: [u64; Edge::ALL.len()],
    others: [u64; Other::ALL.len()],
}

impl Flow {
    /// An edge was taken once more.
    pub fn take(&mut self, edge: Edge) {
        self.edges[edge as usize] += 1;
    }

    /// An edge was taken so many times more.
    pub fn take_many(&mut self, edge: Edge, times: u64) {
        self.edges[edge as usize] += times;
    }

    /// Something that the figure leaves out happened once more.
    pub fn other(&mut self, other: Other) {
        self.others[other as usize] += 1;
    }

    /// Something that the figure leaves out happened so many times more.
    pub fn other_many(&mut self, other: Other, times: u64) {
        self.others[other as usize] += times;
    }

    /// Along this edge.
    pub fn of(&self, edge: Edge) -> u64 {
        self.edges[edge as usize]
    }

    /// Of this kind.
    pub fn of_other(&self, other: Other) -> u64 {
        self.others[other as usize]
    }

    /// Both together.
    pub fn add(&mut self, more: &Flow) {
        self.edges.iter_mut().zip(&more.edges).for_each(|(sum, one)| *sum += one);
        self.others.iter_mut().zip(&more.others).for_each(|(sum, one)| *sum += one);
    }
}

/// How it is known what moved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// The kernel told every change. `lost` of them came too fast to be kept.
    Traced {
        /// So many since the beginning.
        lost: u64,
    },
    /// Two looks were compared; why, where the kernel was asked and did not tell.
    Sampled {
        /// What kept the tracepoint from being read; `None`: nobody wanted it.
        refused: Option<Refusal>,
    },
}

/// What one moment looks like.
#[derive(Clone, PartialEq, Debug)]
pub struct Picture {
    /// Sockets in each state, by the kernel's number of the state.
    counts: [u64; 12],
    /// Those in CLOSE-WAIT for longer than [`Picture::STALE`].
    pub stale: u64,
    /// The fullest listen queue and its bound.
    pub queue: Option<(u32, u32)>,
    /// What moved since the last picture.
    pub lately: Flow,
    /// The time since the last picture.
    pub span: Duration,
    /// What moved since the beginning.
    pub since: Flow,
    /// How that is known.
    pub how: How,
}

impl Picture {
    /// A program that has not closed for so long has, as a rule, forgotten to: no read or write of a request takes a
    /// minute, and TIME-WAIT of the same connection would be over.
    pub const STALE: Duration = Duration::from_secs(60);

    /// Nothing in it yet.
    pub fn empty(how: How) -> Self {
        Picture {
            counts: [0; 12],
            stale: 0,
            queue: None,
            lately: Flow::default(),
            span: Duration::ZERO,
            since: Flow::default(),
            how,
        }
    }

    /// One more socket in this state.
    pub fn count(&mut self, state: TcpState) {
        self.counts[state as usize] += 1;
    }

    /// Sets how many stand in this state.
    #[cfg(test)]
    pub fn set(&mut self, state: TcpState, count: u64) {
        self.counts[state as usize] = count;
    }

    /// How many stand in this state.
    pub fn at(&self, state: TcpState) -> u64 {
        self.counts[state as usize]
    }

    /// A second's worth of what moved along this edge lately.
    pub fn rate(&self, edge: Edge) -> f64 {
        self.per_second(self.lately.of(edge))
    }

    /// The same of what the figure leaves out.
    pub fn other_rate(&self, other: Other) -> f64 {
        self.per_second(self.lately.of_other(other))
    }

    fn per_second(&self, times: u64) -> f64 {
        if self.span.is_zero() { 0.0 } else { times as f64 / self.span.as_secs_f64() }
    }

    /// What stands at an edge: a rate while it is taken, how often it was since the beginning when it no longer is,
    /// nothing where it never was. At most seven columns.
    pub fn figure(&self, edge: Edge) -> Option<String> {
        figure(self.rate(edge), self.since.of(edge))
    }

    /// The same of what the figure leaves out.
    pub fn other_figure(&self, other: Other) -> Option<String> {
        figure(self.other_rate(other), self.since.of_other(other))
    }
}

fn figure(rate: f64, total: u64) -> Option<String> {
    match (rate, total) {
        (rate, _) if rate > 0.0 => Some(format!("{}/s", short(rate))),
        (_, 0) => None,
        (_, total) => Some(format!("×{}", short(total as f64))),
    }
}

/// `0.5`, `42`, `9,876`, `12.3k`, `123k`, `1.2M`: at most five columns.
pub fn short(value: f64) -> String {
    match value {
        v if v < 9.95 && v.fract() > 0.0 => format!("{v:.1}"),
        v if v < 9_999.5 => crate::walls::grouped(v.round() as u64),
        v if v < 99_950.0 => format!("{:.1}k", v / 1e3),
        v if v < 999_500.0 => format!("{:.0}k", v / 1e3),
        v if v < 9_950_000.0 => format!("{:.1}M", v / 1e6),
        v => format!("{:.0}M", v / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_shows_its_rate_and_then_its_sum() {
        let mut picture = Picture::empty(How::Sampled { refused: None });
        assert_eq!(picture.figure(Edge::ActiveOpen), None);
        picture.lately.take_many(Edge::ActiveOpen, 5);
        picture.since.take_many(Edge::ActiveOpen, 12_345);
        picture.span = Duration::from_secs(2);
        assert_eq!(picture.figure(Edge::ActiveOpen).as_deref(), Some("2.5/s"));
        picture.lately = Flow::default();
        assert_eq!(picture.figure(Edge::ActiveOpen).as_deref(), Some("×12.3k"));
    }

    #[test]
    fn a_figure_is_never_wider_than_its_place() {
        for exponent in 0..9 {
            for digits in [1.0, 1.04, 9.5, 9.949, 9.951, 9.9951, 9.99999] {
                let value = digits * 10f64.powi(exponent);
                assert!(short(value).chars().count() <= 5, "{value}: {}", short(value));
            }
        }
        assert_eq!([short(0.5), short(42.0), short(9_999.6)], ["0.5", "42", "10.0k"]);
    }
}
