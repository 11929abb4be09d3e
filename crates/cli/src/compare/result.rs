//! What a run gives: one cell for each model and rung, and the report that holds them. The JSON fields are the
//! contract that readers rely on: add, never rename.

use crate::machine::Machine;
use crate::model::Model;
use crate::walls::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One model at one rung of the ladder. Without a message there is no rate, and no percentile: `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The model.
    pub model: Model,
    /// The connections that were asked for.
    pub connections: u64,
    /// The connections that stood and were served.
    pub established: u64,
    /// Messages answered per second.
    pub rate: Option<f64>,
    /// Half of the answers came within this many microseconds.
    pub p50_us: Option<f64>,
    /// 99 of 100 answers.
    pub p99_us: Option<f64>,
    /// 999 of 1000 answers.
    pub p999_us: Option<f64>,
    /// CPU time of the server's whole process tree for one message, microseconds.
    pub server_cpu_us_per_msg: Option<f64>,
    /// Memory of the server's whole process tree for one connection, bytes.
    pub server_bytes_per_conn: Option<f64>,
    /// Everything that went wrong, counted.
    pub errors: u64,
    /// What ended this model's line here, if something did.
    pub wall: Option<Wall>,
    /// The loader's CPU use: 1.0 is all its threads' cores full.
    pub loader_cpu: Option<f64>,
    /// How often this cell was measured; the figures are those of the run with the median rate.
    pub repeats: u32,
    /// (highest rate - lowest rate) / median rate over the repeats; `None` with one.
    pub spread: Option<f64>,

    /// What bounded the rate though every connection was held: a full core of the server, or the loader.
    pub limited_by: Option<Wall>,
    /// The errors by their kind.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Messages answered within the window.
    pub messages: u64,
    /// The window that the loader measured, seconds.
    pub window_s: f64,
    /// 99 of 100 connections stood within this many microseconds.
    pub connect_p99_us: Option<f64>,
    /// The server's CPU use over the window: 1.0 is one core full.
    pub server_cpu: Option<f64>,
    /// CPU use of everybody but server and loader, in cores: above 0.3 or so the figures are too low.
    pub others_cpu: Option<f64>,
    /// The memory of the server's tree at that rung and before the first connection.
    pub server_memory: Option<ServerMemory>,
    /// What the whole machine had less of for each connection: both ends, the kernel's sockets, kernel stacks.
    pub machine_bytes_per_conn: Option<f64>,
    /// Whether the loader was the limit: then the rate is a lower bound.
    pub loader_limited: bool,
}

/// How `server_bytes_per_conn` came about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ServerMemory {
    /// Bytes at this rung.
    pub bytes: u64,
    /// Bytes with no connection.
    pub baseline_bytes: u64,
    /// Processes of the server.
    pub processes: usize,
    /// How many of them were read; the others are taken to be like those.
    pub processes_read: usize,
}

impl Cell {
    /// Whether every connection that was asked for was held without an error.
    pub fn held(&self) -> bool {
        self.wall.is_none() && self.established >= self.connections && self.errors == 0
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// 1.
    pub schema: u32,
    /// Whether every cell that was planned was measured or lies behind a wall.
    pub complete: bool,
    /// Whether the user ended it early.
    pub interrupted: bool,
    /// The machine.
    pub machine: Machine,
    /// What was asked for.
    pub asked: Asked,
    /// The cells, by model in the table's order, then by rung.
    pub results: Vec<Cell>,
    /// Models that cannot run here, and why.
    pub unavailable: BTreeMap<&'static str, String>,
    /// What the cells show, in plain sentences.
    pub shows: Vec<String>,
    /// How the figures were taken.
    pub methods: Methods,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// The models.
    pub models: Vec<Model>,
    /// The models, in the order in which they ran.
    pub order: Vec<Model>,
    /// The ladder.
    pub connections: Vec<u64>,
    /// The window for each rung, seconds. `--quick` may shorten it to end in time.
    pub window_s: f64,
    /// The service: echo or http.
    pub service: String,
    /// Bytes of a message, where it is ours to say.
    pub payload_bytes: Option<u64>,
    /// How many of the connections talk; all if not given.
    pub active: Option<u64>,
    /// Whether each request had a connection of its own.
    pub churn: bool,
    /// Worker threads of the event-driven models.
    pub workers: usize,
    /// The server's RLIMIT_NOFILE, if it was set.
    pub server_nofile: Option<u64>,
    /// The seed of the order, if it was shuffled.
    pub seed: Option<u64>,
}

/// How the figures were taken: a number without its method cannot be compared.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Methods {
    server_cpu_us_per_msg: &'static str,
    server_bytes_per_conn: &'static str,
    machine_bytes_per_conn: &'static str,
}

/// The methods of this version.
pub const METHODS: Methods = Methods {
    server_cpu_us_per_msg: "user and system time of the server's process and all its descendants, living and \
        reaped (the scheduler's CPU clocks), between two moments inside the loader's window; divided by the \
        loader's message rate. Work that the kernel does in interrupts for others is not in it",
    server_bytes_per_conn: "anonymous and shared memory (smaps_rollup Pss_Anon + Pss_Shmem; RssAnon + RssShmem \
        for more than 64 threads) and page tables (VmPTE) of the server's process and all its descendants during \
        the window, less the same before the first connection, divided by the connections. Of more than 96 \
        children an even sample is read. The kernel's sockets and kernel stacks are not in it",
    machine_bytes_per_conn: "the fall of MemAvailable during the window, divided by the connections: both ends, \
        the kernel's sockets and stacks, and whatever else ran meanwhile",
};

/// What `duolu load --json` prints, as far as it is needed here. A field that is not there is empty, not wrong:
/// the loader may be older.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadReport {
    /// Connections that stood.
    pub established: u64,
    /// Messages answered within the window.
    pub messages: u64,
    /// Messages per second.
    pub rate: f64,
    /// Percentiles, microseconds.
    pub p50_us: Option<f64>,
    /// 99 of 100.
    pub p99_us: Option<f64>,
    /// 999 of 1000.
    pub p999_us: Option<f64>,
    /// 99 of 100 connections stood within.
    pub connect_p99_us: Option<f64>,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// The loader's CPU use.
    pub loader_cpu: Option<f64>,
    /// Its threads: `loader_cpu` is the mean over them.
    pub threads: Option<u64>,
    /// Whether the loader was the limit.
    pub loader_limited: bool,
    /// The wall that the loader saw.
    pub wall: Option<Wall>,
    /// When it measured.
    pub window: Option<LoaderWindow>,
}

/// The loader's window on CLOCK_MONOTONIC, which all processes of a machine share.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoaderWindow {
    /// Its begin, nanoseconds.
    pub began_ns: u64,
    /// Its end.
    pub ended_ns: u64,
}
