//! Callbacks that are put off to the loop: evbuffer_defer_callbacks.

use super::callback::{ENABLED, NODEFER, extra, run};
use super::{DEFERRED, Entered, INPUT, OUTPUT, User, evbuffer, hook, parent};
use crate::base::deferred::Deferred;
use crate::base::event_base;
use crate::layout::bufferevent;
use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

/// The turn of callbacks that were put off.
///
/// # Safety
/// Of an evbuffer that has a user for it.
pub(super) unsafe extern "C-unwind" fn run_deferred(_: *mut Deferred, this: *mut c_void) {
    let this = this.cast::<evbuffer>();
    // SAFETY: the evbuffer has a user since this was scheduled.
    unsafe {
        let _parent = LetGo(if (*this).flags & (INPUT | OUTPUT) != 0 { parent(this) } else { null_mut() });
        let _entered = Entered::new(this);
        let _user = User(this);
        if let Some(extra) = (*this).extra {
            run(this, extra.as_ptr(), ENABLED | NODEFER, ENABLED, true);
        }
    }
}

/// The bufferevent that was held for the turn.
struct LetGo(*mut bufferevent);

impl Drop for LetGo {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: held when the turn was scheduled, and its lock was let go of before.
            unsafe { hook::let_go(self.0) };
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_defer_callbacks(
    this: *mut evbuffer,
    base: *mut event_base,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        let extra = extra(this);
        let deferred = &raw mut (*extra).deferred;
        let priorities = crate::base::control::event_base_get_npriorities(base);
        (*extra).base = base;
        Deferred::set_priority(deferred, base, u8::try_from(priorities / 2).unwrap_or(0));
        (*this).flags |= DEFERRED;
    }
    0
}

/// What is put off of an evbuffer: null if nothing ever is. For a bufferevent's end.
///
/// # Safety
/// `this` lives and is locked.
pub unsafe fn deferred_of(this: *mut evbuffer) -> *mut Deferred {
    // SAFETY: the caller's.
    unsafe {
        match (*this).extra {
            Some(extra) if (*this).flags & DEFERRED != 0 => &raw mut (*extra.as_ptr()).deferred,
            _ => null_mut(),
        }
    }
}
