//! Two results laid over each other: what changed, and whether it is more than chance. The page and `duolu compare
//! --against` both ask here.
//!
//! A change counts where it is larger than the spread of either result, (highest - lowest) / median over its
//! repeats: two runs of the same binary differ by as much. With one repeat there is no spread, and so no verdict.

use super::run::{Cell, Figure, Run, Wall, Work};
use crate::lang::Lang;
use serde::Serialize;
use serde_json::Value;

/// A server's memory that changed by no more than this in all says nothing, whatever that is for each connection: an
/// allocator takes and keeps pages by the dozen.
const PAGES: f64 = 256.0 * 1024.0;

/// What is compared.
pub const FIGURES: [Figure; 4] = [Figure::Rate, Figure::P99, Figure::Cpu, Figure::Memory];

/// What a change means.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Larger than the spread, to the good.
    Better,
    /// Larger than the spread, to the bad.
    Worse,
    /// Not larger than the spread.
    Within,
    /// One of the two was measured once.
    #[default]
    Unknown,
    /// The loader was the limit in one of them: the rates are lower bounds.
    Bounded,
}

/// One figure of one cell, old and new.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Change {
    /// The old value.
    pub old: f64,
    /// The new value.
    pub new: f64,
    /// The larger of the two spreads.
    pub spread: Option<f64>,
    /// What it means.
    pub verdict: Verdict,
}

impl Change {
    /// The new value in terms of the old one.
    pub fn ratio(&self) -> f64 {
        self.new / self.old
    }

    fn of(figure: Figure, old: &Cell, new: &Cell) -> Option<Change> {
        let latency = matches!(figure, Figure::P50 | Figure::P99 | Figure::P999);
        if latency && old.sampled() != new.sampled() {
            return None;
        }
        let positive = |cell: &Cell| cell.figure(figure).filter(|value| *value > 0.0);
        let (before, after) = (positive(old)?, positive(new)?);
        let spread = old.spread(figure).zip(new.spread(figure)).map(|(one, other)| one.max(other));
        let moved = (after / before - 1.0).abs();
        let pages = (after - before).abs() * new.connections as f64;
        let verdict = match spread {
            _ if figure == Figure::Rate && (old.loader_limited() || new.loader_limited()) => Verdict::Bounded,
            None => Verdict::Unknown,
            Some(spread) if moved <= spread => Verdict::Within,
            Some(_) if figure == Figure::Memory && pages <= PAGES => Verdict::Within,
            Some(_) if (after > before) == figure.more_is_better() => Verdict::Better,
            Some(_) => Verdict::Worse,
        };
        Some(Change { old: before, new: after, spread, verdict })
    }
}

/// One model at one rung, old and new.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The old cell.
    pub old: &'a Cell,
    /// The new cell.
    pub new: &'a Cell,
    /// The figures, in the order of [`FIGURES`]; `None` where one of the two has none, or stands at a wall.
    pub changes: [Option<Change>; 4],
}

impl Pair<'_> {
    /// The walls, where they are not the same.
    pub fn walls(&self) -> Option<(Option<&Wall>, Option<&Wall>)> {
        let (old, new) = (self.old.wall.as_ref(), self.new.wall.as_ref());
        let name = |wall: Option<&Wall>| wall.map(|wall| wall.name.clone());
        (name(old) != name(new)).then_some((old, new))
    }
}

/// Everything that both results have of a work.
pub fn pairs<'a>(old: &'a Run, new: &'a Run, work: &Work) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for cell in new.models().into_iter().flat_map(|model| new.line(work, model)) {
        let same = |other: &&Cell| {
            other.work == *work && other.model == cell.model && other.connections == cell.connections
        };
        let Some(before) = old.cells.iter().find(same) else { continue };
        let stands = cell.wall.is_none() && before.wall.is_none();
        let change = |figure: Figure| Change::of(figure, before, cell).filter(|_| stands);
        pairs.push(Pair { old: before, new: cell, changes: FIGURES.map(change) });
    }
    pairs
}

/// How many figures changed, in a sentence or two; `moved` is how many lines end elsewhere.
pub fn summary(lang: Lang, verdicts: &[Verdict], moved: usize) -> String {
    let count = |verdict: Verdict| verdicts.iter().filter(|given| **given == verdict).count();
    let (all, better, worse) = (verdicts.len(), count(Verdict::Better), count(Verdict::Worse));
    let within = count(Verdict::Within);
    let mut text = match lang {
        Lang::En => {
            format!("{all} figures compared: {better} better, {worse} worse, {within} within the spread.")
        }
        Lang::Zh => {
            format!("比较了 {all} 个数据：{better} 个变好，{worse} 个变差，{within} 个在离散范围内。")
        }
    };
    let more = [
        (
            count(Verdict::Unknown),
            [" {n} cannot be judged: one repeat cannot tell a change from chance; measure both with --repeats 5.";
                2],
            "{n} 个无法判断：只测一次分不清变化与偶然；请两次都用 --repeats 5 测量。",
        ),
        (
            count(Verdict::Bounded),
            [
                " {n} rate is a lower bound, because the loader was the limit: compare CPU per message.",
                " {n} rates are lower bounds, because the loader was the limit: compare CPU per message.",
            ],
            "{n} 个速率只是下限，因为受限于压测端：请比较每条消息的 CPU。",
        ),
        (moved, [" {n} wall moved.", " {n} walls moved."], "{n} 处墙有变化。"),
    ];
    for (number, [one, many], zh) in more.into_iter().filter(|(number, ..)| *number > 0) {
        let en = if number == 1 { one } else { many };
        text.push_str(&lang.pick(en, zh).replace("{n}", &number.to_string()));
    }
    text
}

