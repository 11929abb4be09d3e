//! Who is told of changes: evbuffer_add_cb and its kin.
//!
//! Traps:
//! (a) A callback may change the buffer (which tells all again, inside), remove itself or others, add more, or free the
//!     buffer. So entries that are removed while any callback runs stay linked, marked, until the last one has returned.
//! (b) The newest comes first, and an entry that a callback adds is not called for the change that is being told.
//! (c) While callbacks are put off, those that are not (NODEFER, internal to libevent but reachable by flag) see the counts
//!     since the last time the others ran: libevent counts once for both.
//! (d) A callback that is put off is not called when the evbuffer is freed before its turn. (libevent calls it, with a buffer
//!     that the program has given up.)

use super::turn::run_deferred;
use super::{DEFERRED, Entered, FREED, INPUT, OUTPUT, User, evbuffer, hook, parent};
use crate::base::deferred::Deferred;
use crate::base::event_base;
use crate::layout::evbuffer_cb_info;
use crate::mem;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, null_mut};

/// EVBUFFER_CB_ENABLED.
pub(super) const ENABLED: u32 = 1;
/// EVBUFFER_CB_NODEFER.
pub(super) const NODEFER: u32 = 2;
/// What the program may change.
const USER_FLAGS: u32 = 0xffff;
/// Its function has the signature of evbuffer_setcb.
const OLD_STYLE: u32 = 1 << 18;
/// It waits for the callbacks that run, to be freed (a).
const REMOVED: u32 = 1 << 31;

/// evbuffer_cb_func.
type Func = unsafe extern "C-unwind" fn(*mut evbuffer, *const evbuffer_cb_info, *mut c_void);
/// evbuffer_cb.
type OldFunc = unsafe extern "C-unwind" fn(*mut evbuffer, usize, usize, *mut c_void);

/// What an entry calls; which of them, OLD_STYLE tells.
#[derive(Clone, Copy)]
#[repr(C)]
union Function {
    new: Option<Func>,
    old: Option<OldFunc>,
    address: *mut c_void,
}

/// struct evbuffer_cb_entry: opaque to programs.
#[repr(C)]
pub struct evbuffer_cb_entry {
    next: *mut evbuffer_cb_entry,
    function: Function,
    arg: *mut c_void,
    flags: u32,
}

/// What most buffers do without.
#[derive(Debug)]
pub(super) struct Extra {
    /// See LOCKED.
    pub(super) lock: *mut c_void,
    pub(super) own_lock: bool,
    /// Whether an entry waits to be freed (a).
    sweep: bool,
    /// How many calls of [`run`] are on the stack.
    running: u32,
    entries: *mut evbuffer_cb_entry,
    /// What came and left since the callbacks were told.
    added: usize,
    removed: usize,
    /// Where callbacks are put off: the loop they run on, and their turn there.
    pub(super) base: *mut event_base,
    pub(super) deferred: Deferred,
}

/// The extra of an evbuffer, made if there is none.
///
/// # Safety
/// `this` lives and is locked.
pub(super) unsafe fn extra(this: *mut evbuffer) -> *mut Extra {
    // SAFETY: the caller's.
    let slot = unsafe { &mut (*this).extra };
    slot.get_or_insert_with(|| {
        NonNull::from(Box::leak(Box::new(Extra {
            lock: null_mut(),
            own_lock: false,
            sweep: false,
            running: 0,
            entries: null_mut(),
            added: 0,
            removed: 0,
            base: null_mut(),
            deferred: Deferred::new(0, run_deferred, this.cast()),
        })))
    })
    .as_ptr()
}

/// Tells what has changed since the last time.
///
/// # Safety
/// As [`super::with`]; the lock is held and nothing borrows the buffer.
#[inline]
pub(super) unsafe fn tell(this: *mut evbuffer) {
    // SAFETY: the caller's.
    unsafe {
        let Some(change) = (*this).buffer.take_change() else { return };
        if (*this).extra.is_some() || (*this).flags & (INPUT | OUTPUT) != 0 {
            let info = evbuffer_cb_info {
                orig_size: change.before,
                n_added: change.added,
                n_deleted: change.removed,
            };
            tell_all(this, &info);
        }
    }
}

unsafe fn tell_all(this: *mut evbuffer, info: &evbuffer_cb_info) {
    // SAFETY: of `tell`.
    unsafe {
        if let Some(extra) = (*this).extra
            && !(*extra.as_ptr()).entries.is_null()
        {
            let extra = extra.as_ptr();
            (*extra).added = (*extra).added.saturating_add(info.n_added);
            (*extra).removed = (*extra).removed.saturating_add(info.n_deleted);
            if (*this).flags & DEFERRED == 0 {
                run(this, extra, ENABLED, ENABLED, true);
            } else {
                if Deferred::schedule(&raw mut (*extra).deferred, (*extra).base) {
                    (*this).users = (*this).users.saturating_add(1);
                    if (*this).flags & (INPUT | OUTPUT) != 0 {
                        hook::hold(parent(this));
                    }
                }
                run(this, extra, ENABLED | NODEFER, ENABLED | NODEFER, false); // (c)
            }
        }
        if (*this).flags & (INPUT | OUTPUT) != 0 {
            hook::changed(parent(this), (*this).flags & OUTPUT != 0, info);
        }
    }
}

/// A call of [`run`], also when it is left by something thrown.
struct Running(*mut Extra);

impl Drop for Running {
    fn drop(&mut self) {
        // SAFETY: the evbuffer has a user, so its extra is there.
        unsafe {
            (*self.0).running -= 1;
            if (*self.0).running == 0 && core::mem::take(&mut (*self.0).sweep) {
                free_entries(&mut (*self.0).entries, |entry| entry.flags & REMOVED != 0);
            }
        }
    }
}

