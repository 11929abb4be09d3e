//! The X-ray in words, for whoever draws it: processes, what their threads are in, what their epoll instances and rings
//! watch. The terminal and the page only lay it out.

use super::Report;
use super::look::epoll::{Data, Entry, Epoll, Trigger};
use super::look::fds::Kind;
use super::look::process::Process;
use super::look::ring::{self, Ring};
use super::look::threads::Thread;
use super::look::wait::{Doing, What};
use super::server::Server;
use super::words::plural;
use crate::lang::Lang;
use crate::walls::grouped;
use duolu_sys::calls::CallKind;
use std::collections::{BTreeMap, HashSet};

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
    parts.join(lang.pick(" · ", " · "))
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

/// Threads by what they are in, the busy ones and those in loops first.
fn threads(server: &Server, process: &Process, lang: Lang) -> Vec<Row> {
    let mut groups: BTreeMap<(u8, String, bool), (u64, f64)> = BTreeMap::new();
    for thread in server.looks.threads.iter().filter(|thread| thread.pid == process.pid) {
        let (rank, text, listener) = doing(server, process, thread, lang);
        let group = groups.entry((rank, text, listener)).or_default();
        group.0 += 1;
        group.1 += thread.cpu.unwrap_or(0.0);
    }
    let row = |((_, text, listener), (count, cpu)): ((u8, String, bool), (u64, f64))| {
        let count_text = match (count, lang) {
            (1, Lang::En) => "1 thread".to_owned(),
            (count, Lang::En) => format!("{} threads", grouped(count)),
            (count, Lang::Zh) => format!("{} 个线程", grouped(count)),
        };
        let part = (cpu * 100.0).round() as u64;
        let chips = if part >= 1 { vec![Chip::Busy(part)] } else { Vec::new() };
        Row { text: format!("{count_text}{}{text}", lang.pick(": ", "：")), chips, listener }
    };
    groups.into_iter().map(row).collect()
}

/// What a thread mostly waits in, with what the descriptor is.
fn doing(server: &Server, process: &Process, thread: &Thread, lang: Lang) -> (u8, String, bool) {
    let running = thread.share(|doing| doing.what == What::Running);
    let Some(doing) = thread.waiting() else {
        return (0, lang.pick("running", "运行中").to_owned(), false);
    };
    let fd = doing.fd.map_or(String::new(), |fd| fd.to_string());
    let mut text = match doing.what {
        What::Hidden => lang.pick("waits (in what: not readable)", "等待（在等什么：无法读取）").to_owned(),
        What::PollOrSelect => "poll / select".to_owned(),
        _ => format!("{}({fd})", doing.call),
    };
    let inode = doing.fd.and_then(|fd| process.socket(fd));
    let on_listener = inode.is_some_and(|inode| server.is_listener(inode));
    let blocking = matches!(
        doing.what,
        What::In(CallKind::Read | CallKind::Write | CallKind::Accept | CallKind::Connect)
    );
    if let (true, Some(inode)) = (blocking, inode) {
        // The descriptor's number differs from thread to thread, and would keep them apart.
        text = doing.call.to_string();
        text += match (server.is_listener(inode), server.is_ours(inode)) {
            (true, _) => lang.pick(" on the listener", "，监听套接字"),
            (_, true) => lang.pick(" on its connection", "，自己的连接"),
            _ => lang.pick(" on another socket", "，其他套接字"),
        };
    }
    let mut listener = on_listener;
    if let Some(set) = &thread.set {
        let inodes = || set.fds.iter().filter_map(|&fd| process.socket(fd));
        let listeners = inodes().filter(|&inode| server.is_listener(inode)).count() as u64;
        let connections = inodes().filter(|&inode| server.is_ours(inode)).count() as u64 - listeners;
        listener = listeners > 0;
        let all = set.fds.len() as u64;
        let (all_text, connections_text) = (grouped(all), lang.connections(connections));
        text += &match (lang, listeners > 0) {
            (Lang::En, false) if connections == 0 => format!(" of {all_text}, none of them a connection"),
            (Lang::Zh, false) if connections == 0 => format!("，共 {all_text} 个，都不是连接"),
            (Lang::En, true) => format!(" of {all_text}: the listener, {connections_text}"),
            (Lang::En, false) => format!(" of {all_text}: {connections_text}"),
            (Lang::Zh, true) => format!("，共 {all_text} 个：监听套接字、{connections_text}"),
            (Lang::Zh, false) => format!("，共 {all_text} 个：{connections_text}"),
        };
    }
    if running > 0.5 {
        text = match lang {
            Lang::En => format!("running; else {text}"),
            Lang::Zh => format!("运行中；其余时间 {text}"),
        };
    }
    (rank(doing), text, listener)
}

fn rank(doing: &Doing) -> u8 {
    match doing.what {
        What::Running => 0,
        What::In(CallKind::Epoll | CallKind::Poll | CallKind::Select | CallKind::Ring | CallKind::Accept)
        | What::PollOrSelect => 1,
        What::In(CallKind::Read | CallKind::Write | CallKind::Connect | CallKind::Disk) => 2,
        What::In(CallKind::Child | CallKind::Signal | CallKind::Other) => 3,
        What::In(CallKind::Futex | CallKind::Sleep) | What::Hidden => 4,
    }
}

