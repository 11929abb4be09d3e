//! What moved: every change as the kernel tells it, or, where it does not, what two looks at the sockets let us infer.
//!
//! [`Observer::look`] is the way in. [`traced`] listens to the kernel's tracepoint and leaves out other network
//! namespaces ([`whose`]); [`sampled`] compares two snapshots along the lives in [`life`]. TIME-WAIT is sampled in
//! either case, because the tracepoint never shows it ([`minisockets`]).

mod life;
mod minisockets;
mod sampled;
mod traced;
mod whose;

use super::diagram::{Flow, How, Picture};
use crate::inspect::{Inspector, Snapshot, Socket, Unreadable};
use crate::lang::Lang;
use duolu_sys::tcp_diag::{Details, Ports, Query, StateSet, TcpState};
use minisockets::Minisockets;
use sampled::Sampler;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use traced::{Tally, Traced};

/// An age needs the times in tcp_info: 300 bytes of each connection.
const WITH_INFO: Details = Details { info: true, memory: false, congestion: false };
/// Of more sockets than that it is not asked for any more: an age is then since when we have seen it.
const MANY: usize = 100_000;

/// Both ends of a connection, IPv4 as IPv4.
type Ends = (SocketAddr, SocketAddr);

/// Why looks are compared although the kernel could have told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The tracepoint cannot be read.
    Kernel(String),
    /// The tracepoint knows ports, but neither processes nor which of two hosts is meant.
    Filtered,
}

impl Refusal {
    /// What to do about it.
    pub fn unlock(&self, lang: Lang) -> String {
        match self {
            Refusal::Kernel(why) => match lang {
                Lang::En => format!(
                    "The kernel's tracepoint sock:inet_sock_set_state is closed to this process ({why}). Run as root \
                     (sudo) to see every change."
                ),
                Lang::Zh => format!(
                    "本进程不能读内核跟踪点 sock:inet_sock_set_state（{why}）。用 root（sudo）运行，就能看到每一次变化。"
                ),
            },
            Refusal::Filtered => lang
                .pick(
                    "The kernel's tracepoint knows ports, but no processes and no hosts: with only a :PORT it tells every change.",
                    "内核跟踪点只认端口，不认进程和主机；只给 :PORT 时它会报告每一次变化。",
                )
                .to_owned(),
        }
    }
}

/// Looks at the sockets again and again, and tells what moved in between.
pub struct Observer {
    inspector: Inspector,
    query: Query,
    pick: Option<Pick>,
    traced: Option<Traced>,
    refused: Option<Refusal>,
    sampler: Sampler,
    minisockets: Minisockets,
    since: Flow,
    lost: u64,
    last: Option<Instant>,
}

/// Takes some sockets, and leaves others.
pub type Pick = Box<dyn Fn(&Socket) -> bool>;

/// What one look shows.
#[derive(Debug)]
pub struct Look {
    /// Every socket of the port.
    pub snapshot: Snapshot,
    /// Those that are asked for, counted, and what moved.
    pub picture: Picture,
    /// Who keeps sockets in CLOSE-WAIT for too long: name, process and how many; most first.
    pub keepers: Vec<(String, u32, u64)>,
}

/// Which way to learn what moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Via {
    /// The kernel's tracepoint where it may be read, or else looks compared
    #[default]
    Auto,
    /// The tracepoint, or nothing
    Trace,
    /// Looks compared
    Sample,
}

