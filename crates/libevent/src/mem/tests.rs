use super::*;
use std::sync::atomic::AtomicI64;

static OUT: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Added to what malloc gives: an allocator with a bad idea of alignment.
    static SKEW: Cell<usize> = const { Cell::new(0) };
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

// What libc gave stands before it, so that libc's free would notice a pointer that is not its own.
unsafe extern "C" fn own_malloc(size: usize) -> *mut c_void {
    if REFUSES.get() {
        return null_mut();
    }
    OUT.fetch_add(1, Relaxed);
    // SAFETY: 32 bytes more than asked hold the word and the skew (at most 15).
    unsafe {
        let real = libc::malloc(size + 32);
        let memory = real.byte_add(16 + SKEW.get());
        memory.cast::<*mut c_void>().sub(1).write_unaligned(real);
        memory
    }
}

unsafe extern "C" fn own_free(memory: *mut c_void) {
    OUT.fetch_sub(1, Relaxed);
    // SAFETY: `own_malloc` wrote the word.
    unsafe { libc::free(memory.cast::<*mut c_void>().sub(1).read_unaligned()) }
}

/// They stay set: other threads' memory is freed later.
fn set_own(skew: usize) {
    SKEW.set(skew);
    // SAFETY: a pair that fits together.
    unsafe { event_set_mem_functions(Some(own_malloc), None, Some(own_free)) };
}

#[test]
fn each_allocation_goes_back_to_whom_it_came_from() {
    for skew in [0, 8, 1, 7] {
        let before: Vec<Vec<u8>> = (1..200).map(|size| vec![size as u8; size]).collect();
        set_own(skew);
        let within: Vec<Vec<u8>> = (1..200).map(|size| vec![size as u8; size]).collect();
        assert!(within.iter().all(|bytes| is_tagged(bytes.as_ptr().cast_mut())));
        assert!(OUT.load(Relaxed) >= 200);
        assert_eq!(before, within);
        let mut grown = before;
        grown.iter_mut().for_each(|bytes| bytes.extend_from_slice(&[7; 300]));
        assert!(grown.iter().enumerate().all(|(index, bytes)| bytes[index] == (index + 1) as u8));
        let wide: Vec<u128> = vec![1; 10];
        assert!(!is_tagged(wide.as_ptr().cast_mut().cast()), "what is aligned to 16 is libc's");
    }
}

#[test]
fn a_refused_allocation_is_served_and_told() {
    set_own(0);
    assert_eq!(*fallible(|| Box::new(1u64), drop).unwrap(), 1);
    REFUSES.set(true);
    let mut undone = None;
    let made = fallible(|| Box::new(2u64), |made| undone = Some(*made));
    REFUSES.set(false);
    assert!(made.is_none());
    assert_eq!(undone, Some(2));
    assert_eq!(duolu_sys::syscall::last_errno(), Errno(libc::ENOMEM));
    assert!(fallible(|| Box::new(3u64), drop).is_some(), "a failure that was told is over");
    REFUSES.set(true);
    let mut table: Vec<u8> = Vec::new();
    let large = table.try_reserve(BYTES + 1);
    REFUSES.set(false);
    assert!(large.is_err());
}
