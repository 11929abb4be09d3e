//! What the command asks of processes: limits, processors, forks, descriptors handed over by systemd.
//!
//! (Children that run another program and their surroundings: [`crate::child`].)
//!
//! Traps:
//! (a) After a fork the child of a program with threads has only the forking thread, and locks that other
//!     threads held stay locked: in the child only async-signal-safe calls are sure, until exec or `_exit`. A
//!     process with one thread may go on as usual.
//! (b) PR_SET_PDEATHSIG comes when the *thread* that forked ends, and is lost when the parent is gone before
//!     the child asks: compare getppid after.
//! (c) LISTEN_FDS is meant for one process: a child would see it again. LISTEN_PID names which.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::syscall;
use crate::syscall::{io_error, own, retry};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// A soft and a hard limit; `u64::MAX` means none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// What counts now.
    pub soft: u64,
    /// How far the soft one may be raised without CAP_SYS_RESOURCE.
    pub hard: u64,
}

/// RLIMIT_NOFILE of this process: one more than the highest descriptor number it may have.
pub fn descriptor_limit() -> io::Result<Limit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    syscall!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }).map_err(io_error)?;
    Ok(Limit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Sets RLIMIT_NOFILE of this process. EPERM: the hard limit cannot be raised. Descriptors that are open beyond
/// it stay open.
pub fn set_descriptor_limit(limit: Limit) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: the kernel reads one rlimit.
    syscall!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).map(drop).map_err(io_error)
}

/// Raises the soft RLIMIT_NOFILE to the hard one and gives what holds then.
pub fn raise_descriptor_limit() -> io::Result<Limit> {
    let limit = descriptor_limit()?;
    let raised = Limit { soft: limit.hard, ..limit };
    if limit != raised {
        set_descriptor_limit(raised)?;
    }
    Ok(raised)
}

/// Sets RLIMIT_NPROC: how many processes and threads this process's user may have, all of them counted, where this
/// process and its children make one more. Root of the machine is exempt (getrlimit(2)): see [`become_nobody`].
pub fn set_task_limit(most: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the kernel reads one rlimit.
    syscall!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) }).map(drop).map_err(io_error)
}

/// Gives up root for good: user and group 65534 (nobody), no further groups. A process with one thread only.
///
/// # Errors
/// EPERM: not root. EINVAL: this user namespace knows no nobody.
pub fn become_nobody() -> io::Result<()> {
    const NOBODY: libc::uid_t = 65534;
    // SAFETY: no group is read.
    syscall!(unsafe { libc::setgroups(0, std::ptr::null()) }).map_err(io_error)?;
    // SAFETY: integers only.
    syscall!(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) }).map_err(io_error)?;
    // SAFETY: integers only.
    syscall!(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) }).map(drop).map_err(io_error)
}

/// How many processors this process may run on. At least 1.
pub fn processors() -> usize {
    affinity(None).map_or(1, |cpus| cpus.len().max(1))
}

