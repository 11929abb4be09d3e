//! From what was seen of threads, epoll instances and who holds which connection to the model.
//!
//! Connections prove a model; a server without any shows only how it waits for the first ([`super::idle`]). Then what is
//! known of the program helps, and is said to be just that.

use super::idle::idle;
use super::known;
use super::look::epoll::Trigger;
use super::look::wait::What;
use super::model::{Model, Sharing, Verdict};
use super::server::Server;
use super::watching::{By, Watch, Watching};
use super::words::said;
use crate::lab::said::Said;
use crate::walls::grouped;
use duolu_sys::calls::CallKind;
use std::collections::{BTreeMap, BTreeSet};

/// Finds the model.
pub fn decide(server: &Server, watching: &Watching) -> Verdict {
    let votes = Votes::of(server, watching);
    let listener = votes.listener.iter().find_map(|watch| watch.trigger);
    let found = if server.is_closed() { Some(closed(server)) } else { served(server, watching, &votes) };
    let (model, certain, mut evidence) = found.unwrap_or_else(|| idle(server, &votes));
    let sharing = model.is_loop().then(|| sharing(server, &votes)).flatten();
    if let (Model::Epoll(_), Some(trigger)) = (model, listener) {
        let (en, zh) = trigger_words(trigger);
        evidence.push(said!("the listener itself is watched {en}", "监听套接字本身为{zh}"));
    }
    Verdict { model, certain, sharing, listener, evidence }
}

/// `level-triggered`.
pub fn trigger_words(trigger: Trigger) -> (&'static str, &'static str) {
    match trigger {
        Trigger::Level => ("level-triggered", "水平触发"),
        Trigger::Edge => ("edge-triggered (EPOLLET)", "边缘触发（EPOLLET）"),
        Trigger::OneShot => ("one-shot (EPOLLONESHOT)", "一次性触发（EPOLLONESHOT）"),
    }
}

/// Nothing of it may be read but what everybody may know.
fn closed(server: &Server) -> Found {
    let mut evidence = vec![Said::from(match server.ended.is_empty() {
        true => (
            "its processes are closed to this user: how they wait cannot be read",
            "当前用户无权查看它的进程：读不到它们如何等待",
        ),
        false => ("it ended before all of it was read", "还没读完它就结束了"),
    })];
    let known = server.leader().and_then(known::of);
    let model = known.as_ref().map_or(Model::Unknown, |known| known.model);
    evidence.extend(known.map(|known| known.why));
    (model, false, evidence)
}

/// What was seen of every socket.
pub struct Votes {
    /// How the listeners are watched.
    pub listener: Vec<Watch>,
    /// Connections by how they are watched.
    pub kinds: BTreeMap<Model, u64>,
    /// The loops that watch connections.
    pub loops: BTreeSet<By>,
    /// Connections of each process that serves some: its own best guess of who does.
    pub serving: BTreeMap<u32, u64>,
    /// Processes in which a connection is watched together with the listener.
    pub mixed_in: BTreeSet<u32>,
    /// Threads that wait for a connection each.
    pub tids: BTreeSet<(u32, u32)>,
    /// Connections of which nothing was seen.
    pub unseen: u64,
}

impl Votes {
    fn of(server: &Server, watching: &Watching) -> Self {
        let listener: Vec<Watch> = server
            .listeners
            .iter()
            .flat_map(|listener| watching.of_socket(listener.inode))
            .copied()
            .collect();
        let with_listener: BTreeSet<By> =
            listener.iter().map(|watch| watch.by).filter(|by| by.is_loop()).collect();
        let mut votes = Votes {
            listener,
            kinds: BTreeMap::new(),
            loops: BTreeSet::new(),
            serving: BTreeMap::new(),
            mixed_in: BTreeSet::new(),
            tids: BTreeSet::new(),
            unseen: 0,
        };
        for connection in &server.connections {
            let watch = watching.best(connection.socket.inode);
            // Of several that hold it the one that watches it, else the last: a child has the higher number.
            let pid = watch.map(|watch| watch.by.pid()).or(connection.holders.last().copied());
            if let Some(pid) = pid {
                *votes.serving.entry(pid).or_default() += 1;
            }
            let Some(watch) = watch else {
                votes.unseen += 1;
                continue;
            };
            if with_listener.contains(&watch.by) {
                votes.mixed_in.insert(watch.by.pid());
            }
            match watch.by {
                By::Thread(pid, tid) => drop(votes.tids.insert((pid, tid))),
                by => drop(votes.loops.insert(by)),
            }
            *votes.kinds.entry(kind(server, watch)).or_default() += 1;
        }
        votes
    }

