//! The heap, as far as it matters to a process that has had much and needs it no more.

/// Gives what the heap has free back to the kernel, from wherever it lies (malloc_trim(3)). free(3) alone gives back only
/// what is at the heap's end, so that after a crowd one small allocation may hold all of it. It walks the whole heap, some
/// milliseconds for 100 MB: for after a crowd, not for after each of it. Nothing where the C library has no such call.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the heap's own locks and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
