//! A second process for experiments that need one: it has a copy of everything, and ends with us whatever happens.

use super::stage::Shown;
use duolu_sys::process::{Fork, exit_now, kill, thread_count, try_wait, wait};
use duolu_sys::socket;
use duolu_sys::worker::fork_worker;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const SIGKILL: i32 = 9;

/// A forked process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    /// The child ends when this is closed.
    line: Option<OwnedFd>,
}

impl Child {
    /// Forks. The child does `work`, holds what it inherited until it is told to end, and never returns.
    ///
    /// # Errors
    /// EAGAIN, ENOMEM: no more processes. Unsupported: this process has other threads.
    pub fn fork(work: impl FnOnce()) -> io::Result<Self> {
        let (hears, line) = socket::pipe()?;
        wait_until_alone()?;
        match fork_worker()? {
            Fork::Parent(pid) => Ok(Child { pid, line: Some(line) }),
            Fork::Child => {
                drop(line);
                // A panic must not unwind into what is the parent's business.
                let done = catch_unwind(AssertUnwindSafe(|| {
                    work();
                    hold_until_closed(&hears);
                }));
                exit_now(if done.is_ok() { 0 } else { 101 })
            }
        }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it to end and waits until it has. One that is still at its work after a while is ended.
    pub fn end(mut self) -> io::Result<()> {
        self.line = None;
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            if try_wait(self.pid)?.is_some() {
                self.pid = 0;
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pid != 0 {
            let _ = kill(self.pid, SIGKILL);
            let _ = wait(self.pid);
        }
    }
}

impl Shown for Child {
    fn shown(&self) -> String {
        format!("child {}", self.pid)
    }
}

/// A thread that was joined may be counted for another moment.
fn wait_until_alone() -> io::Result<()> {
    let end = Instant::now() + Duration::from_millis(500);
    while thread_count()? != 1 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn hold_until_closed(line: &OwnedFd) {
    loop {
        let mut fds = [rustix::event::PollFd::new(line, rustix::event::PollFlags::IN)];
        let _ = rustix::event::poll(&mut fds, None);
        match socket::read(line, &mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
}