/// What was not the same when the two were measured: (what, old, new). Any of it may be the reason of a change.
pub fn conditions(old: &Run, new: &Run) -> Vec<(&'static str, String, String)> {
    const ASKED: [&str; 6] = ["/window_s", "/workers", "/accept", "/server_nofile", "/service", "/active"];
    const MACHINE: [&str; 8] = [
        "/duolu",
        "/kernel",
        "/cpu_model",
        "/cpus",
        "/memory_bytes",
        "/limits/nofile",
        "/placement/shared",
        "/placement/pinned",
    ];
    let noisy = |run: &Run| run.machine.get("noisy").is_some_and(Value::is_string).to_string();
    let whole = |run: &Run| run.complete.to_string();
    let marks = [("/noisy", noisy(old), noisy(new)), ("/complete", whole(old), whole(new))];
    let marks = marks.into_iter().filter(|(_, old, new)| old != new);
    let machine = MACHINE.into_iter().map(|path| (path, &old.machine, &new.machine));
    let asked = ASKED.into_iter().map(|path| (path, &old.asked, &new.asked));
    let different = machine.chain(asked).filter_map(|(path, old, new)| {
        let (old, new) = (old.pointer(path), new.pointer(path));
        let text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.clone(),
            Some(value) if !value.is_null() => value.to_string(),
            _ => "–".to_owned(),
        };
        (old != new && text(old) != text(new)).then(|| (path, text(old), text(new)))
    });
    different.chain(marks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(rate: f64, repeats: u32, spread: Option<f64>) -> Run {
        let cell = json!({"model": "poll", "connections": 100, "established": 100, "rate": rate, "p99_us": 10.0,
            "repeats": repeats, "spread": spread, "errors": 0});
        Run::read(
            &json!({"schema": 1, "results": [cell], "machine": {"kernel": format!("6.{repeats}")}}),
            false,
        )
    }

    fn verdict(old: &Run, new: &Run) -> Verdict {
        let work = old.works()[0].clone();
        pairs(old, new, &work)[0].changes[0].expect("a rate").verdict
    }

    #[test]
    fn a_change_counts_where_it_is_larger_than_both_spreads() {
        let old = run(100.0, 5, Some(0.02));
        assert_eq!(verdict(&old, &run(110.0, 5, Some(0.05))), Verdict::Better);
        assert_eq!(verdict(&old, &run(90.0, 5, Some(0.05))), Verdict::Worse);
        assert_eq!(verdict(&old, &run(110.0, 5, Some(0.2))), Verdict::Within);
        assert_eq!(verdict(&run(100.0, 5, Some(0.2)), &run(110.0, 5, Some(0.0))), Verdict::Within);
    }

    #[test]
    fn one_repeat_cannot_tell_however_large_the_change() {
        assert_eq!(verdict(&run(100.0, 5, Some(0.02)), &run(300.0, 1, None)), Verdict::Unknown);
        assert_eq!(verdict(&run(100.0, 1, None), &run(300.0, 5, Some(0.01))), Verdict::Unknown);
        assert_eq!(verdict(&run(100.0, 1, Some(0.0)), &run(300.0, 1, Some(0.0))), Verdict::Unknown);
    }

    #[test]
    fn memory_is_judged_by_the_pages_that_it_is_in_all() {
        let run = |connections: u64, bytes: f64| {
            let cell = json!({"model": "poll", "connections": connections, "server_bytes_per_conn": bytes, "repeats": 5,
                "spreads": {"server_bytes_per_conn": 0.01}});
            Run::read(&json!({"schema": 1, "results": [cell]}), false)
        };
        let verdict =
            |old: &Run, new: &Run| pairs(old, new, old.works()[0])[0].changes[3].expect("memory").verdict;
        assert_eq!(verdict(&run(100, 200.0), &run(100, 600.0)), Verdict::Within, "40 KiB in all");
        assert_eq!(verdict(&run(5_000, 200.0), &run(5_000, 600.0)), Verdict::Worse, "2 MiB in all");
    }

    #[test]
    fn a_summary_names_only_what_there_is() {
        let text = summary(Lang::En, &[Verdict::Better, Verdict::Within], 0);
        assert_eq!(text, "2 figures compared: 1 better, 0 worse, 1 within the spread.");
        let text = summary(Lang::Zh, &[Verdict::Unknown, Verdict::Bounded], 3);
        assert!(
            text.contains("1 个无法判断") && text.contains("1 个速率只是下限") && text.contains("3 处墙"),
            "{text}"
        );
    }

    #[test]
    fn other_conditions_are_told() {
        let told = conditions(&run(1.0, 1, None), &run(1.0, 5, None));
        assert_eq!(told, [("/kernel", "6.1".to_owned(), "6.5".to_owned())]);
    }
}
