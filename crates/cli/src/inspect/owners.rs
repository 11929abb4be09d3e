//! Which processes hold a socket: every /proc/PID/fd is looked through for links to `socket:[inode]`.
//!
//! (a) There is no other way to ask; it costs a readlink(2) for each descriptor of the machine. A row of snapshots
//!     therefore walks again only after a rest of [`REST`] times what the last walk took; where every holder is known,
//!     and it could only be another one or none by now, after [`LONG_REST`].
//! (b) Another user's descriptors are closed to us, as are those of a process that is not dumpable, without
//!     CAP_SYS_PTRACE (proc(5), ptrace(2)): counted, so that an unknown holder is not taken for none.
//! (c) One socket may be held by many: dup(2), fork(2), SCM_RIGHTS. All are told.
//! (d) Listing descriptors costs half as much again as reading their links. Their numbers are dense, because the
//!     lowest free one is always given (open(2)): after a first part of the list the next numbers are tried without it,
//!     and it is taken up again where that ends. Entry n of the list is at the offset n + 2.

use crate::walls::process;
use rustix::fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, readlinkat_raw, seek};
use rustix::io::Errno;
use rustix::path::{Arg, DecInt};
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At most one part in so many of the time goes into looking for holders.
const REST: u32 = 20;
/// And into making sure that nothing has changed.
const LONG_REST: u32 = 200;

/// A descriptor of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The process.
    pub pid: u32,
    /// Its number for the socket.
    pub fd: i32,
    /// The name of the process: at most 15 bytes, as the kernel keeps it.
    pub process: Arc<str>,
}

/// What kept owners from being found; see (b).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Unread {
    /// Sockets that some process holds, but none that we may look into.
    pub sockets: usize,
    /// Processes whose descriptors may not be read.
    pub processes: usize,
}

impl Unread {
    /// What opens them.
    pub const UNLOCK: &str =
        "run as the user who owns them, or as root (CAP_SYS_PTRACE), in the PID namespace of the processes";
}

/// Finds owners, and remembers them.
#[derive(Debug, Default)]
pub struct Owners {
    /// By inode, process, descriptor.
    known: Vec<(u64, Owner)>,
    /// Where in `known` each inode begins.
    places: foldhash::HashMap<u64, usize>,
    processes: usize,
    walked: Option<(Instant, Duration)>,
}

impl Owners {
    /// Looks for the holders of these inodes; [`Owners::of`] gives them.
    pub fn find(&mut self, wanted: &foldhash::HashSet<u64>) -> Unread {
        let missing = wanted.iter().any(|inode| !self.places.contains_key(inode));
        let rest = if missing { REST } else { LONG_REST };
        let rested = |(at, took): (Instant, Duration)| at.elapsed() >= took * rest;
        if missing && self.walked.is_none_or(rested) || self.walked.is_some_and(rested) {
            let start = Instant::now();
            (self.known, self.processes) = holders(|inode| wanted.contains(&inode));
            // The first of each is inserted last.
            self.places = self.known.iter().enumerate().rev().map(|(at, (inode, _))| (*inode, at)).collect();
            self.walked = Some((start, start.elapsed()));
        }
        let sockets = wanted.iter().filter(|inode| !self.places.contains_key(inode)).count();
        Unread { sockets, processes: if sockets == 0 { 0 } else { self.processes } }
    }

    /// The holders of one, lowest process first.
    pub fn of(&self, inode: u64) -> Vec<Owner> {
        let Some(first) = self.places.get(&inode) else { return Vec::new() };
        let all = self.known[*first..].iter().take_while(|(held, _)| *held == inode);
        all.map(|(_, owner)| owner.clone()).collect()
    }
}

/// Everybody who holds one of these, and how many processes could not be looked into. O(descriptors of the machine).
pub fn walk(wanted: &HashSet<u64>) -> (HashMap<u64, Vec<Owner>>, usize) {
    let (held, closed) = holders(|inode| wanted.contains(&inode));
    let mut known: HashMap<u64, Vec<Owner>> = HashMap::new();
    for (inode, owner) in held {
        known.entry(inode).or_default().push(owner);
    }
    (known, closed)
}

/// The same as a list in order of inode, process and descriptor.
fn holders(is_wanted: impl Fn(u64) -> bool) -> (Vec<(u64, Owner)>, usize) {
    let mut held = Vec::new();
    let mut closed = 0;
    for pid in process::all() {
        let mut name = None;
        let looked = sockets_of(pid, |fd, inode| {
            if is_wanted(inode) {
                let process = name.get_or_insert_with(|| Arc::from(process::name(pid).unwrap_or_default()));
                held.push((inode, Owner { pid, fd, process: Arc::clone(process) }));
            }
        });
        closed += usize::from(matches!(looked, Err(Errno::ACCESS | Errno::PERM)));
    }
    held.sort_unstable_by_key(|(inode, owner)| (*inode, owner.pid, owner.fd));
    (held, closed)
}

