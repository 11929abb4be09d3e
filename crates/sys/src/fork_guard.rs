//! "Has this process forked since?", for the price of one load.
//!
//! An io_uring's rings are memory shared with the kernel *and*, after a fork, with the parent: a child that
//! only moves a head or a tail there corrupts the parent's ring. getpid(2) would tell, at the price of a system
//! call each time. Instead a page of its own holds a one and is wiped to zero in every child
//! (madvise(2), MADV_WIPEONFORK, Linux 4.14).

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::syscall;
use duolu_core::Errno;
use std::ptr::NonNull;

const PAGE_BYTES: usize = 4096;

/// Remembers the process it was made in. Costs a page of memory.
#[derive(Debug)]
pub struct ForkGuard {
    page: NonNull<AtomicU32>,
}

// SAFETY: the page is owned, and is only read and written through an atomic.
unsafe impl Send for ForkGuard {}
// SAFETY: as above.
unsafe impl Sync for ForkGuard {}

impl ForkGuard {
    /// A guard for the calling process. Fails with ENOMEM, or EINVAL before Linux 4.14.
    pub fn new() -> Result<Self, Errno> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new private mapping, at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(syscall::last_errno());
        }
        // SAFETY: mmap never gives address zero unless asked to. From here on the guard's drop unmaps it.
        let guard = ForkGuard { page: unsafe { NonNull::new_unchecked(page.cast()) } };
        // SAFETY: exactly the page just mapped.
        syscall!(unsafe { libc::madvise(page, PAGE_BYTES, libc::MADV_WIPEONFORK) })?;
        guard.mark().store(1, Ordering::Relaxed);
        Ok(guard)
    }

    /// Whether this is a child of the process that made the guard.
    #[inline]
    pub fn forked(&self) -> bool {
        self.mark().load(Ordering::Relaxed) == 0
    }

    #[inline]
    fn mark(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped, aligned and zeroed from `new` until `drop`.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; nobody else has the address.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_child_says_forked() {
        let guard = ForkGuard::new().unwrap();
        assert!(!guard.forked());
        // SAFETY: the child only reads a mapping and leaves by `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(if guard.forked() { 7 } else { 8 }) };
        }
        let mut status = 0;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(!guard.forked());
    }
}
