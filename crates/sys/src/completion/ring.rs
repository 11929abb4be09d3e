//! The ring itself: set up with as much as the kernel grants, filled, entered.

use super::Config;
use super::tags::{Op, Tag};
use crate::fork_guard::ForkGuard;
use crate::syscall;
use duolu_core::Errno;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};
use std::fmt;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Why there is no completion I/O on this machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unavailable {
    step: &'static str,
    errno: Errno,
}

impl Unavailable {
    pub(super) fn new(step: &'static str, errno: Errno) -> Self {
        Unavailable { step, errno }
    }
    /// The kernel's error.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.errno.0 {
            libc::ENOSYS => "this kernel is built without io_uring",
            libc::EPERM | libc::EACCES => {
                "io_uring is forbidden here: see the sysctl kernel.io_uring_disabled, or the seccomp filter of \
                 the container"
            }
            libc::EINVAL => "this kernel is too old: multishot receive needs Linux 6.0",
            libc::ENOMEM => {
                "the kernel has no memory for it: raise RLIMIT_MEMLOCK (ulimit -l), or use smaller queues"
            }
            libc::EMFILE | libc::ENFILE => "out of descriptors: raise RLIMIT_NOFILE (ulimit -n)",
            _ => "the kernel refused",
        };
        write!(f, "io_uring is not available: {why} ({}: {})", self.step, syscall::describe(self.errno))
    }
}

impl std::error::Error for Unavailable {}

fn errno(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}

/// How a sleep ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Woken {
    /// Something may be there.
    Maybe,
    /// The time is over, or a signal came.
    Early,
}

/// What a forked child is told: the ring is its parent's.
const NOT_OURS: Errno = Errno(libc::EBADFD);

/// One ring. Requests on connections are made here, so that nothing else has to know whether a slot is an
/// entry of the ring's own file table or a descriptor.
pub(super) struct Ring {
    /// Shared with the kernel and not mapped in a forked child (DONTFORK): every access there is a crash, and so is
    /// unmapping, where something else may lie by then. So everything below asks `guard` first.
    uring: ManuallyDrop<IoUring>,
    guard: ForkGuard,
    /// Whether connections live in the ring's own file table.
    pub direct: bool,
    /// Whether a send that went well makes no completion.
    pub skip: bool,
    /// Whether completions are made only while we wait for them (DEFER_TASKRUN).
    pub deferred: bool,
    wait_flags: EnterFlags,
    /// Set when the kernel would not take what is in the queue: the ring is never entered again.
    broken: Option<Errno>,
    /// Calls of io_uring_enter.
    pub enters: u64,
}

impl Ring {
    pub(super) fn open(config: &Config, companion: bool) -> Result<Self, Unavailable> {
        let guard = ForkGuard::new().map_err(|errno| Unavailable::new("madvise", errno))?;
        let (uring, deferred) = Self::set_up(config, companion)?;
        let uring = ManuallyDrop::new(uring);
        let direct = config.direct && uring.submitter().register_files_sparse(config.table()).is_ok();
        let mut wait_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if uring.params().is_feature_no_iowait() {
            // A loop that sleeps is not a disk that is slow: keep it out of the iowait figures.
            wait_flags |= EnterFlags::NO_IOWAIT;
        }
        // Before Linux 6.1 a short send that was to be whole (MSG_WAITALL) could say EAGAIN instead of how
        // much it had sent. DEFER_TASKRUN came with 6.1, so where it is refused sends complete visibly.
        let skip = config.skip_sends && deferred && uring.params().is_feature_skip_cqe_on_success();
        Ok(Ring { uring, guard, direct, skip, deferred, wait_flags, broken: None, enters: 0 })
    }

    fn set_up(config: &Config, companion: bool) -> Result<(IoUring, bool), Unavailable> {
        for deferred in [true, false] {
            if deferred && !config.defer {
                continue;
            }
            let mut builder = IoUring::builder();
            builder.setup_clamp().setup_cqsize(config.completions).setup_submit_all().dontfork();
            // Linux 6.0, as multishot receive: the flag tells whether the kernel is young enough.
            builder.setup_single_issuer();
            if deferred {
                builder.setup_defer_taskrun();
                if companion {
                    builder.setup_taskrun_flag();
                }
            } else {
                builder.setup_coop_taskrun().setup_taskrun_flag();
            }
            match builder.build(config.submissions) {
                Ok(uring) => return Ok((uring, deferred)),
                Err(e) if deferred && e.raw_os_error() == Some(libc::EINVAL) => {}
                Err(e) => return Err(Unavailable::new("io_uring_setup", errno(&e))),
            }
        }
        Err(Unavailable::new("io_uring_setup", Errno(libc::EINVAL)))
    }

    pub(super) fn uring(&self) -> &IoUring {
        &self.uring
    }

    /// Whether this is a child of the process that opened the ring: nothing but dropping works then.
    #[inline]
    pub(super) fn forked(&self) -> bool {
        self.guard.forked()
    }

    pub(super) fn broken(&self) -> Option<Errno> {
        self.broken.or(self.forked().then_some(NOT_OURS))
    }

