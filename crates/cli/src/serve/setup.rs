//! A server between the command line and its model: everything that is the same for all of them.

use super::announce::Announce;
use super::board::Board;
use super::control::{Control, Woken};
use super::notify;
use crate::failure::Failure;
use crate::model::Model;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How the workers of an event-driven model come to their connections (`--accept`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Accept {
    /// One listening socket that every worker watches; each connection wakes them all
    Shared,
    /// One listening socket, and the kernel wakes one worker (EPOLLEXCLUSIVE; epoll models only)
    Exclusive,
    /// A listening socket for each worker (SO_REUSEPORT); the kernel spreads connections by hash
    Reuseport,
}

/// What a model gets.
pub struct Setup {
    /// The model itself: several share their code.
    pub model: Model,
    /// Threads, or processes for prefork. 1 where the model has no such number.
    pub workers: usize,
    /// Whether the workers of a model with a loop are processes, each with descriptors of its own.
    pub processes: bool,
    /// How they share the work.
    pub accept: Accept,
    /// Listening, non-blocking sockets: one, or with reuseport one for each worker.
    pub listeners: Vec<TcpListener>,
    /// Whether the sockets came from a service manager, who keeps them: they must not be shut down.
    pub inherited: bool,
    /// More connections than this are closed at once.
    pub max_connections: u64,
    /// How long whoever comes is still let in once the server ends.
    pub lame_duck: Duration,
    /// Until when that is, once it has begun.
    pub lame_until: Option<Instant>,
    /// How long connections may take after that.
    pub drain: Duration,
    /// The counters: one tally for each worker.
    pub board: Board,
    /// The admin endpoint's socket, if there is to be one.
    pub admin: Option<TcpListener>,
    /// Who is told when the server accepts.
    pub announce: Announce,
    /// Signals.
    pub control: Control,
}

impl Setup {
    /// Whether there is room for the connection that was just counted as accepted.
    pub fn has_room(board: Board, max_connections: u64) -> bool {
        !board.is_short() && (max_connections == u64::MAX || board.open() <= max_connections)
    }

    /// Waits for a signal, for `source` to be readable, or for `limit` to be over, as [`Control::wait`]. The end is told
    /// (`stop`) only when the lame duck's time is over: until then balancers see that this server is not ready any
    /// more, and whom they send meanwhile is served.
    ///
    /// # Errors
    /// A SIGINT while ending: end now.
    pub fn wait(
        &mut self,
        source: Option<BorrowedFd<'_>>,
        limit: Option<Duration>,
    ) -> Result<Woken, Failure> {
        let left = self.lame_until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = limit.into_iter().chain(left).min();
        let mut woken = self.control.wait(source, limit).map_err(failed_to_wait)?;
        self.heed(woken)?;
        if woken.stop && !self.lame_duck.is_zero() {
            woken.stop = false;
            self.lame_until = Some(Instant::now() + self.lame_duck);
            self.board.start_leaving();
            notify::stopping();
            self.announce.leaving(self.lame_duck);
        }
        woken.stop |= self.lame_until.is_some_and(|until| until <= Instant::now());
        Ok(woken)
    }

    /// What is done about signals at any time.
    fn heed(&self, woken: Woken) -> Result<(), Failure> {
        if woken.tell {
            self.announce.counts(self.board);
        }
        if woken.now {
            self.announce.finished(self.board);
            return Err(Failure::interrupted());
        }
        Ok(())
    }

    /// Waits until `is_done`, `drain` is over, or a SIGINT says now. `is_done` is asked now and then, and may hurry
    /// those that only wait for their next request.
    pub fn wait_until_drained(&mut self, mut is_done: impl FnMut() -> bool) -> Result<(), Failure> {
        const LOOK: Duration = Duration::from_millis(20);
        let deadline = Instant::now() + self.drain;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let done = is_done();
            if done || left.is_zero() {
                if !done {
                    self.announce.ended(self.board.open(), self.drain);
                }
                self.announce.finished(self.board);
                return Ok(());
            }
            let woken = self.control.wait(None, Some(left.min(LOOK))).map_err(failed_to_wait)?;
            self.heed(woken)?;
        }
    }

    /// From now on services say goodbye, and everybody knows.
    pub fn start_draining(&mut self) {
        self.board.start_draining();
        if self.lame_until.is_none() {
            notify::stopping();
        }
        self.announce.draining(self.board.open(), self.drain);
    }
}

/// A poll on signal pipes does not fail on a healthy machine.
pub fn failed_to_wait(error: std::io::Error) -> Failure {
    Failure::cannot(format!("cannot wait for signals: {error}"))
}
