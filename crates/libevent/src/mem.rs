//! Memory: the program's own functions (event_set_mem_functions) serve everything, Rust's allocations too, and no failure of
//! theirs aborts.
//!
//! (a) What the program may free (event_free_fn of its own) is bare: [`malloc`] and its kin hand out what the program's function
//!     gave. As with libevent, such memory is freed by the functions set at that time.
//! (b) Rust frees by layout and does not know who allocated. So an address tells: libc's memory begins at a multiple of
//!     16, memory from the program's functions is handed to Rust at 8 modulo 16, with the address it came with in the word
//!     before. What asks for more than 8 bytes of alignment is always libc's.
//! (c) Rust aborts where an allocation that cannot fail does, and an allocator is not told which can. So what the program's
//!     function refuses comes from libc, and if that has nothing either from a reserve; the failure is noted, and
//!     [`fallible`] makes of it the documented failure of the C function, which gives the memory back. Only bytes are
//!     refused (alignment 1: the contents of buffers): who makes room for many of them asks with `try_reserve`.

pub mod per_thread;
mod reserve;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ffi::{c_char, c_void};
use core::ptr::{self, NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use duolu_core::Errno;
use duolu_sys::syscall::set_errno;

type MallocFn = unsafe extern "C" fn(usize) -> *mut c_void;
type ReallocFn = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type FreeFn = unsafe extern "C" fn(*mut c_void);

// Each null until the program sets it; one may be set without the others.
static MALLOC: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static REALLOC: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
static FREE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// So many bytes are the contents of a buffer, and may be refused: less is text, or a header.
const BYTES: usize = 1024;
/// The most that the reserve gives at once. The largest fixed piece here is the timers' wheel of 20 KiB; larger are tables of
/// thousands of rows.
const MOST_RESERVE: usize = 256 * 1024;

fn malloc_fn() -> Option<MallocFn> {
    // SAFETY: null is None, and nothing but what event_set_mem_functions was given is ever stored.
    unsafe { core::mem::transmute::<*mut c_void, Option<MallocFn>>(MALLOC.load(Relaxed)) }
}

fn realloc_fn() -> Option<ReallocFn> {
    // SAFETY: as in `malloc_fn`.
    unsafe { core::mem::transmute::<*mut c_void, Option<ReallocFn>>(REALLOC.load(Relaxed)) }
}

fn free_fn() -> Option<FreeFn> {
    // SAFETY: as in `malloc_fn`.
    unsafe { core::mem::transmute::<*mut c_void, Option<FreeFn>>(FREE.load(Relaxed)) }
}

/// Whether the program's own functions serve allocations: then nothing is kept back from them for later.
pub fn is_programs() -> bool {
    malloc_fn().is_some()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_set_mem_functions(
    malloc: Option<MallocFn>,
    realloc: Option<ReallocFn>,
    free: Option<FreeFn>,
) {
    let address = |function: Option<*mut c_void>| function.unwrap_or(null_mut());
    MALLOC.store(address(malloc.map(|f| f as *mut c_void)), Relaxed);
    REALLOC.store(address(realloc.map(|f| f as *mut c_void)), Relaxed);
    FREE.store(address(free.map(|f| f as *mut c_void)), Relaxed);
}

/// Memory for C: null with ENOMEM if there is none, null for nothing.
pub fn malloc(size: usize) -> *mut c_void {
    if size == 0 {
        return null_mut();
    }
    // SAFETY: the program's function is malloc(3)'s like, as the header asks.
    let memory = unsafe { malloc_fn().map_or_else(|| libc::malloc(size), |malloc| malloc(size)) };
    if memory.is_null() {
        note_failure();
        set_errno(Errno(libc::ENOMEM));
    }
    memory
}

/// [`malloc`], zeroed.
pub fn calloc(count: usize, size: usize) -> *mut c_void {
    if count == 0 || size == 0 {
        return null_mut();
    }
    let Some(total) = count.checked_mul(size) else {
        set_errno(Errno(libc::ENOMEM));
        return null_mut();
    };
    if malloc_fn().is_none() {
        // Fresh pages are zero already, which libc knows.
        // SAFETY: calloc(3) takes any numbers.
        let memory = unsafe { libc::calloc(count, size) };
        if memory.is_null() {
            note_failure();
        }
        return memory;
    }
    let memory = malloc(total);
    if !memory.is_null() {
        // SAFETY: `total` bytes were just given.
        unsafe { ptr::write_bytes(memory.cast::<u8>(), 0, total) };
    }
    memory
}

/// A zeroed T for C, to be freed with [`free`]. Only for types that zeroes are a value of.
///
/// # Safety
/// All zeroes are a T.
pub unsafe fn zeroed<T>() -> *mut T {
    const { assert!(align_of::<T>() <= 16) };
    calloc(1, size_of::<T>()).cast()
}

/// realloc(3), by whoever allocates now.
///
/// # Safety
/// `memory` is null or from [`malloc`] or its kin, and not used afterwards unless null comes back.
pub unsafe fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's, as above.
    let moved =
        unsafe { realloc_fn().map_or_else(|| libc::realloc(memory, size), |realloc| realloc(memory, size)) };
    if moved.is_null() && size > 0 {
        note_failure();
        set_errno(Errno(libc::ENOMEM));
    }
    moved
}

/// free(3), by whoever frees now. Null is nothing.
///
/// # Safety
/// `memory` is null or from [`malloc`] or its kin, and nobody uses it any more.
pub unsafe fn free(memory: *mut c_void) {
    if !memory.is_null() {
        // SAFETY: the caller's, as above.
        unsafe { free_fn().map_or_else(|| libc::free(memory), |free| free(memory)) };
    }
}

/// A copy of a C string; null with EINVAL for null, with ENOMEM if there is no memory.
///
/// # Safety
/// `text` is null or ends with a NUL.
pub unsafe fn strdup(text: *const c_char) -> *mut c_char {
    if text.is_null() {
        set_errno(Errno(libc::EINVAL));
        return null_mut();
    }
    // SAFETY: the caller's string, with its NUL, copied into as many fresh bytes.
    unsafe {
        let size = libc::strlen(text) + 1;
        let copy = malloc(size).cast::<c_char>();
        if !copy.is_null() {
            ptr::copy_nonoverlapping(text, copy, size);
        }
        copy
    }
}

/// How many allocations have failed, in all threads. Read before and after a piece of work, it says whether to look closer.
static FAILURES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// What [`FAILURES`] was with this thread's latest failure.
    static LATEST: Cell<u64> = const { Cell::new(0) };
}

