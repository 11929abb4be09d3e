//! What a server that nobody is connected to shows of its model: how it waits for the first connection.

use super::decide::{Found, Votes, ring_kind, ring_words};
use super::known;
use super::look::wait::What;
use super::model::Model;
use super::server::Server;
use super::watching::By;
use super::words::said;
use crate::lab::said::Said;
use duolu_sys::calls::CallKind;
use std::collections::BTreeSet;

/// From the listener alone: nobody is connected.
pub fn idle(server: &Server, votes: &Votes) -> Found {
    let known = server.leader().and_then(known::of);
    let accepting: Vec<By> =
        votes.listener.iter().filter(|watch| watch.accepts).map(|watch| watch.by).collect();
    let pids: BTreeSet<u32> = accepting.iter().map(|by| by.pid()).collect();
    if pids.len() > 1 {
        let n = pids.len();
        return (
            Model::Prefork,
            true,
            vec![said!(
                "{n} processes each wait in accept() on the same listener; nobody is connected",
                "{n} 个进程各自在同一个监听套接字上 accept()；没有连接"
            )],
        );
    }
    let (seen, how) = waits(server, votes, &accepting);
    let mut evidence = vec![how];
    // What waits in a ring tells how it is used, connections or not.
    if matches!(seen, Model::Uring | Model::UringPoll) {
        return (seen, true, evidence);
    }
    match known.filter(|known| fits(seen, known.model)) {
        Some(known) => {
            evidence.push(known.why);
            (known.model, false, evidence)
        }
        None => (seen, false, evidence),
    }
}

fn waits(server: &Server, votes: &Votes, accepting: &[By]) -> (Model, Said) {
    if accepting.len() > 1 {
        let n = accepting.len();
        return (
            Model::Thread,
            said!(
                "{n} threads wait in accept() on the listener: a pool, each for one connection at a time; nobody is connected",
                "{n} 个线程在监听套接字上 accept()：线程池，每个线程一次一个连接；没有连接"
            ),
        );
    }
    if let Some(by) = accepting.first() {
        let pid = by.pid();
        return (
            Model::Blocking,
            said!(
                "process {pid} waits in accept(); whether a process, a thread or this one serves a connection shows with the first",
                "进程 {pid} 在 accept() 中等待；由进程、线程还是它自己服务连接，要有第一个连接才知道"
            ),
        );
    }
    let first = votes.listener.iter().min_by_key(|watch| watch.by);
    let rest = Said::from((
        "nobody is connected: what serves a connection shows with the first",
        "没有连接：由什么来服务连接，要有第一个连接才知道",
    ));
    let with_rest = |en: String, zh: String| {
        let (rest_en, rest_zh) = (rest.pick(crate::lang::Lang::En), rest.pick(crate::lang::Lang::Zh));
        said!("{en}; {rest_en}", "{zh}；{rest_zh}")
    };
    match first.map(|watch| watch.by) {
        Some(By::Epoll(pid, fd)) => (
            Model::Epoll(None),
            with_rest(
                format!("the listener is in epoll {fd} of process {pid}"),
                format!("监听套接字在进程 {pid} 的 epoll {fd} 中"),
            ),
        ),
        Some(by @ (By::Poll(pid, tid) | By::Select(pid, tid))) => {
            let model = if matches!(by, By::Poll(..)) { Model::Poll } else { Model::Select };
            let call = model.name();
            (
                model,
                with_rest(
                    format!("thread {tid} of process {pid} waits for the listener in {call}()"),
                    format!("进程 {pid} 的线程 {tid} 在 {call}() 中等待监听套接字"),
                ),
            )
        }
        Some(By::Ring(pid, fd)) => {
            let words = ring_words(server);
            (
                ring_kind(server, pid, fd),
                with_rest(
                    format!("the listener belongs to io_uring {fd} of process {pid}: {words}"),
                    format!("监听套接字属于进程 {pid} 的 io_uring {fd}：{words}"),
                ),
            )
        }
        Some(By::Thread(..)) | None => hidden(server),
    }
}

/// Calls are hidden, or nobody waits for the listener.
fn hidden(server: &Server) -> (Model, Said) {
    let waiting: Vec<What> =
        server.looks.threads.iter().filter_map(|thread| Some(thread.waiting()?.what)).collect();
    let model = if waiting.contains(&What::In(CallKind::Accept)) {
        Model::Blocking
    } else if waiting.contains(&What::PollOrSelect) {
        Model::PollOrSelect
    } else {
        Model::Unknown
    };
    (
        model,
        Said::from((
            "nobody is connected, and no thread was seen waiting for the listener",
            "没有连接，也没有看到线程在等监听套接字",
        )),
    )
}

/// Whether what is known of a program can be what was seen.
fn fits(seen: Model, known: Model) -> bool {
    match (seen, known) {
        (Model::Epoll(_), Model::Epoll(_)) | (Model::Unknown, _) => true,
        (Model::Blocking | Model::Poll | Model::Select | Model::PollOrSelect | Model::Epoll(_), known) => {
            matches!(known, Model::Fork | Model::Thread | Model::Prefork) || seen == known
        }
        (Model::Uring | Model::UringPoll | Model::UringSome, Model::Uring | Model::UringPoll) => {
            seen == Model::UringSome || seen == known
        }
        _ => false,
    }
}
