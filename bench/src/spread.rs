//! Figures of many windows in one.

use std::fmt;

/// A median with its quartiles.
pub struct Spread {
    lower: f64,
    median: f64,
    upper: f64,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: usize| values.get((values.len() - 1) * part / 4).copied().unwrap_or(f64::NAN);
        Spread { lower: at(1), median: at(2), upper: at(3) }
    }

    pub fn precise(&self) -> String {
        format!("**{:.3}** ({:.3} to {:.3})", self.median, self.lower, self.upper)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "**{:.1}** ({:.1} to {:.1})", self.median, self.lower, self.upper)
    }
}
