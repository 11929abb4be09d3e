//! A server's processes, all of them: who they are, the CPU time they have used, the memory they hold.
//!
//! Traps, referred to below:
//! (a) A fork server's work is done by its children: the parent's own figures say nothing.
//! (b) Ticks of 10 ms round 5,000 small processes down to zero: ask their CPU clocks.
//! (c) The text of the program is mapped by the loader and by us as well, so each one's share of it (PSS)
//!     changes with how many processes run. Only anonymous and shared memory is counted, and page tables.
//! (d) smaps_rollup walks the whole address space with its lock held. With a stack for each of 5,000 threads that
//!     takes long enough to disturb what is measured; there the kernel's own counters are read instead.

use crate::machine::meminfo;
use crate::walls::process::threads;
use duolu_sys::child;
use std::fs;
use std::time::Duration;

/// With more processes than this, memory is read from an even sample of them.
const MEMORY_SAMPLE: usize = 96;

/// With more threads than this, trap (d).
const MANY_THREADS: u64 = 64;

/// A process and all its descendants, as they were at one moment.
#[derive(Clone, Debug)]
pub struct Tree {
    roots: Vec<u32>,
    descendants: Vec<u32>,
}

/// The memory of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous and shared memory, each process's share of it, and page tables, in bytes.
    pub bytes: u64,
    /// How many processes there were.
    pub processes: usize,
    /// How many of them were read.
    pub read: usize,
}

impl Tree {
    /// Looks who is there. Costs one small read for each process that has children.
    pub fn of(root: u32) -> Self {
        Self::of_all(&[root])
    }

    /// The trees of several processes, none of which is a descendant of another: a server that was started by hand
    /// as many times as the machine has cores.
    pub fn of_all(roots: &[u32]) -> Self {
        let mut descendants = Vec::new();
        let mut next = 0;
        let mut parents = roots.to_vec();
        while next < parents.len() {
            let found = children(parents[next]);
            parents.extend(&found);
            descendants.extend(found);
            next += 1;
            // The children of a fork server have none of their own: asking 5,000 of them would be most of the cost.
            if parents.len() > MEMORY_SAMPLE {
                break;
            }
        }
        Tree { roots: roots.to_vec(), descendants }
    }

    /// How many processes besides the first.
    pub fn descendants(&self) -> usize {
        self.descendants.len()
    }

    /// Whether this process is one of them.
    pub fn holds(&self, pid: u32) -> bool {
        self.pids().any(|other| other == pid)
    }

    /// The CPU time of all of them, ended and reaped ones included (traps a and b).
    pub fn cpu_time(&self) -> Duration {
        let living: Duration = self.pids().filter_map(|pid| child::cpu_time(pid).ok()).sum();
        living + self.roots.iter().map(|&root| reaped_time(root)).sum::<Duration>()
    }

    /// The memory of all of them. `None` when nothing could be read.
    pub fn memory(&self) -> Option<Memory> {
        let first = self.roots.iter().map(|&root| memory_of(root)).sum::<Option<u64>>()?;
        let stride = self.descendants.len().div_ceil(MEMORY_SAMPLE).max(1);
        let sampled: Vec<u64> =
            self.descendants.iter().step_by(stride).filter_map(|&pid| memory_of(pid)).collect();
        let sum: u64 = sampled.iter().sum();
        let all = if sampled.is_empty() {
            0
        } else {
            (u128::from(sum) * self.descendants.len() as u128 / sampled.len() as u128) as u64
        };
        let roots = self.roots.len();
        let (processes, read) = (roots + self.descendants.len(), roots + sampled.len());
        (roots > 0).then_some(Memory { bytes: first + all, processes, read })
    }

    /// All of them.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.roots.iter().chain(&self.descendants).copied()
    }
}

/// The parent of a process.
pub fn parent(pid: u32) -> Option<u32> {
    u32::try_from(stat_field(pid, 4)?).ok()
}

/// The children of a process: the kernel's own list where it keeps one (CONFIG_PROC_CHILDREN), else everybody's
/// parent is read.
pub fn children(pid: u32) -> Vec<u32> {
    let Ok(list) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) else {
        return children_by_parent(pid);
    };
    let mut found = parse_pids(&list);
    // Threads may have started processes, too. With thousands of threads it is a thread server: no processes.
    if threads(pid).is_some_and(|threads| (2..=MANY_THREADS).contains(&threads)) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks.filter(|task| task.file_name().to_str() != Some(&pid.to_string())) {
            found.extend(parse_pids(&fs::read_to_string(task.path().join("children")).unwrap_or_default()));
        }
    }
    found
}

fn children_by_parent(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| stat_field(pid, 4) == Some(u64::from(parent))).collect()
}

fn parse_pids(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Field `number` of /proc/PID/stat, counted from 1 as proc(5) does; from 3 on. The name in parentheses may
/// contain anything, so fields are counted from its end.
fn stat_field(pid: u32, number: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(number - 3)?.parse().ok()
}

/// The CPU time of children that ended and were waited for: kept exactly, told in ticks.
fn reaped_time(pid: u32) -> Duration {
    // sysconf(_SC_CLK_TCK) is 100 on every Linux that user space has met (USER_HZ).
    const TICK: Duration = Duration::from_millis(10);
    let ticks = stat_field(pid, 16).unwrap_or(0) + stat_field(pid, 17).unwrap_or(0);
    TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

fn memory_of(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let page_tables = meminfo(&status, "VmPTE").unwrap_or(0);
    let many_threads = status
        .lines()
        .find_map(|line| line.strip_prefix("Threads:")?.trim().parse::<u64>().ok())
        .is_some_and(|threads| threads > MANY_THREADS);
    let counters = || Some(meminfo(&status, "RssAnon")? + meminfo(&status, "RssShmem")?);
    if many_threads {
        return Some(counters()? + page_tables); // trap (d)
    }
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .ok()
        .and_then(|rollup| Some(meminfo(&rollup, "Pss_Anon")? + meminfo(&rollup, "Pss_Shmem")?)); // trap (c)
    Some(shares.or_else(counters)? + page_tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    #[test]
    fn a_tree_holds_its_descendants_and_their_time_and_memory() {
        // A shell whose child waits until its input ends.
        let mut shell = Command::new("sh")
            .args(["-c", "cat; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("sh starts");
        let patience = Instant::now() + Duration::from_secs(20);
        let mut tree = Tree::of(shell.id());
        while tree.descendants() == 0 && Instant::now() < patience {
            tree = Tree::of(shell.id());
        }
        assert_eq!(tree.descendants(), 1);
        let memory = tree.memory().expect("the memory of our own child can be read");
        assert!(memory.bytes > 4096 && memory.processes == 2 && memory.read == 2);
        assert!(tree.cpu_time() > Duration::ZERO);
        drop(shell.stdin.take());
        shell.wait().expect("the shell ends when its input does");
        assert!(stat_field(0x3fff_ffff, 4).is_none());
    }
}
