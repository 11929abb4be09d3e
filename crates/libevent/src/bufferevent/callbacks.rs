//! Calling the program: at once, or by the loop where callbacks are deferred.

use super::codes::*;
use super::lifetime::Held;
use super::{Bev, DataCb, EventCb, flag};
use crate::base::deferred::Deferred;
use crate::layout::{bufferevent, event_watermark};
use crate::lock;
use core::ffi::{c_int, c_short, c_void};
use duolu_core::Errno;
use duolu_sys::syscall::{last_errno, set_errno};

impl Bev {
    fn defers(self, options: c_int) -> bool {
        (c_int::from(self.flags.get() & 0xf) | options) & DEFER_CALLBACKS != 0
    }

    pub(super) fn deferred(self) -> *mut Deferred {
        self.ev_write.words().get()
    }

    /// Has the loop call what is pending. It holds a reference meanwhile.
    fn schedule(self) {
        // SAFETY: it lives in this allocation, which the reference keeps; finalizing waits for it.
        if unsafe { Deferred::schedule(self.deferred(), self.read_event().base()) } {
            self.refs().set(self.refs().get() + 1);
        }
    }

    /// Needs the lock and a reference, as the others here.
    pub(super) fn run_read(self, options: c_int) {
        if self.readcb.get().is_none() {
            return;
        }
        if self.defers(options) {
            self.set(flag::READ_PENDING, true);
            self.schedule();
        } else {
            let mark = self.begin_read();
            self.call_data(self.readcb.get())();
            self.read_again(mark);
        }
    }

    pub(super) fn run_write(self, options: c_int) {
        if self.writecb.get().is_none() {
            return;
        }
        if self.defers(options) {
            self.set(flag::WRITE_PENDING, true);
            self.schedule();
        } else {
            self.call_data(self.writecb.get())();
        }
    }

    /// errno is what the program is to find there.
    pub(super) fn run_event(self, what: c_short, options: c_int) {
        if self.errorcb.get().is_none() {
            return;
        }
        if self.defers(options) {
            self.events_pending.set(self.events_pending.get() | what);
            self.words().errno_pending.set(last_errno().0);
            self.schedule();
        } else {
            self.call_event(self.errorcb.get(), what)();
        }
    }

    /// Callback and argument are what they were before a lock was let go.
    fn call_data(self, callback: DataCb) -> impl FnOnce() {
        let argument = self.cbarg.get();
        move || {
            if let Some(callback) = callback {
                // SAFETY: what the program gave for it, with its argument.
                unsafe { callback(self.public(), argument) };
            }
        }
    }

    fn call_event(self, callback: EventCb, what: c_short) -> impl FnOnce() {
        let argument = self.cbarg.get();
        move || {
            if let Some(callback) = callback {
                // SAFETY: as above.
                unsafe { callback(self.public(), what, argument) };
            }
        }
    }

    /// A read callback is about to be called; gives the input's high watermark.
    fn begin_read(self) -> usize {
        self.set(flag::LEFT_FULL, false);
        self.set(flag::UNTOUCHED, true);
        self.wm_read.get().high
    }

    /// Where the callback left the input at its high watermark nothing will arrive, so it is called once more by the loop.
    /// Not if it took nothing and the mark is what it was: it would be called forever.
    fn read_again(self, mark: usize) {
        let high = self.wm_read.get().high;
        if high == 0 || !self.enables(EV_READ) || self.input_len() < high {
            return;
        }
        if high == mark && self.has(flag::UNTOUCHED) {
            self.set(flag::LEFT_FULL, true);
        } else {
            let _held = Held::of(self);
            self.trigger(EV_READ, DEFER_CALLBACKS);
        }
    }

    /// Something was taken from an input that the read callback had left full, or its mark was moved.
    pub(super) fn read_after_all(self) {
        self.set(flag::LEFT_FULL, false);
        if let Some(_held) = Held::unless_dying(self)
            && self.enables(EV_READ)
        {
            self.trigger(EV_READ, DEFER_CALLBACKS);
        }
    }

    /// Calls back for each direction, where its low watermark allows it.
    pub(super) fn trigger(self, directions: c_short, options: c_int) {
        let (event_watermark { low: read_low, .. }, ignore) =
            (self.wm_read.get(), options & IGNORE_WATERMARKS != 0);
        if directions & EV_READ != 0 && (ignore || self.input_len() >= read_low) {
            self.run_read(options);
        }
        if directions & EV_WRITE != 0 && (ignore || self.output_len() <= self.wm_write.get().low) {
            self.run_write(options);
        }
    }

    /// The loop's part of [`Bev::schedule`].
    pub(super) unsafe extern "C-unwind" fn run_deferred(_: *mut Deferred, bev: *mut c_void) {
        // SAFETY: scheduling took the reference that `held` gives back.
        let bev = unsafe { Bev::of(bev.cast()) };
        let held = Held::adopt(bev);
        // It came before any bytes did.
        if bev.events_pending.get() & CONNECTED != 0 && bev.errorcb.get().is_some() {
            bev.events_pending.set(bev.events_pending.get() & !CONNECTED);
            bev.unlocked(bev.call_event(bev.errorcb.get(), CONNECTED));
        }
        if bev.has(flag::READ_PENDING) && bev.readcb.get().is_some() {
            bev.set(flag::READ_PENDING, false);
            let mark = bev.begin_read();
            bev.unlocked(bev.call_data(bev.readcb.get()));
            bev.read_again(mark);
        }
        if bev.has(flag::WRITE_PENDING) && bev.writecb.get().is_some() {
            bev.set(flag::WRITE_PENDING, false);
            bev.unlocked(bev.call_data(bev.writecb.get()));
        }
        if bev.events_pending.get() != 0 && bev.errorcb.get().is_some() {
            let what = bev.events_pending.replace(0);
            set_errno(Errno(bev.words().errno_pending.replace(0)));
            bev.unlocked(bev.call_event(bev.errorcb.get(), what));
        }
        drop(held);
    }

    /// Calls without the lock, where the program asked for that.
    fn unlocked(self, call: impl FnOnce()) {
        struct Relock(*mut c_void);
        impl Drop for Relock {
            fn drop(&mut self) {
                // SAFETY: the bufferevent's, which the caller holds.
                unsafe { lock::acquire(self.0) };
            }
        }
        if !self.option(UNLOCK_CALLBACKS) {
            return call();
        }
        // SAFETY: taken by this thread.
        unsafe { lock::release(self.lock()) };
        let _relock = Relock(self.lock()); // a C++ program may throw through it
        call();
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_trigger(
    bev: *mut bufferevent,
    directions: c_short,
    options: c_int,
) {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _held = Held::of(bev);
    bev.trigger(directions, options & (IGNORE_WATERMARKS | DEFER_CALLBACKS));
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_trigger_event(
    bev: *mut bufferevent,
    what: c_short,
    options: c_int,
) {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _held = Held::of(bev);
    bev.run_event(what, options & (IGNORE_WATERMARKS | DEFER_CALLBACKS));
}
