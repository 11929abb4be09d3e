//! Completion I/O for streams on io_uring: multishot accept, multishot receive into provided buffers, sends
//! decided within the submission, connections in the ring's own file table.
//!
//! Traps:
//! (a) Memory of a request must outlive it, and a request may outlive its connection, and even the ring.
//!     So only receives are ever in flight with memory of ours, and all that memory is one area
//!     ([`buffers`]) that is unregistered before it is freed, or else leaked. Sends never wait ([`sends`]).
//! (b) A request holds its file: closing a descriptor ends neither the request nor the connection. Cancel first.
//! (c) A multishot request ends whenever the kernel likes; the completion without F_MORE says so. Re-arm.
//! (d) After a close the slot may be another connection's before the old one's last completion is read: the tag
//!     carries a generation ([`tags`]).
//! (e) With deferred work (DEFER_TASKRUN) nothing completes unless we wait with GETEVENTS, and polling the
//!     ring's own descriptor does not wake anybody.
//! (f) The ring belongs to the thread that made it: hence `!Send`. And to its process: a forked child must not
//!     touch it.
//!
//! Reading order: `conns`, `sends`, `buffers`, `ring`, `turn`, `accept`, `dial`; then `rings`, which makes one of
//! many.

mod accept;
pub(crate) mod buffers;
mod conns;
mod dial;
mod ring;
mod rings;
mod sends;
mod tags;
mod turn;

/// The trait and its words, for those who have no other business with the core.
pub use duolu_core::Errno;
pub use duolu_core::completion::{Chunk, Completion, ConnId, ListenerId, Report};
pub use ring::Unavailable;
pub use rings::{Rings, RingsConfig};

use buffers::{Buffers, Shape};
use conns::Conns;

use ring::Ring;
use sends::Outbox;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use tags::{Op, Tag};

/// How a ring is to be. Start from `Config::default()`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Entries of the submission queue. When it is full it is handed over early.
    pub submissions: u32,
    /// Entries of the completion queue. What does not fit waits in the kernel, at a cost.
    pub completions: u32,
    /// Most connections at once, cut to RLIMIT_NOFILE, which also bounds the ring's file table. 8 bytes each.
    pub connections: u32,
    /// Bytes of a receive buffer, and how many at first and at most (a power of two); more are offered when
    /// they run out. Used where the kernel can use up a buffer piece by piece (Linux 6.12).
    pub buffer_bytes: u32,
    /// See `buffer_bytes`.
    pub first_buffers: u16,
    /// See `buffer_bytes`.
    pub max_buffers: u16,
    /// How many bytes one connection may hold back before nothing more is received from it. What has been received
    /// by then comes on top: a buffer or two, but up to 32 buffers for a peer that floods for the first time.
    pub max_held_bytes: usize,
    /// Connections in the ring's own file table, where the kernel grants it: no descriptor each.
    pub direct: bool,
    /// Sends that go well make no completion, where the kernel can (Linux 6.1).
    pub skip_sends: bool,
    /// Completions are made only while waiting for them (DEFER_TASKRUN), where the kernel can (Linux 6.1).
    pub defer: bool,
    /// Use up buffers piece by piece where the kernel can.
    pub incremental: bool,
    /// Other rings accept on the same listener: take turns with them, at the cost of a request for each connection.
    pub accept_in_turn: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            submissions: 1024,
            completions: 8192,
            connections: 65_536,
            buffer_bytes: 64 * 1024,
            first_buffers: 8,
            max_buffers: 64,
            max_held_bytes: 256 * 1024,
            direct: true,
            skip_sends: true,
            defer: true,
            incremental: true,
            accept_in_turn: false,
        }
    }
}

