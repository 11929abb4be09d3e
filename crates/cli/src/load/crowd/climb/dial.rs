//! Dialling one connection after the other, and what keeps the next one from being dialled.

use super::super::super::errors::Kind;
use super::{BEFORE_SERVER_BYTES, Crowd, Dial, Place, State};
use crate::failure::Failure;
use crate::walls::files::Files;
use crate::walls::{Wall, grouped, names};
use duolu_sys::completion::{ConnId, Errno as Refusal};
use duolu_sys::socket;
use rustix::io::Errno;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Dialled in one turn: with less the turns cost, with more the samples wait.
const BATCH: usize = 32;
/// The machine's memory and open files are looked at after so many connections; they take 10 MB.
const LOOK_EVERY: u64 = 1024;

impl Crowd<'_> {
    /// Says whether there is more to dial now.
    pub(super) fn dial_some(&mut self) -> Result<bool, Failure> {
        for _ in 0..BATCH {
            if self.stopped || self.dialled == self.plan.connections as u64 {
                return Ok(false);
            }
            let ahead = self.dialled - self.proven >= self.window;
            let early = self
                .plan
                .connect_rate
                .is_some_and(|rate| self.dialled as f64 > rate * self.begun.elapsed().as_secs_f64());
            if ahead || early {
                return Ok(false);
            }
            self.dial()?;
        }
        Ok(true)
    }

    fn dial(&mut self) -> Result<(), Failure> {
        let since = Instant::now();
        let source = match self.sources.len() {
            0 => None,
            many => {
                self.next_source = (self.next_source + 1) % many;
                Some(SocketAddr::from((self.sources[self.next_source], 0)))
            }
        };
        let socket = match socket::connect(self.plan.target.address, source) {
            Ok(connecting) => connecting.stream,
            Err(why) => {
                self.no_socket(&why);
                return Ok(());
            }
        };
        // The server reads a clean end, and no TIME-WAIT stays. Where it cannot be set some stay.
        let _ = socket::set_abort_after_fin(&socket);
        let conn = match self.adopt(socket) {
            Ok(conn) => conn,
            Err(errno) => {
                self.no_place(errno);
                return Ok(());
            }
        };
        self.dialled += 1;
        let slot = conn.slot() as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, Place { generation: 0, state: State::Gone });
        }
        self.places[slot] = Place { generation: conn.generation(), state: State::Connecting };
        self.dials.insert(conn.slot(), Dial { ordinal: self.dialled, since });
        Ok(())
    }

    fn adopt(&mut self, socket: TcpStream) -> Result<ConnId, Refusal> {
        self.rings.adopt(OwnedFd::from(socket))
    }

    fn no_socket(&mut self, why: &std::io::Error) {
        let errno = Errno::from_io_error(why).unwrap_or(Errno::IO);
        let kind = Kind::from_errno(errno);
        if kind == Kind::NoPorts && self.sources.len() > 1 {
            self.sources.remove(self.next_source); // its ports are used up, another's are not
            return;
        }
        self.stop(kind, why.to_string());
        match kind {
            Kind::NoPorts => self.own_limit = Some((kind, self.held)),
            _ if [Errno::NFILE, Errno::NOMEM, Errno::NOBUFS].contains(&errno) => {
                self.wall = Some(self.machine_wall(why));
            }
            _ => {}
        }
    }

    fn no_place(&mut self, errno: Refusal) {
        let why = std::io::Error::from_raw_os_error(errno.0);
        self.stop(Kind::NoDescriptors, format!("no ring for more connections: {why}"));
        self.wall = Some(self.machine_wall(&why));
    }

    fn machine_wall(&self, why: &std::io::Error) -> Wall {
        if Errno::from_io_error(why) == Some(Errno::NFILE)
            && let Some(files) = Files::that_bound_us()
        {
            return files.wall(self.held);
        }
        let held = grouped(self.held);
        if let Some(shortage) = self.floor.shortage(0) {
            return shortage.wall("the loader", self.held);
        }
        let rings = self.rings.count();
        Wall::new(
            names::LOADER_DESCRIPTORS,
            format!("the loader stopped at {held} connections in {rings} rings: {why}"),
            "ulimit -n makes the rings' tables larger",
        )
    }

    /// No more are dialled; the rest is counted as failed for this reason.
    pub(super) fn stop(&mut self, kind: Kind, what: String) {
        self.stopped = true;
        self.tally.error(kind, self.plan.connections as u64 - self.dialled);
        self.tally.first_wrong.get_or_insert(what);
    }

    pub(super) fn look_at_machine(&mut self) {
        if self.stopped || self.dialled - self.looked_at < LOOK_EVERY {
            return;
        }
        self.looked_at = self.dialled;
        let files = self.bounded.then(Files::that_bound_us).flatten();
        if let Some(shortage) = self.floor.shortage(BEFORE_SERVER_BYTES) {
            self.stopped = true; // in good order: nothing has failed
            self.wall = Some(shortage.wall("the loader", self.held));
        } else if let Some(files) = files.filter(|files| files.room() < LOOK_EVERY * 4) {
            self.stopped = true;
            self.wall = Some(files.wall(self.held));
        }
    }
}
