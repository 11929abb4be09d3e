//! Signals of a base: one [`SignalHub`], made with the first signal that is added.
//!
//! Every base gets its own arrivals, unlike libevent's, where the base that last ran a loop gets all.

use super::control::BREAK;
use super::rows::Row;
use super::{Base, deliver, event_base, inspect};
use crate::event::Ev;
use crate::layout::event;
use core::ffi::c_short;
use core::ptr;
use duolu_core::{EventSpec, Interest, Refused, Timeout};
use duolu_sys::signal::SignalHub;
use std::os::fd::{AsFd, AsRawFd};

/// Linux has signals 1 to 64.
const SIGNALS: usize = 65;

#[allow(missing_debug_implementations)]
pub struct Signals {
    hub: SignalHub,
    /// What stands for it among the base's events.
    pub(super) shown: event,
    /// Events that wait for each.
    waiting: [u32; SIGNALS],
}

impl event_base {
    /// Has `signo` arrive here.
    pub(super) fn subscribe(&mut self, signo: i32) -> Result<(), Refused> {
        if !(1..SIGNALS as i32).contains(&signo) {
            return Err(Refused::BadSignal(signo));
        }
        if self.signals.is_none() {
            let hub = SignalHub::new().map_err(Refused::Kernel)?;
            let spec = EventSpec {
                owned: true,
                internal: true,
                ..EventSpec::fd(hub.as_fd().as_raw_fd(), Interest::READ)
            };
            let id = self.engine.create(spec)?;
            let set = self.rows.set(id.index(), Row::Signals);
            let added = if set { self.engine.add(id, Timeout::Keep) } else { Err(Refused::NoMemory) };
            if let Err(refused) = added {
                self.engine.destroy(id);
                return Err(refused);
            }
            self.signals = Some(Box::new(Signals {
                shown: inspect::internal(hub.as_fd().as_raw_fd()),
                hub,
                waiting: [0; SIGNALS],
            }));
        }
        let Some(signals) = &self.signals else { return Ok(()) };
        signals.hub.subscribe_to_any(signo).map_err(|error| Refused::Kernel(error.errno()))
    }

    pub(super) fn signal_added(&mut self, signo: i32) {
        if let Some(waiting) =
            self.signals.as_mut().and_then(|signals| signals.waiting.get_mut(signo as usize))
        {
            *waiting += 1;
        }
    }

    /// One event less waits for `signo`; with the last the former handler comes back.
    pub(super) fn signal_removed(&mut self, signo: i32) {
        let Some(signals) = &mut self.signals else { return };
        let Some(waiting) = signals.waiting.get_mut(signo as usize) else { return };
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            // What has arrived is told to who waits for it when the loop looks.
            signals.hub.pause(signo);
        }
    }

    /// The hub's descriptor is readable.
    pub(super) fn take_signals(&mut self) {
        let Some(signals) = &self.signals else { return };
        let engine = &mut self.engine;
        signals.hub.take(|signo, count| engine.deliver_signal(signo, count));
    }

    /// In the child after a fork.
    pub(super) fn reinit_signals(&mut self) -> Result<(), duolu_core::Errno> {
        self.signals.as_ref().map_or(Ok(()), |signals| signals.hub.reinit())
    }
}

/// Calls a signal's callback as often as the signal came, until the callback removes the event or breaks the loop.
///
/// # Safety
/// As `deliver::pass`.
pub(super) unsafe fn call(base: Base, ev: Ev, res: c_short) {
    let (Some(callback), fd, arg) = (ev.callback(), ev.fd(), ev.arg()) else { return };
    let mut calls = Calls { ev, left: ev.ncalls() };
    // Reached by event_del through the event, from another frame: so only through a pointer here.
    let left = &raw mut calls.left;
    // SAFETY: the caller's; `left` outlives its address in the event, which is taken back before each last call, and the
    // event is not touched after a callback unless calls are left, which says that it was not removed. Other threads find the
    // callback running until the last call is over: what they change of the count would be lost.
    unsafe {
        while ptr::read_volatile(left) > 0 {
            let after = ptr::read_volatile(left) - 1;
            ptr::write_volatile(left, after);
            ev.set_ncalls(after);
            ev.set_pncalls(if after == 0 { 0 } else { left as u64 });
            deliver::begin_call(base, ev.as_ptr().cast());
            callback(fd, res, arg);
            deliver::retake(base.as_ptr());
            if base.get().interrupt & BREAK != 0 {
                break;
            }
        }
        deliver::tell_waiters(base.as_ptr());
    }
}

/// How often a signal's callback is still to be called. The event has the address of `left` for that time, and loses it also
/// where a callback throws.
struct Calls {
    ev: Ev,
    left: c_short,
}

impl Drop for Calls {
    fn drop(&mut self) {
        // SAFETY: its own field, which event_del may have written to.
        if unsafe { ptr::read_volatile(&raw const self.left) } != 0 {
            self.ev.set_pncalls(0);
        }
    }
}
