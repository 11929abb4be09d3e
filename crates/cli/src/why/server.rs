//! Everything that is read about a server: its sockets, its processes, what their threads are in.
//!
//! The order of reading: sockets, owners, threads for a while, then sockets and descriptors once more, so that what is
//! told of connections belongs together and what lasted (a full queue, unread data) is told from what passed.

use super::counters::Counters;
use super::find::{leave_out_activation, listening_of, listening_on, read, sockets_of_process};
use super::look::process::{self, Process};
use super::look::threads::{self, Looks};
use super::machine;
use super::target::Target;
use super::words::said;
use crate::compare::interrupt;
use crate::failure::Failure;
use crate::inspect::owners;
use crate::inspect::sockets::{Reader, Source};
use crate::lab::said::Said;
use crate::lang::Lang;
use crate::walls::grouped;
use duolu_sys::tcp_diag::{Details, Query, StateSet, TcpSocket, TcpState};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// The kernel holds an epoll instance's lock, and so its loop, while it prints what the instance watches: about 2 us for
/// each descriptor. A tenth of a second is as much as may be taken without being asked.
const DEEP: usize = 100_000;
/// More connections than this are told without tcp_info, which would take a quarter of a gigabyte.
const MANY: usize = 200_000;

/// A listening socket of the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its inode.
    pub inode: u64,
    /// Who made it.
    pub uid: u32,
    /// Connections that wait for accept(2).
    pub queue: u64,
    /// Its bound; the kernel lets one more wait.
    pub backlog: Option<u64>,
}

/// A connection that the server has accepted.
#[derive(Clone, Debug)]
pub struct Connection {
    /// As the kernel tells it.
    pub socket: TcpSocket,
    /// The processes that hold it.
    pub holders: Vec<u32>,
    /// It had unread data before the threads were looked at as well.
    pub was_unread: bool,
}

/// Something that could not be read, and what would unlock it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What.
    pub what: Said,
    /// How to get it.
    pub unlock: Said,
}

/// What was read.
#[derive(Debug)]
pub struct Server {
    /// What was asked.
    pub target: Target,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Its processes, the one that the others come from first.
    pub processes: Vec<Process>,
    /// What their threads were in.
    pub looks: Looks,
    /// Its connections.
    pub connections: Vec<Connection>,
    /// All sockets on its ports, by state; those that listen are not counted.
    pub states: BTreeMap<TcpState, u64>,
    /// The inodes of listeners and connections.
    pub ours: HashSet<u64>,
    /// Connections that its processes have made themselves.
    pub outgoing: Vec<TcpSocket>,
    /// The kernel's counters before and after.
    pub counters: (Counters, Counters),
    /// What could not be read.
    pub missing: Vec<Missing>,
    /// Processes that ended while they were looked at.
    pub ended: Vec<String>,
    /// How often and how long its control group had been stopped for want of CPU quota, before.
    pub throttled: Option<(u64, u64)>,
    /// Ctrl-C cut it short.
    pub interrupted: bool,
}

/// Looks at the server for `span`.
///
/// # Errors
/// Nobody listens there; there is no such process; it listens nowhere; nothing can be read.
pub fn look(target: Target, span: Duration, deep: bool) -> Result<Server, Failure> {
    let mut reader = Reader::default();
    let mut missing = Vec::new();
    let (before, held) = match target {
        Target::Port(_, port) => (listening_on(target, port, &mut reader)?, None),
        Target::Pid(pid) => {
            let held = sockets_of_process(pid, &mut missing)?;
            (listening_of(pid, &held, &mut reader)?, Some(pid))
        }
    };
    let inodes: HashSet<u64> = before.listeners.iter().map(|listener| listener.inode).collect();
    let accepted = before.sockets.iter().map(|socket| socket.inode).filter(|&inode| inode != 0);
    let (owned, closed) = owners::walk(&inodes.iter().copied().chain(accepted).collect());
    let me = std::process::id();
    let mut pids: BTreeSet<u32> =
        owned.values().flatten().map(|owner| owner.pid).filter(|&pid| pid != me).collect();
    pids.extend(held);
    leave_out_activation(&mut pids);
    let titles: Vec<(u32, String)> =
        pids.iter().map(|&pid| (pid, format!("{} {pid}", name_of(pid)))).collect();
    let pids: Vec<u32> = pids.into_iter().collect();

    let count = before.sockets.len();
    let deep = deep || count < DEEP;
    if !deep {
        let count = grouped(count as u64);
        missing.push(Missing {
            what: said!(
                "what its epoll instances and rings hold: with {count} connections reading it would hold up the server's loop",
                "epoll 实例和环里有什么：有 {count} 个连接，读取会卡住服务器的循环"
            ),
            unlock: said!("--deep, which holds it for about 2 us each", "--deep，每个连接约卡 2 微秒"),
        });
    }
    let counters = Counters::read();
    let throttled = pids.first().and_then(|&pid| machine::throttled(pid));
    let looks = threads::watch(&pids, span);
    let after = Counters::read();

    let mut processes: Vec<Process> = pids.iter().filter_map(|&pid| Process::read(pid, deep)).collect();
    let ended = titles
        .into_iter()
        .filter(|(pid, _)| {
            processes.iter().find(|process| process.pid == *pid).is_none_or(|process| process.ended)
        })
        .map(|(_, title)| title)
        .collect();
    processes.retain(|process| !process.ended);
    order(&mut processes, &inodes, held);
    let mut server = Server {
        target,
        listeners: before.listeners,
        processes,
        looks,
        connections: Vec::new(),
        states: BTreeMap::new(),
        ours: inodes,
        outgoing: Vec::new(),
        counters: (counters, after),
        missing,
        ended,
        throttled,
        interrupted: interrupt::requested(),
    };
    server.read_sockets(&before.sockets, &mut reader)?;
    server.name_missing(closed);
    Ok(server)
}