impl Config {
    /// Places of the ring's file table.
    fn table(&self) -> u32 {
        let mut limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        // SAFETY: one writable rlimit; where it fails, POSIX's least stays.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
        self.connections.min(u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX)).max(1)
    }

    /// The shape of buffers that are used up whole: 16 small ones for each large one, which is as much memory.
    fn small(&self) -> Shape {
        let size = (self.buffer_bytes / 16).max(1);
        let count = |large: u16| large.saturating_mul(16).min(32_768);
        Shape { size, first: count(self.first_buffers), most: count(self.max_buffers) }
    }
}

/// What a ring is among several ([`Rings`]). The default: alone.
#[derive(Clone, Copy, Debug, Default)]
struct Role {
    /// Somebody takes the listener elsewhere when there is no room.
    in_rings: bool,
    /// The thread does not sleep in this ring, and looks at a flag for whether there is work.
    companion: bool,
    /// What the first connection of each slot, and the first turn, are called: no name may come twice.
    first_generation: u32,
    /// See `first_generation`.
    first_turn: u32,
}

/// What the kernel granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Connections live in the ring's file table.
    pub direct: bool,
    /// Sends that go well make no completion.
    pub skip_sends: bool,
    /// DEFER_TASKRUN.
    pub defer: bool,
    /// Buffers are used up piece by piece.
    pub incremental: bool,
}

/// What a ring has done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Calls of `wait`.
    pub waits: u64,
    /// System calls (io_uring_enter).
    pub enters: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed.
    pub closed: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes that the kernel has taken to send.
    pub sent_bytes: u64,
    /// Sends that the kernel could not take whole at once.
    pub held_back: u64,
    /// Times a connection was no longer received from because its peer does not read.
    pub pauses: u64,
    /// Receives that found no buffer.
    pub no_buffers: u64,
    /// Rests because no descriptor was free to accept.
    pub accept_rests: u64,
    /// Receive buffers offered.
    pub buffers: u16,
    /// Those of them that the kernel has now; the rest is lent, or comes back with the next `wait`.
    pub buffers_free: u16,
}

impl Counters {
    /// The sums.
    fn plus(&self, other: &Counters) -> Counters {
        Counters {
            waits: self.waits + other.waits,
            enters: self.enters + other.enters,
            accepted: self.accepted + other.accepted,
            closed: self.closed + other.closed,
            received_bytes: self.received_bytes + other.received_bytes,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            held_back: self.held_back + other.held_back,
            pauses: self.pauses + other.pauses,
            no_buffers: self.no_buffers + other.no_buffers,
            accept_rests: self.accept_rests + other.accept_rests,
            buffers: self.buffers.saturating_add(other.buffers),
            buffers_free: self.buffers_free.saturating_add(other.buffers_free),
        }
    }
}

/// A ring with connections. Belongs to the thread that made it.
pub struct Uring {
    ring: Ring,
    buffers: Buffers,
    conns: Conns,
    listeners: accept::Listeners,
    watches: Vec<(OwnedFd, u64)>,
    outbox: Outbox,
    /// Those with something to send, shut or close.
    dirty: Vec<ConnId>,
    /// Those with a send in the submission under way.
    submitted: Vec<ConnId>,
    /// Those that wait for a buffer.
    starved: Vec<ConnId>,
    /// More buffers have been offered in this turn: once is enough for all that found none.
    grew: bool,
    inbox: VecDeque<Report>,
    /// Kept for its memory.
    batch: Vec<io_uring::cqueue::Entry>,
    /// There may be more where the last completions came from ([`Rings`]).
    again: bool,
    /// Another ring of the thread has work ([`Rings`]).
    woken: bool,
    turn: u32,
    table: u32,
    config: Config,
    role: Role,
    counters: Counters,
    /// Trap (f).
    _not_send: PhantomData<*mut ()>,
}

/// Copies of this many bytes are handed over without waiting for the end of the turn.
const MAX_COPIED_BYTES: usize = 1 << 20;

impl Uring {
    /// Sets up a ring; flags that the kernel does not know are left out, see [`Uring::granted`].
    pub fn new(config: Config) -> Result<Self, Unavailable> {
        Uring::with_role(config, Role::default())
    }

