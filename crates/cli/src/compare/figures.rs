//! Figures for people: few digits, a unit, never wider than their column.

/// A rate or count in at most 5 characters: `512`, `9,876`, `41.2k`, `123k`, `1.23M`.
pub fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 9_999.5 => crate::walls::grouped(r.round() as u64),
        r if r < 99_950.0 => format!("{:.1}k", r / 1e3),
        r if r < 999_500.0 => format!("{:.0}k", r / 1e3),
        r if r < 9_995_000.0 => format!("{:.2}M", r / 1e6),
        r => format!("{:.1}M", r / 1e6),
    }
}

/// Microseconds in at most 6 characters: `8.1us`, `950us`, `12.3ms`, `1.21s`.
pub fn time_us(us: f64) -> String {
    match us {
        us if us < 9.95 => format!("{us:.1}us"),
        us if us < 999.5 => format!("{us:.0}us"),
        us if us < 9_995.0 => format!("{:.2}ms", us / 1e3),
        us if us < 99_950.0 => format!("{:.1}ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0}ms", us / 1e3),
        us => format!("{:.2}s", us / 1e6),
    }
}

/// CPU time of a message in at most 6 characters, finer than [`time_us`]: `18.2us`.
pub fn cpu_us(us: f64) -> String {
    if us < 99.95 { format!("{us:.1}us") } else { time_us(us) }
}

/// Bytes in at most 5 characters: `96B`, `4.4K`, `117K`, `1.2M`.
pub fn bytes(count: f64) -> String {
    match count {
        b if b < 999.5 => format!("{b:.0}B"),
        b if b < 99.95 * 1024.0 => format!("{:.1}K", b / 1024.0),
        b if b < 999.5 * 1024.0 => format!("{:.0}K", b / 1024.0),
        b => format!("{:.1}M", b / 1048576.0),
    }
}

/// A figure with its unit for a sentence: `16.7 us`, `96.0 KiB`.
pub fn spaced(figure: &str) -> String {
    let unit = figure.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(figure.len());
    let (number, unit) = figure.split_at(unit);
    match unit {
        "K" => format!("{number} KiB"),
        "M" => format!("{number} MiB"),
        unit => format!("{number} {unit}"),
    }
}

/// A factor: `3.4`, `17`.
pub fn factor(times: f64) -> String {
    if times < 9.95 { format!("{times:.1}") } else { format!("{times:.0}") }
}

/// Breaks a sentence into lines of at most `width` characters; a longer word stays whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_figure_outgrows_its_column() {
        for exponent in -20..60 {
            let value = 1.37_f64.powi(exponent);
            assert!(rate(value.min(9.9e7)).len() <= 5, "{} {value}", rate(value));
            assert!(time_us(value.min(9.9e7)).len() <= 6, "{} {value}", time_us(value));
            assert!(cpu_us(value.min(9.9e7)).len() <= 6, "{} {value}", cpu_us(value));
            assert!(bytes(value.min(9.9e8)).len() <= 6, "{} {value}", bytes(value));
        }
        assert_eq!(
            (rate(41_234.0), rate(9_876.4), rate(123_456.0)),
            ("41.2k".into(), "9,876".into(), "123k".into())
        );
        assert_eq!(
            (time_us(950.0), time_us(12_345.0), time_us(1_210_000.0)),
            ("950us".into(), "12.3ms".into(), "1.21s".into())
        );
        assert_eq!(
            (bytes(96.0), bytes(4_505.6), bytes(120_000.0)),
            ("96B".into(), "4.4K".into(), "117K".into())
        );
    }

    #[test]
    fn sentences_have_room_between_number_and_unit() {
        assert_eq!([spaced("16.7us"), spaced("96.0K"), spaced("312B")], ["16.7 us", "96.0 KiB", "312 B"]);
    }

    #[test]
    fn sentences_break_between_words() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("extraordinarily", 4), ["extraordinarily"]);
    }
}
