//! Why a server on this machine does not take more connections.

use super::{Wall, listen, machine, names, process, ring, tasks};
use serde_json::json;
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
        let process = process::name(pid).unwrap_or_default();
        let waiting = self.waiting();
        let facts = json!({"pid": pid, "process": process, "used": used, "limit": limit, "waiting": waiting});
        Some(Wall::told(names::SERVER_DESCRIPTORS, "open_files", &facts))
    }

    /// A ring that accepts into its own file table runs out of places there, not in /proc/PID/fd.
    fn ring_wall(&self) -> Option<Wall> {
        let (pid, table) = self.pids.iter().find_map(|&pid| {
            let table = ring::file_table(pid)?;
            (table.used + SPARE_DESCRIPTORS >= table.places).then_some((pid, table))
        })?;
        let facts = json!({
            "pid": pid,
            "process": process::name(pid).unwrap_or_default(),
            "used": table.used,
            "places": table.places,
            "limit": process::limits(pid).and_then(|limits| limits.open_files.soft),
            "waiting": self.waiting(),
        });
        Some(Wall::told(names::SERVER_DESCRIPTORS, "ring_places", &facts))
    }

    /// Whether its processes or threads have used up what may exist.
    pub fn task_wall(&self) -> Option<Wall> {
        let room = tasks::room(*self.pids.first()?)?;
        if room.left() > SPARE_TASKS {
            return None;
        }
        let threads: u64 = self.pids.iter().filter_map(|&pid| process::threads(pid)).sum();
        let many_threads = threads > 2 * self.pids.len() as u64;
        let facts = json!({
            "used": room.used,
            "limit": room.limit,
            "source": room.source,
            "processes": self.pids.len(),
            "threads": threads,
        });
        let name = if many_threads { names::THREADS } else { names::PROCESSES };
        Some(Wall::told(name, "tasks_used_up", &facts))
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
        let pid = self.pids.first().copied();
        let facts = json!({
            "waiting": waiting,
            "target": self.target.to_string(),
            "backlog": fullest.backlog,
            "pid": pid,
            "process": pid.map(|pid| process::name(pid).unwrap_or_default()),
            "used": pid.and_then(process::open_descriptors),
            "limit": pid.and_then(process::limits).and_then(|limits| limits.open_files.soft),
            "hidden": pid.is_none(),
        });
        let case = if fullest.is_full() { "queue_full" } else { "queue_waits" };
        Some(Wall::told(names::ACCEPT_QUEUE, case, &facts))
    }
}

/// The wall behind dropped connection attempts: the kernel counted overflows of a listen queue since `before`.
pub fn overflow_wall(target: SocketAddr, before: machine::ListenCounters) -> Option<Wall> {
    let added = machine::ListenCounters::read()?.since(before);
    if added.overflows == 0 {
        return None;
    }
    let backlog = listen::queues(target).iter().filter_map(|queue| queue.backlog).max();
    let facts = json!({"overflows": added.overflows, "target": target.to_string(), "backlog": backlog});
    Some(Wall::told(names::ACCEPT_QUEUE, "queue_overflows", &facts))
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
        assert!(wall.evidence.contains("1 connection waits"), "{}", wall.evidence);
        drop(listener);
        assert_eq!(Server::find(target), None);
    }
}
