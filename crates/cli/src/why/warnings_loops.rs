//! Faults of event loops: held up by something else, edges that were not drained, one-shots that were not armed again.

use super::headroom::Case;
use super::look::epoll::Trigger;
use super::look::threads::Thread;
use super::look::wait::{Doing, What};
use super::server::Connection;
use super::warnings::Warning;
use super::watching::By;
use super::words::said;
use crate::walls::grouped;
use duolu_sys::calls::CallKind;
use duolu_sys::tcp_diag::TcpInfo;
use std::collections::HashSet;

/// Data that came before the look began, and was not read during it. With its process.
fn stuck<'a>(case: &'a Case<'_>) -> impl Iterator<Item = (&'a Connection, &'a TcpInfo)> {
    let lasted = case.server.looks.lasted.as_millis() as u32;
    case.server.connections.iter().filter_map(move |connection| {
        let info = connection.socket.info.as_deref()?;
        let unread = connection.was_unread && connection.socket.recv_q > 0;
        (unread && info.last_data_recv_ms > lasted).then_some((connection, info))
    })
}

/// The threads that wait in a loop, and whether one was seen waiting during the look.
fn waited_in(case: &Case<'_>, by: By) -> bool {
    let in_loop = |thread: &&Thread| match by {
        By::Epoll(pid, fd) => {
            let waits = |doing: &Doing| {
                doing.what == What::In(CallKind::Epoll) && (doing.fd.is_none() || doing.fd == Some(fd))
            };
            thread.pid == pid && thread.doings.iter().any(|(doing, _)| waits(doing))
        }
        By::Poll(pid, tid) | By::Select(pid, tid) | By::Thread(pid, tid) => {
            (thread.pid, thread.tid) == (pid, tid)
                && thread.doings.iter().any(|(doing, _)| doing.is_multiplexing())
        }
        By::Ring(pid, _) => {
            thread.pid == pid && thread.doings.iter().any(|(doing, _)| doing.is_multiplexing())
        }
    };
    case.server.looks.threads.iter().any(|thread| in_loop(&thread))
}

/// Nobody waits on an epoll instance although sockets in it have had data all the time.
pub fn blocked_loop(case: &Case<'_>) -> Option<Warning> {
    let (connection, by) = stuck(case).find_map(|(connection, _)| {
        let watch = case.watching.best(connection.socket.inode)?;
        (watch.by.is_loop() && !waited_in(case, watch.by)).then_some((connection, watch.by))
    })?;
    let pid = by.pid();
    let title = case.server.process(pid)?.title();
    // Of several threads the one that is in something: helpers sleep, or wait for a lock.
    let rank = |thread: &&Thread| match thread.waiting().map(|doing| doing.what) {
        None => 0,
        Some(What::In(CallKind::Futex | CallKind::Signal)) => 3,
        Some(What::In(CallKind::Sleep)) => 2,
        Some(_) => 1,
    };
    let thread = case.server.looks.threads.iter().filter(|thread| thread.pid == pid).min_by_key(rank)?;
    let (tid, count) = (thread.tid, grouped(stuck(case).count() as u64));
    let (en, zh) = match thread.waiting() {
        Some(doing) if thread.share(|doing| doing.what != What::Running) > 0.5 => {
            let call = &doing.call;
            (format!("thread {tid} is in {call}()"), format!("线程 {tid} 在 {call}() 中"))
        }
        _ => {
            let cpu = (thread.cpu.unwrap_or(0.0) * 100.0).round();
            (
                format!("thread {tid} runs its own code ({cpu} % of a core)"),
                format!("线程 {tid} 在运行自己的代码（一个核心的 {cpu} %）"),
            )
        }
    };
    let waits = connection.socket.info.as_deref().map_or(0, |info| info.last_data_recv_ms);
    let evidence = said!(
        "the event loop of {title} is held up: nobody waits for connections that have unread data ({count}, one of them for \
         {waits} ms); {en}",
        "{title} 的事件循环被卡住：{count} 个连接有未读数据（其中一个已 {waits} 毫秒），没有线程在等它们；{zh}"
    );
    Some(Warning::new(
        "loop-blocked",
        evidence,
        (
            "take what blocks (disk, DNS, locks, long computing) out of the loop: a thread pool, or in small pieces",
            "把阻塞的事情（磁盘、DNS、锁、长计算）移出循环：放进线程池，或切成小块",
        ),
    ))
}

