//! What one process has and may have: descriptors, threads. All from /proc/PID.

use std::fs;

/// A soft and a hard limit; `None` is unlimited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What the kernel enforces now.
    pub soft: Option<u64>,
    /// How far the process may raise it by itself.
    pub hard: Option<u64>,
}

/// The limits of a process that can stop a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// RLIMIT_NOFILE: one more than the highest descriptor number.
    pub open_files: Limit,
    /// RLIMIT_NPROC: processes and threads of the whole user. Root and CAP_SYS_RESOURCE are exempt.
    pub processes: Limit,
    /// RLIMIT_AS: bytes of address space.
    pub address_space: Limit,
}

/// Reads /proc/PID/limits. `None`: no such process, or not ours.
pub fn limits(pid: u32) -> Option<Limits> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    Some(Limits {
        open_files: limit_line(&text, "Max open files")?,
        processes: limit_line(&text, "Max processes")?,
        address_space: limit_line(&text, "Max address space")?,
    })
}

fn limit_line(text: &str, title: &str) -> Option<Limit> {
    let mut fields = text.lines().find_map(|line| line.strip_prefix(title))?.split_whitespace();
    let mut next = || -> Option<Option<u64>> {
        match fields.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        }
    };
    Some(Limit { soft: next()?, hard: next()? })
}

/// How many descriptors the process has open. One readdir over /proc/PID/fd: O(descriptors).
pub fn open_descriptors(pid: u32) -> Option<u64> {
    // Since Linux 6.2 st_size of /proc/PID/fd is that count (and 0 before), which spares the walk.
    let path = format!("/proc/{pid}/fd");
    match fs::metadata(&path).ok()?.len() {
        0 => Some(fs::read_dir(path).ok()?.count() as u64),
        count => Some(count),
    }
}

/// The name of the process (at most 15 bytes, as the kernel keeps it).
pub fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|text| text.trim_end().to_owned())
}

/// How many threads the process has.
pub fn threads(pid: u32) -> Option<u64> {
    status_number(pid, "Threads:")
}

/// The address space that the process has mapped, bytes.
pub fn address_space(pid: u32) -> Option<u64> {
    status_number(pid, "VmSize:").map(|kibibytes| kibibytes * 1024)
}

fn status_number(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// All process ids that /proc shows.
pub fn all() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             unlimited            95950                processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(limit_line(text, "Max open files"), Some(Limit { soft: Some(1024), hard: Some(524_288) }));
        assert_eq!(limit_line(text, "Max processes"), Some(Limit { soft: None, hard: Some(95_950) }));
        assert_eq!(limit_line(text, "Max nonsense"), None);
    }

    #[test]
    fn this_process_is_described() {
        let me = std::process::id();
        assert!(limits(me).is_some_and(|limits| limits.open_files.soft.is_none_or(|soft| soft > 3)));
        let before = open_descriptors(me).expect("own descriptors");
        assert!(before >= 3, "{before}");
        assert!(threads(me).is_some_and(|threads| threads >= 1));
        assert!(name(me).is_some());
        assert_eq!(limits(u32::MAX), None);
    }
}
