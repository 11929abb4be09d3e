//! `duolu why :PORT | PID`: how any running TCP server does its I/O, and which wall is next. Read-only.
//!
//! Reading order: `target` is what was asked, `find` finds its sockets; `server` reads them and its processes (with `look`:
//! descriptors, epoll instances, rings, threads); `watching` puts together who waits for what, `decide` (with `idle`) finds
//! the `model`; `wall`, `headroom`, `machine`, `ports` and `known` measure the walls, `warnings` (with `warnings_loops` and
//! `warnings_connections`) finds what is wrong now; `view` puts it into words, `card`, `page` and `json` tell it.

mod card;
mod counters;
mod decide;
mod find;
mod headroom;
mod idle;
mod json;
mod known;
mod look;
mod machine;
mod model;
mod page;
mod ports;
mod server;
mod target;
mod view;
mod view_inside;
mod wall;
mod warnings;
mod warnings_connections;
mod warnings_loops;
mod watching;
mod words;

use crate::compare::interrupt;
use crate::failure::Failure;
use crate::lab::picture::Paper;
use crate::lang::Lang;
use crate::{terminal, units};
use headroom::Case;
use std::path::PathBuf;
use std::time::Duration;
use target::Target;
use wall::Bar;
use warnings::Warning;
use watching::Watching;

/// Any running TCP server: its I/O model, threads, queues, headroom, the next wall, the fix
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu why :8080            whoever listens on port 8080\n  duolu why 4711 --for 2s    process 4711, looked at for two seconds",
    after_help = "It only reads: /proc, sock_diag. Nothing is attached to, stopped or connected to. Servers of another user need root or CAP_SYS_PTRACE; what is missing is named, with what unlocks it.\n\nExit codes: 0 told, 2 usage, 3 cannot be told (nobody listens, no permission, it ended: what was read is printed), 130 interrupted (the same)."
)]
pub struct Args {
    /// A port with its colon (:8080, 127.0.0.1:8080, [::1]:8080), or the number of a process
    #[arg(value_name = ":PORT | PID")]
    target: String,
    /// How long the threads are looked at
    #[arg(long = "for", default_value = "300ms", value_name = "TIME", value_parser = units::parse_duration)]
    span: Duration,
    /// Read what epoll instances and rings hold even of a server with more than 100,000 connections
    #[arg(
        long,
        long_help = "Read what epoll instances and rings hold even of a server with more than 100,000 connections. The \
                             kernel holds up the server's loop meanwhile, for about 2 us a connection"
    )]
    deep: bool,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
    /// The X-ray card as a page: one file, both languages, no network
    #[arg(short = 'o', long = "out", value_name = "FILE.html")]
    out: Option<PathBuf>,
    /// The language [default: the locale's]
    #[arg(long, value_enum)]
    lang: Option<Lang>,
}

/// Longer looks tell no more, and somebody has mistyped.
const LONGEST: Duration = Duration::from_secs(3600);

/// What was found, for those who tell it.
pub struct Report<'a> {
    case: Case<'a>,
    bars: Vec<Bar>,
    warnings: Vec<Warning>,
}

impl Report<'_> {
    /// The wall that connections reach first.
    fn next(&self) -> Option<&Bar> {
        wall::next(&self.bars)
    }
}

/// Runs the verb.
///
/// # Errors
/// See the exit codes in its help.
pub fn run(args: Args) -> Result<(), Failure> {
    let target = Target::parse(&args.target)?;
    if args.span > LONGEST {
        return Err(Failure::usage("--for is at most 1h"));
    }
    let lang = args.lang.unwrap_or_else(Lang::of_locale);
    interrupt::listen().map_err(|error| Failure::cannot(format!("cannot receive signals: {error}")))?;
    let server = server::look(target, args.span, args.deep)?;
    let watching = Watching::of(&server);
    let verdict = decide::decide(&server, &watching);
    let connections = server.connections.len() as u64;
    let case = Case { server: &server, watching: &watching, verdict: &verdict, connections };
    let (bars, warnings) = (headroom::bars(&case), warnings::all(&case, server.throttled));
    let report = Report { case, bars, warnings };
    if let Some(out) = &args.out {
        page::write(&report, lang, out)?;
        terminal::tell(&format!("duolu: wrote {}", out.display()));
    }
    if args.json {
        let text = serde_json::to_string_pretty(&json::object(&report))
            .map_err(|error| Failure::cannot(format!("cannot write JSON: {error}")))?;
        terminal::print(&format!("{text}\n"))?;
    } else {
        let paper = Paper { lang, color: terminal::stdout_color(), width: card::width() };
        terminal::print(&card::text(&report, &paper))?;
    }
    outcome(&report, target)
}

/// What was read is out; whether it was enough.
fn outcome(report: &Report<'_>, target: Target) -> Result<(), Failure> {
    let server = report.case.server;
    if server.interrupted {
        return Err(Failure::interrupted());
    }
    if server.processes.is_empty() && !server.ended.is_empty() {
        let ended = server.ended.join(", ");
        return Err(Failure::cannot(format!(
            "{ended} ended while it was being looked at; what was read is above"
        )));
    }
    if server.is_closed() {
        let unlock = server.missing.first().map_or("", |missing| missing.unlock.pick(Lang::En));
        return Err(Failure::cannot(format!(
            "how {target} does its I/O cannot be read by this user; to unlock it: {unlock}"
        )));
    }
    Ok(())
}
