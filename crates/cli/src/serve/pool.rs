//! Child processes on numbered places, each with its page of the board: started, reaped, replaced. For prefork, whose
//! children serve a connection at a time, and for `--processes`, whose children have a loop each.

use super::board::{Board, Count, Tally};
use super::fork::{in_child, no_process};
use super::grumble::Grumble;
use crate::walls::grouped;
use duolu_sys::process::{Ended, Fork, try_wait_any, wait};
use duolu_sys::worker::fork_worker;
use std::io;
use std::time::{Duration, Instant};

/// A child that lived shorter than this is not replaced at once: whatever killed it would kill the next one too.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long its place stays empty.
pub const RETRY: Duration = Duration::from_millis(100);

/// The place of one child.
struct Place {
    tally: Tally,
    child: Option<u32>,
    started: Instant,
}

/// All places.
pub struct Pool {
    places: Vec<Place>,
    trouble: Grumble,
}

/// A child that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Casualty {
    /// Whose place is empty.
    pub index: usize,
    pub pid: u32,
    pub ended: Ended,
    /// Connections that went with it.
    pub open: u64,
}

impl Pool {
    /// Empty places.
    pub fn new(board: Board, count: usize) -> Self {
        let started = Instant::now();
        let place = |index| Place { tally: board.tally(index, true), child: None, started };
        Pool { places: (0..count).map(place).collect(), trouble: Grumble::default() }
    }

    /// Those that live, as far as is known.
    pub fn children(&self) -> impl Iterator<Item = u32> {
        self.places.iter().filter_map(|place| place.child)
    }

    /// How many places there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Until when a wait may last: an empty place is looked at again.
    pub fn patience(&self) -> Option<Duration> {
        self.places.iter().any(|place| place.child.is_none()).then_some(RETRY)
    }

    /// Puts a child on place `index`; there it runs `body` and ends.
    ///
    /// # Errors
    /// As [`fork_worker`].
    pub fn fill(&mut self, index: usize, body: impl FnOnce(Tally)) -> io::Result<()> {
        let tally = self.places[index].tally;
        match fork_worker()? {
            Fork::Parent(child) => {
                let place = &mut self.places[index];
                (place.child, place.started) = (Some(child), Instant::now());
                Ok(())
            }
            Fork::Child => in_child(|| body(tally)),
        }
    }

    /// Takes an ended child out of the process table, if there is one. Its connections count as closed.
    pub fn reap(&mut self) -> Option<Casualty> {
        while let Ok(Some((pid, ended))) = try_wait_any() {
            let found = self.places.iter_mut().enumerate().find(|(_, place)| place.child == Some(pid));
            let Some((index, place)) = found else { continue }; // the admin endpoint's
            place.child = None;
            // It may have died in the middle of a connection. Nobody else writes to its tally now.
            let accepted = place.tally.get(Count::Accepted);
            let open = accepted.saturating_sub(place.tally.get(Count::Closed));
            place.tally.set(Count::Closed, accepted);
            return Some(Casualty { index, pid, ended, open });
        }
        None
    }

    /// Says that a child's place will be taken by another.
    pub fn mourn(&mut self, casualty: &Casualty) {
        self.trouble.say(|| format!("{}, another takes its place", casualty.sentence()));
    }

    /// Fills the empty places, but none whose child lived too short.
    pub fn replace(&mut self, mut body: impl FnMut(usize, Tally)) {
        for index in 0..self.places.len() {
            let place = &self.places[index];
            if place.child.is_some() || place.started.elapsed() < SHORT_LIFE {
                continue;
            }
            if let Err(error) = self.fill(index, |tally| body(index, tally)) {
                self.trouble.say(|| format!("a process is missing: {}", no_process(&error)));
                return;
            }
        }
    }

    /// Kills whoever is left, and waits for the end of each: with it its connections and its share of the port are gone.
    pub fn end(&mut self) {
        self.children().for_each(super::fork::end);
        for place in &mut self.places {
            if let Some(child) = place.child.take() {
                let _ = wait(child); // reaped already, or ended now
            }
        }
    }
}

impl Casualty {
    /// What happened.
    pub fn sentence(&self) -> String {
        let Casualty { pid, ended, open, .. } = self;
        let how = match ended {
            Ended::Code(code) => format!("ended with exit code {code}"),
            Ended::Signal(signo) => format!("was killed by signal {signo}"),
        };
        match open {
            0 => format!("process {pid} {how}"),
            1 => format!("process {pid} {how}, and its connection with it"),
            open => format!("process {pid} {how}, and its {} connections with it", grouped(*open)),
        }
    }
}
