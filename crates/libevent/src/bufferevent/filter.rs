//! A bufferevent over another one, with a function each way that changes the bytes.

use super::codes::*;
use super::lifetime::Held;
use super::rare::Rare;
use super::{Bev, FILTER, flag, pair, why};
use crate::buffer::evbuffer;
use crate::buffer::two::evbuffer_remove_buffer;
use crate::layout::bufferevent;
use crate::{log, mem};
use core::cell::Cell;
use core::ffi::{c_int, c_short, c_void};
use core::ptr::{fn_addr_eq, null_mut};

/// bufferevent_filter_cb: source, destination, the most to add (-1: any), flush mode, context.
type Process = unsafe extern "C-unwind" fn(*mut evbuffer, *mut evbuffer, isize, c_int, *mut c_void) -> c_int;
type FreeContext = unsafe extern "C-unwind" fn(*mut c_void);

pub struct Filter {
    pub underlying: Bev,
    process_in: Process,
    process_out: Process,
    free_context: Option<FreeContext>,
    context: *mut c_void,
    /// The end of what comes from below, held back while bytes that came before it are kept there for want of room.
    held_end: Cell<c_short>,
    /// Bytes were left below that the filter would have taken: for want of room, or because nobody reads.
    left: Cell<bool>,
    /// The loop was asked to look at what is below once more.
    asked: Cell<bool>,
}

/// Where the program gave no function.
unsafe extern "C-unwind" fn pass_on(
    from: *mut evbuffer,
    to: *mut evbuffer,
    most: isize,
    _: c_int,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the buffers of the two bufferevents; -1 is all of it, as a size.
    if unsafe { evbuffer_remove_buffer(from, to, most as usize) } >= 0 { OK } else { FAILED }
}

/// BEV_ERROR.
const FAILED: c_int = 2;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_filter_new(
    underlying: *mut bufferevent,
    process_in: Option<Process>,
    process_out: Option<Process>,
    options: c_int,
    free_context: Option<FreeContext>,
    context: *mut c_void,
) -> *mut bufferevent {
    if underlying.is_null() {
        return null_mut();
    }
    // SAFETY: the caller's bufferevent.
    let underlying = unsafe { Bev::of(underlying) };
    let filter = Filter {
        underlying,
        process_in: process_in.unwrap_or(pass_on),
        process_out: process_out.unwrap_or(pass_on),
        free_context,
        context,
        held_end: Cell::new(0),
        left: Cell::new(false),
        asked: Cell::new(false),
    };
    let make = || {
        let rare = Rare { filter: Some(Box::new(filter)), ..Rare::default() };
        Bev::make(underlying.base.get(), &FILTER, options, Some(rare))
    };
    let undo = |made: Option<Bev>| made.into_iter().for_each(Bev::unmake);
    let Some(bev) = mem::fallible(make, undo).flatten() else { return null_mut() };
    if options & THREADSAFE != 0 {
        // One lock for both, the lower one's: it lives longer, and two would be taken in either order.
        let had_one = !underlying.lock().is_null();
        let has_one = had_one || underlying.add_lock(null_mut());
        if has_one && !had_one {
            pair::shares_no_lock(underlying);
        }
        if has_one {
            bev.add_lock(underlying.lock());
        }
    }
    bev.set(flag::WATCHES_OUTPUT, true);
    bev.prepare_timeouts();
    let argument = bev.public().cast();
    underlying.set_callbacks(Some(on_read), Some(on_write), Some(on_event), argument);
    let _underlying = Held::of(underlying);
    underlying.refs().set(underlying.refs().get() + 1);
    underlying.enable(EV_READ | EV_WRITE);
    underlying.suspend_read(why::FILTER);
    bev.public()
}

fn filter(bev: Bev) -> Option<&'static Filter> {
    bev.rare()?.filter.as_deref()
}

/// The last reference is gone.
pub fn unlink(bev: Bev) {
    let Some(underlying) = bev.underlying() else { return };
    if bev.option(CLOSE_ON_FREE) {
        if underlying.refs().get() < 2 {
            log::warn("BEV_OPT_CLOSE_ON_FREE set on an bufferevent with too few references");
        } else {
            underlying.free();
        }
        return;
    }
    let callback = underlying.errorcb.get();
    let is_ours = callback.is_some_and(|callback| fn_addr_eq(callback, on_event as EventFn));
    if is_ours && underlying.cbarg.get() == bev.public().cast() {
        underlying.set_callbacks(None, None, None, null_mut());
    }
    underlying.resume_read(why::FILTER);
}

