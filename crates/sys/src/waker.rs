//! Waking a loop from another thread: an eventfd and a flag.
//!
//! Traps:
//! (a) The order in `drain`: first empty the eventfd, then clear the flag. The other way round a wake that
//!     comes between the two is eaten with the flag left set, and no wake ever comes through again.
//! (b) A forked child shares the eventfd with its parent: a wake there would wake the parent. `reinit` puts a
//!     new eventfd under the same number (dup3), so handles in other places stay right.
//! (c) A waking thread may be caught between setting the flag and writing: a `drain` then clears the flag
//!     before the write, and the next one finds a readable descriptor with the flag clear. Who skips the read
//!     then spins for ever.

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::syscall;
use crate::syscall::own;
use duolu_core::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Wakes a loop that sleeps in its backend's `wait`. Share it with [`crate::sync::Arc`].
#[derive(Debug)]
pub struct Waker {
    eventfd: OwnedFd,
    /// Set while a wake is on its way: written to the eventfd and not yet drained.
    pending: AtomicBool,
}

impl Waker {
    /// Opens the eventfd. Fails with EMFILE or ENFILE when out of descriptors.
    pub fn new() -> Result<Self, Errno> {
        Ok(Waker { eventfd: eventfd()?, pending: AtomicBool::new(false) })
    }

    /// Makes the descriptor readable. Costs one system call for the first wake between two turns of the loop
    /// and an atomic exchange for each further one. May be called from any thread; not from a forked child
    /// before `reinit` (trap (b)).
    ///
    /// What the caller wrote to shared memory before the call is seen by whoever reads it after the `drain`
    /// that follows.
    pub fn wake(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            write_one(self.eventfd.as_fd());
        }
    }

    /// Takes all wakes so far: the descriptor is unreadable until the next one. Look at the shared queue
    /// *after* this. To be called when the descriptor is readable; one system call. Says whether a wake was
    /// pending.
    pub fn drain(&self) -> bool {
        // Trap (c): whatever the flag says.
        take_all(self.eventfd.as_fd());
        // Trap (a): only now.
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// After a fork, in the child: cuts the tie to the parent. The descriptor's number stays.
    pub fn reinit(&self) -> Result<(), Errno> {
        replace(self.eventfd.as_fd(), eventfd()?)?;
        self.pending.store(false, Ordering::Release);
        Ok(())
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// A new eventfd: counter 0, nonblocking, closed on exec.
pub(crate) fn eventfd() -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) }).map(own)
}

/// Adds one to an eventfd. Async-signal-safe. Refusals cannot matter: EAGAIN says that it is readable already.
pub(crate) fn write_one(eventfd: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: eight readable bytes.
    unsafe { libc::write(eventfd.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Sets an eventfd back to zero; nothing happens where it is zero.
pub(crate) fn take_all(eventfd: BorrowedFd<'_>) {
    let mut count = 0u64;
    // SAFETY: eight writable bytes.
    unsafe { libc::read(eventfd.as_raw_fd(), (&raw mut count).cast(), 8) };
}

/// Puts the file of `new` under the number of `old`, in one step for every thread (dup3(2)).
pub(crate) fn replace(old: BorrowedFd<'_>, new: OwnedFd) -> Result<(), Errno> {
    // SAFETY: both are open, and the number stays an open descriptor of its owner.
    syscall!(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Arc;
    use crate::sync::atomic::AtomicU64;

    fn readable(waker: &Waker) -> bool {
        let mut fds = libc::pollfd { fd: waker.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut fds, 1, 0) == 1 }
    }

    #[test]
    fn many_wakes_cost_one_write() {
        let waker = Waker::new().unwrap();
        assert!(!readable(&waker));
        for _ in 0..1000 {
            waker.wake();
        }
        assert!(readable(&waker));
        let mut count = 0u64;
        // SAFETY: eight writable bytes.
        let n = unsafe { libc::read(waker.as_fd().as_raw_fd(), (&raw mut count).cast(), 8) };
        assert_eq!((n, count), (8, 1), "the eventfd counts writes");
    }

    #[test]
    fn drain_makes_it_quiet_and_ready_for_the_next() {
        let waker = Waker::new().unwrap();
        for _ in 0..3 {
            assert!(!waker.drain());
            waker.wake();
            waker.wake();
            assert!(readable(&waker));
            assert!(waker.drain());
            assert!(!readable(&waker));
        }
    }

    /// Each producer goes on only when the consumer has seen its last item: a single lost wake stops them all.
    #[test]
    fn no_wake_is_lost_between_threads() {
        const PRODUCERS: u64 = 3;
        const EACH: u64 = 3_000;
        struct Shared {
            waker: Waker,
            produced: AtomicU64,
            seen: AtomicU64,
        }
        let (produced, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { waker: Waker::new().unwrap(), produced, seen });
        let threads: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        let mine = shared.produced.fetch_add(1, Ordering::Relaxed) + 1;
                        shared.waker.wake();
                        while shared.seen.load(Ordering::Acquire) < mine {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < PRODUCERS * EACH {
            let fd = shared.waker.as_fd().as_raw_fd();
            let mut fds = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd. Ten seconds without a wake is a lost one.
            let woken = unsafe { libc::poll(&mut fds, 1, 10_000) };
            if woken != 1 {
                // Let the producers end before the test fails.
                shared.seen.store(u64::MAX, Ordering::Release);
                panic!("a wake was lost after {seen} items");
            }
            shared.waker.drain();
            seen = shared.produced.load(Ordering::Relaxed);
            shared.seen.store(seen, Ordering::Release);
        }
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn reinit_keeps_the_number_and_forgets_the_past() {
        let waker = Waker::new().unwrap();
        let (number, copy) = (waker.as_fd().as_raw_fd(), waker.as_fd().try_clone_to_owned().unwrap());
        waker.wake();
        waker.reinit().unwrap();
        assert_eq!(waker.as_fd().as_raw_fd(), number);
        assert!(!readable(&waker) && !waker.drain());
        take_all(copy.as_fd());
        waker.wake();
        let mut fds = libc::pollfd { fd: copy.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        assert_eq!(unsafe { libc::poll(&mut fds, 1, 0) }, 0, "the old eventfd (the parent's) stays quiet");
        assert!(readable(&waker));
    }
}