/// Whether a connection came in at one of the listeners.
pub fn accepts(listeners: &[Listener], socket: &TcpSocket) -> bool {
    let (local, _) = socket.ends();
    socket.state != TcpState::Listen
        && listeners.iter().any(|listener| {
            let bound = listener.address.ip().to_canonical();
            listener.address.port() == local.port() && (bound.is_unspecified() || bound == local.ip())
        })
}

/// The asked one first, or the one that the others come from: it holds a listener, and its parent does not.
fn order(processes: &mut [Process], listeners: &HashSet<u64>, asked: Option<u32>) {
    let holders: HashSet<u32> = processes
        .iter()
        .filter(|process| process.sockets().any(|inode| listeners.contains(&inode)))
        .map(|process| process.pid)
        .collect();
    let rank = |process: &Process| match process.pid {
        pid if Some(pid) == asked => 0,
        pid if holders.contains(&pid) && !holders.contains(&process.parent) => 1,
        pid if holders.contains(&pid) => 2,
        _ => 3,
    };
    processes.sort_by_key(|process| (rank(process), process.pid));
}

pub fn name_of(pid: u32) -> String {
    process::printable(&crate::walls::process::name(pid).unwrap_or_default())
}

/// Who may read a process that we may not.
pub fn unlock_process(pid: u32) -> Said {
    let user = fs::metadata(format!("/proc/{pid}")).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
    let (en, zh) = match user {
        Ok(0) | Err(_) => (String::new(), String::new()),
        Ok(uid) => {
            let user = user_name(uid);
            (format!(", or as {}", user.pick(Lang::En)), format!("，或以 {} 的身份运行", user.pick(Lang::Zh)))
        }
    };
    said!(
        "with sudo{en}; for good: sudo setcap cap_sys_ptrace+ep \"$(command -v duolu)\"",
        "用 sudo{zh}；长期：sudo setcap cap_sys_ptrace+ep \"$(command -v duolu)\""
    )
}

/// A user as people know them.
pub fn user_name(uid: u32) -> Said {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line = |line: &str| -> Option<String> {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    };
    text.lines().find_map(line).map_or_else(|| said!("user {uid}", "用户 {uid}"), Said::same)
}

impl Listener {
    /// From what the kernel tells.
    pub fn of(socket: &TcpSocket) -> Self {
        Listener {
            address: socket.local,
            inode: socket.inode,
            uid: socket.uid,
            queue: u64::from(socket.recv_q),
            backlog: socket.send_q.map(u64::from),
        }
    }

    /// Whether the next handshake is dropped.
    pub fn is_full(&self) -> bool {
        self.backlog.is_some_and(|backlog| self.queue > backlog)
    }
}

