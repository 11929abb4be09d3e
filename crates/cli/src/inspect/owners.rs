//! Which processes hold a socket: every /proc/PID/fd is walked for links to `socket:[inode]`.
//!
//! (a) There is no other way to ask; it costs a readlink(2) for each descriptor of the machine. A row of snapshots
//!     therefore walks again only when [`SHARE`] times the last walk's time has passed.
//! (b) Another user's descriptors are closed to us, as are those of a process that is not dumpable, without
//!     CAP_SYS_PTRACE (proc(5), ptrace(2)): counted, so that an unknown holder is not taken for none.
//! (c) One socket may be held by many: dup(2), fork(2), SCM_RIGHTS. All are told.

use crate::walls::process;
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At most one part in so many of the time goes into walking.
const SHARE: u32 = 20;

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
    known: HashMap<u64, Vec<Owner>>,
    processes: usize,
    walked: Option<(Instant, Duration)>,
}

impl Owners {
    /// Looks for the holders of these inodes; [`Owners::of`] gives them.
    pub fn find(&mut self, wanted: &HashSet<u64>) -> Unread {
        let rested = |(at, took): (Instant, Duration)| at.elapsed() >= took * SHARE;
        if !wanted.is_empty() && self.walked.is_none_or(rested) {
            let start = Instant::now();
            (self.known, self.processes) = walk(wanted);
            self.walked = Some((start, start.elapsed()));
        }
        let sockets = wanted.iter().filter(|inode| !self.known.contains_key(inode)).count();
        Unread { sockets, processes: if sockets == 0 { 0 } else { self.processes } }
    }

    /// The holders of one, lowest process first.
    pub fn of(&self, inode: u64) -> Vec<Owner> {
        self.known.get(&inode).cloned().unwrap_or_default()
    }
}

/// Everybody who holds one of these, and how many processes could not be looked into. O(descriptors of the machine).
pub fn walk(wanted: &HashSet<u64>) -> (HashMap<u64, Vec<Owner>>, usize) {
    let mut known: HashMap<u64, Vec<Owner>> = HashMap::new();
    let mut closed = 0;
    let mut pids = process::all();
    pids.sort_unstable();
    for pid in pids {
        let mut name = None;
        let looked = sockets_of(pid, |fd, inode| {
            if wanted.contains(&inode) {
                let process = name.get_or_insert_with(|| Arc::from(process::name(pid).unwrap_or_default()));
                known.entry(inode).or_default().push(Owner { pid, fd, process: Arc::clone(process) });
            }
        });
        closed += usize::from(matches!(looked, Err(Errno::ACCESS | Errno::PERM)));
    }
    for owners in known.values_mut() {
        owners.sort_unstable_by_key(|owner| (owner.pid, owner.fd));
    }
    (known, closed)
}

/// Tells each socket that a process holds: its number and its inode.
pub fn sockets_of(pid: u32, mut tell: impl FnMut(i32, u64)) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    // One getdents(2) for some 1,300 descriptors.
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(folder.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let Some(fd) = entry.file_name().to_str().ok().and_then(|name| name.parse().ok()) else { continue };
        let mut link = [0u8; 64];
        // Closed since: not a reason to stop.
        let Ok(length) = readlinkat_raw(folder.as_fd(), entry.file_name(), &mut link[..]) else { continue };
        if let Some(inode) = link.get(..length).and_then(inode) {
            tell(fd, inode);
        }
    }
    Ok(())
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
        let wanted = HashSet::from([mine, u64::MAX]);
        let mut owners = Owners::default();
        assert_eq!(owners.find(&wanted).sockets, 1);
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
    fn links_of_other_kinds_are_none() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for other in
            [&b"pipe:[4711]"[..], b"/dev/null", b"anon_inode:[eventpoll]", b"socket:[]", b"socket:[1", b""]
        {
            assert_eq!(inode(other), None);
        }
    }
}
