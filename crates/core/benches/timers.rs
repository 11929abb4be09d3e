//! Timers against a binary heap (the standard library's, with cancelled entries skipped when they surface):
//! arming, re-arming, cancelling and firing 1,000 to 1,000,000 random deadlines within 60 s.
//!
//! `cargo bench -p duolu-core --bench timers [-- FILTER]` prints criterion's report, then a table of median
//! nanoseconds for one operation. Run it on an otherwise idle machine.
//!
//! add: into new memory; add/grown: into entries that were used before, as in a loop that runs for a while.
//! fire/jump: the clock jumps past all deadlines. fire/wake: the clock goes to each next deadline, as a loop
//! that sleeps exactly. fire/churned: jump, after each timer was re-armed in random order, so that the order
//! in memory has nothing left of the order of arming.

use criterion::{Criterion, Throughput};
use duolu_core::time::Instant;
use duolu_core::timers::{CommonTimeout, TimerId, Timers};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
const WITHIN_NS: u64 = 60_000_000_000;

/// What is measured: the operations that both sides have.
trait Subject {
    type Id: Copy;
    fn new() -> Self;
    fn arm(&mut self, deadline: u64, key: u32) -> Self::Id;
    fn cancel(&mut self, id: Self::Id);
    fn next_deadline(&mut self) -> Option<u64>;
    fn pop_due(&mut self, now: u64) -> Option<(u64, u32)>;
}

impl Subject for Timers {
    type Id = TimerId;
    fn new() -> Self {
        Timers::new(Instant::ZERO)
    }
    fn arm(&mut self, deadline: u64, key: u32) -> TimerId {
        self.arm(Instant::from_nanos(deadline), key)
    }
    fn cancel(&mut self, id: TimerId) {
        self.cancel(id);
    }
    fn next_deadline(&mut self) -> Option<u64> {
        self.next_deadline().map(Instant::as_nanos)
    }
    fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        self.pop_due(Instant::from_nanos(now)).map(|(deadline, key)| (deadline.as_nanos(), key))
    }
}

/// Every timer shares one duration; deadlines are turned back into times of arming.
struct CommonQueue(Timers, CommonTimeout);

impl Subject for CommonQueue {
    type Id = TimerId;
    fn new() -> Self {
        let mut timers = Timers::new(Instant::ZERO);
        let queue = timers.common(WITHIN_NS).expect("the first of 256");
        CommonQueue(timers, queue)
    }
    fn arm(&mut self, deadline: u64, key: u32) -> TimerId {
        self.0.arm_common(self.1, Instant::from_nanos(deadline - WITHIN_NS), key)
    }
    fn cancel(&mut self, id: TimerId) {
        self.0.cancel(id);
    }
    fn next_deadline(&mut self) -> Option<u64> {
        Subject::next_deadline(&mut self.0)
    }
    fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        Subject::pop_due(&mut self.0, now)
    }
}

#[derive(Default)]
struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    /// By index: the order number of the timer that has it, and its key.
    live: Vec<(u64, u32)>,
    free: Vec<u32>,
    seq: u64,
}

impl Subject for Heap {
    type Id = u32;
    fn new() -> Self {
        Heap::default()
    }
    fn arm(&mut self, deadline: u64, key: u32) -> u32 {
        self.seq += 1;
        let index = self.free.pop().unwrap_or_else(|| {
            self.live.push((0, 0));
            self.live.len() as u32 - 1
        });
        self.live[index as usize] = (self.seq, key);
        self.heap.push(Reverse((deadline, self.seq, index)));
        index
    }
    fn cancel(&mut self, id: u32) {
        self.live[id as usize].0 = 0;
        self.free.push(id);
    }
    fn next_deadline(&mut self) -> Option<u64> {
        while let Some(Reverse((deadline, seq, index))) = self.heap.peek() {
            if self.live[*index as usize].0 == *seq {
                return Some(*deadline);
            }
            self.heap.pop();
        }
        None
    }
    fn pop_due(&mut self, now: u64) -> Option<(u64, u32)> {
        let deadline = self.next_deadline().filter(|deadline| *deadline <= now)?;
        let Reverse((_, _, index)) = self.heap.pop()?;
        self.cancel(index);
        Some((deadline, self.live[index as usize].1))
    }
}

/// splitmix64, so that every subject sees the same numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// What is done, in which order, to which timers: made outside the measured time.
struct Load {
    first: Vec<u64>,
    second: Vec<u64>,
    shuffled: Vec<u32>,
}

impl Load {
    /// Random deadlines within 60 s.
    fn random(n: usize) -> Self {
        let mut random = Random(n as u64);
        let first = (0..n).map(|_| random.next() % WITHIN_NS).collect();
        let second = (0..n).map(|_| random.next() % WITHIN_NS).collect();
        Load { first, second, shuffled: shuffled(n, &mut random) }
    }

    /// A timer a microsecond, each 60 s long, then each again.
    fn same_duration(n: usize) -> Self {
        let deadlines = |from: usize| (from..from + n).map(|i| WITHIN_NS + 1000 * i as u64).collect();
        Load { first: deadlines(0), second: deadlines(n), shuffled: shuffled(n, &mut Random(n as u64)) }
    }
}

