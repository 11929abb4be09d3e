//! Which ring accepts for which listener; trap (b) of the [folder](super).

use super::{Rings, Route};
use crate::completion::Uring;
use crate::socket;
use duolu_core::Errno;
use duolu_core::completion::{Chunk, Completion, ConnId, ListenerId, Report};
use std::time::{Duration, Instant};

/// A ring that could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

impl Rings {
    /// Brings every listener to where there is room.
    pub(super) fn tend_doors(&mut self) -> Result<(), Errno> {
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
    pub(super) fn choose(&mut self) -> Option<usize> {
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

    pub(super) fn enter(&mut self, door: usize, ring: usize) -> Result<(), Errno> {
        let Some(listener) = &self.doors[door].listener else { return Ok(()) };
        // Out of descriptors the door stays without a ring, and is tried again.
        let Ok(copy) = socket::dup(listener, 3) else { return Ok(()) };
        let local = self.rings[ring].listen(copy)?;
        self.routes.push(Route { ring, local, door });
        self.doors[door].at = Some(ring);
        Ok(())
    }

    pub(super) fn leave(&mut self, door: usize) {
        let Some(at) = self.doors[door].at.take() else { return };
        for route in self.routes.iter().filter(|route| (route.ring, route.door) == (at, door)) {
            self.rings[at].stop_listener(route.local);
        }
    }

    /// Whether a listener waits for room or for its ring.
    pub(super) fn is_homeless(&self) -> bool {
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
    pub(super) fn translate(&mut self, ring: usize, report: Report) -> Option<Report> {
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
