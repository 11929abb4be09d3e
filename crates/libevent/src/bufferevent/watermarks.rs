//! Watermarks, and what happens here when a buffer changes.

use super::codes::*;
use super::lifetime::Locked;
use super::{Bev, Kind, filter, flag, pair, socket, why};
use crate::layout::{bufferevent, event_watermark};
use core::ffi::{c_int, c_short};

/// The output or the input of `bev` has changed, and the program's own callbacks have been told. `added` and `removed` are
/// in bytes.
///
/// # Safety
/// `bev` lives. Called under its lock, with nothing borrowed.
#[inline]
pub unsafe fn buffer_changed(bev: *mut bufferevent, output: bool, added: usize, removed: usize) {
    // SAFETY: as the caller vouches.
    let bev = unsafe { Bev::of(bev) };
    if bev.refs().get() == 0 {
        return; // the program's callback has freed it: it only waits to be taken apart
    }
    if !output {
        if removed > 0 {
            bev.set(flag::UNTOUCHED, false);
        }
        bev.input_changed();
        if removed > 0 && bev.has(flag::LEFT_FULL) {
            bev.read_after_all();
        }
        return;
    }
    match bev.kind() {
        Kind::Socket if added > 0 => socket::output_grew(bev),
        Kind::Pair if added > removed => pair::output_grew(bev),
        Kind::Filter if added > 0 && bev.has(flag::WATCHES_OUTPUT) => filter::output_grew(bev),
        _ => {}
    }
}

impl Bev {
    fn input_changed(self) {
        let high = self.wm_read.get().high;
        if high != 0 {
            self.look_at_input(high);
        }
        if self.has(flag::WATCHES_INPUT) {
            filter::input_changed(self);
        }
    }

    fn look_at_input(self, high: usize) {
        if self.input_len() >= high {
            self.suspend_read(why::WATERMARK);
        } else {
            self.resume_read(why::WATERMARK);
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_setwatermark(
    bev: *mut bufferevent,
    directions: c_short,
    low: usize,
    high: usize,
) {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    if directions & EV_WRITE != 0 {
        bev.wm_write.set(event_watermark { low, high });
    }
    if directions & EV_READ != 0 {
        bev.wm_read.set(event_watermark { low, high });
        if high != 0 {
            bev.look_at_input(high);
        } else {
            bev.resume_read(why::WATERMARK);
        }
        if bev.has(flag::LEFT_FULL) {
            bev.read_after_all();
        }
    }
}

/// -1 unless exactly one direction is asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_getwatermark(
    bev: *mut bufferevent,
    direction: c_short,
    low: *mut usize,
    high: *mut usize,
) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    let marks = match direction {
        EV_READ => bev.wm_read.get(),
        EV_WRITE => bev.wm_write.get(),
        _ => return -1,
    };
    // SAFETY: each is null or the caller's to write to.
    unsafe {
        if let Some(to) = low.as_mut() {
            *to = marks.low;
        }
        if let Some(to) = high.as_mut() {
            *to = marks.high;
        }
    }
    0
}