    /// Processes that wait for connections to accept.
    fn acceptors(&self) -> BTreeSet<u32> {
        self.listener.iter().map(|watch| watch.by.pid()).collect()
    }
}

fn kind(server: &Server, watch: Watch) -> Model {
    match watch.by {
        By::Thread(..) => Model::Thread,
        By::Poll(..) => Model::Poll,
        By::Select(..) => Model::Select,
        By::Epoll(..) => Model::Epoll(watch.trigger),
        By::Ring(pid, fd) => ring_kind(server, pid, fd),
    }
}

pub fn ring_kind(server: &Server, pid: u32, fd: i32) -> Model {
    let process = server.process(pid);
    let ring = process.and_then(|process| process.rings.iter().find(|ring| ring.fd == fd));
    match ring.and_then(|ring| ring.is_completion()) {
        Some(true) => Model::Uring,
        Some(false) => Model::UringPoll,
        // A table of accepted sockets is for completions: readiness needs none.
        None if ring.is_some_and(|ring| !ring.sockets.is_empty()) => Model::Uring,
        None => Model::UringSome,
    }
}

pub type Found = (Model, bool, Vec<Said>);

/// From connections.
fn served(server: &Server, watching: &Watching, votes: &Votes) -> Option<Found> {
    let all: u64 = votes.serving.values().sum();
    if all == 0 {
        return None;
    }
    if let Some(found) = by_processes(server, votes, all) {
        return Some(found);
    }
    let seen: u64 = votes.kinds.values().sum();
    let Some((&most, &count)) = votes.kinds.iter().max_by_key(|&(_, count)| count) else {
        return unseen(server, all);
    };
    if count * 10 < seen * 9 {
        let parts: Vec<String> = votes
            .kinds
            .iter()
            .map(|(model, count)| format!("{} {}", grouped(*count), model.name()))
            .collect();
        let parts = parts.join(", ");
        return Some((
            Model::Mixed,
            true,
            vec![said!("of {seen} connections: {parts}", "{seen} 个连接中：{parts}")],
        ));
    }
    let (n, of) = (grouped(count), grouped(all));
    let evidence = match most {
        Model::Thread => return Some(by_threads(server, watching, votes, &n, &of)),
        Model::Epoll(trigger) => {
            let (en, zh) = trigger.map_or(("", ""), trigger_words);
            let places = votes.loops.len();
            let (places_en, places_zh) = match votes.loops.first() {
                Some(By::Epoll(pid, fd)) if places == 1 => {
                    (format!("in epoll {fd} of process {pid}"), format!("在进程 {pid} 的 epoll {fd} 中"))
                }
                _ => (format!("in {places} epoll instances"), format!("在 {places} 个 epoll 实例中")),
            };
            said!(
                "connections watched {en} {places_en}: {n} of {of}",
                "{of} 个连接中有 {n} 个{places_zh}以{zh}监视"
            )
        }
        Model::Poll | Model::Select => {
            let call = most.name();
            said!(
                "connections in the set of one {call}() with the others: {n} of {of}",
                "{of} 个连接中有 {n} 个在同一个 {call}() 的集合里"
            )
        }
        _ => {
            let what = ring_words(server);
            said!(
                "connections that belong to an io_uring: {n} of {of}; what waits in it: {what}",
                "{of} 个连接中有 {n} 个属于 io_uring；其中等待着：{what}"
            )
        }
    };
    let mut all_evidence = vec![evidence];
    if votes.unseen > 0 {
        let rest = grouped(votes.unseen);
        all_evidence.push(said!("{rest} were not waited for at that moment", "有 {rest} 个当时没有被等待"));
    }
    Some((most, true, all_evidence))
}

