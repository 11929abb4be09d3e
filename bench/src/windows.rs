//! Windows of some milliseconds, turn by turn: floor, A, B, floor, A, B. What disturbs the machine for longer
//! than a round disturbs all alike, so the ratio of neighbours is steadier than any figure alone.

use crate::Outcome;
use crate::spread::Spread;
use crate::subjects::Subject;

/// How long a window is to last.
const WINDOW_NS: f64 = 20e6;

pub struct Measured {
    pub floor: Spread,
    /// For each of the others: its own figure, and its ratio to the floor's window of the same round.
    pub others: Vec<(Spread, Spread)>,
}

/// `rounds` rounds, after one that warms up and says how many events a window takes.
pub fn compare(floor: &Subject, others: &[Subject], rounds: usize) -> Outcome<Measured> {
    let all: Vec<&Subject> = std::iter::once(floor).chain(others).collect();
    let mut running = all.iter().map(|subject| subject.start()).collect::<Outcome<Vec<_>>>()?;
    let mut counts = Vec::new();
    for subject in &mut running {
        let first = subject.window(20_000)?;
        counts.push((WINDOW_NS / first) as usize / 100 * 100 + 100);
    }
    let mut figures = vec![Vec::new(); all.len()];
    for round in 0..rounds {
        for at in 0..all.len() {
            // Forwards and backwards, so that nobody always runs after the same neighbour.
            let at = if round % 2 == 0 { at } else { all.len() - 1 - at };
            let figure = running[at].window(counts[at])?;
            figures[at].push(figure);
        }
    }
    let ratios = |own: &[f64]| own.iter().zip(&figures[0]).map(|(own, floor)| own / floor).collect();
    let others = figures[1..].iter().map(|own| (Spread::of(own.clone()), Spread::of(ratios(own)))).collect();
    Ok(Measured { floor: Spread::of(figures[0].clone()), others })
}
