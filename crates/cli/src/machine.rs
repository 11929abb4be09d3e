//! Where a result comes from: the kernel, the processors, the memory and the limits that bound it.
//! Everything is read from /proc and /sys; what cannot be read is left out, never guessed.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// The machine a result was measured on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Machine {
    /// The version of duolu that measured.
    pub duolu: String,
    /// When the run began: UTC, RFC 3339.
    pub began_at: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// The kernel's build, as `uname -v` prints it.
    pub kernel_build: Option<String>,
    /// Whether it runs under a hypervisor, as the processor says (x86's CPUID bit); `None` where it does not say.
    pub virtual_machine: Option<bool>,
    /// How the processors' frequency is chosen (cpufreq's governor), where the kernel has a say in it.
    pub governor: Option<String>,
    /// The processors that this process may run on.
    pub cpus: usize,
    /// The processor's name.
    pub cpu_model: Option<String>,
    /// All memory, bytes.
    pub memory_bytes: u64,
    /// Memory that was free or could be freed before the run, bytes.
    pub memory_available_bytes: u64,
    /// What this process, and so every child, may use.
    pub limits: Limits,
    /// The kernel's settings that bound connections, by their sysctl names.
    pub sysctls: BTreeMap<String, String>,
    /// The load average over one minute before the run began: above 0.5 or so, others were using the machine.
    pub load_before: Option<f64>,
    /// Cores that others kept busy in the moment before the run began.
    pub busy_before: Option<f64>,
    /// Why the machine is too noisy for figures that mean much; `None` where it was quiet before the run.
    pub noisy: Option<String>,
    /// Where server and loader ran.
    pub placement: Placement,
}

/// Resource limits (getrlimit(2)); `None` is unlimited.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Limits {
    /// RLIMIT_NOFILE, soft: the descriptors a process may have open.
    pub nofile: Option<u64>,
    /// RLIMIT_NOFILE, hard: how far the soft limit can be raised without a privilege.
    pub nofile_hard: Option<u64>,
    /// RLIMIT_NPROC, soft: the processes and threads of this user.
    pub nproc: Option<u64>,
    /// pids.max of the control group, where there is one.
    pub cgroup_pids: Option<u64>,
    /// The memory limit of the control group in bytes, where there is one.
    pub cgroup_memory_bytes: Option<u64>,
}

/// Which processors the two sides were given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Whether server and loader were pinned to processors of their own.
    pub pinned: bool,
    /// Whether they had to share one.
    pub shared: bool,
    /// The server's processors.
    pub server_cpus: Vec<usize>,
    /// The loader's processors.
    pub loader_cpus: Vec<usize>,
    /// Why they could not be pinned, if that was refused.
    pub refused: Option<String>,
}

impl Placement {
    /// The processors that the server is pinned to; empty where it is not.
    pub fn server(&self) -> Vec<usize> {
        if self.pinned { self.server_cpus.clone() } else { Vec::new() }
    }

    /// The processors that the loader is pinned to; empty where it is not.
    pub fn loader(&self) -> Vec<usize> {
        if self.pinned { self.loader_cpus.clone() } else { Vec::new() }
    }

    /// The processors of both sides.
    pub fn all(&self) -> Vec<usize> {
        let mut cpus = [self.server_cpus.as_slice(), &self.loader_cpus].concat();
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    }
}

/// The settings worth knowing when a number of connections does not come.
const SYSCTLS: [&str; 14] = [
    "fs.file-max",
    "fs.nr_open",
    "kernel.sched_autogroup_enabled",
    "net.core.somaxconn",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_mem",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_congestion_control",
    "kernel.pid_max",
    "kernel.threads-max",
    "kernel.io_uring_disabled",
    "vm.max_map_count",
];

impl Machine {
    /// Reads the machine as it is now.
    pub fn read(placement: Placement) -> Self {
        let memory = read("/proc/meminfo").unwrap_or_default();
        let (load_before, busy_before) = (load_average(), busy_cores(LOOK));
        Machine {
            duolu: env!("CARGO_PKG_VERSION").to_owned(),
            began_at: utc(seconds_since_epoch()),
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            kernel_build: read("/proc/sys/kernel/version"),
            virtual_machine: virtual_machine(),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            cpus: allowed_cpus().len(),
            cpu_model: cpu_model(),
            memory_bytes: meminfo(&memory, "MemTotal").unwrap_or(0),
            memory_available_bytes: meminfo(&memory, "MemAvailable").unwrap_or(0),
            limits: Limits::read(),
            sysctls: SYSCTLS.iter().filter_map(|name| Some(((*name).to_owned(), sysctl(name)?))).collect(),
            noisy: noisy(load_before, busy_before),
            load_before,
            busy_before,
            placement,
        }
    }
}

