//! What the cells show, in a few sentences, and what has to be known before one believes them. Nothing is said
//! that is not in the cells.

use super::figures::{rate, time, whole};
use super::run::{Cell, Figure, Run, Work};
use super::words;
use crate::lang::Lang;
use crate::walls::names;
use serde_json::Value;

/// The cells that held at the highest rung at which any did; at the highest of all if none did anywhere.
pub fn top<'a>(run: &'a Run, work: &Work) -> (u64, Vec<&'a Cell>) {
    let rungs = run.rungs(work);
    let served = |rung: &&u64| {
        run.cells.iter().any(|cell| cell.work == *work && cell.connections == **rung && cell.wall.is_none())
    };
    let rung = rungs.iter().rev().find(served).or(rungs.last()).copied().unwrap_or(0);
    let held =
        run.cells.iter().filter(|cell| cell.work == *work && cell.connections == rung && cell.wall.is_none());
    (rung, held.collect())
}

/// The best and the worst of some cells, if they are two.
pub fn extremes<'a>(cells: &[&'a Cell], figure: Figure) -> Option<[(f64, &'a Cell); 2]> {
    let mut known: Vec<(f64, &Cell)> = cells
        .iter()
        .filter_map(|cell| Some((cell.figure(figure).filter(|value| *value > 0.0)?, *cell)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    if figure.more_is_better() {
        known.reverse();
    }
    Some([*known.first()?, *known.last()?])
}

/// Sentences about one work.
pub fn tell(lang: Lang, run: &Run, work: &Work) -> Vec<String> {
    let (rung, held) = top(run, work);
    let highest = run.rungs(work).last().copied().unwrap_or(0);
    let mut all = Vec::new();
    if highest > rung {
        all.push(who_held(lang, run, work, highest, &[]));
    }
    all.push(who_held(lang, run, work, rung, &held));
    all.extend(walls(lang, run, work));
    all.extend(fastest(lang, rung, &held));
    all.extend(cost(lang, &held));
    all
}

fn who_held(lang: Lang, run: &Run, work: &Work, rung: u64, held: &[&Cell]) -> String {
    let models: Vec<&str> =
        run.models().into_iter().filter(|model| !run.line(work, model).is_empty()).collect();
    let names: Vec<&str> = held.iter().map(|cell| cell.model.as_str()).collect();
    let connections = lang.connections(rung);
    match (lang, names.len()) {
        (Lang::En, 0) => format!("None held {connections}."),
        (Lang::Zh, 0) => format!("没有一个承载了 {connections}。"),
        (Lang::En, 1) if models.len() == 1 => format!("{} held {connections}.", names[0]),
        (Lang::En, held) if held == models.len() => format!("All {held} held {connections}."),
        (Lang::Zh, held) if held == models.len() => format!("{held} 个全部承载了 {connections}。"),
        (Lang::En, held) => format!("{held} of {} held {connections}: {}.", models.len(), lang.list(&names)),
        (Lang::Zh, held) => {
            format!("{} 个中有 {held} 个承载了 {connections}：{}。", models.len(), lang.list(&names))
        }
    }
}

/// A wall with the connections held and asked for, and who stopped there.
type Stop<'a> = ((&'a str, u64, u64), Vec<&'a str>);

/// One sentence for each wall.
fn walls(lang: Lang, run: &Run, work: &Work) -> Vec<String> {
    // Those that stopped at the same number are told together.
    let mut met: Vec<Stop<'_>> = Vec::new();
    for cell in run.cells.iter().filter(|cell| cell.work == *work) {
        let Some(wall) = &cell.wall else { continue };
        let place = (wall.name.as_str(), cell.established, cell.connections);
        match met.iter_mut().find(|(known, _)| *known == place) {
            Some((_, models)) => models.push(&cell.model),
            None => met.push((place, vec![&cell.model])),
        }
    }
    let mut names: Vec<&str> = met.iter().map(|((name, ..), _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let place = |((_, held, asked), models): &Stop<'_>| {
        let (models, held, asked) = (lang.list(models), whole(*held), whole(*asked));
        match lang {
            Lang::En => format!("{models} at {held} of {asked}"),
            Lang::Zh => format!("{models} 止于 {asked} 中的 {held}"),
        }
    };
    let sentence = |name: &str| {
        let places: Vec<String> = met.iter().filter(|((known, ..), _)| *known == name).map(place).collect();
        match lang {
            Lang::En => format!("Stopped by “{}”: {}.", words::wall(lang, name), places.join("; ")),
            Lang::Zh => format!("被“{}”挡住：{}。", words::wall(lang, name), places.join("；")),
        }
    };
    names.into_iter().map(sentence).collect()
}

fn fastest(lang: Lang, rung: u64, held: &[&Cell]) -> Option<String> {
    let [(fast, best), (slow, worst)] = extremes(held, Figure::Rate)?;
    if best.model == worst.model {
        return None;
    }
    let connections = lang.connections(rung);
    let bound = if best.loader_limited() { lang.pick("at least ", "至少 ") } else { "" };
    let times = fast / slow;
    Some(match lang {
        Lang::En if times < 1.1 => {
            format!("At {connections} none answered over 10 % more messages a second than another.")
        }
        Lang::Zh if times < 1.1 => format!("{connections}时，每秒消息数相差都不到 10 %。"),
        Lang::En => format!(
            "At {connections} {} answered {bound}{} messages a second, {} {}: {times:.1} times fewer.",
            best.model,
            rate(fast),
            worst.model,
            rate(slow)
        ),
        Lang::Zh => format!(
            "{connections}时，{} 每秒回答{bound} {} 条消息，{} 为 {}，相差 {times:.1} 倍。",
            best.model,
            rate(fast),
            worst.model,
            rate(slow)
        ),
    })
}

fn cost(lang: Lang, held: &[&Cell]) -> Option<String> {
    let [(little, cheap), (much, dear)] = extremes(held, Figure::Cpu)?;
    if cheap.model == dear.model {
        return None;
    }
    Some(match lang {
        Lang::En => format!(
            "A message cost the server {} of CPU on {}, {} on {}.",
            time(little),
            cheap.model,
            time(much),
            dear.model
        ),
        Lang::Zh => format!(
            "服务器处理一条消息的 CPU：{} 为 {}，{} 为 {}。",
            cheap.model,
            time(little),
            dear.model,
            time(much)
        ),
    })
}

/// How much a notice weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// The figures are not whole, or not to be trusted.
    Warning,
    /// To be known when reading them.
    Note,
}

/// What has to be known before the figures are believed.
pub fn notices(lang: Lang, run: &Run) -> Vec<(Weight, String)> {
    let mut all = Vec::new();
    let mut warn = |text: String| all.push((Weight::Warning, text));
    if run.cut {
        warn(match lang {
            Lang::En => {
                format!("The result file is cut short: only its {} whole cells are shown.", run.cells.len())
            }
            Lang::Zh => format!("结果文件不完整：只显示其中完整的 {} 组数据。", run.cells.len()),
        });
    }
    if run.interrupted {
        warn(
            lang.pick("Interrupted: this is only a part of the run.", "测量被中断：这里只是一部分。")
                .to_owned(),
        );
    } else if !run.complete && !run.cut {
        warn(
            lang.pick("Out of time: some rungs were not measured.", "时间用完：有些连接数没有测到。")
                .to_owned(),
        );
    }
    if run.unreadable > 0 {
        warn(match lang {
            Lang::En if run.unreadable == 1 => {
                "1 cell has no model or no connections and is left out.".to_owned()
            }
            Lang::En => format!("{} cells have no model or no connections and are left out.", run.unreadable),
            Lang::Zh => format!("{} 组数据缺少模型或连接数，已略去。", run.unreadable),
        });
    }
    if run.cells.is_empty() {
        warn(lang.pick("Nothing was measured.", "没有测到任何数据。").to_owned());
    }
    noise(lang, run, &mut all);
    limits(lang, run, &mut all);
    if !run.cells.is_empty() && run.cells.iter().all(|cell| cell.repeats() <= 1) {
        let text = lang.pick(
            "Each cell was measured once: small differences mean nothing. --repeats 5 gives a spread.",
            "每组只测了一次：小的差别没有意义。--repeats 5 可以给出离散程度。",
        );
        all.push((Weight::Note, text.to_owned()));
    }
    all
}

fn noise(lang: Lang, run: &Run, all: &mut Vec<(Weight, String)>) {
    let count = run.cells.len();
    if let Some((most, cells)) = run.disturbed("others_cpu", 0.3) {
        all.push((Weight::Warning, match lang {
            Lang::En => format!(
                "Noisy machine: other programs used up to {most:.1} cores meanwhile ({cells} of {count} cells). Run it on a quiet one."
            ),
            Lang::Zh => format!("机器不安静：其他程序同时占用了最多 {most:.1} 个核心（{count} 组中的 {cells} 组）。请在安静的机器上再测。"),
        }));
    } else if let Some(noisy) = words::noise(lang, &run.machine) {
        all.push((
            Weight::Warning,
            format!("{}{noisy}{}", lang.pick("Noisy machine: ", "机器不安静："), lang.pick(".", "。")),
        ));
    }
    if let Some((most, cells)) = run.disturbed("stolen_cpu", 0.1) {
        all.push((Weight::Warning, match lang {
            Lang::En => format!(
                "The hypervisor gave up to {most:.1} cores to other machines meanwhile ({cells} of {count} cells)."
            ),
            Lang::Zh => format!("虚拟机管理程序同时把最多 {most:.1} 个核心给了其他机器（{count} 组中的 {cells} 组）。"),
        }));
    }
}

fn limits(lang: Lang, run: &Run, all: &mut Vec<(Weight, String)>) {
    if run.shared() {
        let text = lang.pick(
            "Server and loader shared one processor: each took from the other. Compare CPU per message, not rates.",
            "服务器与压测端共用一个处理器，互相抢占。请比较每条消息的 CPU，而不是速率。",
        );
        all.push((Weight::Warning, text.to_owned()));
    }
    if let Some(refused) = run.machine.pointer("/placement/refused").and_then(Value::as_str) {
        let refused = words::refusal(lang, refused);
        all.push((
            Weight::Warning,
            match lang {
                Lang::En => {
                    format!("Server and loader were not pinned to processors of their own: {refused}.")
                }
                Lang::Zh => format!("服务器与压测端未能绑定各自的处理器：{refused}。"),
            },
        ));
    }
    if let Some(from) = run.cells.iter().filter(|cell| cell.sampled()).map(|cell| cell.connections).min() {
        let from = lang.connections(from);
        all.push((
            Weight::Note,
            match lang {
                Lang::En => format!(
                    "From {from} on (°) the loader has fewer descriptors than connections: one connection at a time \
                     exchanges, chosen at random. There is no rate, and these latencies compare only with one another."
                ),
                Lang::Zh => format!(
                    "从 {from}起（°），压测端的描述符少于连接数：每次只有一个随机选出的连接收发消息。没有速率，延迟只能彼此相比。"
                ),
            },
        ));
    }
    let measured = run.cells.iter().filter(|cell| cell.wall.is_none()).count();
    let bounded = run.cells.iter().filter(|cell| cell.wall.is_none() && cell.loader_limited()).count();
    if bounded > 0 {
        let name = words::wall(lang, names::LOADER);
        all.push((Weight::Note, match lang {
            Lang::En => format!(
                "In {bounded} of {measured} cells the loader was the limit ({name}, hollow points): those rates are lower bounds."
            ),
            Lang::Zh => format!("{measured} 组中有 {bounded} 组受限于压测端（{name}，空心点）：这些速率只是下限。"),
        }));
    }
}
