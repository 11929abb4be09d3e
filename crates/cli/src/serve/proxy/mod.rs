//! The service `proxy`: passes on to other servers what comes, both ways, on the library's streams.
//!
//! Reading order: this file is what is asked for and what a loop's connections share; [`link`] one connection with its two
//! streams; [`opening`] how it comes about, from the PROXY header to the upstream; [`join`] what becomes of it where nothing looks
//! at the bytes; [`upstreams`] whose turn it is; [`ebb`] memory after a crowd.

mod ebb;
mod join;
mod link;
mod opening;
mod tls;
mod upstreams;

use super::door::{self, Door};
use super::evented::road;
use super::grumble::Grumble;
use super::worker::Worker;
use crate::failure::Failure;
use crate::model::Model;
use crate::units;
use duolu::proxy_protocol::Version;
use duolu::{Context, Direction, Rate, RateGroup, StreamOptions};
use ebb::Ebb;
use link::{Link, Side};
use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;
use upstreams::{MOST_UPSTREAMS, Upstreams};

/// What `--idle` is unless told otherwise: nginx's figure for the same.
const IDLE: Duration = Duration::from_secs(600);
/// And `--connect-timeout`: a lost SYN is sent again after one second and three.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// And `--buffer`: what one read takes at most.
const BUFFER_BYTES: u64 = 64 * 1024;
/// Below this it would be all system calls.
const LEAST_BUFFER_BYTES: u64 = 1024;
/// A rate may be gone beyond for a tenth of a second, or for this many bytes where that is more.
const LEAST_BURST_BYTES: u64 = 4096;

/// What is to be done with a PROXY header ahead of what a client sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum ProxyIn {
    /// Refuse whoever sends none
    Require,
    /// Serve whoever sends none as the one that he is
    Accept,
}

/// Which header is sent ahead to upstreams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum ProxyOut {
    /// A line of text
    V1,
    /// Binary
    V2,
}

#[derive(clap::Args, Default)]
#[group(skip)]
#[command(next_help_heading = "Options of proxy")]
pub struct Args {
    /// Where to pass on to; several take turns, and one that refuses is left out for a second
    #[arg(long, value_name = "HOST:PORT")]
    #[arg(
        long_help = "Where to pass on to. Several, and several addresses of a name, take turns; one that refuses or does \
                     not answer is left out for a second. Names are looked up once, at the start"
    )]
    to: Vec<String>,
    /// Take the client's address from a PROXY header (v1 or v2) that comes first
    #[arg(long, value_enum, value_name = "WHAT")]
    #[arg(
        long_help = "Take the client's address from a PROXY header (v1 or v2) that comes first. Only where all who can \
                     connect are trusted proxies: whoever is listened to may name any address"
    )]
    proxy_in: Option<ProxyIn>,
    /// Send a PROXY header ahead, with the client's address
    #[arg(long, value_enum, value_name = "VERSION")]
    proxy_out: Option<ProxyOut>,
    /// Close a connection when nothing has moved either way for so long [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    idle: Option<Duration>,
    /// How long an upstream may take to answer a connect [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    connect_timeout: Option<Duration>,
    /// Bytes a second of one connection, each way [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    rate: Option<u64>,
    /// Bytes a second of all connections together, each way [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    #[arg(
        long_help = "Bytes a second of all connections together, each way [default: no limit]. Connections that want more \
                     take turns and get alike. Several --workers have an equal part of it each"
    )]
    rate_total: Option<u64>,
    /// What may wait for a slow reader, each way of a connection; then the other side is not read [default: 64KiB]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    buffer: Option<u64>,
    #[command(flatten)]
    tls: tls::Args,
}

