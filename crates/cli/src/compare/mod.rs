//! `duolu compare`: every model, and the user's own server, through the same work on real connections, up a ladder,
//! each line to its wall.
//!
//! Reading order: `contender` and `blocks` say who does what, `plan` decides what runs, `ladder` walks it, `server` is
//! one server (`own` starts those that are not ours), `rung` loads it by way of `loader`, `watch` and `tree` read it
//! meanwhile, `diagnose` (with `tasks`) names the wall, `merge` makes one cell of several runs, `result` holds the figures; `table`,
//! `story`, `against`, `output` and `expect` say what they are.

mod against;
mod blocks;
mod children;
mod contender;
mod diagnose;
mod expect;
mod figures;
pub mod interrupt;
mod ladder;
mod loader;
mod merge;
mod output;
mod own;
mod plan;
mod progress;
mod result;
mod rung;
#[cfg(test)]
mod samples;
mod server;
mod story;
mod table;
mod tasks;
mod tree;
mod watch;

use crate::failure::Failure;
use crate::load::target::Target;
use crate::machine::Machine;
use crate::{terminal, units};
use blocks::{Block, Speak};
use contender::Contender;
use output::Event;
use plan::Plan;
use progress::Progress;
pub use result::methods;
use result::{Asked, Own, Report};
use rung::Work;
use std::path::PathBuf;
use std::time::Duration;

/// How workers come to their connections, as `serve --accept` has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
enum Accept {
    /// All wait on one socket
    Shared,
    /// One socket, one worker woken (EPOLLEXCLUSIVE; the epoll models only)
    Exclusive,
    /// A socket for each, the kernel spreads connections (SO_REUSEPORT)
    Reuseport,
}

/// Every model on this machine, side by side up a ladder of connections; and your own server beside them
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu compare --quick                                  all models, in 90 seconds\n  duolu compare -o DIR                                   up to 10,000 connections, in 3 minutes; and a page of it\n  duolu compare --models epoll-et,io_uring -- ./my-server --port {port}\n                                                         your own echo server on the same ladder",
    after_help = "Your own server: the command after -- is started anew for each time up the ladder, with a free port put in for {port}. It has to listen on 127.0.0.1, ::1 or every address, stay in the foreground, and speak what --speak says: echo (what is sent comes back), http (GET / or the target's path), memcached.\n\nExit codes: 0 measured, 1 an expectation does not hold, 2 usage, 3 something asked for could not be measured, 130 interrupted (what was measured is printed and written all the same)."
)]
pub struct Args {
    /// The models, separated by commas; all for every one, none for only your own server
    #[arg(long, value_name = "LIST", default_value = "all")]
    models: String,
    /// The rungs of the ladder [default: 100,1k,5k,10k; with --quick 100,1k,5k]
    #[arg(short = 'c', long, value_name = "LIST")]
    connections: Option<String>,
    /// Short windows, up to 5,000 connections: the whole run ends within 90 seconds
    #[arg(long)]
    quick: bool,
    /// How long each rung is measured [default: 3s; with --quick at most 1s]; longer where it takes that to see a few
    /// answers on each connection
    #[arg(short = 'd', long, value_name = "TIME", value_parser = units::parse_duration)]
    duration: Option<Duration>,
    /// What the connections do: all active, mostly idle, churn (a connection for each request); several: all,idle,churn
    #[arg(long, value_name = "LIST")]
    mix: Option<String>,
    /// Bytes of a message, 1 B to 1 MiB, or several: 64,16KiB; not for http [default: 64]
    #[arg(long, value_name = "SIZES")]
    payload: Option<String>,
    /// Only so many connections talk, the rest are held idle [default with --mix idle: a tenth, at most 100]
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    active: Option<u64>,
    /// The same as --mix churn
    #[arg(long, conflicts_with_all = ["active", "mix"])]
    churn: bool,
    /// What is spoken; the models serve echo and http
    #[arg(long, visible_alias = "service", value_enum, value_name = "PROTOCOL", default_value = "echo")]
    speak: Speak,
    /// Loops of the event-driven models; the server gets as many processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// How those loops come to their connections [default: shared]
    #[arg(long, value_enum)]
    accept: Option<Accept>,
    /// Go up the ladder so often, all contenders in turn; medians count, the spread is told
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeats: u32,
    /// Run the contenders in an order shuffled by this number
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// The servers' descriptor limit (RLIMIT_NOFILE), to see that wall
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    server_nofile: Option<u64>,
    /// A server of yours that runs already, on this machine: 127.0.0.1:8080, :8080 or http://127.0.0.1:8080/path
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<String>,
    /// What your own server is called in the table [default: from its command]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// One more server, run by the shell; as often as you like
    #[arg(long, value_name = "'NAME=COMMAND ... {port}'")]
    also: Vec<String>,
    /// How long your own server may take until it listens
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::parse_duration)]
    start_timeout: Duration,
    /// An older result.json: what changed, and whether it is more than the spread
    #[arg(long, value_name = "OLD.JSON")]
    against: Option<PathBuf>,
    /// What has to hold for every model, else exit code 1: conns, p50, p90, p99, p999, rate, errors, cpu, mem
    #[arg(long, value_name = "'conns>=10k p99<5ms errors=0'")]
    expect: Option<String>,
    /// One JSON object on stdout instead of the table
    #[arg(long, conflicts_with = "json_stream")]
    json: bool,
    /// One JSON object a line on stdout, each cell as soon as it is measured
    #[arg(long)]
    json_stream: bool,
    /// Write report.html, result.json and result.csv into this folder; the last two also while the run goes on
    #[arg(short = 'o', long = "out", value_name = "DIR")]
    out: Option<PathBuf>,
    /// Nothing on stderr but errors
    #[arg(short, long)]
    quiet: bool,
    /// Your own server, {port} where its port belongs
    #[arg(last = true, value_name = "COMMAND... {port}")]
    command: Vec<String>,
}

