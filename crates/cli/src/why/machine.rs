//! What the machine, a control group or a user bounds: tasks, memory, tables of the kernel.

use super::headroom::{Case, in_state};
use super::model::Model;
use super::wall::{Bar, Fix, Unit, more, sysctl};
use super::words::said;
use crate::lab::said::Said;
use crate::walls::{self, cgroup, grouped, names, tasks};
use duolu_sys::tcp_diag::TcpState;
use std::fs;

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A setting of the kernel that is one number.
pub fn setting(name: &str) -> Option<u64> {
    number_in(&format!("/proc/sys/{}", name.replace('.', "/")))
}

/// The systemd unit that a process belongs to, from the name of its control group.
pub fn unit(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text
        .lines()
        .find_map(|line| line.rsplit_once(':').map(|(_, path)| path).filter(|p| p.contains(".service")))?;
    let unit = path.split('/').rfind(|part| part.ends_with(".service"))?;
    Some(super::look::process::printable(unit))
}

/// Processes and threads, where connections take one each.
pub fn tasks(case: &Case<'_>) -> Option<Bar> {
    let leader = case.server.leader()?;
    let each = case.verdict.model.takes_a_task_each();
    let wall = if case.verdict.model == Model::Thread { names::THREADS } else { names::PROCESSES };
    let room = tasks::room(leader.pid)?;
    let (used, limit, source) = (room.used, room.limit, room.source);
    let source_zh = match source {
        source if source.starts_with("pids.max") => "控制组的 pids.max",
        source if source.starts_with("RLIMIT_NPROC") => "用户的 RLIMIT_NPROC",
        source => source,
    };
    let at = case.connections + limit.saturating_sub(used);
    let (n_used, n_limit, n_at) = (grouped(used), grouped(limit), grouped(at));
    let (kind, art) = if wall == names::THREADS { ("thread", "线程") } else { ("process", "进程") };
    let evidence = match each {
        true => said!(
            "{n_used} tasks exist and {source} allows {n_limit}; each connection takes a {kind}, so {n_at} connections use \
             them up",
            "现有 {n_used} 个任务，{source_zh} 允许 {n_limit} 个；每个连接占一个{art}，{n_at} 个连接就会用尽"
        ),
        false => said!(
            "{n_used} processes and threads exist, {source} allows {n_limit}",
            "现有 {n_used} 个进程和线程，{source_zh} 允许 {n_limit} 个"
        ),
    };
    let loops = Fix::instead(Said::from((
        "an event loop: one thread holds them all",
        "改用事件循环：一个线程承载全部连接",
    )));
    let (pid, more) = (leader.pid, limit.saturating_mul(4));
    let raise = match (source, unit(pid)) {
        (source, _) if source.starts_with("kernel.") => sysctl(source, more),
        (source, _) if source.starts_with("RLIMIT_NPROC") => {
            vec![Fix::now(Said::same(format!("sudo prlimit --pid {pid} --nproc={more}:{more}")))]
        }
        (_, Some(unit)) => {
            vec![Fix::now(Said::same(format!("sudo systemctl set-property {unit} TasksMax={more}")))]
        }
        (_, None) => vec![Fix::for_good(said!(
            "a larger pids.max of its control group: docker run --pids-limit {more}, TasksMax={more} in a systemd unit",
            "加大控制组的 pids.max：docker run --pids-limit {more}，systemd 单元中写 TasksMax={more}"
        ))],
    };
    let bar = Bar::new(wall, used, limit, Said::from((source, source_zh)), evidence);
    let bar = bar.fixed_by(raise.into_iter().chain([loops]).collect());
    Some(if each { bar.at(at) } else { bar })
}

