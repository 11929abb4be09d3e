//! An epoll instance from its fdinfo: what it watches, how, and what it hands back with an event.

use super::fds::{Fd, Kind};
use super::process::Maps;
use std::collections::HashMap;
use std::fs;

/// linux/eventpoll.h.
pub const EXCLUSIVE: u32 = 1 << 28;
const ONESHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;
/// What is left of the events when a one-shot entry has fired and is not armed again (EP_PRIVATE_BITS).
const PRIVATE: u32 = EDGE | ONESHOT | EXCLUSIVE | 1 << 29;

/// How a descriptor is watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Trigger {
    /// Told as long as it is ready.
    Level,
    /// Told when something new comes.
    Edge,
    /// Told once, then armed again by hand.
    OneShot,
}

/// One watched descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number when it was added. A later descriptor may have the same.
    pub fd: i32,
    /// The event mask.
    pub events: u32,
    /// epoll_data.
    pub data: u64,
    /// The inode of the file, since Linux 4.13.
    pub inode: Option<u64>,
}

impl Entry {
    /// How it is watched. One-shot comes first: whether the next event is one of an edge matters little then.
    pub fn trigger(&self) -> Trigger {
        match self.events {
            events if events & ONESHOT != 0 => Trigger::OneShot,
            events if events & EDGE != 0 => Trigger::Edge,
            _ => Trigger::Level,
        }
    }

    /// Whether it is edge-triggered, one-shot or not.
    pub fn is_edge(&self) -> bool {
        self.events & EDGE != 0
    }

    /// Whether one of many waiters is woken.
    pub fn is_exclusive(&self) -> bool {
        self.events & EXCLUSIVE != 0
    }

    /// Whether it has fired once and waits to be armed again.
    pub fn is_spent(&self) -> bool {
        self.events & ONESHOT != 0 && self.events & !PRIVATE == 0
    }
}

/// What a program keeps in epoll_data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Data {
    /// The descriptor's number.
    Fd,
    /// An address of the process's own memory, plain or with some bits of its own.
    Pointer,
    /// A number of its own making: an index, a generation beside the descriptor.
    Token,
}

impl Data {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Data::Fd => "fd",
            Data::Pointer => "pointer",
            Data::Token => "token",
        }
    }
}

/// An epoll instance.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoll {
    /// Its descriptor.
    pub fd: i32,
    /// What it watches.
    pub entries: Vec<Entry>,
}

/// The epoll instances of a process.
pub fn read(pid: u32, fds: &[Fd]) -> Vec<Epoll> {
    let sockets: HashMap<i32, u64> = fds
        .iter()
        .filter_map(|fd| match fd.kind {
            Kind::Socket(inode) => Some((fd.number, inode)),
            _ => None,
        })
        .collect();
    let of = |fd: &Fd| {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.number)).ok()?;
        let mut epoll = Epoll { fd: fd.number, entries: parse(&text) };
        // A kernel that does not tell the inode leaves the number, which is right unless it was closed and used again.
        for entry in epoll.entries.iter_mut().filter(|entry| entry.inode.is_none()) {
            entry.inode = sockets.get(&entry.fd).copied();
        }
        Some(epoll)
    };
    fds.iter().filter(|fd| fd.kind == Kind::Epoll).filter_map(of).collect()
}

/// `tfd:       14 events: 80002019 data:     55ac73b27740  pos:0 ino:33cb05a sdev:9`.
fn parse(fdinfo: &str) -> Vec<Entry> {
    fdinfo.lines().filter(|line| line.starts_with("tfd:")).filter_map(line).collect()
}

fn line(line: &str) -> Option<Entry> {
    let mut words = line.split_ascii_whitespace();
    let (mut fd, mut events, mut data, mut inode) = (None, None, None, None);
    while let Some(word) = words.next() {
        match word {
            "tfd:" => fd = words.next()?.parse().ok(),
            "events:" => events = u32::from_str_radix(words.next()?, 16).ok(),
            "data:" => data = u64::from_str_radix(words.next()?, 16).ok(),
            word => {
                if let Some(hex) = word.strip_prefix("ino:") {
                    inode = u64::from_str_radix(hex, 16).ok();
                }
            }
        }
    }
    Some(Entry { fd: fd?, events: events?, data: data?, inode })
}

