//! More connections than there are descriptors: dialled into the file tables of as many rings as it takes
//! ([`Rings`]), by one thread. Nobody can have a million of them exchange at once on one machine and call the latency
//! the server's; so a random few exchange at any time, all along, and every byte of that is checked.
//!
//! Reading order: [`climb`] (dialling, and how it stops), [`sample`] (exchanges), [`account`] (memory).

mod account;
mod climb;
mod sample;

pub use account::Account;

use super::args::{Mode, Output, Plan};
use super::conduct::Outcome;
use super::dialogue::Speak;
use super::progress::Progress;
use super::report;
use super::tally::Tally;
use crate::failure::Failure;
use crate::terminal;
use crate::walls::files::Files;
use crate::walls::machine::ListenCounters;
use crate::walls::{grouped, memory, names};
use account::Accountant;
use climb::Crowd;
use duolu_sys::completion::{Config, Rings, RingsConfig};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use signal_hook::consts::SIGINT;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Descriptors that a run without rings needs besides its connections.
const BESIDES: u64 = 32;
/// How many exchange at a time at most, whatever `--active` says.
const MOST_AT_ONCE: usize = 4096;
/// The kernel's memory for one end of a connection in a ring; see bench/RESULTS.md.
const BYTES_AN_END: u64 = 4_800;

/// Whether so many connections go beyond the descriptors, and can be had all the same; or it was asked for.
///
/// # Errors
/// It was asked for, and this kernel does not let us.
pub fn is_wanted(plan: &Plan) -> Result<bool, Failure> {
    if plan.sampled {
        return rings(plan).map(|_| true);
    }
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let beyond = plan.connections as u64 + BESIDES > limit;
    Ok(beyond
        && plan.speak == Speak::Echo
        && !plan.is_churn()
        && rings(plan).is_ok_and(|rings| rings.bounds().1 > 1))
}

/// One thread; unless `--active` says how many, one connection at a time exchanges.
pub fn prepare(plan: &mut Plan) {
    plan.threads = 1;
    plan.active = if plan.active == plan.connections { 1 } else { plan.active.min(MOST_AT_ONCE) };
}

fn rings(plan: &Plan) -> Result<Rings, Failure> {
    let ring = Config { first_buffers: 2, completions: 4096, ..Config::default() };
    Rings::new(RingsConfig { ring, connections: plan.connections as u64 }).map_err(|error| {
        Failure::cannot(format!(
            "--sampled holds its connections in io_uring, which cannot run here: {error}"
        ))
    })
}

/// What will be met on the way, as far as it can be told now: the climb goes there all the same, and stops in good order.
fn forecast(plan: &Plan) {
    let wanted = plan.connections as u64;
    let ends = if plan.target.is_here { 2 } else { 1 };
    let files = Files::that_bound_us().map(|files| files.room() / ends);
    let memory = memory::Floor::read().room().map(|bytes| bytes / (BYTES_AN_END * ends));
    for (room, wall) in [(files, names::FILE_TABLE), (memory, names::MEMORY)] {
        if let Some(room) = room.filter(|room| *room < wanted) {
            let (room, wanted) = (grouped(room), grouped(wanted));
            terminal::tell(&format!(
                "duolu load: of {wanted} connections about {room} will be had: then comes the wall \"{wall}\""
            ));
        }
    }
}

/// Runs the plan.
pub fn run(plan: &Arc<Plan>) -> Result<Outcome, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let _ = signal_hook::flag::register(SIGINT, interrupted.clone());
    let rings = rings(plan)?;
    if !plan.quiet {
        forecast(plan);
    }
    let counters_before = ListenCounters::read();
    let shown = Arc::new(AtomicU64::new(0));
    let mut progress = Progress::new(plan, shown.clone());
    let mut accountant = Accountant::begin(plan);
    let mut crowd = Crowd::new(plan, rings, accountant.backlog(), accountant.queues());
    let begun = Instant::now();

    while !crowd.is_up() && !interrupted.load(Ordering::Relaxed) {
        crowd.turn(true)?;
        shown.store(crowd.held, Ordering::Relaxed);
        progress.show(crowd.tally.messages);
    }
    let opening = begun.elapsed();
    let nothing = crowd.held == 0;
    let mut unread = false;
    let (mut from, mut end) = (Instant::now(), Instant::now());
    let mut cpu = Duration::ZERO;
    if !nothing && !interrupted.load(Ordering::Relaxed) {
        progress.measuring();
        from = Instant::now() + plan.warmup;
        end = from + plan.duration;
        let mut seconds = Seconds::new(plan, from);
        let mut cpu_at_begin = None;
        // Connections that are lost are not dialled again: with the last of them there is nothing left to measure.
        while Instant::now() < end && crowd.held > 0 && !unread && !interrupted.load(Ordering::Relaxed) {
            if cpu_at_begin.is_none() && Instant::now() >= from {
                cpu_at_begin = Some(thread_cpu());
                crowd.measure(true);
            }
            crowd.turn(false)?;
            shown.store(crowd.held, Ordering::Relaxed);
            progress.show(crowd.tally.messages);
            unread = !seconds.pass(&crowd.tally, crowd.held)?;
        }
        end = end.min(Instant::now());
        cpu = cpu_at_begin.map_or(Duration::ZERO, |begin| thread_cpu().saturating_sub(begin));
        crowd.last_replies()?;
    }
    let held = crowd.held;
    accountant.holding(held, &crowd);
    let was_interrupted = interrupted.load(Ordering::Relaxed);
    let (tally, wall, own_limit) = crowd.close();
    accountant.closed(was_interrupted || unread);
    progress.clear();
    Ok(Outcome {
        tally,
        held: held as usize,
        from,
        measured: end.saturating_duration_since(from),
        cpu,
        opening,
        interrupted: was_interrupted || unread,
        unread,
        wall,
        own_limit,
        busiest: None,
        counters_before,
        crowd: Some(accountant.account()),
    })
}

/// CPU time of the calling thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// `--json-stream`.
struct Seconds {
    wanted: bool,
    second: u64,
    from: Instant,
    told: Tally,
}

impl Seconds {
    fn new(plan: &Plan, from: Instant) -> Self {
        Seconds { wanted: plan.output == Output::JsonStream, second: 0, from, told: Tally::default() }
    }

    /// `false`: nobody reads the lines any more.
    fn pass(&mut self, tally: &Tally, held: u64) -> Result<bool, Failure> {
        let now = Instant::now();
        if !self.wanted || now < self.from + Duration::from_secs(self.second + 1) {
            return Ok(true);
        }
        self.second += 1;
        let mut line = tally.clone();
        line.messages -= self.told.messages;
        line.in_window -= self.told.in_window;
        line.bytes -= self.told.bytes;
        // The same bounds; what was there then is still there.
        let _ = line.latency.subtract(&self.told.latency);
        for (kind, times) in &self.told.errors {
            line.errors.entry(*kind).and_modify(|all| *all -= times);
        }
        line.errors.retain(|_, times| *times > 0);
        self.told = tally.clone();
        report::print_second(self.second, &line, held)
    }
}

/// How often a second an exchange begins; nothing: the next when one has ended.
fn rate(plan: &Plan) -> Option<f64> {
    match plan.mode {
        Mode::Open(rate) => Some(rate),
        Mode::Closed | Mode::Churn(_) => None,
    }
}
