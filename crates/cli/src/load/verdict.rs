//! Which wall the run met, in the order of what is proven best, and whether it was the loader's own.

use super::args::{Mode, Plan};
use super::conduct::Outcome;
use super::errors::Kind;
use super::tally::quantile_us;
use crate::walls::{Wall, cpu, machine, memory, names, server};
use rustix::process::{Resource, getrlimit};
use serde_json::json;

/// The loader's threads were busy for so much of the window: what was measured is the loader.
const LOADER_FULL: f64 = 0.9;
/// A send that is later than this (and later than the server's own time) is no mere wake-up of a sleeping thread.
const LAG_THAT_COUNTS_US: f64 = 500.0;

/// What the loader says about itself.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Loader {
    /// CPU time over wall time and threads: 1.0 is every thread's core full.
    pub cpu: f64,
    /// The median lateness of requests that could have been sent when they were due (open loop).
    pub send_lag_us: Option<f64>,
    /// Whether the numbers are the loader's limit, not the server's.
    pub limited: bool,
}

impl Loader {
    /// Judges an outcome.
    pub fn of(plan: &Plan, outcome: &Outcome) -> Self {
        let room_s = outcome.measured.as_secs_f64() * plan.threads as f64;
        let cpu = if room_s > 0.0 { outcome.cpu.as_secs_f64() / room_s } else { 0.0 };
        let send_lag_us = quantile_us(&outcome.tally.lag, 0.5);
        let service_us = quantile_us(&outcome.tally.service, 0.5);
        // Lateness is recorded only where the connection was free: where most requests had to wait for a reply
        // before them, the few that had not say nothing about the loader.
        let mostly_free = outcome.tally.lag.len() * 2 >= outcome.tally.messages;
        let lags = mostly_free
            && send_lag_us
                .zip(service_us)
                .is_some_and(|(lag, service)| lag > service && lag > LAG_THAT_COUNTS_US);
        Loader { cpu, send_lag_us, limited: cpu >= LOADER_FULL || lags }
    }
}

/// The wall, if one was met.
pub fn wall(plan: &Plan, outcome: &Outcome, loader: Loader) -> Option<Wall> {
    own_wall(plan, outcome)
        .or_else(|| outcome.wall.clone())
        .or_else(|| overflow(plan, outcome))
        .or_else(|| out_of_memory(outcome))
        .or_else(|| loader_wall(plan, outcome, loader))
        .or_else(|| core_wall(plan, outcome))
}

fn own_wall(plan: &Plan, outcome: &Outcome) -> Option<Wall> {
    match outcome.own_limit? {
        (Kind::NoDescriptors, open) => Some(descriptor_wall(open)),
        (Kind::NoPorts, open) => Some(port_wall(plan, open)),
        _ => None,
    }
}

fn descriptor_wall(open: u64) -> Wall {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    if open + 64 < soft {
        return Wall::told(names::LOADER_DESCRIPTORS, "loader_enfile", &json!({"open": open, "limit": soft}));
    }
    let (enough, privileged) = match limit.maximum {
        Some(hard) if hard > soft => (hard, false),
        _ if soft < 65_536 => (65_536, true),
        _ => (1_048_576, true),
    };
    let facts = json!({"open": open, "limit": soft, "enough": enough, "privileged": privileged});
    Wall::told(names::LOADER_DESCRIPTORS, "loader_files", &facts)
}

fn port_wall(plan: &Plan, open: u64) -> Wall {
    let range = machine::local_ports();
    let loopback = plan.target.address.ip().is_loopback();
    let facts = json!({
        "open": open,
        "sources": plan.sources.len().max(1),
        "low": range.as_ref().map(|range| *range.start()),
        "high": range.as_ref().map(|range| *range.end()),
        "ports": range.as_ref().map(ExactSizeIterator::len),
        "loopback": loopback,
        "elsewhere": !loopback,
    });
    Wall::told(names::PORTS, "ports", &facts)
}

fn overflow(plan: &Plan, outcome: &Outcome) -> Option<Wall> {
    let suffered =
        outcome.tally.errors_of(Kind::ConnectTimeout) + outcome.tally.errors_of(Kind::NotAccepted) > 0;
    if !suffered || !plan.target.is_here {
        return None;
    }
    server::overflow_wall(plan.target.address, outcome.counters_before?)
}

fn out_of_memory(outcome: &Outcome) -> Option<Wall> {
    let kinds = [rustix::io::Errno::NOMEM, rustix::io::Errno::NOBUFS];
    let suffered = kinds.iter().any(|errno| outcome.tally.errors_of(Kind::Other(errno.raw_os_error())) > 0);
    if suffered { memory::machine_wall() } else { None }
}

