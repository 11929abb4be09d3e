//! How far the server is from each wall that its own processes and sockets know of. What the whole machine bounds is in
//! [`super::machine`].

use super::known;
use super::look::process::Process;
use super::machine;
use super::model::{Model, Verdict};
use super::ports::{client_ports, ports};
use super::server::Server;
use super::wall::{Bar, Fix, Unit, more, sysctl};
use super::watching::Watching;
use super::words::said;
use crate::lab::said::Said;
use crate::walls::{grouped, names};
use duolu_sys::tcp_diag::TcpState;
use std::collections::BTreeSet;

/// What was read and found, for all that measure against it.
pub struct Case<'a> {
    /// What was read.
    pub server: &'a Server,
    /// Who waits for what.
    pub watching: &'a Watching,
    /// The model.
    pub verdict: &'a Verdict,
    /// Connections now.
    pub connections: u64,
}

/// All of them, in the order in which they are told.
pub fn bars(case: &Case<'_>) -> Vec<Bar> {
    let server = case.server;
    let mut bars = Vec::new();
    bars.extend(descriptors(case));
    bars.extend(ring_table(case));
    bars.extend(fd_setsize(case));
    bars.extend(own_limit(case));
    bars.extend(pool(case));
    bars.extend(machine::tasks(case));
    bars.extend(maps(case));
    bars.extend(accept_queue(case));
    bars.extend(core(server));
    bars.extend(machine::memory(case));
    bars.extend(ports(case));
    bars.extend(client_ports(case));
    bars.extend(machine::bars(case));
    // Without its connections or its processes nobody can say at how many of the former something ends.
    if server.listeners.is_empty() || server.processes.is_empty() {
        bars.iter_mut().for_each(|bar| bar.at = None);
    }
    bars
}

impl Case<'_> {
    /// The processes that take connections: they hold some, or wait for the next.
    pub fn takers(&self) -> Vec<&Process> {
        let waiting: BTreeSet<u32> = self
            .server
            .listeners
            .iter()
            .flat_map(|listener| self.watching.of_socket(listener.inode))
            .map(|watch| watch.by.pid())
            .collect();
        let takes = |process: &&Process| {
            waiting.contains(&process.pid) || (self.server.held_by(process.pid) > 0 && process.fds.is_some())
        };
        let takers: Vec<&Process> = self.server.processes.iter().filter(takes).collect();
        match takers.is_empty() {
            true => self.server.leader().into_iter().collect(),
            false => takers,
        }
    }

    /// Connections that the server makes for each that it takes: a proxy's two descriptors for one client.
    pub fn outgoing_each(&self) -> f64 {
        let (out, taken) = (self.server.outgoing.len() as f64, self.connections as f64);
        if out >= 8.0 && out * 2.0 >= taken { out / taken.max(1.0) } else { 0.0 }
    }
}

fn descriptors(case: &Case<'_>) -> Option<Bar> {
    let takers = case.takers();
    let rows: Vec<(&Process, u64, u64, u64)> = takers
        .iter()
        .filter_map(|process| {
            let limit = process.descriptor_limit()?;
            let in_table: u64 = process.rings.iter().map(|ring| ring.sockets.len() as u64).sum();
            let held = case.server.held_by(process.pid).saturating_sub(in_table);
            Some((*process, limit, process.free_below(limit)?, held))
        })
        .collect();
    let &(tightest, limit, free, held) = rows.iter().min_by_key(|(_, _, free, _)| *free)?;
    let used = limit - free.min(limit);
    let each = 1.0 + case.outgoing_each();
    let at: u64 = rows.iter().map(|(_, _, free, held)| held + (*free as f64 / each) as u64).sum();
    let (title, others) = (tightest.title(), used.saturating_sub(held));
    let numbers = [used, limit, others, at].map(grouped);
    let [n_used, n_limit, n_others, n_at] = &numbers;
    let evidence = match rows.len() {
        1 if each > 1.0 => said!(
            "{title} has {n_used} of {n_limit} descriptors open; it takes {each:.1} for each connection (it connects on), \
             so about {n_at} connections use them up",
            "{title} 已打开 {n_limit} 个描述符中的 {n_used} 个；每个连接要用 {each:.1} 个（它还要向后端连接），所以约 {n_at} 个连接就会用尽"
        ),
        1 => said!(
            "{title} has {n_used} of {n_limit} descriptors open, and {n_others} of them are no connections: \
             {n_limit} - {n_others} = {n_at}",
            "{title} 已打开 {n_limit} 个描述符中的 {n_used} 个，其中 {n_others} 个不是连接：{n_limit} - {n_others} = {n_at}"
        ),
        n => said!(
            "{n} processes take connections, each with a limit of its own; {title} has the least left: {n_used} of \
             {n_limit}, {n_others} of them no connections; all together hold {n_at}",
            "{n} 个进程接受连接，各有自己的上限；{title} 剩得最少：{n_limit} 个中用了 {n_used} 个，其中 {n_others} 个不是连接；合计能承载 {n_at} 个"
        ),
    };
    let pids: Vec<u32> = rows.iter().map(|(process, ..)| process.pid).collect();
    let pid = tightest.pid;
    let source = format!("/proc/{pid}/limits (Max open files), /proc/{pid}/fd");
    let mut bar = Bar::new(names::SERVER_DESCRIPTORS, used, limit, source, evidence).of(title.clone());
    bar.fixes = more_descriptors(tightest, &pids);
    // With a task for each connection, or with a table of the ring, connections take other things than these.
    let counts = case.verdict.model != Model::Fork && case.verdict.model != Model::Prefork;
    let by_table = tightest.rings.iter().any(|ring| !ring.sockets.is_empty() || ring.places.is_some());
    if !counts || by_table {
        return Some(bar);
    }
    // Several processes do not fill evenly.
    Some(if each > 1.0 || rows.len() > 1 { bar.about(Some(at)) } else { bar.at(at) })
}

