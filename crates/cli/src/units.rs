//! Numbers as people write them: 10k connections, 16KiB payloads, 30s durations.

use std::time::Duration;

/// Parses a count: `5000`, `10k`, `1.5m`.
pub fn parse_count(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let (digits, factor) = match lower.strip_suffix(['k', 'm']) {
        Some(digits) if lower.ends_with('k') => (digits, 1e3),
        Some(digits) => (digits, 1e6),
        None => (lower.as_str(), 1.0),
    };
    number(digits, factor).ok_or_else(|| format!("'{text}' is not a count; write 5000, 10k or 1m"))
}

/// Parses a size in bytes: `64`, `64B`, `16KiB` (1024), `16kB` (1000), `1MiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 8] = [
        ("kib", 1024.0),
        ("mib", 1048576.0),
        ("gib", 1073741824.0),
        ("kb", 1e3),
        ("mb", 1e6),
        ("gb", 1e9),
        ("k", 1024.0),
        ("b", 1.0),
    ];
    let lower = text.trim().to_ascii_lowercase();
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| lower.strip_suffix(unit).map(|digits| (digits, *factor)))
        .unwrap_or((&lower, 1.0));
    number(digits, factor).ok_or_else(|| format!("'{text}' is not a size; write 64, 16KiB or 1MiB"))
}

/// Parses a duration: `30s`, `500ms`, `2m`, `1.5s`, `1h`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let lower = text.trim().to_ascii_lowercase();
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| lower.strip_suffix(unit).map(|digits| (digits, *factor)))
        .unwrap_or((&lower, 1.0));
    let seconds = digits.trim().parse::<f64>().ok().map(|number| number * factor);
    match seconds {
        Some(seconds) if seconds.is_finite() && (0.0..=31_536_000.0).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err(format!("'{text}' is not a duration; write 30s, 500ms or 2m")),
    }
}

fn number(digits: &str, factor: f64) -> Option<u64> {
    let value = digits.trim().parse::<f64>().ok()? * factor;
    ((0.0..=1e15).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_sizes_and_durations_read_as_people_write_them() {
        assert_eq!(parse_count("10k"), Ok(10_000));
        assert_eq!(parse_count("1.5m"), Ok(1_500_000));
        assert_eq!(parse_size("16KiB"), Ok(16_384));
        assert_eq!(parse_size("1 MiB"), Ok(1_048_576));
        assert_eq!(parse_size("64"), Ok(64));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "ten", "-1", "1.5", "nan", "1e99"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("-3s").is_err());
    }
}
