//! What came out, for a terminal: the list, a page for one experiment, a line for each of many.

use super::catalog;
use super::claims::{Claim, Verdict};
use super::conduct::Ran;
use super::experiment::{Lab, Needs, Outcome, Trouble};
use super::picture::{Paper, columns, pad, wrap};
use crate::lang::Lang;

/// All labs, a line each.
pub fn list(paper: &Paper) -> String {
    let lang = paper.lang;
    let all = catalog::all();
    let widest = all.iter().map(|lab| lab.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for lab in &all {
        let name = paper.paint("1", &pad(lab.name, widest));
        let needs = match lab.needs {
            Needs::Nothing => "",
            Needs::OwnNetwork => lang.pick(" *", " *"),
        };
        let title = lab.title.pick(lang);
        text += &format!("  {name}  {} {title}{needs}\n", mark(lab.verdict, paper));
    }
    if all.iter().any(|lab| lab.needs == Needs::OwnNetwork) {
        text += lang.pick(
            "\n  * needs a network namespace of its own (root, or user namespaces)\n",
            "\n  * 需要自己的网络命名空间（root，或用户命名空间）\n",
        );
    }
    let legend: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| format!("{} {}", mark(*verdict, paper), verdict.said().pick(lang)))
        .collect();
    text += &format!("\n  {} {}\n", lang.pick("The notes' claim:", "笔记的说法："), legend.join("   "));
    text += lang.pick(
        "  duolu lab NAME runs one; duolu lab --all runs all and ends with the scoreboard.\n",
        "  duolu lab NAME 运行一个；duolu lab --all 运行全部，最后给出记分牌。\n",
    );
    text
}

/// The verdict's mark, coloured.
pub fn mark(verdict: Verdict, paper: &Paper) -> String {
    let style = match verdict {
        Verdict::Right => "32",
        Verdict::Imprecise => "33",
        Verdict::Wrong => "31",
        Verdict::Answered => "36",
    };
    paper.paint(style, verdict.mark())
}

/// Everything about one experiment.
pub fn page(ran: &Ran, paper: &Paper) -> String {
    let lang = paper.lang;
    let lab = ran.lab;
    let mut text = format!("{}  {}\n\n", paper.paint("1", lab.name), lab.title.pick(lang));
    for claim in lab.claims() {
        text += &quoted(claim, paper);
    }
    text += &paragraph(lang.pick("expected", "预期"), lab.expected.pick(lang), paper);
    match &ran.outcome {
        Ok(outcome) => text += &observed(outcome, paper),
        Err(trouble) => {
            text += &paragraph(lang.pick("observed", "实测"), &not_possible(trouble, lang), paper);
        }
    }
    text += &paragraph(lang.pick("why", "原因"), lab.why.pick(lang), paper);
    text
}

/// The notes' own words, and what became of them.
fn quoted(claim: &Claim, paper: &Paper) -> String {
    let lang = paper.lang;
    let mut words = claim.words.to_owned();
    if lang == Lang::En {
        words = format!("{words}\n({})", claim.english);
    }
    let verdict = format!("{} {}", claim.verdict.mark(), claim.verdict.said().pick(lang));
    let head = match lang {
        Lang::En => format!("the notes, claim {}", claim.number),
        Lang::Zh => format!("笔记，第 {} 条", claim.number),
    };
    let mut text = format!("{}   {}\n", paper.paint("2", &head), colored(claim.verdict, &verdict, paper));
    for line in wrap(&words, paper.width - 4) {
        text += &format!("  {} {line}\n", paper.paint("2", "│"));
    }
    text + "\n"
}

fn colored(verdict: Verdict, text: &str, paper: &Paper) -> String {
    let style = match verdict {
        Verdict::Right => "1;32",
        Verdict::Imprecise => "1;33",
        Verdict::Wrong => "1;31",
        Verdict::Answered => "1;36",
    };
    paper.paint(style, text)
}

fn paragraph(head: &str, body: &str, paper: &Paper) -> String {
    let mut text = format!("{}\n", paper.paint("2", head));
    for line in wrap(body, paper.width - 2) {
        text += &format!("  {line}\n");
    }
    text + "\n"
}

fn observed(outcome: &Outcome, paper: &Paper) -> String {
    let lang = paper.lang;
    let mut text = String::new();
    for picture in &outcome.pictures {
        text += &picture.text(paper);
        text.push('\n');
    }
    let held = if outcome.held() {
        paper.paint("1;32", lang.pick("held", "符合预期"))
    } else {
        paper.paint("1;31", lang.pick("reality contradicts the page", "与预期不符"))
    };
    text += &format!("{} · {held}\n", paper.paint("2", lang.pick("observed", "实测")));
    for fact in &outcome.facts {
        let (sign, style) = if fact.holds { ("✓", "32") } else { ("✗", "1;31") };
        for (at, line) in wrap(&fact.sentence(lang), paper.width - 4).iter().enumerate() {
            let sign = if at == 0 { paper.paint(style, sign) } else { " ".to_owned() };
            text += &format!("  {sign} {line}\n");
        }
    }
    text + "\n"
}

/// Why it is not possible here, and what would help.
pub fn not_possible(trouble: &Trouble, lang: Lang) -> String {
    match trouble {
        Trouble::Cannot { missing, unlock } => {
            let (missing, unlock) = (missing.pick(lang), unlock.pick(lang));
            match lang {
                Lang::En => format!("not possible here: it needs {missing}; {unlock}"),
                Lang::Zh => format!("这里做不了：需要{missing}；{unlock}"),
            }
        }
        Trouble::Broken(error) => error.clone(),
    }
}

/// One line for an experiment among many; what does not hold tells more.
pub fn line(ran: &Ran, paper: &Paper) -> String {
    let lang = paper.lang;
    let Ran { lab, outcome } = ran;
    let name = pad(lab.name, names_width());
    let room = paper.width.saturating_sub(names_width() + 6);
    let title = wrap(lab.title.pick(lang), room).first().cloned().unwrap_or_default();
    let claims = claims_of(lab);
    match outcome {
        Ok(outcome) if outcome.held() => {
            let rest = format!("{title}  {claims}");
            let rest = if columns(&rest) > room { title } else { rest };
            format!("{} {}  {rest}\n", paper.paint("32", "✓"), paper.paint("1", &name))
        }
        Ok(outcome) => {
            let mut text = format!("{} {}  {title}\n", paper.paint("1;31", "✗"), paper.paint("1;31", &name));
            for fact in outcome.facts.iter().filter(|fact| !fact.holds) {
                for line in wrap(&fact.sentence(lang), paper.width - 6) {
                    text += &format!("      {line}\n");
                }
            }
            text
        }
        Err(trouble) => {
            let mut text = format!("- {}  {title}\n", paper.paint("1", &name));
            for line in wrap(&not_possible(trouble, lang), paper.width - 6) {
                text += &format!("      {}\n", paper.paint("33", &line));
            }
            text
        }
    }
}

fn claims_of(lab: &Lab) -> String {
    let numbers: Vec<String> = lab.claims.iter().map(u8::to_string).collect();
    format!("({})", numbers.join(", "))
}

fn names_width() -> usize {
    catalog::all().iter().map(|lab| lab.name.len()).max().unwrap_or(0)
}