/// Everything that the command line says, checked before anything starts.
struct Checked {
    plan: Plan,
    work: Work,
    expectations: Option<Vec<expect::Expectation>>,
    old: Option<serde_json::Value>,
}

/// Runs the verb.
///
/// # Errors
/// Usage (2), something asked for cannot be measured here (3), an expectation that does not hold (1), interrupted (130).
pub fn run(args: Args) -> Result<(), Failure> {
    let checked = check(&args)?;
    let Checked { plan, work, old, .. } = &checked;
    if let Some(folder) = &args.out {
        output::make_folder(folder)?;
    }
    interrupt::listen().map_err(|error| Failure::cannot(format!("cannot listen for Ctrl-C: {error}")))?;
    let mut report = Report {
        schema: 1,
        complete: true,
        interrupted: false,
        machine: Machine::read(work.placement.clone()),
        asked: asked(&args, plan, work),
        results: Vec::new(),
        unavailable: Default::default(),
        shows: Vec::new(),
        against: None,
        methods: methods(),
    };
    if args.json_stream {
        output::print_line(&Event::Machine { schema: 1, machine: &report.machine })?;
    }
    let progress = Progress::new(plan.estimate(&plan.steps()), args.quiet);
    progress.say(&format!("duolu: {}", plan.outline()));
    if work.placement.shared {
        progress.say("duolu: one processor: server and loader share it; compare CPU per message, not rates");
    }
    if let Some(why) = &report.machine.noisy {
        progress.say(&format!("duolu: a noisy machine: {why}; figures will be worse than they could be"));
    }
    let sinks = ladder::Sinks {
        stream: args.json_stream,
        folder: args.out.as_deref(),
        wanted: args.out.is_some() || args.expect.is_some(),
    };
    let climbed = ladder::climb_all(plan, work, progress, &mut report, sinks);
    report.complete &= climbed.is_ok();
    report.shows = story::tell(&report);
    if let (Some(old), Some(file)) = (old, &args.against) {
        report.against = Some(against::compare(&file.display().to_string(), old, &report));
    }
    // What was measured before a failure is told all the same.
    finish(&args, &checked, &report, climbed)
}

