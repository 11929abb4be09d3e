//! What is wrong right now, each with its proof. What merely looks unusual is not told.

use super::counters::added;
use super::headroom::Case;
use super::look::process::Process;
use super::look::threads::Thread;
use super::machine;
use super::wall::Fix;
use super::warnings_connections::{close_wait, delayed, peers_do_not_read, time_wait};
use super::warnings_loops::{blocked_loop, not_drained, ring_overflow, spent_one_shot};
use super::words::said;
use crate::lab::said::Said;
use crate::walls::cpu::FULL_SHARE;
use crate::walls::grouped;

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
    /// With what helps for good.
    pub fn new(name: &'static str, evidence: Said, fix: impl Into<Said>) -> Self {
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
    let threads = server.looks.threads.iter().filter(|thread| thread.pid == process.pid);
    let used = |thread: &Thread| thread.cpu.unwrap_or(0.0);
    // Where others want the cores too, one that spins waits for a core as much as it runs.
    let ready = |thread: &Thread| used(thread) + thread.queued.unwrap_or(0.0);
    let busiest = threads.max_by(|one, other| ready(one).total_cmp(&ready(other)));
    let cpu = busiest.map_or(0.0, |thread| (used(thread) * 100.0).round());
    let (title, n) = (process.title(), grouped(waiting));
    const SPINNING: f64 = 0.5;
    let spins = busiest.is_some_and(|thread| ready(thread) >= SPINNING);
    let evidence = if spins {
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
    let name = if spins { "emfile-spin" } else { "out-of-descriptors" };
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
            "the kernel threw away received data {n} times during the look for want of buffer space (on the whole machine: \
             PruneCalled)",
            "观察期间内核因缓冲区不足 {n} 次丢弃已收到的数据（整机：PruneCalled）"
        );
        Warning::new("memory-pressure", evidence, ("read faster, or larger net.ipv4.tcp_rmem", "更快地读取，或加大 net.ipv4.tcp_rmem"))
    })
}

#[cfg(test)]
#[path = "warnings_tests.rs"]
mod tests;
