//! `duolu lab --json`. Field names and verdicts are English whatever the language; sentences follow it.

use super::catalog;
use super::claims::{CLAIMS, Claim, Verdict};
use super::conduct::Ran;
use super::experiment::{Lab, Needs, Trouble};
use super::tell::not_possible;
use crate::failure::Failure;
use crate::lang::Lang;
use serde::Serialize;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    /// Nobody interrupted it.
    complete: bool,
    labs: Vec<Told<'a>>,
    /// What this machine does not let us do, and what unlocks it.
    not_possible: Vec<NotPossible<'a>>,
    claims: Vec<Score>,
    lang: &'static str,
}

#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    claims: &'a [u8],
    notes: String,
    expected: &'a str,
    observed: String,
    verdict: Verdict,
    held: bool,
    why: &'a str,
    facts: Vec<Measured>,
}

#[derive(Serialize)]
struct Measured {
    what: String,
    holds: bool,
}

#[derive(Serialize)]
struct NotPossible<'a> {
    name: &'a str,
    claims: &'a [u8],
    why: String,
}

#[derive(Serialize)]
struct Score {
    number: u8,
    notes: &'static str,
    english: &'static str,
    verdict: Verdict,
    /// Labs and verbs.
    shown_by: Vec<String>,
}

#[derive(Serialize)]
struct Listing {
    schema: u32,
    available: Vec<Listed>,
}

#[derive(Serialize)]
struct Listed {
    name: &'static str,
    claims: &'static [u8],
    title: String,
    verdict: Verdict,
    needs_own_network: bool,
}

/// What experiments there are.
pub fn list() -> Result<String, Failure> {
    let listed = |lab: &'static Lab| Listed {
        name: lab.name,
        claims: lab.claims,
        title: lab.title.pick(Lang::En).to_owned(),
        verdict: lab.verdict,
        needs_own_network: lab.needs == Needs::OwnNetwork,
    };
    text(&Listing { schema: 1, available: catalog::all().into_iter().map(listed).collect() })
}

/// What came out.
pub fn render(all: &[Ran], complete: bool, lang: Lang) -> Result<String, Failure> {
    let labs = all.iter().filter_map(|ran| told(ran, lang)).collect();
    let refused = |ran: &'_ Ran| ran.outcome.as_ref().err().map(|trouble| missing(ran.lab, trouble, lang));
    let not_possible = all.iter().filter_map(refused).collect();
    let about = |claim: &&Claim| all.iter().any(|ran| ran.lab.claims.contains(&claim.number));
    let claims = CLAIMS.iter().filter(|claim| all.len() != 1 || about(claim)).map(score).collect();
    text(&Document { schema: 1, complete, labs, not_possible, claims, lang: lang.tag() })
}

fn told(ran: &Ran, lang: Lang) -> Option<Told<'static>> {
    let lab = ran.lab;
    let outcome = ran.outcome.as_ref().ok()?;
    let fact = |fact: &super::experiment::Fact| Measured { what: fact.sentence(lang), holds: fact.holds };
    Some(Told {
        name: lab.name,
        claims: lab.claims,
        notes: lab.notes(),
        expected: lab.expected.pick(lang),
        observed: outcome.observed(lang),
        verdict: lab.verdict,
        held: outcome.held(),
        why: lab.why.pick(lang),
        facts: outcome.facts.iter().map(fact).collect(),
    })
}

fn missing(lab: &'static Lab, trouble: &Trouble, lang: Lang) -> NotPossible<'static> {
    NotPossible { name: lab.name, claims: lab.claims, why: not_possible(trouble, lang) }
}

fn score(claim: &Claim) -> Score {
    let mut shown_by: Vec<String> =
        catalog::about(claim.number).iter().map(|name| format!("duolu lab {name}")).collect();
    shown_by.extend(claim.verb.map(|verb| format!("duolu {verb}")));
    Score {
        number: claim.number,
        notes: claim.words,
        english: claim.english,
        verdict: claim.verdict,
        shown_by,
    }
}

fn text(document: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(document)
        .map(|text| text + "\n")
        .map_err(|error| Failure::cannot(format!("the result cannot be written as JSON: {error}")))
}
