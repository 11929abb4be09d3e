//! The run as a whole: starts the threads, leads them through the phases together, adds up what they tell.

use super::args::{Output, Plan};
use super::drive::{self, Driven, End, Event, Start};
use super::errors::Kind;
use super::report;
use super::tally::Tally;
use super::worker::Window;
use super::{phases, progress::Progress};
use crate::failure::Failure;
use crate::walls::cpu::{Busiest, ThreadTimes};
use crate::walls::machine::ListenCounters;
use crate::walls::{Wall, listen, process};
use duolu::{Context, Handle};
use std::fs::File;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What was measured, all threads together.
pub struct Outcome {
    /// The counts.
    pub tally: Tally,
    /// Connections held at the end.
    pub held: usize,
    /// When the window began.
    pub from: Instant,
    /// The window that was really measured.
    pub measured: Duration,
    /// CPU time of all threads in it.
    pub cpu: Duration,
    /// How long the opening took.
    pub opening: Duration,
    /// Ctrl-C.
    pub interrupted: bool,
    /// Whoever read `--json-stream` has gone: the run ended with them.
    pub unread: bool,
    /// Why connections were not accepted, proven while they waited.
    pub wall: Option<Wall>,
    /// The loader's own limit, and how many connections were open when it was hit.
    pub own_limit: Option<(Kind, u64)>,
    /// The server's busiest thread in the window, where the server runs here.
    pub busiest: Option<Busiest>,
    /// The kernel's counters before the run.
    pub counters_before: Option<ListenCounters>,
    /// What a crowd beyond the descriptor limit cost.
    pub crowd: Option<super::crowd::Account>,
}

/// Threads of a server whose CPU times are read; reading thousands of them would disturb what is measured.
const MOST_THREADS_WATCHED: u64 = 256;
/// Descriptors kept aside, so that the server can still be looked at when the loader has used up its own.
const RESERVE: usize = 6;
/// From telling the threads to the first request, so that all have heard of it.
const LEAD: Duration = Duration::from_millis(5);

struct Conductor {
    plan: Arc<Plan>,
    epoch: Instant,
    events: Receiver<Event>,
    handles: Vec<Handle<Driven>>,
    threads: Vec<JoinHandle<()>>,
    /// Looks in a row at which a thread had ended without a word.
    orphaned: u8,
    progress: Progress,
    held: Arc<AtomicU64>,
    tally: Tally,
    /// For `--json-stream`: counts since the last line, and the number of threads that told theirs.
    line: (Tally, usize, u64),
    ends: Vec<End>,
    interrupted: bool,
    unread: bool,
    opened: usize,
}

/// Runs the plan.
pub fn run(plan: &Arc<Plan>) -> Result<Outcome, Failure> {
    if plan.is_churn() {
        probe(plan)?;
    }
    let reserve: Vec<File> = (0..RESERVE).filter_map(|_| File::open("/dev/null").ok()).collect();
    let counters_before = ListenCounters::read();
    let mut conductor = Conductor::start(plan)?;
    let begun = Instant::now();
    conductor.post(phases::start_opening);
    conductor.until(|conductor| conductor.opened == conductor.plan.threads)?;
    let opening = begun.elapsed();
    drop(reserve);

    let nothing_to_measure = conductor.held.load(Ordering::Relaxed) == 0 && !plan.is_churn();
    let mut watch = ServerWatch::default();
    let (mut from, mut end) = (Instant::now(), Instant::now());
    if !conductor.interrupted && !nothing_to_measure {
        watch = ServerWatch::find(plan);
        let begin = Instant::now() + LEAD;
        from = begin + plan.warmup;
        end = from + plan.duration;
        let nanos = |time: Instant| time.duration_since(conductor.epoch).as_nanos() as u64;
        let window = Window { begin_ns: nanos(begin), from_ns: nanos(from), end_ns: nanos(end) };
        conductor.post(move |ctx| phases::schedule_run(ctx, window));
        conductor.progress.measuring();
        conductor.until(|_| Instant::now() >= from)?;
        watch.begin();
        conductor.until(|conductor| Instant::now() >= end || conductor.is_over())?;
        watch.end();
    }
    if conductor.interrupted || nothing_to_measure {
        conductor.post(phases::interrupt);
        end = Instant::now().min(end);
    }
    let stopping = conductor.interrupted;
    conductor.until_finished(stopping)?;
    conductor.progress.clear();
    let measured = end.saturating_duration_since(from);
    Ok(conductor.outcome((from, measured), opening, watch.busiest, counters_before))
}

/// Whether anybody listens. Only before churn, where no connection is opened in advance.
fn probe(plan: &Plan) -> Result<(), Failure> {
    match TcpStream::connect_timeout(&plan.target.address, plan.timeout) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err(Failure::cannot(report::refused(plan)))
        }
        Ok(stream) => {
            let _ = duolu_sys::socket::set_abort_after_fin(&stream); // leaves no TIME-WAIT either
            Ok(())
        }
        Err(_) => Ok(()), // churn itself will tell
    }
}

