//! libevent's public structs, which live in the caller's memory: offsets and sizes are the ABI's, asserted here and by a C
//! probe in crates/conform.

use core::ffi::{c_int, c_short, c_void};
use core::mem::offset_of;
use libc::timeval;

/// evutil_socket_t.
pub type Socket = c_int;
/// What an event calls. It may throw (C++): the loop lets it pass.
pub type event_callback_fn = Option<unsafe extern "C-unwind" fn(Socket, c_short, *mut c_void)>;

/// A link of libevent's lists. Ours to use as we like: no program follows them.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Link {
    pub next: u64,
    pub prev: u64,
}

/// struct event_callback.
#[repr(C)]
pub struct event_callback {
    pub active_next: Link,
    pub flags: c_short,
    pub priority: u8,
    pub closure: u8,
    /// Of events: event_callback_fn.
    pub callback: event_callback_fn,
    pub arg: *mut c_void,
}

/// The part of an event that is of signals (a union with what descriptors' events have there).
#[derive(Clone, Copy)]
#[repr(C)]
pub struct SignalPart {
    pub next: Link,
    /// ev_ncalls, a short.
    pub ncalls: u64,
    /// ev_pncalls, an address.
    pub pncalls: u64,
}

/// struct event.
#[repr(C)]
pub struct event {
    pub evcallback: event_callback,
    pub timeout_pos: Link,
    pub fd: Socket,
    pub base: *mut crate::event_base,
    pub signal: SignalPart,
    pub events: c_short,
    pub res: c_short,
    pub timeout: timeval,
}

const _: () = {
    assert!(size_of::<event_callback>() == 40);
    assert!(offset_of!(event_callback, flags) == 16 && offset_of!(event_callback, priority) == 18);
    assert!(offset_of!(event_callback, closure) == 19 && offset_of!(event_callback, callback) == 24);
    assert!(offset_of!(event_callback, arg) == 32);
    assert!(size_of::<event>() == 128 && offset_of!(event, timeout_pos) == 40);
    assert!(offset_of!(event, fd) == 56 && offset_of!(event, base) == 64);
    assert!(offset_of!(event, signal) == 72 && offset_of!(event, events) == 104);
    assert!(offset_of!(event, res) == 106 && offset_of!(event, timeout) == 112);
};

/// struct event_watermark.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct event_watermark {
    pub low: usize,
    pub high: usize,
}

/// struct bufferevent. What is private stands behind it, in the same allocation.
#[repr(C)]
pub struct bufferevent {
    pub ev_base: *mut crate::event_base,
    pub be_ops: *const c_void,
    pub ev_read: event,
    pub ev_write: event,
    pub input: *mut c_void,
    pub output: *mut c_void,
    pub wm_read: event_watermark,
    pub wm_write: event_watermark,
    pub readcb: Option<unsafe extern "C-unwind" fn(*mut bufferevent, *mut c_void)>,
    pub writecb: Option<unsafe extern "C-unwind" fn(*mut bufferevent, *mut c_void)>,
    pub errorcb: Option<unsafe extern "C-unwind" fn(*mut bufferevent, c_short, *mut c_void)>,
    pub cbarg: *mut c_void,
    pub timeout_read: timeval,
    pub timeout_write: timeval,
    pub enabled: c_short,
}

const _: () = {
    assert!(size_of::<event_watermark>() == 16 && size_of::<bufferevent>() == 392);
    assert!(offset_of!(bufferevent, ev_read) == 16 && offset_of!(bufferevent, ev_write) == 144);
    assert!(offset_of!(bufferevent, input) == 272 && offset_of!(bufferevent, output) == 280);
    assert!(offset_of!(bufferevent, wm_read) == 288 && offset_of!(bufferevent, wm_write) == 304);
    assert!(offset_of!(bufferevent, readcb) == 320 && offset_of!(bufferevent, writecb) == 328);
    assert!(offset_of!(bufferevent, errorcb) == 336 && offset_of!(bufferevent, cbarg) == 344);
    assert!(offset_of!(bufferevent, timeout_read) == 352 && offset_of!(bufferevent, timeout_write) == 368);
    assert!(offset_of!(bufferevent, enabled) == 384);
};

/// struct evbuffer_ptr: returned by value.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct evbuffer_ptr {
    pub pos: isize,
    pub chain: *mut c_void,
    pub pos_in_chain: usize,
}

/// struct evbuffer_cb_info.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct evbuffer_cb_info {
    pub orig_size: usize,
    pub n_added: usize,
    pub n_deleted: usize,
}

const _: () = assert!(size_of::<evbuffer_ptr>() == 24 && size_of::<evbuffer_cb_info>() == 24);
