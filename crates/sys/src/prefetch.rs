//! Telling the processor which memory will be needed soon.

/// Has the cache line at the beginning of `what` fetched while the program goes on. Without effect where the
/// processor has no such instruction that Rust knows.
#[inline(always)]
pub fn prefetch<T: ?Sized>(what: &T) {
    prefetch_at(std::ptr::from_ref(what).cast());
}

/// The same for an address, which may be anybody's or nobody's.
#[inline(always)]
pub fn prefetch_at(what: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that reads nothing and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(what.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}
