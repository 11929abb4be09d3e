//! `duolu serve`: a TCP server on any model. This file is the command line; a model is a file of its own.
//!
//! Reading order: [`service`] (what is done with the bytes, the same for all), [`setup`] (what a model gets),
//! [`blocking`] with [`thread`], [`fork`] and [`prefork`], then [`worker`] with the models that have a loop, and
//! [`processes`], where those are processes; [`door`] with [`evented`], and what stands on streams: [`chargen`], [`proxy`].

mod admin;
mod announce;
mod blocking;
mod board;
mod chargen;
mod completion;
mod connection;
mod control;
mod discard;
mod door;
mod echo;
mod evented;
mod fork;
mod grumble;
mod handed;
mod holder;
mod http;
mod listen;
mod notify;
mod pool;
mod prefork;
mod processes;
mod proxy;
mod service;
mod setup;
mod thread;
mod warnings;
mod worker;

use crate::failure::Failure;
use crate::model::Model;
use crate::walls::grouped;
use crate::{terminal, units};
use announce::Announce;
use board::Board;
use control::Control;
use handed::Handed;
use service::{Service, Session};
use setup::{Accept, Setup};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::time::Duration;
use worker::Worker;

/// How many processes prefork has unless told: each serves one connection at a time.
const PREFORK_PROCESSES: usize = 16;
/// As many as `--workers` takes.
const MOST_WORKERS: usize = 1024;

/// A TCP server on any I/O model: echo, http, discard, chargen, proxy
#[derive(clap::Args)]
#[command(
    before_help = "Examples:\n  duolu serve echo :7777 --model fork               a process per connection; try: nc 127.0.0.1 7777\n  duolu serve http --workers 2 --accept reuseport   two loops; try: curl http://127.0.0.1:8080/",
    after_help = "SIGTERM or Ctrl-C stops accepting (after --lame-duck) and lets connections finish for --drain; Ctrl-C again ends now.\nLISTEN_FDS sockets of a service manager are used instead of ADDR (one named admin instead of --admin), and NOTIFY_SOCKET\nis told when ready. SIGUSR1 tells the counters.\nExit codes: 0 ended as asked, 2 usage, 3 the machine does not let us, 130 ended at once."
)]
pub struct Args {
    /// What to do with the bytes
    #[arg(value_enum)]
    service: Service,
    /// Where to listen: 8080, :8080, 127.0.0.1:8080, [::1]:8080; instead of --bind and --port
    #[arg(value_name = "ADDR", conflicts_with_all = ["port", "bind"])]
    address: Option<String>,
    /// The same as ADDR
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["address", "port", "bind"])]
    listen: Option<String>,
    /// How to do the I/O [default: epoll-et; for chargen and proxy epoll-lt]
    #[arg(short, long, value_enum)]
    #[arg(
        long_help = "How to do the I/O: a process or thread for each connection (fork, prefork, thread), or one \
                       loop for all of them (the rest). epoll-et is the default because it needs the fewest system \
                       calls of those that run on every kernel. chargen and proxy stand on streams, which are driven \
                       level-triggered: epoll-lt is their default, and they run on select, poll and io_uring-poll too"
    )]
    model: Option<Model>,
    /// Port to listen on; 0 takes a free one
    #[arg(short, long, default_value_t = 8080)]
    port: u16,
    /// Address to listen on; 0.0.0.0 or :: to be reached from other machines
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    bind: IpAddr,
    /// Threads with a loop each [default: 1]; for prefork processes [default: 16]; with --processes see there
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
    /// Workers are processes, each with a loop and RLIMIT_NOFILE descriptors of its own
    #[arg(long)]
    #[arg(
        long_help = "Workers are processes, each with a loop and RLIMIT_NOFILE descriptors of its own, so that N of them \
                     hold N times as many connections. Without --workers as many as --max-connections needs (with \
                     12 % to spare, since SO_REUSEPORT does not spread evenly), else one for each processor. One that \
                     is killed is replaced; one that fails ends the server"
    )]
    processes: bool,
    /// How workers come to their connections [default: shared; with --processes reuseport]
    #[arg(long, value_enum)]
    accept: Option<Accept>,
    /// Connections that may wait to be accepted; the kernel cuts it to net.core.somaxconn
    #[arg(long, default_value_t = 4096, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    backlog: i32,
    /// Close connections beyond this number at once [default: no limit]
    #[arg(long, value_name = "N", value_parser = units::parse_count)]
    max_connections: Option<u64>,
    /// How long to go on accepting after SIGTERM while /readyz says 503 already, so that a balancer notices first
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = units::parse_duration)]
    lame_duck: Duration,
    /// How long open connections may take to finish after SIGTERM and --lame-duck
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = units::parse_duration)]
    drain: Duration,
    /// Also serve /metrics, /healthz and /readyz there (a port, or an address with a port)
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Say nothing but warnings
    #[arg(short, long)]
    quiet: bool,
    /// When ready, print one line of JSON to stdout (address, port, pid, ...), for programs that start this one
    #[arg(long)]
    json_ready: bool,
    /// At SIGUSR1 and at the end, print one line of JSON to stdout with the counters of /metrics
    #[arg(long)]
    json_stats: bool,
    #[command(flatten)]
    proxy: proxy::Args,
}

