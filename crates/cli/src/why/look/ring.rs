//! An io_uring from its fdinfo: the requests that wait, the files it has registered.
//!
//! The kernel lists what waits for readiness ("PollList"), by the numbers of its operations: a ring that serves as a
//! poll has nothing but POLL_ADD there, one that is used for completions has ACCEPT, RECV and their like.

use super::fds::{Fd, Kind};
use std::collections::BTreeMap;
use std::fs;

/// An io_uring.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ring {
    /// Its descriptor.
    pub fd: i32,
    /// Requests that wait, by operation.
    pub waiting: BTreeMap<u32, u64>,
    /// The inodes of sockets in its file table.
    pub sockets: Vec<u64>,
    /// Places of the file table, and how many are taken.
    pub places: Option<(u64, u64)>,
    /// Completions that did not fit into the queue.
    pub overflown: u64,
    /// The kernel's own thread that takes requests (SQPOLL), if there is one.
    pub thread: Option<u32>,
}

/// linux/io_uring.h: IORING_OP_POLL_ADD.
const POLL_ADD: u32 = 6;

/// Operations on streams and descriptors, by the words of their man pages.
pub fn operation(number: u32) -> Option<&'static str> {
    Some(match number {
        1 => "readv",
        2 => "writev",
        POLL_ADD => "poll",
        9 => "sendmsg",
        10 => "recvmsg",
        11 => "timeout",
        13 => "accept",
        16 => "connect",
        22 => "read",
        23 => "write",
        26 => "send",
        27 => "recv",
        29 => "epoll_ctl",
        47 => "send_zc",
        48 => "sendmsg_zc",
        49 => "read_multishot",
        58 => "recv_zc",
        59 => "epoll_wait",
        _ => return None,
    })
}

impl Ring {
    /// Whether anything but readiness is waited for on a stream. `None`: nothing waits that would tell.
    pub fn is_completion(&self) -> Option<bool> {
        const STREAMS: [u32; 12] = [1, 2, 9, 10, 13, 22, 23, 26, 27, 47, 48, 49];
        if self.waiting.keys().any(|operation| STREAMS.contains(operation)) {
            return Some(true);
        }
        self.waiting.contains_key(&POLL_ADD).then_some(false)
    }
}

/// The rings of a process.
pub fn read(pid: u32, fds: &[Fd]) -> Vec<Ring> {
    fds.iter()
        .filter(|fd| fd.kind == Kind::Ring)
        .filter_map(|fd| {
            let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.number)).ok()?;
            Some(Ring { fd: fd.number, ..parse(&text) })
        })
        .collect()
}

fn parse(fdinfo: &str) -> Ring {
    let mut ring = Ring::default();
    let mut section = "";
    for line in fdinfo.lines() {
        if !line.starts_with(' ') {
            let (head, rest) = line.split_once(':').unwrap_or((line, ""));
            section = head;
            match head {
                "UserFiles" => {
                    ring.places = rest.trim().parse().ok().filter(|&all| all > 0).map(|all| (0, all))
                }
                "SqThread" => ring.thread = rest.trim().parse().ok(),
                _ => {}
            }
            continue;
        }
        match section {
            "UserFiles" => file(&mut ring, line),
            "PollList" => {
                let number = line
                    .trim_start()
                    .strip_prefix("op=")
                    .and_then(|rest| rest.split([',', ' ']).next()?.parse::<u32>().ok());
                if let Some(number) = number {
                    *ring.waiting.entry(number).or_default() += 1;
                }
            }
            "CqOverflowList" => ring.overflown += u64::from(line.contains("user_data")),
            _ => {}
        }
    }
    ring
}

/// `    0: socket:[4711]`; older kernels print the empty places too, as `<none>`.
fn file(ring: &mut Ring, line: &str) {
    let Some((_, file)) = line.trim().split_once(": ") else { return };
    if file.ends_with("<none>") {
        return;
    }
    if let Some((taken, _)) = &mut ring.places {
        *taken += 1;
    }
    let inode = file.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
    ring.sockets.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_and_what_is_registered_is_read() {
        let ring = parse(
            "SqMask:\t0x3ff\nSqThread:\t-1\nUserFiles:\t20000\n    0: socket:[54004522]\n    1: /dev/null\nUserBufs:\t0\n\
             PollList:\n  op=27, task_works=0\n  op=27, task_works=0\n  op=6, task_works=0\n  op=13, task_works=0\n\
             CqOverflowList:\n  user_data=7, res=1, flags=0\nNAPI:\tdisabled\n",
        );
        assert_eq!((ring.places, ring.sockets.as_slice()), (Some((2, 20_000)), &[54_004_522][..]));
        assert_eq!(ring.waiting, BTreeMap::from([(27, 2), (POLL_ADD, 1), (13, 1)]));
        assert_eq!((ring.is_completion(), ring.thread, ring.overflown), (Some(true), None, 1));
        let poll = parse("UserFiles:\t0\nPollList:\n  op=6, task_works=0\nCqOverflowList:\n");
        assert_eq!((poll.is_completion(), poll.places), (Some(false), None));
        assert_eq!(parse("pos:\t0\n").is_completion(), None);
    }
}
