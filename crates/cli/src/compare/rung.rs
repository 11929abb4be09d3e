//! One server on its way up the ladder: started once, loaded rung by rung, ended.

use super::children::{self, SIGTERM, Started, words};
use super::diagnose::{self, Facts};
use super::interrupt;
use super::loader;
use super::result::{Cell, LoadReport, ServerMemory};
use super::tree::{Memory, Tree};
use super::watch::{Watch, Window};
use crate::failure::Failure;
use crate::machine::{self, Placement};
use crate::model::Model;
use crate::walls::machine::ListenCounters;
use crate::walls::process;
use serde::Deserialize;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// A server that does not say within this time that it listens is not going to.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A server that does not end within this time after SIGTERM is killed with all its processes.
const END_PATIENCE: Duration = Duration::from_millis(1500);

/// A rung that began in time may take so much longer than the run should.
const OVERTIME: Duration = Duration::from_secs(3);

/// What every model is asked to do.
#[derive(Clone, Debug)]
pub struct Work {
    /// echo or http.
    pub service: &'static str,
    /// Bytes of a message; `None` where the service decides.
    pub payload: Option<u64>,
    /// How long the loader waits for a connection or a reply before it counts an error.
    pub timeout: Duration,
    /// How many connections talk.
    pub active: Option<u64>,
    /// A connection for each request.
    pub churn: bool,
    /// Workers of the event-driven models.
    pub workers: usize,
    /// When the run has to end, if it has to.
    pub ends_at: Option<Instant>,
    /// RLIMIT_NOFILE of the server.
    pub server_nofile: Option<u64>,
    /// The processors of both sides.
    pub placement: Placement,
}

/// The line that `duolu serve --json-ready` prints when it listens.
#[derive(Deserialize)]
struct Ready {
    address: SocketAddr,
    #[serde(default)]
    workers: Option<u64>,
}

/// A server that listens.
pub struct Server {
    /// Its model.
    pub model: Model,
    process: Started,
    address: SocketAddr,
    workers: Option<u64>,
    baseline: Option<Memory>,
    descriptors_before: u64,
}

/// What became of one run of the loader.
pub enum Climb {
    /// The rung was measured, to its end or its wall.
    Measured(Box<Cell>),
    /// The user ended it, or there was no more time.
    Stopped,
}

impl Server {
    /// Starts the server of a model and waits until it listens.
    ///
    /// # Errors
    /// The model cannot run here: what the server itself said about it.
    pub fn start(model: Model, work: &Work) -> Result<Self, String> {
        let mut arguments = words(&["serve", work.service, "--model", model.name(), "--port", "0"]);
        arguments.extend(words(&["--bind", "127.0.0.1", "--json-ready", "--quiet"]));
        if model.is_event_driven() {
            arguments.extend(["--workers".to_owned(), work.workers.to_string()]);
        }
        let cpus = if work.placement.pinned { work.placement.server_cpus.as_slice() } else { &[] };
        let mut process = Started::start(&arguments, cpus, work.server_nofile, SIGTERM)
            .map_err(|failure| failure.message().to_owned())?;
        let ready = first_line(&process).and_then(|line| serde_json::from_str::<Ready>(&line).ok());
        let Some(ready) = ready else {
            let how = process.end(Duration::from_millis(100)).map_or(String::new(), children::describe);
            return Err(process
                .last_words()
                .unwrap_or_else(|| format!("the server did not listen: it {how}")));
        };
        let tree = Tree::of(process.pid());
        Ok(Server {
            model,
            address: ready.address,
            workers: ready.workers,
            baseline: tree.memory(),
            descriptors_before: process::open_descriptors(process.pid()).unwrap_or(0),
            process,
        })
    }

