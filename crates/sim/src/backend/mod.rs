//! The simulated backend: one of four imitations of real ones, held between the brain and the simulated kernel,
//! and the contract of `duolu_core::Backend` checked on both sides.

mod epoll;
mod ledger;
mod poll;
mod uring;

use crate::clock::Sim;
use crate::kernel::SimKernel;
use duolu_core::{Backend, Change, Errno, Features, Interest, RawFd, Ready, Report, Token, Trigger, Watch};
use ledger::Ledger;

/// Waits in a row without any time passing or anything being done before it is called a spin.
const SPIN_LIMIT: u32 = 1_000;
/// Waits in all before a run is called endless.
const WAIT_LIMIT: u64 = 5_000_000;

/// Which real backend to imitate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Personality {
    /// Registrations belong to (number, open file): they outlive a close where a dup remains.
    Epoll,
    /// Numbers only, looked up in every wait.
    Poll,
    /// As `Poll`, but tells no hang-up, no error and no peer's close: just readable and writable.
    Select,
    /// An armed poll holds the open file itself, even a closed one; edges may be told several times a wait.
    Uring,
}

impl Personality {
    /// All of them.
    pub const ALL: [Personality; 4] =
        [Personality::Epoll, Personality::Poll, Personality::Select, Personality::Uring];
}

/// How often what was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackendStats {
    /// Calls of `wait`.
    pub waits: u64,
    /// Those in which time passed.
    pub sleeps: u64,
    /// Additions, the refused ones included.
    pub adds: u64,
    /// Modifications, the refused ones included.
    pub modifies: u64,
    /// Removals.
    pub removes: u64,
    /// Additions and modifications that were refused.
    pub refused: u64,
    /// Reports told.
    pub reports: u64,
    /// Reports under a token that is not the current one of its number (a leftover's).
    pub leftover_reports: u64,
    /// Calls of `reinit`.
    pub reinits: u64,
}

impl BackendStats {
    /// Everything the kernel was told.
    pub fn changes(&self) -> u64 {
        self.adds + self.modifies + self.removes
    }
}

/// One registration, as every imitation keeps it.
#[derive(Clone, Copy, Debug)]
struct Registration {
    token: Token,
    watch: Watch,
}

impl Registration {
    /// What may be reported: what was asked, and what is always told.
    fn mask(&self) -> Ready {
        mask_of(self.watch.interest)
    }
}

fn mask_of(interest: Interest) -> Ready {
    let pairs = [
        (Interest::READ, Ready::READ),
        (Interest::WRITE, Ready::WRITE),
        (Interest::PEER_CLOSED, Ready::PEER_CLOSED),
    ];
    let asked = pairs.into_iter().filter(|&(asked, _)| interest.contains(asked));
    asked.fold(Ready::HANGUP | Ready::ERROR, |mask, (_, told)| mask | told)
}

/// What an imitation has to do.
trait Hands {
    fn name(&self) -> &'static str;
    fn features(&self) -> Features;
    fn apply(&mut self, kernel: &mut SimKernel, change: Change) -> Result<(), Errno>;
    /// What is ready now, without sleeping. Leaves out a registration where the kernel's delay says so.
    fn collect(&mut self, kernel: &mut SimKernel, max_reports: usize, reports: &mut Vec<Report>);
    fn reinit(&mut self, kernel: &mut SimKernel);
}

/// A backend over a [`Sim`]. See [`Sim::backend`].
pub struct SimBackend {
    sim: Sim,
    hands: Box<dyn Hands>,
    ledger: Ledger,
    stats: BackendStats,
    idle_waits: u32,
    activity_seen: u64,
    /// The most reports a wait gives (epoll_wait's maxevents).
    pub max_reports: usize,
}

impl SimBackend {
    pub(crate) fn new(sim: Sim, personality: Personality) -> Self {
        let hands: Box<dyn Hands> = match personality {
            Personality::Epoll => Box::new(epoll::Epoll::default()),
            Personality::Poll => Box::new(poll::Poll::new(true)),
            Personality::Select => Box::new(poll::Poll::new(false)),
            Personality::Uring => Box::new(uring::Uring::default()),
        };
        SimBackend {
            sim,
            hands,
            ledger: Ledger::default(),
            stats: BackendStats::default(),
            idle_waits: 0,
            activity_seen: 0,
            max_reports: 1024,
        }
    }

    /// How often what was done.
    pub fn stats(&self) -> BackendStats {
        self.stats
    }

    /// What the brain was last told to watch on that number, in the backend's books.
    pub fn watched(&self, fd: RawFd) -> Option<Watch> {
        self.ledger.watch(fd)
    }

    /// Numbers the brain believes to be watched.
    pub fn watched_count(&self) -> usize {
        self.ledger.len()
    }

    /// A spin: waits that neither sleep nor are answered by anything being done.
    fn check_progress(&mut self, activity: u64, reports: &[Report]) {
        self.stats.waits += 1;
        self.idle_waits = if activity == self.activity_seen { self.idle_waits + 1 } else { 0 };
        self.activity_seen = activity;
        assert!(
            self.idle_waits <= SPIN_LIMIT && self.stats.waits <= WAIT_LIMIT,
            "spin: {} waits in a row while no time passed and nothing was done ({} waits in all); the last reports \
             were {reports:?}, watched: {:?}",
            self.idle_waits,
            self.stats.waits,
            self.ledger
        );
    }

