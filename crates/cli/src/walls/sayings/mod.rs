//! What can be said about walls, in both languages: for each case the evidence and the fix, as templates over the same
//! facts (see `facts.rs`). A test holds that both languages use the same ones.

mod line;
mod loader;
mod server;

use super::facts::Facts;
use crate::lang::Lang;

/// One thing to say. The fields are (English, Chinese).
struct Saying {
    /// Its name in JSON.
    case: &'static str,
    /// What was read.
    evidence: (&'static str, &'static str),
    /// What moves the wall.
    fix: (&'static str, &'static str),
}

/// Evidence and fix of a case. `None`: the case is not known, or facts are missing.
pub fn say(lang: Lang, case: &str, facts: &Facts) -> Option<(String, String)> {
    let saying = all().find(|saying| saying.case == case)?;
    let pick = |(en, zh): (&'static str, &'static str)| lang.pick(en, zh);
    Some((facts.say(lang, pick(saying.evidence))?, facts.say(lang, pick(saying.fix))?))
}

/// All of them.
fn all() -> impl Iterator<Item = &'static Saying> {
    let parts: [&[Saying]; 3] = [&server::SAYINGS, &loader::SAYINGS, &line::SAYINGS];
    parts.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The facts that a template names.
    fn named(template: &str) -> BTreeSet<&str> {
        let fields = template.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        fields.map(|field| field.split([':', '?']).next().unwrap_or(field)).collect()
    }

    #[test]
    fn both_languages_say_the_same_and_every_case_once() {
        let mut cases = BTreeSet::new();
        for Saying { case, evidence, fix } in all() {
            assert!(cases.insert(case), "{case} is there twice");
            for (en, zh) in [evidence, fix] {
                assert_eq!(named(en), named(zh), "{case}");
                assert_eq!(en.matches('[').count(), zh.matches('[').count(), "{case}");
                assert_eq!(en.matches(['[', '{']).count(), en.matches([']', '}']).count(), "{case}");
                assert!(!en.is_empty() && !zh.is_empty(), "{case}");
            }
            let is_chinese = |text: &str| text.chars().any(|letter| letter as u32 >= 0x4e00);
            assert!(is_chinese(evidence.1) && !is_chinese(evidence.0) && !is_chinese(fix.0), "{case}");
        }
    }

    /// The cases that the sources name, so that none is written without words, and none kept that nobody writes.
    #[test]
    fn every_case_that_is_written_has_words() {
        let sources = [
            include_str!("../server.rs"),
            include_str!("../memory.rs"),
            include_str!("../files.rs"),
            include_str!("../../load/lost.rs"),
            include_str!("../../load/verdict.rs"),
            include_str!("../../compare/diagnose.rs"),
            include_str!("../../compare/tasks.rs"),
            include_str!("../../compare/rung.rs"),
        ];
        for Saying { case, .. } in all() {
            let quoted = format!("\"{case}\"");
            assert!(sources.iter().any(|source| source.contains(&quoted)), "nobody writes {case}");
        }
    }
}
