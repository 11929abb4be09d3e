//! The memory that is left alone. A connection costs kernel memory (3 to 9 KiB) that no limit of the process counts;
//! where it runs out the kernel ends processes, and not always the one at fault. So whoever goes past the descriptor
//! limit looks while there is still some.

use super::{Wall, machine, names};
use crate::machine::cgroup_value;
use crate::{terminal, units};

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

    /// Whether less is left than the floor and `more_bytes`. Reads two files of /proc and /sys: 50 us.
    pub fn shortage(self, more_bytes: u64) -> Option<Shortage> {
        let available_bytes = available()?;
        (available_bytes < self.bytes.saturating_add(more_bytes))
            .then_some(Shortage { available_bytes, floor_bytes: self.bytes })
    }
}

/// Memory that could be had now: of the machine, or of the control group where that has less.
pub fn available() -> Option<u64> {
    let (machine, _) = machine::memory()?;
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
        Wall::new(
            names::MEMORY,
            format!("{who} stopped at {} connections: {}", super::grouped(held), self.evidence()),
            format!(
                "more memory (a connection takes 3 to 9 KiB of the kernel's, both ends); {KEEP_FREE}=SIZE leaves less alone"
            ),
        )
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
    fn sizes_read_well() {
        assert_eq!(gigabytes(8_540_000_000), "8.54 GB");
        assert_eq!(gigabytes(2_500), "2.5 kB");
    }
}
