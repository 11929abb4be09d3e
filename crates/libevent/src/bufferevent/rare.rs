//! What few bufferevents have: behind one pointer, so that the others do not pay for it.

use super::Bev;
use super::filter::Filter;
use super::groups::Membership;
use super::limits::Limit;
use super::pair::Half;
use crate::layout::event;
use core::cell::{Cell, UnsafeCell};
use core::ffi::c_int;

/// Bytes at a time, unless the program says otherwise.
pub const MOST_AT_ONCE: usize = 16384;

#[derive(Default)]
pub struct Rare {
    /// 0: [`MOST_AT_ONCE`].
    pub max_single_read: Cell<usize>,
    pub max_single_write: Cell<usize>,
    /// Of the last lookup: EAI_*.
    pub dns_error: Cell<c_int>,
    pub limit: UnsafeCell<Option<Box<Limit>>>,
    /// Of the limits of both.
    pub timer: UnsafeCell<Option<Box<UnsafeCell<event>>>>,
    pub membership: UnsafeCell<Option<Box<Membership>>>,
    pub half: Option<Box<Half>>,
    pub filter: Option<Box<Filter>>,
}

impl Bev {
    #[inline]
    pub(super) fn rare(self) -> Option<&'static Rare> {
        // SAFETY: null, or a box's that lives as long as the bufferevent; only shared references are ever made.
        unsafe { self.words().rare.get().as_ref() }
    }

    /// Made where there is none.
    pub(super) fn rare_or_new(self) -> &'static Rare {
        if self.words().rare.get().is_null() {
            self.words().rare.set(Box::into_raw(Box::default()));
        }
        // SAFETY: as above, and not null.
        unsafe { &*self.words().rare.get() }
    }
}