/// What waits in the rings: `accept 1, recv 2`.
pub fn ring_words(server: &Server) -> String {
    let mut waiting: BTreeMap<&str, u64> = BTreeMap::new();
    for ring in server.processes.iter().flat_map(|process| &process.rings) {
        for (&number, &count) in &ring.waiting {
            *waiting.entry(super::look::ring::operation(number).unwrap_or("other")).or_default() += count;
        }
    }
    let words: Vec<String> =
        waiting.iter().map(|(word, count)| format!("{word} {}", grouped(*count))).collect();
    words.join(", ")
}

/// A process for each connection: made for it, or taken from a pool.
fn by_processes(server: &Server, votes: &Votes, all: u64) -> Option<Found> {
    let alone = votes.serving.values().all(|&count| count == 1);
    let looping = votes.serving.keys().any(|pid| votes.mixed_in.contains(pid));
    if !alone || looping || server.processes.len() < 2 {
        return None;
    }
    let acceptors = votes.acceptors();
    let is_parent = |pid: u32| {
        let mut at = server.process(pid);
        // As deep as families of servers are; a cycle of wrong reads ends too.
        for _ in 0..8 {
            let Some(process) = at else { return false };
            if acceptors.contains(&process.parent) {
                return true;
            }
            at = server.process(process.parent);
        }
        false
    };
    let serving: Vec<u32> = votes.serving.keys().copied().collect();
    let processes = grouped(serving.len() as u64);
    let n = grouped(all);
    let accepting_themselves = serving.iter().any(|pid| acceptors.contains(pid));
    if !accepting_themselves && serving.iter().all(|&pid| is_parent(pid)) {
        let parent = acceptors.first().copied().unwrap_or(0);
        return Some((
            Model::Fork,
            true,
            vec![said!(
                "connections held by child processes, one each: {n}; their parent {parent} waits for the next",
                "{n} 个连接由 {processes} 个子进程持有，每个一个；父进程 {parent} 等待下一个"
            )],
        ));
    }
    let holds_listener = |pid: &u32| {
        let process = server.process(*pid);
        process.is_some_and(|process| process.sockets().any(|inode| server.is_listener(inode)))
    };
    let pool = server.processes.iter().filter(|process| holds_listener(&process.pid)).count();
    if serving.iter().all(holds_listener) {
        let pool = grouped(pool as u64);
        return Some((
            Model::Prefork,
            true,
            vec![said!(
                "connections held by processes that share the listener, one each: {n}, of {pool} processes",
                "共用监听套接字的 {pool} 个进程中有 {processes} 个持有 {n} 个连接，每个一个"
            )],
        ));
    }
    Some((
        Model::Fork,
        false,
        vec![said!(
            "connections held by processes that do not have the listener, one each: {n}",
            "{n} 个连接由 {processes} 个没有监听套接字的进程持有，每个一个"
        )],
    ))
}

/// A thread for each connection, or one for all in turn.
fn by_threads(server: &Server, watching: &Watching, votes: &Votes, n: &str, of: &str) -> Found {
    let threads = votes.tids.len();
    let one = votes.tids.first().copied();
    let only_thread =
        one.is_some_and(|(pid, _)| server.process(pid).is_some_and(|process| process.threads == 1));
    if threads == 1 && only_thread {
        let waiting = grouped(server.waiting());
        return (
            Model::Iterative,
            true,
            vec![said!(
                "the only thread waits for one connection; {waiting} more wait in the queue",
                "唯一的线程在等一个连接；另有 {waiting} 个在队列里"
            )],
        );
    }
    let call = server.connections.iter().find_map(|connection| {
        let By::Thread(pid, tid) = watching.best(connection.socket.inode)?.by else { return None };
        let thread = server.looks.threads.iter().find(|thread| (thread.pid, thread.tid) == (pid, tid))?;
        Some(thread.waiting()?.call.to_string())
    });
    let call = call.unwrap_or_default();
    (
        Model::Thread,
        true,
        vec![said!(
            "connections with a thread of their own that waits in {call}() for them: {n} of {of}",
            "{of} 个连接中有 {n} 个有自己的线程在 {call}() 中等待"
        )],
    )
}

