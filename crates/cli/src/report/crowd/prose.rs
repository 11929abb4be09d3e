//! What is said about a climb: the heading, the figures at a glance, sentences, and the table.

use super::super::figures::{self, whole};
use super::super::findings::Weight;
use super::super::look::Look;
use super::super::markup::escape;
use super::super::sections::named;
use super::super::words;
use super::charts::plain;
use super::rungs::{Climb, Of, Rung};
use crate::lang::Lang;
use serde_json::Value;
use std::fmt::Write;

fn processes(lang: Lang, count: u64) -> String {
    match (lang, count) {
        (Lang::En, 1) => "one process".to_owned(),
        (Lang::En, count) => format!("{} processes", whole(count)),
        (Lang::Zh, count) => format!("{} 个进程", whole(count)),
    }
}

/// How many, and in how many processes.
pub fn heading(lang: Lang, climb: &Climb) -> String {
    let tops = climb.tops();
    let Some(first) = tops.first() else { return lang.pick("no figures", "没有数据").to_owned() };
    let connections = |rung: &Rung| lang.connections(rung.held);
    if tops.len() == 1 {
        let (held, who) = (connections(first), processes(lang, first.processes));
        return match lang {
            Lang::En => format!("{held} held by {who}"),
            Lang::Zh => format!("{who}承载 {held}"),
        };
    }
    let same = tops.iter().all(|top| top.held == first.held);
    let one = |top: &&Rung| {
        let who = processes(lang, top.processes);
        match (lang, same) {
            (Lang::En, true) => format!("{} in {who}", top.model),
            (Lang::En, false) => format!("{} {} in {who}", top.model, whole(top.held)),
            (Lang::Zh, true) => format!("{} 用 {who}", top.model),
            (Lang::Zh, false) => format!("{} 用 {who}承载 {}", top.model, whole(top.held)),
        }
    };
    let list = lang.list(&tops.iter().map(one).collect::<Vec<_>>());
    match (lang, same) {
        (Lang::En, true) => format!("{} held: {list}", connections(first)),
        (Lang::En, false) => format!("Connections held: {list}"),
        (Lang::Zh, true) => format!("承载 {}：{list}", connections(first)),
        (Lang::Zh, false) => format!("承载的连接：{list}"),
    }
}

/// What has to be known before the figures are believed.
pub fn notices(lang: Lang, climb: &Climb) -> Vec<(Weight, String)> {
    let mut all = Vec::new();
    let mut warn = |text: String| all.push((Weight::Warning, text));
    if climb.cut {
        warn(match lang {
            Lang::En => {
                format!("The result file is cut short: only its {} whole rungs are shown.", climb.rungs.len())
            }
            Lang::Zh => format!("结果文件不完整：只显示其中完整的 {} 档。", climb.rungs.len()),
        });
    } else if !climb.complete {
        warn(
            lang.pick("The climb was broken off: this is a part of it.", "测量被中断：这里只是一部分。")
                .to_owned(),
        );
    }
    if climb.unreadable > 0 {
        warn(match lang {
            Lang::En => format!("{} rungs could not be read and are left out.", climb.unreadable),
            Lang::Zh => format!("{} 档数据无法读取，已略去。", climb.unreadable),
        });
    }
    let wrong: u64 = climb.rungs.iter().map(|rung| rung.errors_of("wrong_bytes")).sum();
    if wrong > 0 {
        warn(match lang {
            Lang::En => format!("{} replies were not what was sent: these servers are broken.", whole(wrong)),
            Lang::Zh => format!("有 {} 个回答与发送的不符：服务器有错误。", whole(wrong)),
        });
    }
    if climb.rungs.is_empty() {
        warn(lang.pick("Nothing was measured.", "没有测到任何数据。").to_owned());
    }
    if let Some(noisy) = climb.machine.get("noisy").and_then(Value::as_str) {
        warn(match lang {
            Lang::En => format!("Noisy machine: {noisy}."),
            Lang::Zh => format!("机器不安静（原文：{noisy}）。"),
        });
    }
    let sampled = lang.pick(
        "Sampled: one connection at a time exchanges a message, chosen at random among all of them, and every byte of its reply is checked. No rate is measured, and these round trips do not compare with those of duolu compare, where every connection is busy.",
        "抽样：每次只有一个连接收发消息，从全部连接中随机选出，逐字节检查回答。这里不测速率；往返时间也不能与 duolu compare（所有连接都忙）相比。",
    );
    all.push((Weight::Note, sampled.to_owned()));
    all
}

struct Tile {
    label: (&'static str, &'static str),
    value: fn(&Rung) -> Option<String>,
    beside: fn(Lang, &Rung) -> Option<String>,
}

