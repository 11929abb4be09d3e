//! The command line of `duolu load`, and what it comes to.

use super::dialogue::{Dialogue, Speak};
use super::expect::{self, Expectations};
use super::target::Target;
use crate::failure::Failure;
use crate::units::{parse_count, parse_duration, parse_size};
use crate::walls::machine;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Thousands of connections, correct latency histograms
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu load 127.0.0.1:8080 -c 1000 -d 10s       1,000 connections, echo, as fast as it goes\n  \
                   duolu load http://127.0.0.1:8080/ -R 5000      5,000 a second, latency from when due",
    after_help = "Every reply's bytes are checked. All connections are opened, and each has had one answer, before the \
                  measured window begins.\nConnections are ended by FIN and then RST: the server reads a clean end of \
                  file, and no TIME-WAIT is left to use up ports.\nExit codes: 0 measured, 1 an expectation does not hold or the target went away, 2 usage, 3 nothing \
                  could be measured, 130 interrupted (the partial result is printed)."
)]
pub struct Args {
    /// 127.0.0.1:8080, :8080, localhost:8080 or http://127.0.0.1:8080/path
    target: String,
    /// Connections
    #[arg(short, long, default_value = "100", value_parser = parse_count, value_name = "N")]
    connections: u64,
    /// How long to measure
    #[arg(short, long, default_value = "10s", value_parser = parse_duration, value_name = "TIME")]
    duration: Duration,
    /// Threads, an event loop each [default: half the processors]
    #[arg(short, long, value_parser = parse_count, value_name = "N")]
    threads: Option<u64>,
    /// Requests a second, all connections together (open loop: latency counts from when a request was due)
    #[arg(short = 'R', long, value_parser = parse_rate, value_name = "RATE")]
    rate: Option<f64>,
    /// Connections opened a second (with --churn the rate of the whole run) [default: as the server answers]
    #[arg(short = 'r', long, value_parser = parse_rate, value_name = "RATE")]
    connect_rate: Option<f64>,
    /// So many of the connections exchange messages, the rest are held idle [default: all]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    active: Option<u64>,
    /// One connection after the other exchanges, at random, the rest are held: the only way beyond the descriptor limit,
    /// with this also below it. Connections are places in io_uring's file tables; echo only
    #[arg(long, conflicts_with = "churn")]
    sampled: bool,
    /// Connect, one request, close, again and again on each of the -c connections
    #[arg(long)]
    churn: bool,
    /// Bytes of a message, 1 B to 1 MiB [default: 64]
    #[arg(long, value_parser = parse_size, value_name = "SIZE")]
    payload: Option<u64>,
    /// What to say [default: echo, or http for an http:// target]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    speak: Option<Speak>,
    /// Exchange for so long before the measured window
    #[arg(long, default_value = "0s", value_parser = parse_duration, value_name = "TIME")]
    warmup: Duration,
    /// How long to wait for a connection or a reply
    #[arg(long, default_value = "5s", value_parser = parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// auto: more of 127.0.0.x when one address has not ports enough; or a list: 127.0.0.2,127.0.0.10-127.0.0.19
    #[arg(long, default_value = "auto", value_name = "auto|LIST")]
    source_addresses: String,
    /// What has to hold, or the exit code is 1: 'conns>=10k p99<5ms errors=0'
    #[arg(long, value_parser = expect::parse, value_name = "WHAT")]
    expect: Option<Expectations>,
    /// One JSON object at the end
    #[arg(long, conflicts_with = "json_stream")]
    json: bool,
    /// A JSON object a second, and the whole result as the last line
    #[arg(long)]
    json_stream: bool,
    /// No progress on stderr
    #[arg(short, long)]
    quiet: bool,
    /// The target is not this machine, and its owner agrees
    #[arg(long)]
    i_may_load_this_host: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = parse_count(text)? as f64;
    if (1.0..=1e7).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("'{text}' is not a rate from 1 to 10m a second"))
    }
}

/// When requests are sent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Mode {
    /// The next as soon as the reply has come.
    Closed,
    /// When they are due: so many a second.
    Open(f64),
    /// A connection for every request; at a rate, or the next when the last has ended.
    Churn(Option<f64>),
}

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Output {
    /// The report.
    Text,
    /// One object.
    Json,
    /// An object a second.
    JsonStream,
}

