//! Who is told of changes.

use super::{INPUT, OUTPUT, evbuffer, hook, parent};
use crate::layout::evbuffer_cb_info;

/// What most buffers do without.
#[derive(Debug, Default)]
pub(super) struct Extra {}

/// Tells what has changed since the last time.
///
/// # Safety
/// As [`super::with`]; the lock is held.
pub(super) unsafe fn tell(this: *mut evbuffer) {
    // SAFETY: the caller's. Nothing is borrowed while others are called.
    unsafe {
        let Some(change) = (*this).buffer.take_change() else { return };
        if (*this).flags & (INPUT | OUTPUT) != 0 {
            let info = evbuffer_cb_info {
                orig_size: change.before,
                n_added: change.added,
                n_deleted: change.removed,
            };
            hook::changed(parent(this), (*this).flags & OUTPUT != 0, &info);
        }
    }
}

/// Frees what stands in `extra`.
///
/// # Safety
/// As [`super::retire`].
pub(super) unsafe fn forget_all(this: *mut evbuffer) {
    // SAFETY: the caller's; it came from a Box.
    unsafe {
        if let Some(extra) = (*this).extra.take() {
            drop(Box::from_raw(extra.as_ptr()));
        }
    }
}