type EventFn = unsafe extern "C-unwind" fn(*mut bufferevent, c_short, *mut c_void);

pub fn destruct(bev: Bev) {
    if let Some(Filter { free_context: Some(free), context, .. }) = filter(bev) {
        // SAFETY: what the program gave for it.
        unsafe { free(*context) };
    }
}

pub fn start(bev: Bev, directions: c_short) -> bool {
    if directions & EV_WRITE != 0 {
        bev.restart_write_timeout();
    }
    if directions & EV_READ != 0 {
        bev.restart_read_timeout();
        if let Some(underlying) = bev.underlying() {
            underlying.resume_read(why::FILTER);
        }
        if filter(bev).is_some_and(|filter| filter.left.get()) {
            read_on(bev, DEFER_CALLBACKS);
        }
    }
    true
}

pub fn stop(bev: Bev, directions: c_short) -> bool {
    if directions & EV_WRITE != 0 {
        bev.write_event().del();
    }
    if directions & EV_READ != 0 {
        bev.read_event().del();
        if let Some(underlying) = bev.underlying() {
            underlying.suspend_read(why::FILTER);
        }
    }
    true
}

/// Only flushing goes past high watermarks.
fn input_is_full(bev: Bev, mode: c_int) -> bool {
    let high = bev.wm_read.get().high;
    mode == NORMAL && high != 0 && bev.input_len() >= high
}

fn output_is_full(underlying: Bev, mode: c_int) -> bool {
    let high = underlying.wm_write.get().high;
    mode == NORMAL && high != 0 && underlying.output_len() >= high
}

/// Room below a watermark, as filters are told it.
fn room(mode: c_int, high: usize, there: usize) -> isize {
    if mode == NORMAL && high != 0 { high.wrapping_sub(there) as isize } else { -1 }
}

/// True: bytes were produced. A filter that says so and has done nothing is not asked again: it would be forever.
fn process_input(bev: Bev, mode: c_int) -> bool {
    let Some(filter) = filter(bev) else { return false };
    let underlying = filter.underlying;
    if mode == NORMAL && (!bev.enables(EV_READ) || input_is_full(bev, mode)) {
        filter.left.set(underlying.input_len() > 0);
        return false;
    }
    filter.left.set(false);
    let mut processed = false;
    loop {
        let most = room(mode, bev.wm_read.get().high, bev.input_len());
        let (from, to) = (underlying.input_at.get(), bev.input_at.get());
        let before = (underlying.input_len(), bev.input_len());
        // SAFETY: the program's function and context; both buffers live.
        let result = unsafe { (filter.process_in)(from, to, most, mode, filter.context) };
        processed |= result == OK;
        let did = result == OK && (underlying.input_len(), bev.input_len()) != before;
        let goes_on = did && bev.enables(EV_READ) && underlying.input_len() > 0;
        if !goes_on || input_is_full(bev, mode) {
            filter.left.set(did && underlying.input_len() > 0);
            break;
        }
    }
    if processed {
        bev.restart_read_timeout();
    }
    processed
}

/// The same for the other direction; calls back for what has left the output.
fn process_output(bev: Bev, mode: c_int) -> bool {
    let Some(filter) = filter(bev) else { return false };
    let underlying = filter.underlying;
    let rests = !bev.enables(EV_WRITE) || output_is_full(underlying, mode) || bev.output_len() == 0;
    if mode == NORMAL && rests {
        return false;
    }
    let mut processed = false;
    let unwatched = Unwatched::of(bev);
    loop {
        let mut processed_now = false;
        let goes_on = |result, before| {
            let did = (bev.output_len(), underlying.output_len()) != before || underlying.has(flag::GREW);
            result == OK
                && did
                && bev.enables(EV_WRITE)
                && bev.output_len() > 0
                && !output_is_full(underlying, mode)
        };
        let (result, before) = loop {
            let before = (bev.output_len(), underlying.output_len());
            underlying.set(flag::GREW, false);
            let most = room(mode, underlying.wm_write.get().high, underlying.output_len());
            let (from, to) = (bev.output_at.get(), underlying.output_at.get());
            // SAFETY: as above.
            let result = unsafe { (filter.process_out)(from, to, most, mode, filter.context) };
            processed_now |= result == OK;
            if !goes_on(result, before) {
                break (result, before);
            }
        };
        processed |= processed_now;
        if processed_now {
            bev.trigger(EV_WRITE, 0);
        }
        if !processed_now || !goes_on(result, before) {
            break;
        }
    }
    drop(unwatched);
    if processed {
        bev.restart_write_timeout();
    }
    processed
}

