//! One thread's event loop: what `worker.rs` decides is done here.

use super::args::Plan;
use super::errors::Kind;
use super::phases;
use super::tally::Tally;
use super::worker::{Phase, Step, Worker};
use crate::walls::Wall;
use duolu::{Config, Context, EventLoop, Handle, Handler, Interest, Next, Ready};
use rustix::process::Signal;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What a thread tells the conductor.
pub enum Event {
    /// Its loop stands.
    Up(Handle<Driven>),
    /// All its connections are open, or will not be.
    Opened,
    /// What it has counted since it last told.
    Second(Box<Tally>),
    /// Its run is over.
    Finished(Box<End>),
    /// Its loop failed.
    Failed(String),
    /// Ctrl-C.
    Interrupted,
}

/// What one thread comes to.
pub struct End {
    /// What it has counted since it last told.
    pub tally: Tally,
    /// Connections it held at the end.
    pub held: usize,
    /// Its CPU time in the measured window.
    pub cpu: Duration,
    /// The proven reason why connections were not accepted.
    pub wall: Option<Wall>,
    /// The loader's own limit that was hit, and how many connections this thread had open then.
    pub own_limit: Option<(Kind, u64)>,
}

/// Connections being opened at a time, over all threads: fewer than the usual accept queue holds.
const OPENING_AT_ONCE: usize = 256;
const TICK: Duration = Duration::from_millis(10);

/// Everything a thread is started with.
pub struct Start {
    /// What to do.
    pub plan: Arc<Plan>,
    /// Which of the threads.
    pub index: usize,
    /// Zero of all times.
    pub epoch: Instant,
    /// Connections held, over all threads.
    pub held_everywhere: Arc<AtomicU64>,
    /// To the conductor.
    pub events: Sender<Event>,
    /// How many connections the server's listen queue holds, where known.
    pub backlog: Option<u32>,
}

/// The data of a thread's loop.
pub struct Driven {
    /// The connections.
    pub worker: Worker,
    /// To the conductor.
    pub events: Sender<Event>,
    /// Connections of this thread that may be under way at a time.
    opening_at_once: usize,
    /// For `-r`: opened so far, and since when.
    opened: u64,
    next_sweep_ns: u64,
    /// Set by `phases.rs`.
    pub times: phases::Times,
}

/// Runs one thread to its end.
pub fn run(start: Start) {
    let events = start.events.clone();
    let outcome = build(start).and_then(|mut event_loop| event_loop.run_until_stopped());
    if let Err(error) = outcome {
        let _ = events.send(Event::Failed(format!("the loader's event loop failed: {error}")));
    }
}

fn build(start: Start) -> std::io::Result<EventLoop<Driven>> {
    let Start { plan, index, epoch, held_everywhere, events, backlog } = start;
    // Half of the queue: the other half is for whoever else connects.
    let most = backlog.map_or(OPENING_AT_ONCE, |backlog| (backlog as usize / 2).clamp(8, OPENING_AT_ONCE));
    let opening_at_once = (most / plan.threads).max(1);
    let worker = Worker::new(plan, index, epoch, held_everywhere);
    let times = phases::Times::default();
    let data = Driven { worker, events, opening_at_once, opened: 0, next_sweep_ns: 0, times };
    let mut event_loop = Config::new().build(data)?;
    if index == 0 {
        for signal in [Signal::INT, Signal::TERM] {
            let watched = event_loop.signal(signal.as_raw(), |ctx, _| {
                ctx.data().tell(Event::Interrupted);
                Next::Keep
            });
            watched.map_err(std::io::Error::other)?;
        }
    }
    event_loop.every(TICK, tick);
    let handle = event_loop.handle();
    event_loop.data().tell(Event::Up(handle));
    Ok(event_loop)
}

impl Driven {
    /// Tells the conductor. That it is gone already is no failure of this thread.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// The next connection that may be opened now.
    fn next_to_open(&mut self) -> Option<usize> {
        let worker = &mut self.worker;
        if !matches!(worker.phase, Phase::Opening | Phase::Running) {
            return None;
        }
        if !worker.is_churn() && worker.opening >= self.opening_at_once {
            return None;
        }
        if let (Phase::Opening, Some(rate)) = (worker.phase, worker.plan.connect_rate) {
            let since_s = worker.now_ns().saturating_sub(self.times.opening_since_ns) as f64 / 1e9;
            if self.opened as f64 > since_s * rate / worker.plan.threads as f64 {
                return None;
            }
        }
        let index = worker.to_open.pop_front()?;
        worker.conns[index].queued = false;
        self.opened += 1;
        Some(index)
    }
}