/// The processors that `pid`, or the calling thread, may run on; lowest first. Up to 1,024 are seen.
pub fn affinity(pid: Option<u32>) -> io::Result<Vec<usize>> {
    // SAFETY: all zeroes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let (pid, bytes) = (pid_of(pid)?, size_of::<libc::cpu_set_t>());
    // SAFETY: the kernel writes at most `bytes`.
    syscall!(unsafe { libc::sched_getaffinity(pid, bytes, &mut set) }).map_err(io_error)?;
    // SAFETY: each number is inside the set.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Pins `pid`, or the calling thread, to `cpus`. EINVAL: none of them exists or is allowed. InvalidInput: a
/// number past 1,023.
pub fn set_affinity(pid: Option<u32>, cpus: &[usize]) -> io::Result<()> {
    let set = cpu_set(cpus)?;
    let (pid, bytes) = (pid_of(pid)?, size_of::<libc::cpu_set_t>());
    // SAFETY: the kernel reads `bytes`.
    syscall!(unsafe { libc::sched_setaffinity(pid, bytes, &set) }).map(drop).map_err(io_error)
}

/// The processors as the kernel wants them. InvalidInput: a number past 1,023.
pub(crate) fn cpu_set(cpus: &[usize]) -> io::Result<libc::cpu_set_t> {
    // SAFETY: all zeroes are the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        if cpu >= libc::CPU_SETSIZE as usize {
            let text =
                format!("processor {cpu} is past {}, the last that can be named", libc::CPU_SETSIZE - 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // SAFETY: inside the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    Ok(set)
}

/// A process's number for the kernel, where 0 would mean "myself" and a negative one a group.
pub(crate) fn pid_of(pid: Option<u32>) -> io::Result<libc::pid_t> {
    match pid {
        None => Ok(0),
        Some(pid) => match libc::pid_t::try_from(pid) {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        },
    }
}

/// Which side of a fork this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// The parent, and the child's number.
    Parent(u32),
    /// The child.
    Child,
}

/// fork(2). EAGAIN: RLIMIT_NPROC, the cgroup's pids.max or kernel.pid_max is reached. ENOMEM.
///
/// # Safety
/// In the child of a process that has other threads only async-signal-safe functions may be called, which
/// excludes allocating and every lock (trap (a)). In any case the child must reinit every loop, waker and
/// signal hub that it goes on using, and must not run the parent's destructors where those act on something
/// shared (leave by [`exit_now`]).
pub unsafe fn fork() -> io::Result<Fork> {
    // SAFETY: the caller's promise.
    match syscall!(unsafe { libc::fork() }).map_err(io_error)? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid.cast_unsigned())),
    }
}

/// fork(2) for a process with one thread, in which the child may go on as usual: it has a copy of everything,
/// and no lock is held by a thread that is gone. Costs one stat(2) more. The child must reinit every loop, waker
/// and signal hub that it goes on using; those that it only drops do not disturb the parent.
///
/// # Errors
/// As fork(2); and Unsupported where the process has other threads (or no /proc to tell).
pub fn fork_alone() -> io::Result<Fork> {
    let threads = thread_count()?;
    if threads != 1 {
        let text = format!("the program has {threads} threads; fork before starting any");
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    // SAFETY: there is no other thread, and only another thread could start one now.
    unsafe { fork() }
}

/// How many threads this process has: /proc/self/task has one directory each, and so many links plus two.
pub fn thread_count() -> io::Result<u64> {
    let links = std::fs::metadata("/proc/self/task")?.nlink();
    links.checked_sub(2).filter(|&threads| threads > 0).ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, "/proc/self/task does not count this process's threads")
    })
}

/// Ends the process at once: no destructor, no atexit handler, no flush. For a forked child.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: no memory is passed; it does not come back.
    unsafe { libc::_exit(code) }
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// Waits for the child `pid` to end and reaps it. ECHILD: it is not our child, or was reaped before.
pub fn wait(pid: u32) -> io::Result<Ended> {
    loop {
        if let Some((_, ended)) = wait_call(Some(pid), 0)? {
            return Ok(ended);
        }
    }
}

/// Reaps the child `pid` if it has ended; `None` while it runs.
pub fn try_wait(pid: u32) -> io::Result<Option<Ended>> {
    Ok(wait_call(Some(pid), libc::WNOHANG)?.map(|(_, ended)| ended))
}

/// Reaps one ended child, whichever it is; `None` where none has ended. ECHILD: there are no children. In a
/// library this steals children that others wait for: it is for a program that owns all of its children.
pub fn try_wait_any() -> io::Result<Option<(u32, Ended)>> {
    wait_call(None, libc::WNOHANG)
}

fn wait_call(pid: Option<u32>, flags: i32) -> io::Result<Option<(u32, Ended)>> {
    let pid = if pid.is_none() { -1 } else { pid_of(pid)? };
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    let got = retry(|| syscall!(unsafe { libc::waitpid(pid, &mut status, flags) })).map_err(io_error)?;
    Ok(match got {
        0 => None,
        got if libc::WIFEXITED(status) => Some((got.cast_unsigned(), Ended::Code(libc::WEXITSTATUS(status)))),
        got if libc::WIFSIGNALED(status) => {
            Some((got.cast_unsigned(), Ended::Signal(libc::WTERMSIG(status))))
        }
        _ => None,
    })
}