    fn with_role(config: Config, role: Role) -> Result<Self, Unavailable> {
        // A place in the buffers is told in 32 bits.
        let fits = config.buffer_bytes.checked_mul(u32::from(config.max_buffers)).is_some();
        if !config.max_buffers.is_power_of_two() || config.buffer_bytes == 0 || !fits {
            return Err(Unavailable::new("the buffers' shape", Errno(libc::EDOM)));
        }
        let table = config.table();
        let mut ring = Ring::open(&config, role.companion)?;
        // A seccomp filter may allow the one call and not the other.
        ring.submit().map_err(|errno| Unavailable::new("io_uring_enter", errno))?;
        let (size, most) = (config.buffer_bytes, config.max_buffers);
        let large = Shape { size, first: config.first_buffers.clamp(1, most), most };
        let buffers = Buffers::register(ring.uring(), large, config.small(), config.incremental)
            .map_err(|errno| Unavailable::new("IORING_REGISTER_PBUF_RING", errno))?;
        Ok(Uring {
            ring,
            buffers,
            conns: Conns::from_generation(role.first_generation),
            listeners: accept::Listeners::default(),
            watches: Vec::new(),
            outbox: Outbox::default(),
            dirty: Vec::new(),
            submitted: Vec::new(),
            starved: Vec::new(),
            grew: false,
            inbox: VecDeque::new(),
            batch: Vec::new(),
            again: false,
            woken: false,
            turn: role.first_turn,
            table,
            config,
            role,
            counters: Counters::default(),
            _not_send: PhantomData,
        })
    }

    /// What the kernel granted of what the configuration asked for.
    pub fn granted(&self) -> Granted {
        Granted {
            direct: self.ring.direct,
            skip_sends: self.ring.skip,
            defer: self.ring.deferred,
            incremental: self.buffers.incremental(),
        }
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        let (buffers, buffers_free) = self.buffers.counts();
        Counters { enters: self.ring.enters, buffers, buffers_free, ..self.counters }
    }

    /// Connections there are now.
    pub fn connections(&self) -> u32 {
        self.conns.live()
    }

    /// The names of all connections; O(slots).
    pub fn conn_ids(&self) -> Vec<ConnId> {
        self.conns.ids()
    }

    fn mark_dirty(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// Appends a piece of output: to this turn's, or behind what is held back already.
    #[inline]
    fn append(&mut self, id: ConnId, start: NonNull<u8>, len: u32, received: bool) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if !conn.usable() || conn.shut || len == 0 {
            return;
        }
        if let Some(held) = &mut conn.held {
            // SAFETY: every caller passes readable memory, which stays at least until the end of the turn.
            held.append(unsafe { std::slice::from_raw_parts(start.as_ptr(), len as usize) });
            self.restrain(id);
            return;
        }
        self.outbox.append((&mut conn.first, &mut conn.last), start, len, received);
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push(id);
        }
    }

    fn watch_done(&mut self, tag: Tag, result: i32, more: bool) {
        let Some((fd, user)) = self.watches.get(tag.slot() as usize) else { return };
        let (fd, user) = (fd.as_raw_fd(), *user);
        if user == rings::WAKE {
            // Read before it is waited for again, or that would end at once.
            let _ = crate::socket::read(&self.watches[tag.slot() as usize].0, &mut [0; 8]);
            self.woken = true;
        } else if result >= 0 {
            self.inbox.push_back(Report::Readable { user });
        }
        if !more && result != -libc::EBADF && result != -libc::EINVAL {
            self.ring.poll(fd, user != rings::WAKE, tag);
        }
    }
}

impl Completion for Uring {
    type Descriptor = OwnedFd;

    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn listen(&mut self, listener: OwnedFd) -> Result<ListenerId, Errno> {
        self.ring.broken().map_or(Ok(()), Err)?;
        let id = self.listeners.add(listener);
        self.arm_listener(id.0);
        Ok(id)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.stop_listener(listener);
    }

