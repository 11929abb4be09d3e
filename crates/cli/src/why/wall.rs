//! The walls as this verb tells them: stable names for JSON, short names for people, ways past them.

use super::words::said;
use crate::lab::said::Said;
use crate::lang::Lang;
use crate::walls::names;

/// Names that only this verb tells of; the others are [`names`].
pub mod more {
    /// RLIMIT_NOFILE's companion for sockets that a ring accepts into its own table.
    pub const RING_TABLE: &str = "io_uring file table";
    /// fs.file-max.
    pub const SYSTEM_FILES: &str = "open files of the machine";
    /// vm.max_map_count.
    pub const MAPS: &str = "memory maps";
    /// A limit of the server's own configuration.
    pub const OWN_LIMIT: &str = "the server's own limit";
    /// More connections than blocking processes.
    pub const POOL: &str = "more connections than processes";
    /// One connection after the other.
    pub const ONE_AT_A_TIME: &str = "one connection at a time";
    /// fs.epoll.max_user_watches.
    pub const EPOLL_WATCHES: &str = "epoll watches";
    /// Half-open connections.
    pub const SYN_QUEUE: &str = "SYN queue";
    /// tcp_max_tw_buckets.
    pub const TIME_WAIT: &str = "TIME-WAIT";
    /// tcp_max_orphans.
    pub const ORPHANS: &str = "orphaned connections";
    /// nf_conntrack_max.
    pub const CONNTRACK: &str = "connection tracking";
    /// tcp_mem.
    pub const TCP_MEMORY: &str = "TCP memory";
    /// The control group's share of the processors.
    pub const CPU_QUOTA: &str = "CPU quota";
    /// The ports of one client address.
    pub const CLIENT_PORTS: &str = "a client's ports";
}

const SHORT: [(&str, &str, &str); 22] = [
    (names::SERVER_DESCRIPTORS, "descriptors", "描述符"),
    (names::FD_SETSIZE, "FD_SETSIZE (select)", "FD_SETSIZE（select）"),
    (names::PORTS, "local ports", "本地端口"),
    (names::ACCEPT_QUEUE, "accept queue", "接受队列"),
    (names::PROCESSES, "processes", "进程数"),
    (names::THREADS, "threads", "线程数"),
    (names::MEMORY, "memory", "内存"),
    (names::CORE, "one core", "一个核心"),
    (more::RING_TABLE, "io_uring file table", "io_uring 文件表"),
    (more::SYSTEM_FILES, "open files, machine", "整机打开文件数"),
    (more::MAPS, "memory maps", "内存映射数"),
    (more::OWN_LIMIT, "its own limit", "服务器自己的上限"),
    (more::POOL, "process pool", "进程池"),
    (more::ONE_AT_A_TIME, "one at a time", "一次一个连接"),
    (more::EPOLL_WATCHES, "epoll watches", "epoll 监视数"),
    (more::SYN_QUEUE, "SYN queue", "SYN 队列"),
    (more::TIME_WAIT, "TIME-WAIT", "TIME-WAIT"),
    (more::ORPHANS, "orphans", "孤儿连接"),
    (more::CONNTRACK, "conntrack", "连接跟踪"),
    (more::TCP_MEMORY, "TCP memory", "TCP 内存"),
    (more::CPU_QUOTA, "CPU quota", "CPU 配额"),
    (more::CLIENT_PORTS, "a client's ports", "单个客户端的端口"),
];

/// A wall's short name for people.
pub fn short(lang: Lang, wall: &str) -> &str {
    SHORT.iter().find(|(name, ..)| *name == wall).map_or(wall, |(_, en, zh)| lang.pick(en, zh))
}

/// What numbers count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Things.
    Count,
    /// Parts of a hundred.
    Percent,
    /// Bytes.
    Bytes,
}

/// When a way past a wall works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// At once, for the running server.
    Now,
    /// From the next start on.
    ForGood,
    /// A way around the wall.
    Instead,
}

impl When {
    /// For people.
    pub fn said(self, lang: Lang) -> &'static str {
        match self {
            When::Now => lang.pick("now", "立即"),
            When::ForGood => lang.pick("for good", "长期"),
            When::Instead => lang.pick("instead", "换种做法"),
        }
    }
}

/// A line that helps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fix {
    /// When.
    pub when: When,
    /// What to type or to write.
    pub line: Said,
}

impl Fix {
    /// For the running server.
    pub fn now(line: impl Into<Said>) -> Self {
        Fix { when: When::Now, line: line.into() }
    }

    /// From the next start on.
    pub fn for_good(line: impl Into<Said>) -> Self {
        Fix { when: When::ForGood, line: line.into() }
    }

    /// A way around the wall.
    pub fn instead(line: impl Into<Said>) -> Self {
        Fix { when: When::Instead, line: line.into() }
    }

