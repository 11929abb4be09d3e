//! The command line of `duolu states`.

use super::target::Target;
use super::transitions::Via;
use crate::failure::Failure;
use crate::inspect::Socket;
use crate::lang::Lang;
use crate::units::{parse_count, parse_duration};
use duolu_sys::tcp_diag::{Details, Families, Query, StateSet, TcpState};
use std::path::PathBuf;
use std::time::Duration;

/// Live TCP states: the state diagram itself, or one line per connection, both ends of it and who holds them
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu states :8080                      who is connected to port 8080, in which state\n  \
                   duolu states --state CLOSE-WAIT         connections that the other end closed and a program here keeps\n  \
                   duolu states :8080 --watch              the TCP state diagram, live\n  \
                   duolu states :8080 -o states.html       the same as a page (or .svg)",
    after_help = "Needs no privilege; names of other users' processes, and every single transition, need root.\n\
                  Exit codes: 0 shown (with a filter also when nothing matches it), 2 usage, 3 nothing is there or it \
                  cannot be read (says what unlocks it), 130 interrupted."
)]
pub struct Args {
    /// :8080, 127.0.0.1:8080, [::1]:8080 [default: every TCP socket]
    #[arg(value_name = ":PORT|HOST:PORT")]
    target: Option<String>,
    /// Only these states, as in RFC 9293 or as ss writes them; several with commas
    #[arg(short, long, value_delimiter = ',', value_name = "STATE")]
    state: Vec<TcpState>,
    /// Only what this process holds
    #[arg(short, long, value_name = "PID")]
    pid: Option<u32>,
    /// Only what processes of this name hold
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// Only IPv4 sockets
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6 sockets; they may speak IPv4 too
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Every column, however wide the terminal is; with --json every figure of tcp_info
    #[arg(short, long)]
    wide: bool,
    /// So many lines of connections, 0 for all [default: as the terminal has room, some of each state; else all]
    #[arg(short = 'n', long, value_parser = parse_count, value_name = "N")]
    limit: Option<u64>,
    /// No explanations, only counts and lines
    #[arg(short, long)]
    quiet: bool,
    /// The state diagram of RFC 9293, live: sockets in each state, transitions per second on each edge
    #[arg(long, conflicts_with_all = ["json", "json_stream", "out"])]
    watch: bool,
    /// The state diagram as a page or a drawing: FILE.html, FILE.svg
    #[arg(short = 'o', long, value_name = "FILE", conflicts_with_all = ["json", "json_stream"])]
    out: Option<PathBuf>,
    /// How long transitions are counted for -o
    #[arg(short, long, default_value = "2s", value_parser = parse_duration, value_name = "TIME")]
    duration: Duration,
    /// How transitions are learnt: from the kernel (auto: where it may be asked), or from one look to the next
    #[arg(long, value_enum, default_value_t = Via::Auto, value_name = "WAY")]
    via: Via,
    /// One JSON object
    #[arg(long, conflicts_with = "json_stream")]
    json: bool,
    /// One JSON object a line, again and again, until the reader leaves
    #[arg(long)]
    json_stream: bool,
    /// How often, with --watch and --json-stream
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    interval: Duration,
    /// How many times, with --json-stream [default: until the reader leaves]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    count: Option<u64>,
    /// The language of headings and explanations [default: the locale's]
    #[arg(long, value_enum, value_name = "LANG")]
    lang: Option<Lang>,
}

/// The least time between two looks of the view, and the bounds of what -o watches.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// What the command line comes to.
pub struct Plan {
    /// Where to look.
    pub target: Target,
    /// Which of it.
    pub filter: Filter,
    /// How to show it.
    pub output: Output,
    /// Every column.
    pub wide: bool,
    /// Lines of connections, 0 for all.
    pub limit: Option<u64>,
    /// Without explanations.
    pub quiet: bool,
    /// The language.
    pub lang: Lang,
    /// The language that was asked for.
    pub asked: Option<Lang>,
}

/// Which sockets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// In which states.
    pub states: StateSet,
    /// Of which process.
    pub pid: Option<u32>,
    /// Of processes of which name.
    pub process: Option<String>,
    /// Of which family.
    pub families: Families,
}