/// The command for the running processes, and where the limit is set for the next start.
fn more_descriptors(process: &Process, pids: &[u32]) -> Vec<Fix> {
    let Some(limits) = process.limits else { return Vec::new() };
    let soft = limits.open_files.soft.unwrap_or(u64::MAX);
    let wanted = if soft < 65_536 { 65_536 } else { soft.saturating_mul(4) };
    // What the hard limit allows needs no privilege, if it is worth the while.
    let hard = limits.open_files.hard.unwrap_or(u64::MAX);
    let wanted = if hard >= soft.saturating_mul(2) { wanted.min(hard) } else { wanted };
    let within = wanted <= hard;
    let line = |pid: &u32| match within {
        true => format!("prlimit --pid {pid} --nofile={wanted}:"),
        false => format!("sudo prlimit --pid {pid} --nofile={wanted}:{wanted}"),
    };
    // A line for each of many workers is more than anybody copies.
    const MOST: usize = 4;
    let now = pids.iter().take(MOST).map(line).collect::<Vec<_>>().join("; ");
    let more = if pids.len() > MOST {
        said!("; and so for the others", "；其余进程同样处理")
    } else {
        Said::same("")
    };
    let (en, zh) = (more.pick(crate::lang::Lang::En), more.pick(crate::lang::Lang::Zh));
    let now = Fix::now(said!("{now}{en}", "{now}{zh}"));
    let good = match machine::unit(process.pid) {
        Some(unit) => said!(
            "LimitNOFILE={wanted} under [Service]: sudo systemctl edit {unit}, then restart it",
            "在 [Service] 下写 LimitNOFILE={wanted}：sudo systemctl edit {unit}，然后重启"
        ),
        None => said!(
            "ulimit -n {wanted} in the shell or script that starts it; in a systemd unit: LimitNOFILE={wanted}",
            "在启动它的 shell 或脚本里执行 ulimit -n {wanted}；systemd 单元中写 LimitNOFILE={wanted}"
        ),
    };
    let setting = known::descriptors_setting(process, wanted).map(Fix::for_good);
    [now].into_iter().chain(setting).chain([Fix::for_good(good)]).collect()
}

