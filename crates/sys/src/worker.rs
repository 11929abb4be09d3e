//! Worker processes of a server: forking them so that they end with it, and memory that all of them see.
//!
//! Traps:
//! (a) A signal between fork and the child's own signal set-up runs the parent's handler in the child; if that
//!     handler writes to a pipe, the parent sees a signal that it was never sent. So signals are blocked around.
//! (b) A handler installed with SA_RESTART does not end a blocking read or accept: the nudge has none.

use crate::process::{Fork, exit_now, fork_alone, signal_when_parent_ends};
use crate::sync::atomic::AtomicU64;
use std::io;
use std::ptr;

/// Forks a worker, as [`fork_alone`]. In the child SIGINT is ignored (a terminal sends it to the whole group; the
/// parent decides), SIGTERM ends whatever call blocks and does nothing else (the parent's nudge to look around),
/// SIGCHLD is the default's, and SIGKILL comes when the parent ends.
///
/// # Errors
/// As [`fork_alone`]: EAGAIN when RLIMIT_NPROC or the cgroup's pids.max is used up, ENOMEM, Unsupported where the
/// process has other threads.
pub fn fork_worker() -> io::Result<Fork> {
    let parent = std::process::id();
    let mask = block_signals();
    let forked = fork_alone();
    if let Ok(Fork::Child) = forked {
        settle_in_child(parent);
    }
    // SAFETY: `mask` is what pthread_sigmask gave; nothing is written.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &mask, ptr::null_mut()) };
    forked
}

/// Blocks every signal (trap a); gives the mask as it was.
fn block_signals() -> libc::sigset_t {
    // SAFETY: the sets are plain data; sigfillset and pthread_sigmask fill them in before they are read.
    unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old);
        old
    }
}

fn settle_in_child(parent: u32) {
    if signal_when_parent_ends(libc::SIGKILL, parent).is_err() {
        exit_now(1); // it has ended already
    }
    let nudge: extern "C" fn(libc::c_int) = nudged;
    set_disposition(libc::SIGINT, libc::SIG_IGN);
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    set_disposition(libc::SIGTERM, nudge as libc::sighandler_t);
}

extern "C" fn nudged(_signo: libc::c_int) {}

fn set_disposition(signo: libc::c_int, handler: libc::sighandler_t) {
    // SAFETY: the struct is plain data, all of it written before the call: a handler that is SIG_IGN, SIG_DFL or
    // a function that does nothing, an empty mask, and no flags, so no SA_RESTART (trap b).
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signo, &action, ptr::null_mut());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::atomic::Ordering;

    #[test]
    fn shared_words_start_at_zero_and_count() {
        let words = shared_words(16).unwrap();
        assert_eq!(words.len(), 16);
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        words[15].fetch_add(3, Ordering::Relaxed);
        assert_eq!(words[15].load(Ordering::Relaxed), 3);
    }

    #[test]
    fn nobody_forks_beside_other_threads_and_the_mask_is_put_back() {
        // The test harness runs this beside its main thread.
        assert_eq!(fork_worker().unwrap_err().kind(), io::ErrorKind::Unsupported);
        let before = block_signals();
        // SAFETY: a set that pthread_sigmask filled in.
        let blocked = unsafe { libc::sigismember(&before, libc::SIGUSR1) };
        // SAFETY: as above; nothing is written.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut()) };
        assert_eq!(blocked, 0);
    }
}
