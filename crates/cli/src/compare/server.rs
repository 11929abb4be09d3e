//! A server that listens: started for a run up the ladder and ended after it, or found running.

use super::blocks::Speak;
use super::children::{self, SIGTERM, Start, Started, words};
use super::contender::{Contender, Kind};
use super::interrupt;
use super::own;
use super::rung::Work;
use super::tree::{Memory, Tree};
use crate::model::Model;
use crate::walls::{listen, process};
use serde::Deserialize;
use std::fs;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

/// A server of ours that does not say within this time that it listens is not going to.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A server that does not end within this time after SIGTERM is killed with all its processes.
const END_PATIENCE: Duration = Duration::from_millis(1500);

/// The line that `duolu serve --json-ready` prints when it listens.
#[derive(Deserialize)]
struct Ready {
    address: SocketAddr,
    #[serde(default)]
    workers: Option<u64>,
    #[serde(default)]
    admin: Option<SocketAddr>,
}

/// A server that listens.
pub struct Server {
    /// Who it is.
    pub contender: Contender,
    /// Where it listens.
    pub address: SocketAddr,
    /// How many workers it said it has.
    pub workers: Option<u64>,
    /// Where it tells its counters.
    pub admin: Option<SocketAddr>,
    /// Its memory before the first connection.
    pub baseline: Option<Memory>,
    /// Its descriptors before the first connection.
    pub descriptors_before: u64,
    /// Its process; `None` for one that we did not start.
    process: Option<Started>,
    /// The first of its processes: everything else is below them. Empty: another user's, and we may not look.
    pub roots: Vec<u32>,
    /// Those of its processes that hold the listening socket, whose descriptors connections become.
    pub holders: Vec<u32>,
}

impl Server {
    /// Starts the contender's server, or finds it, and waits until it listens.
    ///
    /// # Errors
    /// A sentence: it cannot run here, and what it said about it.
    pub fn start(contender: &Contender, work: &Work) -> Result<Self, String> {
        match &contender.kind {
            Kind::Model(model) => Self::ours(contender, *model, work),
            Kind::Command(words) => {
                let (process, address) = own::launch(words, work)?;
                let roots = vec![process.pid()];
                Ok(Self::theirs(contender, address, Some(process), roots))
            }
            Kind::Target(address) => {
                if listen::queues(*address).is_empty() {
                    return Err(format!("nobody listens on {address}"));
                }
                Ok(Self::theirs(contender, *address, None, own::roots(*address)))
            }
        }
    }

    fn ours(contender: &Contender, model: Model, work: &Work) -> Result<Self, String> {
        if work.speak == Speak::Memcached {
            return Err("duolu serve does not speak memcached".to_owned());
        }
        let mut arguments = words(&["serve", work.speak.name(), "--model", model.name(), "--port", "0"]);
        arguments.extend(words(&["--bind", "127.0.0.1", "--json-ready", "--quiet"]));
        if model.is_event_driven() {
            arguments.extend(["--workers".to_owned(), work.workers.to_string()]);
            arguments.extend(work.accept.iter().flat_map(|accept| words(&["--accept", accept])));
            if work.workers > 1 {
                arguments.extend(words(&["--admin", "127.0.0.1:0"]));
            }
        }
        let start = Start {
            arguments,
            cpus: work.placement.server(),
            nofile: work.server_nofile,
            death_signal: SIGTERM,
        };
        let mut process = Started::start(&start).map_err(|failure| failure.message().to_owned())?;
        let ready = first_line(&process).and_then(|line| serde_json::from_str::<Ready>(&line).ok());
        let Some(ready) = ready else {
            let how = process.end(Duration::from_millis(100)).map_or(String::new(), children::describe);
            return Err(process
                .last_words()
                .unwrap_or_else(|| format!("the server did not listen: it {how}")));
        };
        let pid = process.pid();
        Ok(Server {
            contender: contender.clone(),
            address: ready.address,
            workers: ready.workers,
            admin: ready.admin,
            baseline: Tree::of(pid).memory(),
            descriptors_before: process::open_descriptors(pid).unwrap_or(0),
            process: Some(process),
            roots: vec![pid],
            holders: vec![pid],
        })
    }

