//! One rung of the ladder: one run of the loader against a server, watched, diagnosed, turned into a cell.

use super::blocks::{Block, Speak};
use super::contender::Contender;
use super::diagnose::{self, Facts};
use super::loader;
use super::result::{Cell, LoadReport, ServerMemory};
use super::server::Server;
use super::watch::{Watch, Window};
use crate::failure::Failure;
use crate::machine::{self, Placement};
use crate::walls::Wall;
use crate::walls::machine::ListenCounters;
use crate::walls::memory::OomKills;
use serde_json::json;
use std::time::{Duration, Instant};

/// A rung that began in time may take so much longer than the run should.
const OVERTIME: Duration = Duration::from_secs(3);

/// With fewer connections the kernel's memory for them drowns in what the rest of the machine does.
const ENOUGH_FOR_KERNEL_MEMORY: u64 = 500;

/// The loader's word for exchanging on a few at a time, chosen at random.
const SAMPLED: &str = "sampled";

/// What every contender is asked to do, whatever the block.
#[derive(Clone, Debug)]
pub struct Work {
    /// The protocol.
    pub speak: Speak,
    /// The path of the requests, where the target was given as a URL.
    pub path: Option<String>,
    /// How long the loader waits for a connection or a reply before it counts an error.
    pub timeout: Duration,
    /// How long a command may take until it listens.
    pub patience: Duration,
    /// Workers of the event-driven models.
    pub workers: usize,
    /// How they come to their connections.
    pub accept: Option<&'static str>,
    /// When the run has to end, if it has to.
    pub ends_at: Option<Instant>,
    /// RLIMIT_NOFILE of the server.
    pub server_nofile: Option<u64>,
    /// The processors of both sides.
    pub placement: Placement,
}

/// What became of one run of the loader.
pub enum Climb {
    /// The rung was measured, to its end or its wall.
    Measured(Box<Measured>),
    /// The user ended it, or there was no more time.
    Stopped,
}

/// What was measured.
pub struct Measured {
    /// The figures.
    pub cell: Cell,
    /// Why the loader was not pinned, if that was refused.
    pub unpinned: Option<String>,
}

/// Loads a server with `connections` for one window; calls `meanwhile` often.
///
/// # Errors
/// The loader cannot be started, or refuses its command line.
pub fn climb(
    server: &mut Server,
    block: Block,
    connections: u64,
    window: Duration,
    work: &Work,
    meanwhile: &mut dyn FnMut(),
) -> Result<Climb, Failure> {
    server.refresh();
    let listen = ListenCounters::read();
    let oom_kills = server.roots.first().and_then(|&pid| OomKills::of(pid));
    let before = (machine::memory_available(), machine::kernel_memory());
    let began = Instant::now();
    let mut watch = Watch::new(server, window, &work.placement);
    let ends_at = work.ends_at.map(|at| at + OVERTIME);
    let order = loader::Order { target: server.address, block, connections, window, ends_at };
    let look = || {
        meanwhile();
        watch.tick();
        server.is_running()
    };
    let Some(load) = loader::run(&order, work, look)? else { return Ok(Climb::Stopped) };
    let seen = match load.report {
        Some(_) => watch.between(load.from, load.to),
        None => watch.between(began, Instant::now()), // the loader had no window
    };
    let cores = work.placement.all().len().max(1);
    let pid = watch.marks().descriptors_of.or(server.roots.first().copied());
    let facts = Facts {
        model: server.contender.model(),
        asked: connections,
        report: load.report.as_ref(),
        loader_said: load.last_words,
        loader_status: load.status,
        server_pid: pid.unwrap_or(0),
        server_ended: server.reap(),
        server_said: server.complaints(),
        server_last_words: server.last_words(),
        marks: watch.marks().clone(),
        descriptors_before: server.descriptors_before,
        server_cpu: seen.cpu,
        server_softirq: seen.server_softirq.unwrap_or(0.0),
        others_cpu: others_cpu(load.report.as_ref(), &seen, cores),
        all_cpus: cores,
        server_cpus: server_cores(&server.contender, work),
        shared: work.placement.shared,
        workers: server.workers,
        listen,
        oom_kills: oom_kills.map_or(0, |kills| kills.since()),
        target: server.address,
        out_of_time: load.cut_short,
    };
    let mut cell = cell(&facts, &server.contender.name, &seen);
    let held = cell.established;
    let per_connection = |bytes: u64| (held > 0).then(|| bytes as f64 / held as f64);
    cell.server_memory = seen.memory.zip(server.baseline).map(|(now, before)| ServerMemory {
        bytes: now.bytes,
        baseline_bytes: before.bytes,
        processes: now.processes,
        processes_read: now.read,
    });
    let grown = |memory: ServerMemory| memory.bytes.saturating_sub(memory.baseline_bytes);
    cell.server_bytes_per_conn = cell.server_memory.and_then(|memory| per_connection(grown(memory)));
    let fallen = before.0.zip(seen.available).map(|(before, now)| before.saturating_sub(now));
    cell.machine_bytes_per_conn = fallen.and_then(per_connection);
    let risen = before.1.zip(seen.kernel).map(|(before, now)| now.saturating_sub(before));
    cell.kernel_bytes_per_conn = risen.filter(|_| held >= ENOUGH_FOR_KERNEL_MEMORY).and_then(per_connection);
    cell.mix = block.mix;
    cell.payload_bytes = block.payload;
    cell.active = Some(block.active(connections));
    cell.window_s = load.to.saturating_duration_since(load.from).as_secs_f64();
    if cell.wall.is_none() && !cell.answered() {
        cell.limited_by = Some(no_answer(&cell, &watch, work));
    }
    let unpinned = load.unpinned;
    Ok(Climb::Measured(Box::new(Measured { cell, unpinned })))
}

