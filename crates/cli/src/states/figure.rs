//! Figures of a few characters.

use std::fmt;

/// A figure as it is shown: two that look the same are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Figure {
    /// As it is.
    Number(u32),
    /// So many of a unit.
    Whole(u32, &'static str),
    /// So many tenths of a unit.
    Tenths(u32, &'static str),
    /// `?`.
    Unknown,
}

impl Figure {
    /// `512`, `64K`, `12M`.
    pub fn bytes(count: u32) -> Self {
        match count {
            0..=9_999 => Figure::Number(count),
            10_000..=10_485_759 => Figure::Whole((count + 512) / 1024, "K"),
            _ => Figure::Whole(count >> 20, "M"),
        }
    }

    /// `23us`, `1.4ms`, `250ms`, `3.2s`.
    pub fn micros(us: u32) -> Self {
        match us {
            0..=999 => Figure::Whole(us, "us"),
            1_000..=99_999 => Figure::Tenths(us / 100, "ms"),
            100_000..=999_999 => Figure::Whole(us / 1000, "ms"),
            _ => Figure::Tenths(us / 100_000, "s"),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Number(number) => number.fmt(f),
            Figure::Whole(number, unit) => write!(f, "{number}{unit}"),
            Figure::Tenths(tenths, unit) => write!(f, "{}.{}{unit}", tenths / 10, tenths % 10),
            Figure::Unknown => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let shown = |figure: Figure| figure.to_string();
        assert_eq!(
            [0, 9_999, 65_483, 65_536, 33_554_432].map(Figure::bytes).map(shown),
            ["0", "9999", "64K", "64K", "32M"]
        );
        let times = [3, 999, 1_400, 250_000, 3_200_000].map(Figure::micros).map(shown);
        assert_eq!(times, ["3us", "999us", "1.4ms", "250ms", "3.2s"]);
    }
}