    /// Whether it is a line for a shell, which must not be broken.
    pub fn is_command(&self) -> bool {
        let line = self.line.pick(Lang::En);
        ["sudo ", "prlimit ", "echo "].iter().any(|start| line.starts_with(start))
    }
}

/// What stands before a line that helps: when it works, or that it does as well as the one before.
pub fn head(fixes: &[Fix], at: usize, lang: Lang) -> &'static str {
    let when = fixes[at].when;
    let again = at > 0 && fixes[at - 1].when == when;
    if again { lang.pick("or", "或") } else { when.said(lang) }
}

/// A setting of the kernel: at once, and over the next boot.
pub fn sysctl(name: &str, value: u64) -> Vec<Fix> {
    vec![
        Fix::now(Said::same(format!("sudo sysctl -w {name}={value}"))),
        Fix::for_good(said!(
            "{name} = {value} in /etc/sysctl.d/90-server.conf",
            "在 /etc/sysctl.d/90-server.conf 中写 {name} = {value}"
        )),
    ]
}

/// Where something was read: a path is the same in every language.
#[derive(Clone, Debug)]
pub struct Source(pub Said);

impl From<String> for Source {
    fn from(path: String) -> Self {
        Source(Said::same(path))
    }
}

impl From<&str> for Source {
    fn from(path: &str) -> Self {
        Source(Said::same(path))
    }
}

impl From<Said> for Source {
    fn from(words: Said) -> Self {
        Source(words)
    }
}

/// How far one wall is.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its stable name.
    pub wall: &'static str,
    /// Whose it is, where there are several: a process, an address.
    pub of: Option<String>,
    /// What is used.
    pub used: u64,
    /// What there may be.
    pub limit: u64,
    /// What these count.
    pub unit: Unit,
    /// Where it was read.
    pub source: Said,
    /// At how many connections of this server it is reached.
    pub at: Option<u64>,
    /// That number is an estimate.
    pub about: bool,
    /// What the number rests on.
    pub evidence: Said,
    /// Ways past it.
    pub fixes: Vec<Fix>,
}

impl Bar {
    /// Without a number of connections.
    pub fn new(wall: &'static str, used: u64, limit: u64, source: impl Into<Source>, evidence: Said) -> Self {
        Bar {
            wall,
            of: None,
            used,
            limit,
            unit: Unit::Count,
            source: source.into().0,
            at: None,
            about: false,
            evidence,
            fixes: Vec::new(),
        }
    }

    /// Whose it is.
    pub fn of(self, whose: impl Into<String>) -> Self {
        Bar { of: Some(whose.into()), ..self }
    }

    /// The number of connections at which it is reached.
    pub fn at(self, at: u64) -> Self {
        Bar { at: Some(at), ..self }
    }

    /// The same, as an estimate.
    pub fn about(self, at: Option<u64>) -> Self {
        Bar { at, about: true, ..self }
    }

    /// What the numbers count.
    pub fn unit(self, unit: Unit) -> Self {
        Bar { unit, ..self }
    }

    /// What helps.
    pub fn fixed_by(self, fixes: Vec<Fix>) -> Self {
        Bar { fixes, ..self }
    }

    /// Which part is used, 0 to 1.
    pub fn part(&self) -> f64 {
        if self.limit == 0 { 1.0 } else { (self.used as f64 / self.limit as f64).min(1.0) }
    }
}

/// The wall that connections reach first. Of two at the same number the one that is surely there, then the first.
pub fn next(bars: &[Bar]) -> Option<&Bar> {
    bars.iter().filter(|bar| bar.at.is_some()).min_by_key(|bar| (bar.at, bar.about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wall_has_a_short_name_in_both_languages() {
        let sources = [include_str!("wall.rs"), include_str!("headroom.rs"), include_str!("machine.rs")];
        let used = sources
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.trim().strip_prefix("pub const "));
        for name in used.filter_map(|line| line.split('"').nth(1)) {
            assert!(SHORT.iter().any(|(known, ..)| *known == name), "{name}");
        }
        assert_eq!(short(Lang::Zh, names::SERVER_DESCRIPTORS), "描述符");
        assert_eq!(short(Lang::En, "<new>"), "<new>");
    }

    #[test]
    fn the_next_wall_is_the_nearest_in_connections() {
        let bar =
            |wall, at: Option<u64>, about| Bar { at, about, ..Bar::new(wall, 0, 10, "", Said::same("")) };
        let bars = [
            bar("far in part, near in connections", Some(16), false),
            bar("an estimate", Some(12), true),
            bar("no connections", None, false),
            bar("sure", Some(12), false),
        ];
        assert_eq!(next(&bars).expect("some").wall, "sure");
        assert!(next(&bars[2..3]).is_none());
        assert_eq!(Bar::new("", 5, 0, "", Said::same("")).part(), 1.0);
    }
}