/// Epoll instances that watch something, then rings.
fn instances(server: &Server, process: &Process, lang: Lang) -> Vec<Instance> {
    let watching = process.epolls.iter().filter(|epoll| !epoll.entries.is_empty());
    let epolls = watching.map(|epoll| self::epoll(server, process, epoll, lang));
    epolls.chain(process.rings.iter().map(|ring| self::ring(server, ring, lang))).collect()
}

fn epoll(server: &Server, process: &Process, epoll: &Epoll, lang: Lang) -> Instance {
    let data = process.maps.as_ref().and_then(|maps| epoll.data(maps)).map(|data| match data {
        Data::Fd => lang.pick("data: the descriptor", "data：描述符"),
        Data::Pointer => lang.pick("data: a pointer", "data：指针"),
        Data::Token => lang.pick("data: a token", "data：标记"),
    });
    let made: HashSet<u64> = server.outgoing.iter().map(|socket| socket.inode).collect();
    let mut groups: BTreeMap<(u8, &str, Vec<Chip>), u64> = BTreeMap::new();
    for entry in &epoll.entries {
        let (rank, kind) = match entry.inode {
            Some(inode) if server.is_listener(inode) => (0, ""),
            Some(inode) if server.is_ours(inode) => (1, ""),
            Some(inode) if made.contains(&inode) => (2, ""),
            _ => (3, other(process, entry)),
        };
        *groups.entry((rank, kind, chips(entry))).or_default() += 1;
    }
    let row = |((rank, kind, chips), count): ((u8, &str, Vec<Chip>), u64)| {
        let n = grouped(count);
        let text = match (rank, lang) {
            (0, Lang::En) if count == 1 => "the listener".to_owned(),
            (0, Lang::En) => format!("{n} listeners"),
            (0, Lang::Zh) if count == 1 => "监听套接字".to_owned(),
            (0, Lang::Zh) => format!("{n} 个监听套接字"),
            (1, lang) => lang.connections(count),
            (2, Lang::En) => format!("{} made by itself", lang.connections(count)),
            (2, Lang::Zh) => format!("{n} 个由它发起的连接"),
            (_, Lang::En) => format!("{n} {kind}{}", plural(count, "", "s")),
            (_, Lang::Zh) => format!("{n} 个 {kind}"),
        };
        Row { text, chips, listener: rank == 0 }
    };
    Instance {
        title: format!("epoll {}", epoll.fd),
        note: data.unwrap_or("").to_owned(),
        rows: groups.into_iter().map(row).collect(),
    }
}

/// What else is watched: most often what wakes the loop up.
fn other(process: &Process, entry: &Entry) -> &'static str {
    let fds = process.fds.as_deref().unwrap_or(&[]);
    let kind = fds.binary_search_by_key(&entry.fd, |fd| fd.number).ok().map(|at| fds[at].kind);
    match kind {
        Some(Kind::Socket(_)) => "socket",
        Some(Kind::Event) => "eventfd",
        Some(Kind::Signal) => "signalfd",
        Some(Kind::Timer) => "timerfd",
        Some(Kind::Pipe(_)) => "pipe",
        Some(Kind::Epoll) => "epoll",
        Some(Kind::Ring) => "io_uring",
        Some(Kind::Other) | None => "file",
    }
}

fn chips(entry: &Entry) -> Vec<Chip> {
    let mut chips = vec![if entry.is_edge() { Chip::Edge } else { Chip::Level }];
    if entry.trigger() == Trigger::OneShot {
        chips.push(Chip::OneShot);
    }
    if entry.is_exclusive() {
        chips.push(Chip::Exclusive);
    }
    chips
}

fn ring(server: &Server, ring: &Ring, lang: Lang) -> Instance {
    let note = ring.places.map_or(String::new(), |(taken, all)| match lang {
        Lang::En => format!("file table {}/{}", grouped(taken), grouped(all)),
        Lang::Zh => format!("文件表 {}/{}", grouped(taken), grouped(all)),
    });
    let in_table = ring.sockets.iter().filter(|inode| server.is_ours(**inode)).count() as u64;
    let mut rows: Vec<Row> = ring
        .waiting
        .iter()
        .map(|(&number, count)| {
            let name = ring::operation(number).map_or_else(|| format!("op {number}"), str::to_owned);
            let text = match lang {
                Lang::En => format!("{} × {name} waiting", grouped(*count)),
                Lang::Zh => format!("{} 个 {name} 在等待", grouped(*count)),
            };
            Row { text, ..Row::default() }
        })
        .collect();
    if in_table > 0 {
        let connections = lang.connections(in_table);
        rows.push(Row {
            text: match lang {
                Lang::En => format!("{connections} in its file table (no descriptors)"),
                Lang::Zh => format!("{connections}在文件表中（不占描述符）"),
            },
            ..Row::default()
        });
    }
    Instance { title: format!("io_uring {}", ring.fd), note, rows }
}
