//! What is wrong right now, each with its proof. What merely looks unusual is not told.

use super::counters::added;
use super::headroom::{Case, in_state};
use super::look::epoll::Trigger;
use super::look::process::Process;
use super::look::threads::Thread;
use super::look::wait::{Doing, What};
use super::machine;
use super::server::Connection;
use super::wall::Fix;
use super::watching::By;
use super::words::said;
use crate::inspect::life;
use crate::lab::said::Said;
use crate::walls::cpu::FULL_SHARE;
use crate::walls::grouped;
use duolu_sys::calls::CallKind;
use duolu_sys::tcp_diag::{TcpInfo, TcpState};

/// Something that is wrong.
#[derive(Clone, Debug)]
pub struct Warning {
    /// Its stable name.
    pub name: &'static str,
    /// What was read.
    pub evidence: Said,
    /// What helps.
    pub fixes: Vec<Fix>,
}

impl Warning {
    fn new(name: &'static str, evidence: Said, fix: impl Into<Said>) -> Self {
        Warning { name, evidence, fixes: vec![Fix::for_good(fix)] }
    }
}

/// All that is wrong, the gravest first. `throttled_before` was read before the threads were looked at.
pub fn all(case: &Case<'_>, throttled_before: Option<(u64, u64)>) -> Vec<Warning> {
    let throttled = throttled(case, throttled_before);
    let found = [
        out_of_descriptors(case),
        queue_full(case),
        blocked_loop(case),
        not_drained(case),
        spent_one_shot(case),
        core_full(case, throttled.is_some()),
        throttled,
        dropped(case),
        close_wait(case),
        delayed(case),
        peers_do_not_read(case),
        time_wait(case),
        memory_pressure(case),
        ring_overflow(case),
    ];
    found.into_iter().flatten().collect()
}

/// No descriptor is free and connections wait: a loop that goes on trying is awake all the time.
fn out_of_descriptors(case: &Case<'_>) -> Option<Warning> {
    let server = case.server;
    let waiting = server.waiting();
    let exhausted = |process: &&&Process| {
        process.descriptor_limit().and_then(|limit| process.free_below(limit)) == Some(0)
    };
    let takers = case.takers();
    let process = takers.iter().find(exhausted).filter(|_| waiting > 0)?;
    let busiest = server
        .looks
        .threads
        .iter()
        .filter(|thread| thread.pid == process.pid)
        .filter_map(|thread| thread.cpu)
        .fold(0.0, f64::max);
    let (title, n, cpu) = (process.title(), grouped(waiting), (busiest * 100.0).round());
    const SPINNING: f64 = 0.5;
    let evidence = if busiest >= SPINNING {
        said!(
            "{title} spins: no descriptor is free, accept() fails with EMFILE again and again ({cpu} % of a core for nothing); \
             connections that wait: {n}",
            "{title} 空转：没有空闲描述符，{n} 个连接在等待，accept() 反复返回 EMFILE（白白用掉一个核心的 {cpu} %）"
        )
    } else {
        said!(
            "{title} has no descriptor free; connections that wait to be accepted: {n}",
            "{title} 没有空闲描述符，{n} 个连接等待被接受"
        )
    };
    let name = if busiest >= SPINNING { "emfile-spin" } else { "out-of-descriptors" };
    Some(Warning::new(
        name,
        evidence,
        (
            "more descriptors (see the next wall); in its code: stop watching the listener for a moment on EMFILE, or keep one \
         descriptor in reserve to accept and close",
            "增加描述符（见下一堵墙）；代码中：遇到 EMFILE 时暂停监视监听套接字，或留一个备用描述符用来接受并关闭",
        ),
    ))
}