impl Epoll {
    /// What most of the entries carry. `None`: it watches nothing.
    pub fn data(&self, maps: &Maps) -> Option<Data> {
        let mut votes: HashMap<Data, usize> = HashMap::new();
        for entry in &self.entries {
            *votes.entry(data(entry, maps)).or_default() += 1;
        }
        votes.into_iter().max_by_key(|&(data, count)| (count, data)).map(|(data, _)| data)
    }
}

/// Sorts one epoll_data.
///
/// - The union's `fd` is 32 bits; the upper half is 0, or what lay on the stack when a program left it alone (CPython):
///   that looks like the upper half of an address.
/// - A pointer may carry marks in its lowest bits (nginx), or be shifted up with a count below it (Go).
pub fn data(entry: &Entry, maps: &Maps) -> Data {
    let (high, low) = (entry.data >> 32, entry.data as u32 as i32);
    if low == entry.fd && (high == 0 || maps.has_upper_half(high as u32)) {
        return Data::Fd;
    }
    let shifted = ((entry.data as i64) >> 16) as u64;
    if [entry.data, entry.data & !7, shifted & !7].iter().any(|&address| maps.contains(address)) {
        return Data::Pointer;
    }
    Data::Token
}

#[cfg(test)]
mod tests {
    use super::*;

    const FDINFO: &str = "pos:\t0\nflags:\t02\nmnt_id:\t17\nino:\t1038\n\
        tfd:        8 events:     2019 data:     55ac73b27650  pos:0 ino:33cae0e sdev:9\n\
        tfd:        4 events: 10000019 data:     55ac73b27560  pos:0 ino:33cae0a sdev:9\n\
        tfd:        6 events: 80002019 data:     55ac73b27741  pos:0 ino:33cb05a sdev:9\n\
        tfd:       17 events: 40000019 data:        100000011\n\
        tfd:       18 events: 40000000 data:               12\n";

    #[test]
    fn entries_are_read_as_the_kernel_writes_them() {
        let entries = parse(FDINFO);
        assert_eq!(entries.len(), 5);
        let triggers: Vec<Trigger> = entries.iter().map(Entry::trigger).collect();
        use Trigger::{Edge, Level, OneShot};
        assert_eq!(triggers, [Level, Level, Edge, OneShot, OneShot]);
        assert!(entries[1].is_exclusive() && !entries[0].is_exclusive());
        assert_eq!((entries[2].fd, entries[2].inode), (6, Some(0x33c_b05a)));
        assert_eq!((entries[3].data, entries[3].inode), (0x1_0000_0011, None));
        assert!(entries[4].is_spent() && !entries[3].is_spent());
        assert!(parse("pos:\t0\ntfd: x events: 1 data: 2\n").is_empty());
    }

    #[test]
    fn data_is_told_apart() {
        let maps = Maps::parse(
            "55ac73b00000-55ac73c00000 rw-p 00000000 00:00 0 [heap]\n7ffcc47d0000-7ffcc47f1000 rw-p 0 0 0 [stack]\n\
             c000000000-c000400000 rw-p 00000000 00:00 0\n",
        );
        let of = |fd, value| data(&Entry { fd, events: 1, data: value, inode: None }, &maps);
        assert_eq!(of(16, 0x10), Data::Fd);
        assert_eq!(of(5, 0x7ffc_0000_0005), Data::Fd, "the upper half was never written");
        assert_eq!(of(6, 0x55ac_73b2_7741), Data::Pointer, "nginx marks the lowest bit");
        assert_eq!(of(6, 0x00c0_0001_2340 << 16 | 0x17), Data::Pointer, "Go counts below it");
        assert_eq!(of(17, 0x1_0000_0011), Data::Token, "a generation above the number");
        assert_eq!(of(17, 3), Data::Token);
    }
}
