//! What ended a line, by name, from what was read. The order of the questions matters: a server that is out of
//! descriptors also fills its accept queue and also makes the loader wait, and only the first is the cause.

use super::result::LoadReport;
use super::server::Ended;
use super::tasks;
use super::watch::Marks;
use crate::model::Model;
use crate::walls::machine::ListenCounters;
pub use crate::walls::names::SERVER_ENDED;
use crate::walls::{Wall, names, process, server};
use serde_json::json;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The same number on every Linux.
const SIGKILL: i32 = 9;

/// A core counts as full from here on: ticks, interrupts and our own looking around take their part.
const FULL: f64 = 0.9;

/// More connections than blocking processes.
pub const PREFORK: &str = "more connections than processes";
/// The loader ended without a result.
pub const LOADER_ENDED: &str = "the loader ended";
/// The server's own word for it: a limit of its configuration.
pub const OWN_LIMIT: &str = "the server's own limit";
/// Every connection stands, but no answer came within the window.
pub const NO_ANSWER: &str = "no answer in time";
/// Other programs took so much of the processors that nothing can be said about the server.
pub const BUSY_MACHINE: &str = "machine too busy";
/// Nothing that was read explains it.
pub const UNEXPLAINED: &str = "not explained";

/// Everything that was read about one run of the loader.
pub struct Facts<'a> {
    /// The model; `None` for a server that is not ours.
    pub model: Option<Model>,
    /// The connections asked for.
    pub asked: u64,
    /// The loader's result, if it gave one.
    pub report: Option<&'a LoadReport>,
    /// The loader's last sentence on stderr.
    pub loader_said: Option<String>,
    /// How the loader ended.
    pub loader_status: Option<ExitStatus>,
    /// The server's process.
    pub server_pid: u32,
    /// Its last lines on stderr.
    pub server_said: Vec<String>,
    /// Its last sentence about an error.
    pub server_last_words: Option<String>,
    /// How it ended, if it has.
    pub server_ended: Option<Ended>,
    /// The highest marks while it was loaded.
    pub marks: Marks,
    /// Its descriptors before the first connection.
    pub descriptors_before: u64,
    /// Its CPU use in the window.
    pub server_cpu: Option<f64>,
    /// CPU use of the kernel's threads for the network on the server's processors.
    pub server_softirq: f64,
    /// CPU use of everybody but server and loader, in cores, at least.
    pub others_cpu: Option<f64>,
    /// The cores that server and loader could have had.
    pub all_cpus: usize,
    /// The cores that it could fill.
    pub server_cpus: usize,
    /// Whether it shared its core with the loader.
    pub shared: bool,
    /// How many workers it said it has.
    pub workers: Option<u64>,
    /// The kernel's counters before.
    pub listen: Option<ListenCounters>,
    /// The server's processes that it killed for want of memory.
    pub oom_kills: u64,
    /// Where it listens.
    pub target: SocketAddr,
    /// Whether the loader had to be stopped because it took too long.
    pub out_of_time: bool,
}

/// The wall at which the line ends, `None` if all connections were held without an error.
pub fn wall(facts: &Facts<'_>) -> Option<Wall> {
    if let Some(how) = facts.server_ended {
        return Some(server_ended(facts, how));
    }
    let Some(report) = facts.report else {
        // Not one connection was served, so the loader had nothing to tell.
        let seen = facts.marks.seen.clone().or_else(|| descriptors(facts));
        let seen = seen.or_else(|| tasks::killed(facts)).or_else(|| tasks::wall(facts));
        let seen = seen.or_else(|| busy_machine(facts, 0, 0));
        return Some(seen.unwrap_or_else(|| no_report(facts)));
    };
    let errors: u64 = report.errors.values().sum();
    if report.established >= facts.asked && errors == 0 && !facts.out_of_time {
        return None;
    }
    let reported = |name: &str| report.wall.clone().filter(|wall| wall.name == name);
    facts
        .marks
        .seen
        .clone()
        .or_else(|| tasks::killed(facts))
        .or_else(|| reported(names::SERVER_DESCRIPTORS))
        .or_else(|| descriptors(facts))
        .or_else(|| reported(names::LOADER_DESCRIPTORS))
        .or_else(|| reported(names::PORTS))
        .or_else(|| reported(names::MEMORY))
        .or_else(|| tasks::wall(facts))
        .or_else(|| prefork(facts))
        .or_else(|| reported(names::FD_SETSIZE))
        .or_else(|| facts.listen.and_then(|before| server::overflow_wall(facts.target, before)))
        .or_else(|| own_limit(facts, report))
        .or_else(|| report.wall.clone())
        .or_else(|| limit(facts))
        .or_else(|| busy_machine(facts, report.established, errors))
        .or_else(|| Some(unexplained(facts, report, errors)))
}

/// What bounds the rate: a full core of the server, or the loader itself. No end of a line: the connections stand.
pub fn limit(facts: &Facts<'_>) -> Option<Wall> {
    let report = facts.report?;
    let Some(used) = facts.server_cpu else {
        return report.loader_limited.then(|| Wall::told(names::LOADER, "loader_says", &json!({})));
    };
    let cores = facts.server_cpus.max(1);
    let loader = report.loader_cpu.unwrap_or(0.0);
    // What the kernel does for the server's connections beside it is a part of what it takes to serve them.
    let softirq = Some(facts.server_softirq).filter(|cores| *cores >= 0.03);
    let read = json!({"server": used, "loader": loader, "cores": cores, "softirq": softirq});
    if facts.shared && used + loader >= FULL * cores as f64 {
        return Some(Wall::told(names::CORE, "core_shared", &read));
    }
    if report.loader_limited {
        return Some(Wall::told(names::LOADER, "loader_limited", &read));
    }
    let case = match facts.model {
        None => "core_full_own",
        Some(model) if model.is_event_driven() => "core_full",
        Some(_) => "core_full_blocking",
    };
    let full = used + facts.server_softirq >= FULL * cores as f64;
    full.then(|| Wall::told(names::CORE, case, &read))
}

