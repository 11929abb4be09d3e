//! What the buffers of a bufferevent tell it: calls of known functions, so that a pair needs no list of callbacks. [`Pair`]
//! says how they find it.
//!
//! [`Pair`]: super::Pair

use crate::bufferevent;
use crate::layout::{self, evbuffer_cb_info};

/// The input (or the output) of `parent` has changed: called under the lock, after the program's callbacks. It may
/// change the buffers.
///
/// # Safety
/// `parent` lives and is locked.
#[inline]
pub unsafe fn changed(parent: *mut layout::bufferevent, output: bool, info: &evbuffer_cb_info) {
    // SAFETY: the caller's.
    unsafe { bufferevent::buffer_changed(parent, output, info.n_added, info.n_deleted) };
}

/// A callback of one of its buffers was put off to the loop: `parent` must live until [`let_go`].
///
/// # Safety
/// `parent` lives and is locked.
pub unsafe fn hold(parent: *mut layout::bufferevent) {
    // SAFETY: the caller's.
    unsafe { bufferevent::hold(parent) };
}

/// The callback has run.
///
/// # Safety
/// After [`hold`], without the lock.
pub unsafe fn let_go(parent: *mut layout::bufferevent) {
    // SAFETY: the caller's.
    unsafe { bufferevent::let_go(parent) };
}
