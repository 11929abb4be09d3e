//! What has waited too long: connections, replies, and whoever the server has never accepted.

use super::super::super::errors::Kind;
use super::{BEFORE_SERVER_BYTES, Crowd, State};
use crate::walls::listen;
use crate::walls::server::Server;
use duolu_sys::completion::{Completion, ConnId};
use std::time::Instant;

impl Crowd<'_> {
    /// Whatever has waited too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        let timeout = self.plan.timeout;
        let late = self.dials.iter().filter(|(_, dial)| now - dial.since > timeout);
        let late: Vec<u32> = late.map(|(slot, _)| *slot).collect();
        for slot in late {
            let conn = ConnId::new(slot, self.places[slot as usize].generation);
            self.rings.cancel(conn);
            self.lose(conn, Kind::ConnectTimeout, format!("no connection within {timeout:?}"));
        }
        let late = self.samples.late(now, timeout);
        if late.iter().any(|(_, is_mark)| *is_mark) && self.proven < self.dialled {
            self.not_accepted();
        }
        if !self.fetched && self.all_dialled() && self.dials.is_empty() {
            self.look_at_queues(now);
        }
        for (slot, _) in late {
            let conn = ConnId::new(slot, self.places[slot as usize].generation);
            self.rings.cancel(conn);
            if self.unaccepted > 0 {
                self.unaccepted -= 1; // it was one of those
                self.samples.forget(slot);
                self.places[slot as usize].state = State::Gone;
            } else {
                self.lose(conn, Kind::Timeout, format!("no whole reply within {timeout:?}"));
            }
        }
    }

    /// Several queues: all are to be empty, and as long as they empty it is waited for.
    fn look_at_queues(&mut self, now: Instant) {
        let waiting = listen::waiting(self.plan.target.address);
        if waiting < self.waiting.0 {
            self.waiting = (waiting, now);
        }
        if waiting > 0 && now - self.waiting.1 > self.plan.timeout {
            self.not_accepted();
        }
        self.fetched |= waiting == 0;
    }

    /// The server does not go on: those in its listen queue are not held, and why is asked while they wait.
    pub(super) fn not_accepted(&mut self) {
        if self.wall.is_some() || !self.plan.target.is_here {
            return;
        }
        let target = self.plan.target.address;
        let waiting = listen::waiting(target).min(self.held);
        if waiting == 0 {
            return;
        }
        self.wall = match self.floor.shortage(BEFORE_SERVER_BYTES) {
            Some(shortage) => Some(shortage.wall("the server", self.held - waiting)),
            None => Server::find(target).and_then(|server| server.why_not_accepted()),
        };
        self.held -= waiting;
        self.unaccepted = waiting;
        self.fetched = true;
        self.tally.error(Kind::NotAccepted, waiting);
        if !self.stopped {
            self.stop(Kind::NotAccepted, "the server did not accept the connection".to_owned());
        }
    }
}