impl Observer {
    /// Begins to listen to what happens at `ports`. `pick` leaves out sockets that the kernel cannot leave out by
    /// their port.
    ///
    /// # Errors
    /// The tracepoint was demanded, and cannot be read: why.
    pub fn new(ports: Ports, pick: Option<Pick>, via: Via) -> Result<Self, Refusal> {
        let port = match ports {
            Ports::Any => None,
            Ports::Local(port) | Ports::Either(port) => Some(port),
        };
        let open = || match pick {
            Some(_) => Err(Refusal::Filtered),
            None => Traced::open(port).map_err(Refusal::Kernel),
        };
        let (traced, refused) = match via {
            Via::Sample => (None, None),
            _ => match open() {
                Ok(traced) => (Some(traced), None),
                Err(why) if via == Via::Trace => return Err(why),
                Err(why) => (None, Some(why)),
            },
        };
        Ok(Observer {
            inspector: Inspector::new(),
            query: Query { ports, details: WITH_INFO, states: StateSet::ALL, ..Query::default() },
            pick,
            traced,
            refused,
            sampler: Sampler::default(),
            minisockets: Minisockets::default(),
            since: Flow::default(),
            lost: 0,
            last: None,
        })
    }

    /// What there is now, and what moved since the last look. The first has nothing to compare with.
    ///
    /// # Errors
    /// The sockets cannot be read.
    pub fn look(&mut self) -> Result<Look, Unreadable> {
        let snapshot = self.inspector.snapshot(&self.query)?;
        let many = snapshot.sockets.len() > MANY;
        self.query.details = if many { Details::default() } else { WITH_INFO };
        let now = snapshot.taken_at;
        let sampled = self.sampler.look(&snapshot, self.pick.as_ref());
        let (mut lately, how) = match &self.traced {
            Some(traced) => {
                let Tally { mut flow, to_minisocket, lost } = traced.take();
                self.minisockets.settle(&mut flow, &sampled, to_minisocket, self.sampler.orphans());
                self.lost += lost;
                (flow, How::Traced { lost: self.lost })
            }
            None => (sampled, How::Sampled { refused: self.refused.clone() }),
        };
        if self.last.is_none() {
            lately = Flow::default();
        }
        self.since.add(&lately);
        let mut picture = Picture::empty(how);
        picture.lately = lately;
        picture.since = self.since;
        picture.span = self.last.map_or(Duration::ZERO, |last| now - last);
        self.last = Some(now);
        let keepers = self.stand(&snapshot, &mut picture);
        Ok(Look { snapshot, picture, keepers })
    }

    /// Whether the socket is one of those that are asked for, or was once.
    pub fn is_asked(&self, socket: &Socket) -> bool {
        self.sampler.is_asked(socket)
    }

    fn stand(&self, snapshot: &Snapshot, picture: &mut Picture) -> Vec<(String, u32, u64)> {
        let mut keepers: HashMap<(String, u32), u64> = HashMap::new();
        for socket in snapshot.sockets.iter().filter(|socket| self.is_asked(socket)) {
            let tcp = &socket.tcp;
            picture.count(tcp.state);
            let age = || snapshot.age(socket).map_or(Duration::ZERO, |age| Duration::from_millis(age.ms));
            match tcp.state {
                TcpState::CloseWait if age() >= Picture::STALE => {
                    picture.stale += 1;
                    if let Some(owner) = socket.owners.first() {
                        *keepers.entry((owner.process.to_string(), owner.pid)).or_default() += 1;
                    }
                }
                TcpState::Listen => {
                    picture.queue = fuller(picture.queue, (tcp.recv_q, tcp.send_q.unwrap_or(0)))
                }
                _ => {}
            }
        }
        let mut keepers: Vec<_> =
            keepers.into_iter().map(|((name, pid), count)| (name, pid, count)).collect();
        keepers.sort_by_key(|(_, pid, count)| (std::cmp::Reverse(*count), *pid));
        keepers
    }
}

/// Of two listen queues, length and bound, the one that has less room for its size.
fn fuller(one: Option<(u32, u32)>, other: (u32, u32)) -> Option<(u32, u32)> {
    let fullness = |(length, bound): (u32, u32)| f64::from(length) / f64::from(bound.max(1));
    match one {
        Some(one) if other.1 == 0 || fullness(one) >= fullness(other) => Some(one),
        one => {
            if other.1 == 0 {
                one
            } else {
                Some(other)
            }
        }
    }
}

#[cfg(test)]
mod tests;