fn loader_wall(plan: &Plan, outcome: &Outcome, loader: Loader) -> Option<Wall> {
    if !loader.limited {
        return None;
    }
    let more = plan.threads * 2;
    Some(if loader.cpu >= LOADER_FULL {
        let facts = json!({"share": loader.cpu, "threads": plan.threads, "more": more});
        Wall::told(names::LOADER, "loader_full", &facts)
    } else {
        let (lag, answer) = (loader.send_lag_us, quantile_us(&outcome.tally.service, 0.5));
        let facts = json!({"lag_us": lag.unwrap_or(0.0), "answer_us": answer.unwrap_or(0.0), "more": more});
        Wall::told(names::LOADER, "loader_late", &facts)
    })
}

fn core_wall(plan: &Plan, outcome: &Outcome) -> Option<Wall> {
    let busiest = outcome.busiest.filter(|busiest| busiest.share >= cpu::FULL_SHARE)?;
    if let Mode::Open(rate) | Mode::Churn(Some(rate)) = plan.mode {
        let reached = outcome.tally.in_window as f64 / outcome.measured.as_secs_f64();
        if reached >= rate * 0.98 {
            return None; // a core is full, but it is enough for what was asked
        }
    }
    let facts = json!({"tid": busiest.tid, "pid": busiest.pid, "share": busiest.share});
    Some(Wall::told(names::CORE, "core_thread", &facts))
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;
    use clap::Parser;
    use std::time::{Duration, Instant};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: super::super::Args,
    }

    fn plan(line: &str) -> Plan {
        let words = std::iter::once("load").chain(line.split_whitespace());
        Line::try_parse_from(words).expect("a command line").args.plan().expect("a plan")
    }

    /// Two threads, ten seconds, `cpu_s` of CPU time; requests `lag_us` late and answered in `service_us`.
    fn outcome(cpu_s: u64, lag_us: u64, service_us: u64, late_messages: u64) -> Outcome {
        let mut tally = Tally { messages: 1_000, ..Tally::default() };
        tally.lag.saturating_record_n(lag_us * 1_000, late_messages);
        tally.service.saturating_record_n(service_us * 1_000, 1_000);
        Outcome {
            tally,
            held: 100,
            from: Instant::now(),
            measured: Duration::from_secs(10),
            cpu: Duration::from_secs(cpu_s),
            opening: Duration::from_secs(1),
            interrupted: false,
            unread: false,
            wall: None,
            own_limit: None,
            busiest: None,
            counters_before: None,
            crowd: None,
        }
    }

    #[test]
    fn the_loader_tells_when_it_was_itself_the_limit() {
        let plan = plan(":1 -t 2 -R 100");
        let judge = |outcome: &Outcome| {
            let loader = Loader::of(&plan, outcome);
            (loader.limited, wall(&plan, outcome, loader).map(|wall| wall.name))
        };
        let named = Some(names::LOADER.to_owned());
        assert_eq!(judge(&outcome(10, 50, 60, 1_000)), (false, None), "half of its cores");
        assert_eq!(judge(&outcome(19, 50, 60, 1_000)), (true, named.clone()), "95 % of its cores");
        assert_eq!(judge(&outcome(1, 5_000, 60, 1_000)), (true, named), "later than the server takes");
        assert_eq!(judge(&outcome(1, 5_000, 9_000, 1_000)), (false, None), "the server takes longer");
        assert_eq!(judge(&outcome(1, 100, 60, 1_000)), (false, None), "a wake-up");
        assert_eq!(judge(&outcome(1, 5_000, 60, 10)), (false, None), "nearly all waited for the server");
    }

    #[test]
    fn walls_are_named_by_what_is_proven_best() {
        let mut full = outcome(19, 0, 0, 0);
        full.busiest = Some(cpu::Busiest { pid: 7, tid: 8, share: 0.99 });
        let closed = plan(":1 -t 2");
        let name = |plan: &Plan, outcome: &Outcome| {
            wall(plan, outcome, Loader::of(plan, outcome)).map(|wall| wall.name)
        };
        assert_eq!(name(&closed, &full).as_deref(), Some(names::LOADER));
        full.cpu = Duration::from_secs(1);
        assert_eq!(name(&closed, &full).as_deref(), Some(names::CORE));
        full.tally.in_window = 1_000;
        assert_eq!(name(&plan(":1 -R 100"), &full), None, "a core is full, but it is enough");
        assert_eq!(name(&plan(":1 -R 200"), &full).as_deref(), Some(names::CORE));
        full.wall = Some(Wall::new(names::SERVER_DESCRIPTORS, "", ""));
        assert_eq!(name(&closed, &full).as_deref(), Some(names::SERVER_DESCRIPTORS));
        full.own_limit = Some((Kind::NoPorts, 28_000));
        let ports = wall(&closed, &full, Loader::of(&closed, &full)).expect("a wall");
        assert_eq!(ports.name, names::PORTS);
        assert!(
            ports.evidence.contains("at 28,000 connections from 1 source address:"),
            "{}",
            ports.evidence
        );
        assert!(ports.fix.contains("--source-addresses"), "{}", ports.fix);
    }
}
