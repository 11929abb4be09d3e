//! The command line of `duolu states`.

use super::target::Target;
use crate::failure::Failure;
use crate::lang::Lang;
use crate::units::{parse_count, parse_duration};
use duolu_sys::tcp_diag::{Details, Families, Query, StateSet, TcpState};
use std::time::Duration;

/// Live TCP states: one line per connection, both ends of it, and who holds them
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu states :8080                      who is connected to port 8080, in which state\n  \
                   duolu states --state CLOSE-WAIT         connections that the other end closed and a program here keeps",
    after_help = "Needs no privilege; names of other users' processes need theirs, or root.\n\
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
    /// Every column, however wide the terminal is
    #[arg(short, long)]
    wide: bool,
    /// So many lines of connections, 0 for all [default: 100 on a terminal, else all]
    #[arg(short = 'n', long, value_parser = parse_count, value_name = "N")]
    limit: Option<u64>,
    /// No explanations, only counts and lines
    #[arg(short, long)]
    quiet: bool,
    /// One JSON object
    #[arg(long, conflicts_with = "json_stream")]
    json: bool,
    /// One JSON object a line, again and again, until the reader leaves
    #[arg(long)]
    json_stream: bool,
    /// How often, with --json-stream
    #[arg(long, default_value = "1s", value_parser = parse_duration, value_name = "TIME")]
    interval: Duration,
    /// How many times, with --json-stream [default: until the reader leaves]
    #[arg(long, value_parser = parse_count, value_name = "N")]
    count: Option<u64>,
    /// The language of headings and explanations [default: the locale's]
    #[arg(long, value_enum, value_name = "LANG")]
    lang: Option<Lang>,
}

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        let families = match (self.ipv4, self.ipv6) {
            (true, _) => Families::V4,
            (_, true) => Families::V6,
            _ => Families::Both,
        };
        let states = if self.state.is_empty() { StateSet::ALL } else { StateSet::of(&self.state) };
        let output = match (self.json, self.json_stream) {
            (true, _) => Output::Json,
            (_, true) => Output::Stream { interval: self.interval, count: self.count },
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
        })
    }
}

impl Plan {
    /// What the kernel is asked: of the whole port, because the other end of a connection that the filter takes, and
    /// the listener it came from, are shown with it.
    pub fn query(&self) -> Query {
        let ports = self.target.ports();
        Query { families: Families::Both, states: StateSet::ALL, ports, details: Details::ALL }
    }
}