/// Memory of the control group or of the machine, whichever has less; and how many more connections fit, going by what
/// those that are there take.
pub fn memory(case: &Case<'_>) -> Option<Bar> {
    let leader = case.server.leader()?;
    let (available, total) = walls::machine::memory()?;
    let machine = (total - available.min(total), total, Said::same("/proc/meminfo (MemAvailable)"));
    let group = walls::memory::group(leader.pid).map(|room| {
        (room.used, room.limit, Said::from(("memory.max of its control group", "控制组的 memory.max")))
    });
    let left = |(used, limit, _): &(u64, u64, Said)| limit.saturating_sub(*used);
    let (used, limit, source) = [Some(machine), group].into_iter().flatten().min_by_key(left)?;
    // Below this the server's own memory, not that of its connections, is most of what is divided.
    const ENOUGH: u64 = 200;
    // A socket and its file in the kernel: measured, bench/RESULTS.md.
    const KERNEL_BYTES: u64 = 4096;
    let own: u64 = case.server.processes.iter().map(|process| process.memory).sum();
    let each = (case.connections >= ENOUGH).then(|| KERNEL_BYTES + own / case.connections);
    let free = limit.saturating_sub(used);
    let at = each.map(|each| case.connections + free / each);
    let (n_free, n_limit) = (bytes(free), bytes(limit));
    let evidence = match (each, at) {
        (Some(each), Some(at)) => {
            let (each, at) = (bytes(each), grouped(at));
            said!(
                "{n_free} of {n_limit} are left, and a connection takes about {each} (the server's own memory shared out, \
                 and the kernel's): about {at} connections",
                "{n_limit} 中还剩 {n_free}，每个连接约占 {each}（服务器自身内存均摊，加上内核的）：约 {at} 个连接"
            )
        }
        _ => said!("{n_free} of {n_limit} are left", "{n_limit} 中还剩 {n_free}"),
    };
    let bar = Bar::new(names::MEMORY, used, limit, source, evidence).unit(Unit::Bytes).about(at);
    Some(bar.fixed_by(vec![Fix::for_good(Said::from((
        "fewer bytes a connection (smaller buffers, an event loop), or more memory",
        "减少每个连接的字节数（更小的缓冲区、事件循环），或增加内存",
    )))]))
}

/// `12.3 GiB`.
pub fn bytes(count: u64) -> String {
    let count = count as f64;
    for (unit, size) in [("GiB", 1_073_741_824.0), ("MiB", 1_048_576.0), ("KiB", 1024.0)] {
        if count >= size {
            let value = count / size;
            return if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") };
        }
    }
    format!("{count:.0} B")
}

/// Tables of the kernel.
pub fn bars(case: &Case<'_>) -> Vec<Bar> {
    let parts = [
        files(case),
        watches(case),
        conntrack(case),
        quota(case),
        syn_queue(case),
        time_wait(case),
        orphans(case),
        tcp_memory(case),
    ];
    parts.into_iter().flatten().collect()
}

/// /proc/sys/fs/file-nr: allocated, free (always 0), most.
fn files(case: &Case<'_>) -> Option<Bar> {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let &[used, _, limit] = numbers.as_slice() else { return None };
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} of {n_limit} files are open on the machine",
        "整机打开了 {n_limit} 个文件中的 {n_used} 个"
    );
    let bar = Bar::new(more::SYSTEM_FILES, used, limit, "fs.file-nr, fs.file-max", evidence);
    Some(
        bar.at(case.connections + limit.saturating_sub(used))
            .fixed_by(sysctl("fs.file-max", limit.saturating_mul(4))),
    )
}

fn watches(case: &Case<'_>) -> Option<Bar> {
    let used: u64 = case
        .server
        .processes
        .iter()
        .flat_map(|process| &process.epolls)
        .map(|epoll| epoll.entries.len() as u64)
        .sum();
    if used == 0 {
        return None;
    }
    let limit = setting("fs.epoll.max_user_watches")?;
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "its epoll instances watch {n_used} descriptors; a user may have {n_limit} watched",
        "它的 epoll 实例监视 {n_used} 个描述符；每个用户最多 {n_limit} 个"
    );
    let bar =
        Bar::new(more::EPOLL_WATCHES, used, limit, "fdinfo of epoll, fs.epoll.max_user_watches", evidence);
    let at = case.connections + limit.saturating_sub(used);
    Some(bar.about(Some(at)).fixed_by(sysctl("fs.epoll.max_user_watches", limit.saturating_mul(4))))
}

