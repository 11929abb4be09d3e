//! The ring itself: opening, pushing, entering, and not touching it in a forked child.

use crate::backend::{BackendKind, Unavailable};
use crate::fork_guard::ForkGuard;
use crate::syscall::describe;
use duolu_core::Errno;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, squeue};
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;

/// So many requests can be pushed before they must be submitted.
const SUBMISSIONS: u32 = 256;
/// Completions that the shared memory holds; what is more waits in the kernel and is fetched with a further call.
const COMPLETIONS: u32 = 4096;
/// The same where streams' receives and sends go that way too: several for each poll.
const MANY_SUBMISSIONS: u32 = 2048;
const MANY_COMPLETIONS: u32 = 16 * 1024;
/// Waiting is not waiting for a disk: do not count it as such (IORING_ENTER_NO_IOWAIT, Linux 6.15).
const NO_IOWAIT: u32 = EnterFlags::NO_IOWAIT.bits();

/// An io_uring for poll requests and, with `lanes`, for moving bytes.
pub(super) struct Ring {
    uring: IoUring,
    /// The shared memory is shared with a forked child too; a child must not move heads and tails in it.
    guard: ForkGuard,
    enter_flags: u32,
}

impl Ring {
    /// Opens a ring, or says in one line why this machine gives none.
    pub(super) fn open(lanes: bool) -> Result<Self, Unavailable> {
        let unavailable = |reason| Unavailable { kind: BackendKind::IoUring, reason };
        let uring = build(lanes).map_err(|error| unavailable(setup_reason(errno_of(&error))))?;
        let params = uring.params();
        if !(params.is_feature_ext_arg()
            && params.is_feature_nodrop()
            && params.is_feature_skip_cqe_on_success())
        {
            return Err(unavailable("the kernel is older than Linux 5.17; use epoll".to_owned()));
        }
        let guard = ForkGuard::new().map_err(|e| unavailable(format!("madvise: {}", describe(e))))?;
        let enter_flags = if params.is_feature_no_iowait() { NO_IOWAIT } else { 0 };
        let mut ring = Ring { uring, guard, enter_flags };
        // A filter may let io_uring_setup through and refuse this.
        ring.enter(0, Some(0)).map_err(|e| {
            unavailable(format!("io_uring_enter: {}; a seccomp filter blocks it", describe(e)))
        })?;
        Ok(ring)
    }

    /// Whether this is a child of the process that opened the ring: then nothing but dropping is allowed.
    #[inline]
    pub(super) fn forked(&self) -> bool {
        self.guard.forked()
    }

    /// Pushes a request; it goes out with the next `enter`, or now where the queue is full.
    pub(super) fn push(&mut self, request: &squeue::Entry) -> Result<(), Errno> {
        if self.try_push(request) {
            return Ok(());
        }
        self.submit()?;
        if self.try_push(request) { Ok(()) } else { Err(Errno(libc::EAGAIN)) }
    }

    fn try_push(&mut self, request: &squeue::Entry) -> bool {
        // SAFETY: these requests refer to no memory: polls, cancellations, and receives into provided buffers, which
        // `Buffers` keeps until the kernel has given them back.
        unsafe { self.uring.submission().push(request) }.is_ok()
    }

    /// As `push`.
    ///
    /// # Safety
    /// The memory that the request refers to stays valid and unchanged until its completion has come, or for ever.
    pub(super) unsafe fn push_with_memory(&mut self, request: &squeue::Entry) -> Result<(), Errno> {
        // The same push: what differs is what the caller promises.
        self.push(request)
    }

    /// Requests that were pushed and that the kernel has not taken.
    pub(super) fn unsubmitted(&mut self) -> usize {
        self.uring.submission().len()
    }

    /// Whether nothing waits: neither requests for the kernel nor completions for us.
    pub(super) fn is_empty(&mut self) -> bool {
        self.unsubmitted() == 0 && !self.has_completions()
    }

    /// For registering and unregistering buffers.
    pub(super) fn uring(&self) -> &IoUring {
        &self.uring
    }

    /// Hands over what was pushed, without waiting.
    pub(super) fn submit(&mut self) -> Result<(), Errno> {
        self.uring.submit().map(drop).map_err(|error| errno_of(&error))
    }

