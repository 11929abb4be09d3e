//! What a run gives: one cell for each contender, mix, payload and rung, and the report that holds them. The JSON
//! fields are the contract that readers rely on: add, never rename. They are read back (`--against`, `duolu report`) as
//! JSON, not as these types: a result may be older.

use super::blocks::{Block, Mix};
use crate::machine::Machine;
use crate::walls::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One contender at one rung of the ladder. Without a message there is no rate, and no percentile: `None`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    /// The model, or the name of the user's own server.
    pub model: String,
    /// The connections that were asked for.
    pub connections: u64,
    /// The connections that stood and were served.
    pub established: u64,
    /// Messages answered per second; `None` where they were sampled.
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
    /// What ended this line here, if something did.
    pub wall: Option<Wall>,
    /// The loader's CPU use: 1.0 is all its threads' cores full.
    pub loader_cpu: Option<f64>,
    /// How often this cell was measured; each figure is the median over these runs.
    pub repeats: u32,
    /// (highest rate - lowest rate) / median rate over the repeats; `None` with one.
    pub spread: Option<f64>,

    /// What the connections did.
    pub mix: Mix,
    /// Bytes of a message; `None` where the protocol decides.
    pub payload_bytes: Option<u64>,
    /// How many connections talked.
    pub active: Option<u64>,
    /// 9 of 10 answers.
    pub p90_us: Option<f64>,
    /// The longest answer.
    pub max_us: Option<f64>,
    /// What bounded the rate though every connection was held: a full core of the server, or the loader; or why
    /// there is no rate.
    pub limited_by: Option<Wall>,
    /// The errors by their kind.
    pub errors_by_kind: BTreeMap<String, u64>,
    /// Messages answered within the window.
    pub messages: u64,
    /// The window that the loader measured, seconds; of all repeats together.
    pub window_s: f64,
    /// 99 of 100 connections stood within this many microseconds.
    pub connect_p99_us: Option<f64>,
    /// The server's CPU use over the window: 1.0 is one core full.
    pub server_cpu: Option<f64>,
    /// CPU use of everybody but server and loader, in cores: above 0.3 or so the figures are too low.
    pub others_cpu: Option<f64>,
    /// CPU use of compare itself, which looks at the server meanwhile: thousands of processes take their time.
    pub own_cpu: Option<f64>,
    /// Processor time that the hypervisor gave to other machines (steal), in cores.
    pub stolen_cpu: Option<f64>,
    /// The memory of the server's tree at that rung and before the first connection.
    pub server_memory: Option<ServerMemory>,
    /// The kernel's part of a connection: sockets, their buffers and kernel stacks, of both ends.
    pub kernel_bytes_per_conn: Option<f64>,
    /// What the whole machine had less of for each connection: both ends, the kernel's sockets, kernel stacks.
    pub machine_bytes_per_conn: Option<f64>,
    /// Whether the loader was the limit: then the rate is a lower bound.
    pub loader_limited: bool,
    /// How many connections each worker of the server had; where there are several and it tells.
    pub worker_connections: Option<Vec<u64>>,
    /// (highest - lowest) / median of each figure over the repeats, by the figure's name; empty with one.
    pub spreads: BTreeMap<String, f64>,
    /// The runs behind the medians, in the order in which they ran; empty with one.
    pub runs: Vec<Run>,
    /// Whether one connection at a time exchanged, chosen at random, because there were more than the loader may have
    /// descriptors: there is no rate then, and the latencies are those of a server that has nothing else to do.
    #[serde(default)]
    pub sampled: bool,
    /// All latencies of all repeats: HdrHistogram V2, base64, nanoseconds.
    pub histogram: Option<String>,
}