    /// Loads the server with `connections` for one window; calls `meanwhile` often.
    ///
    /// # Errors
    /// The loader cannot be started, or refuses its command line.
    pub fn climb(
        &mut self,
        connections: u64,
        window: Duration,
        work: &Work,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Climb, Failure> {
        let listen = ListenCounters::read();
        let available_before = machine::memory_available();
        let mut watch = Watch::new(self.process.pid(), self.address, window, work.placement.all());
        let mut look = |is_running: bool| {
            meanwhile();
            watch.tick();
            is_running
        };
        let ends_at = work.ends_at.map(|at| at + OVERTIME);
        let order = loader::Order { target: self.address, connections, window, ends_at };
        let Some(load) = loader::run(&order, work, || look(self.process.is_running()))? else {
            return Ok(Climb::Stopped);
        };
        let seen = watch.between(load.from, load.to);
        let facts = Facts {
            model: self.model,
            asked: connections,
            report: load.report.as_ref(),
            loader_said: load.last_words,
            loader_status: load.status,
            server_pid: self.process.pid(),
            server_ended: self.process.reap(),
            server_said: self.process.complaints(),
            server_last_words: self.process.last_words(),
            marks: watch.marks().clone(),
            descriptors_before: self.descriptors_before,
            server_cpu: seen.cpu,
            server_cpus: server_cores(self.model, work),
            shared: work.placement.shared,
            workers: self.workers,
            listen,
            target: self.address,
            out_of_time: load.cut_short,
        };
        let memory = seen.memory.zip(self.baseline).map(|(now, before)| ServerMemory {
            bytes: now.bytes,
            baseline_bytes: before.bytes,
            processes: now.processes,
            processes_read: now.read,
        });
        let fallen = available_before.zip(seen.available).map(|(before, now)| before.saturating_sub(now));
        let mut cell = cell(&facts, seen.cpu, memory, fallen);
        cell.others_cpu = others_cpu(load.report.as_ref(), &seen);
        cell.window_s = load.to.saturating_duration_since(load.from).as_secs_f64();
        Ok(Climb::Measured(Box::new(cell)))
    }

    /// Waits until the connections of the last rung are gone from the server, so that the next one finds it as
    /// it was; a fork server has its children to bury.
    pub fn settle(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let before = self.baseline.map_or(1, |memory| memory.processes);
        while Instant::now() < until && self.process.is_running() && !interrupt::requested() {
            let descriptors = process::open_descriptors(self.process.pid()).unwrap_or(0);
            let processes = 1 + Tree::of(self.process.pid()).descendants();
            if descriptors <= self.descriptors_before + 2 && processes <= before {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server and everything it started.
    pub fn end(&mut self) {
        self.process.end(END_PATIENCE);
    }
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

/// The cores that the server can fill: those it was pinned to, or what its model can use of all.
fn server_cores(model: Model, work: &Work) -> usize {
    let cores = work.placement.server_cpus.len().max(1);
    if work.placement.pinned || !model.is_event_driven() { cores } else { work.workers.min(cores) }
}

/// What neither the server nor the loader used: other programs, and we ourselves looking around.
fn others_cpu(report: Option<&LoadReport>, seen: &Window) -> Option<f64> {
    let report = report?;
    let loader = report.loader_cpu? * report.threads.unwrap_or(1) as f64;
    Some((seen.machine_cpu? - seen.cpu? - loader).max(0.0))
}

/// The figures of one run, from what the loader told and what was seen of the server.
fn cell(facts: &Facts<'_>, cores: Option<f64>, memory: Option<ServerMemory>, fallen: Option<u64>) -> Cell {
    let report = facts.report.cloned().unwrap_or_default();
    let per_connection =
        |bytes: u64| (report.established > 0).then(|| bytes as f64 / report.established as f64);
    let spoke = report.messages > 0 && report.rate > 0.0;
    Cell {
        model: facts.model,
        connections: facts.asked,
        established: report.established,
        rate: spoke.then_some(report.rate),
        p50_us: report.p50_us.filter(|_| spoke),
        p99_us: report.p99_us.filter(|_| spoke),
        p999_us: report.p999_us.filter(|_| spoke),
        server_cpu_us_per_msg: cores.filter(|_| spoke).map(|cores| cores * 1e6 / report.rate),
        server_bytes_per_conn: memory
            .and_then(|memory| per_connection(memory.bytes.saturating_sub(memory.baseline_bytes))),
        errors: report.errors.values().sum(),
        wall: diagnose::wall(facts),
        loader_cpu: report.loader_cpu,
        repeats: 1,
        spread: None,
        limited_by: diagnose::limit(facts),
        errors_by_kind: report.errors,
        messages: report.messages,
        window_s: 0.0,
        connect_p99_us: report.connect_p99_us,
        server_cpu: cores,
        others_cpu: None,
        server_memory: memory,
        machine_bytes_per_conn: fallen.and_then(per_connection),
        loader_limited: report.loader_limited,
    }
}
