//! As many rings as it takes, seen as one: past RLIMIT_NOFILE, because each ring's file table may have so many
//! entries and none of them costs the process a descriptor. A ring costs two (its own, the listener's while it
//! accepts).
//!
//! One thread, one place to sleep: the first ring. The others signal an eventfd that the first one watches, and
//! raise a flag in memory; after a wake those with the flag are entered. While there is one ring, none of this exists.
//!
//! Names: slot `s` of ring `r` is slot `r * stride + s`, a chunk of ring `r` lies `r` areas further.
//!
//! Traps:
//! (a) A chunk may be sent on a connection of another ring. What it points at is given back when its own ring
//!     begins a turn; so first every ring hands over ([`Rings::crossed`]), then turns begin.
//! (b) A listener moves: connections of the old ring's last request still come. Its route stays until `Unlistened`.
//! (c) A ring that is closed and opened again gives old names to new connections: it goes on counting where the old
//!     one stopped ([`Role`]).
//! (d) A signal from a ring takes a multishot poll of another ring out of the line, so that two cannot wake each other
//!     for ever (EPOLL_URING_WAKE), and its completion does not always say so (seen on Linux 6.18). So the eventfd is
//!     read and watched anew after each wake.
//! (e) An enter that does not sleep does a part of the deferred work only (20 pieces), lowers the flag and signals
//!     nobody for the rest. So a ring that had work is entered again until it has none.

mod completion;
mod doors;
mod turn;

use super::{Config, Counters, Granted, Role, Unavailable, Uring};
use crate::socket;
use duolu_core::Errno;
use duolu_core::completion::{Chunk, Completion, ConnId, ListenerId, Report};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// What [`Uring`] knows the eventfd by among its watched descriptors.
pub(super) const WAKE: u64 = u64::MAX;
/// While a listener finds no room anywhere, it is looked so often whether there is some again.
const LOOK: Duration = Duration::from_millis(50);
/// Entries of the queues of the rings after the first, which are entered for a part of the connections at a time.
const COMPANION_SUBMISSIONS: u32 = 512;
const COMPANION_COMPLETIONS: u32 = 4096;

/// How the rings are to be.
#[derive(Clone, Debug)]
pub struct RingsConfig {
    /// The first ring, and the shape of the others.
    pub ring: Config,
    /// Most connections in all rings together, rounded up to whole file tables.
    pub connections: u64,
}

impl Default for RingsConfig {
    fn default() -> Self {
        RingsConfig { ring: Config::default(), connections: 4 << 20 }
    }
}

/// Several rings of one thread.
#[derive(Debug)]
pub struct Rings {
    /// Never empty.
    rings: Vec<Uring>,
    config: Config,
    /// Places of each ring's table.
    stride: u32,
    /// Bytes of each ring's receive buffers.
    area: u32,
    most: usize,
    doors: Vec<Door>,
    /// Which ring accepts, or has accepted, for which door.
    routes: Vec<Route>,
    /// The others' signal to the first ring.
    wake: Option<OwnedFd>,
    /// Rings with reports of this turn.
    ready: VecDeque<usize>,
    /// Our own reports.
    own: VecDeque<Report>,
    /// Trap (a).
    crossed: bool,
    paused: bool,
    /// No new ring before that.
    retry: Option<Instant>,
    /// Trap (c): the next names, by ring.
    names: Vec<Role>,
    /// What the rings have done that are closed.
    past: Counters,
    /// The ring that was dialled in last.
    dialled: usize,
    last_word: Option<Instant>,
}

#[derive(Debug)]
struct Door {
    /// `None`: it has ended.
    listener: Option<OwnedFd>,
    /// The ring that accepts now.
    at: Option<usize>,
    stopping: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Route {
    ring: usize,
    local: ListenerId,
    door: usize,
}

impl Rings {
    /// The first ring. Others follow when its table is full, where the kernel grants tables.
    pub fn new(config: RingsConfig) -> Result<Self, Unavailable> {
        let RingsConfig { ring: config, connections } = config;
        let first = Uring::with_role(config.clone(), Role { in_rings: true, ..Role::default() })?;
        let (stride, area) = (first.table, first.buffers.area());
        // Half of the descriptors are left for everything else.
        let descriptors = Config { connections: u32::MAX, ..config.clone() }.table() / 2;
        let wanted = connections.div_ceil(u64::from(stride));
        let named = (u32::MAX / area).min(u32::MAX / stride).min(descriptors);
        let most = if first.granted().direct { wanted.min(u64::from(named)).max(1) as usize } else { 1 };
        Ok(Rings {
            rings: vec![first],
            config,
            stride,
            area,
            most,
            doors: Vec::new(),
            routes: Vec::new(),
            wake: None,
            ready: VecDeque::new(),
            own: VecDeque::new(),
            crossed: false,
            paused: false,
            retry: None,
            names: Vec::new(),
            past: Counters::default(),
            dialled: 0,
            last_word: None,
        })
    }

    /// How many rings are open.
    pub fn count(&self) -> usize {
        self.rings.len()
    }