impl Args {
    fn model(&self) -> Model {
        let default = if self.service.stands_on_streams() { Model::EpollLt } else { Model::EpollEt };
        self.model.unwrap_or(default)
    }
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    warnings::print();
    let service = args.service;
    check_service(&args)?;
    match service {
        Service::Echo => serve::<echo::Echo>(prepare(args)?),
        Service::Http => serve::<http::Http>(prepare(args)?),
        Service::Discard => serve::<discard::Discard>(prepare(args)?),
        Service::Chargen => {
            let setup = prepare(args)?;
            let model = setup.model;
            serve_loops(setup, move |worker| chargen::serve(model, worker))
        }
        Service::Proxy => {
            let plan = args.proxy.plan()?;
            let setup = prepare(args)?;
            plan.check(setup.announce.address)?;
            let threads = if setup.processes { 1 } else { setup.workers };
            let (model, plan) = (setup.model, plan.part(setup.workers, threads));
            serve_loops(setup, move |worker| proxy::serve(model, plan.clone(), worker))
        }
    }
}

/// Whether service, model and options go together.
fn check_service(args: &Args) -> Result<(), Failure> {
    let (service, model) = (args.service, args.model());
    if service != Service::Proxy
        && let Some(option) = args.proxy.given()
    {
        return Err(Failure::usage(format!(
            "{option} is for 'duolu serve proxy'; {service} has no use for it"
        )));
    }
    let can = matches!(model, Model::Select | Model::Poll | Model::EpollLt | Model::IoUringPoll);
    if service.stands_on_streams() && !can {
        return Err(Failure::usage(format!(
            "{service} stands on streams, which a level-triggered loop drives, and {model} is none; take --model \
             epoll-lt (the default), select, poll or io_uring-poll"
        )));
    }
    Ok(())
}

fn serve<S: Session>(setup: Setup) -> Result<(), Failure> {
    match setup.model {
        Model::Fork => fork::serve::<S>(setup),
        Model::Prefork => prefork::serve::<S>(setup),
        Model::Thread => thread::serve::<S>(setup),
        Model::IoUring => serve_loops(setup, completion::serve::<S>),
        model => serve_loops(setup, move |worker| evented::serve::<S>(model, worker)),
    }
}

fn serve_loops(
    setup: Setup,
    body: impl Fn(Worker) -> Result<(), Failure> + Clone + Send + 'static,
) -> Result<(), Failure> {
    if setup.processes { processes::serve(setup, body) } else { worker::serve(setup, body) }
}

/// From the words of the command line to sockets that listen.
fn prepare(args: Args) -> Result<Setup, Failure> {
    let model = args.model();
    let workers = workers(&args)?;
    let accept = accept(&args)?;
    let Handed { service, admin } = handed::take()?;
    let inherited = !service.is_empty();
    let wanted = if accept == Accept::Reuseport { workers } else { 1 };
    let listeners = match inherited {
        true => suffice(service, wanted)?,
        false => listeners(&args, wanted, accept)?,
    };
    let address = listeners[0].local_addr().map_err(no_address)?;
    let admin = match admin {
        Some(admin) => Some(patient(admin)?),
        None => args.admin.as_deref().map(admin_listener).transpose()?,
    };
    let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose().map_err(no_address)?;
    Ok(Setup {
        model,
        workers,
        processes: args.processes,
        accept,
        listeners,
        inherited,
        max_connections: args.max_connections.unwrap_or(u64::MAX),
        lame_duck: args.lame_duck,
        lame_until: None,
        drain: args.drain,
        board: Board::new(workers)
            .map_err(|error| Failure::cannot(format!("no memory for counters: {error}")))?,
        admin,
        announce: Announce {
            service: args.service,
            model,
            address,
            inherited,
            admin: admin_address,
            workers,
            processes: args.processes,
            accept: model.is_event_driven().then(|| accept_name(accept)),
            quiet: args.quiet,
            json: args.json_ready,
            json_stats: args.json_stats,
        },
        control: Control::new().map_err(|error| {
            Failure::cannot(format!("cannot receive signals: {error} (is 'ulimit -n' below 20?)"))
        })?,
    })
}

fn workers(args: &Args) -> Result<usize, Failure> {
    let (model, given) = (args.model(), args.workers.map(usize::from));
    if args.processes && !model.is_event_driven() {
        return Err(Failure::usage(format!(
            "--processes is for the event-driven models; {model} {}",
            if model == Model::Thread { "has threads" } else { "has processes already" }
        )));
    }
    match model {
        Model::Fork | Model::Thread if given.is_some() => Err(Failure::usage(format!(
            "--workers makes no sense with --model {model}, which has one for each connection; \
             prefork and the event-driven models take it"
        ))),
        Model::Prefork => Ok(given.unwrap_or(PREFORK_PROCESSES)),
        _ => loops(args, given),
    }
}