/// A checked command line.
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// What is said.
    pub speak: Speak,
    /// The bytes of it.
    pub dialogue: Dialogue,
    /// When.
    pub mode: Mode,
    /// Connections in all.
    pub connections: usize,
    /// The first so many exchange messages.
    pub active: usize,
    /// Whether a random few exchange, also where all could.
    pub sampled: bool,
    /// Loops.
    pub threads: usize,
    /// Bytes a message.
    pub payload: usize,
    /// The measured window.
    pub duration: Duration,
    /// Before it.
    pub warmup: Duration,
    /// For a connection or a reply.
    pub timeout: Duration,
    /// Connections opened a second, all threads together.
    pub connect_rate: Option<f64>,
    /// Local addresses, taken in turn; empty: the kernel's choice.
    pub sources: Vec<Ipv4Addr>,
    /// What has to hold.
    pub expectations: Expectations,
    /// What to print.
    pub output: Output,
    /// No progress.
    pub quiet: bool,
}

impl Plan {
    /// Whether every request has a connection of its own.
    pub fn is_churn(&self) -> bool {
        matches!(self.mode, Mode::Churn(_))
    }

    /// Whether connections are opened, used once and closed at a given rate.
    pub fn is_paced_churn(&self) -> bool {
        matches!(self.mode, Mode::Churn(Some(_)))
    }
}

const MOST_CONNECTIONS: u64 = 2_000_000;
const LARGEST_PAYLOAD: u64 = 1 << 20;

impl Args {
    /// Checks what was asked for.
    pub fn plan(self) -> Result<Plan, Failure> {
        let target = Target::resolve(&self.target)?;
        target.check_permission(self.i_may_load_this_host)?;
        let speak = self.speak(&target)?;
        let mode = self.mode(speak)?;
        let connections = in_range("connections (-c)", self.connections, 1, MOST_CONNECTIONS)? as usize;
        let all_active = if speak == Speak::Connect { 0 } else { self.connections };
        let active = in_range("--active", self.active.unwrap_or(all_active), 0, self.connections)? as usize;
        if active > 0 && speak == Speak::Connect {
            return Err(Failure::usage("--speak connect exchanges nothing: leave --active out"));
        }
        if self.sampled && speak != Speak::Echo {
            return Err(Failure::usage(format!("--sampled speaks echo only, not {}", speak.name())));
        }
        if active == 0 && matches!(mode, Mode::Open(_)) {
            return Err(Failure::usage("-R needs connections that exchange messages: --active is 0"));
        }
        if self.payload.is_some() && matches!(speak, Speak::Http | Speak::Connect) {
            return Err(Failure::usage(format!("--payload means nothing with --speak {}", speak.name())));
        }
        let payload = in_range("--payload", self.payload.unwrap_or(64), 1, LARGEST_PAYLOAD)? as usize;
        let threads = self.threads.unwrap_or_else(|| (processors() / 2).max(1));
        let threads = in_range("threads (-t)", threads, 1, 256)? as usize;
        for (name, time, least) in [("-d", self.duration, 10), ("--timeout", self.timeout, 10)] {
            if time < Duration::from_millis(least) {
                return Err(Failure::usage(format!("{name} is at least {least}ms")));
            }
        }
        let path = target.path.as_deref().unwrap_or("/");
        let keep_keys = self.duration + self.warmup + self.timeout + Duration::from_secs(300);
        let salt = u64::from(std::process::id());
        Ok(Plan {
            dialogue: Dialogue::new(speak, payload, &target.authority, path, salt, keep_keys),
            sources: sources(&self.source_addresses, &target, connections)?,
            speak,
            mode,
            connections,
            active: if self.churn { connections } else { active },
            sampled: self.sampled,
            threads: threads.min(connections),
            payload: if matches!(speak, Speak::Http | Speak::Connect) { 0 } else { payload },
            duration: self.duration,
            warmup: self.warmup,
            timeout: self.timeout,
            connect_rate: if self.churn { None } else { self.connect_rate },
            expectations: self.expect.unwrap_or_default(),
            output: match (self.json, self.json_stream) {
                (true, _) => Output::Json,
                (_, true) => Output::JsonStream,
                _ => Output::Text,
            },
            quiet: self.quiet,
            target,
        })
    }

    fn speak(&self, target: &Target) -> Result<Speak, Failure> {
        match (self.speak, target.path.is_some()) {
            (None, false) => Ok(Speak::Echo),
            (None | Some(Speak::Http), true) => Ok(Speak::Http),
            (Some(speak), false) => Ok(speak),
            (Some(speak), true) => Err(Failure::usage(format!(
                "an http:// target is spoken to in http, not in {}; write {}",
                speak.name(),
                target.address
            ))),
        }
    }