const TILES: [Tile; 5] = [
    Tile {
        label: ("held", "承载"),
        value: |rung| Some(whole(rung.held)),
        beside: |lang, rung| {
            (rung.held < rung.asked).then(|| match lang {
                Lang::En => format!("of {}", whole(rung.asked)),
                Lang::Zh => format!("共 {}", whole(rung.asked)),
            })
        },
    },
    Tile {
        label: ("the server's own memory", "服务器自身内存"),
        value: |rung| rung.figure(Of::Server).map(figures::bytes),
        beside: |lang, rung| {
            let each = figures::bytes(rung.server_each()?);
            Some(match lang {
                Lang::En => format!("{each} a connection"),
                Lang::Zh => format!("每连接 {each}"),
            })
        },
    },
    Tile {
        label: ("kernel memory a connection, both ends", "每连接的内核内存，两端合计"),
        value: |rung| rung.figure(Of::Kernel).map(figures::bytes),
        beside: |lang, rung| {
            let all = figures::bytes(rung.kernel_in_all()?);
            Some(match lang {
                Lang::En => format!("{all} in all"),
                Lang::Zh => format!("共 {all}"),
            })
        },
    },
    Tile {
        label: ("connects a second", "每秒新建连接"),
        value: |rung| rung.figure(Of::Connects).map(figures::rate),
        beside: |_, _| None,
    },
    Tile {
        label: ("round trip of a random one, p50", "随机一个连接的往返，p50"),
        value: |rung| rung.figure(Of::P50).map(figures::time),
        beside: |_, rung| Some(format!("p99 {}", figures::time(rung.figure(Of::P99)?))),
    },
];

/// The figures at a glance, of where each line came highest.
pub fn tiles(lang: Lang, climb: &Climb, looks: &[(String, Look)]) -> String {
    let tops = climb.tops();
    let mut html = "<div class=\"tiles\">".to_owned();
    for tile in &TILES {
        let known: Vec<(&Rung, String)> =
            tops.iter().filter_map(|top| Some((*top, (tile.value)(top)?))).collect();
        let _ = write!(
            html,
            "<div class=\"tile\"><p class=\"what\">{}</p>",
            lang.pick(tile.label.0, tile.label.1)
        );
        for (at, (rung, value)) in known.iter().enumerate() {
            let beside = (tile.beside)(lang, rung).unwrap_or_default();
            if at == 0 {
                let _ = write!(html, "<p class=\"value\">{value}</p>");
            }
            match (at, known.len()) {
                (0, 1) => {}
                (0, _) => {
                    let _ = write!(html, "<p class=\"who\">{}</p>", named(&rung.line, looks));
                }
                _ => {
                    let name = escape(&rung.line);
                    let _ = write!(html, "<p class=\"beside\"><b><bdi>{name}</bdi></b> {value}</p>");
                }
            }
            if !beside.is_empty() {
                let _ = write!(html, "<p class=\"beside\">{}</p>", escape(&beside));
            }
        }
        html.push_str("</div>");
    }
    html + "</div>\n"
}

/// What the climb shows, in sentences. Nothing is said that is not in it.
pub fn findings(lang: Lang, climb: &Climb) -> Vec<String> {
    let limit = climb.machine.pointer("/limits/nofile").and_then(Value::as_u64);
    let mut all: Vec<String> = climb.tops().into_iter().map(|top| held(lang, top, limit)).collect();
    for line in climb.lines() {
        let stop = climb.line(line).into_iter().find_map(|rung| Some((rung, rung.end()?)));
        if let Some((rung, wall)) = stop {
            let (name, held, asked) = (words::wall(lang, &wall.name), whole(rung.held), whole(rung.asked));
            all.push(match lang {
                Lang::En => format!("Stopped by “{name}”: {line} at {held} of {asked}."),
                Lang::Zh => format!("被“{name}”挡住：{line} 止于 {asked} 中的 {held}。"),
            });
        }
    }
    let replies: f64 = climb.rungs.iter().filter_map(|rung| rung.figure(Of::Replies)).sum();
    let wrong: u64 = climb.rungs.iter().map(|rung| rung.errors_of("wrong_bytes")).sum();
    if replies > 0.0 && wrong == 0 {
        let replies = whole(replies as u64);
        all.push(match lang {
            Lang::En => {
                format!("All {replies} replies that were asked for on the way were right, byte for byte.")
            }
            Lang::Zh => format!("途中抽查的 {replies} 个回答全部逐字节正确。"),
        });
    }
    let back = climb.tops().into_iter().filter_map(|top| Some((top, top.figure(Of::Back)?)));
    for (top, seconds) in back {
        let connections = lang.connections(top.held);
        all.push(match lang {
            Lang::En => format!(
                "{}: {seconds:.1} s after the first close of {connections} the memory was back.",
                top.line
            ),
            Lang::Zh => format!("{}：从开始关闭 {connections}起 {seconds:.1} 秒后，内存全部归还。", top.line),
        });
    }
    all
}