/// Sends `signo` to the one process `pid`; never to a group or to everybody. ESRCH: there is no such process.
pub fn kill(pid: u32, signo: i32) -> io::Result<()> {
    let pid = pid_of(Some(pid))?;
    // SAFETY: integers only.
    syscall!(unsafe { libc::kill(pid, signo) }).map(drop).map_err(io_error)
}

/// In a child just forked: asks for `signo` when the parent's thread ends (trap (b)). `parent` is the parent's
/// number, taken before the fork. ESRCH: the parent is gone already. Async-signal-safe.
pub fn signal_when_parent_ends(signo: i32, parent: u32) -> io::Result<()> {
    // SAFETY: integers only, and as wide as the C library reads them from its variable arguments.
    syscall!(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signo as libc::c_ulong) }).map_err(io_error)?;
    // SAFETY: no arguments.
    if unsafe { libc::getppid() }.cast_unsigned() != parent {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}

/// The first descriptor that systemd hands over (sd_listen_fds(3)).
const LISTEN_FDS_START: RawFd = 3;

/// Takes over the descriptors that systemd (or another supervisor) hands over: numbers 3, 4, ... They are
/// closed on exec from now on. Empty where there are none, or where they are meant for another process
/// (trap (c)). The environment is not changed.
///
/// To be called first thing in `main`. LISTEN_PID is the promise of whoever started this process that these
/// numbers are for it to own; where it lies, or something else in the process took them first, two owners
/// would close the same number. A second call gives nothing.
///
/// # Errors
/// InvalidData with the variable's name: LISTEN_PID or LISTEN_FDS is no number, or one of the promised
/// descriptors is not open.
pub fn take_listen_fds() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let count = listen_fds_count(|name| std::env::var(name).ok(), std::process::id())?;
    let numbers = LISTEN_FDS_START..LISTEN_FDS_START.saturating_add(count);
    for number in numbers.clone() {
        // SAFETY: integers only. A failure ends it before anything is owned.
        syscall!(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }).map_err(|errno| {
            let text =
                format!("LISTEN_FDS is {count}, but descriptor {number} is not open ({})", io_error(errno));
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
    }
    Ok(numbers.map(own).collect())
}

