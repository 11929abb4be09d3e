//! What the main thread waits for: signals, and for the blocking models a connection to accept.

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What happened while [`Control::wait`] waited. Nothing set: the time was over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Woken {
    /// SIGTERM, or a first SIGINT: end gracefully.
    pub stop: bool,
    /// A SIGINT while ending: end now.
    pub now: bool,
    /// A child process has ended.
    pub child: bool,
    /// SIGUSR1: tell what has been counted.
    pub tell: bool,
    /// The descriptor that was given is readable.
    pub readable: bool,
}

/// The signals of a server, each on a pipe of its own so that SIGINTs are counted.
pub struct Control {
    terminate: UnixStream,
    interrupt: UnixStream,
    child: UnixStream,
    tell: UnixStream,
    stopping: bool,
}

impl Control {
    /// From now on SIGTERM, SIGINT, SIGCHLD and SIGUSR1 come here.
    pub fn new() -> io::Result<Self> {
        Ok(Control {
            terminate: pipe(SIGTERM)?,
            interrupt: pipe(SIGINT)?,
            child: pipe(SIGCHLD)?,
            tell: pipe(SIGUSR1)?,
            stopping: false,
        })
    }

    /// Waits for a signal, for `source` to be readable, or for `limit` to be over.
    pub fn wait(&mut self, source: Option<BorrowedFd<'_>>, limit: Option<Duration>) -> io::Result<Woken> {
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let flags = PollFlags::IN;
        let mut fds = [
            PollFd::from_borrowed_fd(self.terminate.as_fd(), flags),
            PollFd::from_borrowed_fd(self.interrupt.as_fd(), flags),
            PollFd::from_borrowed_fd(self.child.as_fd(), flags),
            PollFd::from_borrowed_fd(self.tell.as_fd(), flags),
            PollFd::from_borrowed_fd(source.unwrap_or(self.child.as_fd()), flags),
        ];
        let count = 4 + usize::from(source.is_some());
        match rustix::event::poll(&mut fds[..count], limit.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Woken::default()), // the signal is in its pipe: next time
            Err(error) => return Err(error.into()),
        }
        let [terminated, interrupted, child, tell, readable] = fds.map(|fd| !fd.revents().is_empty());
        let mut woken = Woken {
            child: child && drain(&self.child) > 0,
            tell: tell && drain(&self.tell) > 0,
            readable: readable && source.is_some(),
            ..Woken::default()
        };
        if terminated && drain(&self.terminate) > 0 {
            woken.stop = !self.stopping;
            self.stopping = true;
        }
        if interrupted {
            let count = drain(&self.interrupt);
            woken.now = count > 1 || (count == 1 && self.stopping);
            woken.stop |= count > 0 && !self.stopping;
            self.stopping |= count > 0;
        }
        Ok(woken)
    }
}

fn pipe(signo: i32) -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signo, sender)?;
    Ok(receiver)
}

/// Empties the pipe; gives how many signals there were.
fn drain(mut pipe: &UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut total = 0;
    while let Ok(count @ 1..) = pipe.read(&mut bytes) {
        total += count;
    }
    total
}
