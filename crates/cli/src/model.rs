//! The I/O models, by the names people type.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a server does its I/O (`--model`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, ValueEnum, Serialize, Deserialize)]
pub enum Model {
    /// A process per connection, blocking calls
    #[value(name = "fork")]
    #[serde(rename = "fork")]
    Fork,
    /// A fixed number of processes, each blocking on one connection at a time
    #[value(name = "prefork")]
    #[serde(rename = "prefork")]
    Prefork,
    /// A thread per connection, blocking calls
    #[value(name = "thread")]
    #[serde(rename = "thread")]
    Thread,
    /// One loop on select(2), past 1024 by a raw call
    #[value(name = "select")]
    #[serde(rename = "select")]
    Select,
    /// One loop on poll(2)
    #[value(name = "poll")]
    #[serde(rename = "poll")]
    Poll,
    /// One loop on epoll(7), level-triggered
    #[value(name = "epoll-lt")]
    #[serde(rename = "epoll-lt")]
    EpollLt,
    /// One loop on epoll(7), edge-triggered, drained
    #[value(name = "epoll-et")]
    #[serde(rename = "epoll-et")]
    EpollEt,
    /// One loop on epoll(7), one-shot, re-armed after each event
    #[value(name = "epoll-oneshot")]
    #[serde(rename = "epoll-oneshot")]
    EpollOneshot,
    /// One loop on io_uring used for readiness
    #[value(name = "io_uring-poll")]
    #[serde(rename = "io_uring-poll")]
    IoUringPoll,
    /// io_uring with completions: multishot accept and receive
    #[value(name = "io_uring")]
    #[serde(rename = "io_uring")]
    IoUring,
}

impl Model {
    /// Every model, in the order of the table.
    pub const ALL: [Model; 10] = [
        Model::Fork,
        Model::Prefork,
        Model::Thread,
        Model::Select,
        Model::Poll,
        Model::EpollLt,
        Model::EpollEt,
        Model::EpollOneshot,
        Model::IoUringPoll,
        Model::IoUring,
    ];

    /// The name on the command line and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Model::Fork => "fork",
            Model::Prefork => "prefork",
            Model::Thread => "thread",
            Model::Select => "select",
            Model::Poll => "poll",
            Model::EpollLt => "epoll-lt",
            Model::EpollEt => "epoll-et",
            Model::EpollOneshot => "epoll-oneshot",
            Model::IoUringPoll => "io_uring-poll",
            Model::IoUring => "io_uring",
        }
    }

    /// Whether one loop serves many connections (as opposed to a process or thread for each).
    pub const fn is_event_driven(self) -> bool {
        !matches!(self, Model::Fork | Model::Prefork | Model::Thread)
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
