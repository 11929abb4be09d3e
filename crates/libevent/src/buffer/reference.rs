//! Memory added by reference, and when its release hook is called.
//!
//! The hook may call anything, evbuffer functions included, and a byte may leave its last buffer in the midst of an operation
//! on one. So a release is noted when it comes about, and the function of ours that is running calls the hook when it borrows
//! nothing any more and has let go of its lock; on the thread that let the last byte go.

use super::{evbuffer, status, told, with, with_source};
use crate::mem::per_thread::PerThread;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};
use duolu_core::buffer::{BufferError, End, Region};
use std::collections::VecDeque;
use std::sync::Arc;

/// evbuffer_ref_cleanup_cb.
type Cleanup = unsafe extern "C-unwind" fn(*const c_void, usize, *mut c_void);

/// What is to be called.
pub(super) enum Due {
    Memory { cleanup: Cleanup, data: *const u8, len: usize, arg: *mut c_void },
    Segment(super::segment::Last),
}

thread_local! {
    static DUE: PerThread<VecDeque<Due>> = const { PerThread::new(VecDeque::new(), VecDeque::new) };
}

/// Works on this thread's queue; None: the thread ends.
fn with_due<R>(work: impl FnOnce(&mut VecDeque<Due>) -> R) -> Option<R> {
    // SAFETY: of this thread; what is done with it here calls nobody.
    DUE.with(|due| unsafe { due.with(work) })
}

/// Whether anything was ever due: most programs never add by reference, and should not look at a thread's variable.
static EVER: AtomicBool = AtomicBool::new(false);

#[inline]
pub(super) fn was_ever_due() -> bool {
    EVER.load(Ordering::Relaxed)
}

pub(super) fn is_due() -> bool {
    was_ever_due() && with_due(|due| !due.is_empty()).unwrap_or(false)
}

/// Notes that something is to be called.
pub(super) fn note(due: Due) {
    EVER.store(true, Ordering::Relaxed);
    let mut due = Some(due);
    with_due(|queue| queue.extend(due.take()));
    // The thread ends, and its queue is gone already.
    if let Some(due) = due {
        due.call();
    }
}

/// Calls what is due on this thread, the oldest first.
pub fn release_all() {
    if !EVER.load(Ordering::Relaxed) {
        return;
    }
    while let Some(Some(due)) = with_due(VecDeque::pop_front) {
        due.call();
    }
    // Nothing is kept: programs count what they gave.
    with_due(core::mem::take);
}

impl Due {
    fn call(self) {
        match self {
            // SAFETY: what the program gave for this, called once.
            Due::Memory { cleanup, data, len, arg } => unsafe { cleanup(data.cast(), len, arg) },
            Due::Segment(last) => last.end(),
        }
    }
}

/// The program's memory.
struct Memory {
    data: *const u8,
    len: usize,
    cleanup: Option<Cleanup>,
    arg: *mut c_void,
    /// It came into a buffer, so the release is owed.
    owed: AtomicBool,
}

// SAFETY: the program keeps the memory as it is until the hook is called, and takes that on any thread that uses the buffer.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Region for Memory {
    fn bytes(&self) -> &[u8] {
        // SAFETY: readable for `len`, which evbuffer_add_reference's caller promised and which was checked to be possible.
        unsafe { bytes_of(self.data, self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let Memory { data, len, cleanup, arg, .. } = *self;
        if let (true, Some(cleanup)) = (self.owed.load(Ordering::Relaxed), cleanup) {
            note(Due::Memory { cleanup, data, len, arg });
        }
    }
}

/// A pointer and a length of C's; null is nothing.
///
/// # Safety
/// `data` is readable for `len`, which is at most `isize::MAX`, while the slice is used.
#[inline]
pub(super) unsafe fn bytes_of<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 || data.is_null() {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { core::slice::from_raw_parts(data, len) }
}

/// Whether a length of C's can be one of memory.
#[inline]
pub(super) fn check(len: usize) -> Result<(), BufferError> {
    if isize::try_from(len).is_ok() { Ok(()) } else { Err(BufferError::TooLong) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_reference(
    this: *mut evbuffer,
    data: *const u8,
    len: usize,
    cleanup: Option<Cleanup>,
    arg: *mut c_void,
) -> c_int {
    if told(check(len)).is_none() {
        return -1;
    }
    let region = Arc::new(Memory { data, len, cleanup, arg, owed: AtomicBool::new(false) });
    // SAFETY: the header's contract.
    unsafe {
        with(this, move |buffer| {
            let added = buffer.append_region(Arc::clone(&region) as Arc<dyn Region>);
            // Nothing is released that was refused. What has no bytes is released at once.
            region.owed.store(added.is_ok(), Ordering::Relaxed);
            drop(region);
            status(added)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_buffer_reference(
    out: *mut evbuffer,
    from: *mut evbuffer,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        // Nothing to add is no error, as in libevent.
        if super::life::evbuffer_get_length(from) == 0 {
            return 0;
        }
        if out == from {
            return -1;
        }
        with_source(from, out, |from, out| {
            if from.is_empty() {
                return 0;
            }
            if out.is_frozen(End::Back) {
                return status::<()>(Err(BufferError::Frozen(End::Back)));
            }
            // What was referred to already, and files, libevent does not refer to again.
            if !from.lends() {
                return status::<()>(Err(BufferError::NotInMemory));
            }
            status(out.append_shared(from))
        })
    }
}
