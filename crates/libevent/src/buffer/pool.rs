//! The blocks that bufferevents read into: one pool for each thread, so that it needs no lock. Blocks that leave through
//! evbuffer functions come back to it.

use crate::mem::per_thread::PerThread;
use duolu_core::buffer::Pool;

/// Bytes of a block: what one read takes at most without a second block.
pub const BLOCK: usize = 16 * 1024;
/// Blocks a thread keeps at rest: 128 KiB.
const KEPT: usize = 8;

thread_local! {
    static POOL: PerThread<Pool> = const { PerThread::new(Pool::new(BLOCK, KEPT), || Pool::new(BLOCK, KEPT)) };
}

/// Works with this thread's pool. `work` must not call the program, nor this.
#[inline]
pub fn with<R>(work: impl FnOnce(&mut Pool) -> R) -> R {
    match POOL.with(PerThread::get) {
        // SAFETY: of this thread, and nobody else borrows it while `work` runs.
        Some(pool) => work(unsafe { &mut *pool }),
        // The thread ends, and its pool is gone already.
        None => work(&mut Pool::new(BLOCK, 0)),
    }
}
