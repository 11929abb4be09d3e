//! Bufferevents over a descriptor.

mod connect;
mod read;
mod write;

use super::codes::*;
use super::lifetime::Locked;
use super::{Bev, Kind, SOCKET, flag};
use crate::base::deferred::Deferred;
use crate::buffer::life::{evbuffer_freeze, evbuffer_set_flags, evbuffer_unfreeze};
use crate::event::{event_base_set, event_priority_set};
use crate::layout::bufferevent;
use crate::{buffer, event_base};
use core::ffi::{c_int, c_short};
use core::ptr::null_mut;

pub use write::output_grew;

/// Null without memory, or where a lock is asked for and threads are off.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_socket_new(
    base: *mut event_base,
    fd: c_int,
    options: c_int,
) -> *mut bufferevent {
    let Some(bev) = Bev::make(base, &SOCKET, options, None) else { return null_mut() };
    if options & THREADSAFE != 0 && !bev.add_lock(null_mut()) {
        bev.unmake();
        return null_mut();
    }
    // SAFETY: its own buffers. What is read is added by nobody else, and what is written drained by nobody else.
    unsafe {
        evbuffer_set_flags(bev.output_at.get(), buffer::DRAINS_TO_FD.into());
        evbuffer_freeze(bev.input_at.get(), 0);
        evbuffer_freeze(bev.output_at.get(), 1);
    }
    assign(bev, fd);
    bev.public()
}

/// On the current base, as before 2.0.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_new(
    fd: c_int,
    read: super::DataCb,
    write: super::DataCb,
    event: super::EventCb,
    argument: *mut core::ffi::c_void,
) -> *mut bufferevent {
    // SAFETY: the current base.
    let bev = unsafe { bufferevent_socket_new(null_mut(), fd, 0) };
    if !bev.is_null() {
        // SAFETY: made a moment ago.
        unsafe { Bev::of(bev) }.set_callbacks(read, write, event, argument);
    }
    bev
}

fn assign(bev: Bev, fd: c_int) {
    bev.read_event().assign(bev.base.get(), fd, EV_READ | EV_PERSIST, read::on_readable, bev.public().cast());
    bev.write_event().assign(
        bev.base.get(),
        fd,
        EV_WRITE | EV_PERSIST,
        write::on_writable,
        bev.public().cast(),
    );
}

pub fn start(bev: Bev, directions: c_short) -> bool {
    let reads = directions & EV_READ == 0 || bev.read_event().add(bev.timeout_read.get());
    reads && (directions & EV_WRITE == 0 || bev.write_event().add(bev.timeout_write.get()))
}

/// While it connects, the write event says when that is done, whether writing is enabled or not.
pub fn stop(bev: Bev, directions: c_short) -> bool {
    let reads = directions & EV_READ == 0 || bev.read_event().del();
    reads && (directions & EV_WRITE == 0 || bev.has(flag::CONNECTING) || bev.write_event().del())
}

pub fn destruct(bev: Bev) {
    let fd = bev.fd();
    if bev.option(CLOSE_ON_FREE) && fd >= 0 {
        close(fd);
    }
}

fn close(fd: c_int) {
    // SAFETY: the program gave the descriptor away with BEV_OPT_CLOSE_ON_FREE, or it was made here.
    unsafe { libc::close(fd) };
}

/// Another descriptor; what is enabled begins again with it.
pub fn set_fd(bev: Bev, fd: c_int) {
    let _locked = Locked::of(bev);
    bev.read_event().del();
    bev.write_event().del();
    bev.set(flag::WRITE_DUE, false); // it begins anew below, if it is enabled
    // SAFETY: its own buffers. They are frozen again by the next read and write.
    unsafe {
        evbuffer_unfreeze(bev.input_at.get(), 0);
        evbuffer_unfreeze(bev.output_at.get(), 1);
    }
    assign(bev, fd);
    if fd >= 0 {
        bev.enable(bev.enabled.get());
    }
}

/// Sockets only.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_base_set(base: *mut event_base, bev: *mut bufferevent) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    if bev.kind() != Kind::Socket {
        return -1;
    }
    bev.base.set(base);
    // SAFETY: its own events.
    unsafe {
        match event_base_set(base, bev.read_event().0) {
            -1 => -1,
            _ => event_base_set(base, bev.write_event().0),
        }
    }
}

/// Sockets only. -1 while its events are about to be called.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_priority_set(bev: *mut bufferevent, priority: c_int) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    if bev.kind() != Kind::Socket {
        return -1;
    }
    // SAFETY: its own events and deferred callback.
    unsafe {
        let set = |event: super::events::Own| event_priority_set(event.0, priority) != -1;
        let write = bev.write_event();
        // What was written in this turn has made it active, and not the kernel: of that a program knows nothing.
        let spared = write.is_pending() && !write.is_inserted();
        if spared {
            write.del();
        }
        let done = set(bev.read_event()) && set(write);
        if spared {
            write.activate(super::codes::EV_WRITE);
        }
        if !done {
            return -1;
        }
        Deferred::set_priority(bev.deferred(), bev.read_event().base(), priority.clamp(0, 255) as u8);
    }
    0
}
