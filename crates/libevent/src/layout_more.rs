//! The public structs of http.h, rpc.h and dns.h, and the small ones of thread.h, keyvalq and the lists of event_struct.h.

use crate::layout::Link;
use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::mem::offset_of;

/// A function of the caller's whose type nothing here depends on.
type Pointer = *mut c_void;

/// struct evkeyval: a header, a parameter of a query.
#[repr(C)]
pub struct evkeyval {
    pub next: Link,
    pub key: *mut c_char,
    pub value: *mut c_char,
}

/// struct evkeyvalq: first and last link.
#[repr(C)]
pub struct evkeyvalq {
    pub first: *mut evkeyval,
    pub last: *mut *mut evkeyval,
}

const _: () = assert!(size_of::<evkeyval>() == 32 && size_of::<evkeyvalq>() == 16);

/// struct evhttp_request. Programs read and write its fields.
#[repr(C)]
pub struct evhttp_request {
    pub next: Link,
    pub evcon: Pointer,
    pub flags: c_int,
    pub input_headers: *mut evkeyvalq,
    pub output_headers: *mut evkeyvalq,
    pub remote_host: *mut c_char,
    pub remote_port: u16,
    pub host_cache: *mut c_char,
    pub kind: c_uint,
    pub type_: c_uint,
    pub headers_size: usize,
    pub body_size: usize,
    pub uri: *mut c_char,
    pub uri_elems: Pointer,
    pub major: c_char,
    pub minor: c_char,
    pub response_code: c_int,
    pub response_code_line: *mut c_char,
    pub input_buffer: Pointer,
    pub ntoread: i64,
    /// Bit 0: chunked; bit 1: the user has sent everything.
    pub bits: c_uint,
    pub output_buffer: Pointer,
    pub cb: Pointer,
    pub cb_arg: Pointer,
    pub chunk_cb: Pointer,
    pub header_cb: Pointer,
    pub error_cb: Pointer,
    pub on_complete_cb: Pointer,
    pub on_complete_cb_arg: Pointer,
}

const _: () = {
    assert!(size_of::<evhttp_request>() == 216);
    assert!(offset_of!(evhttp_request, evcon) == 16 && offset_of!(evhttp_request, flags) == 24);
    assert!(
        offset_of!(evhttp_request, input_headers) == 32 && offset_of!(evhttp_request, output_headers) == 40
    );
    assert!(offset_of!(evhttp_request, remote_host) == 48 && offset_of!(evhttp_request, remote_port) == 56);
    assert!(offset_of!(evhttp_request, host_cache) == 64 && offset_of!(evhttp_request, kind) == 72);
    assert!(offset_of!(evhttp_request, type_) == 76 && offset_of!(evhttp_request, headers_size) == 80);
    assert!(offset_of!(evhttp_request, body_size) == 88 && offset_of!(evhttp_request, uri) == 96);
    assert!(offset_of!(evhttp_request, uri_elems) == 104 && offset_of!(evhttp_request, major) == 112);
    assert!(offset_of!(evhttp_request, minor) == 113 && offset_of!(evhttp_request, response_code) == 116);
    assert!(offset_of!(evhttp_request, response_code_line) == 120);
    assert!(offset_of!(evhttp_request, input_buffer) == 128 && offset_of!(evhttp_request, ntoread) == 136);
    assert!(offset_of!(evhttp_request, bits) == 144 && offset_of!(evhttp_request, output_buffer) == 152);
    assert!(offset_of!(evhttp_request, cb) == 160 && offset_of!(evhttp_request, cb_arg) == 168);
    assert!(offset_of!(evhttp_request, chunk_cb) == 176 && offset_of!(evhttp_request, header_cb) == 184);
    assert!(offset_of!(evhttp_request, error_cb) == 192 && offset_of!(evhttp_request, on_complete_cb) == 200);
    assert!(offset_of!(evhttp_request, on_complete_cb_arg) == 208);
};

/// struct evdns_server_request.
#[repr(C)]
pub struct evdns_server_request {
    pub flags: c_int,
    pub nquestions: c_int,
    pub questions: *mut *mut evdns_server_question,
}

/// struct evdns_server_question: its name goes on behind it.
#[repr(C)]
pub struct evdns_server_question {
    pub type_: c_int,
    pub class: c_int,
    pub name: [c_char; 1],
}

const _: () = {
    assert!(size_of::<evdns_server_request>() == 16 && size_of::<evdns_server_question>() == 12);
    assert!(offset_of!(evdns_server_question, name) == 8);
};

/// struct evrpc_status.
#[repr(C)]
pub struct evrpc_status {
    pub error: c_int,
    pub http_req: *mut evhttp_request,
}

/// struct evrpc: what `EVRPC_REGISTER` fills in.
#[repr(C)]
pub struct evrpc {
    pub next: Link,
    pub uri: *const c_char,
    pub request_new: Pointer,
    pub request_new_arg: Pointer,
    pub request_free: Pointer,
    pub request_unmarshal: Pointer,
    pub reply_new: Pointer,
    pub reply_new_arg: Pointer,
    pub reply_free: Pointer,
    pub reply_complete: Pointer,
    pub reply_marshal: Pointer,
    pub cb: Pointer,
    pub cb_arg: Pointer,
    pub base: Pointer,
}

const _: () = assert!(size_of::<evrpc_status>() == 16 && size_of::<evrpc>() == 120);

/// struct evthread_lock_callbacks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct evthread_lock_callbacks {
    pub lock_api_version: c_int,
    pub supported_locktypes: c_uint,
    pub alloc: Option<unsafe extern "C" fn(c_uint) -> *mut c_void>,
    pub free: Option<unsafe extern "C" fn(*mut c_void, c_uint)>,
    pub lock: Option<unsafe extern "C" fn(c_uint, *mut c_void) -> c_int>,
    pub unlock: Option<unsafe extern "C" fn(c_uint, *mut c_void) -> c_int>,
}

/// struct evthread_condition_callbacks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct evthread_condition_callbacks {
    pub condition_api_version: c_int,
    pub alloc_condition: Option<unsafe extern "C" fn(c_uint) -> *mut c_void>,
    pub free_condition: Option<unsafe extern "C" fn(*mut c_void)>,
    pub signal_condition: Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>,
    pub wait_condition: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *const libc::timeval) -> c_int>,
}

const _: () = {
    assert!(size_of::<evthread_lock_callbacks>() == 40 && size_of::<evthread_condition_callbacks>() == 40);
    // What pthread_self returns.
    assert!(size_of::<c_ulong>() == 8);
};

/// struct event_list: a tail queue's head.
#[repr(C)]
pub struct event_list {
    pub first: *mut crate::layout::event,
    pub last: *mut *mut crate::layout::event,
}

/// struct event_dlist: a list's head.
#[repr(C)]
pub struct event_dlist {
    pub first: *mut crate::layout::event,
}

const _: () = assert!(size_of::<event_list>() == 16 && size_of::<event_dlist>() == 8);
