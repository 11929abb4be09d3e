//! Watches a server while the loader works on it: CPU time and memory of its whole tree at known moments, and
//! the marks that tell later what it ran out of.

use super::tree::{Memory, Tree};
use crate::machine;
use crate::walls::{Wall, listen, process, server};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// CPU samples are this far apart, or further when taking one is so dear that it would disturb.
const CPU_EVERY: Duration = Duration::from_millis(100);

/// Memory samples are.
const MEMORY_EVERY: Duration = Duration::from_millis(200);

/// A sample may cost one part in so many of the time between two: our CPU time, for a busy machine makes everything
/// take long.
const DISTURBANCE: u32 = 30;

/// But so many samples there are in a window, whatever they cost.
const AT_LEAST: u32 = 4;

/// A reading and when it was taken.
type Sample<T> = (Instant, T);

/// CPU time used so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Used {
    /// By the server's tree.
    server: Duration,
    /// By everybody on the processors of server and loader; `None` where /proc/stat is closed to us.
    machine: Option<Duration>,
}

/// The marks of the highest tide.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Most descriptors open in the server's process.
    pub descriptors: u64,
    /// Most descendants.
    pub descendants: u64,
    /// Most threads.
    pub threads: u64,
    /// A wall that was proven by what was read at that moment, and could not be proven afterwards.
    pub seen: Option<Wall>,
}

/// What the samples inside the loader's window say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    /// CPU use of the server: 1.0 is one core full.
    pub cpu: Option<f64>,
    /// CPU use of everybody on the processors of server and loader.
    pub machine_cpu: Option<f64>,
    /// The memory of the tree: the median sample.
    pub memory: Option<Memory>,
    /// MemAvailable: the median sample.
    pub available: Option<u64>,
}

/// The watch itself.
pub struct Watch {
    pid: u32,
    target: SocketAddr,
    longest: Duration,
    cpus: Vec<usize>,
    cpu: Vec<Sample<Used>>,
    cpu_due: Instant,
    memory: Vec<Sample<(Memory, u64)>>,
    memory_due: Instant,
    marks: Marks,
}

impl Watch {
    /// Begins to watch the server `pid` that listens on `target`, for a window of this length; and these
    /// processors.
    pub fn new(pid: u32, target: SocketAddr, window: Duration, cpus: Vec<usize>) -> Self {
        let now = Instant::now();
        Watch {
            pid,
            target,
            longest: window / AT_LEAST,
            cpus,
            cpu: Vec::new(),
            cpu_due: now,
            memory: Vec::new(),
            memory_due: now,
            marks: Marks::default(),
        }
    }

    /// Takes the samples that are due.
    pub fn tick(&mut self) {
        let began = Instant::now();
        if began < self.cpu_due {
            return;
        }
        let spent = our_cpu_time();
        let tree = Tree::of(self.pid);
        self.cpu
            .push((Instant::now(), Used { server: tree.cpu_time(), machine: machine::cpu_time(&self.cpus) }));
        self.mark(&tree);
        self.cpu_due = began + self.pause(CPU_EVERY, our_cpu_time().saturating_sub(spent));
        if began < self.memory_due {
            return;
        }
        let (began, spent) = (Instant::now(), our_cpu_time());
        if let Some(sample) = tree.memory().zip(machine::memory_available()) {
            self.memory.push((began, sample));
        }
        self.memory_due = began + self.pause(MEMORY_EVERY, our_cpu_time().saturating_sub(spent));
    }

    fn pause(&self, wanted: Duration, cost: Duration) -> Duration {
        wanted.max(cost * DISTURBANCE).min(self.longest)
    }

    fn mark(&mut self, tree: &Tree) {
        let marks = &mut self.marks;
        marks.descriptors = marks.descriptors.max(process::open_descriptors(self.pid).unwrap_or(0));
        marks.descendants = marks.descendants.max(tree.descendants() as u64);
        marks.threads = marks.threads.max(process::threads(self.pid).unwrap_or(0));
        if self.marks.seen.is_none() {
            self.marks.seen = self.proven_now();
        }
    }

    /// Walls that show only while they stand: the loader's connections close, and the evidence is gone.
    fn proven_now(&self) -> Option<Wall> {
        server::memory_wall().or_else(|| {
            let queues = listen::queues(self.target);
            let waiting = queues.iter().any(|queue| queue.waiting > 0);
            let server = server::Server { target: self.target, queues, pids: vec![self.pid] };
            if waiting { server.descriptor_wall() } else { None }
        })
    }

