//! What the whole machine has left: processes, threads, memory, ports, and the kernel's counters of dropped
//! connections.

use std::fs;
use std::ops::RangeInclusive;

fn number_in(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// How many processes and threads there may be, and are. Threads count like processes in all of these.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskRoom {
    /// Tasks (processes and threads) alive, where the tightest limit counts them.
    pub used: u64,
    /// The tightest limit.
    pub limit: u64,
    /// Its name: "pids.max of the cgroup", "kernel.pid_max" or "kernel.threads-max".
    pub source: &'static str,
}

/// The tightest limit on processes and threads for this process's cgroup and machine. RLIMIT_NPROC is not
/// among them, because root is exempt from it: see [`super::process::limits`].
pub fn task_room() -> Option<TaskRoom> {
    let alive = tasks_alive()?;
    let global = [
        ("/proc/sys/kernel/pid_max", "kernel.pid_max"),
        ("/proc/sys/kernel/threads-max", "kernel.threads-max"),
    ]
    .into_iter()
    .filter_map(|(path, source)| Some(TaskRoom { used: alive, limit: number_in(path)?, source }));
    global.chain(cgroup_tasks()).min_by_key(|room| room.limit.saturating_sub(room.used))
}

/// Tasks alive on the machine: the number after the slash in /proc/loadavg.
pub fn tasks_alive() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()
}

/// pids.current and pids.max of the own cgroup or of the tightest one above it (cgroup v2, else v1's pids tree).
fn cgroup_tasks() -> Option<TaskRoom> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mut tightest: Option<TaskRoom> = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            "pids" => "/sys/fs/cgroup/pids",
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            let folder = format!("{root}{path}");
            let room = number_in(&format!("{folder}/pids.max")) // "max" does not parse: no limit here
                .zip(number_in(&format!("{folder}/pids.current")))
                .map(|(limit, used)| TaskRoom { used, limit, source: "pids.max of the cgroup" });
            if let Some(room) = room {
                let left = |room: &TaskRoom| room.limit.saturating_sub(room.used);
                if tightest.as_ref().is_none_or(|best| left(&room) < left(best)) {
                    tightest = Some(room);
                }
            }
            match path.rfind('/') {
                Some(cut) => path = &path[..cut],
                None => break,
            }
        }
    }
    tightest
}

/// (MemAvailable, MemTotal) in bytes.
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let read = |key: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    Some((read("MemAvailable:")? * 1024, read("MemTotal:")? * 1024))
}

/// The ports that connect(2) takes by itself: net.ipv4.ip_local_port_range.
pub fn local_ports() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut fields = text.split_whitespace().map(str::parse::<u16>);
    Some(fields.next()?.ok()?..=fields.next()?.ok()?)
}

/// The kernel's counters of connections that the listen queue refused, since boot, of this network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListenCounters {
    /// TcpExt ListenOverflows: the accept queue was full when a handshake wanted to end.
    pub overflows: u64,
    /// TcpExt ListenDrops: connection attempts dropped for any reason, overflows among them.
    pub drops: u64,
}

impl ListenCounters {
    /// Reads /proc/net/netstat.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/net/netstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (lines.next()?, lines.next()?);
        let value = |wanted: &str| -> Option<u64> {
            let at = names.split_whitespace().position(|name| name == wanted)?;
            values.split_whitespace().nth(at)?.parse().ok()
        };
        Some(ListenCounters { overflows: value("ListenOverflows")?, drops: value("ListenDrops")? })
    }

    /// What was added since `before`.
    pub fn since(self, before: Self) -> Self {
        ListenCounters {
            overflows: self.overflows.saturating_sub(before.overflows),
            drops: self.drops.saturating_sub(before.drops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstat_columns_are_found_by_name() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 9\n";
        assert_eq!(ListenCounters::parse(text), Some(ListenCounters { overflows: 22, drops: 333 }));
        assert_eq!(ListenCounters::parse("TcpExt: A\n"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let room = task_room().expect("a limit on tasks");
        assert!(room.used >= 1 && room.limit >= room.used, "{room:?}");
        let (available, total) = memory().expect("memory");
        assert!(available <= total);
        let ports = local_ports().expect("ports");
        assert!(ports.start() < ports.end());
        assert!(ListenCounters::read().is_some());
    }
}
