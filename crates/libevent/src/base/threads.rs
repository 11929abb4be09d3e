//! Other threads at a base whose loop waits.
//!
//! The loop lets go of the lock while it waits in the kernel, and takes its hands (the backend) with it. For the others the
//! engine then has a stand-in, which looks whether the descriptor of an addition is open, as the kernel would say at
//! once, and keeps the change. They wake the loop, which does what was kept when it has the lock again.

use super::rows::Row;
use super::{Base, event_base, inspect};
use crate::layout::event;
use crate::lock;
use core::cell::RefCell;
use core::ffi::c_int;
use duolu_core::{Backend, Change, Errno, EventSpec, Features, Interest, RawFd, Report, Timeout};
use duolu_sys::{Waker, syscall};
use libc::timeval;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

/// What wakes a loop, and what stands in for its hands.
pub struct Notifier {
    waker: Waker,
    /// What stands for it among the base's events.
    pub(super) shown: event,
    stand_in: Option<Box<dyn Backend>>,
    /// What the stand-in was told. Under the base's lock, so that one thread at a time is at it.
    kept: Rc<RefCell<Vec<Kept>>>,
}

enum Kept {
    Change(Change),
    LetGo(RawFd),
}

struct StandIn {
    name: &'static str,
    features: Features,
    kept: Rc<RefCell<Vec<Kept>>>,
}

impl Backend for StandIn {
    fn name(&self) -> &'static str {
        self.name
    }

    fn features(&self) -> Features {
        self.features
    }

    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        if !matches!(change, Change::Remove { .. }) {
            // SAFETY: no memory is passed.
            syscall!(unsafe { libc::fcntl(change.token().fd(), libc::F_GETFD) })?;
        }
        self.kept.borrow_mut().push(Kept::Change(change));
        Ok(())
    }

    /// Others' concern is when the loop waits again.
    fn holds_files(&self) -> bool {
        true
    }

    fn let_go(&mut self, fd: RawFd) {
        self.kept.borrow_mut().push(Kept::LetGo(fd));
    }

    fn wait(&mut self, _: Option<u64>, _: &mut Vec<Report>) -> Result<(), Errno> {
        Err(Errno(libc::EBUSY))
    }

    fn reinit(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    fn descriptor(&mut self) -> Option<RawFd> {
        None
    }
}

impl event_base {
    /// Has the loop look at what was changed, if it waits just now.
    #[inline(always)]
    pub(crate) fn wake(&mut self) {
        if self.waiting {
            self.wake_now();
        }
    }

    #[cold]
    fn wake_now(&mut self) {
        self.disturbed = true;
        if let Some(notifier) = &self.waker {
            notifier.waker.wake();
        }
    }

    /// Whether the loop, which waits, has yet to let go of a descriptor that this thread's last removal has left.
    #[inline]
    pub(crate) fn holds_late(&self, fd: RawFd) -> bool {
        self.waiting && self.is_to_let_go(fd)
    }

    #[cold]
    fn is_to_let_go(&self, fd: RawFd) -> bool {
        let kept = self.waker.as_ref().map(|notifier| notifier.kept.borrow());
        kept.is_some_and(|kept| kept.iter().any(|kept| matches!(kept, Kept::LetGo(late) if *late == fd)))
    }

    /// Returns when the loop, which was woken, has let go of it: nobody's callback comes between.
    ///
    /// # Safety
    /// The lock is held by this thread, which does not run the loop, and no reference to the base lives.
    #[cold]
    pub(crate) unsafe fn await_let_go(base: Base, fd: RawFd) {
        // It takes as long as waking a thread; for ever it would be where this thread holds the lock more than once.
        const MOST: timeval = timeval { tv_sec: 0, tv_usec: 100_000 };
        // SAFETY: the caller's; the base is looked at anew each time, because others change it meanwhile.
        unsafe {
            let this = base.as_ptr();
            if (*this).returned.is_null() {
                return;
            }
            (*this).waiters += 1;
            while base.get().holds_late(fd) {
                if lock::cond_wait((*this).returned, (*this).lock, Some(&MOST)) != 0 {
                    break;
                }
            }
            (*this).waiters -= 1;
        }
    }

