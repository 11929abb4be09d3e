//! The open files of the whole machine: every socket is one, whichever process or ring holds it.

use super::{Wall, names};
use serde_json::json;
use std::fs;

/// So many are left to everybody else: shells, logs, whoever wants to end what we began.
const LEFT_ALONE: u64 = 8192;

/// What the machine has and may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Files {
    /// Open now.
    pub used: u64,
    /// fs.file-max.
    pub most: u64,
}

impl Files {
    /// Reads /proc/sys/fs/file-nr. `None` where it does not bound us: the kernel asks CAP_SYS_ADMIN of the initial
    /// user namespace for an exemption.
    pub fn that_bound_us() -> Option<Files> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        if is_exempt(&status, &map) { None } else { Files::read() }
    }

    fn read() -> Option<Files> {
        let text = fs::read_to_string("/proc/sys/fs/file-nr").ok()?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let (used, free, most) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Files { used: used.saturating_sub(free), most })
    }

    /// How many more may be opened without taking the last ones.
    pub fn room(self) -> u64 {
        self.most.saturating_sub(self.used + LEFT_ALONE)
    }

    /// The wall of somebody who holds `held` connections.
    pub fn wall(self, held: u64) -> Wall {
        let enough = (self.most * 2).max(5_000_000);
        let facts =
            json!({"held": held, "used": self.used, "most": self.most, "left": LEFT_ALONE, "enough": enough});
        Wall::told(names::FILE_TABLE, "file_table", &facts)
    }
}

/// CAP_SYS_ADMIN (21) in a user namespace that maps every user to itself: the initial one.
fn is_exempt(status: &str, uid_map: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let whole = uid_map.split_whitespace().eq(["0", "0", "4294967295"]);
    mask & (1 << 21) != 0 && whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_files_are_left_alone_and_root_is_exempt() {
        let files = Files { used: 2_000_000, most: 2_400_000 };
        assert_eq!(files.room(), 400_000 - LEFT_ALONE);
        assert!(files.wall(1_000_000).evidence.contains("at 1,000,000 connections: 2,000,000 files"));
        assert!(files.wall(1).fix.contains("5000000"));
        let (root, user) = ("Name:\tx\nCapEff:\t000001ffffffffff\n", "CapEff:\t0000000000000000\n");
        let initial = "         0          0 4294967295\n";
        assert!(is_exempt(root, initial) && !is_exempt(user, initial));
        assert!(!is_exempt(root, "0 1000 1\n"), "root of a namespace of its own");
        assert!(Files::read().is_some_and(|files| files.used > 0 && files.most > files.used));
    }
}
