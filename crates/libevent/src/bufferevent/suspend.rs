//! Enabling and disabling, and resting for reasons of its own ([`why`]): then the events are deleted, whatever is enabled.

use super::codes::{EV_READ, EV_WRITE};
use super::lifetime::{Held, Locked};
use super::{Bev, Kind, filter, pair, socket};
use crate::layout::bufferevent;
use core::ffi::{c_int, c_short};

impl Bev {
    /// Begins to read or write for good. False where the base refuses.
    pub(super) fn start(self, directions: c_short) -> bool {
        match self.kind() {
            Kind::Socket => socket::start(self, directions),
            Kind::Pair => pair::start(self, directions),
            Kind::Filter => filter::start(self, directions),
        }
    }

    pub(super) fn stop(self, directions: c_short) -> bool {
        match self.kind() {
            Kind::Socket => socket::stop(self, directions),
            Kind::Pair => pair::stop(self, directions),
            Kind::Filter => filter::stop(self, directions),
        }
    }

    pub(super) fn suspend_read(self, why: u8) {
        let _locked = Locked::of(self);
        if self.read_suspended.get() == 0 {
            self.stop(EV_READ);
        }
        self.read_suspended.set(self.read_suspended.get() | why);
    }

    pub(super) fn suspend_write(self, why: u8) {
        let _locked = Locked::of(self);
        if self.write_suspended.get() == 0 {
            self.stop(EV_WRITE);
        }
        self.write_suspended.set(self.write_suspended.get() | why);
    }

    /// Even where it was not suspended this begins again: a read timeout starts anew, a pair looks for bytes.
    pub(super) fn resume_read(self, why: u8) {
        let _locked = Locked::of(self);
        self.read_suspended.set(self.read_suspended.get() & !why);
        if self.read_suspended.get() == 0 && self.enables(EV_READ) {
            self.start(EV_READ);
        }
    }

    pub(super) fn resume_write(self, why: u8) {
        let _locked = Locked::of(self);
        self.write_suspended.set(self.write_suspended.get() & !why);
        if self.write_suspended.get() == 0 && self.enables(EV_WRITE) {
            self.start(EV_WRITE);
        }
    }

    pub(super) fn enable(self, directions: c_short) -> bool {
        let _held = Held::of(self);
        let mut now = directions;
        if self.read_suspended.get() != 0 {
            now &= !EV_READ;
        }
        if self.write_suspended.get() != 0 {
            now &= !EV_WRITE;
        }
        self.enabled.set(self.enabled.get() | directions);
        now == 0 || self.start(now)
    }

    pub(super) fn disable(self, directions: c_short) -> bool {
        let _locked = Locked::of(self);
        self.enabled.set(self.enabled.get() & !directions);
        self.stop(directions)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_enable(bev: *mut bufferevent, directions: c_short) -> c_int {
    // SAFETY: the caller's bufferevent.
    if unsafe { Bev::of(bev) }.enable(directions) { 0 } else { -1 }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_disable(bev: *mut bufferevent, directions: c_short) -> c_int {
    // SAFETY: the caller's bufferevent.
    if unsafe { Bev::of(bev) }.disable(directions) { 0 } else { -1 }
}

/// What is enabled.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_enabled(bev: *mut bufferevent) -> c_short {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    bev.enabled.get()
}
