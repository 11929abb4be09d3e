//! From making a bufferevent to its last byte: references, the lock, and finalizing on the loop.
//!
//! Traps:
//! (a) A bufferevent whose last reference goes may be running on another thread, or be about to be called. So it is taken
//!     apart by the loop, when none of its events runs any more (the descriptor is closed then, too), as in libevent.
//! (b) Its group may wake it until it has left the group: it leaves with the last reference, before (a).
//! (c) The lock outlives the unlocking of whoever held the last reference: its address is copied first.

use super::codes::*;
use super::events::LODGED;
use super::rare::Rare;
use super::{Bev, Kind, Ops, Private, Words, filter, flag, groups, pair, socket};
use crate::base::control::event_base_get_npriorities;
use crate::base::deferred::Deferred;
use crate::base::finalize::finalize_later;
use crate::buffer::{self, evbuffer};
use crate::layout::bufferevent;
use crate::{event_base, lock, log, mem};
use core::cell::Cell;
use core::ffi::{c_int, c_void};

/// Holds the lock.
pub(super) struct Locked(*mut c_void);

impl Locked {
    #[inline]
    pub fn of(bev: Bev) -> Self {
        let lock = bev.lock();
        // SAFETY: the bufferevent's own, or null; it lives as long as the bufferevent.
        unsafe { lock::acquire(lock) };
        Locked(lock)
    }
}

impl Drop for Locked {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: taken by this thread, above.
        unsafe { lock::release(self.0) };
    }
}

/// Holds the lock and a reference.
pub(super) struct Held(Bev);

impl Held {
    #[inline]
    pub fn of(bev: Bev) -> Self {
        bev.acquire();
        bev.refs().set(bev.refs().get() + 1);
        Held(bev)
    }

    /// With a reference that is there already.
    #[inline]
    pub fn adopt(bev: Bev) -> Self {
        bev.acquire();
        Held(bev)
    }

    /// Nothing where the last reference is gone: it is only waiting to be taken apart.
    pub fn unless_dying(bev: Bev) -> Option<Self> {
        let locked = Locked::of(bev);
        if bev.refs().get() == 0 {
            return None;
        }
        core::mem::forget(locked);
        bev.refs().set(bev.refs().get() + 1);
        Some(Held(bev))
    }

