//! System calls by their numbers: what a thread is in, as /proc/PID/task/TID/syscall tells it (proc(5)).
//!
//! Traps:
//! (a) Numbers are the architecture's own, and newer architectures never had the older calls (epoll_wait, poll, select).
//! (b) A 32-bit program on a 64-bit kernel has other numbers: do not ask about one.
//! (c) restart_syscall stands for the call that a signal or a stop had interrupted; which one it was is not told.

/// What kind of waiting a call is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum CallKind {
    /// For any of the descriptors of an epoll instance, which is the first argument.
    Epoll,
    /// For any of some descriptors: an array of struct pollfd, and its length.
    Poll,
    /// For any of some descriptors: one more than the highest, then three sets of bits.
    Select,
    /// For completions (or a place) of the io_uring that is the first argument.
    Ring,
    /// For a connection at the listening socket that is the first argument.
    Accept,
    /// For a connection to be made by the socket that is the first argument.
    Connect,
    /// For data from the descriptor that is the first argument.
    Read,
    /// For room in the descriptor that is the first argument.
    Write,
    /// For another thread.
    Futex,
    /// For time to pass.
    Sleep,
    /// For a child process to end.
    Child,
    /// For a signal.
    Signal,
    /// For a disk.
    Disk,
    /// For something else.
    Other,
}

/// The name and the kind of a system call of this architecture. `None`: none of those that servers are found in.
pub fn call(number: i64) -> Option<(&'static str, CallKind)> {
    old(number).or_else(|| common(number))
}

/// The name alone.
pub fn name_of(number: i64) -> Option<&'static str> {
    call(number).map(|(name, _)| name)
}

macro_rules! calls {
    ($number:expr, $($constant:ident $kind:ident),* $(,)?) => {
        match $number {
            $(libc::$constant => Some((stringify!($constant).trim_start_matches("SYS_"), CallKind::$kind)),)*
            _ => None,
        }
    };
}

/// Trap (a).
#[cfg(target_arch = "x86_64")]
fn old(number: i64) -> Option<(&'static str, CallKind)> {
    calls!(
        number,
        SYS_epoll_wait Epoll,
        SYS_poll Poll,
        SYS_select Select,
        SYS_pause Signal,
        SYS_open Disk,
        SYS_stat Disk,
    )
}

#[cfg(not(target_arch = "x86_64"))]
fn old(_: i64) -> Option<(&'static str, CallKind)> {
    None
}

fn common(number: i64) -> Option<(&'static str, CallKind)> {
    calls!(
        number,
        SYS_epoll_pwait Epoll,
        SYS_epoll_pwait2 Epoll,
        SYS_ppoll Poll,
        SYS_pselect6 Select,
        SYS_io_uring_enter Ring,
        SYS_accept Accept,
        SYS_accept4 Accept,
        SYS_connect Connect,
        SYS_read Read,
        SYS_readv Read,
        SYS_recvfrom Read,
        SYS_recvmsg Read,
        SYS_recvmmsg Read,
        SYS_write Write,
        SYS_writev Write,
        SYS_sendto Write,
        SYS_sendmsg Write,
        SYS_sendmmsg Write,
        SYS_sendfile Write,
        SYS_futex Futex,
        SYS_futex_waitv Futex,
        SYS_nanosleep Sleep,
        SYS_clock_nanosleep Sleep,
        SYS_wait4 Child,
        SYS_waitid Child,
        SYS_rt_sigsuspend Signal,
        SYS_rt_sigtimedwait Signal,
        SYS_fsync Disk,
        SYS_fdatasync Disk,
        SYS_sync_file_range Disk,
        SYS_pread64 Disk,
        SYS_pwrite64 Disk,
        SYS_openat Disk,
        SYS_io_getevents Disk,
        SYS_flock Other,
        SYS_semop Other,
        SYS_semtimedop Other,
        SYS_splice Other,
        SYS_fcntl Other,
        SYS_madvise Other,
        SYS_munmap Other,
        SYS_sched_yield Other,
        SYS_restart_syscall Other,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_the_numbers_of_this_machine() {
        assert_eq!(call(libc::SYS_epoll_pwait), Some(("epoll_pwait", CallKind::Epoll)));
        assert_eq!(call(libc::SYS_accept4), Some(("accept4", CallKind::Accept)));
        assert_eq!(call(libc::SYS_recvfrom), Some(("recvfrom", CallKind::Read)));
        assert_eq!(call(-1), None, "a thread that is blocked outside of any call");
        assert_eq!(call(i64::MAX), None);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(
            [call(232), call(7), call(23)].map(|call| call.expect("known").0),
            ["epoll_wait", "poll", "select"]
        );
    }
}
