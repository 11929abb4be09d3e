//! struct event_base: an engine, whose its events are, and what libevent knows of a loop beside that.
//!
//! An event has a slot in the engine exactly while it is pending or active, because its memory is the caller's and may be
//! gone without a word at any other time: event_add makes the slot, event_del gives it up, and so does the handing out of
//! an event that is not pending any more ([`duolu_core::Rules`]). The event knows its slot's id, `rows` knows the slot's event.
//!
//! - [`config`], [`method`], [`birth`]: how a base is made, and ends
//! - [`run`], [`deliver`]: the loop, and what it calls; [`control`]: what tells it to stop, and counts
//! - [`pending`]: adding, removing, making active, for `crate::event`
//! - [`threads`]: other threads while the loop waits; [`signals`], [`time`]
//! - [`deferred`], [`finalize`], [`once`]: what else is called by the loop
//! - [`inspect`]: looking at what is there, [`verbose`]: telling of it; [`current`]: the base that nobody names

pub mod birth;
pub mod config;
pub mod control;
pub mod current;
pub mod deferred;
pub mod deliver;
pub mod finalize;
pub mod inspect;
pub mod method;
pub mod once;
pub mod pending;
mod rows;
pub mod run;
mod signals;
pub mod threads;
pub mod time;
pub mod verbose;

use crate::event::Ev;
use crate::lock;
use core::ffi::c_void;
use core::ops::{Deref, DerefMut};
use core::ptr::{NonNull, null_mut};
use duolu_core::{Backend, Engine, EventId};
use duolu_sys::MonotonicClock;
use rows::Rows;

/// struct event_base: opaque to programs.
#[allow(missing_debug_implementations)]
pub struct event_base {
    pub(crate) engine: Engine<dyn Backend, MonotonicClock>,
    /// Whose the engine's slots are.
    pub(crate) rows: Rows,
    /// The program's own lock; null where there are no threads.
    pub(crate) lock: *mut c_void,
    /// What ends a pass early: see [`control`].
    pub(crate) interrupt: u8,
    pub(crate) exit_asked: bool,
    pub(crate) running: bool,
    /// A callback runs, and the lock is not held by the loop.
    pub(crate) in_callback: bool,
    /// A thread is in the backend's wait, without the lock.
    pub(crate) waiting: bool,
    /// The engine was used by another thread during that wait.
    pub(crate) disturbed: bool,
    /// EVENT_BASE_FLAG_*.
    pub(crate) flags: u32,
    pub(crate) priorities: u16,
    /// How often a deferred callback was scheduled in this turn.
    pub(crate) deferred_now: u32,
    /// The event whose callback runs, or null.
    pub(crate) current: *mut c_void,
    /// Which turn of the loop it is. Looked at without the lock.
    pub(crate) turn: core::sync::atomic::AtomicU32,
    pub(crate) lent: deliver::Lent,
    /// Which call of a callback it is: event_del waits for one call, not for what comes after.
    pub(crate) calls: u64,
    /// Threads that wait for the callback to return.
    pub(crate) waiters: u32,
    /// The thread that runs the loop.
    pub(crate) owner: core::ffi::c_ulong,
    /// What they wait on.
    pub(crate) returned: *mut c_void,
    /// INSERTED and TIMEOUT flags that are set in events.
    pub(crate) added: usize,
    /// What keeps the loop running without being an event.
    pub(crate) virtuals: usize,
    pub(crate) most: control::Most,
    /// Callbacks that become active with the next turn.
    pub(crate) later: Vec<EventId>,
    pub(crate) dispatch: config::Dispatch,
    pub(crate) method: method::Method,
    pub(crate) signals: Option<Box<signals::Signals>>,
    pub(crate) waker: Option<Box<threads::Notifier>>,
    pub(crate) time: time::Times,
    pub(crate) onces: *mut once::Once,
}

/// A base: a checked pointer. Whoever makes one answers for it as C's header asks: it was made here and is not freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Base(NonNull<event_base>);