/// A connection as an object. Its state lives in the loop's data, where timers reach it too.
struct Connection(usize);

impl Handler<Driven, Arc<TcpStream>> for Connection {
    #[inline]
    fn ready(&mut self, ctx: &mut Context<Driven>, _: &Arc<TcpStream>, ready: Ready) -> Next {
        let step = ctx.data().worker.ready(self.0, ready);
        settle(ctx, self.0, step);
        proceed(ctx);
        Next::Keep
    }
}

/// Does what a step asks of the loop.
#[inline]
pub fn settle(ctx: &mut Context<Driven>, index: usize, step: Step) {
    let conn = &mut ctx.data().worker.conns[index];
    if step == Step::Close {
        return close(ctx, index);
    }
    if conn.wanted == conn.watched {
        return;
    }
    conn.watched = conn.wanted;
    let (event, wanted) = (conn.event, conn.wanted);
    if let Some(Err(error)) = event.map(|event| ctx.set_interest(event, wanted)) {
        refused(ctx, index, &error);
    }
}

/// What may follow from any step: connections to open, the end of the opening, the end of the run.
#[inline]
pub fn proceed(ctx: &mut Context<Driven>) {
    let worker = &ctx.data().worker;
    if !worker.to_open.is_empty() || worker.phase != Phase::Running {
        open_more(ctx);
        phases::advance(ctx);
    }
}

fn open_more(ctx: &mut Context<Driven>) {
    while let Some(index) = ctx.data().next_to_open() {
        open(ctx, index);
    }
}

fn open(ctx: &mut Context<Driven>, index: usize) {
    let Ok((stream, step)) = ctx.data().worker.connect(index) else { return };
    if step == Step::Close {
        return close(ctx, index);
    }
    let wanted = ctx.data().worker.conns[index].wanted;
    match ctx.register_handler(stream, wanted, Connection(index)) {
        Ok(event) => {
            let conn = &mut ctx.data().worker.conns[index];
            conn.event = Some(event);
            conn.watched = wanted;
        }
        Err(error) => refused(ctx, index, &error),
    }
}

/// The loop's backend does not take the descriptor.
#[cold]
fn refused(ctx: &mut Context<Driven>, index: usize, error: &duolu::Error) {
    let errno = match error {
        duolu::Error::Io(error) => error.raw_os_error().unwrap_or(0),
        _ => 0,
    };
    let kind = Kind::from_errno(rustix::io::Errno::from_raw_os_error(errno));
    let _ = ctx.data().worker.fail(index, kind, || format!("the loader's event loop: {error}"));
    close(ctx, index);
}

/// Closes a connection. How it ends for the peer is set when it is opened, see `Worker::connected`.
pub fn close(ctx: &mut Context<Driven>, index: usize) {
    let conn = &mut ctx.data().worker.conns[index];
    conn.wanted = Interest::NONE;
    conn.watched = Interest::NONE;
    conn.stream = None;
    if let Some(event) = conn.event.take() {
        ctx.remove(event);
    }
}

fn tick(ctx: &mut Context<Driven>) -> Next {
    let driven = ctx.data();
    let now_ns = driven.worker.now_ns();
    driven.worker.prove_without_exchange(now_ns);
    if now_ns >= driven.next_sweep_ns {
        let period = (driven.worker.plan.timeout / 20).clamp(TICK, Duration::from_millis(100));
        driven.next_sweep_ns = now_ns + period.as_nanos() as u64;
        for index in driven.worker.sweep(now_ns) {
            close(ctx, index);
        }
    }
    open_more(ctx);
    phases::advance(ctx);
    Next::Keep
}

/// Whether nothing is under way.
pub fn is_quiet(worker: &Worker) -> bool {
    worker.busy == 0 && !(worker.is_churn() && worker.opening > 0)
}