/// Connections, but nothing to be seen of who waits for them: calls are hidden, or everybody is busy.
fn unseen(server: &Server, all: u64) -> Option<Found> {
    let mostly = |what: fn(What) -> bool| {
        server
            .looks
            .threads
            .iter()
            .filter(|thread| thread.waiting().is_some_and(|doing| what(doing.what)))
            .count() as u64
    };
    let reading = mostly(|what| what == What::In(CallKind::Read));
    let n = grouped(all);
    if all > 1 && reading >= all {
        let reading = grouped(reading);
        return Some((
            Model::Thread,
            false,
            vec![said!(
                "connections: {n}, threads that wait for data: {reading}; which thread waits for which could not be read",
                "{n} 个连接，{reading} 个线程在等数据；无法读出哪个线程等哪个连接"
            )],
        ));
    }
    if mostly(|what| what == What::PollOrSelect) > 0 {
        return Some((
            Model::PollOrSelect,
            false,
            vec![said!(
                "connections: {n}; a thread waits in poll or select, which of the two could not be read",
                "{n} 个连接，有一个线程在 poll 或 select 中等待：无法读出是哪一个"
            )],
        ));
    }
    let polls = mostly(|what| what == What::In(CallKind::Poll));
    let selects = mostly(|what| what == What::In(CallKind::Select));
    if polls + selects > 0 {
        let model = if polls >= selects { Model::Poll } else { Model::Select };
        let call = model.name();
        return Some((
            model,
            false,
            vec![said!(
                "connections: {n}; a thread waits in {call}(), the set it watches could not be read",
                "{n} 个连接，有一个线程在 {call}() 中；读不出它监视的集合"
            )],
        ));
    }
    Some((
        Model::Unknown,
        false,
        vec![said!(
            "connections: {n}; no thread was seen waiting for one: a longer look may help (--for 3s)",
            "{n} 个连接，但没有看到线程在等待其中任何一个：可以看得久一些（--for 3s）"
        )],
    ))
}

fn sharing(server: &Server, votes: &Votes) -> Option<Sharing> {
    let loops: BTreeSet<By> = votes.listener.iter().map(|watch| watch.by).collect();
    let mut by_address: BTreeMap<std::net::SocketAddr, usize> = BTreeMap::new();
    for listener in &server.listeners {
        *by_address.entry(listener.address).or_default() += 1;
    }
    if by_address.values().any(|&count| count > 1) {
        return Some(Sharing::Reuseport);
    }
    if votes.listener.iter().any(|watch| watch.exclusive) && loops.len() > 1 {
        return Some(Sharing::Exclusive);
    }
    if loops.len() > by_address.len().max(1) || (loops.len() > 1 && by_address.len() == 1) {
        return Some(Sharing::Shared);
    }
    if !votes.loops.is_empty() && votes.loops.iter().all(|by| !loops.contains(by)) {
        return Some(Sharing::Handed);
    }
    let waiters = |pid: u32, fd: i32| {
        let on = |thread: &&super::look::threads::Thread| {
            let in_it = |what: &super::look::wait::Doing| {
                what.what == What::In(CallKind::Epoll) && what.fd == Some(fd)
            };
            thread.pid == pid && thread.doings.iter().any(|(doing, _)| in_it(doing))
        };
        server.looks.threads.iter().filter(on).count()
    };
    match loops.first() {
        Some(&By::Epoll(pid, fd)) if waiters(pid, fd) > 1 => Some(Sharing::OneEpoll),
        Some(_) => Some(Sharing::Single),
        None => None,
    }
}