/// Calls the entries whose flags under `mask` are `wanted`; `clear`: what they are told is told.
///
/// # Safety
/// As [`tell`]; `extra` is the evbuffer's.
pub(super) unsafe fn run(this: *mut evbuffer, extra: *mut Extra, mask: u32, wanted: u32, clear: bool) {
    // SAFETY: of `tell`. Entries stay where they are while `running` is not 0.
    unsafe {
        if (*extra).added == 0 && (*extra).removed == 0 {
            return;
        }
        let new_size = (*this).buffer.len();
        let info = evbuffer_cb_info {
            orig_size: new_size.wrapping_add((*extra).removed).wrapping_sub((*extra).added),
            n_added: (*extra).added,
            n_deleted: (*extra).removed,
        };
        if clear {
            ((*extra).added, (*extra).removed) = (0, 0);
        }
        let _user = User::of(this);
        (*extra).running += 1;
        let _running = Running(extra);
        let mut entry = (*extra).entries;
        while !entry.is_null() && (*this).flags & FREED == 0 {
            let evbuffer_cb_entry { function, arg, flags, .. } = *entry;
            if flags & (mask | REMOVED) == wanted {
                if flags & OLD_STYLE != 0 {
                    if let Some(function) = function.old {
                        function(this, info.orig_size, new_size, arg);
                    }
                } else if let Some(function) = function.new {
                    function(this, &info, arg);
                }
            }
            entry = (*entry).next;
        }
    }
}

/// Unlinks and frees the entries that `which` says yes to.
unsafe fn free_entries(head: &mut *mut evbuffer_cb_entry, which: impl Fn(&evbuffer_cb_entry) -> bool) {
    let mut link: *mut *mut evbuffer_cb_entry = head;
    // SAFETY: the list is whole, and nobody holds an entry of those.
    unsafe {
        while !(*link).is_null() {
            let entry = *link;
            if which(&*entry) {
                *link = (*entry).next;
                mem::free(entry.cast());
            } else {
                link = &raw mut (*entry).next;
            }
        }
    }
}

/// Marks the first entry, or all, that `which` says yes to as removed, and frees them when nothing runs (a).
unsafe fn remove(this: *mut evbuffer, all: bool, which: impl Fn(*mut evbuffer_cb_entry) -> bool) -> c_int {
    // SAFETY: `this` lives and is locked.
    unsafe {
        let Some(extra) = (*this).extra.map(NonNull::as_ptr) else { return -1 };
        let mut entry = (*extra).entries;
        let mut removed = -1;
        while !entry.is_null() && (all || removed < 0) {
            if (*entry).flags & REMOVED == 0 && which(entry) {
                (*entry).flags |= REMOVED;
                removed = 0;
            }
            entry = (*entry).next;
        }
        if (*extra).running > 0 {
            (*extra).sweep |= removed == 0;
        } else {
            free_entries(&mut (*extra).entries, |entry| entry.flags & REMOVED != 0);
        }
        if (*extra).entries.is_null() {
            ((*extra).added, (*extra).removed) = (0, 0);
        }
        removed
    }
}

/// Frees what stands in `extra`.
///
/// # Safety
/// As [`super::retire`].
pub(super) unsafe fn forget_all(this: *mut evbuffer) {
    // SAFETY: the caller's; it came from a Box.
    unsafe {
        if let Some(extra) = (*this).extra.take() {
            let mut extra = Box::from_raw(extra.as_ptr());
            free_entries(&mut extra.entries, |_| true);
        }
    }
}

unsafe fn add(
    this: *mut evbuffer,
    function: Function,
    arg: *mut c_void,
    flags: u32,
) -> *mut evbuffer_cb_entry {
    let entry = mem::malloc(size_of::<evbuffer_cb_entry>()).cast::<evbuffer_cb_entry>();
    if entry.is_null() {
        return null_mut();
    }
    // SAFETY: `this` is an evbuffer of the caller's, and the entry's memory was just given.
    unsafe {
        let _entered = Entered::new(this);
        let extra = extra(this);
        entry.write(evbuffer_cb_entry { next: (*extra).entries, function, arg, flags });
        (*extra).entries = entry;
    }
    entry
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_cb(
    this: *mut evbuffer,
    function: Option<Func>,
    arg: *mut c_void,
) -> *mut evbuffer_cb_entry {
    // SAFETY: the header's contract.
    unsafe { add(this, Function { new: function }, arg, ENABLED) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_remove_cb_entry(
    this: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
) -> c_int {
    // SAFETY: the header's contract. An entry that is not this buffer's is not touched.
    unsafe {
        let _entered = Entered::new(this);
        remove(this, false, |one| one == entry)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_remove_cb(
    this: *mut evbuffer,
    function: *mut c_void,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the header's contract; a function's address may be looked at as a pointer.
    unsafe {
        let _entered = Entered::new(this);
        remove(this, false, |one| (*one).function.address == function && (*one).arg == arg)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_setcb(
    this: *mut evbuffer,
    function: Option<OldFunc>,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        remove(this, true, |_| true);
        if function.is_some() && add(this, Function { old: function }, arg, ENABLED | OLD_STYLE).is_null() {
            return -1;
        }
        0
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_cb_set_flags(
    this: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
    flags: u32,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*entry).flags |= flags & USER_FLAGS;
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_cb_clear_flags(
    this: *mut evbuffer,
    entry: *mut evbuffer_cb_entry,
    flags: u32,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        let _entered = Entered::new(this);
        (*entry).flags &= !(flags & USER_FLAGS);
    }
    0
}