/// How many are meant for the process `own_pid`.
fn listen_fds_count(var: impl Fn(&str) -> Option<String>, own_pid: u32) -> io::Result<RawFd> {
    let number = |name: &str| -> io::Result<Option<u32>> {
        let Some(text) = var(name) else { return Ok(None) };
        let bad = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{name} is {text:?}, not a number"));
        text.parse().map(Some).map_err(bad)
    };
    let (Some(pid), Some(count)) = (number("LISTEN_PID")?, number("LISTEN_FDS")?) else { return Ok(0) };
    let limit = descriptor_limit()?.soft;
    if pid != own_pid {
        return Ok(0);
    }
    if u64::from(count) > limit {
        let text = format!("LISTEN_FDS is {count}, more than the {limit} descriptors this process may have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(count as RawFd)
}

/// Ticks per second of the times in /proc/PID/stat (sysconf(3), _SC_CLK_TCK).
pub fn ticks_per_second() -> u64 {
    // SAFETY: no memory is passed.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100)
}

/// What this process has used so far (getrusage(2), RUSAGE_SELF).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// CPU time in the program.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// The largest resident set so far, bytes.
    pub max_resident_bytes: u64,
    /// How often it gave up a processor of its own will.
    pub voluntary_switches: u64,
    /// How often it was taken one.
    pub involuntary_switches: u64,
}

/// Asks the kernel; one system call.
pub fn usage() -> Usage {
    // SAFETY: all zeroes are a valid rusage.
    let mut raw: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one rusage. It cannot refuse: the arguments are valid.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut raw) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    Usage {
        user: time(raw.ru_utime),
        system: time(raw.ru_stime),
        max_resident_bytes: raw.ru_maxrss as u64 * 1024,
        voluntary_switches: raw.ru_nvcsw as u64,
        involuntary_switches: raw.ru_nivcsw as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_processors_are_told() {
        let limit = descriptor_limit().unwrap();
        assert!(limit.soft >= 64 && limit.soft <= limit.hard);
        set_descriptor_limit(limit).unwrap();
        let cpus = affinity(None).unwrap();
        assert_eq!(cpus.len(), processors());
        assert_eq!(affinity(Some(std::process::id())).unwrap(), cpus);
        assert!(set_affinity(None, &[5000]).unwrap_err().to_string().contains("1023"));
        assert_eq!(ticks_per_second(), 100);
        assert!(usage().max_resident_bytes > 100_000);
    }

    #[test]
    fn a_thread_is_pinned_alone() {
        let cpus = affinity(None).unwrap();
        let one = cpus[cpus.len() - 1];
        let pinned = std::thread::spawn(move || {
            set_affinity(None, &[one]).unwrap();
            affinity(None).unwrap()
        });
        assert_eq!(pinned.join().unwrap(), [one]);
        assert_eq!(affinity(None).unwrap(), cpus);
    }

    #[test]
    fn a_child_is_forked_watched_and_reaped() {
        let parent = std::process::id();
        // SAFETY: the child makes system calls only and leaves by exit_now.
        let fork = unsafe { fork() }.unwrap();
        let Fork::Parent(child) = fork else {
            let asked = signal_when_parent_ends(libc::SIGKILL, parent);
            exit_now(if asked.is_ok() { 42 } else { 1 });
        };
        assert_eq!(wait(child).unwrap(), Ended::Code(42));
        assert_eq!(try_wait(child).unwrap_err().raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_program_with_threads_does_not_fork_alone() {
        let before = thread_count().unwrap();
        assert!(before >= 2, "the harness has a thread for its tests");
        assert!(fork_alone().unwrap_err().to_string().contains("fork before starting any"));
        // SAFETY: the child makes system calls only (its path is on the stack) and leaves by exit_now.
        match unsafe { fork() }.unwrap() {
            Fork::Child => exit_now(thread_count().map_or(99, |threads| threads as i32)),
            Fork::Parent(child) => {
                assert_eq!(wait(child).unwrap(), Ended::Code(1), "the child has one thread")
            }
        }
    }

    #[test]
    fn a_child_is_ended_by_its_number() {
        // SAFETY: the child makes system calls only.
        let fork = unsafe { fork() }.unwrap();
        let Fork::Parent(child) = fork else {
            loop {
                // SAFETY: no arguments. Until the signal comes.
                unsafe { libc::pause() };
            }
        };
        assert_eq!(try_wait(child).unwrap(), None);
        kill(child, libc::SIGKILL).unwrap();
        assert_eq!(wait(child).unwrap(), Ended::Signal(libc::SIGKILL));
        for nobody in [0, u32::MAX] {
            assert_eq!(kill(nobody, 0).unwrap_err().raw_os_error(), Some(libc::ESRCH), "never a group");
        }
    }

    #[test]
    fn handed_over_descriptors_are_counted_only_for_the_right_process() {
        let count = |pid: &str, fds: &str| {
            let (pid, fds) = (pid.to_owned(), fds.to_owned());
            listen_fds_count(
                move |name| Some(if name == "LISTEN_PID" { pid.clone() } else { fds.clone() }),
                77,
            )
        };
        assert_eq!(count("77", "2").unwrap(), 2);
        assert_eq!(count("78", "2").unwrap(), 0);
        assert_eq!(listen_fds_count(|_| None, 77).unwrap(), 0);
        assert_eq!(count("77", "two").unwrap_err().to_string(), "LISTEN_FDS is \"two\", not a number");
        assert!(count("77", "4000000000").unwrap_err().to_string().contains("more than the"));
    }
}