fn held(lang: Lang, top: &Rung, limit: Option<u64>) -> String {
    let (connections, who) = (lang.connections(top.held), processes(lang, top.processes));
    let memory = top.figure(Of::Server).map_or(String::new(), |bytes| match lang {
        Lang::En => format!(" of {}", figures::bytes(bytes)),
        Lang::Zh => format!("（共 {}）", figures::bytes(bytes)),
    });
    let limit = limit.filter(|limit| *limit < top.held).map(whole);
    let limit = limit.map_or(String::new(), |limit| match (lang, top.processes) {
        (Lang::En, 1) => {
            format!(", far beyond its {limit} descriptors: they are places in io_uring's file tables")
        }
        (Lang::En, _) => format!(", each within its {limit} descriptors"),
        (Lang::Zh, 1) => format!("，远超其 {limit} 个描述符：连接放在 io_uring 的文件表里"),
        (Lang::Zh, _) => format!("，每个进程都在 {limit} 个描述符之内"),
    });
    match lang {
        Lang::En => format!("{} held {connections} in {who}{memory}{limit}.", top.model),
        Lang::Zh => format!("{} 用 {who}{memory}承载 {connections}{limit}。", top.model),
    }
}

type Column = (&'static str, &'static str, fn(&Rung) -> Option<String>);

const COLUMNS: [Column; 13] = [
    ("connections", "连接数", |rung| Some(whole(rung.asked))),
    ("held", "承载", |rung| Some(whole(rung.held))),
    ("processes", "进程", |rung| Some(whole(rung.processes))),
    ("server memory", "服务器内存", |rung| rung.figure(Of::Server).map(figures::bytes)),
    ("kernel bytes/ connection", "内核字节/连接", |rung| rung.figure(Of::Kernel).map(plain)),
    ("connects/s", "新建/秒", |rung| rung.figure(Of::Connects).map(figures::rate)),
    ("p50", "p50", |rung| rung.figure(Of::P50).map(figures::time)),
    ("p99", "p99", |rung| rung.figure(Of::P99).map(figures::time)),
    ("p99, climbing", "爬升时 p99", |rung| rung.figure(Of::ClimbingP99).map(figures::time)),
    ("replies checked", "检查的回答", |rung| rung.figure(Of::Replies).map(|count| whole(count as u64))),
    ("errors", "错误", |rung| Some(whole(rung.errors))),
    ("GiB free before, held, after", "可用 GiB：前、中、后", |rung| {
        let all = [Of::Before, Of::During, Of::After].map(|of| rung.figure(of));
        let [Some(before), Some(during), Some(after)] = all else { return None };
        let gigabytes = [before, during, after].map(|bytes| format!("{:.1}", bytes / 1_073_741_824.0));
        Some(gigabytes.join(" "))
    }),
    ("back after", "归还", |rung| rung.figure(Of::Back).map(|seconds| format!("{seconds:.1} s"))),
];

/// Every rung.
pub fn table(lang: Lang, climb: &Climb, looks: &[(String, Look)]) -> String {
    let caption = lang.pick("Every rung", "每一档");
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr><th scope=\"col\">{}</th>",
        lang.pick("server", "服务器")
    );
    for (en, zh, _) in COLUMNS {
        let _ = write!(html, "<th scope=\"col\">{}</th>", lang.pick(en, zh));
    }
    let walls = climb.rungs.iter().any(|rung| rung.end().is_some());
    let wall =
        if walls { format!("<th scope=\"col\">{}</th>", lang.pick("wall", "墙")) } else { String::new() };
    let _ = write!(html, "{wall}</tr></thead>");
    for name in climb.lines() {
        let line = climb.line(name);
        html.push_str("<tbody>");
        for (at, rung) in line.iter().enumerate() {
            html.push_str("<tr>");
            if at == 0 {
                let (rows, name) = (line.len(), named(name, looks));
                let _ = write!(html, "<th scope=\"rowgroup\" rowspan=\"{rows}\">{name}</th>");
            }
            for (en, _, value) in COLUMNS {
                let less = en == "held" && rung.held < rung.asked;
                let class = if less { " class=\"less\"" } else { "" };
                let _ = write!(html, "<td{class}>{}</td>", value(rung).unwrap_or_else(|| "–".to_owned()));
            }
            let _ = match rung.end() {
                Some(wall) => {
                    write!(html, "<td class=\"end\">✕ {}</td></tr>", escape(words::wall(lang, &wall.name)))
                }
                None => write!(html, "{}</tr>", if walls { "<td></td>" } else { "" }),
            };
        }
        html.push_str("</tbody>\n");
    }
    html + "</table></div>\n"
}
