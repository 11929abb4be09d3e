//! Callbacks that run soon on the loop: for buffers and bufferevents, which must not call the program from within its own
//! calls.

use super::rows::Row;
use super::{Base, NOBODY, base_or_current, deliver, event_base};
use core::ffi::c_void;
use duolu_core::{EventId, EventSpec, Ready};

/// So many in a turn run in that turn; what is scheduled beyond runs in the next, so that callbacks that schedule each other
/// do not keep the loop from its descriptors. libevent's number.
const MAX_IN_TURN: u32 = 32;

type Callback = unsafe extern "C-unwind" fn(*mut Deferred, *mut c_void);

/// Embedded where it is needed. It stays where it is while it is scheduled or runs.
#[derive(Debug)]
#[repr(C)]
pub struct Deferred {
    /// The engine's id; 0 while it is not scheduled.
    slot: u64,
    callback: Callback,
    arg: *mut c_void,
    priority: u8,
}

const _: () = assert!(size_of::<Deferred>() == 32);

impl Deferred {
    /// Runs `callback(this, arg)` when it was scheduled. A priority beyond the base's is its least urgent one.
    pub const fn new(priority: u8, callback: Callback, arg: *mut c_void) -> Self {
        Deferred { slot: 0, callback, arg, priority }
    }

    /// Runs soon on `base`, once however often it was scheduled. True: it was not scheduled yet.
    ///
    /// # Safety
    /// `this` stays where it is until it has run or is cancelled; `base` is a base, or null for the current one. Neither
    /// the base's lock is held, nor anything borrowed from it.
    pub unsafe fn schedule(this: *mut Deferred, base: *mut event_base) -> bool {
        // SAFETY: the caller's.
        let Some(base) = (unsafe { base_or_current(base) }) else { return false };
        let mut base = base.enter();
        // SAFETY: the caller's, and the lock is held.
        let deferred = unsafe { &mut *this };
        if deferred.slot != 0 {
            return false;
        }
        let priority = deferred.priority.min((base.priorities - 1) as u8);
        let Ok(id) = base.engine.create(EventSpec { priority, ..EventSpec::new() }) else { return false };
        if !base.rows.set(id.index(), Row::Deferred(this)) {
            base.engine.release(id);
            return false;
        }
        deferred.slot = id.to_bits();
        if base.deferred_now > MAX_IN_TURN {
            base.later.push(id);
        } else {
            base.deferred_now += 1;
            base.engine.activate(id, Ready::USER);
        }
        base.wake();
        true
    }

    /// Does not run unless it runs already. It may be gone when this returns, if it does not run in another thread.
    ///
    /// # Safety
    /// As `schedule`, and the base is the same.
    pub unsafe fn cancel(this: *mut Deferred, base: *mut event_base) {
        // SAFETY: the caller's.
        let Some(base) = (unsafe { base_or_current(base) }) else { return };
        let mut base = base.enter();
        // SAFETY: the caller's, and the lock is held.
        let deferred = unsafe { &mut *this };
        if deferred.slot != 0 {
            base.engine.release(EventId::from_bits(deferred.slot));
            deferred.slot = 0;
        }
    }

    /// Changes its queue. Where it is scheduled already it goes to the end of the new one.
    ///
    /// # Safety
    /// As `cancel`.
    pub unsafe fn set_priority(this: *mut Deferred, base: *mut event_base, priority: u8) {
        // SAFETY: the caller's.
        unsafe {
            let scheduled = match base_or_current(base) {
                Some(base) => {
                    let _held = base.enter();
                    (*this).priority = priority;
                    (*this).slot != 0
                }
                None => {
                    (*this).priority = priority;
                    false
                }
            };
            if scheduled {
                Self::cancel(this, base);
                Self::schedule(this, base);
            }
        }
    }
}

/// Calls one that is due.
///
/// # Safety
/// As `deliver::pass`.
pub(super) unsafe fn call(base: Base, this: *mut Deferred) -> u8 {
    // SAFETY: a scheduled one is where it was; from the call on it may be gone.
    unsafe {
        (*this).slot = 0;
        let Deferred { callback, arg, priority, .. } = *this;
        deliver::begin_call(base, NOBODY);
        callback(this, arg);
        deliver::end_call(base);
        priority
    }
}

/// The base ends: it will not run.
pub(super) fn forget(base: Base, this: *mut Deferred, id: EventId) {
    base.enter().engine.release(id);
    // SAFETY: a scheduled one is where it was.
    unsafe { (*this).slot = 0 };
}