    /// Hands over what was pushed and waits until the completion queue holds `want`, or the time is over. One
    /// system call. ETIME and EINTR are errors here only if nothing was handed over: the kernel's answer is
    /// the number of requests otherwise.
    pub(super) fn enter(&mut self, want: usize, timeout_ns: Option<u64>) -> Result<(), Errno> {
        let pushed = self.uring.submission().len() as u32;
        let flags = EnterFlags::GETEVENTS.bits() | EnterFlags::EXT_ARG.bits() | self.enter_flags;
        let timeout =
            timeout_ns.map(|ns| Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32));
        let args = match &timeout {
            Some(timeout) => SubmitArgs::new().timespec(timeout),
            None => SubmitArgs::new(),
        };
        let want = if timeout_ns == Some(0) { 0 } else { want as u32 };
        // SAFETY: `args` is what EXT_ARG says it is, and it and the timeout outlive the call.
        unsafe { self.uring.submitter().enter(pushed, want, flags, Some(&args)) }
            .map(drop)
            .map_err(|error| errno_of(&error))
    }

    /// What is in the completion queue now.
    pub(super) fn next(&mut self) -> Option<cqueue::Entry> {
        self.uring.completion().next()
    }

    /// Whether the kernel keeps completions that did not fit: `enter` brings them.
    pub(super) fn overflowed(&mut self) -> bool {
        self.uring.submission().cq_overflow()
    }

    /// Whether there are completions that nobody has looked at.
    pub(super) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.overflowed()
    }

    /// From now on every completion is counted in `eventfd`.
    pub(super) fn announce_to(&self, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.uring.submitter().register_eventfd(eventfd.as_raw_fd()).map_err(|error| errno_of(&error))
    }
}

/// With COOP_TASKRUN (Linux 5.19) a completion does not interrupt the thread in user space; it is noted at its
/// next way through the kernel. Not with DEFER_TASKRUN and SINGLE_ISSUER: a loop may be made in one thread and run
/// in another, and completions must be in the queue *before* the wait (trap (d) of the parent module).
fn build(lanes: bool) -> io::Result<IoUring> {
    let (submissions, completions) =
        if lanes { (MANY_SUBMISSIONS, MANY_COMPLETIONS) } else { (SUBMISSIONS, COMPLETIONS) };
    let modern = IoUring::builder()
        .setup_cqsize(completions)
        .setup_clamp()
        .setup_submit_all()
        .setup_coop_taskrun()
        .build(submissions);
    match modern {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            IoUring::builder().setup_cqsize(completions).setup_clamp().build(submissions)
        }
        other => other,
    }
}

/// Whether the kernel has multishot receives, which came with this flag (Linux 6.0).
pub(super) fn has_multishot_receive() -> bool {
    let probe: io::Result<IoUring> = IoUring::builder().setup_single_issuer().build(1);
    !matches!(probe, Err(error) if error.raw_os_error() == Some(libc::EINVAL))
}

fn errno_of(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

fn setup_reason(errno: Errno) -> String {
    let why = match errno.0 {
        libc::ENOSYS => {
            "the kernel is older than Linux 5.1 or built without it, or a seccomp filter hides it"
        }
        libc::EPERM | libc::EACCES => match disabled_by_sysctl() {
            Some('0') => "a container's seccomp filter or a security module blocks it",
            Some(_) => "the sysctl kernel.io_uring_disabled blocks it",
            None => "a container's seccomp filter or kernel.io_uring_disabled blocks it",
        },
        libc::ENOMEM => "out of memory, or of RLIMIT_MEMLOCK before Linux 5.12",
        libc::EMFILE => "this process is out of descriptors, raise RLIMIT_NOFILE",
        libc::ENFILE => "the machine is out of descriptors, raise fs.file-max",
        libc::EINVAL => "the kernel is older than Linux 5.17; use epoll",
        _ => return format!("io_uring_setup: {}", describe(errno)),
    };
    format!("io_uring_setup: {}; {why}", describe(errno))
}

fn disabled_by_sysctl() -> Option<char> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_call_the_error_and_the_likely_cause() {
        assert_eq!(
            setup_reason(Errno(libc::ENOSYS)),
            "io_uring_setup: ENOSYS; the kernel is older than Linux 5.1 or built without it, or a seccomp filter hides it"
        );
        assert!(setup_reason(Errno(libc::EPERM)).starts_with("io_uring_setup: EPERM; "));
        assert!(setup_reason(Errno(libc::EMFILE)).contains("RLIMIT_NOFILE"));
    }
}