#[cold]
fn note_failure() {
    let number = FAILURES.fetch_add(1, Relaxed) + 1;
    // A thread that is ending has no mark any more, and no C function to tell.
    let _ = LATEST.try_with(|latest| latest.set(number));
}

/// Does `work`. If an allocation failed in it that had to be served from elsewhere, `undo` takes back what it made, errno is
/// ENOMEM, and None is the answer. Costs two loads where nothing failed; may be nested.
pub fn fallible<T>(work: impl FnOnce() -> T, undo: impl FnOnce(T)) -> Option<T> {
    let before = FAILURES.load(Relaxed);
    let done = work();
    if FAILURES.load(Relaxed) != before && LATEST.try_with(Cell::get).is_ok_and(|latest| latest > before) {
        undo(done);
        set_errno(Errno(libc::ENOMEM));
        return None;
    }
    Some(done)
}

/// Where Rust's own allocations go.
struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Whether Rust's `memory` is from the program's functions: (b).
fn is_tagged(memory: *mut u8) -> bool {
    memory.addr() & 15 == 8
}

/// The first address in memory at `raw` that tells whose it is.
fn tagged_in(raw: *mut u8) -> *mut u8 {
    // Room for the word before it, then up to 8 modulo 16.
    let address = raw.addr() + 8;
    raw.wrapping_add(8 + ((8usize.wrapping_sub(address)) & 15))
}