/// One of several runs behind a cell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    /// Messages answered per second.
    pub rate: Option<f64>,
    /// 99 of 100 answers, microseconds.
    pub p99_us: Option<f64>,
    /// CPU time of the server for one message, microseconds.
    pub server_cpu_us_per_msg: Option<f64>,
    /// CPU use of everybody but server and loader, in cores.
    pub others_cpu: Option<f64>,
    /// The wall that this run met.
    pub wall: Option<String>,
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

    /// Whether there was an answer within the window.
    pub fn answered(&self) -> bool {
        self.rate.is_some() || (self.sampled && self.p50_us.is_some())
    }

    /// Whether it belongs to this block of results.
    pub fn is_of(&self, block: &Block) -> bool {
        self.mix == block.mix && self.payload_bytes == block.payload
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
    /// The cells, block by block, by contender in the table's order, then by rung.
    pub results: Vec<Cell>,
    /// Contenders that cannot run here, and why.
    pub unavailable: BTreeMap<String, String>,
    /// What the cells show, in plain sentences.
    pub shows: Vec<String>,
    /// What is different from an older result (`--against`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<super::against::Against>,
    /// How the figures were taken: a number without its method cannot be compared.
    pub methods: BTreeMap<String, String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asked {
    /// The contenders: models and the user's own servers, in the order of the table.
    pub models: Vec<String>,
    /// The same, in the order in which they ran.
    pub order: Vec<String>,
    /// The user's own servers among them.
    pub own: Vec<Own>,
    /// The ladder.
    pub connections: Vec<u64>,
    /// The window for each rung, seconds. `--quick` may shorten it to end in time.
    pub window_s: f64,
    /// How often everything was to be measured: all contenders once, then all again, and so on.
    pub repeats: u32,
    /// The protocol: echo, http or memcached.
    pub service: String,
    /// The mixes.
    pub mixes: Vec<Mix>,
    /// Bytes of a message, where it is ours to say.
    pub payloads: Vec<u64>,
    /// The first of them.
    pub payload_bytes: Option<u64>,
    /// How many of the connections talk in the idle mix, if that was said.
    pub active: Option<u64>,
    /// Whether each request had a connection of its own, everywhere.
    pub churn: bool,
    /// Worker threads of the event-driven models.
    pub workers: usize,
    /// How workers come to their connections, if it was said.
    pub accept: Option<String>,
    /// The server's RLIMIT_NOFILE, if it was set.
    pub server_nofile: Option<u64>,
    /// The seed of the order, if it was shuffled.
    pub seed: Option<u64>,
}

/// A server of the user's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Own {
    /// Its name in the table.
    pub name: String,
    /// The command line, or the address where it ran already.
    pub origin: String,
}

/// The methods of this version.
pub fn methods() -> BTreeMap<String, String> {
    METHODS.map(|(figure, how)| (figure.to_owned(), how.to_owned())).into()
}

const METHODS: [(&str, &str); 5] = [
    (
        "server_cpu_us_per_msg",
        "user and system time of the server's process and all its descendants, living and \
        reaped (the scheduler's CPU clocks), between two moments inside the loader's window; divided by the \
        loader's message rate. Work that the kernel does in interrupts for others is not in it",
    ),
    (
        "server_bytes_per_conn",
        "anonymous and shared memory (smaps_rollup Pss_Anon + Pss_Shmem; RssAnon + RssShmem \
        for more than 64 threads) and page tables (VmPTE) of the server's process and all its descendants during \
        the window, less the same before the first connection, divided by the connections. Of more than 96 \
        children an even sample is read. The kernel's sockets and kernel stacks are not in it",
    ),
    (
        "kernel_bytes_per_conn",
        "the rise of Slab and KernelStack (/proc/meminfo) and of TCP's buffers (mem of /proc/net/sockstat) during the \
        window, divided by the connections: the kernel's part, of both ends, since both are on this machine. Only \
        from 500 connections on: below, what the rest of the machine does is larger",
    ),
    (
        "machine_bytes_per_conn",
        "the fall of MemAvailable during the window, divided by the connections: both ends, \
        the kernel's sockets and stacks, and whatever else ran meanwhile",
    ),
    (
        "repeats",
        "every contender once up the whole ladder, then every one again (ABAB), each time with a new server process; \
        each figure is the median of its runs, spread is (highest - lowest) / median",
    ),
];

/// What `duolu load --json` prints, as far as it is needed here. A field that is not there is empty, not wrong:
/// the loader may be older.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoadReport {
    /// How it exchanged: "closed", "churn", "sampled" ...
    pub mode: String,
    /// Connections that stood.
    pub established: u64,
    /// Messages answered within the window.
    pub messages: u64,
    /// Messages per second.
    pub rate: f64,
    /// Percentiles, microseconds.
    pub p50_us: Option<f64>,
    /// 9 of 10.
    pub p90_us: Option<f64>,
    /// 99 of 100.
    pub p99_us: Option<f64>,
    /// 999 of 1000.
    pub p999_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
    /// 99 of 100 connections stood within.
    pub connect_p99_us: Option<f64>,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// The first thing that went wrong, described.
    pub first_error: Option<String>,
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
    /// All latencies: HdrHistogram V2, base64.
    pub histogram: Option<String>,
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
