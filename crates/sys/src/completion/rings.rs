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
/// A ring that could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
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

/// Doors: which ring accepts.
impl Rings {
    /// Brings every listener to where there is room.
    fn tend_doors(&mut self) -> Result<(), Errno> {
        for door in 0..self.doors.len() {
            if self.doors[door].stopping || self.doors[door].listener.is_none() {
                continue;
            }
            match self.doors[door].at {
                Some(_) if self.paused => self.leave(door),
                Some(at) => {
                    let full = self.routes.iter().any(|route| {
                        (route.ring, route.door) == (at, door) && self.rings[at].is_full(route.local)
                    });
                    let goal = if full {
                        self.choose()
                    } else {
                        (at > 0 && self.rings[0].room() > self.stride / 4 * 3).then_some(0)
                    };
                    if let Some(goal) = goal.filter(|&goal| goal != at) {
                        self.leave(door);
                        self.enter(door, goal)?;
                    } else if full {
                        self.word();
                    }
                }
                None if !self.paused => {
                    if let Some(goal) = self.choose() {
                        self.enter(door, goal)?;
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// A ring with a good deal of room, the lowest; else a new one; else the one with most room, if any.
    fn choose(&mut self) -> Option<usize> {
        if let Some(at) = self.rings.iter().position(|ring| ring.room() > self.stride / 4) {
            return Some(at);
        }
        let now = Instant::now();
        if self.rings.len() < self.most && self.retry.is_none_or(|retry| retry <= now) {
            match self.open_ring() {
                Ok(at) => return Some(at),
                Err(errno) => {
                    self.retry = Some(now + RETRY);
                    let (count, why) = (self.rings.len() + 1, crate::syscall::describe(errno));
                    log::warn!("ring {count} cannot be opened ({why}): no more connections than now");
                }
            }
        }
        let (at, room) = self.rings.iter().map(Uring::room).enumerate().max_by_key(|&(_, room)| room)?;
        (room > 0).then_some(at)
    }

    fn enter(&mut self, door: usize, ring: usize) -> Result<(), Errno> {
        let Some(listener) = &self.doors[door].listener else { return Ok(()) };
        // Out of descriptors the door stays without a ring, and is tried again.
        let Ok(copy) = socket::dup(listener, 3) else { return Ok(()) };
        let local = self.rings[ring].listen(copy)?;
        self.routes.push(Route { ring, local, door });
        self.doors[door].at = Some(ring);
        Ok(())
    }

    fn leave(&mut self, door: usize) {
        let Some(at) = self.doors[door].at.take() else { return };
        for route in self.routes.iter().filter(|route| (route.ring, route.door) == (at, door)) {
            self.rings[at].stop_listener(route.local);
        }
    }

    /// Whether a listener waits for room or for its ring.
    fn is_homeless(&self) -> bool {
        self.doors.iter().any(|door| door.listener.is_some() && !door.stopping && door.at.is_none())
    }

    fn word(&mut self) {
        let now = Instant::now();
        if self.last_word.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.last_word = Some(now);
            let (rings, stride) = (self.rings.len(), self.stride);
            log::warn!(
                "every place in the file tables of {rings} rings ({stride} each: RLIMIT_NOFILE) is taken; who comes \
                 waits in the listen queue"
            );
        }
    }

    /// The door's own `Unlistened`, or none where it has only moved.
    fn unlistened(&mut self, ring: usize, local: ListenerId, errno: Option<Errno>) -> Option<Report> {
        let at = self.routes.iter().position(|route| (route.ring, route.local) == (ring, local))?;
        let door = self.routes.remove(at).door;
        if errno.is_some() && self.doors[door].at == Some(ring) {
            (self.doors[door].stopping, self.doors[door].at) = (true, None);
        }
        let more = self.routes.iter().any(|route| route.door == door);
        if !self.doors[door].stopping || more {
            return None;
        }
        self.doors[door].listener = None;
        Some(Report::Unlistened { listener: ListenerId(door as u32), errno })
    }

    /// A report of a ring in the words of all.
    #[inline]
    fn translate(&mut self, ring: usize, report: Report) -> Option<Report> {
        let name = |conn: ConnId| self.named(ring, conn);
        Some(match report {
            Report::Received { conn, chunk } => {
                let start = ring as u32 * self.area + chunk.start();
                Report::Received { conn: name(conn), chunk: Chunk::new(chunk.turn(), start, chunk.len()) }
            }
            Report::Accepted { listener, conn } => {
                let of = |route: &&Route| (route.ring, route.local) == (ring, listener);
                let door = self.routes.iter().find(of)?.door;
                Report::Accepted { listener: ListenerId(door as u32), conn: name(conn) }
            }
            Report::Connected { conn } => Report::Connected { conn: name(conn) },
            Report::PeerFinished { conn } => Report::PeerFinished { conn: name(conn) },
            Report::Drained { conn } => Report::Drained { conn: name(conn) },
            Report::Failed { conn, errno } => Report::Failed { conn: name(conn), errno },
            Report::Unlistened { listener, errno } => return self.unlistened(ring, listener, errno),
            Report::Readable { .. } => report,
        })
    }
}

/// The turn.
impl Rings {
    /// The turn of more than one ring.
    fn wait_all(&mut self, deadline: Option<Instant>) -> Result<(), Errno> {
        self.rings[0].counters.waits += 1;
        if std::mem::take(&mut self.crossed) {
            for ring in &mut self.rings {
                if ring.needs_turn() {
                    ring.hand_over(); // trap (a)
                }
            }
        }
        loop {
            for at in 1..self.rings.len() {
                let ring = &mut self.rings[at];
                while ring.inbox.is_empty() && (ring.ring.has_work() || ring.again || ring.needs_turn()) {
                    ring.again = false; // but `collect` says so where there were completions: trap (e)
                    ring.run_turn(Some(0))?;
                }
                if !ring.inbox.is_empty() {
                    self.ready.push_back(at);
                }
            }
            let sleep_ns = if self.ready.is_empty() { self.sleep_ns(deadline) } else { Some(0) };
            let first = &mut self.rings[0];
            if first.inbox.is_empty() {
                first.run_turn(sleep_ns)?;
            }
            let woken = std::mem::take(&mut first.woken);
            if !first.inbox.is_empty() {
                self.ready.push_front(0);
            }
            if !self.ready.is_empty() || !woken {
                return Ok(());
            }
        }
    }

    /// Until the deadline, or until some listener is to be tried again.
    fn sleep_ns(&self, deadline: Option<Instant>) -> Option<u64> {
        let look = self.needs_look().then(|| Instant::now() + LOOK);
        let tries = self.rings[1..].iter().filter_map(|ring| ring.listeners.next_try());
        let first = deadline.into_iter().chain(look).chain(tries).min()?;
        let left = first.saturating_duration_since(Instant::now());
        Some(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Whether something may become possible that no completion tells of.
    fn needs_look(&self) -> bool {
        self.is_homeless() || (self.rings.len() > 1 && self.rings.iter().any(Uring::has_idle_listeners))
    }
}

impl Completion for Rings {
    type Descriptor = OwnedFd;

    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn listen(&mut self, listener: OwnedFd) -> Result<ListenerId, Errno> {
        let door = self.doors.len();
        self.doors.push(Door { listener: Some(listener), at: None, stopping: false });
        if !self.paused
            && let Some(goal) = self.choose()
        {
            self.enter(door, goal)?;
        }
        Ok(ListenerId(door as u32))
    }

    fn unlisten(&mut self, listener: ListenerId) {
        let at = listener.0 as usize;
        let Some(door) = self.doors.get_mut(at) else { return };
        if door.listener.is_none() || std::mem::replace(&mut door.stopping, true) {
            return;
        }
        self.leave(at);
        if !self.routes.iter().any(|route| route.door == at) {
            self.doors[at].listener = None;
            self.own.push_back(Report::Unlistened { listener, errno: None });
        }
    }

    fn watch(&mut self, descriptor: OwnedFd, user: u64) -> Result<(), Errno> {
        if user == WAKE {
            return Err(Errno(libc::EINVAL)); // our own
        }
        self.rings[0].watch(descriptor, user)
    }

    fn receive(&mut self, conn: ConnId) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.receive(conn);
        }
    }

    #[inline]
    fn bytes(&self, chunk: Chunk) -> &[u8] {
        let (at, chunk) = self.place(chunk);
        self.rings.get(at).map_or(&[], |ring| ring.bytes(chunk))
    }

    #[inline]
    fn send_chunk(&mut self, conn: ConnId, chunk: Chunk) {
        if conn.slot() < self.stride && chunk.start() < self.area {
            return self.rings[0].send_chunk(conn, chunk);
        }
        let (from, chunk) = self.place(chunk);
        let to = (conn.slot() / self.stride) as usize;
        if from != to {
            let source = self.rings.get(from).filter(|ring| ring.turn == chunk.turn());
            let Some(start) = source.and_then(|ring| ring.buffers.locate(chunk)) else { return };
            if let Some((ring, conn)) = self.find(conn) {
                // Not as `received`: its neighbour there is another ring's memory.
                ring.append(conn, start, chunk.len(), false);
                self.crossed = true;
            }
        } else if let Some((ring, conn)) = self.find(conn) {
            ring.send_chunk(conn, chunk);
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.send(conn, bytes);
        }
    }

    fn send_static(&mut self, conn: ConnId, bytes: &'static [u8]) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.send_static(conn, bytes);
        }
    }

    fn pending_bytes(&self, conn: ConnId) -> usize {
        let (ring, slot) = (conn.slot() / self.stride, conn.slot() % self.stride);
        let local = ConnId::new(slot, conn.generation());
        self.rings.get(ring as usize).map_or(0, |ring| ring.pending_bytes(local))
    }

    fn shutdown(&mut self, conn: ConnId) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.shutdown(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.close(conn);
        }
    }

    fn cancel(&mut self, conn: ConnId) {
        if let Some((ring, conn)) = self.find(conn) {
            ring.cancel(conn);
        }
    }

    fn wait(&mut self, timeout_ns: Option<u64>) -> Result<(), Errno> {
        if !self.ready.is_empty() || !self.own.is_empty() || !self.rings[0].inbox.is_empty() {
            return Ok(());
        }
        if self.rings.len() > 1 || self.paused || self.is_homeless() || self.rings[0].has_idle_listeners() {
            self.tend_doors()?;
            self.close_rings();
        }
        if self.rings.len() == 1 {
            let look = self.is_homeless().then_some(LOOK.as_nanos() as u64);
            let result = self.rings[0].wait(timeout_ns.into_iter().chain(look).min());
            self.rings[0].woken = false;
            return result;
        }
        let after = |ns| Instant::now().checked_add(Duration::from_nanos(ns));
        self.wait_all(timeout_ns.and_then(after))
    }

    #[inline]
    fn next_report(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.own.pop_front() {
                return Some(report);
            }
            let at = match self.ready.front() {
                Some(&at) => at,
                None => 0,
            };
            match self.rings[at].next_report() {
                Some(report) => {
                    if let Some(report) = self.translate(at, report) {
                        return Some(report);
                    }
                }
                None => {
                    self.ready.pop_front()?;
                }
            }
        }
    }
}

impl Uring {
    /// Whether something is to be handed over, given back or tried again.
    fn needs_turn(&mut self) -> bool {
        !self.dirty.is_empty()
            || !self.starved.is_empty()
            || self.buffers.are_lent()
            || self.has_idle_listeners()
            || self.ring.has_requests()
    }

    /// Places that a dialled connection may take.
    fn places(&self) -> u32 {
        self.table.saturating_sub(self.connections())
    }
}