/// `size` bytes from the program's function, tagged.
fn alloc_tagged(malloc: MallocFn, size: usize) -> Option<NonNull<u8>> {
    // Most functions give multiples of 16, as C asks of them; those that do not are asked again, for as much as it takes.
    for extra in [8, 24] {
        let total = size.checked_add(extra)?;
        // SAFETY: malloc(3)'s like, as the header asks.
        let raw = unsafe { malloc(total) }.cast::<u8>();
        if raw.is_null() {
            return None;
        }
        let memory = tagged_in(raw);
        if memory.addr() - raw.addr() <= extra {
            // SAFETY: `memory` is at least 8 bytes and at most `extra` behind `raw`, and 8 modulo 16, so the word
            // before it is ours and aligned.
            unsafe { memory.cast::<*mut u8>().sub(1).write(raw) };
            return NonNull::new(memory);
        }
        // SAFETY: given a moment ago, and nobody else's.
        unsafe { free(raw.cast()) };
    }
    None
}

/// Memory of libc's, at a multiple of 16. (Programs bring mallocs that give less to requests of 8 bytes.)
fn alloc_untagged(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: malloc(3) and posix_memalign(3) take any size, and the alignment is a power of two and at least a pointer's.
    unsafe {
        if layout.align() <= 16 {
            let memory = libc::malloc(layout.size()).cast::<u8>();
            if memory.addr() & 15 == 0 {
                return NonNull::new(memory);
            }
            libc::free(memory.cast());
        }
        let mut memory = null_mut();
        match libc::posix_memalign(&mut memory, layout.align().max(16), layout.size()) {
            0 => NonNull::new(memory.cast()),
            _ => None,
        }
    }
}

/// What [`GlobalAlloc`] gives, by (b) and (c).
fn allocate(layout: Layout) -> *mut u8 {
    if let Some(malloc) = malloc_fn()
        && layout.align() <= 8
    {
        if let Some(memory) = alloc_tagged(malloc, layout.size()) {
            return memory.as_ptr();
        }
        note_failure();
        if may_be_refused(layout) {
            return null_mut();
        }
    }
    if let Some(memory) = alloc_untagged(layout) {
        return memory.as_ptr();
    }
    note_failure();
    if may_be_refused(layout) || layout.size() > MOST_RESERVE { null_mut() } else { reserve::take(layout) }
}

/// Whether who asks for this can do without: (c).
fn may_be_refused(layout: Layout) -> bool {
    layout.align() == 1 && layout.size() > BYTES
}

// SAFETY: `allocate` gives memory of at least the size and alignment asked for or null; `dealloc` gives it back to whom it
// came from, which its address tells; nothing here panics.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocate(layout)
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: `memory` is from `allocate`. Tagged, the word before it says what the program's function gave.
        unsafe {
            if is_tagged(memory) {
                free(memory.cast::<*mut c_void>().sub(1).read());
            } else if !reserve::give_back(memory) {
                libc::free(memory.cast());
            }
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `memory` is from `allocate` with `layout`; libc's stays libc's, anything else is allocated anew, copied
        // and given back. The new size is not zero and fits a layout: GlobalAlloc's promise.
        unsafe {
            let is_libcs = malloc_fn().is_none() && !is_tagged(memory) && !reserve::owns(memory);
            // From 16 bytes on every malloc gives multiples of 16.
            if is_libcs && layout.align() <= 16 && size >= 16 {
                let moved = libc::realloc(memory.cast(), size).cast::<u8>();
                if !moved.is_null() {
                    debug_assert!(!is_tagged(moved));
                    return moved;
                }
            }
            let moved = allocate(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                ptr::copy_nonoverlapping(memory, moved, size.min(layout.size()));
                self.dealloc(memory, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests;