impl Filter {
    /// Whether it leaves anything out.
    pub fn is_all(&self) -> bool {
        *self == Filter { states: StateSet::ALL, pid: None, process: None, families: Families::Both }
    }
}

/// How to show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// For people.
    Text,
    /// One object.
    Json,
    /// One object a line.
    Stream {
        /// From one to the next.
        interval: Duration,
        /// How many.
        count: Option<u64>,
    },
    /// The diagram on a terminal.
    Watch {
        /// From one look to the next.
        interval: Duration,
        /// How transitions are learnt.
        via: Via,
    },
    /// The diagram in a file.
    File {
        /// Which.
        path: PathBuf,
        /// How long transitions are counted.
        duration: Duration,
        /// How they are learnt.
        via: Via,
    },
}

impl Args {
    /// Checks what only makes sense together.
    ///
    /// # Errors
    /// Usage.
    pub fn plan(self) -> Result<Plan, Failure> {
        if self.json_stream && self.interval < Duration::from_millis(10) {
            return Err(Failure::usage(
                "--interval below 10ms would measure nothing but itself; give 10ms or more",
            ));
        }
        if self.count.is_some() && !self.json_stream {
            return Err(Failure::usage("--count goes with --json-stream: how many objects it writes"));
        }
        if self.watch && self.interval < SHORTEST {
            return Err(Failure::usage("--interval below 100ms is faster than an eye; give 100ms or more"));
        }
        if self.out.is_some() && !(SHORTEST..=LONGEST).contains(&self.duration) {
            return Err(Failure::usage("-d, the time that -o counts transitions, is 100ms to 1h"));
        }
        let families = match (self.ipv4, self.ipv6) {
            (true, _) => Families::V4,
            (_, true) => Families::V6,
            _ => Families::Both,
        };
        let states = if self.state.is_empty() { StateSet::ALL } else { StateSet::of(&self.state) };
        let output = match (self.out, self.json, self.json_stream) {
            _ if self.watch => Output::Watch { interval: self.interval, via: self.via },
            (Some(path), ..) => Output::File { path, duration: self.duration, via: self.via },
            (_, true, _) => Output::Json,
            (_, _, true) => Output::Stream { interval: self.interval, count: self.count },
            _ => Output::Text,
        };
        Ok(Plan {
            target: Target::parse(self.target.as_deref())?,
            filter: Filter { states, pid: self.pid, process: self.process, families },
            output,
            wide: self.wide,
            limit: self.limit,
            quiet: self.quiet,
            lang: self.lang.unwrap_or_else(Lang::of_locale),
            asked: self.lang,
        })
    }
}

impl Plan {
    /// What the kernel is asked: of the whole port, because the other end of a connection that the filter takes, and
    /// the listener it came from, are shown with it.
    pub fn query(&self) -> Query {
        let ports = self.target.ports();
        let details = Details { info: true, memory: self.wide, congestion: self.wide };
        Query { families: Families::Both, states: StateSet::ALL, ports, details }
    }

    /// Whether the socket is one of those that are asked for, in whatever state.
    pub fn takes(&self, socket: &Socket) -> bool {
        let filter = &self.filter;
        let family = match filter.families {
            Families::Both => true,
            Families::V4 => !socket.tcp.is_v6(),
            Families::V6 => socket.tcp.is_v6(),
        };
        let has_pid = |wanted: u32| socket.owners.iter().any(|owner| owner.pid == wanted);
        // The kernel keeps 15 bytes of a name.
        let kept = |name: &str| name.as_bytes()[..name.len().min(15)].to_vec();
        let is_named =
            |wanted: &str| socket.owners.iter().any(|owner| owner.process.as_bytes() == kept(wanted));
        family
            && self.target.takes(socket)
            && filter.pid.is_none_or(has_pid)
            && filter.process.as_deref().is_none_or(is_named)
    }

    /// Whether [`Plan::takes`] leaves out more than the kernel does by the port.
    pub fn has_pick(&self) -> bool {
        !self.target.hosts.is_empty() || !Filter { states: StateSet::ALL, ..self.filter.clone() }.is_all()
    }
}
