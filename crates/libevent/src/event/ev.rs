//! An event of the caller's memory, as it is handled in here.

use crate::event_base;
use crate::layout::{event, event_callback_fn};
use core::ffi::{c_int, c_short, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicI16, Ordering::Relaxed};
use duolu_core::{EventId, Interest};

pub const EV_TIMEOUT: c_short = 1;
pub const EV_READ: c_short = 2;
pub const EV_WRITE: c_short = 4;
pub const EV_SIGNAL: c_short = 8;
pub const EV_PERSIST: c_short = 0x10;
pub const EV_ET: c_short = 0x20;
pub const EV_FINALIZE: c_short = 0x40;
pub const EV_CLOSED: c_short = 0x80;
/// What waits for a descriptor.
pub const IO: c_short = EV_READ | EV_WRITE | EV_CLOSED;

/// Its timeout runs. EVLIST_*, as all of these: in the public struct.
pub const TIMEOUT: c_short = 1;
/// It waits for its descriptor or signal.
pub const INSERTED: c_short = 2;
/// The program has made it active (what the kernel makes active is known to the engine alone).
pub const ACTIVE: c_short = 8;
pub const INTERNAL: c_short = 0x10;
/// As ACTIVE, from the next turn on.
pub const ACTIVE_LATER: c_short = 0x20;
pub const FINALIZING: c_short = 0x40;
/// event_assign was there.
pub const INIT: c_short = 0x80;

/// evcb_closure: what is to be called, and how.
pub mod closure {
    pub const EVENT: u8 = 0;
    pub const SIGNAL: u8 = 1;
    pub const PERSIST: u8 = 2;
    pub const FINALIZE: u8 = 5;
    pub const FINALIZE_FREE: u8 = 6;
}

/// An event: a checked pointer. Whoever makes one answers for it as C's header asks: it is assigned, and stays until it is
/// neither pending nor active (or its callback has returned).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ev(NonNull<event>);

macro_rules! fields {
    ($($(#[$doc:meta])* $get:ident $set:ident: $type:ty = $($path:ident).+;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        pub fn $get(self) -> $type {
            // SAFETY: see [`Ev`]; no reference to the caller's memory is ever kept.
            unsafe { (*self.0.as_ptr()).$($path).+ }
        }
        #[inline(always)]
        pub fn $set(self, value: $type) {
            // SAFETY: as above.
            unsafe { (*self.0.as_ptr()).$($path).+ = value }
        }
    )* };
}

impl Ev {
    /// # Safety
    /// See [`Ev`].
    #[inline(always)]
    pub unsafe fn of(event: *mut event) -> Self {
        // SAFETY: the caller's.
        Ev(unsafe { NonNull::new_unchecked(event) })
    }

    #[inline(always)]
    pub fn as_ptr(self) -> *mut event {
        self.0.as_ptr()
    }

    /// Changed under the base's lock only. A bufferevent looks at those bits of its own events without it that its own lock
    /// guards, while the loop changes others of the same word: hence atomic, which costs nothing here.
    #[inline(always)]
    pub fn flags(self) -> c_short {
        // SAFETY: see [`Ev`]; the word is aligned for itself.
        unsafe { AtomicI16::from_ptr(&raw mut (*self.0.as_ptr()).evcallback.flags).load(Relaxed) }
    }

    #[inline(always)]
    pub fn set_flags(self, value: c_short) {
        // SAFETY: as above.
        unsafe { AtomicI16::from_ptr(&raw mut (*self.0.as_ptr()).evcallback.flags).store(value, Relaxed) }
    }

    fields! {
        priority set_priority: u8 = evcallback.priority;
        closure set_closure: u8 = evcallback.closure;
        callback set_callback: event_callback_fn = evcallback.callback;
        arg set_arg: *mut c_void = evcallback.arg;
        fd set_fd: c_int = fd;
        base set_base: *mut event_base = base;
        events set_events: c_short = events;
        res set_res: c_short = res;
        /// The engine's id, 0 while it has none: libevent has a list's link here.
        slot set_slot: u64 = evcallback.active_next.next;
        timeout set_timeout: libc::timeval = timeout;
        ncalls_word set_ncalls_word: u64 = signal.ncalls;
        /// While a signal's callback is called several times: where to stop it.
        pncalls set_pncalls: u64 = signal.pncalls;
    }

    /// Puts flags there and takes others away.
    #[inline(always)]
    pub fn change_flags(self, set: c_short, clear: c_short) {
        self.set_flags(self.flags() & !clear | set);
    }

    #[inline(always)]
    pub fn has(self, flags: c_short) -> bool {
        self.flags() & flags != 0
    }

    /// The engine's id, as long as it has one.
    #[inline(always)]
    pub fn id(self) -> Option<EventId> {
        let slot = self.slot();
        (slot != 0).then(|| EventId::from_bits(slot))
    }

    /// How often a signal's callback is to be called.
    pub fn ncalls(self) -> c_short {
        self.ncalls_word() as c_short
    }

    pub fn set_ncalls(self, ncalls: c_short) {
        self.set_ncalls_word(u64::from(ncalls as u16));
    }

    /// What it asks of its descriptor.
    #[inline(always)]
    pub fn interest(self) -> Interest {
        let events = self.events();
        Interest::from_bits((events >> 1 & 1 | events & EV_WRITE | events >> 6 & 2) as u8)
    }
}

const _: () = assert!(Interest::READ.bits() == 1 && Interest::WRITE.bits() == 4);
const _: () = assert!(Interest::PEER_CLOSED.bits() == 2);
