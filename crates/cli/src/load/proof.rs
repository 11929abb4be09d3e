//! What came too late, and why: connections that the server does not accept are told from replies that it owes.
//!
//! A connect succeeds as soon as the kernel has the connection in the listen queue; the server need not know of
//! it. So a connection counts as held only after its first reply. Where that does not come and the server runs on
//! this machine, the kernel is asked whether the connection was accepted, and the server's own limits are read while
//! the connections still wait: that names the wall, where a bare loader says "timeout".

use super::conn::State;
use super::dialogue::Speak;
use super::errors::Kind;
use super::worker::{Phase, Worker};
use crate::walls::listen;
use crate::walls::server::Server;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Nothing proved for so long: time to look at the server.
const STALL_NS: u64 = 2_000_000_000;
const LOOK_EVERY_NS: u64 = 1_000_000_000;

impl Worker {
    /// Looks after what is late. Gives the connections to be closed. O(connections); called every 100 ms or so.
    pub fn sweep(&mut self, now_ns: u64) -> Vec<usize> {
        let timeout_ns = self.plan.timeout.as_nanos() as u64;
        let stalled = self.opening > 0 && now_ns.saturating_sub(self.progress_ns) > STALL_NS;
        let hopeless = stalled && self.phase == Phase::Opening && self.is_hopeless(now_ns);
        let mut late = Vec::new();
        for index in 0..self.conns.len() {
            let conn = &self.conns[index];
            let waited_ns = now_ns.saturating_sub(conn.begun_ns);
            if conn.state.is_waiting() && (waited_ns > timeout_ns || (hopeless && conn.state.is_opening())) {
                late.push(index);
            } else if conn.state == State::Closed
                && self.phase == Phase::Running
                && conn.retry_ns <= now_ns
                && (!self.plan.is_paced_churn() || conn.owed > 0)
            {
                self.queue(index);
            }
        }
        self.fail_late(&late, now_ns, hopeless);
        late
    }

    fn fail_late(&mut self, late: &[usize], now_ns: u64, hopeless: bool) {
        let proving = late.iter().any(|&index| self.conns[index].state == State::Proving);
        let waiting = if proving { self.look_at_the_server() } else { HashSet::new() };
        let timeout_ns = self.plan.timeout.as_nanos() as u64;
        let (mut last, mut opening_failed) = (Kind::Timeout, false);
        for &index in late {
            let state = self.conns[index].state;
            opening_failed |= state.is_opening();
            last = match state {
                State::Connecting => Kind::ConnectTimeout,
                State::Proving if self.is_among(index, &waiting) => Kind::NotAccepted,
                _ => Kind::Timeout,
            };
            let after = self.plan.timeout;
            let _ = self.fail(index, last, || match last {
                Kind::NotAccepted => "the server did not accept the connection".into(),
                Kind::ConnectTimeout => format!("no connection within {after:?}"),
                _ => format!("no whole reply within {after:?}"),
            });
        }
        // Whoever has waited a whole timeout in vain, without one connection proved meanwhile, need not send
        // thousands more to wait the same way.
        let nothing_moves = now_ns.saturating_sub(self.progress_ns) > timeout_ns;
        if self.phase == Phase::Opening && opening_failed && (hopeless || nothing_moves) {
            self.give_up_opening(last);
        }
    }

    fn is_among(&self, index: usize, waiting: &HashSet<SocketAddr>) -> bool {
        let local = self.conns[index].stream.as_ref().and_then(|stream| stream.local_addr().ok());
        local.is_some_and(|local| waiting.contains(&SocketAddr::new(local.ip().to_canonical(), local.port())))
    }

    /// Whether it is proven already that the server cannot take more, so that waiting longer is in vain.
    fn is_hopeless(&mut self, now_ns: u64) -> bool {
        if !self.plan.target.is_here || self.own_limit.is_some() || now_ns < self.next_look_ns {
            return false;
        }
        self.next_look_ns = now_ns + LOOK_EVERY_NS; // it walks /proc/*/fd
        let wall = Server::find(self.plan.target.address).and_then(|server| server.descriptor_wall());
        if wall.is_some() {
            self.wall = wall;
        }
        self.wall.is_some()
    }

    /// The connections that wait in the listen queue; notes the wall behind that.
    fn look_at_the_server(&mut self) -> HashSet<SocketAddr> {
        let target = self.plan.target.address;
        if !self.plan.target.is_here {
            return HashSet::new();
        }
        let waiting = listen::not_accepted(target);
        if self.wall.is_none() && !waiting.is_empty() {
            self.wall = Server::find(target).and_then(|server| server.why_not_accepted());
        }
        waiting
    }

    /// `--speak connect`: with no exchange to prove them, connections count as held when the listen queue has none
    /// of them any more. On another host nobody can tell, and the kernel's word has to do.
    pub fn prove_without_exchange(&mut self, now_ns: u64) {
        if self.plan.speak != Speak::Connect || self.opening == 0 {
            return;
        }
        let target = self.plan.target.address;
        let queued = if self.plan.target.is_here { listen::queues(target) } else { Vec::new() };
        let waiting = match queued.iter().any(|queue| queue.waiting > 0) {
            false => HashSet::new(),
            // The walk over all connections costs milliseconds: only when the queue does not empty by itself.
            true if now_ns.saturating_sub(self.progress_ns) > STALL_NS => listen::not_accepted(target),
            true => return,
        };
        for index in 0..self.conns.len() {
            if self.conns[index].state == State::Proving && !self.is_among(index, &waiting) {
                self.enter(index, State::Idle);
                self.progress_ns = now_ns;
            }
        }
    }
}