impl Conductor {
    fn start(plan: &Arc<Plan>) -> Result<Self, Failure> {
        let (sender, events) = mpsc::channel();
        let epoch = Instant::now();
        let held = Arc::new(AtomicU64::new(0));
        let queues = if plan.target.is_here { listen::queues(plan.target.address) } else { Vec::new() };
        let backlog = queues.iter().filter_map(|queue| queue.backlog).min();
        let mut threads = Vec::new();
        for index in 0..plan.threads {
            let (plan, held_everywhere, events) = (plan.clone(), held.clone(), sender.clone());
            let start = Start { plan, index, epoch, held_everywhere, events, backlog };
            let thread = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || drive::run(start))
                .map_err(|error| {
                    Failure::cannot(format!("the loader cannot start thread {index}: {error}"))
                })?;
            threads.push(thread);
        }
        let progress = Progress::new(plan, held.clone());
        let mut conductor = Conductor {
            plan: plan.clone(),
            epoch,
            events,
            handles: Vec::new(),
            threads,
            orphaned: 0,
            progress,
            held,
            tally: Tally::default(),
            line: (Tally::default(), 0, 0),
            ends: Vec::new(),
            interrupted: false,
            unread: false,
            opened: 0,
        };
        conductor.until(|conductor| conductor.handles.len() == conductor.plan.threads)?;
        Ok(conductor)
    }

    fn post(&self, callback: impl FnOnce(&mut Context<Driven>) + Copy + Send + 'static) {
        for handle in &self.handles {
            let _ = handle.post(callback); // a loop that has ended has told so
        }
    }

    /// Takes what the threads tell until `done` or Ctrl-C.
    fn until(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        while !done(self) && !self.interrupted {
            self.next()?;
        }
        Ok(())
    }

    /// All threads are through: a moment before our own clock says so, where theirs was read a moment later.
    fn is_over(&self) -> bool {
        self.ends.len() == self.plan.threads
    }

    fn until_finished(&mut self, stopping: bool) -> Result<(), Failure> {
        while !self.is_over() {
            self.next()?;
            if self.interrupted && !stopping {
                self.post(phases::interrupt); // Ctrl-C while the last replies are awaited
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(), Failure> {
        // Short, so that the caller's clock conditions are met in time.
        match self.events.recv_timeout(Duration::from_millis(20)) {
            Ok(Event::Up(handle)) => self.handles.push(handle),
            Ok(Event::Opened) => self.opened += 1,
            Ok(Event::Second(tally)) => self.take_second(&tally)?,
            Ok(Event::Finished(end)) => {
                self.tally.add(&end.tally);
                self.ends.push(*end);
            }
            Ok(Event::Interrupted) => self.interrupted = true,
            Ok(Event::Failed(what)) => return Err(Failure::cannot(what)),
            Err(RecvTimeoutError::Timeout) => self.look_for_orphans()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::cannot("a thread of the loader ended unexpectedly"));
            }
        }
        self.progress.show(self.tally.messages);
        Ok(())
    }

    /// A thread that panicked tells nothing, and the others would be waited for with it for ever.
    fn look_for_orphans(&mut self) -> Result<(), Failure> {
        let ended = self.threads.iter().filter(|thread| thread.is_finished()).count();
        // Once may be a thread that told its end only now.
        self.orphaned = if ended > self.ends.len() { self.orphaned + 1 } else { 0 };
        if self.orphaned < 3 {
            return Ok(());
        }
        Err(Failure::cannot("a thread of the loader ended unexpectedly"))
    }

    fn take_second(&mut self, tally: &Tally) -> Result<(), Failure> {
        self.tally.add(tally);
        if self.plan.output != Output::JsonStream {
            return Ok(());
        }
        self.line.0.add(tally);
        self.line.1 += 1;
        if self.line.1 == self.plan.threads {
            let second = self.line.2 + 1;
            self.unread |= !report::print_second(second, &self.line.0, self.held.load(Ordering::Relaxed))?;
            self.interrupted |= self.unread;
            self.line = (Tally::default(), 0, second);
        }
        Ok(())
    }

    fn outcome(
        mut self,
        (from, measured): (Instant, Duration),
        opening: Duration,
        busiest: Option<Busiest>,
        counters_before: Option<ListenCounters>,
    ) -> Outcome {
        let own = self.ends.iter().find_map(|end| end.own_limit).map(|(kind, _)| {
            (kind, self.ends.iter().map(|end| end.own_limit.map_or(end.held as u64, |(_, open)| open)).sum())
        });
        Outcome {
            held: self.ends.iter().map(|end| end.held).sum(),
            cpu: self.ends.iter().map(|end| end.cpu).sum(),
            wall: self.ends.iter_mut().find_map(|end| end.wall.take()),
            own_limit: own,
            interrupted: self.interrupted,
            unread: self.unread,
            tally: self.tally,
            from,
            measured,
            opening,
            busiest,
            counters_before,
            crowd: None,
        }
    }
}

/// Watches whether one thread of the server fills a core.
#[derive(Default)]
struct ServerWatch {
    pids: Vec<u32>,
    before: Option<ThreadTimes>,
    busiest: Option<Busiest>,
}

impl ServerWatch {
    fn find(plan: &Plan) -> Self {
        let mut pids =
            if plan.target.is_here { listen::server_pids(plan.target.address) } else { Vec::new() };
        let threads: u64 = pids.iter().filter_map(|&pid| process::threads(pid)).sum();
        if threads > MOST_THREADS_WATCHED {
            pids.clear();
        }
        ServerWatch { pids, ..ServerWatch::default() }
    }

    fn begin(&mut self) {
        self.before = (!self.pids.is_empty()).then(|| ThreadTimes::take(&self.pids));
    }

    fn end(&mut self) {
        self.busiest =
            self.before.as_ref().and_then(|before| ThreadTimes::take(&self.pids).busiest_since(before));
    }
}