/// Edge-triggered, unread, and the loop waits: it will not be told of this data again.
pub fn not_drained(case: &Case<'_>) -> Option<Warning> {
    let stranded: Vec<_> = stuck(case)
        .filter(|(connection, _)| {
            let watch = case.watching.best(connection.socket.inode);
            watch.is_some_and(|watch| watch.trigger == Some(Trigger::Edge) && waited_in(case, watch.by))
        })
        .collect();
    let (connection, info) = stranded.iter().max_by_key(|(_, info)| info.last_data_recv_ms)?;
    let (n, bytes, ms) = (
        grouped(stranded.len() as u64),
        grouped(u64::from(connection.socket.recv_q)),
        info.last_data_recv_ms,
    );
    let remote = connection.socket.ends().1;
    let evidence = said!(
        "edge-triggered connections with unread data while the loop waits: {n}; from {remote} {bytes} bytes for {ms} ms; \
         epoll will not tell of them again until more comes",
        "{n} 个边缘触发的连接有未读数据，而循环在等待：来自 {remote} 的 {bytes} 字节已等 {ms} 毫秒；在新数据到来之前 epoll 不会再通知"
    );
    Some(Warning::new(
        "edge-not-drained",
        evidence,
        (
            "after an edge read until EAGAIN (or a short read), or watch level-triggered",
            "收到边缘通知后一直读到 EAGAIN（或读到的比要的少），或改用水平触发",
        ),
    ))
}

/// A one-shot registration that has fired and was not armed again.
pub fn spent_one_shot(case: &Case<'_>) -> Option<Warning> {
    let spent: HashSet<u64> = case
        .server
        .processes
        .iter()
        .flat_map(|process| &process.epolls)
        .flat_map(|epoll| &epoll.entries)
        .filter(|entry| entry.is_spent())
        .filter_map(|entry| entry.inode)
        .collect();
    let stuck: Vec<_> =
        stuck(case).filter(|(connection, _)| spent.contains(&connection.socket.inode)).collect();
    let (_, info) = stuck.iter().max_by_key(|(_, info)| info.last_data_recv_ms)?;
    let (n, ms) = (grouped(stuck.len() as u64), info.last_data_recv_ms);
    let evidence = said!(
        "connections registered one-shot that have fired, have unread data (for {ms} ms) and were not armed again: {n}",
        "{n} 个有未读数据的连接（已 {ms} 毫秒）以一次性方式注册，已触发过，没有重新启用"
    );
    Some(Warning::new(
        "one-shot-not-armed",
        evidence,
        (
            "epoll_ctl(EPOLL_CTL_MOD) after each event of an EPOLLONESHOT descriptor",
            "EPOLLONESHOT 描述符每次事件之后都要 epoll_ctl(EPOLL_CTL_MOD)",
        ),
    ))
}

pub fn ring_overflow(case: &Case<'_>) -> Option<Warning> {
    let rings = case
        .server
        .processes
        .iter()
        .flat_map(|process| process.rings.iter().map(move |ring| (process, ring)));
    let (process, ring) =
        rings.filter(|(_, ring)| ring.overflown > 0).max_by_key(|(_, ring)| ring.overflown)?;
    let (title, fd, n) = (process.title(), ring.fd, grouped(ring.overflown));
    let evidence = said!(
        "the completion queue of ring {fd} of {title} has overflown: {n} completions wait outside of it",
        "{title} 的环 {fd} 的完成队列溢出：有 {n} 个完成事件在队列之外等待"
    );
    Some(Warning::new(
        "cq-overflow",
        evidence,
        (
            "a larger completion queue (IORING_SETUP_CQSIZE), or reap more often",
            "更大的完成队列（IORING_SETUP_CQSIZE），或更频繁地收取",
        ),
    ))
}