    /// The marks so far.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What the samples between two moments say.
    pub fn between(&self, from: Instant, to: Instant) -> Window {
        let mut memory = nearest(&self.memory, from, to);
        let middle = memory.len() / 2;
        memory.sort_by_key(|(memory, _)| memory.bytes);
        let median = memory.get(middle).map(|&(memory, _)| memory);
        memory.sort_by_key(|&(_, available)| available);
        let (cpu, machine_cpu) = cpu_use(&self.cpu, from, to);
        Window {
            cpu,
            machine_cpu,
            memory: median,
            available: memory.get(middle).map(|&(_, available)| available),
        }
    }
}

/// The CPU time of this thread.
fn our_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The readings between two moments, or the one nearest to their middle when there is none.
fn nearest<T: Copy>(samples: &[Sample<T>], from: Instant, to: Instant) -> Vec<T> {
    let inside: Vec<T> =
        samples.iter().filter(|(at, _)| (from..=to).contains(at)).map(|&(_, value)| value).collect();
    if !inside.is_empty() {
        return inside;
    }
    let middle = from + to.saturating_duration_since(from) / 2;
    let distance = |at: Instant| at.max(middle).duration_since(at.min(middle));
    samples.iter().min_by_key(|(at, _)| distance(*at)).map(|&(_, value)| value).into_iter().collect()
}

/// CPU time over wall time, of the server and of the machine, between the first and the last sample inside. With
/// fewer than two inside, between the nearest samples around: they hold some of the connecting or closing, too,
/// which is better than no figure.
fn cpu_use(samples: &[Sample<Used>], from: Instant, to: Instant) -> (Option<f64>, Option<f64>) {
    let Some((first, last)) = ends(samples, from, to) else { return (None, None) };
    let wall = last.0.saturating_duration_since(first.0).as_secs_f64();
    if wall <= 0.0 {
        return (None, None);
    }
    let share = |before: Duration, after: Duration| after.saturating_sub(before).as_secs_f64() / wall;
    let machine = first.1.machine.zip(last.1.machine).map(|(before, after)| share(before, after));
    (Some(share(first.1.server, last.1.server)), machine)
}

fn ends<T: Copy>(samples: &[Sample<T>], from: Instant, to: Instant) -> Option<(Sample<T>, Sample<T>)> {
    let mut inside = samples.iter().filter(|(at, _)| (from..=to).contains(at));
    if let (Some(first), Some(last)) = (inside.next(), inside.next_back()) {
        return Some((*first, *last));
    }
    let before = samples.iter().rfind(|(at, _)| *at <= from).or(samples.first())?;
    let after = samples.iter().find(|(at, _)| *at >= to).or(samples.last())?;
    Some((*before, *after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_use_is_taken_inside_the_window_only() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        // Connecting takes all of a core until 500 ms, the window from 500 to 1500 half of it.
        let samples: Vec<Sample<Used>> = (0..=20u64)
            .map(|i| i * 100)
            .map(|ms| {
                let server = Duration::from_millis(if ms <= 500 { ms } else { 500 + (ms - 500) / 2 });
                (at(ms), Used { server, machine: Some(server * 2) })
            })
            .collect();
        let near = |value: Option<f64>, wanted: f64| value.is_some_and(|value| (value - wanted).abs() < 1e-9);
        let (server, machine) = cpu_use(&samples, at(500), at(1500));
        assert!(near(server, 0.5) && near(machine, 1.0), "{server:?} {machine:?}");
        assert!(near(cpu_use(&samples, at(1010), at(1090)).0, 0.5));
        assert_eq!(cpu_use(&samples[..1], at(0), at(10)), (None, None));
        assert_eq!(cpu_use(&[], at(0), at(10)), (None, None));
    }

    #[test]
    fn with_no_reading_inside_the_nearest_one_counts() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let samples = [(at(0), 1), (at(100), 2), (at(200), 3)];
        assert_eq!(nearest(&samples, at(90), at(250)), [2, 3]);
        assert_eq!(nearest(&samples, at(110), at(120)), [2]);
        assert!(nearest::<i32>(&[], at(0), at(1)).is_empty());
    }
}
