//! The blocks that bufferevents read into: one pool for each thread, so that it needs no lock. Blocks that leave through
//! evbuffer functions come back to it.

use core::cell::UnsafeCell;
use duolu_core::buffer::Pool;

/// Bytes of a block: what one read takes at most without a second block.
pub const BLOCK: usize = 16 * 1024;
/// Blocks a thread keeps at rest: 128 KiB.
const KEPT: usize = 8;

thread_local! {
    static POOL: UnsafeCell<Pool> = const { UnsafeCell::new(Pool::new(BLOCK, KEPT)) };
}

/// Works with this thread's pool. `work` must not call the program, nor this.
#[inline]
pub fn with<R>(work: impl FnOnce(&mut Pool) -> R) -> R {
    match POOL.try_with(UnsafeCell::get) {
        // SAFETY: of this thread, and nobody else borrows it while `work` runs.
        Ok(pool) => work(unsafe { &mut *pool }),
        // The thread ends, and its pool is gone already.
        Err(_) => work(&mut Pool::new(BLOCK, 0)),
    }
}
