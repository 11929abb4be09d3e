//! How a base is made, made anew after a fork, and ends.

use super::config::{Dispatch, NOLOCK, PRECISE_TIMER, event_config, event_config_free, event_config_new};
use super::control::Most;
use super::deliver::Lent;
use super::rows::{Row, Rows};
use super::time::Times;
use super::{Base, NOBODY, base_or_current, current, deferred, event_base, finalize, method, once, verbose};
use crate::event::debug;
use crate::{lock, log, mem};
use core::ffi::c_int;
use core::ptr::{self, null_mut};
use duolu_core::{Budget, Engine, Errno, EventId, Rules};
use duolu_sys::MonotonicClock;
use duolu_sys::syscall::set_errno;

#[unsafe(no_mangle)]
pub extern "C" fn event_base_new() -> *mut event_base {
    let config = event_config_new();
    if config.is_null() {
        return null_mut();
    }
    // SAFETY: just made, and given up here.
    unsafe {
        let base = event_base_new_with_config(config);
        event_config_free(config);
        base
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_new_with_config(config: *const event_config) -> *mut event_base {
    debug::too_late();
    // SAFETY: null or from `event_config_new`.
    let config = unsafe { config.as_ref() };
    let made = mem::fallible(
        || make(config),
        |made| {
            if let Some(base) = made {
                free_memory(base.as_ptr());
            }
        },
    );
    match made {
        Some(Some(base)) => {
            verbose::made(base);
            base.as_ptr()
        }
        _ => null_mut(),
    }
}

fn make(config: Option<&event_config>) -> Option<Base> {
    let mut flags = config.map_or(0, |config| config.flags);
    if method::variable(c"EVENT_PRECISE_TIMER").is_some() {
        // Every timer here is precise.
        flags |= PRECISE_TIMER;
    }
    let (backend, method) = method::choose(config, &mut flags)?;
    if method::variable(c"EVENT_SHOW_METHOD").is_some() {
        log::say(log::Severity::Message, format_args!("libevent using: {}", method.name.to_string_lossy()));
    }
    let dispatch = config.map_or(Dispatch::NO_LIMIT, |config| config.dispatch);
    let mut engine = Engine::new(backend, MonotonicClock, 1);
    // Debug mode looks at every addition.
    engine.set_rules(Rules { lends: !debug::is_on(), ..Rules::LIBEVENT });
    if dispatch.max_callbacks != u32::MAX {
        engine.set_budget(Budget {
            max_callbacks: dispatch.max_callbacks,
            from_priority: dispatch.from_priority,
        });
    }
    let memory = mem::malloc(size_of::<event_base>()).cast::<event_base>();
    if memory.is_null() {
        return None;
    }
    let with_lock = lock::enabled() && flags & NOLOCK == 0;
    let base = event_base {
        engine,
        rows: Rows::default(),
        lock: if with_lock { lock::new(false) } else { null_mut() },
        interrupt: 0,
        exit_asked: false,
        running: false,
        in_callback: false,
        waiting: false,
        disturbed: false,
        flags,
        priorities: 1,
        deferred_now: 0,
        current: NOBODY,
        turn: core::sync::atomic::AtomicU32::new(0),
        lent: Lent::NONE,
        calls: 0,
        waiters: 0,
        owner: 0,
        returned: if with_lock { lock::cond_new() } else { null_mut() },
        added: 0,
        virtuals: 0,
        most: Most::default(),
        later: Vec::new(),
        dispatch,
        method,
        signals: None,
        waker: None,
        time: Times::default(),
        onces: null_mut(),
    };
    // SAFETY: fresh memory of this size; malloc's alignment is enough.
    let base = unsafe {
        ptr::write(memory, base);
        Base::of(memory)?
    };
    // SAFETY: nobody else knows it yet.
    let this = unsafe { base.get() };
    if with_lock && this.make_notifiable() < 0 {
        log::warn_errno(format_args!("event_base_new_with_config: other threads could not wake the base"));
        free_memory(memory);
        return None;
    }
    Some(base)
}

const _: () = assert!(align_of::<event_base>() <= 16);

/// Gives back a base in which there are no events.
fn free_memory(base: *mut event_base) {
    // SAFETY: made by `make`, and used by nobody any more.
    unsafe {
        let (lock, returned) = ((*base).lock, (*base).returned);
        ptr::drop_in_place(base);
        lock::cond_free(returned);
        lock::free(lock, false);
        mem::free(base.cast());
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_base_free(base: *mut event_base) {
    // SAFETY: the caller's.
    unsafe { free(base, true) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_base_free_nofinalize(base: *mut event_base) {
    // SAFETY: the caller's.
    unsafe { free(base, false) }
}

/// # Safety
/// Null (the current base is meant) or a base, which nobody uses any more.
unsafe fn free(base: *mut event_base, run_finalizers: bool) {
    // SAFETY: the caller's.
    let Some(base) = (unsafe { base_or_current(base) }) else {
        log::warnx(format_args!("event_base_free: no base to free"));
        return;
    };
    // A finalizer may add events and finalizers anew.
    loop {
        // The lock is let go of before the body: a finalizer takes it.
        let next = base.enter().first_of_programs();
        let Some((id, row)) = next else { break };
        match row {
            Row::Event(ev) => {
                base.enter().del(ev, true);
                if run_finalizers {
                    finalize::run_for_event(base, ev);
                }
            }
            Row::Deferred(deferred) => deferred::forget(base, deferred, id),
            Row::Finalizer(finalizer) => finalize::run_at_end(base, finalizer, id, run_finalizers),
            Row::Signals | Row::Waker => {}
        }
    }
    once::free_all(base);
    current::forget(base);
    verbose::ends(base);
    free_memory(base.as_ptr());
}

impl event_base {
    /// Something that is not the base's own.
    fn first_of_programs(&self) -> Option<(EventId, Row)> {
        let ids = self.engine.reactor().ids();
        let mut rows = ids.map(|id| (id, self.rows.get(id.index())));
        rows.find(|(_, row)| !matches!(row, Row::Signals | Row::Waker))
    }

    fn reinit(&mut self) -> Result<(), Errno> {
        self.reinit_signals()?;
        self.reinit_waker()?;
        self.engine.reinit()
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_reinit(base: *mut event_base) -> c_int {
    // SAFETY: the header's.
    let Some(base) = (unsafe { Base::of(base) }) else { return -1 };
    match base.enter().reinit() {
        Ok(()) => 0,
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}