/// Tells each socket that a process holds: its number and its inode.
///
/// # Errors
/// ACCESS: not ours to look into. NOENT: no such process.
pub fn sockets_of(pid: u32, mut tell: impl FnMut(i32, u64)) -> Result<(), Errno> {
    /// Some 40 entries: as many as most processes have.
    const PART: usize = 1024;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); PART];
    let mut next = 0;
    loop {
        let mut entries = RawDir::new(&folder, &mut buffer);
        let first = next;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            // Never back: a system where (d) does not hold must not keep us here.
            if let Some(fd) = number.filter(|fd| *fd >= next) {
                next = fd + 1;
                if let Some(inode) = socket_inode(&folder, entry.file_name()).ok().flatten() {
                    tell(fd, inode);
                }
            }
            if entries.is_buffer_empty() && next > first {
                break;
            }
        }
        if next == first {
            return Ok(());
        }
        next = without_list(&folder, next, &mut tell);
        seek(&folder, SeekFrom::Start(next as u64 + 2))?;
    }
}

/// Tries the numbers from `next` on until some in a row are free, and gives the first of those; see (d).
fn without_list(folder: &OwnedFd, mut next: i32, tell: &mut impl FnMut(i32, u64)) -> i32 {
    const FREE_IN_A_ROW: i32 = 2;
    let mut free = 0;
    while free < FREE_IN_A_ROW {
        match socket_inode(folder, DecInt::new(next + free)) {
            Err(_) => free += 1,
            Ok(inode) => {
                next += free;
                if let Some(inode) = inode {
                    tell(next, inode);
                }
                next += 1;
                free = 0;
            }
        }
    }
    next
}

/// The inode, if the descriptor is a socket. An error: it is not there (any more).
fn socket_inode(folder: &OwnedFd, name: impl Arg) -> Result<Option<u64>, Errno> {
    let mut link = [0u8; 64];
    let length = readlinkat_raw(folder, name, &mut link[..])?;
    Ok(link.get(..length).and_then(inode))
}

/// `socket:[12345]`.
fn inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::os::fd::AsRawFd;

    #[test]
    fn every_descriptor_of_a_socket_is_told() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let copy = socket.try_clone().expect("a duplicate");
        let me = std::process::id();
        let mut mine = None;
        sockets_of(me, |fd, inode| {
            if fd == socket.as_raw_fd() {
                mine = Some(inode);
            }
        })
        .expect("our own");
        let mine = mine.expect("it is a socket");
        let mut owners = Owners::default();
        assert_eq!(owners.find(&[mine, u64::MAX].into_iter().collect()).sockets, 1);
        assert_eq!(walk(&HashSet::from([mine, u64::MAX])).0[&mine], owners.of(mine));
        let held = owners.of(mine);
        let fds: Vec<i32> = held.iter().map(|owner| owner.fd).collect();
        let mut expected = vec![socket.as_raw_fd(), copy.as_raw_fd()];
        expected.sort_unstable();
        assert_eq!(fds, expected);
        assert!(held.iter().all(|owner| owner.pid == me && !owner.process.is_empty()));
        assert!(owners.of(0).is_empty());
        assert_eq!(sockets_of(u32::MAX, |_, _| ()), Err(Errno::NOENT));
    }

    #[test]
    fn no_descriptor_is_missed_and_none_told_twice_whatever_the_gaps() {
        // More than fit into the first part of the list, with gaps of all sizes; and one far away.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let copies: Vec<UdpSocket> = (0..300).map(|_| socket.try_clone().expect("dup")).collect();
        let far = rustix::io::fcntl_dupfd_cloexec(&socket, 900).expect("RLIMIT_NOFILE above 900");
        let gaps = [1, 5, 45, 46, 47, 100, 101, 102, 103, 104, 150, 250, 298, 299];
        let mut kept: Vec<Option<UdpSocket>> = copies.into_iter().map(Some).collect();
        gaps.iter().for_each(|at| kept[*at] = None);
        let kept: Vec<UdpSocket> = kept.into_iter().flatten().collect();
        let mut expected: Vec<i32> = kept.iter().map(|copy| copy.as_raw_fd()).collect();
        expected.extend([socket.as_raw_fd(), far.as_raw_fd()]);
        expected.sort_unstable();
        let inode_of = |wanted: i32| {
            let mut found = None;
            sockets_of(std::process::id(), |fd, inode| found = found.or((fd == wanted).then_some(inode)))
                .expect("ours");
            found
        };
        let inode = inode_of(socket.as_raw_fd()).expect("a socket");
        let mut told = Vec::new();
        sockets_of(std::process::id(), |fd, found| told.extend((found == inode).then_some(fd)))
            .expect("ours");
        assert_eq!(told, expected);
    }

    #[test]
    fn links_of_other_kinds_are_none() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for other in
            [&b"pipe:[4711]"[..], b"/dev/null", b"anon_inode:[eventpoll]", b"socket:[]", b"socket:[1", b""]
        {
            assert_eq!(inode(other), None);
        }
    }
}
