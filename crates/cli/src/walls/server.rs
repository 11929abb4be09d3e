//! Why a server on this machine does not take more connections.

use super::{Wall, grouped, listen, machine, names, process, ring};
use std::net::SocketAddr;

/// So close to its limit a process counts as out of descriptors: servers keep a few spare (a reserve to say
/// "no" with, the next log file).
const SPARE_DESCRIPTORS: u64 = 8;
/// So few tasks left count as none.
const SPARE_TASKS: u64 = 8;

/// What was read about a server at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// The address that was asked for.
    pub target: SocketAddr,
    /// Its listening sockets.
    pub queues: Vec<listen::Queue>,
    /// The processes that hold them, the parent first. Empty: another user's, and we are not root.
    pub pids: Vec<u32>,
}

impl Server {
    /// Looks for the server on this machine. `None`: nobody listens there (or not on this machine).
    pub fn find(target: SocketAddr) -> Option<Self> {
        let queues = listen::queues(target);
        (!queues.is_empty()).then(|| Server { target, pids: listen::owners(&queues), queues })
    }

    /// Connections that wait for accept(2), over all its sockets.
    pub fn waiting(&self) -> u64 {
        self.queues.iter().map(|queue| u64::from(queue.waiting)).sum()
    }

    /// Whether it is proven that a process of the server has no descriptor left: call it while connections wait.
    pub fn descriptor_wall(&self) -> Option<Wall> {
        if self.waiting() == 0 {
            return None; // it still accepts
        }
        self.open_files_wall().or_else(|| self.ring_wall())
    }

    fn open_files_wall(&self) -> Option<Wall> {
        let (pid, used, limit) = self.pids.iter().find_map(|&pid| {
            let limit = process::limits(pid)?.open_files.soft?;
            let used = process::open_descriptors(pid)?;
            (used + SPARE_DESCRIPTORS >= limit).then_some((pid, used, limit))
        })?;
        let waiting = self.waiting();
        let name = process::name(pid).unwrap_or_default();
        Some(Wall::new(
            names::SERVER_DESCRIPTORS,
            format!(
                "the server, process {pid} ({name}), has {} of {} descriptors open (RLIMIT_NOFILE) and {} \
                 connections wait in its listen queue",
                grouped(used),
                grouped(limit),
                grouped(waiting)
            ),
            format!(
                "start the server after: ulimit -n 65536   (running: prlimit --pid {pid} --nofile=65536)"
            ),
        ))
    }

    /// A ring that accepts into its own file table runs out of places there, not in /proc/PID/fd.
    fn ring_wall(&self) -> Option<Wall> {
        let (pid, table) = self.pids.iter().find_map(|&pid| {
            let table = ring::file_table(pid)?;
            (table.used + SPARE_DESCRIPTORS >= table.places).then_some((pid, table))
        })?;
        let name = process::name(pid).unwrap_or_default();
        let limit = process::limits(pid).and_then(|limits| limits.open_files.soft);
        let limit = limit.map_or(String::new(), |limit| format!(" (RLIMIT_NOFILE is {})", grouped(limit)));
        Some(Wall::new(
            names::SERVER_DESCRIPTORS,
            format!(
                "the server, process {pid} ({name}), has {} of {} places of its ring's file table taken{limit} and {} \
                 connections wait in its listen queue",
                grouped(table.used),
                grouped(table.places),
                grouped(self.waiting())
            ),
            "start the server after: ulimit -n 65536   (a larger file table for the ring)",
        ))
    }

    /// Whether its processes or threads have used up what may exist.
    pub fn task_wall(&self) -> Option<Wall> {
        let room = machine::task_room()?;
        if room.used + SPARE_TASKS < room.limit {
            return None;
        }
        let threads: u64 = self.pids.iter().filter_map(|&pid| process::threads(pid)).sum();
        let many_threads = threads > 2 * self.pids.len() as u64;
        Some(Wall::new(
            if many_threads { names::THREADS } else { names::PROCESSES },
            format!(
                "{} processes and threads exist, {} allows {}; the server has {} processes with {} threads",
                grouped(room.used),
                room.source,
                grouped(room.limit),
                self.pids.len(),
                grouped(threads)
            ),
            "use an event loop (one thread holds them all), or raise the limit named",
        ))
    }

