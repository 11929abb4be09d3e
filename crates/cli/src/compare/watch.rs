//! Watches a server while the loader works on it: CPU time and memory of its whole tree at known moments, and
//! the marks that tell later what it ran out of.

use super::server::Server;
use super::tree::{Memory, Tree};
use crate::machine::{self, Placement};
use crate::walls::{Wall, listen, memory, process, tasks};
use rustix::time::ClockId;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
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
    /// Taken from them by the hypervisor.
    stolen: Option<Duration>,
    /// By us, who look: 10,000 processes are not looked at for nothing.
    own: Duration,
    /// By the kernel's threads for the network, on the server's processors and on both sides'.
    softirq: [Duration; 2],
}

/// The marks of the highest tide.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// Most descriptors open in one process of the server.
    pub descriptors: u64,
    /// That process.
    pub descriptors_of: Option<u32>,
    /// Most descriptors open in all processes that hold the listening socket, together.
    pub descriptors_in_all: u64,
    /// The connections of each worker when there were most of them, where the server tells.
    pub balance: Option<Vec<u64>>,
    /// Most descendants.
    pub descendants: u64,
    /// Most threads.
    pub threads: u64,
    /// The limit on processes and threads that had least left, then.
    pub tasks: Option<tasks::Room>,
    /// The address space of the process that had least left, where it is bounded.
    pub address_space: Option<memory::Room>,
    /// The memory of the server's control group, where it is bounded.
    pub memory_group: Option<memory::Room>,
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
    /// What the hypervisor took from those processors.
    pub stolen_cpu: Option<f64>,
    /// CPU use of compare itself, which looks at the server.
    pub own_cpu: Option<f64>,
    /// CPU use of the kernel's threads for the network on the server's processors; 0 where those are not its own.
    pub server_softirq: Option<f64>,
    /// The same on the processors of server and loader.
    pub softirq: Option<f64>,
    /// The memory of the tree: the median sample.
    pub memory: Option<Memory>,
    /// MemAvailable: the median sample.
    pub available: Option<u64>,
    /// Memory of the kernel for sockets and their like: the median sample.
    pub kernel: Option<u64>,
}

/// The machine's memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Machine {
    available: u64,
    kernel: u64,
}

/// The watch itself.
pub struct Watch {
    roots: Vec<u32>,
    holders: Vec<u32>,
    target: SocketAddr,
    admin: Option<SocketAddr>,
    longest: Duration,
    cpus: Vec<usize>,
    /// The kernel's threads for the network: on the server's processors, and on both sides'.
    softirq: [Vec<u32>; 2],
    cpu: Vec<Sample<Used>>,
    cpu_due: Instant,
    memory: Vec<Sample<(Option<Memory>, Option<Machine>)>>,
    memory_due: Instant,
    marks: Marks,
}

