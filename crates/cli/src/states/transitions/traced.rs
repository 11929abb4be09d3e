//! Every change, from the kernel: a thread fetches what the tracepoint tells, and counts.

use super::super::diagram::{Flow, Step, classify};
use super::whose::Whose;
use duolu_sys::sync::Arc;
use duolu_sys::sync::atomic::{AtomicBool, Ordering};
use duolu_sys::tcp_diag::TcpState;
use duolu_sys::tcp_trace::{TcpTrace, Told, Transition};
use duolu_sys::waker::Waker;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Threads that were there before us are looked up in /proc while they are still there; a burst of changes, or who asks
/// for them, wakes us earlier.
const IDLE: Duration = Duration::from_millis(200);
/// connect() without a port yet, on its way to one: no machine has more at a time.
const MOST_STARTING: usize = 1 << 17;

/// What was counted since it was last taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// What moved.
    pub flow: Flow,
    /// What the kernel told to be CLOSED, and is not.
    pub to_minisocket: ToMinisocket,
    /// Changes that came too fast to be fetched.
    pub lost: u64,
}

impl Tally {
    fn add(&mut self, more: &Tally) {
        self.flow.add(&more.flow);
        self.to_minisocket.from_fin_wait_2 += more.to_minisocket.from_fin_wait_2;
        self.to_minisocket.from_closing += more.to_minisocket.from_closing;
        self.lost += more.lost;
    }
}

/// Sockets that the kernel told to be CLOSED and that, as a rule, something smaller takes the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ToMinisocket {
    /// From FIN-WAIT-2.
    pub from_fin_wait_2: u64,
    /// From CLOSING.
    pub from_closing: u64,
}

/// The listening thread. Dropping it ends it.
#[derive(Debug)]
pub struct Traced {
    counted: Receiver<Tally>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Traced {
    /// Begins to listen; with `port` only to sockets that have it at either end.
    ///
    /// # Errors
    /// Why not.
    pub fn open(port: Option<u16>) -> Result<Self, String> {
        let trace = TcpTrace::open(port).map_err(|error| error.to_string())?;
        let waker = Arc::new(Waker::new().map_err(|errno| format!("eventfd: errno {}", errno.0))?);
        let stop = Arc::new(AtomicBool::new(false));
        let (give, counted) = mpsc::channel();
        let listener = Listener {
            counter: Counter { port, whose: Whose::new(), starting: HashMap::new() },
            give,
            stop: Arc::clone(&stop),
            waker: Arc::clone(&waker),
        };
        let thread = thread::Builder::new().name("duolu-trace".into()).spawn(move || listener.run(trace));
        let thread = Some(thread.map_err(|error| format!("a thread: {error}"))?);
        Ok(Traced { counted, stop, waker, thread })
    }

    /// What was counted since the last time, up to now.
    pub fn take(&self) -> Tally {
        // An answer that came too late the last time.
        let mut sum = Tally::default();
        self.counted.try_iter().for_each(|late| sum.add(&late));
        self.waker.wake();
        if let Ok(tally) = self.counted.recv_timeout(IDLE) {
            sum.add(&tally);
        }
        sum
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Listener {
    counter: Counter,
    give: Sender<Tally>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Listener {
    fn run(mut self, mut trace: TcpTrace) {
        let mut tally = Tally::default();
        while !self.stop.load(Ordering::Acquire) {
            if trace.wait(self.waker.as_fd(), IDLE).is_err() {
                // Out of memory: later there may be some again.
                thread::sleep(IDLE);
            }
            let asked = self.waker.drain();
            let missed = trace.drain(|told| match told {
                Told::Thread(thread) => self.counter.whose.is_told(thread),
                Told::Change(change) => self.counter.count(change, &mut tally),
            });
            tally.lost += missed.lost + missed.unknown;
            if asked && self.give.send(std::mem::take(&mut tally)).is_err() {
                return;
            }
        }
    }
}

/// Counts what is ours.
struct Counter {
    port: Option<u16>,
    whose: Whose,
    /// connect() calls whose port is not chosen yet, while a port is asked for.
    starting: HashMap<u64, Transition>,
}

impl Counter {
    fn count(&mut self, change: &Transition, tally: &mut Tally) {
        if !self.whose.is_ours(change) {
            return;
        }
        if let Some(port) = self.port
            && change.local.port() != port
            && change.remote.port() != port
        {
            // Its own port may turn out to be the one.
            if change.local.port() == 0 && change.new == TcpState::SynSent {
                if self.starting.len() >= MOST_STARTING {
                    self.starting.clear();
                }
                self.starting.insert(change.socket, *change);
            }
            return;
        }
        if let Some(start) = self.starting.remove(&change.socket)
            && start.remote == change.remote
        {
            add(&start, tally);
        }
        add(change, tally);
    }
}

fn add(change: &Transition, tally: &mut Tally) {
    match classify(change.old, change.new) {
        Step::Edge(edge) => tally.flow.take(edge),
        Step::Other(other) => tally.flow.other(other),
        Step::Minisocket if change.old == TcpState::Closing => tally.to_minisocket.from_closing += 1,
        Step::Minisocket => tally.to_minisocket.from_fin_wait_2 += 1,
    }
}
