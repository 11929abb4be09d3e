//! The memory that is left alone. A connection costs kernel memory (5 to 10 KiB) that no limit of the process counts;
//! where it runs out the kernel ends processes, and not always the one at fault. So whoever goes past the descriptor
//! limit looks while there is still some.

use super::{Wall, cgroup, machine, names, process};
use crate::machine::cgroup_value;
use crate::{terminal, units};
use serde_json::json;

/// How much is to stay available: the environment variable [`KEEP_FREE`], or a sixteenth of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Floor {
    bytes: u64,
}

/// Names the floor: a size, as `3GiB`.
pub const KEEP_FREE: &str = "DUOLU_KEEP_FREE";

/// Less than the floor is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortage {
    /// What could be had.
    pub available_bytes: u64,
    /// What was to stay.
    pub floor_bytes: u64,
}

impl Floor {
    /// Reads it. What is no size is as good as not set, and said on stderr.
    pub fn read() -> Self {
        let told = std::env::var(KEEP_FREE).ok().and_then(|text| match units::parse_size(&text) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                terminal::tell(&format!("duolu: {KEEP_FREE} is not a size like 3GiB: {error}"));
                None
            }
        });
        let total = machine::memory().map_or(0, |(_, total)| total);
        Floor { bytes: told.unwrap_or(total / 16) }
    }

    /// How many bytes can be had down to the floor; `None` where that cannot be read.
    pub fn room(self) -> Option<u64> {
        Some(available()?.saturating_sub(self.bytes))
    }

    /// Whether less is left than the floor and `more_bytes`. Reads two files of /proc and /sys: 50 us.
    pub fn shortage(self, more_bytes: u64) -> Option<Shortage> {
        let available_bytes = available()?;
        (available_bytes < self.bytes.saturating_add(more_bytes))
            .then_some(Shortage { available_bytes, floor_bytes: self.bytes })
    }
}

/// The least part of a limit that counts as some: the kernel reclaims and kills before the last page is gone.
const LEAST_PART: u64 = 50;

/// A limit and how far it is used, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// What is used.
    pub used: u64,
    /// What may be.
    pub limit: u64,
}

impl Room {
    /// What is left.
    pub fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Whether the machine has no memory left to speak of.
pub fn machine_wall() -> Option<Wall> {
    let (available, total) = machine::memory()?;
    (available < total / LEAST_PART).then(|| {
        Wall::told(names::MEMORY, "memory_machine", &json!({"available": available, "total": total}))
    })
}

/// Whether the control group of a process has no memory left to speak of.
pub fn group_wall(pid: u32) -> Option<Wall> {
    let room = group(pid).filter(|room| room.left() < room.limit / LEAST_PART)?;
    let process = process::name(pid).unwrap_or_default();
    let facts = json!({"pid": pid, "process": process, "used": room.used, "limit": room.limit});
    Some(Wall::told(names::MEMORY, "memory_group", &facts))
}

/// The tightest memory limit of a process's control groups. The page cache does not count: it is given back first.
pub fn group(pid: u32) -> Option<Room> {
    // Version 1 writes "no limit" as the largest multiple of a page.
    let limit = |folder: &str| {
        let limit =
            cgroup::number(folder, "memory.max").or_else(|| cgroup::number(folder, "memory.limit_in_bytes"));
        limit.filter(|&bytes| bytes < 1 << 60)
    };
    let used = |folder: &str| {
        let used = cgroup::number(folder, "memory.current")
            .or_else(|| cgroup::number(folder, "memory.usage_in_bytes"))?;
        let cache =
            |names: [&str; 2]| names.iter().find_map(|name| cgroup::line(folder, "memory.stat", name));
        let cached = cache(["total_active_file", "active_file"]).unwrap_or(0)
            + cache(["total_inactive_file", "inactive_file"]).unwrap_or(0);
        Some(used.saturating_sub(cached))
    };
    let folders = cgroup::folders(pid, "memory");
    let rooms = folders.iter().filter_map(|folder| Some(Room { limit: limit(folder)?, used: used(folder)? }));
    rooms.min_by_key(Room::left)
}

/// The address space of a process where it is bounded (RLIMIT_AS).
pub fn address_space(pid: u32) -> Option<Room> {
    let limit = process::limits(pid)?.address_space.soft?;
    Some(Room { used: process::address_space(pid)?, limit })
}

/// Counts the processes of a control group that the kernel kills for want of memory, of the group's or of the machine's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OomKills {
    folder: String,
    file: &'static str,
    before: u64,
}

impl OomKills {
    /// From now on, in the group that the process is in. Where that one does not count (the root of version 2), on the
    /// whole machine. The group is found now: of a process that has ended nobody can say it any more.
    pub fn of(pid: u32) -> Option<Self> {
        let own = cgroup::folders(pid, "memory").into_iter().next();
        let places =
            own.iter().flat_map(|folder| [(folder, "memory.events"), (folder, "memory.oom_control")]);
        let machine = "/proc".to_owned();
        let mut counts = places.chain([(&machine, "vmstat")]);
        counts.find_map(|(folder, file)| {
            let before = cgroup::line(folder, file, "oom_kill")?;
            Some(OomKills { folder: folder.clone(), file, before })
        })
    }

    /// How many there were since.
    pub fn since(&self) -> u64 {
        cgroup::line(&self.folder, self.file, "oom_kill").map_or(0, |now| now.saturating_sub(self.before))
    }
}

/// An inode and a dentry of a socket, in bytes. The kernel keeps both in caches that count as reclaimable, and so in
/// MemAvailable, though those of an open socket cannot be had: with four million of them that is 4 GB.
const INODE_BYTES: u64 = 832 + 192;

/// Memory that could be had now: of the machine, or of the control group where that has less.
pub fn available() -> Option<u64> {
    let (machine, _) = machine::memory()?;
    let machine = machine.saturating_sub(machine::sockets().unwrap_or(0) * INODE_BYTES);
    let group = cgroup_value("memory", "memory.max")
        .zip(cgroup_value("memory", "memory.current"))
        .map(|(most, used)| most.saturating_sub(used));
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// Bytes as `12.3 GB`.
pub fn gigabytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    }
}

impl Shortage {
    /// What it means, in words.
    pub fn evidence(self) -> String {
        format!(
            "{} of memory are available, and {} are left alone",
            gigabytes(self.available_bytes),
            gigabytes(self.floor_bytes)
        )
    }

    /// The wall of somebody who holds `held` connections.
    pub fn wall(self, who: &str, held: u64) -> Wall {
        let facts = json!({
            "who": who,
            "held": held,
            "available": self.available_bytes,
            "floor": self.floor_bytes,
            "setting": KEEP_FREE,
        });
        Wall::told(names::MEMORY, "memory_floor", &facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_above_all_there_is_is_a_shortage_and_none_is_not() {
        let all = Floor { bytes: u64::MAX };
        let shortage = all.shortage(1).expect("nobody has so much");
        assert!(shortage.wall("the loader", 1234).evidence.contains("at 1,234 connections"));
        assert_eq!(Floor { bytes: 0 }.shortage(0), None);
    }

    #[test]
    fn this_machine_has_memory_and_says_whom_it_killed() {
        assert_eq!(machine_wall(), None);
        assert_eq!(OomKills::of(std::process::id()).map(|kills| kills.since()), Some(0));
        assert_eq!(group(u32::MAX), None);
        assert!(address_space(std::process::id()).is_none_or(|room| room.used > 0));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(gigabytes(8_540_000_000), "8.54 GB");
        assert_eq!(gigabytes(2_500), "2.5 kB");
    }
}
