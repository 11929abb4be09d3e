//! What a crowd costs: memory of the machine before, while it is held and after, and of the two processes.

use super::super::args::Plan;
use super::super::tally::quantile_us;
use super::climb::Crowd;
use crate::machine::{Machine, Placement, kernel_memory, meminfo};
use crate::walls::{listen, memory};
use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};

/// The kernel frees sockets after the last of their packets and a grace period; it is waited for so long.
const SETTLE: Duration = Duration::from_secs(30);
const SETTLE_STEP: Duration = Duration::from_millis(100);
/// Memory that moves less than this in a step has settled.
const STILL_BYTES: u64 = 4 << 20;

/// Figures of a crowd. Bytes; `None` where they cannot be read.
#[derive(Clone, Default, Serialize)]
pub struct Account {
    /// The rings at the end, and the places of each.
    pub rings: usize,
    pub places_each: u32,
    /// Replies checked in all, and wrong in no byte.
    pub replies: u64,
    /// Before the measured window.
    pub climbing_samples: u64,
    pub climbing_p50_us: Option<f64>,
    pub climbing_p99_us: Option<f64>,
    /// What could be had.
    pub memory_before_bytes: Option<u64>,
    pub memory_during_bytes: Option<u64>,
    pub memory_after_bytes: Option<u64>,
    /// Of the server's processes, where it runs here and is ours. What several share counts once (their Pss).
    pub server_rss_bytes: Option<u64>,
    /// How many processes listen.
    pub server_processes: usize,
    pub loader_rss_bytes: Option<u64>,
    /// Of the kernel (Slab, KernelStack, TCP's buffers), for both ends where the server is here.
    pub kernel_bytes_per_connection: Option<u64>,
    /// From the first close until the kernel had its memory back.
    pub back_s: f64,
    /// Where that was.
    pub machine: Machine,
}

/// Takes the figures.
pub struct Accountant {
    account: Account,
    backlog: Option<u32>,
    queues: usize,
    pids: Vec<u32>,
    kernel_before: Option<u64>,
    sockets_before: u64,
    closing: Instant,
}

impl Accountant {
    /// Before the first connection.
    pub fn begin(plan: &Plan) -> Self {
        let target = plan.target.address;
        let queues = if plan.target.is_here { listen::queues(target) } else { Vec::new() };
        let pids = listen::owners(&queues);
        Accountant {
            account: Account {
                memory_before_bytes: memory::available(),
                server_processes: pids.len(),
                machine: Machine::read(Placement::default()),
                ..Account::default()
            },
            queues: queues.len(),
            backlog: queues.iter().filter_map(|queue| queue.backlog).min(),
            pids,
            kernel_before: kernel_memory(),
            sockets_before: sockets().unwrap_or(0),
            closing: Instant::now(),
        }
    }

    /// The server's listen queue, where it is here.
    pub fn backlog(&self) -> Option<u32> {
        self.backlog
    }

    /// How many sockets listen there.
    pub fn queues(&self) -> usize {
        self.queues
    }

    /// While all are held.
    pub fn holding(&mut self, held: u64, crowd: &Crowd<'_>) {
        let account = &mut self.account;
        account.rings = crowd.rings.count();
        account.places_each = crowd.rings.bounds().0;
        account.replies = crowd.samples.right;
        account.climbing_samples = crowd.samples.climbing.len();
        account.climbing_p50_us = quantile_us(&crowd.samples.climbing, 0.5);
        account.climbing_p99_us = quantile_us(&crowd.samples.climbing, 0.99);
        account.memory_during_bytes = memory::available();
        account.server_rss_bytes = resident(&self.pids);
        account.loader_rss_bytes = own_rss();
        account.kernel_bytes_per_connection =
            kernel_memory().zip(self.kernel_before).and_then(|(now, before)| {
                now.saturating_sub(before).checked_div(held).filter(|bytes| *bytes > 0)
            });
        self.closing = Instant::now();
    }

    /// After the last close: waits until the sockets are gone and the memory is back.
    pub fn closed(&mut self, at_once: bool) {
        let until = Instant::now() + SETTLE;
        let mut last = memory::available();
        while !at_once && Instant::now() < until {
            std::thread::sleep(SETTLE_STEP);
            let now = memory::available();
            let still = now.zip(last).is_none_or(|(now, last)| now.abs_diff(last) < STILL_BYTES);
            // Half of what there is may be other programs'.
            let gone = sockets().is_none_or(|sockets| sockets <= self.sockets_before + 512);
            last = now;
            if still && gone {
                break;
            }
        }
        self.account.memory_after_bytes = last;
        self.account.back_s = self.closing.elapsed().as_secs_f64();
    }

    /// The result.
    pub fn account(self) -> Account {
        self.account
    }
}

/// TCP sockets of this network namespace, from /proc/net/sockstat: in use and orphaned.
fn sockets() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    let mut words = text.lines().find_map(|line| line.strip_prefix("TCP: "))?.split_whitespace();
    let (mut sum, mut any) = (0, false);
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if ["inuse", "orphan"].contains(&name) {
            sum += value.parse::<u64>().ok()?;
            any = true;
        }
    }
    any.then_some(sum)
}

/// The memory of these processes. Forked ones share most of their pages: the sum of their resident sets would count
/// those as often as there are processes.
fn resident(pids: &[u32]) -> Option<u64> {
    let read = |pid: &u32, file: &str, field: &str| {
        meminfo(&fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?, field)
    };
    let alone = pids.len() == 1;
    let each = pids.iter().filter_map(|pid| match alone {
        true => read(pid, "status", "VmRSS"),
        false => read(pid, "smaps_rollup", "Pss"),
    });
    (!pids.is_empty()).then(|| each.sum())
}

fn own_rss() -> Option<u64> {
    meminfo(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS")
}
