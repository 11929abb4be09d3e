//! What ended a line, by name, from what was read. The order of the questions matters: a server that is out of
//! descriptors also fills its accept queue and also makes the loader wait, and only the first is the cause.

use super::children;
use super::result::LoadReport;
use super::watch::Marks;
use crate::model::Model;
use crate::walls::machine::{self, ListenCounters};
pub use crate::walls::names::SERVER_ENDED;
use crate::walls::{Wall, grouped, names, process, server};
use std::net::SocketAddr;
use std::process::ExitStatus;

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
    pub server_ended: Option<String>,
    /// The highest marks while it was loaded.
    pub marks: Marks,
    /// Its descriptors before the first connection.
    pub descriptors_before: u64,
    /// Its CPU use in the window.
    pub server_cpu: Option<f64>,
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
    /// Where it listens.
    pub target: SocketAddr,
    /// Whether the loader had to be stopped because it took too long.
    pub out_of_time: bool,
}

/// The wall at which the line ends, `None` if all connections were held without an error.
pub fn wall(facts: &Facts<'_>) -> Option<Wall> {
    if let Some(how) = &facts.server_ended {
        return Some(server_ended(facts, how));
    }
    let Some(report) = facts.report else {
        // Not one connection was served, so the loader had nothing to tell.
        let seen = facts.marks.seen.clone().or_else(|| descriptors(facts)).or_else(|| tasks(facts));
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
        .or_else(|| reported(names::SERVER_DESCRIPTORS))
        .or_else(|| descriptors(facts))
        .or_else(|| reported(names::LOADER_DESCRIPTORS))
        .or_else(|| reported(names::PORTS))
        .or_else(|| reported(names::MEMORY))
        .or_else(|| tasks(facts))
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
        return report.loader_limited.then(|| {
            Wall::new(
                names::LOADER,
                "the loader says so; the server's CPU use could not be read (another user's process)",
                "the rate is a lower bound: more cores for the loader, or fewer active connections (--active)",
            )
        });
    };
    let cores = facts.server_cpus.max(1);
    let share = used / cores as f64;
    let loader = report.loader_cpu.unwrap_or(0.0);
    if facts.shared && used + loader >= FULL * cores as f64 {
        return Some(Wall::new(
            names::CORE,
            format!(
                "server and loader share {}: the server used {used:.2} of it, the loader {loader:.2}",
                cores_text(cores)
            ),
            "give them a core each: run on two or more processors (without taskset or a cpuset of one)",
        ));
    }
    if share >= FULL && !report.loader_limited {
        let fix = match facts.model {
            None => "more workers of the server, if it has such a setting, or less work for each message",
            Some(model) if model.is_event_driven() => {
                "more loops: --workers 2 (each takes a core), or less work for each message"
            }
            Some(_) => {
                "more cores for the server, or a model that spends less on each message (compare CPU/msg)"
            }
        };
        return Some(Wall::new(
            names::CORE,
            format!(
                "the server used {used:.2} of {} while the loader used {loader:.2} of a core",
                cores_text(cores)
            ),
            fix,
        ));
    }
    report.loader_limited.then(|| {
        Wall::new(
            names::LOADER,
            format!("the loader used {loader:.2} of a core, the server {used:.2} of {}", cores_text(cores)),
            "the rate is a lower bound: more cores for the loader, or fewer active connections (--active)",
        )
    })
}

fn cores_text(cores: usize) -> String {
    if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") }
}

/// The server's highest mark of descriptors reached its limit: seen even when the moment of proof was missed.
fn descriptors(facts: &Facts<'_>) -> Option<Wall> {
    let limit = process::limits(facts.server_pid)?.open_files.soft?;
    let used = facts.marks.descriptors;
    (used + 4 >= limit && used > facts.descriptors_before).then(|| {
        Wall::new(
            names::SERVER_DESCRIPTORS,
            format!(
                "the server, process {}, had {} of {} descriptors open (RLIMIT_NOFILE) of the {} it would need",
                facts.server_pid,
                grouped(used),
                grouped(limit),
                grouped(facts.descriptors_before + facts.asked)
            ),
            "start the server after: ulimit -n 65536",
        )
    })
}

/// A process or a thread for each connection, and no more to be had.
fn tasks(facts: &Facts<'_>) -> Option<Wall> {
    let (name, held, kind) = match facts.model {
        Some(Model::Fork) => (names::PROCESSES, facts.marks.descendants, "processes"),
        Some(Model::Thread) => (names::THREADS, facts.marks.threads.saturating_sub(1), "threads"),
        _ => return None,
    };
    if held >= facts.asked {
        return None;
    }
    let refused = facts.server_said.iter().rev().find(|line| is_refusal(line));
    let room = machine::task_room();
    let near = room.as_ref().is_some_and(|room| room.limit <= room.used + facts.asked - held);
    let user = process::limits(facts.server_pid).and_then(|limits| limits.processes.soft);
    if refused.is_none() && !near {
        return None;
    }
    let mut evidence =
        format!("the server had {} {kind} of the {} it needs", grouped(held), grouped(facts.asked));
    if let Some(room) = room {
        evidence += &format!("; {} allows {}", room.source, grouped(room.limit));
    }
    if let Some(user) = user {
        evidence += &format!("; RLIMIT_NPROC allows the user {}", grouped(user));
    }
    if let Some(line) = refused {
        evidence += &format!("; the server said: {line}");
    }
    Some(Wall::new(
        name,
        evidence,
        "an event loop holds them all in one thread; or raise the limit that is named",
    ))
}

