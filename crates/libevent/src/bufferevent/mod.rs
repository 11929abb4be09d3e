//! event2/bufferevent.h and bufferevent_compat.h: sockets, pairs and filters with a buffer each way.
//!
//! A bufferevent is libevent's 392 public bytes, both buffers and a few words: [`Private`]. Whatever is rare (limits, a
//! partner, a filter) is behind one pointer ([`rare`]). [`Bev`] is how it is gone about with here.
//!
//! What a program may notice is libevent's, with these differences:
//! - A read takes what is there up to max_single_read (16 KiB at first), not 4 KiB, and asks the kernel once.
//! - What its own read callback added to the output is written when that returns; what others added, later in the same
//!   turn of the loop. Not after the next wait, that is, unless it was done once in this turn already. Disabling, freeing or
//!   suspending in between still comes first.
//! - A read callback that leaves the input at its high watermark is called again if it has taken something, or when something
//!   is taken later. C libevent calls it again forever (#891).
//! - A filter that says BEV_OK and has neither taken nor given anything is not asked again. C libevent asks it forever.
//! - Freeing a rate-limit group that has members frees them from its limits instead of aborting.
//!
//! Reading order: `suspend` (enable, disable), `callbacks`, `lifetime`; then the kinds: `socket`, `pair`, `filter`; `limits`
//! and `groups`; `face` has the exported functions that are neither.
//!
//! Locks: where there is one it is recursive, is both buffers' as well, and is held while callbacks run unless
//! BEV_OPT_UNLOCK_CALLBACKS; so says the header. A group's lock is taken inside it, never outside. Whoever is inside a
//! callback holds a reference ([`Held`]), so a bufferevent may be freed in any of its own callbacks.

mod callbacks;
mod codes;
mod events;
mod face;
mod filter;
mod groups;
mod lifetime;
mod limits;
mod pair;
mod rare;
mod socket;
mod suspend;
mod timeouts;
mod watermarks;

use crate::base::deferred::Deferred;
use crate::buffer::{self, evbuffer};
use crate::event_base;
use crate::layout::{bufferevent, event_watermark};
use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_char, c_int, c_short, c_void};
use core::mem::offset_of;
use core::ops::Deref;
use core::ptr::NonNull;
use events::Lodging;
use libc::timeval;
use rare::Rare;

pub use lifetime::{hold, let_go};
pub use watermarks::buffer_changed;

type DataCb = Option<unsafe extern "C-unwind" fn(*mut bufferevent, *mut c_void)>;
type EventCb = Option<unsafe extern "C-unwind" fn(*mut bufferevent, c_short, *mut c_void)>;

/// What sort of bufferevent it is. The public part points to it (be_ops), whose first member is the sort's name, as
/// libevent's is.
#[repr(C)]
pub struct Ops {
    name: *const c_char,
    kind: Kind,
}

// SAFETY: never written to.
unsafe impl Sync for Ops {}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Socket,
    Pair,
    Filter,
}

static SOCKET: Ops = Ops { name: c"socket".as_ptr(), kind: Kind::Socket };
static PAIR: Ops = Ops { name: c"pair_elt".as_ptr(), kind: Kind::Pair };
static FILTER: Ops = Ops { name: c"filter".as_ptr(), kind: Kind::Filter };

/// Why a direction is at rest though it is enabled.
mod why {
    /// The input is at its high watermark.
    pub const WATERMARK: u8 = 0x01;
    /// Its own bucket is empty.
    pub const LIMIT: u8 = 0x02;
    /// It queues for its group's.
    pub const GROUP: u8 = 0x04;
    /// A name is being looked up.
    pub const LOOKUP: u8 = 0x08;
    /// The filter above does not read.
    pub const FILTER: u8 = 0x10;
}

/// Bits of [`Private::flags`]; the four options are the lowest ones.
mod flag {
    pub const READ_PENDING: u16 = 0x0010;
    pub const WRITE_PENDING: u16 = 0x0020;
    pub const CONNECTING: u16 = 0x0040;
    /// The read handler met the refusal first; the write handler is to say it.
    pub const REFUSED: u16 = 0x0080;
    pub const OWNS_LOCK: u16 = 0x0100;
    /// Filters: the output's changes are looked at.
    pub const WATCHES_OUTPUT: u16 = 0x0200;
    /// Filters: the input's are, because the underlying one still has bytes for it.
    pub const WATCHES_INPUT: u16 = 0x0400;
    /// Sockets: their read callback runs.
    pub const IN_READ: u16 = 0x0800;
    /// It has written something, which goes out when it returns.
    pub const WRITE_DUE: u16 = 0x1000;
    /// The read callback has left all of the input at its high watermark: it is called again once something is taken.
    pub const LEFT_FULL: u16 = 0x2000;
    /// Nothing was taken of the input since the read callback began.
    pub const UNTOUCHED: u16 = 0x8000;
    /// Pairs and filters: the output grew, also if it was passed on at once.
    pub const GREW: u16 = 0x4000;
}