impl Server {
    /// The second reading.
    fn read_sockets(&mut self, before: &[TcpSocket], reader: &mut Reader) -> Result<(), Failure> {
        let info = before.len() < MANY;
        let details = Details { info, ..Details::default() };
        let states = StateSet::ALL;
        let (found, source) = read(&Query { details, states, ..Query::default() }, reader)?;
        if let Source::ProcNet(error) = source {
            self.missing.push(Missing {
                what: Said::from((
                    "the bounds of the listen queues, and tcp_info",
                    "监听队列的上限和 tcp_info",
                )),
                unlock: Said::same(error.to_string()),
            });
        }
        for listener in &mut self.listeners {
            let now = found.iter().find(|socket| socket.inode == listener.inode);
            if let Some(now) = now.filter(|now| now.state == TcpState::Listen) {
                listener.queue = u64::from(now.recv_q);
                listener.backlog = now.send_q.map(u64::from);
            }
        }
        let mut holders: HashMap<u64, Vec<u32>> = HashMap::new();
        for process in &self.processes {
            process.sockets().for_each(|inode| {
                let pids = holders.entry(inode).or_default();
                if pids.last() != Some(&process.pid) {
                    pids.push(process.pid);
                }
            });
        }
        let unread: HashSet<u64> =
            before.iter().filter(|socket| socket.recv_q > 0).map(|socket| socket.inode).collect();
        for socket in found {
            let held = holders.get(&socket.inode).cloned().unwrap_or_default();
            if accepts(&self.listeners, &socket) {
                *self.states.entry(socket.state).or_default() += 1;
                let is_accepted = socket.inode != 0 && socket.state != TcpState::TimeWait;
                if is_accepted {
                    let was_unread = unread.contains(&socket.inode);
                    self.ours.insert(socket.inode);
                    self.connections.push(Connection { socket, holders: held, was_unread });
                }
            } else if !held.is_empty() && socket.state != TcpState::Listen && socket.inode != 0 {
                self.outgoing.push(socket);
            }
        }
        Ok(())
    }

    /// What is missing, and what would unlock it.
    fn name_missing(&mut self, closed_processes: usize) {
        if self.processes.is_empty() && self.ended.is_empty() {
            let uid = self.listeners.first().map_or(0, |listener| listener.uid);
            let user = user_name(uid);
            let (en, zh) = (user.pick(Lang::En), user.pick(Lang::Zh));
            let target = self.target;
            let (or_en, or_zh) = match uid {
                0 => (String::new(), String::new()),
                _ => (format!(", or run it as {en}"), format!("，或以 {zh} 的身份运行")),
            };
            self.missing.push(Missing {
                what: said!(
                    "the process: the socket is {en}'s, and {closed_processes} processes are closed to this user",
                    "进程：套接字属于 {zh}，有 {closed_processes} 个进程不允许当前用户查看"
                ),
                unlock: said!(
                    "sudo duolu why {target}{or_en}; in a container: in the PID namespace of the server",
                    "sudo duolu why {target}{or_zh}；在容器中：进入服务器的 PID 命名空间"
                ),
            });
            return;
        }
        let closed: Vec<u32> = self
            .processes
            .iter()
            .filter(|process| process.fds.is_none())
            .map(|process| process.pid)
            .collect();
        if let Some(&pid) = closed.first() {
            let (en, zh) = match closed.len() {
                1 => (String::new(), String::new()),
                count => (format!(" and {} more", count - 1), format!(" 等 {count} 个进程")),
            };
            self.missing.push(Missing {
                what: said!(
                    "descriptors, epoll instances and system calls of process {pid}{en}",
                    "进程 {pid}{zh}的描述符、epoll 实例和系统调用"
                ),
                unlock: unlock_process(pid),
            });
        } else if self.looks.hides_calls {
            let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
            let scope = scope.trim();
            let yama = match scope {
                "" | "0" => String::new(),
                scope => format!(" (kernel.yama.ptrace_scope={scope})"),
            };
            self.missing.push(Missing {
                what: said!(
                    "the system calls of threads{yama}: poll and select cannot be told apart, and no descriptor is named",
                    "线程的系统调用{yama}：分不清 poll 和 select，也不知道描述符"
                ),
                unlock: Said::same("sudo duolu why ...; sudo setcap cap_sys_ptrace+ep \"$(command -v duolu)\""),
            });
        }
    }

    /// Whether none of its processes may be looked into.
    pub fn is_closed(&self) -> bool {
        self.processes.iter().all(|process| process.fds.is_none())
    }

    /// The process that stands for the server.
    pub fn leader(&self) -> Option<&Process> {
        self.processes.first()
    }

    /// A process by its number.
    pub fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.iter().find(|process| process.pid == pid)
    }

    /// Connections that wait for accept(2), at all listeners.
    pub fn waiting(&self) -> u64 {
        self.listeners.iter().map(|listener| listener.queue).sum()
    }

    /// The largest of the queues' bounds.
    pub fn backlog(&self) -> Option<u64> {
        self.listeners.iter().filter_map(|listener| listener.backlog).max()
    }

    /// How many connections a process holds.
    pub fn held_by(&self, pid: u32) -> u64 {
        self.connections.iter().filter(|connection| connection.holders.contains(&pid)).count() as u64
    }

    /// Whether an inode is a listener's or an accepted connection's.
    pub fn is_ours(&self, inode: u64) -> bool {
        self.ours.contains(&inode)
    }

    /// Whether an inode is one of the listeners'.
    pub fn is_listener(&self, inode: u64) -> bool {
        self.listeners.iter().any(|listener| listener.inode == inode)
    }

    /// Threads of all its processes.
    pub fn threads(&self) -> u64 {
        self.processes.iter().map(|process| process.threads).sum()
    }
}