/// Sockets that a ring accepts into its own table have no descriptor, but a place there.
fn ring_table(case: &Case<'_>) -> Option<Bar> {
    let tables = case.server.processes.iter().flat_map(|process| {
        process.rings.iter().filter_map(move |ring| ring.places.map(|(used, all)| (process, ring, used, all)))
    });
    let tables: Vec<_> = tables.collect();
    let &(process, ring, used, places) =
        tables.iter().min_by_key(|(_, _, used, all)| all.saturating_sub(*used))?;
    let (title, fd) = (process.title(), ring.fd);
    let (n_used, n_places) = (grouped(used), grouped(places));
    let evidence = said!(
        "ring {fd} of {title} has {n_used} of {n_places} places of its file table taken",
        "{title} 的环 {fd} 的文件表有 {n_places} 个位置，已占 {n_used} 个"
    );
    let source = format!("/proc/{}/fdinfo/{fd} (UserFiles)", process.pid);
    let bar = Bar::new(more::RING_TABLE, used, places, source, evidence).of(title.clone());
    let bar = bar.fixed_by(vec![Fix::for_good(Said::from((
        "ulimit -n 65536 before it starts (a ring's table is no larger than that), or more rings",
        "启动之前执行 ulimit -n 65536（环的文件表不会超过它），或使用更多的环",
    )))]);
    // duolu's own server takes another ring when one is full; so does whoever has two already.
    let grows =
        process.name == "duolu" || tables.iter().filter(|(other, ..)| other.pid == process.pid).count() > 1;
    let left = places.saturating_sub(used);
    Some(if grows { bar } else { bar.at(case.connections + left) })
}

fn fd_setsize(case: &Case<'_>) -> Option<Bar> {
    const FD_SETSIZE: u64 = 1024;
    if case.verdict.model != Model::Select {
        return None;
    }
    let process = case.takers().into_iter().next()?;
    let of_process = |thread: &&super::look::threads::Thread| thread.pid == process.pid;
    let own_size = case
        .server
        .looks
        .threads
        .iter()
        .filter(of_process)
        .any(|thread| thread.set.as_ref().is_some_and(|set| set.is_own_size));
    // Past the C library's sets there is no such limit; duolu's own server makes its sets as large as it takes.
    if own_size || known::is_own(process) {
        return None;
    }
    let free = process.free_below(FD_SETSIZE)?;
    let at = case.server.held_by(process.pid) + free;
    let (title, n_at) = (process.title(), grouped(at));
    let evidence = said!(
        "{title} waits in select() with the C library's sets of 1,024 places; a descriptor from 1,024 on cannot be \
         watched, and the numbers below are used up at {n_at} connections",
        "{title} 在 select() 中使用 C 库的 1,024 位集合；编号 1,024 以上的描述符无法监视，{n_at} 个连接时编号用尽"
    );
    let source = format!("/proc/{}/task/*/syscall, /proc/{}/fd", process.pid, process.pid);
    let bar = Bar::new(names::FD_SETSIZE, FD_SETSIZE - free, FD_SETSIZE, source, evidence).of(title.clone());
    Some(bar.at(at).fixed_by(vec![Fix::for_good(Said::from((
        "poll, epoll or io_uring instead of select",
        "用 poll、epoll 或 io_uring 代替 select",
    )))]))
}

fn own_limit(case: &Case<'_>) -> Option<Bar> {
    let own = known::own_limit(case.server)?;
    let (setting, value, at) = (own.setting, grouped(own.value), grouped(own.connections));
    let evidence = match own.value == own.connections {
        true => said!("{setting} is {value}", "{setting} 为 {value}"),
        false => said!(
            "{setting} is {value}, and some of it serves the server itself: {at} are left for connections",
            "{setting} 为 {value}，其中一部分服务器自用：留给连接的有 {at} 个"
        ),
    };
    let bar = Bar::new(more::OWN_LIMIT, case.connections, own.connections, own.source, evidence).of(setting);
    let bar = bar.at(own.connections).fixed_by(vec![Fix::for_good(own.fix)]);
    Some(Bar { about: own.about, ..bar })
}

/// Blocking processes or a single thread serve as many connections as there are of them.
fn pool(case: &Case<'_>) -> Option<Bar> {
    let fix = vec![Fix::for_good(Said::from((
        "more processes, connections that close after each request, or an event loop",
        "增加进程，让连接在每个请求后关闭，或改用事件循环",
    )))];
    match case.verdict.model {
        Model::Prefork => {
            let pool = case.takers().len() as u64;
            let n = grouped(pool);
            let evidence = said!(
                "{n} processes serve one connection each; the next ones wait in the listen queue until one ends",
                "{n} 个进程各服务一个连接；再来的在监听队列里等待，直到有一个结束"
            );
            let bar = Bar::new(more::POOL, case.connections.min(pool), pool, "/proc/*/fd", evidence);
            Some(bar.at(pool).fixed_by(fix))
        }
        Model::Iterative => {
            let evidence = Said::from((
                "one thread reads from one connection until it ends; all others wait in the listen queue",
                "唯一的线程一直读同一个连接直到它结束；其他的都在监听队列里等待",
            ));
            let bar = Bar::new(
                more::ONE_AT_A_TIME,
                case.connections.min(1),
                1,
                "/proc/PID/task/*/syscall",
                evidence,
            );
            Some(bar.at(1).fixed_by(fix))
        }
        _ => None,
    }
}

