//! Threads over a short while: what each was in, how often, and how much of a core it used.

use super::wait::{self, Doing, Set, What};
use crate::compare::interrupt;
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A thread, as it was seen in some looks.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its process.
    pub pid: u32,
    /// Its number.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// What it was in, and in how many looks; most often first.
    pub doings: Vec<(Doing, u32)>,
    /// The descriptors it watched, in the last poll or select that was seen.
    pub set: Option<Set>,
    /// In how many looks it was there.
    pub looks: u32,
    /// Part of a core that it used. `None`: seen once only.
    pub cpu: Option<f64>,
    /// Part of the time that it was ready to run and no core was free.
    pub queued: Option<f64>,
}

impl Thread {
    /// What it mostly did.
    pub fn main(&self) -> Option<&Doing> {
        self.doings.first().map(|(doing, _)| doing)
    }

    /// What it mostly waited in: what it did while it was not running.
    pub fn waiting(&self) -> Option<&Doing> {
        self.doings.iter().map(|(doing, _)| doing).find(|doing| doing.what != What::Running)
    }

    /// In what part of the looks it did something of this sort.
    pub fn share(&self, sort: impl Fn(&Doing) -> bool) -> f64 {
        let hits: u32 = self.doings.iter().filter(|(doing, _)| sort(doing)).map(|(_, hits)| hits).sum();
        f64::from(hits) / f64::from(self.looks.max(1))
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    /// Every thread that was seen.
    pub threads: Vec<Thread>,
    /// How many looks there were.
    pub count: u32,
    /// From the first to the last.
    pub lasted: Duration,
    /// Some system calls could not be read.
    pub hides_calls: bool,
    /// Of some threads nothing could be read but whether they run.
    pub hides_all: bool,
}

/// A look every so long, if the looking itself does not take longer.
const PAUSE: Duration = Duration::from_millis(12);

struct Times {
    at: Instant,
    ran_ns: u64,
    queued_ns: u64,
}

struct Seen {
    thread: Thread,
    first: Option<Times>,
    last: Option<Times>,
}

/// Looks at all threads of some processes, for `span`; at least twice, for CPU time is a difference. Ctrl-C ends it
/// early.
pub fn watch(pids: &[u32], span: Duration) -> Looks {
    let began = Instant::now();
    let is_32_bit: Vec<bool> = pids.iter().map(|&pid| wait::is_32_bit(pid)).collect();
    let mut seen: BTreeMap<(u32, u32), Seen> = BTreeMap::new();
    let mut looks = Looks::default();
    loop {
        let is_last = looks.count > 0 && (began.elapsed() + PAUSE >= span || interrupt::requested());
        let mut alive = 0;
        for (&pid, &is_32_bit) in pids.iter().zip(&is_32_bit) {
            alive += look_at(pid, is_32_bit, is_last, &mut seen, &mut looks);
        }
        looks.count += 1;
        if is_last || alive == 0 {
            break;
        }
        let next = began + PAUSE * looks.count;
        std::thread::sleep(next.saturating_duration_since(Instant::now()).min(span));
    }
    looks.lasted = began.elapsed();
    looks.threads = seen.into_values().map(Seen::finish).collect();
    looks
}

/// How many threads it has left.
fn look_at(
    pid: u32,
    is_32_bit: bool,
    is_last: bool,
    seen: &mut BTreeMap<(u32, u32), Seen>,
    looks: &mut Looks,
) -> u32 {
    let mut alive = 0;
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return alive };
    for tid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let known = seen.get(&(pid, tid)).is_some_and(|seen| seen.thread.set.is_some());
        let Some(moment) = wait::look(pid, tid, is_32_bit, is_last || !known) else { continue };
        alive += 1;
        let seen = seen.entry((pid, tid)).or_insert_with(|| Seen::new(pid, tid));
        looks.hides_calls |= !moment.is_whole && moment.doing.what != What::Running;
        looks.hides_all |= moment.doing.what == What::Hidden;
        seen.add(moment);
        if seen.first.is_none() || is_last {
            let times = times(pid, tid);
            match seen.first {
                None => seen.first = times,
                Some(_) => seen.last = times,
            }
        }
    }
    alive
}

/// /proc/PID/task/TID/schedstat: nanoseconds run, nanoseconds ready and waiting, slices.
fn times(pid: u32, tid: u32) -> Option<Times> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
    let mut numbers = text.split_whitespace().map_while(|word| word.parse::<u64>().ok());
    Some(Times { at: Instant::now(), ran_ns: numbers.next()?, queued_ns: numbers.next()? })
}

impl Seen {
    fn new(pid: u32, tid: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
        let name = super::process::printable(name.trim_end());
        let thread =
            Thread { pid, tid, name, doings: Vec::new(), set: None, looks: 0, cpu: None, queued: None };
        Seen { thread, first: None, last: None }
    }

    fn add(&mut self, moment: wait::Moment) {
        let thread = &mut self.thread;
        thread.looks += 1;
        if moment.set.is_some() {
            thread.set = moment.set;
        }
        match thread.doings.iter_mut().find(|(doing, _)| *doing == moment.doing) {
            Some((_, hits)) => *hits += 1,
            None => thread.doings.push((moment.doing, 1)),
        }
    }

    fn finish(mut self) -> Thread {
        self.thread.doings.sort_by_key(|(_, hits)| std::cmp::Reverse(*hits));
        if let (Some(first), Some(last)) = (self.first, self.last) {
            let wall = last.at.duration_since(first.at).as_nanos() as f64;
            let part =
                |from: u64, to: u64| (wall > 0.0).then(|| (to.saturating_sub(from) as f64 / wall).min(1.0));
            self.thread.cpu = part(first.ran_ns, last.ran_ns);
            // The two are counted at slightly different moments.
            let rest = 1.0 - self.thread.cpu.unwrap_or(0.0);
            self.thread.queued = part(first.queued_ns, last.queued_ns).map(|queued| queued.min(rest));
        }
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use duolu_sys::calls::CallKind;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn threads_are_told_by_what_they_do() {
        static STOP: AtomicBool = AtomicBool::new(false);
        let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (started, starts) = std::sync::mpsc::channel();
        let other = started.clone();
        let sleeper = named("w-sleeps").spawn(move || {
            started.send(()).expect("we wait"); // it has its name by now
            while !STOP.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(400));
            }
        });
        let spinner = named("w-spins").spawn(move || {
            other.send(()).expect("we wait");
            while !STOP.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        starts.iter().take(2).for_each(drop);
        let looks = watch(&[std::process::id()], Duration::from_millis(300));
        STOP.store(true, Ordering::Relaxed);
        sleeper.expect("started").join().expect("no panic");
        spinner.expect("started").join().expect("no panic");
        assert!(looks.count >= 2 && !looks.hides_all, "{looks:?}");
        let find = |name: &str| looks.threads.iter().find(|thread| thread.name == name).expect("seen");
        assert!(find("w-sleeps").share(|doing| doing.what == What::In(CallKind::Sleep)) > 0.4, "{looks:?}");
        let spins = find("w-spins");
        assert!(spins.share(|doing| doing.what == What::Running) > 0.9, "{spins:?}");
        let used = spins.cpu.expect("two looks") + spins.queued.expect("two looks");
        assert!(used > 0.3, "{spins:?}");
        assert!(find("w-sleeps").cpu.expect("two looks") < 0.3);
    }
}