/// struct bufferevent and what is behind it: 448 bytes, so that an idle one is small. Cells, because programs and callbacks
/// change it while it is looked at.
#[repr(C)]
pub struct Private {
    base: Cell<*mut event_base>,
    ops: Cell<&'static Ops>,
    ev_read: Lodging<Words>,
    ev_write: Lodging<UnsafeCell<Deferred>>,
    input_at: Cell<*mut evbuffer>,
    output_at: Cell<*mut evbuffer>,
    wm_read: Cell<event_watermark>,
    wm_write: Cell<event_watermark>,
    readcb: Cell<DataCb>,
    writecb: Cell<DataCb>,
    errorcb: Cell<EventCb>,
    cbarg: Cell<*mut c_void>,
    timeout_read: Cell<timeval>,
    timeout_write: Cell<timeval>,
    enabled: Cell<c_short>,
    // The public part ends here; these are in what would be its padding.
    events_pending: Cell<c_short>,
    read_suspended: Cell<u8>,
    write_suspended: Cell<u8>,
    flags: Cell<u16>,
    /// Behind it, where the buffers look for their lock.
    pair: UnsafeCell<buffer::Pair>,
}

/// What lodges in the read event.
struct Words {
    refs: Cell<u32>,
    errno_pending: Cell<c_int>,
    /// The loop's turn in which it last wrote without asking the kernel first.
    wrote_in: Cell<u32>,
    /// Null where there is nothing rare about it.
    rare: Cell<*mut Rare>,
}

const _: () = {
    assert!(offset_of!(Private, ops) == offset_of!(bufferevent, be_ops));
    assert!(offset_of!(Private, ev_read) == offset_of!(bufferevent, ev_read));
    assert!(offset_of!(Private, ev_write) == offset_of!(bufferevent, ev_write));
    assert!(offset_of!(Private, input_at) == offset_of!(bufferevent, input));
    assert!(offset_of!(Private, wm_read) == offset_of!(bufferevent, wm_read));
    assert!(offset_of!(Private, readcb) == offset_of!(bufferevent, readcb));
    assert!(offset_of!(Private, cbarg) == offset_of!(bufferevent, cbarg));
    assert!(offset_of!(Private, timeout_write) == offset_of!(bufferevent, timeout_write));
    assert!(offset_of!(Private, enabled) == offset_of!(bufferevent, enabled));
    assert!(offset_of!(Private, pair) == size_of::<bufferevent>());
    assert!(size_of::<Private>() == 448);
};

/// A bufferevent that lives: one that a caller named, or that is held. Copied freely; what it points to does not move.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bev(NonNull<Private>);

impl Bev {
    /// The one a caller named.
    ///
    /// # Safety
    /// `named` is a bufferevent that was not freed yet, and is not freed while this is used.
    #[inline]
    unsafe fn of(named: *mut bufferevent) -> Self {
        // SAFETY: not null, as the caller vouches.
        Bev(unsafe { NonNull::new_unchecked(named.cast()) })
    }

    /// As programs name it.
    #[inline]
    fn public(self) -> *mut bufferevent {
        self.0.as_ptr().cast()
    }

    #[inline]
    fn kind(self) -> Kind {
        self.ops.get().kind
    }

    #[inline]
    fn has(self, flag: u16) -> bool {
        self.flags.get() & flag != 0
    }
    #[inline]
    fn set(self, flag: u16, on: bool) {
        let others = self.flags.get() & !flag;
        self.flags.set(if on { others | flag } else { others });
    }
    /// The lock; null where there is none.
    #[inline]
    fn lock(self) -> *mut c_void {
        // SAFETY: a word of memory that lives; it is written once, before anybody else knows the bufferevent.
        unsafe { (*self.pair.get()).lock }
    }
    /// Of the options it was made with.
    fn option(self, option: c_int) -> bool {
        c_int::from(self.flags.get() & 0xf) & option != 0
    }
    #[inline]
    fn enables(self, direction: c_short) -> bool {
        self.enabled.get() & direction != 0
    }
}

impl Private {
    #[inline]
    fn words(&self) -> &Words {
        self.ev_read.words()
    }
    #[inline]
    fn refs(&self) -> &Cell<u32> {
        &self.words().refs
    }
}

impl Deref for Bev {
    type Target = Private;
    #[inline]
    fn deref(&self) -> &Private {
        // SAFETY: it lives: who made the Bev vouched for it. All of it is cells.
        unsafe { self.0.as_ref() }
    }
}
