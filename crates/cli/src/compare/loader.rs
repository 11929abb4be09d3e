//! One run of `duolu load` against a server of ours.

use super::blocks::{Block, Mix};
use super::children::{SIGINT, SIGKILL, Start, Started, words};
use super::interrupt;
use super::result::LoadReport;
use super::rung::Work;
use crate::failure::Failure;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

/// Server and loader are looked at this often.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The exit code for a command line that makes no sense.
const USAGE: i32 = 2;

/// How long the loader may take to print what it has when it is told to end, and to close a connection.
const LAST_PRINT: Duration = Duration::from_secs(2);
const CLOSE_ONE: Duration = Duration::from_micros(100);

/// What the loader is to do.
pub struct Order {
    /// Where the server listens.
    pub target: SocketAddr,
    /// What the connections do.
    pub block: Block,
    /// How many connections.
    pub connections: u64,
    /// How long to measure.
    pub window: Duration,
    /// When there is no more time, if that is so.
    pub ends_at: Option<Instant>,
}

/// What became of it.
pub struct Load {
    /// Its result, if it gave one.
    pub report: Option<LoadReport>,
    /// Its last sentence on stderr.
    pub last_words: Option<String>,
    /// How it ended.
    pub status: Option<ExitStatus>,
    /// Why it was not pinned to its processors, if that was refused.
    pub unpinned: Option<String>,
    /// Its window.
    pub from: Instant,
    /// Its window's end.
    pub to: Instant,
    /// Whether it was told to end early: the server was gone, or it took far too long.
    pub cut_short: bool,
}

/// Runs it to its end, and calls `look` often, which says whether the server still runs. `None`: the user
/// interrupted, or there was no more time; the loader is gone.
///
/// # Errors
/// It cannot be started, or refuses its command line.
pub fn run(order: &Order, work: &Work, mut look: impl FnMut() -> bool) -> Result<Option<Load>, Failure> {
    let arguments = arguments(order, work);
    let cpus = work.placement.loader();
    let start = Start { arguments, cpus, nofile: None, death_signal: SIGKILL };
    let allowed =
        order.window + work.timeout * 2 + Duration::from_secs(5) + Duration::from_millis(order.connections);
    let many = u32::try_from(order.connections).unwrap_or(u32::MAX);
    let last_print = LAST_PRINT + CLOSE_ONE * many;
    let began = Instant::now();
    let mut loader = Started::start(&start)?;
    let mut cut_short = None;
    while loader.is_running() {
        if interrupt::requested() || order.ends_at.is_some_and(|at| Instant::now() > at) {
            return Ok(None);
        }
        let server_runs = look();
        if cut_short.is_none() && (!server_runs || began.elapsed() > allowed) {
            cut_short = Some(Instant::now());
            loader.signal(SIGINT); // it prints what it has
        }
        if cut_short.is_some_and(|at| at.elapsed() > last_print) {
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    let ended = Instant::now();
    let status = loader.end(Duration::ZERO);
    let report = read_report(&loader.remaining_output(last_print));
    if report.is_none() && status.and_then(|status| status.code()) == Some(USAGE) {
        let why = loader.last_words().unwrap_or_default();
        let line = start.arguments.join(" ");
        return Err(Failure::cannot(format!("the loader refused 'duolu {line}': {why}")));
    }
    let (from, to) = measured_window(report.as_ref(), ended, order.window);
    Ok(Some(Load {
        report,
        unpinned: loader.unpinned().map(str::to_owned),
        last_words: loader.last_words(),
        status,
        from,
        to,
        cut_short: cut_short.is_some(),
    }))
}

fn arguments(order: &Order, work: &Work) -> Vec<String> {
    let target = match &work.path {
        Some(path) => format!("http://{}{path}", order.target),
        None => order.target.to_string(),
    };
    let (block, connections) = (&order.block, order.connections);
    let mut arguments = words(&["load", &target, "--json", "--quiet", "-c", &connections.to_string()]);
    arguments.extend(words(&["-d", &millis(order.window), "--timeout", &millis(work.timeout)]));
    arguments.extend(words(&["--speak", work.speak.name()]));
    if let Some(payload) = block.payload {
        arguments.extend(words(&["--payload", &payload.to_string()]));
    }
    match block.mix {
        Mix::All => {}
        Mix::Idle => arguments.extend(words(&["--active", &block.active(connections).to_string()])),
        Mix::Churn => arguments.push("--churn".to_owned()),
    }
    arguments
}

fn millis(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn read_report(output: &str) -> Option<LoadReport> {
    let last = output.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    last.or_else(|| serde_json::from_str(output).ok())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_the_loaders_own_where_it_tells_it() {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let line = format!(
            "{{\"rate\":5.0,\"window\":{{\"began_ns\":{},\"ended_ns\":{}}}}}",
            now_ns - 3_000_000_000,
            now_ns - 1_000_000_000
        );
        let report = read_report(&line).expect("a report");
        let ended = Instant::now();
        let (from, to) = measured_window(Some(&report), ended, Duration::from_secs(9));
        let length = to - from;
        assert!(length > Duration::from_millis(1990) && length < Duration::from_millis(2010), "{length:?}");
        assert!(ended - to >= Duration::from_millis(900));
        let (from, to) = measured_window(None, ended, Duration::from_secs(1));
        assert!(from < to && to < ended);
        assert!(read_report("no json").is_none());
    }
}