    /// A wake has come through.
    pub(super) fn woken(&mut self) {
        if let Some(notifier) = &self.waker {
            notifier.waker.drain();
        }
    }

    /// Makes it possible for other threads to wake the loop. One descriptor.
    pub(crate) fn make_notifiable(&mut self) -> c_int {
        if self.waker.is_some() {
            return 0;
        }
        match self.try_make_notifiable() {
            Ok(()) => 0,
            Err(errno) => {
                syscall::set_errno(errno);
                -1
            }
        }
    }

    fn try_make_notifiable(&mut self) -> Result<(), Errno> {
        let waker = Waker::new()?;
        let fd = waker.as_fd().as_raw_fd();
        let spec = EventSpec { owned: true, internal: true, ..EventSpec::fd(fd, Interest::READ) };
        let refused = |_| Errno(libc::EINVAL);
        let id = self.engine.create(spec).map_err(refused)?;
        if !self.rows.set(id.index(), Row::Waker) {
            self.engine.release(id);
            return Err(Errno(libc::ENOMEM));
        }
        self.engine.add(id, Timeout::Keep).map_err(refused)?;
        let backend = self.engine.backend();
        let (name, features) = (backend.name(), backend.features());
        let kept = Rc::new(RefCell::new(Vec::new()));
        let stand_in = Box::new(StandIn { name, features, kept: Rc::clone(&kept) });
        self.waker =
            Some(Box::new(Notifier { shown: inspect::internal(fd), waker, stand_in: Some(stand_in), kept }));
        Ok(())
    }

    /// In the child after a fork.
    pub(super) fn reinit_waker(&mut self) -> Result<(), Errno> {
        self.waker.as_ref().map_or(Ok(()), |notifier| notifier.waker.reinit())
    }
}

/// One poll. Other threads get at the base meanwhile, if they know how.
///
/// # Safety
/// The lock is held, and no reference to the base lives.
#[inline]
pub(super) unsafe fn poll(base: Base, limit_ns: Option<u64>) -> Result<(), Errno> {
    // SAFETY: the caller's.
    let this = unsafe { base.get() };
    if this.lock.is_null() || this.waker.is_none() {
        this.engine.poll(limit_ns)
    } else {
        wait_apart(base, limit_ns)
    }
}

#[inline(never)]
fn wait_apart(base: Base, limit_ns: Option<u64>) -> Result<(), Errno> {
    // SAFETY: as `poll`; the reference ends before the lock is let go of.
    let this = unsafe { base.get() };
    let (timeout_ns, mut reports) = this.engine.begin_wait(limit_ns);
    let stand_in = this.waker.as_mut().and_then(|notifier| notifier.stand_in.take());
    let Some(stand_in) = stand_in else { return Err(Errno(libc::EBUSY)) };
    let mut hands = this.engine.swap_backend(stand_in);
    this.waiting = true;
    let lock = this.lock;
    // SAFETY: held, and not freed while a loop runs.
    unsafe { lock::release(lock) };
    let waited = hands.wait(timeout_ns, &mut reports);
    // SAFETY: as above, and from here on the lock is held again.
    let this = unsafe {
        lock::acquire(lock);
        base.get()
    };
    this.waiting = false;
    let stand_in = this.engine.swap_backend(hands);
    if let Some(notifier) = &mut this.waker {
        notifier.stand_in = Some(stand_in);
        for kept in notifier.kept.borrow_mut().drain(..) {
            match kept {
                Kept::Change(change) => this.engine.apply_late(change),
                Kept::LetGo(fd) => this.engine.let_go_late(fd),
            }
        }
    }
    if this.waiters > 0 {
        // SAFETY: the lock is held.
        unsafe { lock::cond_signal(this.returned, true) };
    }
    let disturbed = core::mem::take(&mut this.disturbed);
    this.engine.end_wait(reports, disturbed);
    waited
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evthread_make_base_notifiable(base: *mut event_base) -> c_int {
    // SAFETY: null or a base.
    match unsafe { Base::of(base) } {
        Some(base) => base.enter().make_notifiable(),
        None => -1,
    }
}
