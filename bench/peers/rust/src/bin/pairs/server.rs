//! Processes, and what the scheduler charged them.

use crate::Outcome;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(10);

/// The processors there are.
pub struct Processors(CpuSet);

impl Processors {
    /// Those this process may use; ask before the first `pin_..`.
    pub fn allowed() -> Outcome<Self> {
        Ok(Processors(sched_getaffinity(None)?))
    }

    /// From here on this process, and what it starts, runs on the first of them.
    pub fn pin_to_first(&self) -> Outcome<()> {
        Self::pin(self.each().next())
    }

    /// The same for the last.
    pub fn pin_to_last(&self) -> Outcome<()> {
        Self::pin(self.each().next_back())
    }

    pub fn count(&self) -> usize {
        self.each().count()
    }

    fn each(&self) -> impl DoubleEndedIterator<Item = usize> {
        (0..CpuSet::MAX_CPU).filter(|at| self.0.is_set(*at))
    }

    fn pin(chosen: Option<usize>) -> Outcome<()> {
        let mut only = CpuSet::new();
        only.set(chosen.ok_or("no processor to run on")?);
        Ok(sched_setaffinity(None, &only)?)
    }
}

/// A server that listens.
pub struct Server {
    pub name: String,
    pub port: u16,
    child: Child,
}

impl Server {
    pub fn start(name: &str, command: &str) -> Outcome<Self> {
        // Free a moment ago; whoever takes it meanwhile is noticed below.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let command = command.replace("{port}", &port.to_string());
        let words = command.split_whitespace();
        // Whatever ends this program ends the server too.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                format!("{name}: '{command}' does not start (setpriv is in util-linux): {error}")
            })?;
        let mut server = Server { name: name.to_owned(), port, child };
        let until = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("{name}: '{command}' ended before it listened: {status}").into());
            }
            if Instant::now() > until {
                return Err(format!("{name}: '{command}' does not listen on port {port}").into());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// So far, its threads together.
    pub fn usage(&self) -> Outcome<Usage> {
        Usage::of(self.child.id()).map_err(|error| format!("{}: has it ended? {error}", self.name).into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process's time, in nanoseconds.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Running: other programs' time is not in it, the cold caches they leave are.
    pub run_ns: u64,
    /// Ready to run while the processor was somebody else's.
    pub wait_ns: u64,
}

impl Usage {
    /// /proc/PID/task/*/schedstat (Linux's Documentation/scheduler/sched-stats.rst). It is brought up to date when a
    /// thread goes to sleep, so give them a moment.
    pub fn of(pid: u32) -> Outcome<Self> {
        let mut sum = Usage::default();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            let mut fields = text.split_whitespace().map(str::parse::<u64>);
            let mut next = || fields.next().ok_or("schedstat is cut short");
            sum.run_ns += next()??;
            sum.wait_ns += next()??;
        }
        Ok(sum)
    }

    pub fn since(self, before: Usage) -> Self {
        Usage { run_ns: self.run_ns - before.run_ns, wait_ns: self.wait_ns - before.wait_ns }
    }
}