/// How many loops: as many as were asked for, or, as processes, as hold `--max-connections`. Says so where those that
/// were asked for are too few.
fn loops(args: &Args, given: Option<usize>) -> Result<usize, Failure> {
    let fallback = given.unwrap_or_else(|| if args.processes { processors() } else { 1 });
    // The ring's connections are no descriptors.
    let most = args.max_connections.filter(|_| args.model() != Model::IoUring);
    let Some((most, room)) = most.zip(processes::Room::of_this_process(args.service)) else {
        return Ok(fallback);
    };
    let needed = if most <= room.alone { 1 } else { most.div_ceil(room.among_several) };
    if args.processes && given.is_none() {
        return match usize::try_from(needed).ok().filter(|needed| *needed <= MOST_WORKERS) {
            Some(needed) => Ok(needed),
            None => Err(Failure::usage(format!(
                "{} connections would take {} processes of {} each, and {MOST_WORKERS} are the most: raise 'ulimit -n' \
                 first",
                grouped(most),
                grouped(needed),
                grouped(room.among_several)
            ))),
        };
    }
    let processes = if args.processes { fallback as u64 } else { 1 };
    if processes < needed && !args.quiet {
        let (who, room) = match processes {
            1 => ("one process".to_owned(), room.alone),
            several => (format!("{several} processes"), several * room.among_several),
        };
        terminal::tell(&format!(
            "duolu serve: {who} can be counted on for {} connections, not for {}: --processes --workers {needed}",
            grouped(room),
            grouped(most)
        ));
    }
    Ok(fallback)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn accept(args: &Args) -> Result<Accept, Failure> {
    // A service manager gives one socket as a rule.
    let own_sockets = args.processes && std::env::var_os("LISTEN_FDS").is_none();
    let default = if own_sockets { Accept::Reuseport } else { Accept::Shared };
    let (model, accept) = (args.model(), args.accept.unwrap_or(default));
    if args.accept.is_some() && !model.is_event_driven() {
        return Err(Failure::usage(format!(
            "--accept is for the event-driven models; {model} has one way only"
        )));
    }
    let is_epoll = matches!(model, Model::EpollLt | Model::EpollEt | Model::EpollOneshot);
    if accept == Accept::Exclusive && !is_epoll {
        return Err(Failure::usage(format!(
            "--accept exclusive is EPOLLEXCLUSIVE, which {model} does not have; \
             take epoll-lt, epoll-et or epoll-oneshot, or --accept reuseport"
        )));
    }
    Ok(accept)
}

fn accept_name(accept: Accept) -> &'static str {
    match accept {
        Accept::Shared => "shared",
        Accept::Exclusive => "exclusive",
        Accept::Reuseport => "reuseport",
    }
}

/// The service's own sockets.
fn listeners(args: &Args, wanted: usize, accept: Accept) -> Result<Vec<TcpListener>, Failure> {
    let mut address = match args.address.as_ref().or(args.listen.as_ref()) {
        Some(text) => listen::parse_address(text, args.bind, args.port)?,
        None => SocketAddr::new(args.bind, args.port),
    };
    if let (Some(most), false) = (listen::cut_backlog(args.backlog), args.quiet) {
        terminal::tell(&format!(
            "duolu serve: the kernel cuts the backlog of {} to {most} (net.core.somaxconn)",
            args.backlog
        ));
    }
    let mut listeners = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let listener = listen::listen(address, args.backlog, accept == Accept::Reuseport)?;
        address = listener.local_addr().map_err(no_address)?; // the kernel's choice, for the others too
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Those of a service manager, if they are as many as wanted.
fn suffice(handed: Vec<TcpListener>, wanted: usize) -> Result<Vec<TcpListener>, Failure> {
    let count = handed.len();
    if count != wanted {
        return Err(Failure::usage(format!(
            "the service manager gave {count} sockets (LISTEN_FDS), this server takes {wanted} (one, which ListenStream=PORT \
             makes for IPv4 and IPv6 together, or with --accept reuseport one for each worker)"
        )));
    }
    Ok(handed)
}

fn admin_listener(text: &str) -> Result<TcpListener, Failure> {
    let address = listen::parse_address(text, IpAddr::from([127, 0, 0, 1]), 9090)?;
    patient(listen::listen(address, 128, false)?)
}

/// The admin endpoint waits in its accepts.
fn patient(listener: TcpListener) -> Result<TcpListener, Failure> {
    listener.set_nonblocking(false).map_err(no_address)?;
    Ok(listener)
}

fn no_address(error: std::io::Error) -> Failure {
    Failure::cannot(format!("cannot ask the socket for its address: {error}"))
}
