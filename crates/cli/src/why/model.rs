//! The words for how a server does its I/O, and how its loops share a port. [`super::decide`] finds out which.

use super::look::epoll::Trigger;
use crate::lab::said::Said;

/// A way of doing I/O.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Model {
    /// A process for each connection.
    Fork,
    /// A fixed number of processes, a connection each at a time.
    Prefork,
    /// A thread for each connection.
    Thread,
    /// One thread, one connection at a time.
    Iterative,
    /// Blocks in accept; what then serves a connection is not known.
    Blocking,
    /// Loops on select.
    Select,
    /// Loops on poll.
    Poll,
    /// One of the two.
    PollOrSelect,
    /// Loops on epoll; how connections are watched, if it is known.
    Epoll(Option<Trigger>),
    /// io_uring for completions.
    Uring,
    /// io_uring as a poll.
    UringPoll,
    /// io_uring; which of the two is not known.
    UringSome,
    /// Connections are watched in different ways.
    Mixed,
    /// Nothing was seen that would tell.
    Unknown,
}

impl Model {
    /// The word in JSON: that of `--model` where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Model::Fork => "fork",
            Model::Prefork => "prefork",
            Model::Thread => "thread",
            Model::Iterative => "iterative",
            Model::Blocking => "blocking",
            Model::Select => "select",
            Model::Poll => "poll",
            Model::PollOrSelect => "poll or select",
            Model::Epoll(None) => "epoll",
            Model::Epoll(Some(Trigger::Level)) => "epoll-lt",
            Model::Epoll(Some(Trigger::Edge)) => "epoll-et",
            Model::Epoll(Some(Trigger::OneShot)) => "epoll-oneshot",
            Model::Uring => "io_uring",
            Model::UringPoll => "io_uring-poll",
            Model::UringSome => "io_uring (some way)",
            Model::Mixed => "mixed",
            Model::Unknown => "unknown",
        }
    }

    /// For people.
    pub fn said(self) -> Said {
        Said::from(match self {
            Model::Fork => ("a process for each connection", "每个连接一个进程"),
            Model::Prefork => (
                "a pool of processes, each serving one connection at a time",
                "进程池，每个进程一次服务一个连接",
            ),
            Model::Thread => ("a thread for each connection", "每个连接一个线程"),
            Model::Iterative => ("one thread, one connection at a time", "单线程，一次服务一个连接"),
            Model::Blocking => ("blocking accept", "阻塞 accept"),
            Model::Select => ("event loop on select", "select 事件循环"),
            Model::Poll => ("event loop on poll", "poll 事件循环"),
            Model::PollOrSelect => ("event loop on poll or select", "poll 或 select 事件循环"),
            Model::Epoll(None) => ("event loop on epoll", "epoll 事件循环"),
            Model::Epoll(Some(Trigger::Level)) => {
                ("event loop on epoll, level-triggered", "epoll 事件循环，水平触发")
            }
            Model::Epoll(Some(Trigger::Edge)) => {
                ("event loop on epoll, edge-triggered", "epoll 事件循环，边缘触发")
            }
            Model::Epoll(Some(Trigger::OneShot)) => {
                ("event loop on epoll, one-shot", "epoll 事件循环，一次性触发")
            }
            Model::Uring => ("event loop on io_uring, completions", "io_uring 事件循环，完成通知"),
            Model::UringPoll => {
                ("event loop on io_uring, readiness only", "io_uring 事件循环，仅用于就绪通知")
            }
            Model::UringSome => ("event loop on io_uring", "io_uring 事件循环"),
            Model::Mixed => ("several models at once", "多种模型并用"),
            Model::Unknown => ("not known", "未知"),
        })
    }

    /// Whether a task of its own serves each connection.
    pub fn takes_a_task_each(self) -> bool {
        matches!(self, Model::Fork | Model::Thread)
    }

    /// Whether one loop serves many connections.
    pub fn is_loop(self) -> bool {
        use Model::{Epoll, Mixed, Poll, PollOrSelect, Select, Uring, UringPoll, UringSome};
        matches!(self, Select | Poll | PollOrSelect | Epoll(_) | Uring | UringPoll | UringSome | Mixed)
    }
}

/// How several loops come to their connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// There is one loop.
    Single,
    /// One listener in several loops: all are woken.
    Shared,
    /// One listener in several loops with EPOLLEXCLUSIVE: one is woken.
    Exclusive,
    /// A listener for each loop on the same port.
    Reuseport,
    /// One thread accepts and hands connections to the loops.
    Handed,
    /// Several threads wait on one epoll instance.
    OneEpoll,
}

impl Sharing {
    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Sharing::Single => "single",
            Sharing::Shared => "shared",
            Sharing::Exclusive => "exclusive",
            Sharing::Reuseport => "reuseport",
            Sharing::Handed => "handed",
            Sharing::OneEpoll => "one-epoll",
        }
    }

    /// For people.
    pub fn said(self) -> Said {
        Said::from(match self {
            Sharing::Single => ("one loop", "一个循环"),
            Sharing::Shared => (
                "several loops watch one listener (all wake up)",
                "多个循环监视同一个监听套接字（全部被唤醒）",
            ),
            Sharing::Exclusive => (
                "several loops watch one listener with EPOLLEXCLUSIVE (one wakes up)",
                "多个循环以 EPOLLEXCLUSIVE 监视同一个监听套接字（只唤醒一个）",
            ),
            Sharing::Reuseport => {
                ("a listener for each loop (SO_REUSEPORT)", "每个循环各有一个监听套接字（SO_REUSEPORT）")
            }
            Sharing::Handed => (
                "one thread accepts and hands connections to the loops",
                "一个线程 accept，再把连接分给各循环",
            ),
            Sharing::OneEpoll => {
                ("several threads wait on one epoll instance", "多个线程等待同一个 epoll 实例")
            }
        })
    }
}

/// What was found out.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How connections are served.
    pub model: Model,
    /// Whether connections prove it.
    pub certain: bool,
    /// How loops share the port, for models that have loops.
    pub sharing: Option<Sharing>,
    /// How the listener itself is watched.
    pub listener: Option<Trigger>,
    /// What it rests on.
    pub evidence: Vec<Said>,
}
