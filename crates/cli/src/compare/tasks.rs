//! A process or a thread for each connection, and no more to be had: refused by a limit on tasks, or for want of memory.

use super::diagnose::Facts;
use crate::model::Model;
use crate::walls::{Wall, names, process};
use serde_json::json;

/// So few tasks left count as none: the kernel keeps a few, and the server's helpers come and go.
const SPARE_TASKS: u64 = 8;

/// With less address space left than this there is no room for another thread's stack: 8 MiB and its guard page, as
/// the C library makes it by default.
const ONE_STACK: u64 = 9 << 20;

/// The wall of a server that makes a process or a thread for each connection.
pub fn wall(facts: &Facts<'_>) -> Option<Wall> {
    let (name, what, held) = kind(facts)?;
    if held >= facts.asked {
        return None;
    }
    let said = facts.server_said.iter().rev().find(|line| is_refusal(line));
    if let Some(wall) = address_space(facts, said) {
        return Some(wall);
    }
    let room = facts.marks.tasks;
    if said.is_none() && room.is_none_or(|room| room.left() > SPARE_TASKS) {
        return None;
    }
    let facts = json!({
        "held": held,
        "what": what,
        "asked": facts.asked,
        "source": room.map(|room| room.source),
        "limit": room.map(|room| room.limit),
        "used": room.map(|room| room.used),
        "said": said,
    });
    Some(Wall::told(name, "tasks_refused", &facts))
}

/// What the server makes of a connection, and how many of those there were at most.
fn kind(facts: &Facts<'_>) -> Option<(&'static str, &'static str, u64)> {
    let processes = (names::PROCESSES, "processes", facts.marks.descendants);
    let threads = (names::THREADS, "threads", facts.marks.threads.saturating_sub(1));
    // A server that is not ours shows by its numbers what it does: helpers are few, and the same for any load.
    let many = |count: u64| count > 16 && count * 4 >= facts.report.map_or(0, |report| report.established);
    match facts.model {
        Some(Model::Fork) => Some(processes),
        Some(Model::Thread) => Some(threads),
        Some(_) => None,
        None if many(processes.2) => Some(processes),
        None if many(threads.2) => Some(threads),
        None => None,
    }
}

fn address_space(facts: &Facts<'_>, said: Option<&String>) -> Option<Wall> {
    let room = facts.marks.address_space.filter(|room| room.left() < ONE_STACK)?;
    let facts = json!({
        "pid": facts.server_pid,
        "process": process::name(facts.server_pid).unwrap_or_default(),
        "used": room.used,
        "limit": room.limit,
        "said": said,
    });
    Some(Wall::told(names::MEMORY, "address_space", &facts))
}

/// The wall behind processes that the kernel killed for want of memory since the loader began.
pub fn killed(facts: &Facts<'_>) -> Option<Wall> {
    let kills = facts.oom_kills;
    let facts = json!({
        "kills": kills,
        "limit": facts.marks.memory_group.map(|room| room.limit),
        "held": facts.report.map(|report| report.established),
        "asked": facts.asked,
    });
    (kills > 0).then(|| Wall::told(names::MEMORY, "memory_killed", &facts))
}

/// The wall behind a server that ended by itself and said that it got no memory.
pub fn out_of_memory(facts: &Facts<'_>) -> Option<Wall> {
    // Rust, C++, Go and V8, Python, the C library.
    const WORDS: [&str; 5] =
        ["memory allocation of", "bad_alloc", "out of memory", "memoryerror", "cannot allocate memory"];
    let about_memory = |line: &&String| {
        let line = line.to_ascii_lowercase();
        WORDS.iter().any(|words| line.contains(words))
    };
    let said = facts.server_said.iter().rfind(about_memory)?;
    let facts = json!({
        "pid": facts.server_pid,
        "said": said,
        "limit": facts.marks.address_space.map(|room| room.limit),
    });
    Some(Wall::told(names::MEMORY, "memory_refused", &facts))
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
        "can't start new thread",
        "unable to create native thread",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}
