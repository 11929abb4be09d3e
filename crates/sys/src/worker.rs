//! Worker processes: forking them, counting what they do, and the sockets a service manager left open for us.
//!
//! Traps, referred to below:
//! (a) fork copies one thread only. A lock that another thread held at that moment stays locked in the child
//!     for ever. [`Forker`] is only given to a process of one thread.
//! (b) A signal between fork and the child's own signal set-up runs the parent's handler in the child; if that
//!     handler writes to a pipe, the parent sees a signal that it was never sent. So signals are blocked around.
//! (c) PR_SET_PDEATHSIG asks for a signal when the parent dies, but the parent may be dead already.
//! (d) A handler installed with SA_RESTART does not end a blocking read or accept: the nudge has none.

use std::io;
use std::marker::PhantomData;
use std::net::TcpListener;
use std::os::fd::FromRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A process that [`Forker::fork`] started, as its parent knows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChildId(libc::pid_t);

impl ChildId {
    /// The process id.
    pub const fn pid(self) -> i32 {
        self.0
    }
}

/// Which side of the fork this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fork {
    /// The parent, and the child's id.
    Parent(ChildId),
    /// The child. It ends with [`exit_now`], so that nothing of the parent's is flushed or run twice.
    Child,
}

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It called exit with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

/// The right to fork, for a process of one thread (trap a). Neither Send nor Sync.
#[derive(Debug)]
pub struct Forker {
    not_send: PhantomData<*const ()>,
}

impl Forker {
    /// Checks that the process has one thread. The caller starts no other while it forks.
    ///
    /// # Errors
    /// When there are more threads (of kind `Unsupported`), or /proc/self/task cannot be read.
    pub fn new() -> io::Result<Self> {
        let threads = std::fs::read_dir("/proc/self/task")?.count();
        if threads != 1 {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("fork needs a process of one thread, this one has {threads}"),
            ));
        }
        Ok(Forker { not_send: PhantomData })
    }

    /// Forks a worker. In the child: SIGINT is ignored (a terminal sends it to the whole group; the parent
    /// decides), SIGTERM ends whatever call blocks and does nothing else (the parent's nudge to look around),
    /// SIGCHLD is the default's, and the child is killed when the parent dies.
    ///
    /// # Errors
    /// EAGAIN: the user's processes (RLIMIT_NPROC) or the cgroup's pids.max are used up; ENOMEM.
    pub fn fork(&self) -> io::Result<Fork> {
        let parent = std::process::id() as libc::pid_t;
        // SAFETY: the sets are plain data that sigfillset and pthread_sigmask fill in before they are read.
        let old = unsafe {
            let (mut all, mut old): (libc::sigset_t, libc::sigset_t) =
                (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
            old
        };
        // SAFETY: fork itself touches no memory of ours. The process has one thread (checked by `new`), so the
        // child's copy of every lock is free or its own, and the child may run any code (trap a).
        let pid = unsafe { libc::fork() };
        let error = io::Error::last_os_error();
        if pid == 0 {
            settle_in_child(parent);
        }
        // SAFETY: `old` is the mask that pthread_sigmask gave above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, ptr::null_mut()) };
        match pid {
            0 => Ok(Fork::Child),
            -1 => Err(error),
            pid => Ok(Fork::Parent(ChildId(pid))),
        }
    }

    /// Takes one child that has ended out of the process table, if there is one. Never blocks.
    pub fn reap(&self) -> Option<(ChildId, Ended)> {
        let mut status = 0;
        // SAFETY: waitpid writes one int to the local `status`.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return None;
        }
        let ended = if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        };
        Some((ChildId(pid), ended))
    }

    /// Ends the blocking call that the child is in, if any (SIGTERM). A child not yet reaped keeps its id, so
    /// this cannot reach a stranger.
    pub fn nudge(&self, child: ChildId) {
        // SAFETY: kill takes two integers; `child` is a child of ours.
        unsafe { libc::kill(child.0, libc::SIGTERM) };
    }

    /// Ends the child at once (SIGKILL).
    pub fn kill(&self, child: ChildId) {
        // SAFETY: as in `nudge`.
        unsafe { libc::kill(child.0, libc::SIGKILL) };
    }
}

