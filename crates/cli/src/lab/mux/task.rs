//! What the kernel says of a thread of ours: its state, the call and the place it sleeps in, how often it gave up its
//! processor. All of it from /proc/self/task (proc(5)).

use duolu_sys::calls::name_of;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// `S` asleep, `R` running or ready to, `D` asleep and not to be disturbed.
    pub state: char,
    /// The system call it is in; `None` while it runs, [`HIDDEN`] where the kernel does not tell.
    pub call: Option<String>,
    /// The kernel's function in which it sleeps; `None` while it runs, or where the kernel keeps that to itself.
    pub wchan: Option<String>,
    /// How often it gave up its processor of its own will: it had to wait.
    pub voluntary: u64,
    /// How often it was taken its processor: others wanted it, too.
    pub involuntary: u64,
    /// Nanoseconds on a processor, and nanoseconds ready but without one (schedstat).
    pub ran_ns: u64,
    /// See `ran_ns`.
    pub queued_ns: u64,
}

/// Looks at thread `tid` of this process.
///
/// # Errors
/// NotFound: it has ended. PermissionDenied: this kernel does not tell (a hidden /proc).
pub fn look(tid: i32) -> io::Result<Task> {
    let file = |name: &str| std::fs::read_to_string(format!("/proc/self/task/{tid}/{name}"));
    let status = file("status")?;
    // Needs no right for one's own threads, but not every kernel has it.
    let call = file("syscall").unwrap_or_else(|_| HIDDEN.to_owned());
    let wchan = file("wchan").unwrap_or_default();
    // Where the kernel is built without it there is none.
    let sched = file("schedstat").unwrap_or_default();
    parse(&status, &call, &wchan, &sched).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("/proc/self/task/{tid}/status lacks a field"))
    })
}

fn parse(status: &str, call: &str, wchan: &str, sched: &str) -> Option<Task> {
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name))?.strip_prefix(':').map(str::trim)
    };
    let mut sched = sched.split_whitespace().map(|word| word.parse().unwrap_or(0));
    Some(Task {
        state: field("State")?.chars().next()?,
        call: call_of(call),
        wchan: Some(wchan.trim()).filter(|name| !name.is_empty() && *name != "0").map(str::to_owned),
        voluntary: field("voluntary_ctxt_switches")?.parse().ok()?,
        involuntary: field("nonvoluntary_ctxt_switches")?.parse().ok()?,
        ran_ns: sched.next().unwrap_or(0),
        queued_ns: sched.next().unwrap_or(0),
    })
}

/// A call that this kernel does not name.
pub const HIDDEN: &str = "?";

/// `running`, or a number and its arguments; -1 is asleep outside of any call (a page fault).
fn call_of(line: &str) -> Option<String> {
    if line == HIDDEN {
        return Some(HIDDEN.to_owned());
    }
    let number: i64 = line.split_whitespace().next()?.parse().ok()?;
    let unknown = || format!("system call {number}");
    (number >= 0).then(|| name_of(number).map_or_else(unknown, str::to_owned))
}

/// Whether the call is one of these, whatever the C library and the machine make of its name.
pub fn is_in(task: &Task, calls: &[&str]) -> bool {
    task.state == 'S' && task.call.as_deref().is_some_and(|call| call == HIDDEN || calls.contains(&call))
}

/// The names under which a thread may sleep in epoll_wait.
pub const EPOLL_WAIT: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2"];
/// In poll.
pub const POLL: &[&str] = &["poll", "ppoll"];
/// In read and recv.
pub const READ: &[&str] = &["read", "recvfrom"];
/// In accept.
pub const ACCEPT: &[&str] = &["accept", "accept4"];

/// A thread of the lab with its number.
pub struct Thread<T> {
    /// Its number for the kernel.
    pub tid: i32,
    handle: JoinHandle<T>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts it. The name (at most 15 bytes) is what `ps -L` and strace show.
    ///
    /// # Errors
    /// WouldBlock: no thread can be had.
    pub fn start(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<Self> {
        let (tell, told) = mpsc::channel();
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _ = tell.send(rustix::thread::gettid().as_raw_nonzero().get());
            work()
        })?;
        let tid = told.recv().map_err(|_| io::Error::other("a thread of the lab did not start"))?;
        Ok(Thread { tid, handle })
    }

    /// Waits until it sleeps in one of `calls`, and looks at it then.
    ///
    /// # Errors
    /// TimedOut: it does not.
    pub fn asleep_in(&self, calls: &[&str]) -> io::Result<Task> {
        super::kit::until(&format!("a thread to sleep in {}", calls[0]), || {
            Ok(is_in(&look(self.tid)?, calls))
        })?;
        // Once more: its state says "asleep" a moment before it has left the processor and is counted as such.
        look(self.tid)
    }

    /// What it came to. To be called once it has been woken for the last time.
    ///
    /// # Errors
    /// Other: it panicked.
    pub fn join(self) -> io::Result<T> {
        self.handle.join().map_err(|_| io::Error::other("a thread of the lab panicked"))
    }
}

/// Long enough for a thread that would wake up to do so.
pub const QUIET: Duration = Duration::from_millis(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_is_read_from_proc() {
        let status =
            "Name:\tx\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t2\n";
        let number = (0..1000).find(|&number| name_of(number) == Some("read")).unwrap();
        let call = format!("{number} 0x3 0x7f 0x1 0x0 0x0 0x0 0x7ffd 0x7f09\n");
        let task = parse(status, &call, "wait_woken", "123 456 7\n").unwrap();
        assert!(is_in(&task, READ) && !is_in(&task, POLL));
        assert_eq!(task.wchan.as_deref(), Some("wait_woken"));
        assert_eq!((task.voluntary, task.involuntary, task.ran_ns, task.queued_ns), (7, 2, 123, 456));
    }

    #[test]
    fn a_running_thread_is_in_no_call() {
        let status = "State:\tR (running)\nvoluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n";
        let task = parse(status, "running\n", "0", "").unwrap();
        assert_eq!((task.state, &task.call, &task.wchan), ('R', &None, &None));
        assert_eq!(call_of("-1 0x7ffd 0x7f09\n"), None);
        assert!(is_in(&Task { state: 'S', call: Some(HIDDEN.to_owned()), ..task.clone() }, POLL));
        assert_eq!(call_of("999 0x0\n").as_deref(), Some("system call 999"));
        assert_eq!(parse("State:\tS\n", "", "", ""), None);
    }
}
