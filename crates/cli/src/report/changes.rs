//! What changed between two results, as a table with a verdict in each field.

use super::against::{Change, FIGURES, Pair, Verdict, conditions, pairs, summary};
use super::figures::{change, whole};
use super::look::Look;
use super::markup::escape;
use super::provenance;
use super::run::{Run, Wall, Work};
use super::sections::named;
use super::words;
use crate::lang::Lang;
use std::fmt::Write;

/// The whole part of the page.
pub fn section(lang: Lang, old: &Run, new: &Run, work: &Work, looks: &[(String, Look)]) -> String {
    let pairs = pairs(old, new, work);
    if pairs.is_empty() {
        let text = lang.pick(
            "The old result has nothing of this work: no cell can be compared.",
            "旧结果中没有这种工作：没有可以比较的数据。",
        );
        return format!("<p>{text}</p>\n");
    }
    let verdicts: Vec<Verdict> =
        pairs.iter().flat_map(|pair| pair.changes.iter().flatten()).map(|change| change.verdict).collect();
    let moved = pairs.iter().filter(|pair| pair.walls().is_some()).count();
    let mut html = format!("<p>{}</p>\n", escape(&summary(lang, &verdicts, moved)));
    html.push_str(&other_conditions(lang, old, new));
    html.push_str(&alone(lang, old, new, work));
    html.push_str(&table(lang, &pairs, looks));
    let _ = writeln!(
        html,
        "<p class=\"how\">{}</p>",
        lang.pick(
            "▲ better, ▼ worse: the change is larger than the spread ((highest − lowest) ÷ median) of either result. \
             ≈ not larger: chance explains it. ? one of the two was measured once: one repeat cannot tell. \
             ≥ the loader was the limit: the rates are lower bounds.",
            "▲ 变好，▼ 变差：变化大于两个结果各自的离散程度（（最高 − 最低）÷ 中位数）。≈ 不大于离散程度：偶然即可解释。\
             ? 其中一个只测了一次：一次说明不了问题。≥ 受限于压测端：速率只是下限。",
        )
    );
    html
}

fn other_conditions(lang: Lang, old: &Run, new: &Run) -> String {
    let different = conditions(old, new);
    if different.is_empty() {
        return String::new();
    }
    let list: Vec<String> = different
        .iter()
        .map(|(path, old, new)| {
            let (label, old, new) = (label(lang, path), in_words(lang, old), in_words(lang, new));
            format!("{label} {old} → {new}")
        })
        .collect();
    format!(
        "<p class=\"notice warning\">{} {}</p>\n",
        lang.pick(
            "Not the same conditions, which may be all of the change:",
            "测量条件不同，变化可能全由此而来："
        ),
        escape(&lang.list(&list))
    )
}

fn label(lang: Lang, path: &str) -> String {
    match path {
        "/noisy" => lang.pick("noisy machine", "机器不安静").to_owned(),
        "/complete" => lang.pick("complete", "完整").to_owned(),
        path => provenance::label(lang, &path.trim_start_matches('/').replace('/', " ")),
    }
}

fn in_words(lang: Lang, value: &str) -> &str {
    match value {
        "true" => lang.pick("yes", "是"),
        "false" => lang.pick("no", "否"),
        value => value,
    }
}

/// What only one of the two results has.
fn alone(lang: Lang, old: &Run, new: &Run, work: &Work) -> String {
    let only = |one: &Run, other: &Run| {
        let mut cells: Vec<String> = Vec::new();
        for cell in one.cells.iter().filter(|cell| cell.work == *work) {
            let there = other.cells.iter().any(|known| {
                known.work == *work && known.model == cell.model && known.connections == cell.connections
            });
            if !there {
                cells.push(format!("{} {}", cell.model, whole(cell.connections)));
            }
        }
        lang.list(&cells)
    };
    let mut html = String::new();
    for (text, cells) in [
        (lang.pick("Only in the new result:", "只在新结果中："), only(new, old)),
        (lang.pick("Only in the old result:", "只在旧结果中："), only(old, new)),
    ] {
        if !cells.is_empty() {
            let _ = writeln!(html, "<p class=\"how\">{text} {}</p>", escape(&cells));
        }
    }
    html
}

fn table(lang: Lang, pairs: &[Pair<'_>], looks: &[(String, Look)]) -> String {
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table class=\"changes\"><caption>{0}</caption><thead><tr><th scope=\"col\">{1}</th><th scope=\"col\">{2}</th>",
        lang.pick("What changed", "有何变化"),
        lang.pick("model", "模型"),
        lang.pick("connections", "连接数")
    );
    for figure in FIGURES {
        let _ = write!(html, "<th scope=\"col\">{}</th>", words::figure(lang, figure));
    }
    let _ = write!(html, "<th scope=\"col\">{}</th></tr></thead><tbody>", lang.pick("wall", "墙"));
    for pair in pairs {
        // Each model's name once: its rungs follow each other.
        let first = pairs.iter().find(|other| other.new.model == pair.new.model);
        html.push_str("<tr>");
        if first.is_some_and(|first| std::ptr::eq(first, pair)) {
            let rows = pairs.iter().filter(|other| other.new.model == pair.new.model).count();
            let _ = write!(
                html,
                "<th scope=\"rowgroup\" rowspan=\"{rows}\">{}</th>",
                named(&pair.new.model, looks)
            );
        }
        let _ = write!(html, "<td>{}</td>", whole(pair.new.connections));
        for (figure, change) in FIGURES.iter().zip(&pair.changes) {
            html.push_str(&field(lang, change.as_ref(), figure.form()));
        }
        let name = |wall: Option<&Wall>| match wall {
            Some(wall) => format!("✕ {}", words::wall(lang, &wall.name)),
            None => lang.pick("held", "承载").to_owned(),
        };
        let wall = match pair.walls() {
            Some((old, new)) => format!("{} → {}", name(old), name(new)),
            None => pair.new.wall.as_ref().map_or(String::new(), |wall| {
                let (old, new) = (pair.old.established, pair.new.established);
                let held = lang.pick("held", "承载");
                match old == new {
                    true => format!("{}, {held} {}", name(Some(wall)), whole(new)),
                    false => format!("{}, {held} {} → {}", name(Some(wall)), whole(old), whole(new)),
                }
            }),
        };
        let _ = writeln!(html, "<td class=\"end\">{}</td></tr>", escape(&wall));
    }
    html + "</tbody></table></div>\n"
}

fn field(lang: Lang, found: Option<&Change>, form: fn(f64) -> String) -> String {
    let Some(found) = found else { return "<td>–</td>".to_owned() };
    let (class, sign, word) = match found.verdict {
        Verdict::Better => ("better", "▲", lang.pick("better", "变好")),
        Verdict::Worse => ("worse", "▼", lang.pick("worse", "变差")),
        Verdict::Within => ("within", "≈", lang.pick("within the spread", "在离散范围内")),
        Verdict::Unknown => ("unknown", "?", lang.pick("one repeat cannot tell", "只测一次，无法判断")),
        Verdict::Bounded => ("unknown", "≥", lang.pick("the loader was the limit", "受限于压测端")),
    };
    let spread = found
        .spread
        .map_or(String::new(), |spread| format!("; {} {:.1} %", lang.pick("spread", "离散"), spread * 100.0));
    format!(
        "<td class=\"{class}\" title=\"{} → {}{spread}\"><span class=\"sign\" role=\"img\" aria-label=\"{word}\">{sign}</span> {}<small>{} → {}</small></td>",
        form(found.old),
        form(found.new),
        change(found.ratio()),
        form(found.old),
        form(found.new)
    )
}