    /// Sleeps and collects. True where time passed.
    fn sleep(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> bool {
        let mut kernel = self.sim.kernel();
        let kernel = &mut *kernel;
        let start_ns = kernel.now_ns();
        let deadline_ns = timeout_ns.map_or(u64::MAX, |timeout_ns| start_ns.saturating_add(timeout_ns));
        kernel.run_until(start_ns); // what is due already
        let mut interrupt_ns = None;
        loop {
            self.hands.collect(kernel, self.max_reports, reports);
            if !reports.is_empty() || kernel.now_ns() >= deadline_ns {
                break;
            }
            if kernel.now_ns() == start_ns && interrupt_ns.is_none() {
                interrupt_ns = draw_interrupt(kernel, deadline_ns);
            }
            let events = [interrupt_ns, kernel.next_happening_ns(), Some(deadline_ns)];
            let next_ns = events.into_iter().flatten().min().unwrap_or(u64::MAX);
            assert!(
                next_ns < u64::MAX,
                "deadlock: a wait for ever while nothing is ready and nothing can ever happen; watched: {:?}",
                self.ledger
            );
            kernel.run_until(next_ns);
            if interrupt_ns.is_some_and(|at_ns| at_ns <= next_ns) {
                break;
            }
            if next_ns == deadline_ns && kernel.faults.max_oversleep_ns > 0 {
                let over_ns = kernel.rng.below(kernel.faults.max_oversleep_ns + 1);
                kernel.run_until(deadline_ns.saturating_add(over_ns));
            }
        }
        add_false_report(kernel, &self.ledger, reports);
        if kernel.faults.reorder {
            kernel.rng.shuffle(reports);
        }
        kernel.now_ns() > start_ns
    }
}

/// When this sleep is to be cut short, if it is.
fn draw_interrupt(kernel: &mut SimKernel, deadline_ns: u64) -> Option<u64> {
    let now_ns = kernel.now_ns();
    if kernel.faults.interrupt_next > 0 {
        kernel.faults.interrupt_next -= 1;
        return Some(now_ns);
    }
    if kernel.rng.chance(kernel.faults.spurious_wake_permille) {
        return Some(now_ns);
    }
    if kernel.rng.chance(kernel.faults.interrupt_permille) {
        let longest_ns = deadline_ns.min(now_ns.saturating_add(1_000_000_000));
        return Some(kernel.rng.between(now_ns, longest_ns));
    }
    None
}

/// Tells something that is not so, as select(2) warns.
fn add_false_report(kernel: &mut SimKernel, ledger: &Ledger, reports: &mut Vec<Report>) {
    if !kernel.rng.chance(kernel.faults.false_report_permille) {
        return;
    }
    let level: Vec<_> = ledger.current().filter(|(_, watch)| watch.trigger == Trigger::Level).collect();
    if let Some(&(token, watch)) = kernel.rng.pick(&level)
        && !reports.iter().any(|report| report.token == token)
    {
        reports.push(Report { token, ready: mask_of(watch.interest) - Ready::HANGUP - Ready::ERROR });
    }
}

impl Backend for SimBackend {
    fn name(&self) -> &'static str {
        self.hands.name()
    }

    fn features(&self) -> Features {
        self.hands.features()
    }

    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        self.ledger.check(&change, &self.hands.features());
        let mut kernel = self.sim.kernel();
        let counter = match change {
            Change::Add { .. } => &mut self.stats.adds,
            Change::Modify { .. } => &mut self.stats.modifies,
            Change::Remove { .. } => &mut self.stats.removes,
        };
        *counter += 1;
        let scripted = match change {
            Change::Remove { .. } => None,
            _ => match kernel.faults.refuse_next.pop_front() {
                Some(answer) => answer,
                None => draw_refusal(&mut kernel),
            },
        };
        let result = match scripted {
            Some(errno) => Err(errno),
            None => self.hands.apply(&mut kernel, change),
        };
        self.stats.refused += u64::from(result.is_err());
        self.ledger.record(&change, result);
        result
    }

    fn wait(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        let (activity, failure) = {
            let mut kernel = self.sim.kernel();
            (kernel.activity(), kernel.faults.fail_waits.pop_front())
        };
        self.check_progress(activity, reports);
        if let Some(errno) = failure {
            return Err(errno);
        }
        let mut found = Vec::new();
        self.stats.sleeps += u64::from(self.sleep(timeout_ns, &mut found));
        self.stats.reports += found.len() as u64;
        for report in &found {
            self.stats.leftover_reports += u64::from(self.ledger.told(report));
        }
        reports.append(&mut found);
        Ok(())
    }

    fn reinit(&mut self) -> Result<(), Errno> {
        self.stats.reinits += 1;
        self.hands.reinit(&mut self.sim.kernel());
        self.ledger.clear();
        Ok(())
    }

    fn descriptor(&mut self) -> Option<RawFd> {
        None
    }
}

fn draw_refusal(kernel: &mut SimKernel) -> Option<Errno> {
    let refused = kernel.rng.chance(kernel.faults.refuse_permille);
    refused.then(|| if kernel.rng.chance(500) { crate::errno::ENOSPC } else { crate::errno::ENOMEM })
}