    fn theirs(contender: &Contender, address: SocketAddr, process: Option<Started>, roots: Vec<u32>) -> Self {
        let mut holders = listen::server_pids(address);
        if holders.is_empty() {
            holders.clone_from(&roots);
        }
        let mut server = Server {
            contender: contender.clone(),
            address,
            workers: None,
            admin: None,
            baseline: Tree::of_all(&roots).memory(),
            descriptors_before: 0,
            process,
            roots,
            holders,
        };
        server.descriptors_before = server.descriptors().map_or(0, |(_, open)| open);
        server
    }

    /// Looks again who holds the listening socket: a foreign server may have replaced its workers.
    pub fn refresh(&mut self) {
        if self.contender.model().is_none() {
            let holders = listen::server_pids(self.address);
            if !holders.is_empty() {
                self.holders = holders;
            }
        }
    }

    /// The process with most descriptors among those that serve, and how many those are.
    pub fn descriptors(&self) -> Option<(u32, u64)> {
        let open = self.holders.iter().filter_map(|&pid| Some((pid, process::open_descriptors(pid)?)));
        open.max_by_key(|&(_, open)| open)
    }

    /// Whether it still runs; what cannot be looked at is taken to run.
    pub fn is_running(&self) -> bool {
        match &self.process {
            Some(process) => process.is_running(),
            None => self.roots.is_empty() || self.roots.iter().any(|&pid| lives(pid)),
        }
    }

    /// How it ended, if it has.
    pub fn reap(&mut self) -> Option<Ended> {
        match &mut self.process {
            Some(process) => process.reap().map(Ended::Waited),
            None => (!self.is_running()).then_some(Ended::Gone),
        }
    }

    /// The last lines it wrote on stderr.
    pub fn complaints(&self) -> Vec<String> {
        self.process.as_ref().map(Started::complaints).unwrap_or_default()
    }

    /// Its last sentence about an error; of a server that is not ours its last lines, whatever they are about.
    pub fn last_words(&self) -> Option<String> {
        let process = self.process.as_ref()?;
        if self.contender.model().is_some() {
            return process.last_words();
        }
        let lines = process.complaints();
        let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(3)..];
        (!last.is_empty()).then(|| last.join(" | "))
    }

    /// Why it is not pinned to its processors, if that was refused.
    pub fn unpinned(&self) -> Option<&str> {
        self.process.as_ref().and_then(Started::unpinned)
    }

    /// Waits until the connections of the last rung are gone from the server, so that the next one finds it as
    /// it was; a fork server has its children to bury.
    pub fn settle(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let before = self.baseline.map_or(1, |memory| memory.processes);
        while Instant::now() < until && self.is_running() && !interrupt::requested() {
            let descriptors = self.descriptors().map_or(0, |(_, open)| open);
            let processes = self.roots.len() + Tree::of_all(&self.roots).descendants();
            if descriptors <= self.descriptors_before + 2 && processes <= before.max(1) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server and everything it started. One that we did not start runs on.
    pub fn end(&mut self) {
        if let Some(process) = &mut self.process {
            process.end(END_PATIENCE);
            if self.contender.model().is_none() {
                own::bury_orphans();
            }
        }
    }
}

/// How a server ended.
#[derive(Clone, Copy, Debug)]
pub enum Ended {
    /// A child of ours.
    Waited(ExitStatus),
    /// Somebody else's: how is not ours to know.
    Gone,
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// The first line of stdout. `None`: it ended without one, or took too long, or the user does not want to wait.
fn first_line(process: &Started) -> Option<String> {
    let until = Instant::now() + START_PATIENCE;
    while Instant::now() < until && !interrupt::requested() {
        let running = process.is_running();
        let line = process.next_line(Duration::from_millis(50));
        if line.is_some() || !running {
            return line;
        }
    }
    None
}
