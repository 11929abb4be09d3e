//! `duolu compare`: every model through the same work on real connections, up a ladder, each line to its wall.
//!
//! Reading order: `plan` decides what runs, `ladder` walks it, `rung` has one server and `loader` loads it, `watch`
//! and `tree` read the server meanwhile, `diagnose` names the wall, `result` holds the figures; `table`, `story`,
//! `output` and `expect` say what they are.

mod children;
mod diagnose;
mod expect;
mod figures;
mod interrupt;
mod ladder;
mod loader;
mod output;
mod plan;
mod progress;
mod result;
mod rung;
#[cfg(test)]
mod samples;
mod story;
mod table;
mod tree;
mod watch;

use crate::failure::Failure;
use crate::machine::Machine;
use crate::{terminal, units};
use output::Event;
use progress::Progress;
use result::{Asked, METHODS, Report};
use rung::Work;
use std::path::PathBuf;
use std::time::Duration;

/// What the server does with what it gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Service {
    /// Sends back what it gets
    Echo,
    /// Answers GET with a small fixed body, keep-alive
    Http,
}

/// Every model on this machine, side by side up a ladder of connections
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu compare --quick                                  all models, in 90 seconds\n  duolu compare --models epoll-et,io_uring --connections 10k --json"
)]
pub struct Args {
    /// The models, separated by commas; all for every one
    #[arg(long, value_name = "LIST", default_value = "all")]
    models: String,
    /// The rungs of the ladder [default: 100,1k,5k,10k; with --quick 100,1k,5k]
    #[arg(short = 'c', long, value_name = "LIST")]
    connections: Option<String>,
    /// Short windows, up to 5,000 connections: the whole run ends within 90 seconds
    #[arg(long)]
    quick: bool,
    /// How long each rung is measured [default: 3s; with --quick at most 1s]
    #[arg(short = 'd', long, value_name = "TIME", value_parser = units::parse_duration)]
    duration: Option<Duration>,
    /// Bytes of a message, 1 B to 1 MiB; echo only [default: 64]
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size)]
    payload: Option<u64>,
    /// Only so many connections talk, the rest are held idle
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    active: Option<u64>,
    /// A connection for each request: connect, one request, close
    #[arg(long, conflicts_with = "active")]
    churn: bool,
    /// What the servers do
    #[arg(long, value_enum, default_value = "echo")]
    service: Service,
    /// Loops of the event-driven models; the server gets as many processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Measure each cell so often; the run with the median rate counts, the spread is told
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeats: u32,
    /// Run the models in an order shuffled by this number
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// The servers' descriptor limit (RLIMIT_NOFILE), to see that wall
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    server_nofile: Option<u64>,
    /// What has to hold for every model, else exit code 1: conns, p50, p99, p999, rate, errors, cpu, mem
    #[arg(long, value_name = "'conns>=10k p99<5ms errors=0'")]
    expect: Option<String>,
    /// One JSON object on stdout instead of the table
    #[arg(long, conflicts_with = "json_stream")]
    json: bool,
    /// One JSON object a line on stdout, each cell as soon as it is measured
    #[arg(long)]
    json_stream: bool,
    /// Write result.json and result.csv into this folder
    #[arg(short = 'o', long = "out", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
}

/// Runs the verb.
///
/// # Errors
/// Usage (2), nothing can be measured here (3), an expectation that does not hold (1), interrupted (130).
pub fn run(args: Args) -> Result<(), Failure> {
    let plan =
        plan::plan(&args.models, args.connections.as_deref(), args.quick, args.duration, args.repeats)?;
    let expectations = args.expect.as_deref().map(expect::parse).transpose()?;
    let work = Work { ends_at: plan.ends_at, ..work(&args)? };
    if let Some(folder) = &args.out {
        output::make_folder(folder)?;
    }
    interrupt::listen().map_err(|error| Failure::cannot(format!("cannot listen for Ctrl-C: {error}")))?;
    let order = plan::running_order(&plan.models, args.seed);
    let mut report = Report {
        schema: 1,
        complete: true,
        interrupted: false,
        machine: Machine::read(work.placement.clone()),
        asked: Asked {
            models: plan.models.clone(),
            order: order.clone(),
            connections: plan.rungs.clone(),
            window_s: plan.window.as_secs_f64(),
            service: work.service.to_owned(),
            payload_bytes: work.payload,
            active: work.active,
            churn: work.churn,
            workers: work.workers,
            server_nofile: work.server_nofile,
            seed: args.seed,
        },
        results: Vec::new(),
        unavailable: Default::default(),
        shows: Vec::new(),
        methods: METHODS,
    };
    if args.json_stream {
        output::print_line(&Event::Machine { schema: 1, machine: &report.machine });
    }
    let progress = Progress::new(plan.estimate(&plan.cells()), args.quiet);
    if work.placement.shared {
        progress.say("duolu: one processor: server and loader share it; compare CPU per message, not rates");
    }
    ladder::climb_all(&plan, &order, &work, progress, &mut report, args.json_stream)?;
    report.shows = story::tell(&report);
    finish(&args, &report, expectations.as_deref())
}

fn work(args: &Args) -> Result<Work, Failure> {
    if args.payload.is_some_and(|payload| !(1..=1 << 20).contains(&payload)) {
        return Err(Failure::usage("--payload: from 1 byte to 1MiB"));
    }
    let payload = match (args.service, args.payload) {
        (Service::Http, Some(_)) => {
            return Err(Failure::usage(
                "--payload: the answer of --service http has its own size; leave it out",
            ));
        }
        (Service::Http, None) => None,
        (Service::Echo, payload) => Some(payload.unwrap_or(64)),
    };
    if args.active == Some(0) {
        return Err(Failure::usage("--active: at least one connection has to talk"));
    }
    if args.server_nofile.is_some_and(|limit| limit < 16) {
        return Err(Failure::usage("--server-nofile: a server needs 16 descriptors to start"));
    }
    let workers = usize::from(args.workers);
    Ok(Work {
        service: match args.service {
            Service::Echo => "echo",
            Service::Http => "http",
        },
        payload,
        timeout: if args.quick { Duration::from_secs(3) } else { Duration::from_secs(5) },
        active: args.active,
        churn: args.churn,
        workers,
        ends_at: None,
        server_nofile: args.server_nofile,
        placement: plan::place(workers),
    })
}

/// Prints, writes, judges.
fn finish(args: &Args, report: &Report, expectations: Option<&[expect::Expectation]>) -> Result<(), Failure> {
    if args.json {
        output::print(&output::json(report)?);
    } else if args.json_stream {
        output::print_line(&Event::End {
            schema: 1,
            complete: report.complete,
            interrupted: report.interrupted,
            shows: &report.shows,
        });
    } else if !report.results.is_empty() || !report.unavailable.is_empty() {
        output::print(&table::render(report, terminal::stdout_color()));
    }
    if let Some(folder) = &args.out {
        output::write_files(folder, report)?;
        if !args.quiet {
            progress::tell(&format!("wrote result.json and result.csv into {}", folder.display()));
        }
    }
    if report.interrupted {
        return Err(Failure::interrupted());
    }
    if report.results.is_empty() {
        let why: Vec<String> =
            report.unavailable.iter().map(|(model, why)| format!("{model}: {why}")).collect();
        return Err(Failure::cannot(format!("nothing could be measured. {}", why.join("; "))));
    }
    let broken = expectations.map(|expectations| expect::judge(report, expectations)).unwrap_or_default();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure::expectation(format!("--expect: {}", broken.join("\n       "))))
    }
}
