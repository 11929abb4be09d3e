//! A median and how far the values lie apart.

use std::fmt;

/// A median with the lowest and the highest.
pub struct Spread {
    lowest: f64,
    median: f64,
    highest: f64,
}

impl Spread {
    /// Of the values; NaN where there are none.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        Spread { lowest: at(0), median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, highest: at(last) }
    }

    pub fn median(&self) -> f64 {
        self.median
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3} to {:.3})", self.median, self.lowest, self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0].into_iter());
        assert_eq!((spread.lowest, spread.median, spread.highest), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([3.0, 9.0, 1.0].into_iter()).median, 3.0);
        assert!(Spread::of(std::iter::empty()).median.is_nan());
    }
}