fn settle_in_child(parent: libc::pid_t) {
    // SAFETY: integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: no arguments.
    if unsafe { libc::getppid() } != parent {
        exit_now(1); // trap (c)
    }
    set_disposition(libc::SIGINT, libc::SIG_IGN);
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    let nudge: extern "C" fn(libc::c_int) = nudged;
    set_disposition(libc::SIGTERM, nudge as libc::sighandler_t);
}

extern "C" fn nudged(_signo: libc::c_int) {}

fn set_disposition(signo: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the struct is plain data, all of it written before the call: a handler that is SIG_IGN, SIG_DFL or
    // a function that does nothing, an empty mask, and no flags, so no SA_RESTART (trap d).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signo, &action, ptr::null_mut());
    }
}

/// Ends the process without running anything: no destructors, no atexit functions, no flushing of buffers that
/// were copied from the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and touches nothing of ours.
    unsafe { libc::_exit(code) }
}

/// `count` zeroed words that this process and the children it forks later all see. Never given back.
///
/// # Errors
/// ENOMEM.
pub fn shared_words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let bytes = count.max(1).checked_mul(8).ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a new anonymous mapping, at an address of the kernel's choice.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, zeroed (a valid AtomicU64), `bytes` long, nobody else knows it and it
    // is never unmapped. Other processes reach it through atomic operations only.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), count) })
}

/// The listening sockets that a service manager left open for this process (sd_listen_fds(3)): descriptors from 3
/// on, LISTEN_FDS of them, if LISTEN_PID names this process. The first call takes them, later ones get none.
///
/// # Errors
/// When the variables make no sense, or a descriptor is no listening stream socket: the message names it.
pub fn inherited_listeners() -> io::Result<Vec<TcpListener>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    const FIRST: i32 = 3;
    const MOST: i32 = 1024;
    let is_ours = std::env::var("LISTEN_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
    if !is_ours || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let text = std::env::var("LISTEN_FDS").unwrap_or_default();
    let count = text.parse::<i32>().ok().filter(|count| (0..=MOST).contains(count)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("LISTEN_FDS='{text}' is not a number of sockets"))
    })?;
    (FIRST..FIRST + count).map(take_listener).collect()
}

fn take_listener(fd: i32) -> io::Result<TcpListener> {
    if option(fd, libc::SO_ACCEPTCONN) != Some(1) || option(fd, libc::SO_TYPE) != Some(libc::SOCK_STREAM) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("descriptor {fd} (of LISTEN_FDS) is not a listening stream socket"),
        ));
    }
    // SAFETY: fcntl on a descriptor that was just found open.
    unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the descriptor is open, a socket, and ours by the sd_listen_fds contract (LISTEN_PID names us);
    // `inherited_listeners` takes each once only.
    Ok(unsafe { TcpListener::from_raw_fd(fd) })
}

fn option(fd: i32, name: libc::c_int) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: getsockopt writes at most `length` bytes to the local `value`; a bad descriptor is an error.
    let outcome = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast::<libc::c_void>(), &mut length)
    };
    (outcome == 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_words_start_at_zero_and_count() {
        let words = shared_words(16).unwrap();
        assert_eq!(words.len(), 16);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[15].fetch_add(3, Ordering::Relaxed);
        assert_eq!(words[15].load(Ordering::Relaxed), 3);
    }

    #[test]
    fn nobody_forks_in_a_process_of_several_threads() {
        // The test harness itself runs this in a second thread.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || receiver.recv());
        assert_eq!(Forker::new().unwrap_err().kind(), io::ErrorKind::Unsupported);
        drop(sender);
        let _ = other.join();
    }

    #[test]
    fn no_sockets_are_taken_without_listen_pid() {
        assert!(inherited_listeners().unwrap().is_empty());
    }
}