    /// Places of each ring's table, and how many rings there may be.
    pub fn bounds(&self) -> (u32, usize) {
        (self.stride, self.most)
    }

    /// What the kernel granted.
    pub fn granted(&self) -> Granted {
        self.rings[0].granted()
    }

    /// What all of them have done so far.
    pub fn counters(&self) -> Counters {
        let sum = self.rings.iter().fold(self.past, |sum, ring| sum.plus(&ring.counters()));
        Counters { waits: self.rings[0].counters.waits, ..sum }
    }

    /// Connections there are now.
    pub fn connections(&self) -> u64 {
        self.rings.iter().map(|ring| u64::from(ring.connections())).sum()
    }

    /// The names of all connections; O(slots).
    pub fn conn_ids(&self) -> Vec<ConnId> {
        let rings = self.rings.iter().enumerate();
        rings.flat_map(|(at, ring)| ring.conn_ids().into_iter().map(move |id| self.named(at, id))).collect()
    }

    /// Leaves whoever comes in the listen queue, until told otherwise: memory is short, say.
    pub fn pause_accepting(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// As [`Uring::adopt`], in whichever ring has room, or a new one.
    ///
    /// # Errors
    /// Besides those: ENOSPC: as many rings are full as there may be. What opening a ring says.
    pub fn adopt(&mut self, socket: OwnedFd) -> Result<ConnId, Errno> {
        if self.rings[self.dialled.min(self.rings.len() - 1)].places() == 0 {
            self.dialled = match self.rings.iter().position(|ring| ring.places() > 0) {
                Some(at) => at,
                None if self.rings.len() >= self.most => return Err(Errno(libc::ENOSPC)),
                None => self.open_ring()?,
            };
        }
        let at = self.dialled.min(self.rings.len() - 1);
        let conn = self.rings[at].adopt(socket)?;
        Ok(self.named(at, conn))
    }

    fn open_ring(&mut self) -> Result<usize, Errno> {
        let at = self.rings.len();
        if self.wake.is_none() {
            let io = |error: std::io::Error| Errno(error.raw_os_error().unwrap_or(libc::EIO));
            let wake = socket::eventfd().map_err(io)?;
            self.rings[0].watch(socket::dup(&wake, 3).map_err(io)?, WAKE)?;
            self.wake = Some(wake);
        }
        let config = Config {
            submissions: self.config.submissions.min(COMPANION_SUBMISSIONS),
            completions: self.config.completions.min(COMPANION_COMPLETIONS),
            first_buffers: self.config.first_buffers.min(2),
            connections: self.stride,
            ..self.config.clone()
        };
        let names = self.names.get(at).copied().unwrap_or_default();
        let role = Role { in_rings: true, companion: true, ..names };
        let ring = Uring::with_role(config, role).map_err(|unavailable| unavailable.errno())?;
        if ring.granted() != self.granted() || ring.table != self.stride || ring.buffers.area() != self.area {
            return Err(Errno(libc::ENOMEM)); // the first was granted more
        }
        if let Some(wake) = &self.wake {
            ring.ring.signal(wake.as_fd())?;
        }
        self.rings.push(ring);
        Ok(at)
    }

    /// Closes rings that nobody needs, from the end.
    fn close_rings(&mut self) {
        while self.rings.len() > 1 {
            let at = self.rings.len() - 1;
            let ring = &self.rings[at];
            let needed = ring.connections() > 0 || !ring.inbox.is_empty() || ring.buffers.are_lent();
            if needed || self.routes.iter().any(|route| route.ring == at) {
                return;
            }
            let role = Role {
                first_generation: ring.conns.next_generation(),
                first_turn: ring.turn,
                ..Role::default()
            };
            self.names.resize(self.names.len().max(at + 1), Role::default());
            self.names[at] = role;
            self.past = self.past.plus(&ring.counters());
            (self.past.buffers, self.past.buffers_free) = (0, 0);
            self.rings.pop();
        }
    }

    fn named(&self, ring: usize, id: ConnId) -> ConnId {
        ConnId::new(ring as u32 * self.stride + id.slot(), id.generation())
    }

    /// The ring of a connection, and what it is called there.
    #[inline]
    fn find(&mut self, conn: ConnId) -> Option<(&mut Uring, ConnId)> {
        if conn.slot() < self.stride {
            return Some((&mut self.rings[0], conn));
        }
        let (ring, slot) = (conn.slot() / self.stride, conn.slot() % self.stride);
        Some((self.rings.get_mut(ring as usize)?, ConnId::new(slot, conn.generation())))
    }

    /// The ring of a chunk, and the chunk as that ring knows it.
    #[inline]
    fn place(&self, chunk: Chunk) -> (usize, Chunk) {
        if chunk.start() < self.area {
            return (0, chunk);
        }
        let local = Chunk::new(chunk.turn(), chunk.start() % self.area, chunk.len());
        ((chunk.start() / self.area) as usize, local)
    }
}

impl Uring {
    /// Places that a dialled connection may take.
    fn places(&self) -> u32 {
        self.table.saturating_sub(self.connections())
    }
}
