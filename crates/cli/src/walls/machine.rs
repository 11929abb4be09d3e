//! What the whole machine has left: memory, ports, and the kernel's counters of dropped connections.

use std::fs;
use std::ops::RangeInclusive;

/// (MemAvailable, MemTotal) in bytes.
pub fn memory() -> Option<(u64, u64)> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let read = |key: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
    };
    Some((read("MemAvailable:")? * 1024, read("MemTotal:")? * 1024))
}

/// Sockets of every kind in this network namespace: "sockets: used" of /proc/net/sockstat.
pub fn sockets() -> Option<u64> {
    let text = fs::read_to_string("/proc/net/sockstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("sockets: used "))?.trim().parse().ok()
}

/// The ports that connect(2) takes by itself: net.ipv4.ip_local_port_range.
pub fn local_ports() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut fields = text.split_whitespace().map(str::parse::<u16>);
    Some(fields.next()?.ok()?..=fields.next()?.ok()?)
}

/// The kernel's counters of connections that the listen queue refused, since boot, of this network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ListenCounters {
    /// TcpExt ListenOverflows: the accept queue was full when a handshake wanted to end.
    pub overflows: u64,
    /// TcpExt ListenDrops: connection attempts dropped for any reason, overflows among them.
    pub drops: u64,
}

impl ListenCounters {
    /// Reads /proc/net/netstat.
    pub fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/net/netstat").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
        let (names, values) = (lines.next()?, lines.next()?);
        let value = |wanted: &str| -> Option<u64> {
            let at = names.split_whitespace().position(|name| name == wanted)?;
            values.split_whitespace().nth(at)?.parse().ok()
        };
        Some(ListenCounters { overflows: value("ListenOverflows")?, drops: value("ListenDrops")? })
    }

    /// What was added since `before`.
    pub fn since(self, before: Self) -> Self {
        ListenCounters {
            overflows: self.overflows.saturating_sub(before.overflows),
            drops: self.drops.saturating_sub(before.drops),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstat_columns_are_found_by_name() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 9\n";
        assert_eq!(ListenCounters::parse(text), Some(ListenCounters { overflows: 22, drops: 333 }));
        assert_eq!(ListenCounters::parse("TcpExt: A\n"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let (available, total) = memory().expect("memory");
        assert!(available <= total);
        let _socket = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        assert!(sockets().is_some_and(|sockets| sockets > 0));
        let ports = local_ports().expect("ports");
        assert!(ports.start() < ports.end());
        assert!(ListenCounters::read().is_some());
    }
}
