//! From values to pixels, and where the ticks stand.

/// An axis of a chart.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    log: bool,
    binary: bool,
    from_px: f64,
    to_px: f64,
}

impl Scale {
    /// A logarithmic axis around positive values, with a little room at both ends. At least a factor of two wide,
    /// so that one value alone stands in the middle.
    pub fn log(values: impl Iterator<Item = f64>, room: f64) -> Scale {
        let (mut low, mut high) = bounds(values.filter(|value| *value > 0.0)).unwrap_or((1.0, 10.0));
        if high / low < 2.0 {
            let middle = (low * high).sqrt();
            (low, high) = (middle / 2.0_f64.sqrt(), middle * 2.0_f64.sqrt());
        }
        Scale { low: low / room, high: high * room, log: true, binary: false, from_px: 0.0, to_px: 1.0 }
    }

    /// A logarithmic axis with these very ends.
    pub const fn between(low: f64, high: f64) -> Scale {
        Scale { low, high, log: true, binary: false, from_px: 0.0, to_px: 1.0 }
    }

    /// A linear axis from zero to a round number above the highest value.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Scale {
        let high = bounds(values).map_or(1.0, |(_, high)| high).max(f64::MIN_POSITIVE);
        let step = nice_step(high * 1.04 / 4.0);
        Scale {
            low: 0.0,
            high: (high * 1.04 / step).ceil() * step,
            log: false,
            binary: false,
            from_px: 0.0,
            to_px: 1.0,
        }
    }

    /// The same axis with ticks at powers of two, as bytes are counted.
    pub const fn of_bytes(mut self) -> Scale {
        self.binary = true;
        self
    }

    /// The same axis, drawn between two pixels.
    pub const fn over(mut self, from_px: f64, to_px: f64) -> Scale {
        self.from_px = from_px;
        self.to_px = to_px;
        self
    }

    /// The lowest value.
    pub const fn low(&self) -> f64 {
        self.low
    }

    /// The pixel of a value; values outside stand at the end.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from_px + share.clamp(0.0, 1.0) * (self.to_px - self.from_px)
    }

    /// Round values to write at the axis: as many as have room, `apart` pixels from each other.
    pub fn ticks(&self, apart: f64) -> Vec<f64> {
        match (self.log, self.binary) {
            (true, true) => self.binary_ticks(apart),
            (true, false) => self.log_ticks(apart),
            (false, _) => self.linear_ticks(),
        }
    }

    fn linear_ticks(&self) -> Vec<f64> {
        let step = nice_step(self.high / 4.0);
        (0..=8).map(|at| f64::from(at) * step).take_while(|tick| *tick <= self.high * 1.0001).collect()
    }

    /// Each power of two, or each second, third ... so that they have room.
    fn binary_ticks(&self, apart: f64) -> Vec<f64> {
        let (first, last) = (self.low.log2().ceil() as i32, self.high.log2().floor() as i32);
        let octave = (self.at(2.0 * self.low) - self.at(self.low)).abs().max(1e-6);
        // 1, 2, 5 or 10 octaves: those of a tenth fall on 1 KiB and 1 MiB.
        let each = [1, 2, 5].into_iter().find(|each| f64::from(*each) * octave >= apart).unwrap_or(10);
        (first..=last).filter(|power| power % each == 0).map(|power| 2f64.powi(power)).collect()
    }

    /// 1, 2 and 5 of each decade; if those do not have room 1 only; if those do not, each second decade, and so on.
    fn log_ticks(&self, apart: f64) -> Vec<f64> {
        let first = self.low.log10().floor() as i32;
        let last = self.high.log10().ceil() as i32;
        let inside = |tick: &f64| *tick >= self.low * 0.999 && *tick <= self.high * 1.001;
        let mut best = Vec::new();
        for (each, of_decade) in
            [(1, &[1.0, 2.0, 5.0][..]), (1, &[1.0, 3.0]), (1, &[1.0]), (2, &[1.0]), (3, &[1.0]), (6, &[1.0])]
        {
            let decades = (first..=last).filter(|decade| decade % each == 0);
            let ticks =
                decades.flat_map(|decade| of_decade.iter().map(move |digit| digit * 10f64.powi(decade)));
            best = ticks.filter(inside).collect::<Vec<f64>>();
            let near = best.windows(2).any(|pair| (self.at(pair[1]) - self.at(pair[0])).abs() < apart);
            if !near {
                break;
            }
        }
        best
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |bounds, value| {
        let (low, high) = bounds.unwrap_or((value, value));
        Some((f64::min(low, value), f64::max(high, value)))
    })
}

/// The next of 1, 2, 5, 10, 20, 50 ... from `least` on.
fn nice_step(least: f64) -> f64 {
    let decade = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0]
        .into_iter()
        .map(|digit| digit * decade)
        .find(|step| *step >= least)
        .unwrap_or(decade * 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_axis_gives_each_decade_the_same_room() {
        let scale = Scale::between(1.0, 1000.0).over(0.0, 300.0);
        assert!((scale.at(10.0) - 100.0).abs() < 1e-9 && (scale.at(100.0) - 200.0).abs() < 1e-9);
        assert_eq!((scale.at(0.0), scale.at(1e9)), (0.0, 300.0), "outside stands at the end");
        assert_eq!(scale.ticks(50.0), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(scale.ticks(20.0).len(), 10);
    }

    #[test]
    fn values_that_cannot_be_drawn_spoil_no_axis() {
        for values in [vec![], vec![0.0], vec![f64::NAN, 5.0], vec![f64::INFINITY], vec![-1.0]] {
            for scale in [Scale::log(values.iter().copied(), 1.2), Scale::from_zero(values.iter().copied())] {
                let scale = scale.over(0.0, 100.0);
                assert!(scale.at(5.0).is_finite(), "{values:?}");
                assert!(scale.ticks(20.0).len() < 20, "{values:?}");
            }
        }
    }

    #[test]
    fn bytes_have_ticks_at_powers_of_two() {
        let scale = Scale::between(100.0, 200_000.0).of_bytes().over(200.0, 0.0);
        assert_eq!(scale.ticks(24.0), [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0]);
        assert_eq!(scale.ticks(60.0), [1024.0, 32_768.0]);
    }

    #[test]
    fn a_linear_axis_ends_at_a_round_number_above_the_highest() {
        let scale = Scale::from_zero([97_400.0].into_iter());
        assert_eq!(scale.ticks(20.0), [0.0, 50_000.0, 100_000.0, 150_000.0]);
    }
}