/// How long the machine is looked at before a run.
const LOOK: Duration = Duration::from_millis(250);

/// Others that keep more of a core busy change the figures.
pub const DISTURBED: f64 = 0.3;

/// How many of our processors were busy for the length of `look`, in cores. Sleeps so long.
fn busy_cores(look: Duration) -> Option<f64> {
    let cpus = allowed_cpus();
    let (before, began) = (cpu_time(&cpus)?, std::time::Instant::now());
    std::thread::sleep(look);
    Some(cpu_time(&cpus)?.saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64())
}

/// Whether others use so much of the machine that figures taken now mean little. A load average alone says nothing:
/// it may be that of our own last run.
fn noisy(load: Option<f64>, busy: Option<f64>) -> Option<String> {
    let cores = busy.filter(|&cores| cores >= DISTURBED)?;
    let load = load.map_or(String::new(), |load| format!(" (load average {load:.1})"));
    Some(format!("others kept {cores:.1} cores busy just before the run{load}"))
}

fn virtual_machine() -> Option<bool> {
    let text = read("/proc/cpuinfo")?;
    let flags = text.lines().find(|line| line.starts_with("flags"))?;
    Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
}

fn seconds_since_epoch() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Seconds since 1970 as `2026-11-23T06:15:00Z`. The days are turned into a date by the era arithmetic of the
/// proleptic Gregorian calendar: 146,097 days in 400 years, years that begin in March.
pub fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

impl Limits {
    fn read() -> Self {
        let text = read("/proc/self/limits").unwrap_or_default();
        let (nofile, nofile_hard) = limit(&text, "Max open files");
        Limits {
            nofile,
            nofile_hard,
            nproc: limit(&text, "Max processes").0,
            cgroup_pids: cgroup_value("pids", "pids.max"),
            cgroup_memory_bytes: cgroup_value("memory", "memory.max")
                .or_else(|| cgroup_value("memory", "memory.limit_in_bytes"))
                // Version 1 writes "no limit" as the largest multiple of a page.
                .filter(|&bytes| bytes < 1 << 60),
        }
    }
}

/// One row of /proc/PID/limits: the soft and the hard limit, `None` where unlimited or not there.
pub fn limit(limits: &str, name: &str) -> (Option<u64>, Option<u64>) {
    let mut fields = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").split_whitespace();
    let mut next = || fields.next().and_then(|field| field.parse().ok());
    (next(), next())
}

