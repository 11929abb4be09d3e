//! What tells a loop to stop, and what is asked of a base: counts, priorities, method.

use super::{Base, event_base};
use core::ffi::{c_char, c_int, c_uint};

/// The pass ends, and the loop with it. A bit of `event_base::interrupt`, as the next.
pub const BREAK: u8 = 1;
/// The pass ends; the kernel is asked again.
pub const CONTINUE: u8 = 2;

/// The pass may end after any callback, when its time is up.
pub const TIMED: u8 = 4;

const COUNT_ACTIVE: c_uint = 1;
const COUNT_VIRTUAL: c_uint = 2;
const COUNT_ADDED: c_uint = 4;

/// The most there were at a time (event_base_get_max_events).
#[derive(Clone, Copy, Debug, Default)]
pub struct Most {
    added: usize,
    active: usize,
    virtuals: usize,
}

impl Most {
    #[inline(always)]
    pub fn note_added(&mut self, added: usize) {
        self.added = self.added.max(added);
    }

    #[inline(always)]
    pub fn note_active(&mut self, active: usize) {
        self.active = self.active.max(active);
    }
}

impl event_base {
    fn interrupt(&mut self, how: u8) {
        self.interrupt |= how;
        self.wake();
    }

    pub(crate) fn active_count(&self) -> usize {
        self.engine.reactor().active_count() + self.later.iter().filter(|id| self.engine.exists(**id)).count()
    }

    /// Keeps the loop running without an event: for a half of a pair whose other half has something to do.
    pub fn add_virtual(&mut self) {
        self.virtuals += 1;
        self.most.virtuals = self.most.virtuals.max(self.virtuals);
    }

    /// Takes one `add_virtual` back.
    pub fn del_virtual(&mut self) {
        self.virtuals = self.virtuals.saturating_sub(1);
        if self.virtuals == 0 {
            self.wake();
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopbreak(base: *mut event_base) -> c_int {
    // SAFETY: null or a base, as the header says; so for all below.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    base.enter().interrupt(BREAK);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_loopcontinue(base: *mut event_base) -> c_int {
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    base.enter().interrupt(CONTINUE);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_break(base: *mut event_base) -> c_int {
    // SAFETY: as above.
    unsafe { Base::of(base) }.map_or(0, |base| c_int::from(base.enter().interrupt & BREAK != 0))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_got_exit(base: *mut event_base) -> c_int {
    // SAFETY: as above.
    unsafe { Base::of(base) }.map_or(0, |base| c_int::from(base.enter().exit_asked))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_method(base: *const event_base) -> *const c_char {
    // SAFETY: as above; a method never changes.
    unsafe { base.as_ref() }.map_or(core::ptr::null(), |base| base.method.name.as_ptr())
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_features(base: *const event_base) -> c_int {
    // SAFETY: as above.
    unsafe { base.as_ref() }.map_or(0, |base| base.method.features)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_npriorities(base: *mut event_base) -> c_int {
    // SAFETY: null or a base; `None` is the current one.
    unsafe { super::base_or_current(base) }.map_or(0, |base| c_int::from(base.enter().priorities))
}

/// 1 to 255, while nothing is active.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_priority_init(base: *mut event_base, priorities: c_int) -> c_int {
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    let mut base = base.enter();
    let Ok(priorities @ 1..256) = u16::try_from(priorities) else { return -1 };
    if !base.later.is_empty() || !base.engine.set_priorities(priorities) {
        return -1;
    }
    base.priorities = priorities;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_num_events(base: *mut event_base, which: c_uint) -> c_int {
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    let base = base.enter();
    let active = base.active_count();
    let mut count = 0;
    if which & COUNT_ACTIVE != 0 {
        count += active;
    }
    if which & COUNT_VIRTUAL != 0 {
        count += base.virtuals;
    }
    if which & COUNT_ADDED != 0 {
        // An active event counts among the added ones once more.
        count += base.added + active;
    }
    c_int::try_from(count).unwrap_or(c_int::MAX)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_get_max_events(
    base: *mut event_base,
    which: c_uint,
    clear: c_int,
) -> c_int {
    // SAFETY: as above.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    let mut base = base.enter();
    let mut count = 0;
    let mut take = |bit: c_uint, most: &mut usize| {
        if which & bit != 0 {
            count += *most;
            *most = if clear != 0 { 0 } else { *most };
        }
    };
    take(COUNT_ACTIVE, &mut base.most.active);
    take(COUNT_VIRTUAL, &mut base.most.virtuals);
    take(COUNT_ADDED, &mut base.most.added);
    c_int::try_from(count).unwrap_or(c_int::MAX)
}