impl Args {
    /// The first of its options that was given.
    pub fn given(&self) -> Option<&'static str> {
        [
            (!self.to.is_empty(), "--to"),
            (self.proxy_in.is_some(), "--proxy-in"),
            (self.proxy_out.is_some(), "--proxy-out"),
            (self.idle.is_some(), "--idle"),
            (self.connect_timeout.is_some(), "--connect-timeout"),
            (self.rate.is_some(), "--rate"),
            (self.rate_total.is_some(), "--rate-total"),
            (self.buffer.is_some(), "--buffer"),
        ]
        .into_iter()
        .chain(self.tls.given())
        .find_map(|(given, name)| given.then_some(name))
    }

    /// What they mean.
    pub fn plan(&self) -> Result<Plan, Failure> {
        if self.to.is_empty() {
            return Err(Failure::usage(
                "a proxy needs to know where to pass on to: --to HOST:PORT, such as --to 127.0.0.1:8080",
            ));
        }
        let mut upstreams = Vec::new();
        for text in &self.to {
            upstreams.extend(resolve(text)?);
        }
        if upstreams.len() > MOST_UPSTREAMS {
            return Err(Failure::usage(format!(
                "--to names {} addresses, and {MOST_UPSTREAMS} are the most",
                upstreams.len()
            )));
        }
        for (name, limit) in [("--idle", self.idle), ("--connect-timeout", self.connect_timeout)] {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(Failure::usage(format!(
                    "{name} 0 would close every connection at once; write 10s or 5m"
                )));
            }
        }
        for (name, rate) in [("--rate", self.rate), ("--rate-total", self.rate_total)] {
            if rate == Some(0) {
                return Err(Failure::usage(format!(
                    "{name} 0 would let nothing through; write 1MiB, or leave it out"
                )));
            }
        }
        let buffer = self.buffer.unwrap_or(BUFFER_BYTES);
        if buffer < LEAST_BUFFER_BYTES {
            return Err(Failure::usage(format!(
                "--buffer {buffer} is too small to be of use; 1KiB is the least"
            )));
        }
        Ok(Plan {
            upstreams,
            proxy_in: self.proxy_in,
            proxy_out: self.proxy_out.map(|out| match out {
                ProxyOut::V1 => Version::V1,
                ProxyOut::V2 => Version::V2,
            }),
            idle: self.idle.unwrap_or(IDLE),
            connect_timeout: self.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
            rate: self.rate.map(rate),
            rate_total: self.rate_total,
            buffer: usize::try_from(buffer).unwrap_or(usize::MAX / 4),
            pipes: join::MOST_PIPES,
            tls: self.tls.plan()?,
        })
    }
}

fn rate(bytes_per_second: u64) -> Rate {
    Rate { bytes_per_second, burst: (bytes_per_second / 10).max(LEAST_BURST_BYTES) }
}

/// All addresses of `HOST:PORT`.
fn resolve(text: &str) -> Result<Vec<SocketAddr>, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("--to {text}: {why}; write HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"))
    };
    if text.parse::<std::net::IpAddr>().is_ok() || !text.contains(':') {
        return Err(wrong("the port is missing"));
    }
    let local = text.strip_prefix(':').map(|port| format!("127.0.0.1:{port}"));
    let found = local.as_deref().unwrap_or(text).to_socket_addrs();
    let addresses: Vec<_> = found.map_err(|error| wrong(&error.to_string()))?.collect();
    match addresses.first() {
        None => Err(wrong("this name has no address")),
        Some(first) if first.port() == 0 => Err(wrong("nobody listens on port 0")),
        Some(_) => Ok(addresses),
    }
}

/// Whether connecting there would come back to us. An address of this machine that is not loopback is not looked up: it
/// might be forwarded elsewhere.
fn is_own(upstream: &SocketAddr, own: &SocketAddr) -> bool {
    let everywhere =
        own.ip().is_unspecified() && (upstream.ip().is_loopback() || upstream.ip().is_unspecified());
    upstream.port() == own.port() && (upstream.ip() == own.ip() || everywhere)
}

/// What is asked of a proxy.
#[derive(Clone, Debug)]
pub struct Plan {
    upstreams: Vec<SocketAddr>,
    proxy_in: Option<ProxyIn>,
    proxy_out: Option<Version>,
    idle: Duration,
    connect_timeout: Duration,
    /// Of each connection, each way.
    rate: Option<Rate>,
    /// Of all connections together, each way, in bytes a second.
    rate_total: Option<u64>,
    /// What may wait to be sent, each way of a connection, before the other side is not read any more.
    buffer: usize,
    /// So many may hold what waits for slow readers, where connections are joined.
    pipes: usize,
    tls: tls::Plan,
}

impl Plan {
    /// Refuses one that would go round in circles, for a server that listens on `own`.
    pub fn check(&self, own: SocketAddr) -> Result<(), Failure> {
        match self.upstreams.iter().find(|upstream| is_own(upstream, &own)) {
            None => Ok(()),
            Some(itself) => Err(Failure::usage(format!(
                "--to {itself} is where this proxy itself listens: it would connect to itself for ever"
            ))),
        }
    }

    /// That of one of so many workers, of which so many are threads of one process.
    pub fn part(self, workers: usize, threads: usize) -> Self {
        let part = |total: u64| (total / workers as u64).max(1);
        Plan { rate_total: self.rate_total.map(part), pipes: join::pipes_of_each(threads), ..self }
    }
}