impl Base {
    /// `None` for null.
    ///
    /// # Safety
    /// See [`Base`].
    #[inline(always)]
    pub unsafe fn of(base: *mut event_base) -> Option<Self> {
        NonNull::new(base).map(Base)
    }

    #[inline(always)]
    pub fn as_ptr(self) -> *mut event_base {
        self.0.as_ptr()
    }

    /// Takes the lock. No callback may run, and nothing that takes it may be called, as long as the answer lives.
    #[inline(always)]
    pub fn enter(self) -> Entered {
        // SAFETY: see [`Base`]; the lock does not change.
        unsafe { lock::acquire((*self.as_ptr()).lock) };
        Entered(self)
    }

    /// [`event_base::readd`] where there are no threads, and so no lock to be taken. False: it was not done.
    #[inline(always)]
    pub(crate) fn readd_alone(self, ev: Ev) -> bool {
        // SAFETY: see [`Base`]; without a lock there is one thread, and the reference is gone before anything is called.
        unsafe { (*self.as_ptr()).lock.is_null() && self.get().readd(ev) }
    }

    /// For the loop, which holds the lock already.
    ///
    /// # Safety
    /// The lock is held, and no other reference to the base lives.
    #[inline(always)]
    pub(crate) unsafe fn get<'a>(self) -> &'a mut event_base {
        // SAFETY: the caller's.
        unsafe { &mut *self.as_ptr() }
    }
}

/// A base whose lock is held.
#[derive(Debug)]
pub struct Entered(Base);

impl Deref for Entered {
    type Target = event_base;
    #[inline(always)]
    fn deref(&self) -> &event_base {
        // SAFETY: the lock is held (or there is one thread), and nothing is called back meanwhile.
        unsafe { &*self.0.as_ptr() }
    }
}

impl DerefMut for Entered {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut event_base {
        // SAFETY: as above.
        unsafe { &mut *self.0.as_ptr() }
    }
}

impl Drop for Entered {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: taken in `enter`.
        unsafe { lock::release(self.0.get().lock) }
    }
}

impl event_base {
    /// The loop's events and callbacks that are due, or will be with the next turn.
    pub(crate) fn has_active(&self) -> bool {
        self.engine.reactor().has_active() || !self.later.is_empty()
    }

    /// Whether anything keeps the loop running.
    pub(crate) fn has_events(&self) -> bool {
        self.added > 0 || self.virtuals > 0
    }

    /// Whether `ev`'s callback runs now in another thread.
    pub(crate) fn runs_elsewhere(&self, ev: Ev) -> bool {
        !self.lock.is_null()
            && self.current == ev.as_ptr().cast()
            && self.running
            && lock::thread_id() != self.owner
    }

    /// Lets go of the lock until the callback that runs now has returned. To be asked again after: it may run once more.
    ///
    /// # Safety
    /// The lock is held once by this thread, which does not run the loop, and no reference to the base lives.
    pub(crate) unsafe fn await_callback(base: Base) {
        // SAFETY: the caller's; the base is looked at anew each time, because others change it meanwhile.
        unsafe {
            let (this, call) = (base.as_ptr(), (*base.as_ptr()).calls);
            if (*this).returned.is_null() {
                return;
            }
            (*this).waiters += 1;
            while (*this).calls == call && !(*this).current.is_null() {
                lock::cond_wait((*this).returned, (*this).lock, None);
            }
            (*this).waiters -= 1;
        }
    }
}

/// The base whose pointer this is, else the one that event_init made.
///
/// # Safety
/// See [`Base`].
pub(crate) unsafe fn base_or_current(base: *mut event_base) -> Option<Base> {
    let base = if base.is_null() { current::get() } else { base };
    // SAFETY: the caller's.
    unsafe { Base::of(base) }
}

const _: () = assert!(size_of::<*mut event_base>() == size_of::<Option<Base>>());
const NOBODY: *mut c_void = null_mut();
