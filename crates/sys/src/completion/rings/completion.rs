//! Rings as one pair of hands: each call goes to the ring that it is about.

use super::{Door, LOOK, Rings, WAKE};
use duolu_core::Errno;
use duolu_core::completion::{Chunk, Completion, ConnId, ListenerId, Report};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

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