fn conntrack(case: &Case<'_>) -> Option<Bar> {
    let used = setting("net.netfilter.nf_conntrack_count")?;
    let limit = setting("net.netfilter.nf_conntrack_max")?;
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} of {n_limit} connections are tracked; a new one beyond that is dropped",
        "连接跟踪表 {n_limit} 项中用了 {n_used} 项；再来的新连接会被丢弃"
    );
    let bar = Bar::new(more::CONNTRACK, used, limit, "net.netfilter.nf_conntrack_count, _max", evidence);
    // Loopback and untracked connections take no place: only what is tracked can run into it.
    let tracked = used > case.connections / 2;
    let at = tracked.then(|| case.connections + limit.saturating_sub(used));
    Some(bar.about(at).fixed_by(sysctl("net.netfilter.nf_conntrack_max", limit.saturating_mul(4))))
}

/// The control group's share of the processors over the look.
fn quota(case: &Case<'_>) -> Option<Bar> {
    let leader = case.server.leader()?;
    let (quota, source) = cgroup::folders(leader.pid, "cpu").into_iter().find_map(|folder| {
        let two = fs::read_to_string(format!("{folder}/cpu.max")).ok().and_then(|text| {
            let mut words = text.split_whitespace();
            Some((words.next()?.parse::<f64>().ok()?, words.next()?.parse::<f64>().ok()?))
        });
        let one = || {
            let quota = cgroup::number(&folder, "cpu.cfs_quota_us")?; // -1 is none
            Some((quota as f64, cgroup::number(&folder, "cpu.cfs_period_us")? as f64))
        };
        let (quota, period) = two.or_else(one)?;
        (period > 0.0).then(|| (quota / period, folder))
    })?;
    let used: f64 = case.server.looks.threads.iter().filter_map(|thread| thread.cpu).sum();
    let (used, limit) = ((used * 100.0).round() as u64, (quota * 100.0).round() as u64);
    let evidence = said!(
        "its threads used {used} % of a core during the look, the control group allows {limit} %",
        "观察期间它的线程用了一个核心的 {used} %，控制组允许 {limit} %"
    );
    let bar = Bar::new(more::CPU_QUOTA, used, limit, source, evidence).unit(Unit::Percent);
    let fix = match unit(leader.pid) {
        Some(unit) => Said::same(format!("sudo systemctl set-property {unit} CPUQuota=")),
        None => Said::from((
            "a larger CPU quota (docker run --cpus, CPUQuota=)",
            "更大的 CPU 配额（docker run --cpus、CPUQuota=）",
        )),
    };
    Some(bar.fixed_by(vec![Fix::now(fix)]))
}

fn syn_queue(case: &Case<'_>) -> Option<Bar> {
    let used = in_state(case.server, TcpState::SynReceived);
    // A listener's half-open connections are bounded by its backlog as well.
    let limit =
        setting("net.ipv4.tcp_max_syn_backlog")?.min(case.server.backlog().unwrap_or(u64::MAX).max(1));
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} handshakes are half done, {n_limit} may be",
        "{n_used} 个握手尚未完成，上限 {n_limit}"
    );
    let bar = Bar::new(more::SYN_QUEUE, used, limit, "sock_diag, net.ipv4.tcp_max_syn_backlog", evidence);
    Some(bar.fixed_by(sysctl("net.ipv4.tcp_max_syn_backlog", limit.saturating_mul(4))))
}

