//! What the kernel counts for everybody: sockets in use, handshakes dropped, CPU time refused. All with the names under
//! which the kernel tells them.

use std::collections::HashMap;
use std::fs;

/// The counters at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    values: HashMap<String, u64>,
}

impl Counters {
    /// /proc/net/netstat, snmp and sockstat, of this network namespace.
    pub fn read() -> Self {
        let read =
            |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
        let mut counters = Counters::default();
        counters.take_tables(&read("netstat"));
        counters.take_tables(&read("snmp"));
        counters.take_words(&read("sockstat"));
        counters
    }

    /// Two lines each: names, values, behind the same word.
    fn take_tables(&mut self, text: &str) {
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            let group = names.split(':').next().unwrap_or("");
            for (name, value) in names.split_whitespace().zip(values.split_whitespace()).skip(1) {
                if let Ok(value) = value.parse() {
                    self.values.insert(format!("{group}.{name}"), value);
                }
            }
        }
    }

    /// `TCP: inuse 1 orphan 0 tw 2 alloc 1 mem 205`.
    fn take_words(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let group = words.next().unwrap_or("").trim_end_matches(':');
            while let (Some(name), Some(value)) = (words.next(), words.next()) {
                if let Ok(value) = value.parse() {
                    self.values.insert(format!("{group}.{name}"), value);
                }
            }
        }
    }

    /// One, as `TcpExt.ListenOverflows` or `TCP.tw`.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.values.get(name).copied()
    }
}

/// What was added to a counter.
pub fn added((before, after): &(Counters, Counters), name: &str) -> u64 {
    after.get(name).unwrap_or(0).saturating_sub(before.get(name).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_words_are_read_by_their_names() {
        let mut counters = Counters::default();
        counters.take_tables("TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 1 22\nIpExt: A\nIpExt: 9\n");
        counters.take_words("sockets: used 16\nTCP: inuse 1 orphan 0 tw 2 alloc 1 mem 205\n");
        assert_eq!(counters.get("TcpExt.ListenOverflows"), Some(22));
        assert_eq!((counters.get("TCP.tw"), counters.get("TCP.mem")), (Some(2), Some(205)));
        assert_eq!(counters.get("TcpExt.Nothing"), None);
        let mut later = counters.clone();
        later.take_tables("TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 1 25\n");
        assert_eq!(added(&(counters, later), "TcpExt.ListenOverflows"), 3);
    }

    #[test]
    fn this_machine_counts() {
        let counters = Counters::read();
        assert!(counters.get("TcpExt.ListenDrops").is_some() && counters.get("TCP.mem").is_some());
    }
}
