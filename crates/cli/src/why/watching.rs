//! Who waits for which socket, and how: each way of watching that was seen, by the socket's inode.

use super::look::epoll::Trigger;
use super::look::wait::{Doing, What};
use super::server::Server;
use duolu_sys::calls::CallKind;
use std::collections::HashMap;

/// What waits for a socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum By {
    /// An epoll instance, by its process and descriptor.
    Epoll(u32, i32),
    /// A thread in poll, on this and other sockets.
    Poll(u32, u32),
    /// A thread in select.
    Select(u32, u32),
    /// An io_uring.
    Ring(u32, i32),
    /// A thread, for this socket alone: a blocking call, or a poll with a time limit on one descriptor.
    Thread(u32, u32),
}

/// One way in which a socket is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// By what.
    pub by: By,
    /// How, for epoll.
    pub trigger: Option<Trigger>,
    /// EPOLLEXCLUSIVE.
    pub exclusive: bool,
    /// A blocking accept.
    pub accepts: bool,
}

impl By {
    /// The process.
    pub fn pid(self) -> u32 {
        match self {
            By::Epoll(pid, _)
            | By::Poll(pid, _)
            | By::Select(pid, _)
            | By::Ring(pid, _)
            | By::Thread(pid, _) => pid,
        }
    }

    /// Whether it can wait for many sockets at once.
    pub fn is_loop(self) -> bool {
        !matches!(self, By::Thread(..))
    }
}

/// Everything that is watched, by inode.
#[derive(Debug, Default)]
pub struct Watching {
    by_inode: HashMap<u64, Vec<Watch>>,
}

impl Watching {
    /// Puts together what epoll instances, rings and threads told.
    pub fn of(server: &Server) -> Self {
        let mut watching = Watching::default();
        for process in &server.processes {
            for epoll in &process.epolls {
                for entry in &epoll.entries {
                    if let Some(inode) = entry.inode.filter(|&inode| server.is_ours(inode)) {
                        let trigger = Some(entry.trigger());
                        watching.add(
                            inode,
                            Watch {
                                trigger,
                                exclusive: entry.is_exclusive(),
                                ..Watch::plain(By::Epoll(process.pid, epoll.fd))
                            },
                        );
                    }
                }
            }
            for ring in &process.rings {
                for &inode in &ring.sockets {
                    watching.add(inode, Watch::plain(By::Ring(process.pid, ring.fd)));
                }
            }
        }
        watching.threads(server);
        watching.rings(server);
        watching
    }

    fn threads(&mut self, server: &Server) {
        for thread in &server.looks.threads {
            let Some(process) = server.process(thread.pid) else { continue };
            for (doing, _) in &thread.doings {
                use CallKind::{Accept, Read, Write};
                let What::In(kind @ (Accept | Read | Write)) = doing.what else { continue };
                if let Some(inode) = doing.fd.and_then(|fd| process.socket(fd)) {
                    let watch = Watch::plain(By::Thread(thread.pid, thread.tid));
                    self.add(inode, Watch { accepts: kind == Accept, ..watch });
                }
            }
            let Some(set) = &thread.set else { continue };
            let sockets: Vec<u64> = set.fds.iter().filter_map(|&fd| process.socket(fd)).collect();
            let ours: Vec<u64> = sockets.into_iter().filter(|&inode| server.is_ours(inode)).collect();
            let selects = |doing: &Doing| doing.what == What::In(CallKind::Select);
            let by = match ours.as_slice() {
                [one] if !server.is_listener(*one) => By::Thread(thread.pid, thread.tid),
                _ if thread.doings.iter().any(|(doing, _)| selects(doing)) => {
                    By::Select(thread.pid, thread.tid)
                }
                _ => By::Poll(thread.pid, thread.tid),
            };
            for inode in ours {
                self.add(inode, Watch::plain(by));
            }
        }
    }

    /// A ring names no sockets but those in its table. What nothing else of a process with a busy ring waits for, the
    /// ring does.
    fn rings(&mut self, server: &Server) {
        for process in &server.processes {
            let Some(ring) = process.rings.iter().find(|ring| ring.is_completion().is_some()) else {
                continue;
            };
            let held: Vec<u64> = process.sockets().filter(|&inode| server.is_ours(inode)).collect();
            for inode in held {
                if !self.by_inode.contains_key(&inode) {
                    self.add(inode, Watch::plain(By::Ring(process.pid, ring.fd)));
                }
            }
        }
    }

    fn add(&mut self, inode: u64, watch: Watch) {
        let all = self.by_inode.entry(inode).or_default();
        if !all.contains(&watch) {
            all.push(watch);
        }
    }

    /// The ways in which a socket is watched.
    pub fn of_socket(&self, inode: u64) -> &[Watch] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }

    /// The way that tells most: a loop rather than a thread that is just reading from it.
    pub fn best(&self, inode: u64) -> Option<Watch> {
        self.of_socket(inode).iter().copied().min_by_key(|watch| (!watch.by.is_loop(), watch.by))
    }
}

impl Watch {
    fn plain(by: By) -> Self {
        Watch { by, trigger: None, exclusive: false, accepts: false }
    }
}
