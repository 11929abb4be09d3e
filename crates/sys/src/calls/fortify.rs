//! What the C library does about FD_SET past 1,023, tried in a child process.
//!
//! A program compiled with _FORTIFY_SOURCE (most distributions' are) has glibc check the number in every FD_SET:
//! `__fdelt_chk`, which gives the word's index, or ends the process. Without it FD_SET writes past the set's end. Only
//! the former can be shown without harm.
//!
//! Traps:
//! (a) The child of a program with threads may make async-signal-safe calls only; aborting is one by the standard, but
//!     glibc prints a message before. Should that hang on a lock that another thread held, the parent ends it.
//! (b) abort raises SIGABRT, whose default leaves a core dump: the child first says that it wants none.

use crate::process::{Ended, Fork, exit_now, fork, kill, signal_when_parent_ends, try_wait, wait};
use crate::socket::{pipe, read};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// How the child that tried ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fortified {
    /// Code 0: the number was taken. Signal 6 (SIGABRT): refused.
    pub ended: Ended,
    /// What the C library said on stderr.
    pub said: String,
}

/// Has glibc check the descriptor number `fd` as a fortified FD_SET does, in a forked child. `None` where the C library
/// has no such check (musl).
///
/// # Errors
/// EAGAIN, ENOMEM: no child can be had. TimedOut: it did not end within two seconds.
pub fn fd_set_fortified(fd: i32) -> io::Result<Option<Fortified>> {
    // SAFETY: a name that ends with a zero byte, looked for in what is loaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__fdelt_chk".as_ptr()) };
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: glibc's function of this name takes and gives a long (its ABI since 2.15).
    let check: extern "C" fn(libc::c_long) -> libc::c_long = unsafe { std::mem::transmute(found) };
    let (stderr, its_end) = pipe()?;
    let parent = std::process::id();
    // SAFETY: the child makes async-signal-safe calls and glibc's check (trap (a)), and leaves by exit_now.
    let child = match unsafe { fork() }? {
        Fork::Child => {
            if signal_when_parent_ends(libc::SIGKILL, parent).is_err() {
                exit_now(2);
            }
            let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: integers and one rlimit that is read (trap (b)); the pipe is open, and 2 is the child's own.
            unsafe {
                libc::setrlimit(libc::RLIMIT_CORE, &no_core);
                libc::prctl(libc::PR_SET_DUMPABLE, 0 as libc::c_ulong);
                libc::dup2(its_end.as_raw_fd(), 2);
            }
            check(libc::c_long::from(fd));
            exit_now(0);
        }
        Fork::Parent(child) => child,
    };
    drop(its_end);
    let ended = wait_briefly(child)?;
    Ok(Some(Fortified { ended, said: rest_of(stderr.as_fd()) }))
}

/// Trap (a).
fn wait_briefly(child: u32) -> io::Result<Ended> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if let Some(ended) = try_wait(child)? {
            return Ok(ended);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let _ = kill(child, libc::SIGKILL);
    wait(child)?;
    Err(io::Error::new(io::ErrorKind::TimedOut, "the forked child hung, and was ended"))
}

fn rest_of(pipe: BorrowedFd<'_>) -> String {
    let mut text = [0; 512];
    let length = read(pipe, &mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..length]).trim().to_owned()
}
