//! One process: who it is, what it has open, what it may have.

use super::{epoll, fds, ring};
use crate::walls;
use crate::walls::process::Limits;
use std::fs;
use std::io;

/// A process of the server.
#[derive(Debug, Default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its command line. A program may have written something else there.
    pub command: Vec<String>,
    /// Its user.
    pub uid: u32,
    /// How many threads it has.
    pub threads: u64,
    /// Memory of its own, bytes: resident, without what is shared with files.
    pub memory: u64,
    /// Its descriptors, by number. `None`: not ours to read.
    pub fds: Option<Vec<fds::Fd>>,
    /// How many there are, which everybody may read since Linux 6.2.
    pub descriptors: Option<u64>,
    /// What it may have.
    pub limits: Option<Limits>,
    /// Its epoll instances.
    pub epolls: Vec<epoll::Epoll>,
    /// Its rings.
    pub rings: Vec<ring::Ring>,
    /// Its address space. `None`: not ours to read.
    pub maps: Option<Maps>,
    /// It ended while it was read.
    pub ended: bool,
}

impl Process {
    /// Reads it; `deep`: with what its epoll instances and rings hold. `None`: there is no such process.
    pub fn read(pid: u32, deep: bool) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let word =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next();
        let number = |key: &str| word(key).and_then(|text| text.parse::<u64>().ok());
        if word("State:").is_some_and(|state| state == "Z" || state == "X") {
            return None;
        }
        let mut process = Process {
            pid,
            parent: number("PPid:").unwrap_or(0) as u32,
            name: walls::process::name(pid).unwrap_or_default(),
            command: command(pid),
            uid: number("Uid:").unwrap_or(0) as u32,
            threads: number("Threads:").unwrap_or(1),
            memory: (number("RssAnon:").unwrap_or(0) + number("RssShmem:").unwrap_or(0)) * 1024,
            limits: walls::process::limits(pid),
            descriptors: walls::process::open_descriptors(pid),
            ..Process::default()
        };
        process.look_inside(deep);
        Some(process)
    }

    /// What only its own user may see.
    fn look_inside(&mut self, deep: bool) {
        match fds::read(self.pid) {
            Ok(fds) => {
                if deep {
                    self.epolls = epoll::read(self.pid, &fds);
                    self.rings = ring::read(self.pid, &fds);
                }
                self.descriptors = Some(fds.len() as u64);
                self.fds = Some(fds);
                self.maps = fs::read_to_string(format!("/proc/{}/maps", self.pid))
                    .ok()
                    .map(|text| Maps::parse(&text));
            }
            Err(error) if is_gone(&error) => self.ended = true,
            Err(_) => {}
        }
        // A process that ends gives up its descriptors before its number: an empty table is its last breath.
        let empty = self.fds.as_ref().is_some_and(Vec::is_empty);
        self.ended |= empty && !is_alive(self.pid);
    }

    /// Name and number: `nginx 4711`.
    pub fn title(&self) -> String {
        format!("{} {}", printable(&self.name), self.pid)
    }

    /// The limit on descriptors that counts now. `None`: unlimited or not readable.
    pub fn descriptor_limit(&self) -> Option<u64> {
        self.limits?.open_files.soft
    }

    /// How many numbers below `limit` no descriptor has. Descriptors with higher numbers, from before a limit was
    /// lowered, take none of them.
    pub fn free_below(&self, limit: u64) -> Option<u64> {
        let used = match &self.fds {
            Some(fds) => fds.iter().filter(|fd| (fd.number as u64) < limit).count() as u64,
            None => self.descriptors?,
        };
        Some(limit.saturating_sub(used))
    }

    /// The inode of a socket by its descriptor.
    pub fn socket(&self, number: i32) -> Option<u64> {
        let fds = self.fds.as_ref()?;
        let at = fds.binary_search_by_key(&number, |fd| fd.number).ok()?;
        match fds[at].kind {
            fds::Kind::Socket(inode) => Some(inode),
            _ => None,
        }
    }

    /// Every socket it holds, by descriptor and through the file tables of its rings.
    pub fn sockets(&self) -> impl Iterator<Item = u64> {
        let by_number = self.fds.iter().flatten().filter_map(|fd| match fd.kind {
            fds::Kind::Socket(inode) => Some(inode),
            _ => None,
        });
        by_number.chain(self.rings.iter().flat_map(|ring| ring.sockets.iter().copied()))
    }
}

/// No process of that number any more (ESRCH is what an open file of a dead process says).
pub fn is_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: u32) -> bool {
    state(&format!("/proc/{pid}/stat")).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The state letter in a stat file. The name before it may hold anything, spaces and brackets too.
pub fn state(path: &str) -> Option<char> {
    fs::read_to_string(path).ok()?.rsplit_once(") ")?.1.chars().next()
}

fn command(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.trim_end_matches('\0').split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A name as it may go to a terminal: it is a stranger's.
pub fn printable(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// The mapped parts of an address space.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Maps {
    /// First and one past the last address, in order.
    ranges: Vec<(u64, u64)>,
}

impl Maps {
    /// /proc/PID/maps.
    pub fn parse(text: &str) -> Self {
        let range = |line: &str| -> Option<(u64, u64)> {
            let (from, to) = line.split_whitespace().next()?.split_once('-')?;
            Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
        };
        let mut ranges: Vec<_> = text.lines().filter_map(range).collect();
        ranges.sort_unstable();
        Maps { ranges }
    }

    /// How many there are: what vm.max_map_count counts.
    pub fn len(&self) -> u64 {
        self.ranges.len() as u64
    }

    /// Whether the address is mapped.
    pub fn contains(&self, address: u64) -> bool {
        let at = self.ranges.partition_point(|&(from, _)| from <= address);
        at > 0 && address < self.ranges[at - 1].1
    }

    /// Whether some mapped address has these upper 32 bits.
    pub fn has_upper_half(&self, high: u32) -> bool {
        high != 0
            && self
                .ranges
                .iter()
                .any(|&(from, to)| (from >> 32) as u32 <= high && high <= ((to - 1) >> 32) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_space_knows_its_addresses() {
        let maps = Maps::parse("7f0000000000-7f0000001000 r-xp 0 0 0 /x\n1000-2000 rw-p 0 0 0\nrubbish\n");
        assert_eq!(maps.len(), 2);
        for (address, yes) in
            [(0xfff, false), (0x1000, true), (0x1fff, true), (0x2000, false), (0x7f00_0000_0fff, true)]
        {
            assert_eq!(maps.contains(address), yes, "{address:x}");
        }
        assert!(maps.has_upper_half(0x7f00) && !maps.has_upper_half(0x7f01) && !maps.has_upper_half(0));
    }

    #[test]
    fn this_process_is_read_whole() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let number = std::os::fd::AsRawFd::as_raw_fd(&listener);
        let me = Process::read(std::process::id(), true).expect("we live");
        assert!(me.threads >= 1 && me.memory > 0 && !me.command.is_empty() && !me.ended);
        let inode = me.socket(number).expect("the listener");
        assert!(me.sockets().any(|socket| socket == inode));
        let (limit, used) = (me.descriptor_limit().unwrap_or(1 << 20), me.descriptors.expect("counted"));
        assert_eq!(me.free_below(limit), Some(limit - used));
        assert_eq!(me.free_below(0), Some(0));
        assert!(Process::read(u32::MAX, true).is_none());
        assert!(is_alive(me.pid) && !is_alive(u32::MAX));
    }

    #[test]
    fn names_are_strangers_words() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