    /// Why connections that the kernel has completed are not served: call it while they wait. The proven reason
    /// first; if none is, that they wait is itself the wall.
    pub fn why_not_accepted(&self) -> Option<Wall> {
        self.descriptor_wall().or_else(|| self.task_wall()).or_else(|| self.queue_wall())
    }

    /// Whether connections wait in the listen queue.
    pub fn queue_wall(&self) -> Option<Wall> {
        let waiting = self.waiting();
        if waiting == 0 {
            return None;
        }
        let fullest = self.queues.iter().max_by_key(|queue| queue.waiting)?;
        let backlog = fullest.backlog.map_or("an unknown number".to_owned(), |n| grouped(u64::from(n)));
        let who = match self.pids.first() {
            Some(&pid) => {
                let used = process::open_descriptors(pid).map_or("?".to_owned(), grouped);
                let limit = process::limits(pid)
                    .and_then(|limits| limits.open_files.soft)
                    .map_or("?".into(), grouped);
                let name = process::name(pid).unwrap_or_default();
                format!("process {pid} ({name}) has descriptors left ({used} of {limit})")
            }
            None => "its process belongs to another user".to_owned(),
        };
        let fix = if fullest.is_full() {
            "accept faster or in more workers; longer queue: listen() backlog and sysctl -w net.core.somaxconn=4096"
        } else {
            "see what the server waits for: its own limit of connections (memcached -c, worker_connections), or a \
             worker that is busy with one connection at a time"
        };
        Some(Wall::new(
            names::ACCEPT_QUEUE,
            format!(
                "{} connections wait in the listen queue of {} (backlog {backlog}) and are not accepted; {who}",
                grouped(waiting),
                self.target
            ),
            fix,
        ))
    }
}

/// The wall behind dropped connection attempts: the kernel counted overflows of a listen queue since `before`.
pub fn overflow_wall(target: SocketAddr, before: machine::ListenCounters) -> Option<Wall> {
    let added = machine::ListenCounters::read()?.since(before);
    if added.overflows == 0 {
        return None;
    }
    let backlog = listen::queues(target).iter().filter_map(|queue| queue.backlog).max();
    let backlog =
        backlog.map_or(String::new(), |n| format!("; the backlog of {target} is {}", grouped(u64::from(n))));
    Some(Wall::new(
        names::ACCEPT_QUEUE,
        format!(
            "the kernel dropped {} handshakes at full listen queues (ListenOverflows){backlog}",
            grouped(added.overflows)
        ),
        "accept faster or in more workers; longer queue: listen() backlog and sysctl -w net.core.somaxconn=4096",
    ))
}

/// Whether the machine has no memory left to speak of.
pub fn memory_wall() -> Option<Wall> {
    let (available, total) = machine::memory()?;
    (available < total / 50).then(|| {
        Wall::new(
            names::MEMORY,
            format!("MemAvailable is {} of {} MiB", grouped(available >> 20), grouped(total >> 20)),
            "fewer bytes a connection (see bytes/conn), or more memory",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_server_that_accepts_has_no_wall_and_one_that_does_not_has_its_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let target = listener.local_addr().expect("address");
        let mut server = Server::find(target).expect("a listener");
        assert_eq!(server.waiting(), 0);
        assert_eq!(server.queue_wall(), None);
        let _waiting = TcpStream::connect(target).expect("connect");
        server.queues = listen::queues(target);
        let wall = server.queue_wall().expect("one waits");
        assert_eq!(wall.name, names::ACCEPT_QUEUE);
        assert!(wall.evidence.contains("1 connections wait"), "{}", wall.evidence);
        drop(listener);
        assert_eq!(Server::find(target), None);
    }
}
