//! The X-ray in words, for whoever draws it: processes, what their threads are in, what their epoll instances and rings
//! watch. The terminal and the page only lay it out.

use super::Report;
use super::look::process::Process;
use super::server::Server;
use super::view_inside::{instances, threads};
use super::words::plural;
use crate::lang::Lang;
use crate::walls::grouped;

/// A process, or several that look the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// How deep in the family.
    pub depth: usize,
    /// `nginx 4711`, `1,000 × postgres`.
    pub title: String,
    /// `3 connections · 12/1,024 descriptors`.
    pub facts: String,
    /// What its threads are in.
    pub threads: Vec<Row>,
    /// Its epoll instances and rings.
    pub instances: Vec<Instance>,
}

/// An epoll instance or a ring, or several that look the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instance {
    /// `epoll 7`.
    pub title: String,
    /// `data: a pointer`.
    pub note: String,
    /// What it watches.
    pub rows: Vec<Row>,
}

/// A line: words, and marks beside them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Row {
    /// The words.
    pub text: String,
    /// The marks.
    pub chips: Vec<Chip>,
    /// Whether it is about the listener.
    pub listener: bool,
}

/// A short mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Chip {
    /// Level-triggered.
    Level,
    /// Edge-triggered.
    Edge,
    /// One-shot.
    OneShot,
    /// EPOLLEXCLUSIVE.
    Exclusive,
    /// Busy: a share of a core.
    Busy(u64),
}

impl Chip {
    /// As it is written.
    pub fn text(self) -> String {
        match self {
            Chip::Level => "LT".to_owned(),
            Chip::Edge => "ET".to_owned(),
            Chip::OneShot => "ONESHOT".to_owned(),
            Chip::Exclusive => "EXCL".to_owned(),
            Chip::Busy(part) => format!("CPU {part} %"),
        }
    }
}

/// So many processes that look the same are told as one line.
const CROWD: usize = 3;

