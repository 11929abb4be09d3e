//! `--expect 'conns>=10k p99<5ms errors=0'`: how expectations are written. What a figure is, each verb knows itself.

use crate::units::{parse_count, parse_duration, parse_size};

/// Figures that something can be expected of.
pub trait Figure: Copy + 'static {
    /// All of them, as people write them.
    const NAMES: &'static [(&'static str, Self)];

    /// How its values are written.
    fn unit(self) -> Unit;
}

/// How a value is written, and what it is as a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// `10k`.
    Count,
    /// `5ms`; microseconds.
    Time,
    /// `4KiB`; bytes.
    Size,
}

/// One expectation.
#[derive(Clone, PartialEq, Debug)]
pub struct Expectation<F> {
    /// As it was written.
    pub text: String,
    /// Of what.
    pub figure: F,
    relation: Relation,
    value: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Relation {
    AtLeast,
    AtMost,
    Equal,
    More,
    Less,
}

/// Longer signs first: `>` is the beginning of `>=`.
const RELATIONS: [(&str, Relation); 6] = [
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("==", Relation::Equal),
    ("=", Relation::Equal),
    (">", Relation::More),
    ("<", Relation::Less),
];

/// Parses expectations separated by blanks or commas.
///
/// # Errors
/// A sentence that says which word is wrong and what would do.
pub fn parse<F: Figure>(text: &str) -> Result<Vec<Expectation<F>>, String> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let all = words.map(parse_one).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err("nothing is expected; write conns>=10k, p99<5ms or errors=0".to_owned());
    }
    Ok(all)
}

fn parse_one<F: Figure>(word: &str) -> Result<Expectation<F>, String> {
    let sign_at = word.find(['<', '>', '=']);
    let parts = sign_at.map(|at| word.split_at(at)).and_then(|(name, rest)| {
        let (sign, relation) = RELATIONS.iter().find(|(sign, _)| rest.starts_with(sign))?;
        Some((name, *relation, &rest[sign.len()..]))
    });
    let (name, relation, value) =
        parts.ok_or_else(|| format!("'{word}' compares nothing; write conns>=10k, p99<5ms or errors=0"))?;
    let Some((_, figure)) = F::NAMES.iter().find(|(known, _)| *known == name) else {
        let names: Vec<&str> = F::NAMES.iter().map(|(name, _)| *name).collect();
        return Err(format!("'{name}' in '{word}' is no figure; the figures: {}", names.join(", ")));
    };
    let value = match figure.unit() {
        Unit::Count => parse_count(value).map(|count| count as f64),
        Unit::Time => parse_duration(value).map(|time| time.as_secs_f64() * 1e6),
        Unit::Size => parse_size(value).map(|bytes| bytes as f64),
    };
    let value = value.map_err(|error| format!("in '{word}': {error}"))?;
    Ok(Expectation { text: word.to_owned(), figure: *figure, relation, value })
}

impl<F> Expectation<F> {
    /// Whether it holds for what was found.
    pub fn holds(&self, found: f64) -> bool {
        match self.relation {
            Relation::AtLeast => found >= self.value,
            Relation::AtMost => found <= self.value,
            Relation::Equal => found == self.value,
            Relation::More => found > self.value,
            Relation::Less => found < self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Figure for Unit {
        const NAMES: &'static [(&'static str, Self)] =
            &[("conns", Unit::Count), ("p99", Unit::Time), ("mem", Unit::Size), ("errors", Unit::Count)];
        fn unit(self) -> Unit {
            self
        }
    }

    #[test]
    fn expectations_read_as_people_write_them() {
        let all = parse::<Unit>("conns>=10k p99<5ms,errors=0 mem<=4KiB conns>1m errors==2").expect("six");
        let seen: Vec<_> = all.iter().map(|one| (one.figure, one.relation, one.value)).collect();
        assert_eq!(
            seen,
            [
                (Unit::Count, Relation::AtLeast, 10_000.0),
                (Unit::Time, Relation::Less, 5_000.0),
                (Unit::Count, Relation::Equal, 0.0),
                (Unit::Size, Relation::AtMost, 4_096.0),
                (Unit::Count, Relation::More, 1_000_000.0),
                (Unit::Count, Relation::Equal, 2.0),
            ]
        );
        for (bad, hint) in [
            ("", "nothing is expected"),
            ("p99", "compares nothing"),
            ("speed>3", "'speed' in 'speed>3' is no figure; the figures: conns, p99, mem, errors"),
            ("p99<fast", "duration"),
            ("p99<5>ms", "duration"),
            ("errors=none", "count"),
            ("mem<=big", "size"),
        ] {
            let sentence = parse::<Unit>(bad).expect_err(bad);
            assert!(sentence.contains(hint), "{bad}: {sentence}");
        }
    }

    #[test]
    fn they_hold_up_to_their_edge() {
        for (text, held, broken) in [
            ("conns>=5", 5.0, 4.0),
            ("conns<=5", 5.0, 6.0),
            ("conns=5", 5.0, 5.5),
            ("conns>5", 6.0, 5.0),
            ("conns<5", 4.0, 5.0),
        ] {
            let one = parse::<Unit>(text).expect("an expectation").remove(0);
            assert!(one.holds(held) && !one.holds(broken), "{text}");
        }
    }
}