fn shuffled(n: usize, random: &mut Random) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n as u32).collect();
    for i in (1..n).rev() {
        order.swap(i, (random.next() % (i as u64 + 1)) as usize);
    }
    order
}

fn armed<S: Subject>(load: &Load) -> (S, Vec<S::Id>) {
    let mut subject = S::new();
    let ids = load.first.iter().zip(0..).map(|(deadline, key)| subject.arm(*deadline, key)).collect();
    (subject, ids)
}

fn rearm<S: Subject>(subject: &mut S, ids: &mut [S::Id], load: &Load) {
    for (deadline, key) in load.second.iter().zip(&load.shuffled) {
        subject.cancel(ids[*key as usize]);
        ids[*key as usize] = subject.arm(*deadline, *key);
    }
}

/// Pops everything and checks that nothing was lost or out of order.
fn fire<S: Subject>(subject: &mut S, load: &Load, exact_sleep: bool) {
    let (mut count, mut last) = (0, 0);
    while let Some(next) = if exact_sleep { subject.next_deadline() } else { Some(u64::MAX - 1) } {
        let before = count;
        while let Some((deadline, key)) = subject.pop_due(next) {
            assert!(last <= deadline);
            last = deadline;
            count += 1;
            black_box(key);
        }
        if !exact_sleep || before == count {
            break;
        }
    }
    assert_eq!(count, load.first.len());
}

type Table = RefCell<BTreeMap<(String, usize), BTreeMap<&'static str, Vec<f64>>>>;

struct Bench<'a> {
    criterion: &'a mut Criterion,
    table: &'a Table,
}

impl Bench<'_> {
    /// Measures `run` on what `prepare` makes, anew for each iteration and outside the measured time.
    fn op<T>(
        &mut self,
        name: &str,
        subject: &'static str,
        n: usize,
        prepare: impl Fn() -> T,
        run: impl Fn(&mut T),
    ) {
        let mut group = self.criterion.benchmark_group(name);
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(200))
            .measurement_time(Duration::from_secs(1));
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(format!("{subject}/{n}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    let mut prepared = prepare();
                    let start = std::time::Instant::now();
                    run(&mut prepared);
                    total += start.elapsed();
                }
                let each = total.as_nanos() as f64 / (iterations as f64 * n as f64);
                let mut table = self.table.borrow_mut();
                table.entry((name.into(), n)).or_default().entry(subject).or_default().push(each);
                total
            });
        });
    }

    fn all<S: Subject>(&mut self, subject: &'static str, group: &str, load: impl Fn(usize) -> Load) {
        for n in SIZES {
            let load = &load(n);
            let name = |op: &str| format!("{group}/{op}");
            self.op(
                &name("add"),
                subject,
                n,
                || (),
                |()| {
                    black_box(armed::<S>(load));
                },
            );
            let emptied = || {
                let (mut s, ids) = armed::<S>(load);
                ids.into_iter().for_each(|id| s.cancel(id));
                while s.next_deadline().is_some() {}
                s
            };
            self.op(&name("add/grown"), subject, n, emptied, |s| {
                for (deadline, key) in load.second.iter().zip(0..) {
                    black_box(s.arm(*deadline, key));
                }
            });
            self.op(&name("re-arm"), subject, n, || armed::<S>(load), |(s, ids)| rearm(s, ids, load));
            self.op(
                &name("cancel"),
                subject,
                n,
                || armed::<S>(load),
                |(s, ids)| {
                    for key in &load.shuffled {
                        s.cancel(ids[*key as usize]);
                    }
                },
            );
            self.op(&name("fire/jump"), subject, n, || armed::<S>(load), |(s, _)| fire(s, load, false));
            self.op(&name("fire/wake"), subject, n, || armed::<S>(load), |(s, _)| fire(s, load, true));
            let churned = || {
                let (mut s, mut ids) = armed::<S>(load);
                rearm(&mut s, &mut ids, load);
                s
            };
            self.op(&name("fire/churned"), subject, n, churned, |s| fire(s, load, false));
        }
    }
}

fn main() {
    let table = Table::default();
    let mut criterion = Criterion::default().configure_from_args();
    let mut bench = Bench { criterion: &mut criterion, table: &table };
    bench.all::<Timers>("wheel", "random", Load::random);
    bench.all::<Heap>("heap", "random", Load::random);
    bench.all::<CommonQueue>("queue", "same duration", Load::same_duration);
    bench.all::<Timers>("wheel", "same duration", Load::same_duration);
    bench.all::<Heap>("heap", "same duration", Load::same_duration);
    criterion.final_summary();

    println!("median ns for one operation");
    for ((name, n), subjects) in table.into_inner() {
        print!("{name:<28} {n:>9}");
        for (subject, mut times) in subjects {
            times.sort_by(f64::total_cmp);
            print!("  {subject} {:>7.1}", times[times.len() / 2]);
        }
        println!();
    }
}