fn check(args: &Args) -> Result<Checked, Failure> {
    let (contenders, speak, path) = contenders(args)?;
    if args.server_nofile.is_some_and(|limit| limit < 16) {
        return Err(Failure::usage("--server-nofile: a server needs 16 descriptors to start"));
    }
    let wanted = blocks::Wanted {
        speak,
        mix: args.mix.as_deref(),
        active: args.active,
        churn: args.churn,
        payload: args.payload.as_deref(),
    };
    let wanted_ladder = plan::Wanted {
        rungs: args.connections.as_deref(),
        quick: args.quick,
        window: args.duration,
        repeats: args.repeats,
        seed: args.seed,
    };
    let blocks = blocks::blocks(&wanted)?;
    let expectations = args.expect.as_deref().map(expect::parse).transpose()?;
    let old = args.against.as_deref().map(against::read).transpose()?;
    let plan = plan::plan(contenders, blocks, wanted_ladder)?;
    let workers = usize::from(args.workers);
    let work = Work {
        speak,
        path,
        timeout: if args.quick { Duration::from_secs(3) } else { Duration::from_secs(5) },
        patience: args.start_timeout,
        workers,
        accept: args.accept.map(|accept| match accept {
            Accept::Shared => "shared",
            Accept::Exclusive => "exclusive",
            Accept::Reuseport => "reuseport",
        }),
        ends_at: plan.ends_at,
        server_nofile: args.server_nofile,
        placement: plan::place(workers),
    };
    Ok(Checked { plan, work, expectations, old })
}

/// Who is measured, what they speak, and the path of the requests where the target says one.
fn contenders(args: &Args) -> Result<(Vec<Contender>, Speak, Option<String>), Failure> {
    let mut own = Vec::new();
    let (mut speak, mut path) = (args.speak, None);
    if let Some(text) = &args.target {
        if !args.command.is_empty() {
            return Err(Failure::usage(
                "--target is a server that runs already; a command after -- is started: one of them",
            ));
        }
        let target = Target::resolve(text)?;
        if !target.is_here {
            return Err(Failure::usage(format!(
                "--target: {} is not this machine; its CPU time, memory and walls could not be read: run duolu compare there",
                target.address.ip()
            )));
        }
        if target.path.is_some() {
            if args.speak == Speak::Memcached {
                return Err(Failure::usage("--target http://... speaks http, not memcached"));
            }
            speak = Speak::Http;
            path.clone_from(&target.path);
        }
        if crate::walls::listen::queues(target.address).is_empty() {
            return Err(Failure::cannot(format!("--target: nobody listens on {}", target.address)));
        }
        own.push(Contender::target(target.address, args.name.as_deref())?);
    }
    if !args.command.is_empty() {
        own.push(Contender::command(&args.command, args.name.as_deref())?);
    }
    if args.name.is_some() && own.is_empty() {
        return Err(Failure::usage("--name is for your own server: a command after --, or --target"));
    }
    for text in &args.also {
        own.push(Contender::also(text)?);
    }
    let mut contenders: Vec<Contender> =
        plan::parse_models(&args.models)?.into_iter().map(Contender::from).collect();
    if speak == Speak::Memcached {
        if own.is_empty() {
            return Err(Failure::usage(
                "--speak memcached: no model of ours speaks it; name a server: -- memcached -p {port}, or --target HOST:PORT",
            ));
        }
        contenders.clear();
    }
    contenders.extend(own);
    contenders.retain(|contender| contender.speaks(speak));
    if contenders.is_empty() {
        return Err(Failure::usage(
            "--models none: then name a server of your own: -- COMMAND {port}, or --target",
        ));
    }
    Ok((contenders, speak, path))
}

