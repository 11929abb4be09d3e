//! The exported functions that only get, set or pass on.

use super::lifetime::Locked;
use super::{Bev, DataCb, EventCb, Kind, filter, pair, socket};
use crate::base::control::event_base_get_npriorities;
use crate::buffer::add::evbuffer_add;
use crate::buffer::take::evbuffer_remove;
use crate::buffer::two::evbuffer_add_buffer;
use crate::buffer::{self, evbuffer};
use crate::event::ask::{event_get_priority, event_initialized};
use crate::event_base;
use crate::layout::bufferevent;
use core::ffi::{c_int, c_short, c_void};

impl Bev {
    #[inline]
    pub(super) fn input_len(self) -> usize {
        // SAFETY: embedded; called under the lock.
        unsafe { buffer::len(self.input_at.get()) }
    }
    #[inline]
    pub(super) fn output_len(self) -> usize {
        // SAFETY: as above.
        unsafe { buffer::len(self.output_at.get()) }
    }

    pub(super) fn set_callbacks(self, read: DataCb, write: DataCb, event: EventCb, argument: *mut c_void) {
        let _locked = Locked::of(self);
        self.readcb.set(read);
        self.writecb.set(write);
        self.errorcb.set(event);
        self.cbarg.set(argument);
    }

    pub(super) fn underlying(self) -> Option<Bev> {
        self.rare()?.filter.as_ref().map(|filter| filter.underlying)
    }

    /// The one that has the descriptor: itself, or that under its filters.
    fn socket(self) -> Option<Bev> {
        match self.kind() {
            Kind::Socket => Some(self),
            Kind::Pair => None,
            Kind::Filter => self.underlying()?.socket(),
        }
    }

    pub(super) fn flush(self, directions: c_short, mode: c_int) -> c_int {
        let _locked = Locked::of(self);
        match self.kind() {
            Kind::Socket => 0,
            Kind::Pair => pair::flush(self, directions, mode),
            Kind::Filter => filter::flush(self, directions, mode),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_setcb(
    bev: *mut bufferevent,
    read: DataCb,
    write: DataCb,
    event: EventCb,
    argument: *mut c_void,
) {
    // SAFETY: the caller's bufferevent.
    unsafe { Bev::of(bev) }.set_callbacks(read, write, event, argument);
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_getcb(
    bev: *mut bufferevent,
    read: *mut DataCb,
    write: *mut DataCb,
    event: *mut EventCb,
    argument: *mut *mut c_void,
) {
    // SAFETY: the caller's bufferevent; each of the others is null or the caller's to write to.
    unsafe {
        let bev = Bev::of(bev);
        let _locked = Locked::of(bev);
        if let Some(to) = read.as_mut() {
            *to = bev.readcb.get();
        }
        if let Some(to) = write.as_mut() {
            *to = bev.writecb.get();
        }
        if let Some(to) = event.as_mut() {
            *to = bev.errorcb.get();
        }
        if let Some(to) = argument.as_mut() {
            *to = bev.cbarg.get();
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_input(bev: *mut bufferevent) -> *mut evbuffer {
    // SAFETY: the caller's bufferevent, here and below.
    unsafe { Bev::of(bev) }.input_at.get()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_output(bev: *mut bufferevent) -> *mut evbuffer {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.output_at.get()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_base(bev: *mut bufferevent) -> *mut event_base {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.base.get()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_underlying(bev: *mut bufferevent) -> *mut bufferevent {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.underlying().map_or(core::ptr::null_mut(), Bev::public)
}

/// Null where it is not one of a pair, or the other one is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_pair_get_partner(bev: *mut bufferevent) -> *mut bufferevent {
    // SAFETY: as above.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    pair::partner(bev).map_or(core::ptr::null_mut(), Bev::public)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_write(
    bev: *mut bufferevent,
    data: *const c_void,
    size: usize,
) -> c_int {
    // SAFETY: as above, and the caller's `size` bytes.
    unsafe { evbuffer_add(Bev::of(bev).output_at.get(), data.cast(), size) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_write_buffer(
    bev: *mut bufferevent,
    from: *mut evbuffer,
) -> c_int {
    // SAFETY: as above, and the caller's buffer.
    unsafe { evbuffer_add_buffer(Bev::of(bev).output_at.get(), from) }
}

/// How many bytes came.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_read(
    bev: *mut bufferevent,
    data: *mut c_void,
    size: usize,
) -> usize {
    // SAFETY: as above, and the caller's room for `size` bytes. A refusal (-1) is what it is in C: the largest number.
    unsafe { evbuffer_remove(Bev::of(bev).input_at.get(), data.cast(), size) as usize }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_read_buffer(bev: *mut bufferevent, to: *mut evbuffer) -> c_int {
    // SAFETY: as above, and the caller's buffer.
    unsafe { evbuffer_add_buffer(to, Bev::of(bev).input_at.get()) }
}

/// -1, or more than that, as the header's filters do: 1 where something was produced.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_flush(
    bev: *mut bufferevent,
    directions: c_short,
    mode: c_int,
) -> c_int {
    // SAFETY: as above.
    unsafe { Bev::of(bev) }.flush(directions, mode)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_setfd(bev: *mut bufferevent, fd: c_int) -> c_int {
    // SAFETY: as above.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    let Some(socket) = bev.socket() else { return -1 };
    socket::set_fd(socket, fd);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_getfd(bev: *mut bufferevent) -> c_int {
    // SAFETY: as above.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    bev.socket().map_or(-1, Bev::fd)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_get_priority(bev: *const bufferevent) -> c_int {
    // SAFETY: as above; its event is at least zeroes.
    unsafe {
        let bev = Bev::of(bev.cast_mut());
        if event_initialized(bev.read_event().0) != 0 {
            event_get_priority(bev.read_event().0)
        } else {
            event_base_get_npriorities(bev.base.get()) / 2
        }
    }
}
