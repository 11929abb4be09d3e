//! What all experiments together say about the notes: claim by claim, and the sum.

use super::catalog;
use super::claims::{CLAIMS, Claim, Verdict};
use super::conduct::Ran;
use super::picture::{Paper, columns, pad, wrap};
use super::tell;

/// The scoreboard.
pub fn render(all: &[Ran], paper: &Paper) -> String {
    let lang = paper.lang;
    let mut text = format!("\n{}\n", paper.paint("1", lang.pick("The notes, claim by claim", "笔记，逐条")));
    for claim in &CLAIMS {
        text += &row(claim, paper);
    }
    let parts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| {
            let count = CLAIMS.iter().filter(|claim| claim.verdict == *verdict).count();
            format!("{} {count} {}", tell::mark(*verdict, paper), verdict.said().pick(lang))
        })
        .collect();
    text += &format!("\n{} {}\n", lang.pick("Claims:", "说法："), parts.join("   "));
    let possible = all.iter().filter(|ran| ran.outcome.is_ok()).count();
    let held = possible - all.iter().filter(|ran| ran.failed()).count();
    let sum = match lang {
        crate::lang::Lang::En => format!("Experiments: {held} of {possible} held"),
        crate::lang::Lang::Zh => format!("实验：{possible} 个中 {held} 个符合预期"),
    };
    text += &paper.paint(if held == possible { "1;32" } else { "1;31" }, &sum);
    let not = all.len() - possible;
    if not > 0 {
        text += &match lang {
            crate::lang::Lang::En => format!("; {not} not possible here"),
            crate::lang::Lang::Zh => format!("；{not} 个在这里做不了"),
        };
    }
    let undone = catalog::all().len() - all.len();
    if undone > 0 {
        text += &match lang {
            crate::lang::Lang::En => format!("; interrupted before {undone} more"),
            crate::lang::Lang::Zh => format!("；中断，还有 {undone} 个没做"),
        };
    }
    text + "\n"
}

fn row(claim: &Claim, paper: &Paper) -> String {
    let mut shown: Vec<String> = catalog::about(claim.number).iter().map(|name| (*name).to_owned()).collect();
    shown.extend(claim.verb.map(|verb| format!("duolu {verb}")));
    let shown = shown.join(", ");
    let words = claim.said().pick(paper.lang).split_whitespace().collect::<Vec<_>>().join(" ");
    let room = paper.width.saturating_sub(7 + 2 + columns(&shown));
    let first = cut(&words, room.max(20));
    format!(
        "{} {}  {}  {}\n",
        paper.paint("2", &format!("{:>2}", claim.number)),
        tell::mark(claim.verdict, paper),
        pad(&first, room),
        paper.paint("2", &shown)
    )
}

/// A text cut to its room, with an ellipsis.
fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let first = wrap(text, room - 1).into_iter().next().unwrap_or_default();
    format!("{first}…")
}
