//! A program started as a child with its surroundings set before it begins: a session, processors, a
//! descriptor limit, a signal when its parent dies. And what a parent asks about its children: their CPU time.
//!
//! Traps, referred to below:
//! (a) Between fork and exec the child of a program with threads may only make system calls that are
//!     async-signal-safe: no allocation, no lock. Everything is prepared before the fork.
//! (b) utime and stime of /proc/PID/stat count in ticks of 10 ms, each process rounded down: the sum over 5,000
//!     small processes is zero. The process's CPU clock counts nanoseconds.
//! (c) With sched_autogroup (sched(7)) a session's share of each processor follows from where its tasks are: with
//!     5,000 forked workers on one processor, a loader of the same session on the other gets a 5,000th of it as
//!     soon as any other session wants it, too.

pub use crate::process::kill as signal;

use crate::process::{cpu_set, pid_of, signal_when_parent_ends};
use crate::syscall;
use crate::syscall::io_error;
use duolu_core::Errno;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// The surroundings of a child. The defaults change nothing.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The child leads a session, and so a process group, of its own (setsid(2)): the terminal's Ctrl-C does not
    /// reach it, [`signal_group`] reaches it with all its descendants, and the scheduler gives it a share of its
    /// own (trap b).
    pub own_session: bool,
    /// The processors it may run on; empty for all that the parent may.
    pub cpus: Vec<usize>,
    /// RLIMIT_NOFILE, soft and hard.
    pub nofile: Option<u64>,
    /// The signal that it gets when the *thread* that started it ends, see [`signal_when_parent_ends`].
    pub death_signal: Option<i32>,
}

impl Surroundings {
    /// Has `command` set these up in the child, before the program begins. Starting it then fails with the
    /// error of the call that was refused: EPERM or EINVAL for a limit above the hard one, EINVAL for processors
    /// that do not exist.
    pub fn apply(&self, command: &mut Command) {
        let own_session = self.own_session;
        let cpus = (!self.cpus.is_empty()).then(|| cpu_set(&self.cpus));
        let nofile = self.nofile.map(|limit| libc::rlimit { rlim_cur: limit, rlim_max: limit });
        let death_signal = self.death_signal;
        let parent = std::process::id();
        let set_up = move || {
            if own_session {
                // SAFETY: no arguments.
                syscall!(unsafe { libc::setsid() }).map_err(io_error)?;
            }
            if let Some(set) = &cpus {
                let Ok(set) = set else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
                // SAFETY: the kernel reads one cpu_set_t, which lives in this closure.
                syscall!(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), set) })
                    .map_err(io_error)?;
            }
            if let Some(limit) = &nofile {
                // SAFETY: the kernel reads one rlimit, which lives in this closure.
                syscall!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) }).map_err(io_error)?;
            }
            if let Some(signal) = death_signal {
                signal_when_parent_ends(signal, parent)?;
            }
            Ok(())
        };
        // SAFETY: the closure makes system calls on values it owns; it neither allocates, frees nor locks (trap a):
        // an error is made from its number, which allocates nothing, and it is called by reference, so what it owns
        // is not dropped in the child.
        unsafe { command.pre_exec(set_up) };
    }
}

/// The CPU time that all threads of a process have used, the ended ones included, its reaped children not.
/// One system call, no file opened; exact to the scheduler's own count. Any process may be asked about.
///
/// # Errors
/// ESRCH or EINVAL when there is no such process.
pub fn cpu_time(pid: u32) -> io::Result<Duration> {
    // clock_getcpuclockid(3): the clock of process `pid` that counts what the scheduler gave it (trap b).
    const CPUCLOCK_SCHED: i32 = 2;
    // 0 would be ourselves; and the number of a process has to be left of these bits (pid_max is 2^22 at most).
    let pid = pid_of(Some(pid)).ok().filter(|&pid| pid < 1 << 28);
    let clock = (!pid.ok_or_else(|| io_error(Errno(libc::ESRCH)))? << 3) | CPUCLOCK_SCHED;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec to the local `time`.
    syscall!(unsafe { libc::clock_gettime(clock, &mut time) }).map_err(io_error)?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Sends a signal to every process of the group that the child `leader` leads.
///
/// # Errors
/// ESRCH: nobody is left in it, or `leader` is the number of no process. EINVAL: `leader` is 1, and -1 would be everybody.
pub fn signal_group(leader: u32, signo: i32) -> io::Result<()> {
    let leader = pid_of(Some(leader))?;
    if leader == 1 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: integers only.
    syscall!(unsafe { libc::kill(-leader, signo) }).map(drop).map_err(io_error)
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
        let mut command = Command::new("true");
        Surroundings { cpus: vec![0, 1024], ..Surroundings::default() }.apply(&mut command);
        assert_eq!(
            command.spawn().unwrap_err().raw_os_error(),
            Some(libc::EINVAL),
            "not silently without it"
        );
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
        for nobody in [0, 0x40_0001, 0x2000_0000 | std::process::id(), u32::MAX] {
            assert!(cpu_time(nobody).is_err(), "{nobody:#x}");
        }
    }

    #[test]
    fn nobody_signals_everybody() {
        for nobody in [0, 1, 1 << 31, u32::MAX] {
            assert!(signal_group(nobody, 0).is_err(), "{nobody}");
        }
        for nobody in [0, 1 << 31, u32::MAX] {
            assert!(signal(nobody, 0).is_err(), "{nobody}: not a group, not everybody");
        }
    }
}
