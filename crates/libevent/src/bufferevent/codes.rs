//! The numbers of event2/event.h and event2/bufferevent.h that are used here.

use core::ffi::{c_int, c_short};

pub const EV_TIMEOUT: c_short = 0x01;
pub const EV_READ: c_short = 0x02;
pub const EV_WRITE: c_short = 0x04;
pub const EV_PERSIST: c_short = 0x10;
pub const EV_FINALIZE: c_short = 0x40;

pub const READING: c_short = 0x01;
pub const WRITING: c_short = 0x02;
pub const EOF: c_short = 0x10;
pub const ERROR: c_short = 0x20;
pub const TIMEOUT: c_short = 0x40;
pub const CONNECTED: c_short = 0x80;

pub const CLOSE_ON_FREE: c_int = 1 << 0;
pub const THREADSAFE: c_int = 1 << 1;
pub const DEFER_CALLBACKS: c_int = 1 << 2;
pub const UNLOCK_CALLBACKS: c_int = 1 << 3;
pub const IGNORE_WATERMARKS: c_int = 1 << 16;

/// enum bufferevent_flush_mode.
pub const NORMAL: c_int = 0;
pub const FINISHED: c_int = 2;

/// enum bufferevent_filter_result.
pub const OK: c_int = 0;