    fn watch(&mut self, descriptor: OwnedFd, user: u64) -> Result<(), Errno> {
        self.ring.broken().map_or(Ok(()), Err)?;
        let slot = self.watches.len() as u32;
        let many = user != rings::WAKE;
        self.ring.poll(descriptor.as_raw_fd(), many, Tag::new(Op::Watch, slot, 0));
        self.watches.push((descriptor, user));
        Ok(())
    }

    fn receive(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.wanted = true;
            self.arm(conn);
        }
    }

    fn bytes(&self, chunk: Chunk) -> &[u8] {
        if chunk.turn() == self.turn { self.buffers.bytes(chunk) } else { &[] }
    }

    #[inline]
    fn send_chunk(&mut self, conn: ConnId, chunk: Chunk) {
        if chunk.turn() != self.turn {
            return;
        }
        if let Some(start) = self.buffers.locate(chunk) {
            self.append(conn, start, chunk.len(), true);
        }
    }

    fn send(&mut self, conn: ConnId, bytes: &[u8]) {
        for part in bytes.chunks(MAX_COPIED_BYTES) {
            if !self.conns.get(conn).is_some_and(|conn| conn.usable() && !conn.shut) {
                return;
            }
            if self.outbox.copied() + part.len() > MAX_COPIED_BYTES {
                self.hand_over();
            }
            let start = self.outbox.copy(part);
            self.append(conn, start, part.len() as u32, false);
        }
    }

    fn send_static(&mut self, conn: ConnId, bytes: &'static [u8]) {
        for part in bytes.chunks(1 << 30) {
            self.append(conn, NonNull::from(part).cast(), part.len() as u32, false);
        }
    }

    fn pending_bytes(&self, conn: ConnId) -> usize {
        self.conns.get(conn).map_or(0, conns::Conn::held_len)
    }

    fn shutdown(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.shut = true;
            self.mark_dirty(conn);
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(entry) = self.conns.get_mut(conn) {
            entry.closing = true;
            self.mark_dirty(conn);
        }
    }

    fn cancel(&mut self, conn: ConnId) {
        self.drop_conn(conn);
    }

    fn wait(&mut self, timeout_ns: Option<u64>) -> Result<(), Errno> {
        if !self.inbox.is_empty() {
            return Ok(());
        }
        self.counters.waits += 1;
        self.run_turn(timeout_ns)
    }

    fn next_report(&mut self) -> Option<Report> {
        loop {
            let report = self.inbox.pop_front()?;
            match report {
                Report::Failed { conn, .. } => {
                    if self.conns.get(conn).is_none() {
                        continue;
                    }
                    self.drop_conn(conn);
                }
                Report::Received { conn, .. }
                | Report::Connected { conn }
                | Report::PeerFinished { conn }
                | Report::Drained { conn } => {
                    // Closed by the program since.
                    if self.conns.get(conn).is_none_or(|conn| conn.closing) {
                        continue;
                    }
                }
                Report::Accepted { .. } | Report::Unlistened { .. } | Report::Readable { .. } => {}
            }
            return Some(report);
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.ring.forked() {
            // The ring and its requests are the parent's; only our copies of the descriptors are ours.
            if !self.ring.direct {
                for id in self.conns.ids() {
                    // SAFETY: without direct descriptors a connection's slot is its descriptor, owned by `conns`.
                    unsafe { libc::close(id.slot() as i32) };
                }
            }
            return;
        }
        if !self.ring.direct {
            for id in self.conns.ids() {
                self.drop_conn(id);
            }
        }
        // Trap (a): first nobody receives any more, then nobody can, then the memory goes. Whatever of that the
        // kernel refuses, `unregister` decides: without it the memory stays.
        self.ring.cancel_all();
        if !self.buffers.unregister(self.ring.uring()) {
            log::warn!("io_uring: the receive buffers could not be taken back and are leaked");
        }
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("granted", &self.granted()).field("counters", &self.counters()).finish()
    }
}