/// Each thread's stack is two mappings: itself, and the guard below it.
fn maps(case: &Case<'_>) -> Option<Bar> {
    if case.verdict.model != Model::Thread {
        return None;
    }
    let process = case.takers().into_iter().next()?;
    let used = process.maps.as_ref()?.len();
    let limit = machine::setting("vm.max_map_count")?;
    let at = case.connections + limit.saturating_sub(used) / 2;
    let (title, n_used, n_limit, n_at) = (process.title(), grouped(used), grouped(limit), grouped(at));
    let evidence = said!(
        "{title} has {n_used} of {n_limit} mappings, and a thread's stack takes two: about {n_at} connections",
        "{title} 有 {n_limit} 个映射中的 {n_used} 个，每个线程的栈占两个：约 {n_at} 个连接"
    );
    let source = format!("/proc/{}/maps, vm.max_map_count", process.pid);
    let bar = Bar::new(more::MAPS, used, limit, source, evidence).of(title.clone());
    Some(bar.about(Some(at)).fixed_by(sysctl("vm.max_map_count", limit * 4)))
}

fn accept_queue(case: &Case<'_>) -> Option<Bar> {
    let fullest = case.server.listeners.iter().max_by_key(|listener| {
        (listener.is_full(), listener.queue * 1000 / listener.backlog.unwrap_or(u64::MAX).max(1))
    })?;
    let (queue, backlog) = (fullest.queue, fullest.backlog?);
    let (n_queue, n_backlog, address) = (grouped(queue), grouped(backlog), fullest.address);
    let evidence = match fullest.is_full() {
        true => said!(
            "connections that wait for accept() on {address}: {n_queue}; its backlog is {n_backlog}, and new ones are dropped",
            "{address} 上有 {n_queue} 个连接等待 accept()，backlog 为 {n_backlog}：新连接会被丢弃"
        ),
        false => said!(
            "connections that wait for accept() on {address}: {n_queue}; more than {n_backlog} may not come between two accepts",
            "{address} 上有 {n_queue} 个连接等待 accept()；两次 accept 之间最多能来 {n_backlog} 个"
        ),
    };
    let bar = Bar::new(names::ACCEPT_QUEUE, queue, backlog, "sock_diag (ss -ltn)", evidence);
    let most = machine::setting("net.core.somaxconn").unwrap_or(4096);
    let mut fixes = Vec::new();
    if backlog >= most {
        fixes.extend(sysctl("net.core.somaxconn", 4096.max(most * 4)));
    }
    fixes.push(Fix::for_good(Said::from((
        "a longer backlog in its listen() call (or its setting for it), and accept faster or in more workers",
        "在它的 listen() 调用（或相应设置）中加大 backlog，并更快地 accept 或增加工作进程",
    ))));
    let bar = bar.fixed_by(fixes);
    Some(if fullest.is_full() { bar.at(case.connections) } else { bar })
}

/// The busiest thread: event loops use one core each.
fn core(server: &Server) -> Option<Bar> {
    let busiest = server
        .looks
        .threads
        .iter()
        .filter(|thread| thread.cpu.is_some())
        .max_by(|one, other| one.cpu.unwrap_or(0.0).total_cmp(&other.cpu.unwrap_or(0.0)))?;
    let used = (busiest.cpu? * 100.0).round() as u64;
    let (name, tid) = (&busiest.name, busiest.tid);
    let evidence = said!(
        "thread {tid} ({name}) used {used} % of a core during the look",
        "观察期间线程 {tid}（{name}）用了一个核心的 {used} %"
    );
    let source = format!("/proc/{}/task/{tid}/schedstat", busiest.pid);
    let bar =
        Bar::new(names::CORE, used, 100, source, evidence).unit(Unit::Percent).of(format!("{name} {tid}"));
    Some(bar.fixed_by(vec![Fix::for_good(Said::from((
        "more workers or loops (SO_REUSEPORT, worker_processes, -t), or less work for each message",
        "增加工作进程或循环（SO_REUSEPORT、worker_processes、-t），或减少每条消息的工作",
    )))]))
}

/// How many connections are in a state.
pub fn in_state(server: &Server, state: TcpState) -> u64 {
    server.states.get(&state).copied().unwrap_or(0)
}