/// A line of /proc/meminfo (or /proc/PID/status, smaps_rollup: the same form) in bytes.
pub fn meminfo(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    rest.split_whitespace().next()?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Memory that could be had now without swapping, bytes.
pub fn memory_available() -> Option<u64> {
    meminfo(&read("/proc/meminfo")?, "MemAvailable")
}

/// The processors this process may run on, in order.
pub fn allowed_cpus() -> Vec<usize> {
    let status = read("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or("0");
    parse_cpu_list(list)
}

/// The processors that are hardware threads of the same core as `cpu`, itself included.
pub fn core_siblings(cpu: usize) -> Vec<usize> {
    read(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"))
        .map_or_else(|| vec![cpu], |list| parse_cpu_list(&list))
}

/// A kernel setting by its dotted name.
pub fn sysctl(name: &str) -> Option<String> {
    let value = read(&format!("/proc/sys/{}", name.replace('.', "/")))?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The load average over one minute.
pub fn load_average() -> Option<f64> {
    read("/proc/loadavg")?.split(' ').next()?.parse().ok()
}

/// Memory that the kernel holds for sockets and their like, bytes: slab caches, kernel stacks, and the pages of TCP's
/// buffers.
pub fn kernel_memory() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let sockstat = read("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or("");
    let pages = tcp.split_whitespace().skip_while(|word| *word != "mem").nth(1);
    let buffers = pages.and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096;
    Some(meminfo(&text, "Slab")? + meminfo(&text, "KernelStack")? + buffers)
}

/// The CPU time that everything together has used on some processors since the machine started, in ticks of 10 ms:
/// /proc/stat, without idle, waiting for disks, and what a hypervisor took (steal).
pub fn cpu_time(cpus: &[usize]) -> Option<Duration> {
    cpu_times(cpus).map(|(used, _)| used)
}

/// The same, and beside it what the hypervisor gave to other machines meanwhile (steal).
pub fn cpu_times(cpus: &[usize]) -> Option<(Duration, Duration)> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let (mut ticks, mut stolen) = (0, 0);
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let cpu = fields.next().and_then(|name| name.strip_prefix("cpu")?.parse::<usize>().ok());
        if cpu.is_some_and(|cpu| cpus.contains(&cpu)) {
            // user nice system idle iowait irq softirq steal
            let fields: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
            let [user, nice, system, _, _, irq, softirq] = *fields.first_chunk()?;
            ticks += user + nice + system + irq + softirq;
            stolen += fields.get(7).copied().unwrap_or(0);
        }
    }
    Some((Duration::from_millis(ticks * 10), Duration::from_millis(stolen * 10)))
}

/// The kernel threads that do the network's work on some processors where it is too much to be done in passing
/// (ksoftirqd/N). None where they cannot be seen, as in a container.
pub fn softirq_threads(cpus: &[usize]) -> Vec<u32> {
    let of_cpu = |pid: &u32| {
        let comm = read(&format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.strip_prefix("ksoftirqd/")
            .and_then(|cpu| cpu.parse().ok())
            .is_some_and(|cpu| cpus.contains(&cpu))
    };
    crate::walls::process::all().into_iter().filter(of_cpu).collect()
}

/// The CPU time of one thread by the scheduler's clock.
pub fn thread_time(pid: u32) -> Option<Duration> {
    let text = read(&format!("/proc/{pid}/schedstat"))?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

/// Parses the kernel's list form: `0-2,5`.
fn parse_cpu_list(list: &str) -> Vec<usize> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<usize>(), last.trim().parse::<usize>()) {
            cpus.extend(first..=last);
        }
    }
    cpus
}

fn cpu_model() -> Option<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A control file of the group this process is in: version 2 first, then version 1's hierarchy of `controller`.
/// `None` where there is no such group, no such file, or no limit ("max").
pub fn cgroup_value(controller: &str, file: &str) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_end_matches('/');
        let roots = if controllers.is_empty() {
            ["/sys/fs/cgroup".to_owned(), "/sys/fs/cgroup/unified".to_owned()]
        } else if controllers.split(',').any(|name| name == controller) {
            [format!("/sys/fs/cgroup/{controller}"), format!("/sys/fs/cgroup/{controllers}")]
        } else {
            return None;
        };
        roots.iter().find_map(|root| read(&format!("{root}{path}/{file}"))?.parse().ok())
    })
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_and_tables_are_read() {
        assert_eq!(parse_cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(parse_cpu_list("3"), [3]);
        assert_eq!(parse_cpu_list(""), [0usize; 0]);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max processes             96364                96364                processes \n\
                      Max open files            1024                 524288               files     \n\
                      Max file size             unlimited            unlimited            bytes     \n";
        assert_eq!(limit(limits, "Max open files"), (Some(1024), Some(524_288)));
        assert_eq!(limit(limits, "Max file size"), (None, None));
        assert_eq!(
            meminfo("MemTotal:       24684456 kB\nMemFree: 1 kB\n", "MemTotal"),
            Some(24_684_456 * 1024)
        );
        assert_eq!(meminfo("MemTotal: 1 kB", "Mem"), None);
    }

    #[test]
    fn dates_and_noise_are_told() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_413_599), "2026-11-23T05:59:59Z");
        assert_eq!(noisy(Some(30.0), Some(0.1)), None);
        assert_eq!(noisy(None, None), None);
        let said = noisy(Some(3.44), Some(1.26)).unwrap();
        assert!(said.contains("1.3 cores") && said.contains("3.4"), "{said}");
    }

    #[test]
    fn this_machine_has_a_kernel_a_processor_and_memory() {
        let machine = Machine::read(Placement::default());
        assert!(!machine.kernel.is_empty() && machine.cpus >= 1 && machine.memory_bytes > 0);
        assert!(machine.sysctls.contains_key("net.core.somaxconn"));
        assert!(machine.busy_before.is_some_and(|cores| (0.0..4096.0).contains(&cores)));
        assert!(kernel_memory().is_some_and(|bytes| bytes > 1 << 20));
        assert!(cpu_time(&allowed_cpus()).is_some_and(|used| !used.is_zero()));
    }
}
