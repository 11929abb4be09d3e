//! How many processes and threads there may be, and are: of the machine, of a control group, of a user. A thread counts
//! like a process in all of these.
//!
//! RLIMIT_NPROC counts all tasks of the real user, whoever started them. Root and processes with CAP_SYS_RESOURCE or
//! CAP_SYS_ADMIN are exempt (fork(2), EAGAIN).

use super::{cgroup, process};
use std::fs;

/// CAP_SYS_ADMIN and CAP_SYS_RESOURCE in the mask of /proc/PID/status (linux/capability.h).
const EXEMPT: u64 = 1 << 21 | 1 << 24;

/// A limit on tasks and how far it is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Tasks alive, where this limit counts them.
    pub used: u64,
    /// The limit.
    pub limit: u64,
    /// Its name.
    pub source: &'static str,
}

impl Room {
    /// How many more there may be.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// The tightest limit for tasks that a process starts. Some files of /proc and /sys; a walk over all processes only
/// where the user's limit could be near.
pub fn room(pid: u32) -> Option<Room> {
    let alive = alive()?;
    let global = [
        ("/proc/sys/kernel/pid_max", "kernel.pid_max"),
        ("/proc/sys/kernel/threads-max", "kernel.threads-max"),
    ];
    let global = global.into_iter().filter_map(|(path, source)| {
        let limit = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        Some(Room { used: alive, limit, source })
    });
    global.chain(group(pid)).chain(user(pid, alive)).min_by_key(Room::left)
}

/// Tasks alive on the machine: the number after the slash in /proc/loadavg.
fn alive() -> Option<u64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split('/').nth(1)?.parse().ok()
}

/// pids.max of the process's cgroup, or of the tightest one above it.
fn group(pid: u32) -> Option<Room> {
    let folders = cgroup::folders(pid, "pids");
    let rooms = folders.iter().filter_map(|folder| {
        let (limit, used) = (cgroup::number(folder, "pids.max")?, cgroup::number(folder, "pids.current")?);
        Some(Room { used, limit, source: "pids.max of the cgroup" })
    });
    rooms.min_by_key(Room::left)
}

/// RLIMIT_NPROC, where it binds the process and could be near: the user has no more tasks than the machine.
fn user(pid: u32, alive: u64) -> Option<Room> {
    /// Tasks may have ended since they were counted.
    const SLACK: u64 = 100;
    let limit = process::limits(pid)?.processes.soft?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let uid = real_user(&status)?;
    let capabilities = u64::from_str_radix(field(&status, "CapEff:")?, 16).ok()?;
    if uid == 0 || capabilities & EXEMPT != 0 || alive + SLACK < limit {
        return None;
    }
    Some(Room { used: tasks_of(uid), limit, source: "RLIMIT_NPROC of the user" })
}

fn tasks_of(uid: u32) -> u64 {
    let threads = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        (real_user(&status)? == uid).then(|| field(&status, "Threads:")?.parse::<u64>().ok())?
    };
    process::all().into_iter().filter_map(threads).sum()
}

fn real_user(status: &str) -> Option<u32> {
    field(status, "Uid:")?.parse().ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_room_and_a_limit() {
        let room = room(std::process::id()).expect("a limit on tasks");
        assert!(room.used >= 1 && room.limit >= room.used, "{room:?}");
        assert_eq!(Room { used: 12, limit: 10, source: "" }.left(), 0);
        let uid = real_user(&fs::read_to_string("/proc/self/status").expect("our own")).expect("a user");
        assert!(tasks_of(uid) >= 2, "this thread and the one that runs the tests");
    }
}
