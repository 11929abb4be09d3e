//! A program started as a child with its surroundings set before it begins: a session, processors, a
//! descriptor limit, a signal when its parent dies. And what a parent asks about its children: their CPU time.
//!
//! Traps, referred to below:
//! (a) Between fork and exec the child of a program with threads may only make system calls that are
//!     async-signal-safe: no allocation, no lock. Everything is prepared before the fork.
//! (b) PR_SET_PDEATHSIG asks for a signal when the *thread* that forked ends, not its process, and the parent
//!     may be gone before the child asks.
//! (c) utime and stime of /proc/PID/stat count in ticks of 10 ms, each process rounded down: the sum over 5,000
//!     small processes is zero. The process's CPU clock counts nanoseconds.
//! (d) With sched_autogroup (sched(7)) a session's share of each processor follows from where its tasks are: with
//!     5,000 forked workers on one processor, a loader of the same session on the other gets a 5,000th of it as
//!     soon as any other session wants it, too.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The surroundings of a child. The defaults change nothing.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The child leads a session, and so a process group, of its own (setsid(2)): the terminal's Ctrl-C does not
    /// reach it, [`signal_group`] reaches it with all its descendants, and the scheduler gives it a share of its
    /// own (trap d).
    pub own_session: bool,
    /// The processors it may run on; empty for all that the parent may.
    pub cpus: Vec<usize>,
    /// RLIMIT_NOFILE, soft and hard.
    pub nofile: Option<u64>,
    /// The signal that it gets when the thread that started it ends (trap b).
    pub death_signal: Option<i32>,
}

impl Surroundings {
    /// Has `command` set these up in the child, before the program begins. Starting it then fails with the
    /// error of the call that was refused: EPERM or EINVAL for a limit above the hard one, EINVAL for processors
    /// that do not exist.
    pub fn apply(&self, command: &mut Command) {
        let own_session = self.own_session;
        let cpus = cpu_set(&self.cpus);
        let nofile = self.nofile.map(|limit| libc::rlimit { rlim_cur: limit, rlim_max: limit });
        let death_signal = self.death_signal;
        let parent = std::process::id();
        let set_up = move || {
            if own_session {
                // SAFETY: no arguments.
                check(unsafe { libc::setsid() })?;
            }
            if let Some(set) = &cpus {
                // SAFETY: the kernel reads one cpu_set_t, which lives in this closure.
                check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) })?;
            }
            if let Some(limit) = &nofile {
                // SAFETY: the kernel reads one rlimit, which lives in this closure.
                check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) })?;
            }
            if let Some(signal) = death_signal {
                // SAFETY: integers only.
                check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
                // SAFETY: no arguments.
                if unsafe { libc::getppid() }.cast_unsigned() != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH)); // trap (b)
                }
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls on values it owns; it neither allocates nor locks (trap a):
        // an error is made from its number, which allocates nothing.
        unsafe { command.pre_exec(set_up) };
    }
}

fn cpu_set(cpus: &[usize]) -> Option<libc::cpu_set_t> {
    if cpus.is_empty() {
        return None;
    }
    // SAFETY: a cpu_set_t is an array of words; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: `cpu` is below CPU_SETSIZE, so the bit is inside the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    Some(set)
}

/// The CPU time that all threads of a process have used, the ended ones included, its reaped children not.
/// One system call, no file opened; exact to the scheduler's own count. Any process may be asked about.
///
/// # Errors
/// ESRCH or EINVAL when there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    // clock_getcpuclockid(3): the clock of process `pid` that counts what the scheduler gave it (trap c).
    const CPUCLOCK_SCHED: i32 = 2;
    let clock = (!pid.cast_signed() << 3) | CPUCLOCK_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the local `time`.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Sends a signal to the child `pid`. The caller has not waited for it yet, so the id still is this child's.
///
/// # Errors
/// EINVAL: no such signal. A child that has ended but was not waited for is no error.
pub fn signal(pid: u32, signo: i32) -> io::Result<()> {
    // SAFETY: integers only.
    check(unsafe { libc::kill(pid.cast_signed(), signo) })
}

/// Sends a signal to every process of the group that the child `leader` leads.
///
/// # Errors
/// ESRCH: nobody is left in it. EINVAL: `leader` is 0 or 1, which would be our own group or everybody.
pub fn signal_group(leader: u32, signo: i32) -> io::Result<()> {
    if leader <= 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: integers only.
    check(unsafe { libc::kill(-leader.cast_signed(), signo) })
}

fn check(outcome: libc::c_int) -> io::Result<()> {
    if outcome == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    fn output_of(surroundings: &Surroundings, script: &str) -> String {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).stdin(Stdio::null());
        surroundings.apply(&mut command);
        String::from_utf8(command.output().expect("sh starts").stdout).unwrap()
    }

    #[test]
    fn a_child_begins_with_its_limit_its_processor_and_its_session() {
        let first = std::fs::read_to_string("/proc/self/status").unwrap();
        let list = first.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
        let cpu: usize = list.split([',', '-']).next().unwrap().parse().unwrap();
        let surroundings = Surroundings {
            own_session: true,
            cpus: vec![cpu],
            nofile: Some(77),
            death_signal: Some(libc::SIGKILL),
        };
        let text = output_of(
            &surroundings,
            "ulimit -n; grep Cpus_allowed_list /proc/$$/status | cut -f2; cut -d' ' -f1,5,6 /proc/$$/stat",
        );
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "77");
        assert_eq!(lines[1], cpu.to_string());
        let ids: Vec<&str> = lines[2].split(' ').collect();
        assert!(ids[0] == ids[1] && ids[1] == ids[2], "process, group and session: {ids:?}");
    }

    #[test]
    fn a_refused_limit_is_an_error_of_the_start() {
        let mut command = Command::new("true");
        Surroundings { cpus: vec![1023], ..Surroundings::default() }.apply(&mut command);
        assert_eq!(command.spawn().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }

    #[test]
    fn cpu_time_counts_finer_than_a_tick_and_knows_no_strangers() {
        let before = cpu_time(std::process::id()).unwrap();
        let mut sum = 0u64;
        while cpu_time(std::process::id()).unwrap() == before {
            sum = std::hint::black_box(sum + 1);
        }
        let used = cpu_time(std::process::id()).unwrap() - before;
        assert!(used < Duration::from_millis(10), "{used:?}");
        assert!(cpu_time(0x40_0001).is_err(), "above the largest pid_max there is nobody");
    }

    #[test]
    fn nobody_signals_everybody() {
        assert!(signal_group(0, 0).is_err());
        assert!(signal_group(1, 0).is_err());
    }
}