/// What is added to the output meanwhile is seen without being told of it.
struct Unwatched(Bev);

impl Unwatched {
    fn of(bev: Bev) -> Self {
        bev.set(flag::WATCHES_OUTPUT, false);
        Unwatched(bev)
    }
}

impl Drop for Unwatched {
    fn drop(&mut self) {
        self.0.set(flag::WATCHES_OUTPUT, true);
    }
}

pub fn output_grew(bev: Bev) {
    let _held = Held::of(bev);
    bev.set(flag::GREW, true);
    process_output(bev, NORMAL);
}

/// The underlying one has bytes for it.
fn read_on(bev: Bev, options: c_int) {
    let Some(underlying) = bev.underlying() else { return };
    let Some(filter) = filter(bev) else { return };
    if filter.asked.take() && underlying.input_len() == 0 && filter.held_end.get() == 0 {
        return;
    }
    // Again where the callback has made room: nobody else would look at what was left.
    while process_input(bev, NORMAL) {
        bev.trigger(EV_READ, options);
        if filter.left.get() && input_is_full(bev, NORMAL) {
            bev.set(flag::WATCHES_INPUT, true); // they would be stuck there
        }
        if !filter.left.get() || underlying.input_len() == 0 {
            break;
        }
    }
    let end = filter.held_end.get();
    if end != 0 && (!filter.left.get() || underlying.input_len() == 0) {
        filter.held_end.set(0);
        bev.run_event(end, options);
    }
}

/// Looks whether what was left below has room now.
pub fn input_changed(bev: Bev) {
    let Some(_held) = Held::unless_dying(bev) else { return };
    if !input_is_full(bev, NORMAL) {
        bev.set(flag::WATCHES_INPUT, false);
        if let Some(underlying) = bev.underlying()
            && underlying.input_len() > 0
        {
            // By the loop: here the program is in the midst of reading, and would be called back inside of that.
            if let Some(filter) = filter(bev) {
                filter.asked.set(true);
            }
            underlying.trigger(EV_READ, DEFER_CALLBACKS | IGNORE_WATERMARKS);
        }
    }
}

unsafe extern "C-unwind" fn on_read(_: *mut bufferevent, bev: *mut c_void) {
    // SAFETY: the filter, which takes these callbacks away before it goes.
    if let Some(held) = Held::unless_dying(unsafe { Bev::of(bev.cast()) }) {
        read_on(held.bev(), 0);
    }
}

unsafe extern "C-unwind" fn on_write(_: *mut bufferevent, bev: *mut c_void) {
    // SAFETY: as above.
    if let Some(held) = Held::unless_dying(unsafe { Bev::of(bev.cast()) }) {
        process_output(held.bev(), NORMAL);
    }
}

unsafe extern "C-unwind" fn on_event(_: *mut bufferevent, what: c_short, bev: *mut c_void) {
    // SAFETY: as above.
    if let Some(held) = Held::unless_dying(unsafe { Bev::of(bev.cast()) }) {
        let bev = held.bev();
        let Some(filter) = filter(bev) else { return };
        let ends_input = what & READING != 0 && what & (EOF | ERROR) != 0;
        if ends_input && filter.left.get() && filter.underlying.input_len() > 0 {
            // It is told behind the bytes that came before it (libevent: #1451).
            filter.held_end.set(what);
            bev.set(flag::WATCHES_INPUT, true);
        } else {
            bev.run_event(what, 0);
        }
    }
}

/// 1: bytes were produced.
pub fn flush(bev: Bev, directions: c_short, mode: c_int) -> c_int {
    let _held = Held::of(bev);
    let mut processed = false;
    if directions & EV_READ != 0 {
        processed |= process_input(bev, mode);
    }
    if directions & EV_WRITE != 0 {
        processed |= process_output(bev, mode);
    }
    if let Some(underlying) = bev.underlying() {
        underlying.flush(directions, mode);
    }
    c_int::from(processed)
}