    /// Puts a request into the queue; where that is full, hands it over to the kernel first.
    ///
    /// # Safety
    /// The memory that the entry points at stays valid and unchanged until the kernel is done with the request.
    unsafe fn push(&mut self, entry: &squeue::Entry) {
        if self.broken().is_some() {
            return;
        }
        // SAFETY: passed on to the caller.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            if self.submit().is_err() {
                return;
            }
        }
    }

    /// Hands everything in the queue to the kernel. After `Ok` the queue is empty.
    pub(super) fn submit(&mut self) -> Result<(), Errno> {
        self.enter(false, None).map(drop)
    }

    /// Hands everything in the queue to the kernel and, if `sleep`, waits for a completion. After `Ok` the
    /// queue is empty.
    pub(super) fn enter(&mut self, sleep: bool, timeout_ns: Option<u64>) -> Result<Woken, Errno> {
        if let Some(errno) = self.broken() {
            return Err(errno);
        }
        let mut patience = 0;
        loop {
            let result = self.enter_once(sleep, timeout_ns);
            let left = self.uring.submission().len();
            match result {
                Ok(()) if left == 0 => return Ok(Woken::Maybe),
                Err(Errno(libc::EINTR | libc::ETIME)) if left == 0 => return Ok(Woken::Early),
                Ok(()) | Err(Errno(libc::EINTR | libc::ETIME)) => {}
                // Out of memory for requests, or for completions that do not fit into their queue: wait for a
                // second at most. The kernel keeps what it has.
                Err(Errno(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) if patience < 1000 => {
                    patience += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(errno) => {
                    self.broken = Some(errno);
                    return Err(errno);
                }
            }
        }
    }

    fn enter_once(&mut self, sleep: bool, timeout_ns: Option<u64>) -> Result<(), Errno> {
        self.enters += 1;
        let count = self.uring.submission().len() as u32;
        let time;
        let mut args = SubmitArgs::new();
        if let Some(ns) = timeout_ns {
            time = Timespec::new().sec(ns / 1_000_000_000).nsec((ns % 1_000_000_000) as u32);
            args = args.timespec(&time);
        }
        // Deferred work and overflown completions only come with GETEVENTS, so that flag is always there
        // (with `want` 0 it does not sleep).
        let want = u32::from(sleep && timeout_ns != Some(0));
        // SAFETY: EXT_ARG goes with a `struct io_uring_getevents_arg`, of which `SubmitArgs` is a transparent
        // wrapper; it and the time live across the call.
        unsafe { self.uring.submitter().enter(count, want, self.wait_flags.bits(), Some(&args)) }
            .map(drop)
            .map_err(|e| errno(&e))
    }

    /// Whether an enter would find something: requests that are not handed over, work or completions that wait.
    /// Tells of deferred work only in a companion (`Role`).
    pub(super) fn has_work(&mut self) -> bool {
        if self.forked() {
            return false;
        }
        let submission = self.uring.submission();
        let flagged = submission.taskrun() || submission.cq_overflow() || !submission.is_empty();
        drop(submission);
        flagged || !self.uring.completion().is_empty()
    }

    /// Whether requests wait to be handed over.
    pub(super) fn has_requests(&mut self) -> bool {
        !self.forked() && !self.uring.submission().is_empty()
    }

    /// Signals `eventfd` whenever there is work for a thread that does not sleep in this ring.
    pub(super) fn signal(&self, eventfd: BorrowedFd<'_>) -> Result<(), Errno> {
        self.uring.submitter().register_eventfd(eventfd.as_raw_fd()).map_err(|e| errno(&e))
    }

    /// Puts a file into the ring's own table; the descriptor is no longer needed then.
    pub(super) fn place(&self, slot: u32, file: BorrowedFd<'_>) -> Result<(), Errno> {
        if self.forked() {
            return Err(NOT_OURS);
        }
        self.uring
            .submitter()
            .register_files_update(slot, &[file.as_raw_fd()])
            .map(drop)
            .map_err(|e| errno(&e))
    }

    /// Moves all completions out of the kernel's queue, those that did not fit into it too.
    pub(super) fn completions(&mut self, into: &mut Vec<cqueue::Entry>) -> Result<(), Errno> {
        if self.forked() {
            return Err(NOT_OURS);
        }
        loop {
            into.extend(self.uring.completion());
            if !self.uring.submission().cq_overflow() {
                return Ok(());
            }
            self.submit()?;
        }
    }

    /// Waits until no request is left, a second at most. Says whether that came about.
    pub(super) fn cancel_all(&mut self) -> bool {
        if self.forked() {
            return false; // what the parent waits for is the parent's
        }
        if self.broken.is_none() {
            let _ = self.submit();
        }
        let second = Timespec::new().sec(1);
        match self.uring.submitter().register_sync_cancel(Some(second), types::CancelBuilder::any()) {
            Ok(()) => true,
            Err(e) => e.raw_os_error() == Some(libc::ENOENT),
        }
    }

    fn on_slot(&self, entry: squeue::Entry) -> squeue::Entry {
        if self.direct { entry.flags(squeue::Flags::FIXED_FILE) } else { entry }
    }

    /// Requests without memory of ours: safe to push at any time.
    fn push_plain(&mut self, entry: &squeue::Entry) {
        // SAFETY: every caller is below and passes an entry that points at no memory.
        unsafe { self.push(entry) }
    }

    pub(super) fn accept(&mut self, listener: i32, many: bool, tag: Tag) {
        let fd = types::Fd(listener);
        let flags = if self.direct { 0 } else { libc::SOCK_CLOEXEC };
        let entry = if many {
            opcode::AcceptMulti::new(fd).allocate_file_index(self.direct).flags(flags).build()
        } else {
            let slot = self.direct.then(types::DestinationSlot::auto_target);
            let null = std::ptr::null_mut();
            opcode::Accept::new(fd, null, null.cast()).file_index(slot).flags(flags).build()
        };
        self.push_plain(&entry.user_data(tag.0));
    }

    pub(super) fn poll(&mut self, fd: i32, many: bool, tag: Tag) {
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).multi(many).build();
        self.push_plain(&entry.user_data(tag.0));
    }

    /// Receives until the kernel ends it, or `once`.
    pub(super) fn receive(&mut self, once: bool, tag: Tag) {
        let (fd, group) = (types::Fd(tag.slot() as i32), super::buffers::GROUP);
        let entry = if once {
            let entry = opcode::Recv::new(fd, std::ptr::null_mut(), 0).buf_group(group).build();
            entry.flags(squeue::Flags::BUFFER_SELECT)
        } else {
            opcode::RecvMulti::new(fd, group).build()
        };
        let entry = self.on_slot(entry).user_data(tag.0);
        self.push_plain(&entry);
    }

    pub(super) fn writable(&mut self, tag: Tag) {
        let entry = opcode::PollAdd::new(types::Fd(tag.slot() as i32), libc::POLLOUT as u32).build();
        let entry = self.on_slot(entry).user_data(tag.0);
        self.push_plain(&entry);
    }

    pub(super) fn connected(&mut self, tag: Tag) {
        self.writable(tag);
    }

    pub(super) fn shutdown(&mut self, tag: Tag) {
        let entry = opcode::Shutdown::new(types::Fd(tag.slot() as i32), libc::SHUT_WR).build();
        let entry = self.on_slot(entry).user_data(tag.0);
        self.push_plain(&entry);
    }

    pub(super) fn close(&mut self, tag: Tag) {
        let entry = if self.direct {
            opcode::Close::new(types::Fixed(tag.slot())).build()
        } else {
            opcode::Close::new(types::Fd(tag.slot() as i32)).build()
        };
        self.push_plain(&self.quiet(entry).user_data(tag.0));
    }

    pub(super) fn cancel(&mut self, victim: Tag) {
        let entry = opcode::AsyncCancel2::new(types::CancelBuilder::user_data(victim.0).all()).build();
        let tag = Tag::new(Op::Cancel, victim.slot(), victim.generation());
        self.push_plain(&self.quiet(entry).user_data(tag.0));
    }

    fn quiet(&self, entry: squeue::Entry) -> squeue::Entry {
        if self.skip { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry }
    }

    /// What makes a send be decided within the submission (see `sends`).
    fn send_flags(&self) -> i32 {
        let whole = if self.skip { libc::MSG_WAITALL } else { 0 };
        libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | whole
    }

    /// # Safety
    /// `len` bytes at `start` stay valid and unchanged until `submit` or `enter` has returned `Ok`, or for ever
    /// if it does not.
    pub(super) unsafe fn send(&mut self, start: *const u8, len: u32, tag: Tag) {
        let entry =
            opcode::Send::new(types::Fd(tag.slot() as i32), start, len).flags(self.send_flags()).build();
        let entry = self.quiet(self.on_slot(entry)).user_data(tag.0);
        // SAFETY: passed on to the caller: with MSG_DONTWAIT the request is done when it is submitted.
        unsafe { self.push(&entry) }
    }

    /// # Safety
    /// As [`Ring::send`], for the header, what it points at, and the bytes.
    pub(super) unsafe fn send_gathered(&mut self, header: *const libc::msghdr, tag: Tag) {
        let flags = self.send_flags() as u32;
        let entry = opcode::SendMsg::new(types::Fd(tag.slot() as i32), header).flags(flags).build();
        let entry = self.quiet(self.on_slot(entry)).user_data(tag.0);
        // SAFETY: passed on to the caller: with MSG_DONTWAIT the request is done when it is submitted.
        unsafe { self.push(&entry) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.forked() {
            // Only our copy of the descriptor: the addresses may mean something else by now.
            // SAFETY: the descriptor is the ring's own and is not used again; its owner is never dropped.
            unsafe { libc::close(self.uring.as_raw_fd()) };
        } else {
            // SAFETY: dropped here and only here.
            unsafe { ManuallyDrop::drop(&mut self.uring) };
        }
    }
}
