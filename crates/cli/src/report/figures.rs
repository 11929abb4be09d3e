//! Figures as the page shows them: three digits and a unit, the same in both languages.

/// `123.4` with three digits that count.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Microseconds: `8.10 µs`, `12.3 ms`, `1.21 s`.
pub fn time(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{} µs", digits(us)),
        us if us < 999_500.0 => format!("{} ms", digits(us / 1e3)),
        us => format!("{} s", digits(us / 1e6)),
    }
}

/// Bytes: `312 B`, `4.40 KiB`, `1.20 MiB`.
pub fn bytes(count: f64) -> String {
    match count {
        b if b.abs() < 1023.5 => format!("{b:.0} B"),
        b if b.abs() < 1023.5 * 1024.0 => format!("{} KiB", digits(b / 1024.0)),
        b if b.abs() < 1023.5 * 1_048_576.0 => format!("{} MiB", digits(b / 1_048_576.0)),
        b => format!("{} GiB", digits(b / 1_073_741_824.0)),
    }
}

/// Messages a second, or any other large number: `9,876`, `41.2k`, `1.23M`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 9_999.5 => whole(r.round().max(0.0) as u64),
        r if r < 999_500.0 => format!("{}k", digits(r / 1e3)),
        r => format!("{}M", digits(r / 1e6)),
    }
}

/// A whole number grouped by thousands.
pub fn whole(number: u64) -> String {
    crate::walls::grouped(number)
}

/// A tick of an axis: as short as it can be without lying.
pub fn tick(value: f64, form: fn(f64) -> String) -> String {
    let text = form(value);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number}{unit}")
}

/// A change as a factor less one: `+12 %`, `-3.4 %`; from three times on a factor, `4.2x`.
pub fn change(ratio: f64) -> String {
    match ratio {
        r if r >= 3.0 => format!("{}×", digits(r)),
        r if (r - 1.0).abs() < 0.0995 => format!("{:+.1} %", (r - 1.0) * 100.0).replace('-', "−"),
        r => format!("{:+.0} %", (r - 1.0) * 100.0).replace('-', "−"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(
            [time(8.1), time(950.0), time(12_345.0), time(2.5e6)],
            ["8.10 µs", "950 µs", "12.3 ms", "2.50 s"]
        );
        assert_eq!([bytes(96.0), bytes(4_505.6), bytes(1.5e6)], ["96 B", "4.40 KiB", "1.43 MiB"]);
        assert_eq!([rate(9_876.4), rate(41_234.0), rate(1_234_567.0)], ["9,876", "41.2k", "1.23M"]);
        assert_eq!([tick(200.0, time), tick(2_000.0, time), tick(1e5, rate)], ["200 µs", "2 ms", "100k"]);
        assert_eq!([change(1.12), change(0.966), change(4.2)], ["+12 %", "−3.4 %", "4.20×"]);
    }
}
