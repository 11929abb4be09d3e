//! One server on its way up the ladder: started once, loaded rung by rung, ended.

use super::children::{self, SIGINT, SIGTERM, Started};
use super::diagnose::{self, Facts};
use super::interrupt;
use super::result::{Cell, LoadReport, ServerMemory};
use super::tree::{Memory, Tree};
use super::watch::Watch;
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

/// The loader's readiness is looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// SIGKILL, for the loader: it has nothing to put in order.
const LOADER_DEATH: i32 = 9;

/// What every model is asked to do.
#[derive(Clone, Debug)]
pub struct Work {
    /// echo or http.
    pub service: &'static str,
    /// Bytes of a message.
    pub payload: u64,
    /// How many connections talk.
    pub active: Option<u64>,
    /// A connection for each request.
    pub churn: bool,
    /// Workers of the event-driven models.
    pub workers: usize,
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
    /// The user ended it.
    Interrupted,
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
        let ready =
            process.next_line(START_PATIENCE).and_then(|line| serde_json::from_str::<Ready>(&line).ok());
        let Some(ready) = ready else {
            let how = process.end(Duration::from_millis(100)).map_or(String::new(), children::describe);
            return Err(
                last_words(&process).unwrap_or_else(|| format!("the server did not listen: it {how}"))
            );
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
    /// The loader cannot be started.
    pub fn climb(
        &mut self,
        connections: u64,
        window: Duration,
        work: &Work,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<Climb, Failure> {
        let counters = ListenCounters::read();
        let available_before = machine::memory_available();
        let mut watch = Watch::new(self.process.pid(), self.address);
        let cpus = if work.placement.pinned { work.placement.loader_cpus.as_slice() } else { &[] };
        let arguments = loader_arguments(self.address, connections, window, work);
        let began = Instant::now();
        let mut loader = Started::start(&arguments, cpus, None, LOADER_DEATH)?;
        let allowed = window + Duration::from_secs(12) + Duration::from_millis(connections * 2);
        let mut cut_short = None;
        while loader.is_running() {
            if interrupt::requested() {
                return Ok(Climb::Interrupted);
            }
            if cut_short.is_none() && (!self.process.is_running() || began.elapsed() > allowed) {
                cut_short = Some(Instant::now());
                loader.signal(SIGINT); // it prints what it has
            }
            if cut_short.is_some_and(|at| at.elapsed() > Duration::from_secs(2)) {
                break;
            }
            watch.tick();
            meanwhile();
            thread::sleep(LOOK_EVERY);
        }
        let ended = Instant::now();
        let loader_status = loader.end(Duration::ZERO);
        let output = loader.remaining_output(Duration::from_secs(2));
        let report = read_report(&output);
        let (from, to) = measured_window(report.as_ref(), ended, window);
        let seen = watch.between(from, to);
        let facts = Facts {
            model: self.model,
            asked: connections,
            report: report.as_ref(),
            loader_said: loader.complaints(),
            loader_status,
            server_pid: self.process.pid(),
            server_said: self.process.complaints(),
            server_ended: self.process.reap(),
            marks: watch.marks().clone(),
            descriptors_before: self.descriptors_before,
            server_cpu: seen.cpu,
            server_cpus: server_cores(self.model, work),
            shared: work.placement.shared,
            workers: self.workers,
            listen: counters,
            target: self.address,
            out_of_time: cut_short.is_some(),
        };
        let report = report.clone().unwrap_or_default();
        let errors = report.errors.values().sum();
        let per_connection =
            |bytes: u64| (report.established > 0).then(|| bytes as f64 / report.established as f64);
        let memory = seen.memory.zip(self.baseline).map(|(now, before)| ServerMemory {
            bytes: now.bytes,
            baseline_bytes: before.bytes,
            processes: now.processes,
            processes_read: now.read,
        });
        let spoke = report.messages > 0 && report.rate > 0.0;
        Ok(Climb::Measured(Box::new(Cell {
            model: self.model,
            connections,
            established: report.established,
            rate: spoke.then_some(report.rate),
            p50_us: report.p50_us.filter(|_| spoke),
            p99_us: report.p99_us.filter(|_| spoke),
            p999_us: report.p999_us.filter(|_| spoke),
            server_cpu_us_per_msg: seen.cpu.filter(|_| spoke).map(|cores| cores * 1e6 / report.rate),
            server_bytes_per_conn: memory
                .and_then(|memory| per_connection(memory.bytes.saturating_sub(memory.baseline_bytes))),
            errors,
            wall: diagnose::wall(&facts),
            loader_cpu: report.loader_cpu,
            repeats: 1,
            spread: None,
            limited_by: diagnose::limit(&facts),
            errors_by_kind: report.errors,
            messages: report.messages,
            window_s: to.saturating_duration_since(from).as_secs_f64(),
            connect_p99_us: report.connect_p99_us,
            server_cpu: seen.cpu,
            server_memory: memory,
            machine_bytes_per_conn: available_before
                .zip(seen.available)
                .and_then(|(before, now)| per_connection(before.saturating_sub(now))),
            loader_limited: report.loader_limited,
        })))
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

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|&word| word.to_owned()).collect()
}

fn loader_arguments(target: SocketAddr, connections: u64, window: Duration, work: &Work) -> Vec<String> {
    let mut arguments =
        words(&["load", &target.to_string(), "--json", "--quiet", "-c", &connections.to_string()]);
    arguments.extend(words(&["-d", &format!("{}ms", window.as_millis())]));
    arguments.extend(words(&["--payload", &work.payload.to_string(), "--speak", work.service]));
    if let Some(active) = work.active {
        arguments.extend(words(&["--active", &active.min(connections).to_string()]));
    }
    if work.churn {
        arguments.push("--churn".to_owned());
    }
    arguments
}

/// The cores that the server can fill: those it was pinned to, or what its model can use of all.
fn server_cores(model: Model, work: &Work) -> usize {
    let cores = work.placement.server_cpus.len().max(1);
    if work.placement.pinned || !model.is_event_driven() { cores } else { work.workers.min(cores) }
}

fn read_report(output: &str) -> Option<LoadReport> {
    output
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .or_else(|| serde_json::from_str(output).ok())
}

/// When the loader measured. It says so in its report; where it does not (an older one), the window is what lies
/// before its end, less a margin for closing.
fn measured_window(report: Option<&LoadReport>, ended: Instant, window: Duration) -> (Instant, Instant) {
    let told = report.and_then(|report| report.window.as_ref());
    let moments = told.and_then(|told| Some((moment(told.began_ns)?, moment(told.ended_ns)?)));
    moments.unwrap_or_else(|| {
        let to = ended.checked_sub(window / 10).unwrap_or(ended);
        (to.checked_sub(window * 4 / 5).unwrap_or(to), to)
    })
}

/// A reading of CLOCK_MONOTONIC, which all processes share, as an Instant of this one.
fn moment(monotonic_ns: u64) -> Option<Instant> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now_ns = u64::try_from(now.tv_sec).ok()? * 1_000_000_000 + u64::try_from(now.tv_nsec).ok()?;
    Instant::now().checked_sub(Duration::from_nanos(now_ns.checked_sub(monotonic_ns)?))
}

/// The last thing a process said, as far as it is a sentence for people.
fn last_words(process: &Started) -> Option<String> {
    let line = process.complaints().pop()?;
    Some(line.strip_prefix("duolu: ").unwrap_or(&line).to_owned())
}