fn queue_full(case: &Case<'_>) -> Option<Warning> {
    let server = case.server;
    let full = server.listeners.iter().find(|listener| listener.is_full())?;
    let (address, queue) = (full.address, grouped(full.queue));
    let backlog = full.backlog.map_or(String::new(), grouped);
    let lost = added(&server.counters, "TcpExt.ListenOverflows");
    let (en, zh) = match lost {
        0 => (String::new(), String::new()),
        n => {
            let n = grouped(n);
            (
                format!("; the kernel dropped {n} handshakes meanwhile (ListenOverflows)"),
                format!("；观察期间内核丢弃了 {n} 个握手（ListenOverflows）"),
            )
        }
    };
    let evidence = said!(
        "the accept queue of {address} is full: {queue} wait, the backlog is {backlog}{en}",
        "{address} 的接受队列已满：{queue} 个在等，backlog 为 {backlog}{zh}"
    );
    Some(Warning::new(
        "accept-queue-full",
        evidence,
        (
            "find what keeps it from accepting (below, or its threads above); a longer backlog only helps against bursts",
            "找出它为什么不 accept（见下，或上面的线程）；加长 backlog 只能应付突发",
        ),
    ))
}

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
fn blocked_loop(case: &Case<'_>) -> Option<Warning> {
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
fn not_drained(case: &Case<'_>) -> Option<Warning> {
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
fn spent_one_shot(case: &Case<'_>) -> Option<Warning> {
    let spent: std::collections::HashSet<u64> = case
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

fn core_full(case: &Case<'_>, is_throttled: bool) -> Option<Warning> {
    let threads = &case.server.looks.threads;
    let thread = threads
        .iter()
        .filter(|thread| thread.cpu.is_some())
        .max_by(|one, other| one.cpu.unwrap_or(0.0).total_cmp(&other.cpu.unwrap_or(0.0)))?;
    let (cpu, queued) = (thread.cpu?, thread.queued.unwrap_or(0.0));
    // A thread that is always ready has its core full even if others take part of it. Where a quota makes it wait, that is
    // told instead.
    if cpu + queued < FULL_SHARE || (is_throttled && cpu < FULL_SHARE) {
        return None;
    }
    let (name, tid, used, waited) =
        (&thread.name, thread.tid, (cpu * 100.0).round(), (queued * 100.0).round());
    let evidence = said!(
        "thread {tid} ({name}) was ready to run all the time: it ran {used} % and waited for a core {waited} %",
        "线程 {tid}（{name}）一直处于可运行状态：运行 {used} %，等核心 {waited} %"
    );
    Some(Warning::new(
        "core-full",
        evidence,
        (
            "more loops or workers, or less work for each message; where it waited for a core: more cores",
            "增加循环或工作进程，或减少每条消息的工作；若在等核心：增加核心",
        ),
    ))
}

fn throttled(case: &Case<'_>, before: Option<(u64, u64)>) -> Option<Warning> {
    let (times, ms) = machine::throttled(case.server.leader()?.pid)?;
    let (times_before, ms_before) = before?;
    let (now, now_ms) = (times.saturating_sub(times_before), ms.saturating_sub(ms_before));
    if now == 0 {
        return None;
    }
    let all = grouped(times);
    let evidence = said!(
        "its control group was stopped {now} times during the look for want of CPU quota, {now_ms} ms in all ({all} times \
         since it exists)",
        "观察期间它的控制组因 CPU 配额用完被暂停 {now} 次，共 {now_ms} 毫秒（自建立以来 {all} 次）"
    );
    Some(Warning::new(
        "cpu-throttled",
        evidence,
        (
            "a larger quota (CPUQuota=, docker run --cpus), or fewer threads that use it up at once",
            "更大的配额（CPUQuota=、docker run --cpus），或减少同时消耗配额的线程",
        ),
    ))
}

/// Handshakes dropped or answered with cookies, of the whole machine, during the look.
fn dropped(case: &Case<'_>) -> Option<Warning> {
    let counters = &case.server.counters;
    let names = ["ListenOverflows", "ListenDrops", "TCPReqQFullDoCookies", "TCPReqQFullDrop"];
    let parts: Vec<String> = names
        .iter()
        .map(|name| (name, added(counters, &format!("TcpExt.{name}"))))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} +{}", grouped(count)))
        .collect();
    if parts.is_empty() || case.server.listeners.iter().any(|listener| listener.is_full()) {
        return None; // told with the queue
    }
    let parts = parts.join(", ");
    let evidence = said!(
        "the kernel dropped handshakes, or answered them with cookies, during the look (on the whole machine): {parts}",
        "观察期间内核丢弃握手或用 cookie 应答（整机）：{parts}"
    );
    Some(Warning::new(
        "handshakes-dropped",
        evidence,
        (
            "accept faster; longer queues: listen() backlog, net.core.somaxconn, net.ipv4.tcp_max_syn_backlog",
            "更快地 accept；加长队列：listen() backlog、net.core.somaxconn、net.ipv4.tcp_max_syn_backlog",
        ),
    ))
}

/// The peer has closed and the program does not.
fn close_wait(case: &Case<'_>) -> Option<Warning> {
    const LEAK_MS: u64 = 60_000;
    let old = |connection: &&Connection| {
        connection.socket.state == TcpState::CloseWait
            && life::age(&connection.socket).is_some_and(|age| age.ms >= LEAK_MS)
    };
    let leaked: Vec<&Connection> = case.server.connections.iter().filter(old).collect();
    let oldest = leaked.iter().max_by_key(|connection| life::age(&connection.socket).map(|age| age.ms))?;
    let age = life::age(&oldest.socket)?.ms / 1000;
    let held = oldest.holders.first().and_then(|&pid| {
        let process = case.server.process(pid)?;
        let is_it =
            |fd: &&super::look::fds::Fd| fd.kind == super::look::fds::Kind::Socket(oldest.socket.inode);
        let fd = process.fds.as_ref()?.iter().find(is_it)?.number;
        Some((process.title(), fd))
    });
    let (n, remote) = (grouped(leaked.len() as u64), oldest.socket.ends().1);
    let (en, zh) = held.map_or((String::new(), String::new()), |(title, fd)| {
        (format!(": descriptor {fd} of {title}"), format!("：{title} 的描述符 {fd}"))
    });
    let evidence = said!(
        "connections in CLOSE-WAIT for more than 60 s: {n}; the client has closed, the server has not; the oldest, from \
         {remote}, for {age} s{en}",
        "{n} 个连接停在 CLOSE-WAIT 超过 60 秒：客户端已关闭，服务器没有关；最老的来自 {remote}，已 {age} 秒{zh}"
    );
    Some(Warning::new(
        "close-wait",
        evidence,
        (
            "a bug of the server: close() when read() returns 0; until then each keeps a descriptor for ever",
            "这是服务器的缺陷：read() 返回 0 时要 close()；否则每个都永远占着一个描述符",
        ),
    ))
}

/// Nagle's algorithm meets delayed acknowledgement: a small segment is held back until the one before it is acknowledged,
/// and the peer takes 40 ms for that. At any moment nearly all such connections are seen waiting.
fn delayed(case: &Case<'_>) -> Option<Warning> {
    // The kernel's least delay of an acknowledgement is 40 ms (TCP_DELACK_MIN). Segments that a question acknowledges
    // sooner pull the mean down to a half of that; a busy machine can have such round trips too, but holds nothing back.
    let is_late = |info: &TcpInfo| {
        let rtt = info.rtt_us.unwrap_or(0);
        let was_short = info.min_rtt_us.is_some_and(|least| least * 8 < rtt);
        (15_000..60_000).contains(&rtt) && was_short && info.last_data_sent_ms < 1000
    };
    let is_held = |info: &TcpInfo| {
        info.notsent.is_some_and(|bytes| bytes > 0 && bytes < info.snd_mss)
            && info.unacked > 0
            && info.unacked < info.cwnd
    };
    let active: Vec<&TcpInfo> = case
        .server
        .connections
        .iter()
        .filter_map(|connection| connection.socket.info.as_deref())
        .filter(|info| info.last_data_sent_ms < 1000)
        .collect();
    let held: Vec<&&TcpInfo> = active.iter().filter(|info| is_late(info) && is_held(info)).collect();
    if held.is_empty() || held.len() * 4 < active.len() {
        return None;
    }
    let rtt = held.iter().filter_map(|info| info.rtt_us).max().unwrap_or(0) / 1000;
    let (n, active) = (grouped(held.len() as u64), grouped(active.len() as u64));
    let evidence = said!(
        "on {n} of {active} active connections a small segment waits for the acknowledgement of the one before, which comes \
         up to 40 ms late (round trip {rtt} ms, otherwise far less): Nagle's algorithm meets delayed acknowledgements",
        "{active} 个活跃连接中有 {n} 个正有小段在等前一段的确认，而确认最多迟到 40 毫秒（往返 {rtt} 毫秒，平时远小于此）：Nagle 算法遇上了延迟确认"
    );
    Some(Warning::new(
        "delayed-ack",
        evidence,
        (
            "TCP_NODELAY on the server's sockets, or write each answer with one call (writev, MSG_MORE)",
            "在服务器的套接字上设 TCP_NODELAY，或把每个回答用一次调用写出（writev、MSG_MORE）",
        ),
    ))
}

/// Answers that nobody takes: the peers' windows, or the send buffers, are full.
fn peers_do_not_read(case: &Case<'_>) -> Option<Warning> {
    let is_held = |info: &TcpInfo| {
        let busy = info.busy_us.unwrap_or(0);
        let held = info.rwnd_limited_us.unwrap_or(0);
        // Held up most of the time that there was something to send, and for long enough to matter.
        info.notsent.unwrap_or(0) > 0 && held * 2 > busy && held > 200_000
    };
    let infos = || case.server.connections.iter().filter_map(|connection| connection.socket.info.as_deref());
    let held = infos().filter(|info| is_held(info)).count() as u64;
    let all = case.connections;
    if held == 0 || held * 10 < all {
        return None;
    }
    let waiting: u64 =
        infos().filter(|info| is_held(info)).map(|info| u64::from(info.notsent.unwrap_or(0))).sum();
    let (n, all, bytes) = (grouped(held), grouped(all), machine::bytes(waiting));
    let evidence = said!(
        "{n} of {all} connections wait for their clients, whose receive windows are closed; {bytes} of answers wait \
         (rwnd_limited)",
        "{all} 个连接中有 {n} 个在等客户端：对方的接收窗口已关；积压的回答有 {bytes}（rwnd_limited）"
    );
    Some(Warning::new(
        "peers-do-not-read",
        evidence,
        (
            "the clients are slow, not the server: bound what is queued for each, and a time limit",
            "慢的是客户端，不是服务器：限制每个连接的排队量，并设超时",
        ),
    ))
}

fn time_wait(case: &Case<'_>) -> Option<Warning> {
    const PILE: u64 = 5_000;
    let own = in_state(case.server, TcpState::TimeWait);
    if own < PILE || own < case.connections * 2 {
        return None;
    }
    let (n, rate) = (grouped(own), grouped(own / 60));
    let evidence = said!(
        "{n} connections of this server are in TIME-WAIT: it closes first, about {rate} times a second",
        "本服务器有 {n} 个连接处于 TIME-WAIT：由它先关闭，每秒约 {rate} 次"
    );
    Some(Warning::new(
        "time-wait",
        evidence,
        (
            "keep connections open (keep-alive), or let clients close first; TIME-WAIT itself costs little and is no fault",
            "保持长连接（keep-alive），或让客户端先关闭；TIME-WAIT 本身代价很小，不是错误",
        ),
    ))
}

fn memory_pressure(case: &Case<'_>) -> Option<Warning> {
    let counters = &case.server.counters;
    let entered = added(counters, "TcpExt.TCPMemoryPressures");
    let pruned = added(counters, "TcpExt.PruneCalled") + added(counters, "TcpExt.RcvPruned");
    let used = counters.1.get("TCP.mem")?;
    let [_, pressure, _] = machine::tcp_mem()?;
    let page = rustix::param::page_size() as u64;
    let (n_used, n_pressure) = (machine::bytes(used * page), machine::bytes(pressure * page));
    if used >= pressure || entered > 0 {
        let evidence = said!(
            "TCP's memory is under pressure: {n_used}, and from {n_pressure} on the kernel cuts buffers and drops data",
            "TCP 内存紧张：{n_used}，超过 {n_pressure} 内核就会缩减缓冲区、丢弃数据"
        );
        return Some(Warning::new(
            "memory-pressure",
            evidence,
            (
                "read what has come, bound buffers, or a larger net.ipv4.tcp_mem",
                "及时读取数据，限制缓冲区，或加大 net.ipv4.tcp_mem",
            ),
        ));
    }
    (pruned > 0).then(|| {
        let n = grouped(pruned);
        let evidence = said!(
            "the kernel threw away received data {n} times during the look for want of buffer space (PruneCalled)",
            "观察期间内核因缓冲区不足 {n} 次丢弃已收到的数据（PruneCalled）"
        );
        Warning::new("memory-pressure", evidence, ("read faster, or larger net.ipv4.tcp_rmem", "更快地读取，或加大 net.ipv4.tcp_rmem"))
    })
}

fn ring_overflow(case: &Case<'_>) -> Option<Warning> {
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

#[cfg(test)]
#[path = "warnings_tests.rs"]
mod tests;