/// Runs one worker's loop.
pub fn serve(model: Model, plan: Plan, worker: Worker) -> Result<(), Failure> {
    let (total, pipes) = (plan.rate_total.map(rate), plan.pipes);
    let hall = Hall {
        groups: None,
        upstreams: Upstreams::new(plan.upstreams.clone(), worker.index),
        plan: Rc::new(plan),
        waiting: VecDeque::new(),
        misled: Grumble::default(),
        unsecured: Grumble::default(),
        failed: Grumble::default(),
        given_up: Grumble::default(),
        exhausted: Grumble::default(),
        ebb: Ebb::default(),
        door: Door::of(&worker),
    };
    door::serve(model, road(model).0, worker, hall, |event_loop| {
        event_loop.limit_splice_pipes(pipes);
        if total.is_some() {
            let groups = [event_loop.rate_group(total, None), event_loop.rate_group(total, None)];
            event_loop.data().groups = Some(groups);
        }
    })
}

/// What the connections of one loop share.
struct Hall {
    plan: Rc<Plan>,
    /// `--rate-total` for what clients send, and for what upstreams do.
    groups: Option<[RateGroup; 2]>,
    upstreams: Upstreams,
    /// Those who cannot be connected for want of descriptors, until there are some.
    waiting: VecDeque<Rc<Link>>,
    misled: Grumble,
    unsecured: Grumble,
    failed: Grumble,
    given_up: Grumble,
    exhausted: Grumble,
    ebb: Ebb,
    door: Door,
}

impl Hall {
    /// How a side of a connection is made. What keeps memory bounded is not here: reading rests while too much waits to be
    /// sent to the *other* side ([`link`]).
    fn options(&self, side: Side) -> StreamOptions {
        let plan = &self.plan;
        let mut options = StreamOptions::new()
            .allow_half_open()
            .output_marks(plan.buffer / 2, usize::MAX)
            .most_at_once(Direction::Read, plan.buffer)
            .read_timeout(plan.idle)
            .write_timeout(plan.idle);
        if let Some(rate) = plan.rate {
            options = options.rate(Direction::Read, rate);
        }
        match &self.groups {
            Some(groups) => options.group(&groups[side as usize]),
            None => options,
        }
    }
}

impl door::Hall for Hall {
    fn door(&mut self) -> &mut Door {
        &mut self.door
    }

    fn admit(ctx: &mut Context<Self>, stream: TcpStream, peer: SocketAddr) -> Result<(), duolu::Error> {
        ebb::rises(ctx);
        opening::begin(ctx, stream, peer)
    }

    /// Connections go on until they end by themselves, or `--drain` is over: no protocol is known in which to say
    /// goodbye.
    fn end(ctx: &mut Context<Self>) {
        ebb::end(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(to: &[&str]) -> Args {
        Args { to: to.iter().map(ToString::to_string).collect(), ..Args::default() }
    }

    #[test]
    fn where_to_is_read_as_people_write_it() {
        let plan = args(&["127.0.0.1:1", "[::1]:2", ":3", "localhost:4"]).plan().unwrap();
        let listed: Vec<_> = plan.upstreams.iter().map(ToString::to_string).collect();
        assert_eq!(listed[..3], ["127.0.0.1:1", "[::1]:2", "127.0.0.1:3"]);
        assert!(listed[3..].iter().all(|address| address.ends_with(":4")), "{listed:?}");
        for (bad, why) in [
            ("127.0.0.1", "the port is missing"),
            ("::1", "the port is missing"),
            ("localhost", "the port is missing"),
            ("1.2.3.4:99999", "write HOST:PORT"),
            ("1.2.3.4:0", "nobody listens on port 0"),
        ] {
            let error = args(&[bad]).plan().unwrap_err();
            assert!(error.message().contains(why), "{bad}: {}", error.message());
        }
        assert!(args(&[]).plan().unwrap_err().message().contains("--to HOST:PORT"));
    }

    #[test]
    fn a_proxy_does_not_connect_to_itself() {
        let is_circle =
            |to: &str, own: &str| args(&[to]).plan().unwrap().check(own.parse().unwrap()).is_err();
        assert!(is_circle("127.0.0.1:8080", "127.0.0.1:8080"));
        assert!(is_circle("127.0.0.1:8080", "0.0.0.0:8080") && is_circle("[::1]:8080", "[::]:8080"));
        assert!(
            !is_circle("127.0.0.1:8081", "127.0.0.1:8080") && !is_circle("127.0.0.2:8080", "127.0.0.1:8080")
        );
    }
}