    fn mode(&self, speak: Speak) -> Result<Mode, Failure> {
        match (self.churn, self.rate) {
            (true, Some(_)) => {
                Err(Failure::usage("with --churn the rate is connections a second: -r, not -R"))
            }
            (true, None) if self.active.is_some() => Err(Failure::usage(
                "--churn and --active exclude each other: a connection that is closed is not idle",
            )),
            (true, None) => Ok(Mode::Churn(self.connect_rate)),
            (false, Some(_)) if speak == Speak::Connect => {
                Err(Failure::usage("--speak connect sends nothing: -r paces connects, -R requests"))
            }
            (false, Some(rate)) => Ok(Mode::Open(rate)),
            (false, None) => Ok(Mode::Closed),
        }
    }
}

fn in_range(what: &str, value: u64, least: u64, most: u64) -> Result<u64, Failure> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Failure::usage(format!("{what} is {value}; it goes from {least} to {most}")))
}

fn processors() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

/// The local addresses to connect from.
fn sources(text: &str, target: &Target, connections: usize) -> Result<Vec<Ipv4Addr>, Failure> {
    if text != "auto" {
        let list = text.split(',').map(source_range).collect::<Result<Vec<_>, _>>()?.concat();
        if !target.address.is_ipv4() {
            return Err(Failure::usage("--source-addresses are IPv4 addresses, the target is IPv6"));
        }
        return Ok(list);
    }
    let IpAddr::V4(ip) = target.address.ip() else { return Ok(Vec::new()) };
    // connect(2) goes through every second port first. Once those are taken for an address each connect tries all of
    // them in vain (measured: 1.6 ms instead of 20 us). So less than half of the range is used of each.
    let ports = machine::local_ports().map_or(28_232, |range| range.len()) * 4 / 10;
    if !ip.is_loopback() || connections <= ports {
        return Ok(Vec::new());
    }
    let addresses = connections.div_ceil(ports.max(1)) as u32;
    Ok((1..=addresses).map(|at| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + at)).collect())
}

fn source_range(part: &str) -> Result<Vec<Ipv4Addr>, Failure> {
    let wrong =
        || Failure::usage(format!("'{part}' is not auto, an IPv4 address or a range 127.0.0.2-127.0.0.9"));
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let parse = |text: &str| text.trim().parse::<Ipv4Addr>().map(Ipv4Addr::to_bits).map_err(|_| wrong());
    let (first, last) = (parse(first)?, parse(last)?);
    if first > last || last - first >= 65_536 {
        return Err(wrong());
    }
    Ok((first..=last).map(Ipv4Addr::from_bits).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn plan(line: &str) -> Result<Plan, Failure> {
        let words = std::iter::once("load").chain(line.split_whitespace());
        Line::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?.args.plan()
    }

    #[test]
    fn defaults_and_units() {
        let defaults = plan(":8080").expect("defaults");
        assert_eq!((defaults.connections, defaults.active, defaults.payload), (100, 100, 64));
        assert_eq!((defaults.duration, defaults.mode), (Duration::from_secs(10), Mode::Closed));
        assert_eq!(defaults.speak, Speak::Echo);
        assert!(defaults.sources.is_empty());
        let http = plan("http://127.0.0.1:8080/x -R 5k -c 10k --active 1k -d 1m -t 2").expect("http");
        assert_eq!(
            (http.speak, http.mode, http.active, http.threads),
            (Speak::Http, Mode::Open(5e3), 1000, 2)
        );
        let churn = plan(":1 --churn -r 500 -c 20").expect("churn");
        assert_eq!((churn.mode, churn.connect_rate), (Mode::Churn(Some(500.0)), None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            ":1 -c 0",
            ":1 --payload 2MiB",
            ":1 --payload 0",
            ":1 --active 101",
            ":1 --speak connect -R 5",
            ":1 --speak connect --active 5",
            ":1 --active 0 -R 5",
            ":1 --churn -R 5",
            ":1 --churn --active 5",
            ":1 --json --json-stream",
            ":1 -R 0",
            ":1 -d 0",
            ":1 --speak http --payload 5",
            "http://127.0.0.1:1/ --speak echo",
            ":1 --source-addresses here",
            ":1 --source-addresses 127.0.0.9-127.0.0.2",
            "[::1]:1 --source-addresses 127.0.0.2",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
    }

    #[test]
    fn many_connections_spread_over_loopback_addresses() {
        let many = plan(":1 -c 200k").expect("many");
        assert!(many.sources.len() >= 4, "{:?}", many.sources);
        assert_eq!(many.sources[0], Ipv4Addr::new(127, 0, 0, 2));
        let list = plan(":1 --source-addresses 127.0.0.2,127.0.0.10-127.0.0.12").expect("a list");
        assert_eq!(list.sources.len(), 4);
    }
}
