//! Timeouts. Sockets have them with their events; pairs and filters have events that wait for nothing else.

use super::codes::*;
use super::events::is_set;
use super::lifetime::{Held, Locked};
use super::{Bev, Kind};
use crate::layout::bufferevent;
use core::ffi::{c_int, c_short, c_void};
use libc::timeval;

const NONE: timeval = timeval { tv_sec: 0, tv_usec: 0 };

impl Bev {
    /// Gives both events what to call when their time is over.
    pub(super) fn prepare_timeouts(self) {
        self.read_event().assign(self.base.get(), -1, 0, read_is_late, self.public().cast());
        self.write_event().assign(self.base.get(), -1, 0, write_is_late, self.public().cast());
    }

    /// Bytes came: the read timeout begins anew.
    pub(super) fn restart_read_timeout(self) {
        if is_set(self.timeout_read.get()) {
            self.read_event().add(self.timeout_read.get());
        }
    }

    pub(super) fn restart_write_timeout(self) {
        if is_set(self.timeout_write.get()) {
            self.write_event().add(self.timeout_write.get());
        }
    }

    fn adjust_timeouts(self) -> bool {
        match self.kind() {
            Kind::Socket => self.adjust_pending(),
            Kind::Pair | Kind::Filter => self.adjust_generic(),
        }
    }

    /// Those that wait for their descriptor wait so long from now on.
    fn adjust_pending(self) -> bool {
        let mut good = true;
        let both =
            [(self.read_event(), self.timeout_read.get()), (self.write_event(), self.timeout_write.get())];
        for (event, timeout) in both {
            if event.is_pending() {
                good &= if is_set(timeout) { event.add(timeout) } else { event.remove_timer() };
            }
        }
        good
    }

    fn adjust_generic(self) -> bool {
        let reads = self.enables(EV_READ) && self.read_suspended.get() == 0;
        let writes = self.enables(EV_WRITE) && self.write_suspended.get() == 0 && self.output_len() > 0;
        let set = |event: super::events::Own, wanted: bool, timeout: timeval| {
            if wanted && is_set(timeout) { event.add(timeout) } else { event.del() }
        };
        let read = set(self.read_event(), reads, self.timeout_read.get());
        set(self.write_event(), writes, self.timeout_write.get()) && read
    }

    fn set_timeouts(self, read: timeval, write: timeval) -> bool {
        let _locked = Locked::of(self);
        self.timeout_read.set(read);
        self.timeout_write.set(write);
        self.adjust_timeouts()
    }

    pub(super) fn is_late(self, direction: c_short, what: c_short) {
        self.disable(direction);
        self.run_event(TIMEOUT | what, 0);
    }
}

unsafe extern "C-unwind" fn read_is_late(_: c_int, _: c_short, bev: *mut c_void) {
    // SAFETY: the bufferevent that the event is part of.
    let bev = unsafe { Bev::of(bev.cast()) };
    let Some(_held) = Held::unless_dying(bev) else { return };
    bev.is_late(EV_READ, READING);
}

unsafe extern "C-unwind" fn write_is_late(_: c_int, _: c_short, bev: *mut c_void) {
    // SAFETY: as above.
    let bev = unsafe { Bev::of(bev.cast()) };
    let Some(_held) = Held::unless_dying(bev) else { return };
    bev.is_late(EV_WRITE, WRITING);
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_set_timeouts(
    bev: *mut bufferevent,
    read: *const timeval,
    write: *const timeval,
) -> c_int {
    // SAFETY: the caller's bufferevent, and times or null.
    let (bev, read, write) = unsafe { (Bev::of(bev), read.as_ref(), write.as_ref()) };
    if bev.set_timeouts(read.copied().unwrap_or(NONE), write.copied().unwrap_or(NONE)) { 0 } else { -1 }
}

/// In seconds; 0 is none.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_settimeout(bev: *mut bufferevent, read: c_int, write: c_int) {
    let seconds = |count: c_int| timeval { tv_sec: count.into(), tv_usec: 0 };
    // SAFETY: the caller's bufferevent.
    unsafe { Bev::of(bev) }.set_timeouts(seconds(read), seconds(write));
}
