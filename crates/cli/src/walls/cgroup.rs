//! The control groups of a process: the folders that hold their limits.

use std::fs;

/// The folder of the process's group for a controller, then those above it, whose limits count as well. In version 2
/// all controllers share one tree; version 1 has a tree for each. Empty: no such process, or no such controller.
pub fn folders(pid: u32, controller: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    text.lines().flat_map(|line| of_line(line, controller)).collect()
}

/// `0::/user.slice/x` is version 2, `8:pids:/x` version 1.
fn of_line(line: &str, controller: &str) -> Vec<String> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { return Vec::new() };
    let root = match controllers {
        "" => "/sys/fs/cgroup".to_owned(),
        names if names.split(',').any(|name| name == controller) => format!("/sys/fs/cgroup/{names}"),
        _ => return Vec::new(),
    };
    let mut path = path.trim_end_matches('/');
    let mut folders = vec![format!("{root}{path}")];
    while let Some(cut) = path.rfind('/') {
        path = &path[..cut];
        folders.push(format!("{root}{path}"));
    }
    folders
}

/// A number in a file of a folder; "max", which is no limit, is none.
pub fn number(folder: &str, file: &str) -> Option<u64> {
    fs::read_to_string(format!("{folder}/{file}")).ok()?.trim().parse().ok()
}

/// A line `name value` of a file of a folder.
pub fn line(folder: &str, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{folder}/{file}")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_above_count_as_well() {
        assert_eq!(
            of_line("0::/a/b", "pids"),
            ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"].map(str::to_owned)
        );
        assert_eq!(of_line("8:pids:/", "pids"), ["/sys/fs/cgroup/pids"]);
        assert_eq!(of_line("4:cpu,cpuacct:/x", "cpu")[0], "/sys/fs/cgroup/cpu,cpuacct/x");
        assert!(of_line("8:pids:/", "memory").is_empty() && of_line("rubbish", "pids").is_empty());
        assert!(folders(u32::MAX, "pids").is_empty());
    }
}