impl Watch {
    /// Begins to watch a server for a window of this length; and the processors of both sides.
    pub fn new(server: &Server, window: Duration, placement: &Placement) -> Self {
        let now = Instant::now();
        let cpus = placement.all();
        Watch {
            roots: server.roots.clone(),
            holders: server.holders.clone(),
            target: server.address,
            admin: server.admin,
            longest: window / AT_LEAST,
            softirq: [machine::softirq_threads(&placement.server()), machine::softirq_threads(&cpus)],
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
        let tree = Tree::of_all(&self.roots);
        let (server, machine) = (tree.cpu_time(), machine::cpu_times(&self.cpus));
        let (machine, stolen) = (machine.map(|(used, _)| used), machine.map(|(_, stolen)| stolen));
        let own = cpu_clock(ClockId::ProcessCPUTime);
        let softirq =
            [0, 1].map(|side| self.softirq[side].iter().filter_map(|&pid| machine::thread_time(pid)).sum());
        self.cpu.push((Instant::now(), Used { server, machine, stolen, own, softirq }));
        self.mark(&tree);
        self.cpu_due = began + self.pause(CPU_EVERY, our_cpu_time().saturating_sub(spent));
        if began < self.memory_due {
            return;
        }
        let (began, spent) = (Instant::now(), our_cpu_time());
        let machine = machine::memory_available()
            .zip(machine::kernel_memory())
            .map(|(available, kernel)| Machine { available, kernel });
        self.memory.push((began, (tree.memory(), machine)));
        self.balance();
        self.memory_due = began + self.pause(MEMORY_EVERY, our_cpu_time().saturating_sub(spent));
    }

    fn pause(&self, wanted: Duration, cost: Duration) -> Duration {
        wanted.max(cost * DISTURBANCE).min(self.longest)
    }

    fn mark(&mut self, tree: &Tree) {
        let marks = &mut self.marks;
        let mut all = 0;
        for &pid in &self.holders {
            let open = process::open_descriptors(pid).unwrap_or(0);
            all += open;
            if open > marks.descriptors {
                (marks.descriptors, marks.descriptors_of) = (open, Some(pid));
            }
        }
        marks.descriptors_in_all = marks.descriptors_in_all.max(all);
        marks.descendants = marks.descendants.max(tree.descendants() as u64);
        let threads = self.roots.iter().filter_map(|&pid| process::threads(pid)).sum();
        marks.threads = marks.threads.max(threads);
        let first = self.roots.first().copied();
        let room = first.and_then(tasks::room);
        marks.tasks = [marks.tasks, room].into_iter().flatten().min_by_key(tasks::Room::left);
        let spaces = self.roots.iter().filter_map(|&pid| memory::address_space(pid));
        marks.address_space = marks.address_space.into_iter().chain(spaces).min_by_key(memory::Room::left);
        let group = first.and_then(memory::group);
        marks.memory_group = [marks.memory_group, group].into_iter().flatten().min_by_key(memory::Room::left);
        if self.marks.seen.is_none() {
            self.marks.seen = self.proven_now();
        }
    }

    /// Walls that show only while they stand: the loader's connections close, and the evidence is gone.
    fn proven_now(&self) -> Option<Wall> {
        let group = || memory::group_wall(*self.roots.first()?);
        memory::machine_wall().or_else(group).or_else(|| {
            let queues = listen::queues(self.target);
            let waiting = queues.iter().any(|queue| queue.waiting > 0);
            let pids = self.holders.clone();
            let server = crate::walls::server::Server { target: self.target, queues, pids };
            if waiting { server.descriptor_wall() } else { None }
        })
    }

    /// Asks a server with workers how many connections each has; the fullest moment counts.
    fn balance(&mut self) {
        let Some(workers) = self.admin.and_then(worker_connections) else { return };
        let sum = |workers: &Vec<u64>| workers.iter().sum::<u64>();
        if self.marks.balance.as_ref().is_none_or(|most| sum(&workers) > sum(most)) {
            self.marks.balance = Some(workers);
        }
    }

    /// The marks so far.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// What the samples between two moments say.
    pub fn between(&self, from: Instant, to: Instant) -> Window {
        let samples = nearest(&self.memory, from, to);
        let mut memory: Vec<Memory> = samples.iter().filter_map(|(memory, _)| *memory).collect();
        memory.sort_by_key(|memory| memory.bytes);
        let machine: Vec<Machine> = samples.iter().filter_map(|(_, machine)| *machine).collect();
        let middle = |read: fn(&Machine) -> u64| {
            let mut values: Vec<u64> = machine.iter().map(read).collect();
            values.sort_unstable();
            values.get(values.len() / 2).copied()
        };
        let used = cpu_use(&self.cpu, from, to);
        Window {
            cpu: used.cpu.filter(|_| !self.roots.is_empty()),
            memory: memory.get(memory.len() / 2).copied(),
            available: middle(|machine| machine.available),
            kernel: middle(|machine| machine.kernel),
            ..used
        }
    }
}

/// How many connections each worker has, from the server's own counters (`--admin`). Bounded in time: half a second
/// is far more than a server on the same machine takes.
fn worker_connections(admin: SocketAddr) -> Option<Vec<u64>> {
    const LIMIT: Duration = Duration::from_millis(500);
    let mut stream = TcpStream::connect_timeout(&admin, LIMIT).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    stream.set_write_timeout(Some(LIMIT)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.take(1 << 20).read_to_string(&mut text).ok()?;
    parse_workers(&text)
}

/// `duolu_worker_connections_open{worker="1"} 250`, one line for each worker in order.
fn parse_workers(metrics: &str) -> Option<Vec<u64>> {
    let lines = metrics.lines().filter(|line| line.starts_with("duolu_worker_connections_open{"));
    let workers: Vec<u64> = lines.map(|line| line.rsplit(' ').next()?.parse().ok()).collect::<Option<_>>()?;
    (workers.len() > 1).then_some(workers)
}

/// The CPU time of this thread.
fn our_cpu_time() -> Duration {
    cpu_clock(ClockId::ThreadCPUTime)
}

fn cpu_clock(clock: ClockId) -> Duration {
    let time = rustix::time::clock_gettime(clock);
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

/// CPU time over wall time, of everybody, between the first and the last sample inside. With fewer than two inside,
/// between the nearest samples around: they hold some of the connecting or closing, too, which is better than no figure.
fn cpu_use(samples: &[Sample<Used>], from: Instant, to: Instant) -> Window {
    let Some((first, last)) = ends(samples, from, to) else { return Window::default() };
    let wall = last.0.saturating_duration_since(first.0).as_secs_f64();
    if wall <= 0.0 {
        return Window::default();
    }
    let of = |read: fn(&Used) -> Option<Duration>| {
        let (before, after) = (read(&first.1)?, read(&last.1)?);
        Some(after.saturating_sub(before).as_secs_f64() / wall)
    };
    Window {
        cpu: of(|used| Some(used.server)),
        machine_cpu: of(|used| used.machine),
        stolen_cpu: of(|used| used.stolen),
        own_cpu: of(|used| Some(used.own)),
        server_softirq: of(|used| Some(used.softirq[0])),
        softirq: of(|used| Some(used.softirq[1])),
        ..Window::default()
    }
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
                (
                    at(ms),
                    Used {
                        server,
                        machine: Some(server * 2),
                        stolen: None,
                        own: server / 4,
                        softirq: [server / 5; 2],
                    },
                )
            })
            .collect();
        let near = |value: Option<f64>, wanted: f64| value.is_some_and(|value| (value - wanted).abs() < 1e-9);
        let used = cpu_use(&samples, at(500), at(1500));
        assert!(near(used.cpu, 0.5) && near(used.machine_cpu, 1.0) && near(used.own_cpu, 0.125), "{used:?}");
        assert!(near(used.server_softirq, 0.1) && used.stolen_cpu.is_none(), "{used:?}");
        assert!(near(cpu_use(&samples, at(1010), at(1090)).cpu, 0.5));
        assert_eq!(cpu_use(&samples[..1], at(0), at(10)).cpu, None);
        assert_eq!(cpu_use(&[], at(0), at(10)).own_cpu, None);
    }

    #[test]
    fn the_workers_of_a_server_are_read_from_its_counters() {
        let text = "duolu_connections_open 7\nduolu_worker_connections_open{worker=\"0\"} 3\n\
                    duolu_worker_connections_open{worker=\"1\"} 4\n";
        assert_eq!(parse_workers(text), Some(vec![3, 4]));
        assert_eq!(
            parse_workers("duolu_worker_connections_open{worker=\"0\"} 3\n"),
            None,
            "nothing to balance"
        );
        assert_eq!(parse_workers("HTTP/1.1 503\n"), None);
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