/// The cores that the server can fill: those it was pinned to, or what its model can use of all.
fn server_cores(contender: &Contender, work: &Work) -> usize {
    let placement = &work.placement;
    match contender.model() {
        // A server that runs already is where it is.
        None if !placement.pinned => machine::allowed_cpus().len().max(1),
        Some(model) if !placement.pinned && model.is_event_driven() => {
            work.workers.min(placement.server_cpus.len().max(1))
        }
        _ => placement.server_cpus.len().max(1),
    }
}

/// What neither the server nor the loader used, nor the kernel for their network, nor we ourselves looking around. A
/// loader that told nothing is taken to have used a whole core.
fn others_cpu(report: Option<&LoadReport>, seen: &Window, cores: usize) -> Option<f64> {
    let loader = match report {
        Some(report) => report.loader_cpu? * report.threads.unwrap_or(1) as f64,
        None => 1.0,
    };
    // With processors besides those of server and loader, we are on one of them.
    let looking = seen.own_cpu.filter(|_| machine::allowed_cpus().len() <= cores);
    let ours: f64 = [seen.cpu, looking, seen.softirq].into_iter().flatten().sum();
    Some((seen.machine_cpu? - ours - loader).max(0.0))
}

/// The figures of one run, from what the loader told and what was seen of the server.
fn cell(facts: &Facts<'_>, name: &str, seen: &Window) -> Cell {
    let report = facts.report.cloned().unwrap_or_default();
    let spoke = report.messages > 0 && report.rate > 0.0;
    let sampled = report.mode == SAMPLED;
    // One message at a time: a rate, and what a message costs at it, would be the loader's pace and not the server's.
    let all_spoke = spoke && !sampled;
    Cell {
        model: name.to_owned(),
        connections: facts.asked,
        established: report.established,
        rate: all_spoke.then_some(report.rate),
        p50_us: report.p50_us.filter(|_| spoke),
        p90_us: report.p90_us.filter(|_| spoke),
        p99_us: report.p99_us.filter(|_| spoke),
        p999_us: report.p999_us.filter(|_| spoke),
        max_us: report.max_us.filter(|_| spoke),
        server_cpu_us_per_msg: seen.cpu.filter(|_| all_spoke).map(|cores| cores * 1e6 / report.rate),
        errors: report.errors.values().sum(),
        wall: diagnose::wall(facts),
        loader_cpu: report.loader_cpu,
        repeats: 1,
        limited_by: diagnose::limit(facts).filter(|_| !sampled),
        others_cpu: facts.others_cpu.filter(|_| seen.cpu.is_some()),
        stolen_cpu: seen.stolen_cpu,
        own_cpu: seen.own_cpu,
        messages: report.messages,
        connect_p99_us: report.connect_p99_us,
        server_cpu: seen.cpu,
        loader_limited: report.loader_limited,
        worker_connections: facts.marks.balance.clone(),
        sampled,
        histogram: report.histogram.filter(|_| spoke),
        errors_by_kind: report.errors,
        ..Cell::default()
    }
}

/// Why a window saw no answer though every connection stood and had had one before it.
fn no_answer(cell: &Cell, watch: &Watch, work: &Work) -> Wall {
    let tasks = watch.marks().threads.max(watch.marks().descendants);
    let read = json!({
        "established": cell.established,
        "window": cell.window_s,
        "tasks": (tasks > 100).then_some(tasks),
        "cores": work.placement.server_cpus.len().max(1),
        "others": cell.others_cpu.filter(|&cores| cores >= machine::DISTURBED),
    });
    Wall::told(diagnose::NO_ANSWER, "no_answer", &read)
}