/// The server's highest mark of descriptors reached its limit: seen even when the moment of proof was missed.
fn descriptors(facts: &Facts<'_>) -> Option<Wall> {
    let limit = process::limits(facts.server_pid)?.open_files.soft?;
    let used = facts.marks.descriptors;
    let needed = facts.descriptors_before + facts.asked;
    let read = json!({"pid": facts.server_pid, "used": used, "limit": limit, "needed": needed});
    (used + 4 >= limit && used > facts.descriptors_before)
        .then(|| Wall::told(names::SERVER_DESCRIPTORS, "open_files_seen", &read))
}

/// Each process serves one connection to its end: the others wait, however long.
fn prefork(facts: &Facts<'_>) -> Option<Wall> {
    if facts.model != Some(Model::Prefork) {
        return None;
    }
    let processes = facts.marks.descendants.max(facts.workers.unwrap_or(0));
    let waiting = facts.asked.saturating_sub(processes);
    let read = json!({"processes": processes, "asked": facts.asked, "waiting": waiting});
    (processes > 0 && waiting > 0).then(|| Wall::told(PREFORK, "prefork", &read))
}

/// A foreign server with a limit of its own configuration: it says so (nginx: "256 worker_connections are not enough"),
/// or it never had as many descriptors open as connections were asked for, though it was allowed more.
fn own_limit(facts: &Facts<'_>, report: &LoadReport) -> Option<Wall> {
    if facts.model.is_some() {
        return None;
    }
    let says_so = |line: &&String| {
        let line = line.to_ascii_lowercase();
        ["not enough", "too many", "limit", "maximum", "refus"].iter().any(|sign| line.contains(sign))
    };
    let (established, asked) = (report.established, facts.asked);
    if let Some(said) = facts.server_said.iter().rfind(says_so) {
        let read = json!({"established": established, "asked": asked, "said": said});
        return Some(Wall::told(OWN_LIMIT, "own_limit_said", &read));
    }
    let open = facts.marks.descriptors_in_all;
    let limit = process::limits(facts.server_pid)?.open_files.soft;
    // With a process for each connection those that accept hold few descriptors, whatever they have accepted.
    let by_process = facts.marks.descendants * 4 >= facts.asked;
    let read = json!({
        "established": established,
        "asked": asked,
        "open": open,
        "limit": limit,
        "unlimited": limit.is_none(),
    });
    (open > 0 && open < facts.asked && !by_process && report.wall.is_none())
        .then(|| Wall::told(OWN_LIMIT, "own_limit_quiet", &read))
}

fn server_ended(facts: &Facts<'_>, how: Ended) -> Wall {
    let status = match how {
        Ended::Waited(status) => status,
        Ended::Gone => return Wall::told(SERVER_ENDED, "server_gone", &json!({"pid": facts.server_pid})),
    };
    let killed = status.signal() == Some(SIGKILL);
    let memory = if killed { tasks::killed(facts) } else { tasks::out_of_memory(facts) };
    if let Some(wall) = memory {
        return wall;
    }
    let read = json!({
        "pid": facts.server_pid,
        "code": status.code(),
        "signal": status.signal(),
        "said": facts.server_last_words,
    });
    let case = match status.code() {
        Some(_) => "server_ended_code",
        None if killed => "server_killed",
        None => "server_ended_signal",
    };
    Wall::told(SERVER_ENDED, case, &read)
}

fn no_report(facts: &Facts<'_>) -> Wall {
    let (code, signal) = facts.loader_status.map_or((None, None), |status| (status.code(), status.signal()));
    let case = match (code, signal) {
        (Some(_), _) => "loader_ended_code",
        (None, Some(_)) => "loader_ended_signal",
        (None, None) => "loader_silent",
    };
    Wall::told(LOADER_ENDED, case, &json!({"code": code, "signal": signal, "said": facts.loader_said}))
}

/// No wall of the server's: others had so much of the processors that connections timed out.
fn busy_machine(facts: &Facts<'_>, established: u64, errors: u64) -> Option<Wall> {
    let others = facts.others_cpu.filter(|&cores| cores >= facts.all_cpus as f64 / 2.0)?;
    let read = json!({
        "others": others,
        "cores": facts.all_cpus,
        "established": established,
        "asked": facts.asked,
        "errors": errors,
    });
    Some(Wall::told(BUSY_MACHINE, "machine_busy", &read))
}

fn unexplained(facts: &Facts<'_>, report: &LoadReport, errors: u64) -> Wall {
    let limit = process::limits(facts.server_pid).and_then(|limits| limits.open_files.soft);
    let read = json!({
        "established": report.established,
        "asked": facts.asked,
        "errors": errors,
        "kinds": report.errors,
        "descriptors": facts.marks.descriptors,
        "limit": limit,
        "unlimited": limit.is_none(),
        "processes": 1 + facts.marks.descendants,
        "threads": facts.marks.threads,
        "cpu": facts.server_cpu,
        "late": facts.out_of_time,
        "said": facts.loader_said.as_ref().filter(|_| !facts.out_of_time),
    });
    Wall::told(UNEXPLAINED, "unexplained", &read)
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
