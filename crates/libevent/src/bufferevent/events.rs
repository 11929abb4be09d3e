//! The two events of a bufferevent, and the limits' timers: this crate's own event functions, by address.

use super::codes::*;
use super::{Bev, Private};
use crate::event::add::{event_active, event_add, event_del, event_remove_timer};
use crate::event::{Ev, event_assign};
use crate::event_base;
use crate::layout::event;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_short, c_void};
use core::mem::{ManuallyDrop, offset_of};
use core::ptr;
use libc::timeval;

type Handler = unsafe extern "C-unwind" fn(c_int, c_short, *mut c_void);

/// evcb_flags of an event that waits or is about to be called.
const INSERTED: c_short = 0x02;
const ACTIVE: c_short = 0x08;
const ACTIVE_LATER: c_short = 0x20;

/// Where in an event the words of signals are: before ev_events.
pub const LODGED: usize = offset_of!(event, events) - size_of::<[u64; 4]>();

/// An event of which the words that only signals need are used for something else: an I/O event or a timer leaves them
/// alone, except when it is assigned ([`Own::assign`]).
#[repr(C)]
pub struct Lodging<T> {
    head: UnsafeCell<[u64; 9]>,
    words: Words<T>,
    tail: UnsafeCell<[u64; 3]>,
}

#[repr(C)]
union Words<T> {
    used: ManuallyDrop<T>,
    all: [u64; 4],
}

const _: () = {
    type L = Lodging<UnsafeCell<u64>>;
    assert!(size_of::<L>() == size_of::<event>());
    assert!(offset_of!(L, words) == LODGED);
};

impl<T> Lodging<T> {
    #[inline]
    pub fn event(&self) -> *mut event {
        const { assert!(size_of::<Self>() == size_of::<event>()) };
        ptr::from_ref(self).cast_mut().cast()
    }

    #[inline]
    pub fn words(&self) -> &T {
        // SAFETY: never used as anything else.
        unsafe { &self.words.used }
    }
}

/// One event that lies in memory of ours.
#[derive(Clone, Copy)]
pub struct Own(pub *mut event);

impl Own {
    pub fn assign(
        self,
        base: *mut event_base,
        fd: c_int,
        what: c_short,
        handler: Handler,
        argument: *mut c_void,
    ) {
        // SAFETY: memory for an event, which is not pending: whoever calls this has deleted it. The words that may be
        // somebody's are put back.
        unsafe {
            let lodged = self.0.byte_add(LODGED).cast::<[u64; 4]>();
            let words = *lodged;
            event_assign(self.0, base, fd, what | EV_FINALIZE, Some(handler), argument);
            *lodged = words;
        }
    }

    /// A timeout of zero is none.
    pub fn add(self, timeout: timeval) -> bool {
        let timeout = if is_set(timeout) { &raw const timeout } else { ptr::null() };
        // SAFETY: assigned before.
        unsafe { event_add(self.0, timeout) == 0 }
    }

    pub fn del(self) -> bool {
        // SAFETY: assigned before.
        unsafe { event_del(self.0) == 0 }
    }

    /// It goes on waiting, for as long as it takes.
    pub fn remove_timer(self) -> bool {
        // SAFETY: assigned before.
        unsafe { event_remove_timer(self.0) == 0 }
    }

    /// Has the loop call it in this turn, without asking the kernel.
    pub fn activate(self, what: c_short) {
        // SAFETY: assigned before.
        unsafe { event_active(self.0, c_int::from(what), 0) };
    }

    fn flags(self) -> c_short {
        // SAFETY: an event that lives.
        unsafe { Ev::of(self.0) }.flags()
    }

    /// Whether it waits for its descriptor.
    #[inline]
    pub fn is_inserted(self) -> bool {
        self.flags() & INSERTED != 0
    }

    /// Whether it waits or is about to be called.
    #[inline]
    pub fn is_pending(self) -> bool {
        self.flags() & (INSERTED | ACTIVE | ACTIVE_LATER) != 0
    }

    /// The base it was assigned to: where the program named none, the current one.
    pub fn base(self) -> *mut event_base {
        // SAFETY: as above.
        unsafe { (*self.0).base }
    }

    pub fn fd(self) -> c_int {
        // SAFETY: as above.
        unsafe { (*self.0).fd }
    }
}

/// evutil_timerisset.
pub fn is_set(timeout: timeval) -> bool {
    timeout.tv_sec != 0 || timeout.tv_usec != 0
}

impl Private {
    #[inline]
    pub(super) fn read_event(&self) -> Own {
        Own(self.ev_read.event())
    }
    #[inline]
    pub(super) fn write_event(&self) -> Own {
        Own(self.ev_write.event())
    }
}

impl Bev {
    /// -1 where there is none.
    #[inline]
    pub(super) fn fd(self) -> c_int {
        self.read_event().fd()
    }
}