fn is_refusal(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    [
        "eagain",
        "enomem",
        "os error 11",
        "os error 12",
        "resource temporarily",
        "cannot allocate",
        "cannot fork",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

/// Each process serves one connection to its end: the others wait, however long.
fn prefork(facts: &Facts<'_>) -> Option<Wall> {
    if facts.model != Some(Model::Prefork) {
        return None;
    }
    let processes = facts.marks.descendants.max(facts.workers.unwrap_or(0));
    (processes > 0 && processes < facts.asked).then(|| {
        Wall::new(
            PREFORK,
            format!(
                "{} processes serve one connection each, {} connections were asked for: {} wait until one ends",
                grouped(processes),
                grouped(facts.asked),
                grouped(facts.asked - processes)
            ),
            "short connections (close after each request), more processes, or an event loop",
        )
    })
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
    let (established, asked) = (grouped(report.established), grouped(facts.asked));
    if let Some(said) = facts.server_said.iter().rfind(says_so) {
        return Some(Wall::new(
            OWN_LIMIT,
            format!("{established} of {asked} connections held; the server said: {said}"),
            "raise what it names in the server's own configuration",
        ));
    }
    let open = facts.marks.descriptors_in_all;
    let limit = process::limits(facts.server_pid)?.open_files.soft.map_or("any number".to_owned(), grouped);
    // With a process for each connection those that accept hold few descriptors, whatever they have accepted.
    let by_process = facts.marks.descendants * 4 >= facts.asked;
    (open > 0 && open < facts.asked && !by_process && report.wall.is_none()).then(|| {
        Wall::new(
            OWN_LIMIT,
            format!(
                "{established} of {asked} connections held; the processes that accept never had more than {} descriptors \
                 open together, though each may have {limit}: they refuse or close the rest by themselves",
                grouped(open)
            ),
            "raise the server's own number of connections (nginx: worker_connections; memcached: -c)",
        )
    })
}

fn last_words(words: Option<&str>) -> String {
    words.map_or(String::new(), |words| format!("; its last words: {words}"))
}

fn server_ended(facts: &Facts<'_>, how: &str) -> Wall {
    let said = last_words(facts.server_last_words.as_deref());
    let evidence = format!("the server, process {}, {how}{said}", facts.server_pid);
    Wall::new(SERVER_ENDED, evidence, "see its last words, if any; dmesg tells whether the kernel killed it")
}

fn no_report(facts: &Facts<'_>) -> Wall {
    let how = facts.loader_status.map_or("did not end".to_owned(), children::describe);
    let said = last_words(facts.loader_said.as_deref());
    Wall::new(LOADER_ENDED, format!("the loader {how} without a result{said}"), "see its last words")
}

/// No wall of the server's: others had so much of the processors that connections timed out.
fn busy_machine(facts: &Facts<'_>, established: u64, errors: u64) -> Option<Wall> {
    let others = facts.others_cpu.filter(|&cores| cores >= facts.all_cpus as f64 / 2.0)?;
    Some(Wall::new(
        BUSY_MACHINE,
        format!(
            "other programs used {others:.1} of {} meanwhile; {} of {} connections held, {} errors, and no limit was reached",
            cores_text(facts.all_cpus),
            grouped(established),
            grouped(facts.asked),
            grouped(errors)
        ),
        "run it again when the machine is quiet: this says nothing about the server",
    ))
}

fn unexplained(facts: &Facts<'_>, report: &LoadReport, errors: u64) -> Wall {
    let kinds: Vec<String> =
        report.errors.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count))).collect();
    let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
    let limit = process::limits(facts.server_pid).and_then(|limits| limits.open_files.soft);
    Wall::new(
        UNEXPLAINED,
        format!(
            "{} of {} connections held, {} errors ({kinds}); the server had {} of {} descriptors, {} processes, {} \
             threads and used {} of a core: none of these is a limit{}",
            grouped(report.established),
            grouped(facts.asked),
            grouped(errors),
            grouped(facts.marks.descriptors),
            limit.map_or("unlimited".to_owned(), grouped),
            grouped(1 + facts.marks.descendants),
            grouped(facts.marks.threads),
            facts.server_cpu.map_or("an unknown part".to_owned(), |cpu| format!("{cpu:.2}")),
            match (facts.out_of_time, &facts.loader_said) {
                (true, _) => "; the loader took too long and was stopped".to_owned(),
                (false, Some(said)) => format!("; the loader said: {said}"),
                (false, None) => String::new(),
            },
        ),
        "run it again with --connections at and below this number; report it with this line if it stays",
    )
}

#[cfg(test)]
#[path = "diagnose_tests.rs"]
mod tests;
