//! The file table of an io_uring: a server that accepts into it (direct descriptors) has few descriptors in
//! /proc/PID/fd, and yet no place left. Its fdinfo tells, to the process's own user.
//!
//! Reading it makes the kernel print every place of the table and holds the ring's lock meanwhile: some
//! milliseconds for 10,000. Only read it when connections wait.

use std::fs;

/// How full a table is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileTable {
    /// Places that hold a file.
    pub used: u64,
    /// All places.
    pub places: u64,
}

/// The fullest file table of the rings of a process; `None` where it has no ring, or none with a table.
pub fn file_table(pid: u32) -> Option<FileTable> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let is_ring = |entry: &fs::DirEntry| {
        fs::read_link(entry.path()).is_ok_and(|link| link.as_os_str() == "anon_inode:[io_uring]")
    };
    entries
        .flatten()
        .filter(is_ring)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|fd| parse(&fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?))
        .max_by_key(|table| (table.places > 0, table.used))
}

/// `UserFiles:` and the number of places, then a line for each that is taken, `    0: socket:[4711]`. Older kernels
/// print the empty places as well, as `<none>`.
fn parse(fdinfo: &str) -> Option<FileTable> {
    let mut lines = fdinfo.lines().skip_while(|line| !line.starts_with("UserFiles:"));
    let places = lines.next()?.split_whitespace().nth(1)?.parse().ok()?;
    let listed = lines.take_while(|line| line.starts_with(' '));
    let used = listed.filter(|line| !line.trim_end().ends_with("<none>")).count() as u64;
    (places > 0).then_some(FileTable { used, places })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_as_old_and_new_kernels_print_them() {
        let new = "SqMask:\t0x3f\nUserFiles:\t4\n    0: socket:[1]\n    3: socket:[2]\nUserBufs:\t0\n";
        assert_eq!(parse(new), Some(FileTable { used: 2, places: 4 }));
        let old = "UserFiles:\t3\n    0: socket:[1]\n    1: <none>\n    2: <none>\nUserBufs:\t0\n";
        assert_eq!(parse(old), Some(FileTable { used: 1, places: 3 }));
        assert_eq!(parse("UserFiles:\t0\nUserBufs:\t0\n"), None);
        assert_eq!(parse("pos:\t0\n"), None);
        assert_eq!(file_table(std::process::id()), None, "this test has no ring");
    }
}