/// The heading: `nginx 4711 on 127.0.0.1:8080`.
pub fn heading(report: &Report<'_>, lang: Lang) -> String {
    let server = report.case.server;
    let mut addresses: Vec<String> = Vec::new();
    for listener in &server.listeners {
        let address = listener.address.to_string();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let shown = addresses.iter().take(3).cloned().collect::<Vec<_>>().join(lang.pick(", ", "、"));
    let more = addresses.len().saturating_sub(3);
    let more = match (more, lang) {
        (0, _) => String::new(),
        (more, Lang::En) => format!(" and {more} more"),
        (more, Lang::Zh) => format!(" 等 {more} 个"),
    };
    let who = match (server.leader(), server.ended.first()) {
        (Some(process), _) => process.title(),
        (None, Some(ended)) => ended.clone(),
        (None, None) => {
            lang.pick("a process that is closed to this user", "当前用户无权查看的进程").to_owned()
        }
    };
    match (lang, shown.is_empty()) {
        (_, true) => who,
        (Lang::En, false) => format!("{who} on {shown}{more}"),
        (Lang::Zh, false) => format!("{who}，监听 {shown}{more}"),
    }
}

/// The model in a line.
pub fn verdict(report: &Report<'_>, lang: Lang) -> String {
    let verdict = report.case.verdict;
    let mut text = verdict.model.said().pick(lang).to_owned();
    let several = verdict.sharing.filter(|sharing| *sharing != super::model::Sharing::Single);
    if let Some(sharing) = several {
        text += lang.pick(": ", "：");
        text += sharing.said().pick(lang);
    }
    if !verdict.certain && verdict.model != super::model::Model::Unknown {
        text += lang.pick(" (not proven)", "（未经证实）");
    }
    text
}

/// The numbers in a line.
pub fn numbers(report: &Report<'_>, lang: Lang) -> String {
    let server = report.case.server;
    let (processes, threads) = (server.processes.len() as u64, server.threads());
    let mut parts = Vec::new();
    let counted = |count: u64, en: &str, many: &str, zh: &str| match lang {
        Lang::En => format!("{} {}", grouped(count), plural(count, en, many)),
        Lang::Zh => format!("{} {zh}", grouped(count)),
    };
    if processes > 0 {
        parts.push(counted(processes, "process", "processes", "个进程"));
        parts.push(counted(threads, "thread", "threads", "个线程"));
    }
    // Who may not see where it listens knows nothing of its connections.
    if server.listeners.is_empty() {
        return parts.join(" · ");
    }
    parts.push(counted(report.case.connections, "connection", "connections", "个连接"));
    if !server.outgoing.is_empty() {
        parts.push(counted(
            server.outgoing.len() as u64,
            "made by itself",
            "made by itself",
            "个由它发起的连接",
        ));
    }
    let backlog = server.backlog().map_or_else(|| "?".to_owned(), grouped);
    parts.push(match lang {
        Lang::En => format!("accept queue {} of {backlog}", grouped(server.waiting())),
        Lang::Zh => format!("接受队列 {} / {backlog}", grouped(server.waiting())),
    });
    parts.join(" · ")
}

/// The states of its connections in a line, where they are more than ESTABLISHED.
pub fn states(report: &Report<'_>) -> Option<String> {
    let states = &report.case.server.states;
    let only = states.keys().all(|state| *state == duolu_sys::tcp_diag::TcpState::Established);
    let parts: Vec<String> =
        states.iter().map(|(state, count)| format!("{} {}", state.name(), grouped(*count))).collect();
    (!only && !parts.is_empty()).then(|| parts.join(" · "))
}

/// The family, parents before children.
pub fn tree(report: &Report<'_>, lang: Lang) -> Vec<Node> {
    let server = report.case.server;
    let is_child = |process: &Process| server.process(process.parent).is_some();
    let roots: Vec<&Process> = server.processes.iter().filter(|process| !is_child(process)).collect();
    let mut nodes = Vec::new();
    crowd(server, &roots, 0, lang, &mut nodes);
    nodes
}

/// Siblings; those that look the same as one.
fn crowd(server: &Server, siblings: &[&Process], depth: usize, lang: Lang, nodes: &mut Vec<Node>) {
    // The names of processes have no place in the comparison, nor has what differs by chance.
    let mut alike: Vec<(Node, Vec<&Process>)> = Vec::new();
    for process in siblings {
        let node = node(server, process, depth, lang);
        match alike.iter_mut().find(|(other, _)| looks_like(other, &node) && has_no_child(server, process)) {
            Some((_, processes)) => processes.push(process),
            None => alike.push((node, vec![process])),
        }
    }
    for (node, processes) in alike {
        if processes.len() > CROWD {
            let count = grouped(processes.len() as u64);
            let (first, last) = (processes[0].pid, processes[processes.len() - 1].pid);
            let title = format!(
                "{count} × {} ({first} … {last})",
                super::look::process::printable(&processes[0].name)
            );
            nodes.push(Node { title, ..node });
            continue;
        }
        for process in processes {
            nodes.push(self::node(server, process, depth, lang));
            let children: Vec<&Process> = server
                .processes
                .iter()
                .filter(|child| child.parent == process.pid && child.pid != process.pid)
                .collect();
            // Deeper than families of servers are.
            if depth < 8 {
                crowd(server, &children, depth + 1, lang, nodes);
            }
        }
    }
}

fn has_no_child(server: &Server, process: &Process) -> bool {
    !server.processes.iter().any(|child| child.parent == process.pid)
}

fn looks_like(one: &Node, other: &Node) -> bool {
    let name = |node: &Node| node.title.rsplit_once(' ').map(|(name, _)| name.to_owned());
    let busy = |row: &Row| Row {
        chips: row.chips.iter().copied().filter(|chip| !matches!(chip, Chip::Busy(_))).collect(),
        ..row.clone()
    };
    let threads = |node: &Node| node.threads.iter().map(busy).collect::<Vec<_>>();
    (name(one), &one.facts, &one.instances) == (name(other), &other.facts, &other.instances)
        && threads(one) == threads(other)
}

fn node(server: &Server, process: &Process, depth: usize, lang: Lang) -> Node {
    let mut facts: Vec<String> = role(process).into_iter().collect();
    let held = server.held_by(process.pid);
    if held > 0 || process.fds.is_some() {
        facts.push(lang.connections(held));
    }
    let used = process.descriptors.map(grouped);
    let limit = process.descriptor_limit().map_or_else(|| "∞".to_owned(), grouped);
    if let Some(used) = used {
        facts.push(match lang {
            Lang::En => format!("{used}/{limit} descriptors"),
            Lang::Zh => format!("描述符 {used}/{limit}"),
        });
    }
    Node {
        depth,
        title: process.title(),
        facts: facts.join(" · "),
        threads: threads(server, process, lang),
        instances: instances(server, process, lang),
    }
}

/// What a program calls itself on its command line: `nginx: worker process`. Longer ones change with every request.
fn role(process: &Process) -> Option<String> {
    let line = process.command.join(" ");
    let role = line.strip_prefix(&process.name)?.strip_prefix(": ")?;
    let words: Vec<&str> = role.split_whitespace().take(2).collect();
    let plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    (words.len() == 2 && words[1] == "process" && words.iter().all(plain)).then(|| words.join(" "))
}
