//! Debug mode (event_enable_debug_mode): every event is remembered by its address, so that one that was never assigned, or is
//! assigned anew while it is added, ends the program with a word about it instead of in confusion.
//!
//! Costs a load for each call while it is off.

use super::Ev;
use crate::layout::{Socket, event};
use crate::log;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

static ON: AtomicBool = AtomicBool::new(false);
/// Something was made already that debug mode would have had to see.
static TOO_LATE: AtomicBool = AtomicBool::new(false);
/// Addresses of events that are set up, and whether they are added.
static KNOWN: Mutex<Option<HashMap<usize, bool>>> = Mutex::new(None);

#[inline(always)]
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn known() -> MutexGuard<'static, Option<HashMap<usize, bool>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[unsafe(no_mangle)]
pub extern "C" fn event_enable_debug_mode() {
    if is_on() {
        log::fatal(1, format_args!("event_enable_debug_mode was called twice!"));
    }
    if TOO_LATE.load(Ordering::Relaxed) {
        log::fatal(
            1,
            format_args!(
                "event_enable_debug_mode must be called *before* creating any events or event_bases"
            ),
        );
    }
    *known() = Some(HashMap::new());
    crate::thread::DEBUG_MODE.store(true, Ordering::Relaxed);
    ON.store(true, Ordering::Relaxed);
}

pub(super) fn disable() {
    ON.store(false, Ordering::Relaxed);
    crate::thread::DEBUG_MODE.store(false, Ordering::Relaxed);
    *known() = None;
}

/// From here on debug mode cannot be turned on.
#[inline(always)]
pub fn too_late() {
    if !TOO_LATE.load(Ordering::Relaxed) {
        TOO_LATE.store(true, Ordering::Relaxed);
    }
}

/// `ev` is assigned.
#[inline(always)]
pub fn note_setup(ev: *const event) {
    too_late();
    if is_on() {
        note(ev, Some(false));
    }
}

/// `ev` is gone.
#[inline(always)]
pub fn note_teardown(ev: *const event) {
    if is_on() {
        note(ev, None);
    }
}

#[cold]
fn note(ev: *const event, added: Option<bool>) {
    if let Some(known) = known().as_mut() {
        match added {
            Some(added) => known.insert(ev.addr(), added),
            None => known.remove(&ev.addr()),
        };
    }
}

/// `ev` is added, or is not any more.
#[inline(always)]
pub fn note_added(ev: Ev, added: bool) {
    if is_on() {
        let function = if added { "event_add" } else { "event_del" };
        check_is_setup(function, ev);
        note(ev.as_ptr(), Some(added));
    }
}

/// Ends the program where `ev` is not set up.
#[inline(always)]
pub fn assert_is_setup(function: &str, ev: Ev) {
    if is_on() {
        check_is_setup(function, ev);
    }
}

#[cold]
fn check_is_setup(function: &str, ev: Ev) {
    let is_known = known().as_ref().is_none_or(|known| known.contains_key(&(ev.as_ptr().addr())));
    if !is_known {
        fail(function, "called on a non-initialized event", ev);
    }
}

/// Ends the program where `ev` is added: it must not be set up anew.
///
/// # Safety
/// The caller's memory.
#[inline(always)]
pub unsafe fn assert_not_added(function: &str, ev: *mut event) {
    if is_on() {
        let is_added = known().as_ref().and_then(|known| known.get(&ev.addr()).copied());
        if is_added == Some(true) {
            // SAFETY: it was set up.
            fail(function, "called on an already added event", unsafe { Ev::of(ev) });
        }
    }
}

#[cold]
fn fail(function: &str, what: &str, ev: Ev) -> ! {
    let (events, fd, flags) = (ev.events(), ev.fd(), ev.flags());
    log::fatal(
        log::ABORT,
        format_args!(
            "{function} {what} {:p} (events: {events:#x}, fd: {fd}, flags: {flags:#x})",
            ev.as_ptr()
        ),
    )
}

/// Ends the program where `fd` is a descriptor that blocks.
#[inline(always)]
pub fn assert_nonblocking(fd: Socket) {
    if is_on() && fd >= 0 {
        // SAFETY: only asks.
        let flags: c_int = unsafe { libc::fcntl(fd, libc::F_GETFL) };
        if flags >= 0 && flags & libc::O_NONBLOCK == 0 {
            log::fatal(log::ABORT, format_args!("event_assign: descriptor {fd} is not nonblocking"));
        }
    }
}
