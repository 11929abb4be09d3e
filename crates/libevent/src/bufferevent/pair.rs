//! Two bufferevents of which one reads what the other writes, without a descriptor between them. Their callbacks are
//! always deferred, and they share a lock.

use super::codes::*;
use super::lifetime::Held;
use super::rare::Rare;
use super::{Bev, PAIR, flag};
use crate::buffer::life::{evbuffer_freeze, evbuffer_unfreeze};
use crate::buffer::two::{evbuffer_add_buffer, evbuffer_remove_buffer};
use crate::layout::bufferevent;
use crate::{event_base, mem};
use core::cell::{Cell, RefCell};
use core::ffi::{c_int, c_short};
use core::ptr::null_mut;
use std::rc::Rc;

/// What one of a pair has besides.
#[derive(Default)]
pub struct Half {
    /// None once that one is freed.
    partner: Cell<Option<Bev>>,
    /// Counts those that still use the lock; changed under it.
    lock_users: RefCell<Option<Rc<()>>>,
}

fn half(bev: Bev) -> Option<&'static Half> {
    bev.rare()?.half.as_deref()
}

/// The other one.
pub fn partner(bev: Bev) -> Option<Bev> {
    half(bev)?.partner.get()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_pair_new(
    base: *mut event_base,
    options: c_int,
    pair: *mut *mut bufferevent,
) -> c_int {
    let Some(made) = mem::fallible(|| new(base, options), undo).flatten() else { return -1 };
    // SAFETY: the caller's array of two.
    unsafe {
        pair.write(made[0].public());
        pair.add(1).write(made[1].public());
    }
    0
}

fn undo(made: Option<[Bev; 2]>) {
    if let Some([first, second]) = made {
        second.unmake();
        first.unmake();
    }
}

fn new(base: *mut event_base, options: c_int) -> Option<[Bev; 2]> {
    let one = || {
        let rare = Rare { half: Some(Box::default()), ..Rare::default() };
        Bev::make(base, &PAIR, options | DEFER_CALLBACKS, Some(rare))
    };
    let first = one()?;
    let Some(second) = one() else {
        first.unmake();
        return None;
    };
    if options & THREADSAFE != 0 {
        if !first.add_lock(null_mut()) {
            undo(Some([first, second]));
            return None;
        }
        second.add_lock(first.lock());
    }
    let users = Rc::new(());
    for (bev, other) in [(first, second), (second, first)] {
        if let Some(half) = half(bev) {
            half.partner.set(Some(other));
            half.lock_users.replace(Some(Rc::clone(&users)));
        }
        bev.prepare_timeouts();
        freeze(bev, true);
    }
    Some([first, second])
}

/// Keeps programs from adding to the input and from draining the output; false lets bytes pass.
fn freeze(bev: Bev, frozen: bool) {
    // SAFETY: its own buffers.
    unsafe {
        let set = if frozen { evbuffer_freeze } else { evbuffer_unfreeze };
        set(bev.input_at.get(), 0);
        set(bev.output_at.get(), 1);
    }
}

/// Whether bytes would pass from one to the other.
fn would_pass(from: Bev, to: Bev) -> bool {
    from.enables(EV_WRITE) && to.enables(EV_READ) && to.read_suspended.get() == 0 && from.output_len() > 0
}

/// Has them pass, as many as the reader's high watermark allows.
fn pass(from: Bev, to: Bev, ignore_watermark: bool) {
    let (output, input) = (from.output_at.get(), to.input_at.get());
    let (high, there) = (to.wm_read.get().high, to.input_len());
    if high != 0 && there >= high && !ignore_watermark {
        return;
    }
    // SAFETY: buffers of two that are held, thawed for as long as this takes.
    let wanted = unsafe {
        evbuffer_unfreeze(output, 1);
        evbuffer_unfreeze(input, 0);
        if high != 0 && there < high {
            let wanted = high - there;
            evbuffer_remove_buffer(output, input, wanted);
            wanted
        } else {
            let wanted = from.output_len();
            evbuffer_add_buffer(input, output);
            wanted
        }
    };
    if wanted > 0 {
        to.restart_read_timeout();
        if to.output_len() > 0 {
            to.restart_write_timeout();
        } else {
            to.write_event().del();
        }
    }
    to.trigger(EV_READ, 0);
    from.trigger(EV_WRITE, 0);
    // SAFETY: as above.
    unsafe {
        evbuffer_freeze(output, 1);
        evbuffer_freeze(input, 0);
    }
}

pub fn output_grew(bev: Bev) {
    let _held = Held::of(bev);
    bev.set(flag::GREW, true);
    if let Some(partner) = partner(bev) {
        let _partner = Held::of(partner);
        if would_pass(bev, partner) {
            pass(bev, partner, false);
        }
    }
}

pub fn start(bev: Bev, directions: c_short) -> bool {
    let _held = Held::of(bev);
    if directions & EV_READ != 0 {
        bev.restart_read_timeout();
    }
    if directions & EV_WRITE != 0 && bev.output_len() > 0 {
        bev.restart_write_timeout();
    }
    let Some(partner) = partner(bev) else { return true };
    let _partner = Held::of(partner);
    if directions & EV_READ != 0 && would_pass(partner, bev) {
        pass(partner, bev, false);
    }
    if directions & EV_WRITE != 0 && would_pass(bev, partner) {
        pass(bev, partner, false);
    }
    true
}

pub fn stop(bev: Bev, directions: c_short) -> bool {
    if directions & EV_READ != 0 {
        bev.read_event().del();
    }
    if directions & EV_WRITE != 0 {
        bev.write_event().del();
    }
    true
}

pub fn flush(bev: Bev, directions: c_short, mode: c_int) -> c_int {
    let Some(partner) = partner(bev) else { return -1 };
    if mode == NORMAL {
        return 0;
    }
    let _held = (Held::of(bev), Held::of(partner));
    if directions & EV_READ != 0 {
        pass(partner, bev, true);
    }
    if directions & EV_WRITE != 0 {
        pass(bev, partner, true);
    }
    if mode == FINISHED {
        // The other side: what we do not write any more is what it does not read any more.
        let read = if directions & EV_READ != 0 { WRITING } else { 0 };
        let written = if directions & EV_WRITE != 0 { READING } else { 0 };
        partner.run_event(EOF | read | written, 0);
    }
    0
}

/// The last reference is gone: the other one is alone.
pub fn unlink(bev: Bev) {
    if let Some(partner) = half(bev).and_then(|half| half.partner.take())
        && let Some(other) = half(partner)
    {
        other.partner.set(None);
    }
}

/// A filter has given it a lock that its partner has not: nobody else frees that.
pub fn shares_no_lock(bev: Bev) {
    if let Some(half) = half(bev) {
        half.lock_users.replace(Some(Rc::default()));
    }
}

/// True: nobody uses the lock any more.
pub fn destruct(bev: Bev) -> bool {
    let users = half(bev).and_then(|half| half.lock_users.take());
    let is_last = users.is_none_or(|users| Rc::strong_count(&users) == 1);
    is_last && !bev.lock().is_null()
}
