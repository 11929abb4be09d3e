//! The labs, in the order of the notes.

use super::experiment::Lab;
use super::{mux, tcp};

/// All labs.
pub fn all() -> Vec<&'static Lab> {
    tcp::LABS.iter().chain(mux::LABS).copied().collect()
}

/// The lab of this name.
pub fn named(name: &str) -> Option<&'static Lab> {
    all().into_iter().find(|lab| lab.name == name)
}

/// The name that was probably meant.
pub fn nearest(name: &str) -> Option<&'static str> {
    let names = all().into_iter().map(|lab| lab.name);
    let (distance, best) = names.map(|known| (distance(name, known), known)).min()?;
    (distance <= 1 + name.len() / 3).then_some(best)
}

/// The labs about a claim.
pub fn about(claim: u8) -> Vec<&'static str> {
    all().into_iter().filter(|lab| lab.claims.contains(&claim)).map(|lab| lab.name).collect()
}

/// Levenshtein's: how many letters to add, leave out or change.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], at + 1);
        for (to, known) in other.iter().enumerate() {
            let changed = corner + usize::from(*known != letter);
            corner = row[to + 1];
            row[to + 1] = changed.min(corner + 1).min(row[to] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::claims::CLAIMS;
    use crate::lang::Lang;
    use clap::CommandFactory;
    use std::collections::HashSet;

    #[test]
    fn every_claim_of_the_notes_is_shown_somewhere() {
        for claim in &CLAIMS {
            let shown = !about(claim.number).is_empty() || claim.verb.is_some();
            assert!(shown, "nothing shows claim {}: {}", claim.number, claim.words);
        }
    }

    #[test]
    fn verbs_that_claims_name_are_there() {
        let verbs: Vec<String> =
            crate::Cli::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        for verb in CLAIMS.iter().filter_map(|claim| claim.verb) {
            assert!(verbs.iter().any(|known| known == verb), "duolu {verb}");
        }
    }

    #[test]
    fn labs_are_told_apart_and_complete() {
        let mut names = HashSet::new();
        for lab in all() {
            assert!(names.insert(lab.name), "{} twice", lab.name);
            assert!(lab.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            assert!(!lab.claims.is_empty(), "{}", lab.name);
            assert!(
                lab.claims().any(|claim| claim.verdict == lab.verdict),
                "{}: its verdict is that of none of its claims",
                lab.name
            );
            for said in [&lab.title, &lab.expected, &lab.why] {
                let (en, zh) = (said.pick(Lang::En), said.pick(Lang::Zh));
                assert!(!en.is_empty() && en.is_ascii() | en.contains(['→', '×', '·']), "{}: {en}", lab.name);
                assert!(zh.chars().any(|c| c as u32 >= 0x2e80), "{}: {zh}", lab.name);
            }
        }
    }

    #[test]
    fn a_typo_finds_its_lab() {
        assert_eq!(nearest("halfclose"), Some("half-close"));
        assert_eq!(nearest("half-clsoe"), Some("half-close"));
        assert_eq!(nearest("something-else-entirely"), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