fn asked(args: &Args, plan: &Plan, work: &Work) -> Asked {
    let own = |contender: &Contender| Some(Own { name: contender.name.clone(), origin: contender.origin()? });
    let mut mixes = Vec::new();
    let mut payloads = Vec::new();
    for Block { mix, payload, .. } in &plan.blocks {
        if !mixes.contains(mix) {
            mixes.push(*mix);
        }
        payloads.extend(payload.filter(|bytes| !payloads.contains(bytes)));
    }
    Asked {
        models: plan.contenders.iter().map(|contender| contender.name.clone()).collect(),
        order: ladder::names_in_order(plan),
        own: plan.contenders.iter().filter_map(own).collect(),
        connections: plan.rungs.clone(),
        window_s: plan.window.as_secs_f64(),
        repeats: plan.repeats,
        service: work.speak.name().to_owned(),
        payload_bytes: payloads.first().copied(),
        churn: mixes == [blocks::Mix::Churn],
        mixes,
        payloads,
        active: args.active,
        workers: work.workers,
        accept: work.accept.map(str::to_owned),
        server_nofile: work.server_nofile,
        seed: args.seed,
    }
}

/// Prints, writes, judges.
fn finish(
    args: &Args,
    checked: &Checked,
    report: &Report,
    climbed: Result<(), Failure>,
) -> Result<(), Failure> {
    let printed = if args.json {
        terminal::print(&output::json(report)?)
    } else if args.json_stream {
        output::print_line(&Event::End {
            schema: 1,
            complete: report.complete,
            interrupted: report.interrupted,
            shows: &report.shows,
        })
        .map(drop)
    } else if !report.results.is_empty() || !report.unavailable.is_empty() {
        let style = table::Style {
            color: terminal::stdout_color(),
            width: terminal::stdout_width().unwrap_or(table::WIDEST).min(table::WIDEST),
        };
        terminal::print(&table::render(report, style))
    } else {
        Ok(())
    };
    if let Some(folder) = &args.out {
        output::write_files(folder, report, checked.old.as_ref())?;
        if !args.quiet {
            terminal::tell(&format!(
                "wrote report.html, result.json and result.csv into {}",
                folder.display()
            ));
        }
    }
    printed?; // only now: a full disk behind stdout costs no files
    climbed?;
    if report.interrupted {
        return Err(Failure::interrupted());
    }
    if report.results.is_empty() {
        let why: Vec<String> =
            report.unavailable.iter().map(|(model, why)| format!("{model}: {why}")).collect();
        return Err(Failure::cannot(format!("nothing could be measured. {}", why.join("; "))));
    }
    let unserved = unserved(&checked.plan, report);
    if !unserved.is_empty() {
        return Err(Failure::cannot(unserved.join("\n       ")));
    }
    let judge = |what: &Vec<_>| expect::judge(report, &checked.plan.blocks, what);
    let broken = checked.expectations.as_ref().map(judge).unwrap_or_default();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Failure::expectation(format!("--expect: {}", broken.join("\n       "))))
    }
}

/// What was asked for by name and could not be measured to its end: the user's own servers that did not start or that
/// ended by themselves. A model of ours that this kernel does not have is no failure: it was not asked for by name.
fn unserved(plan: &Plan, report: &Report) -> Vec<String> {
    let own = plan.contenders.iter().filter(|contender| contender.model().is_none());
    own.filter_map(|contender| {
        let name = &contender.name;
        if let Some(why) = report.unavailable.get(name) {
            return Some(format!("{name} could not be measured: {why}"));
        }
        let died = report.results.iter().find(|cell| {
            cell.model == *name && cell.wall.as_ref().is_some_and(|wall| wall.name == diagnose::SERVER_ENDED)
        })?;
        let (rung, wall) = (crate::walls::grouped(died.connections), died.wall.as_ref()?);
        Some(format!("{name} ended by itself at {rung} connections: {}", wall.evidence))
    })
    .collect()
}
