//! The walls: what stops a server or a loader, named, with the evidence read on the running machine.
//!
//! Shared by `load` and `compare`. Everything here reads /proc and sock_diag of processes of the own user, needs
//! no privilege, changes nothing. A wall is named only where the evidence proves it: numbers that merely look
//! bad give `None`.

pub mod cgroup;
pub mod cpu;
pub mod facts;
pub mod files;
pub mod listen;
pub mod machine;
pub mod memory;
pub mod process;
pub mod ring;
mod sayings;
pub mod server;
pub mod tasks;

use crate::lang::Lang;
use facts::Facts;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stopped the run: one of the stable names below, what was read, and a line that can be copied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wall {
    /// One of the names of [`names`].
    pub name: String,
    /// What was read, with the numbers and whose they are.
    pub evidence: String,
    /// What moves the wall: a command line or a setting.
    pub fix: String,
    /// Which sentences those are; with `facts` they can be said in the other language.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub case: String,
    /// The numbers of the evidence, by name.
    #[serde(default, skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}

impl Wall {
    /// A wall with one of the stable names, in words that only it has.
    pub fn new(name: &str, evidence: impl Into<String>, fix: impl Into<String>) -> Self {
        Wall {
            name: name.to_owned(),
            evidence: evidence.into(),
            fix: fix.into(),
            case: String::new(),
            facts: Facts::default(),
        }
    }

    /// A wall with one of the stable names, told by a case of `sayings` from its facts, an object.
    pub fn told(name: &str, case: &str, facts: &Value) -> Self {
        let facts = Facts::of(facts);
        let said = sayings::say(Lang::En, case, &facts);
        debug_assert!(said.is_some(), "{case} needs more than {facts:?}");
        let (evidence, fix) = said.unwrap_or_else(|| (format!("{case}: {facts:?}"), String::new()));
        Wall { name: name.to_owned(), evidence, fix, case: case.to_owned(), facts }
    }
}

/// Evidence and fix of a case in a language. `None`: another version's case, or facts are missing.
pub fn say(lang: Lang, case: &str, facts: &Facts) -> Option<(String, String)> {
    sayings::say(lang, case, facts)
}

/// The stable names: JSON readers rely on them.
pub mod names {
    /// The server's RLIMIT_NOFILE is used up.
    pub const SERVER_DESCRIPTORS: &str = "server descriptor limit";
    /// The loader's own RLIMIT_NOFILE is used up.
    pub const LOADER_DESCRIPTORS: &str = "loader descriptor limit";
    /// select(2)'s fixed set of 1024 descriptors.
    pub const FD_SETSIZE: &str = "FD_SETSIZE";
    /// No local port left for (source address, destination).
    pub const PORTS: &str = "ephemeral ports";
    /// Connections wait in the listen queue and are not accepted, or are dropped in front of it.
    pub const ACCEPT_QUEUE: &str = "accept queue";
    /// fork(2) has no process left to give.
    pub const PROCESSES: &str = "processes";
    /// clone(2) has no thread left to give.
    pub const THREADS: &str = "threads";
    /// No memory left.
    pub const MEMORY: &str = "memory";
    /// The whole machine's open files are used up.
    pub const FILE_TABLE: &str = "open files of the machine";
    /// One thread of the server has a core for itself and uses all of it.
    pub const CORE: &str = "one core full";
    /// The server ended while it was loaded.
    pub const SERVER_ENDED: &str = "the server ended";
    /// The loader used all it has: the server was not measured.
    pub const LOADER: &str = "loader limited";
}

/// `12345` as `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_021), "1,021");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