    pub fn bev(&self) -> Bev {
        self.0
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Bev {
    #[inline]
    pub(super) fn acquire(self) {
        // SAFETY: the bufferevent's own, or null.
        unsafe { lock::acquire(self.lock()) };
    }

    /// One reference less, and the lock let go of. True: it was the last.
    #[inline]
    pub(super) fn give_up(self) -> bool {
        let left = self.refs().get().saturating_sub(1);
        self.refs().set(left);
        let lock = self.lock(); // (c)
        if left == 0 {
            self.unlink();
        }
        // SAFETY: held by this thread.
        unsafe { lock::release(lock) };
        left == 0
    }

    #[cold]
    fn unlink(self) {
        match self.kind() {
            Kind::Socket => {}
            Kind::Pair => pair::unlink(self),
            Kind::Filter => filter::unlink(self),
        }
        groups::leave(self); // (b)
        let timer = self.limit_timer();
        let events = [self.read_event().0, self.write_event().0, timer.unwrap_or(core::ptr::null_mut())];
        let events = if timer.is_some() { &events[..] } else { &events[..2] };
        // SAFETY: all of them lie in this allocation, which stays until `take_apart`. (a)
        unsafe {
            finalize_later(
                self.read_event().base(),
                events,
                &[self.deferred()],
                take_apart,
                self.public().cast(),
            )
        };
    }
}

/// Nobody uses it any more: (a).
unsafe fn take_apart(bev: *mut c_void) {
    // SAFETY: the bufferevent that was unlinked.
    let bev = unsafe { Bev::of(bev.cast()) };
    let (lock, underlying) = (bev.lock(), bev.underlying());
    let locked = Locked::of(bev);
    let frees_lock = match bev.kind() {
        Kind::Socket => {
            socket::destruct(bev);
            bev.has(flag::OWNS_LOCK)
        }
        Kind::Pair => pair::destruct(bev),
        Kind::Filter => {
            filter::destruct(bev);
            bev.has(flag::OWNS_LOCK)
        }
    };
    // SAFETY: embedded, and nobody's any more.
    unsafe {
        buffer::retire(bev.input_at.get());
        buffer::retire(bev.output_at.get());
    }
    drop(locked);
    if frees_lock {
        // SAFETY: made by `add_lock`, and nobody's any more.
        unsafe { lock::free(lock, true) };
    }
    bev.release_memory();
    // Its lock may be the one that was used here, so it goes last.
    if let Some(underlying) = underlying {
        drop(Held::adopt(underlying));
    }
}

impl Bev {
    /// A new one without a lock and without what its kind adds. None, with ENOMEM, if there is no memory; with EINVAL for
    /// options that do not go together.
    pub(super) fn make(
        base: *mut event_base,
        ops: &'static Ops,
        options: c_int,
        rare: Option<Rare>,
    ) -> Option<Self> {
        if options & (DEFER_CALLBACKS | UNLOCK_CALLBACKS) == UNLOCK_CALLBACKS {
            log::warn("UNLOCK_CALLBACKS requires DEFER_CALLBACKS");
            return None;
        }
        let memory = mem::calloc(1, size_of::<Private>()).cast::<Private>();
        if memory.is_null() {
            return None;
        }
        let public = memory.cast::<bufferevent>();
        // SAFETY: base, or null for the current one.
        let priorities = unsafe { event_base_get_npriorities(base) };
        let rare = rare.map_or(core::ptr::null_mut(), |rare| Box::into_raw(Box::new(rare)));
        // SAFETY: fresh memory of the right size, all zeroes; each field is written before it is looked at, and zeroes are
        // the others' values (no callbacks, no lock, no timeouts).
        unsafe {
            (&raw mut (*memory).base).cast::<*mut event_base>().write(base);
            (&raw mut (*memory).ops).cast::<&'static Ops>().write(ops);
            let words = Words {
                refs: Cell::new(1),
                errno_pending: Cell::new(0),
                wrote_in: Cell::new(u32::MAX),
                rare: Cell::new(rare),
            };
            (&raw mut (*memory).ev_read).byte_add(LODGED).cast::<Words>().write(words);
            let priority = (priorities / 2).clamp(0, 255) as u8;
            let deferred = Deferred::new(priority, Bev::run_deferred, memory.cast());
            (&raw mut (*memory).ev_write).byte_add(LODGED).cast::<Deferred>().write(deferred);
            let pair = (&raw mut (*memory).pair).cast::<buffer::Pair>();
            pair.write(buffer::Pair::new(core::ptr::null_mut()));
            (&raw mut (*memory).input_at).cast::<*mut evbuffer>().write(&raw mut (*pair).input);
            (&raw mut (*memory).output_at).cast::<*mut evbuffer>().write(&raw mut (*pair).output);
        }
        // SAFETY: made a moment ago.
        let bev = unsafe { Bev::of(public) };
        bev.flags.set((options & 0xf) as u16);
        // So that bufferevent_write is enough to write; reading has to be asked for.
        bev.enabled.set(EV_WRITE);
        Some(bev)
    }

    /// Undoes [`Bev::make`] and [`Bev::add_lock`], where nobody has seen it yet.
    pub(super) fn unmake(self) {
        let lock = self.lock();
        // SAFETY: nobody else knows it: no event was added, nothing scheduled.
        unsafe {
            buffer::retire(self.input_at.get());
            buffer::retire(self.output_at.get());
            if self.has(flag::OWNS_LOCK) {
                lock::free(lock, true);
            }
        }
        self.release_memory();
    }

    fn release_memory(self) {
        let rare = self.words().rare.replace(core::ptr::null_mut());
        // SAFETY: from Box::into_raw or null; then from mem::calloc. Nobody uses either any more.
        unsafe {
            if !rare.is_null() {
                drop(Box::from_raw(rare));
            }
            mem::free(self.public().cast());
        }
    }

    /// Gives it and its buffers `lock`, or one of its own for null. False where there is none to be had: threads are off.
    pub(super) fn add_lock(self, shared: *mut c_void) -> bool {
        let mut lock = shared;
        if lock.is_null() {
            lock = lock::new(true);
            if lock.is_null() {
                return false;
            }
            self.set(flag::OWNS_LOCK, true);
        }
        // SAFETY: a word of memory that lives, and nobody else knows the bufferevent yet.
        unsafe { (*self.pair.get()).lock = lock };
        true
    }
}

/// It frees itself on the loop, once none of its callbacks runs; no callback begins any more. What was not written yet
/// is lost.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_free(bev: *mut bufferevent) {
    // SAFETY: the caller's bufferevent.
    unsafe { Bev::of(bev) }.free();
}

impl Bev {
    pub(super) fn free(self) {
        let held = Held::adopt(self);
        self.set_callbacks(None, None, None, core::ptr::null_mut());
        drop(held);
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_incref(bev: *mut bufferevent) {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    bev.refs().set(bev.refs().get() + 1);
}

/// 1: it was the last reference.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_decref(bev: *mut bufferevent) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    bev.acquire();
    c_int::from(bev.give_up())
}

/// Takes a reference as well: unlocking gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_lock(bev: *mut bufferevent) {
    // SAFETY: the caller's bufferevent.
    core::mem::forget(Held::of(unsafe { Bev::of(bev) }));
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_unlock(bev: *mut bufferevent) {
    // SAFETY: the caller's bufferevent, locked by this thread.
    unsafe { Bev::of(bev) }.give_up();
}

/// A callback of one of its buffers was put off: it lives until [`let_go`].
///
/// # Safety
/// `bev` lives, and is locked by this thread.
pub unsafe fn hold(bev: *mut bufferevent) {
    // SAFETY: the caller's.
    let bev = unsafe { Bev::of(bev) };
    bev.refs().set(bev.refs().get() + 1);
}

/// That callback has run.
///
/// # Safety
/// After [`hold`].
pub unsafe fn let_go(bev: *mut bufferevent) {
    // SAFETY: the caller's.
    drop(Held::adopt(unsafe { Bev::of(bev) }));
}
