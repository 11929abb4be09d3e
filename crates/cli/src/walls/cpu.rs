//! CPU time of a server's threads, and whether one of them fills a core.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

/// The CPU time of every thread of some processes at one moment, in nanoseconds of the scheduler's own clock.
pub struct ThreadTimes {
    at: Instant,
    ns: HashMap<(u32, u32), u64>,
}

/// The thread that used most of a core between two moments.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Busiest {
    /// Its process.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// CPU time over wall time: 1.0 is one core full.
    pub share: f64,
}

/// From here on a thread counts as filling its core. Not 1.0: ticks, interrupts and the loader take their part.
pub const FULL_SHARE: f64 = 0.95;

impl ThreadTimes {
    /// Reads /proc/PID/task/*/schedstat of each process: O(threads).
    pub fn take(pids: &[u32]) -> Self {
        let at = Instant::now();
        let mut ns = HashMap::new();
        for &pid in pids {
            let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for tid in entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
                let spent = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat"))
                    .ok()
                    .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
                if let Some(spent) = spent {
                    ns.insert((pid, tid), spent);
                }
            }
        }
        ThreadTimes { at, ns }
    }

    /// The busiest thread since `before`. `None`: no thread is in both, or no time has passed.
    pub fn busiest_since(&self, before: &ThreadTimes) -> Option<Busiest> {
        let wall_ns = self.at.duration_since(before.at).as_nanos() as f64;
        let (&(pid, tid), spent) = self
            .ns
            .iter()
            .filter_map(|(key, &now)| Some((key, now.saturating_sub(*before.ns.get(key)?))))
            .max_by_key(|&(_, spent)| spent)?;
        (wall_ns > 0.0).then(|| Busiest { pid, tid, share: spent as f64 / wall_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_thread_that_did_it() {
        let me = [std::process::id()];
        let before = ThreadTimes::take(&me);
        let own = rustix::thread::gettid().as_raw_nonzero().get() as u32;
        let spin = Instant::now();
        // Spin for CPU time, not for wall time, so that a loaded machine cannot fail this.
        let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let nanos = |time: rustix::time::Timespec| time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
        let start = nanos(cpu());
        while nanos(cpu()) - start < 30_000_000 && spin.elapsed().as_secs() < 20 {}
        let after = ThreadTimes::take(&me);
        let mine = after.ns[&(me[0], own)] - before.ns[&(me[0], own)];
        assert!(mine >= 25_000_000, "{mine}");
        let busiest = after.busiest_since(&before).expect("threads in both");
        assert!(busiest.share > 0.0 && busiest.pid == me[0], "{busiest:?}");
    }
}