fn time_wait(case: &Case<'_>) -> Option<Bar> {
    let used = case.server.counters.1.get("TCP.tw")?;
    let limit = setting("net.ipv4.tcp_max_tw_buckets")?;
    let own = grouped(in_state(case.server, TcpState::TimeWait));
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} sockets of the machine are in TIME-WAIT, {own} of them on this server's ports; {n_limit} may be",
        "整机有 {n_used} 个套接字处于 TIME-WAIT，其中 {own} 个在本服务器的端口上；上限 {n_limit}"
    );
    let bar =
        Bar::new(more::TIME_WAIT, used, limit, "/proc/net/sockstat, net.ipv4.tcp_max_tw_buckets", evidence);
    Some(bar.fixed_by(vec![Fix::for_good(Said::from((
        "keep connections open (keep-alive), or let clients close first",
        "保持长连接（keep-alive），或让客户端先关闭",
    )))]))
}

fn orphans(case: &Case<'_>) -> Option<Bar> {
    let used = case.server.counters.1.get("TCP.orphan")?;
    let limit = setting("net.ipv4.tcp_max_orphans")?;
    let (n_used, n_limit) = (grouped(used), grouped(limit));
    let evidence = said!(
        "{n_used} connections have no process any more and are still closing; {n_limit} may be",
        "{n_used} 个连接已没有进程、仍在关闭中；上限 {n_limit}"
    );
    let bar = Bar::new(more::ORPHANS, used, limit, "/proc/net/sockstat, net.ipv4.tcp_max_orphans", evidence);
    Some(bar.fixed_by(sysctl("net.ipv4.tcp_max_orphans", limit.saturating_mul(4))))
}

/// Pages for TCP's buffers: low, pressure, high.
fn tcp_memory(case: &Case<'_>) -> Option<Bar> {
    let page = rustix::param::page_size() as u64;
    let used = case.server.counters.1.get("TCP.mem")? * page;
    let limit = tcp_mem()?[2] * page;
    let (n_used, n_limit) = (bytes(used), bytes(limit));
    let evidence =
        said!("TCP's buffers take {n_used}, {n_limit} may be", "TCP 缓冲区占用 {n_used}，上限 {n_limit}");
    let bar = Bar::new(more::TCP_MEMORY, used, limit, "/proc/net/sockstat, net.ipv4.tcp_mem", evidence)
        .unit(Unit::Bytes);
    Some(bar.fixed_by(vec![Fix::for_good(Said::from((
        "read what has come (see unread data), smaller buffers (net.ipv4.tcp_rmem, tcp_wmem), or a larger net.ipv4.tcp_mem",
        "及时读取到达的数据，减小缓冲区（net.ipv4.tcp_rmem、tcp_wmem），或加大 net.ipv4.tcp_mem",
    )))]))
}

/// net.ipv4.tcp_mem, in pages.
pub fn tcp_mem() -> Option<[u64; 3]> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_mem").ok()?;
    let pages: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    pages.try_into().ok()
}

/// How often, and for how long in milliseconds, the control group was stopped for want of quota.
pub fn throttled(pid: u32) -> Option<(u64, u64)> {
    cgroup::folders(pid, "cpu").into_iter().find_map(|folder| {
        let value = |name: &str| cgroup::line(&folder, "cpu.stat", name);
        let ms = value("throttled_usec")
            .map(|us| us / 1000)
            .or_else(|| value("throttled_time").map(|ns| ns / 1_000_000));
        Some((value("nr_throttled")?, ms?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(9 * 1024 + 512), "9.5 KiB");
        assert_eq!(bytes(24 << 30), "24 GiB");
    }

    #[test]
    fn the_tables_of_this_machine_are_read() {
        assert!(setting("kernel.pid_max").is_some_and(|most| most > 100));
        assert!(setting("no.such.setting").is_none());
        // A network namespace of its own, as a container has, does not show it.
        let shown = std::path::Path::new("/proc/sys/net/ipv4/tcp_mem").exists();
        let in_order = tcp_mem().map(|[low, pressure, high]| low <= pressure && pressure <= high);
        assert_eq!(in_order, shown.then_some(true));
    }
}
