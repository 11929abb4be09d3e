//! Inside a process: what its threads are in, what its epoll instances and rings watch.

use super::look::epoll::{Data, Entry, Epoll, Trigger};
use super::look::fds::Kind;
use super::look::process::Process;
use super::look::ring::{self, Ring};
use super::look::threads::Thread;
use super::look::wait::{Doing, What};
use super::server::Server;
use super::view::{Chip, Instance, Row};
use super::words::plural;
use crate::lang::Lang;
use crate::walls::grouped;
use duolu_sys::calls::CallKind;
use std::collections::{BTreeMap, HashSet};

/// Threads by what they are in, the busy ones and those in loops first.
pub fn threads(server: &Server, process: &Process, lang: Lang) -> Vec<Row> {
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
pub fn instances(server: &Server, process: &Process, lang: Lang) -> Vec<Instance> {
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
