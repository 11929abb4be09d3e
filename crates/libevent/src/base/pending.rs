//! Adding, removing and making active: what `event_add` and its kin do once they hold the lock.

use super::event_base;
use super::rows::Row;
use crate::event::ev::{
    ACTIVE, ACTIVE_LATER, EV_ET, EV_PERSIST, EV_SIGNAL, EV_TIMEOUT, FINALIZING, INSERTED, IO, TIMEOUT,
    closure,
};
use crate::event::{Ev, debug};
use crate::log;
use core::ffi::{c_int, c_short};
use duolu_core::{Errno, EventId, EventSpec, Interest, Ready, Refused, Source, Timeout, Trigger};
use duolu_sys::syscall::set_errno;
use libc::timeval;

impl event_base {
    /// What the engine is to wait for. A descriptor below zero, or an interest that the method cannot tell, is nothing to
    /// wait for: such an event is pending for its timeout only, and for being made active.
    #[inline]
    fn spec(&self, ev: Ev) -> EventSpec {
        let events = ev.events();
        let (source, interest) = if events & EV_SIGNAL != 0 {
            (Source::Signal(ev.fd()), Interest::NONE)
        } else {
            let interest = ev.interest();
            let told = interest != Interest::PEER_CLOSED || self.method.tells_peer_closed;
            if interest.is_empty() || ev.fd() < 0 || !told {
                (Source::None, Interest::NONE)
            } else {
                (Source::Fd(ev.fd()), interest)
            }
        };
        EventSpec {
            source,
            interest,
            trigger: if events & EV_ET != 0 { Trigger::Edge } else { Trigger::Level },
            persist: events & EV_PERSIST != 0,
            priority: ev.priority().min((self.priorities - 1) as u8),
            ..EventSpec::new()
        }
    }

    fn create(&mut self, ev: Ev, spec: EventSpec) -> Result<EventId, Refused> {
        let id = self.engine.create(spec)?;
        self.give_row(ev, id)
    }

    /// A slot was made for `ev`.
    #[inline(always)]
    fn give_row(&mut self, ev: Ev, id: EventId) -> Result<EventId, Refused> {
        if !self.rows.set(id.index(), Row::Event(ev)) {
            self.engine.release(id);
            return Err(Refused::NoMemory);
        }
        ev.set_slot(id.to_bits());
        Ok(id)
    }

    /// event_add. -1 with errno where it is refused.
    #[inline(never)]
    pub(crate) fn add(&mut self, ev: Ev, timeout: Option<&timeval>) -> c_int {
        debug::assert_is_setup("event_add", ev);
        if ev.has(FINALIZING) {
            return -1;
        }
        if debug::is_on() && self.mixes_triggers(ev) {
            return self.refused(ev, Refused::MixedTriggers);
        }
        if ev.fd() == self.lent.fd {
            // What comes to its descriptor must not find it there.
            self.give_up_lent();
        }
        match self.try_add(ev, timeout) {
            Ok(()) => {
                self.wake();
                debug::note_added(ev, true);
                0
            }
            Err(refused) => self.refused(ev, refused),
        }
    }

    /// event_add for what waits for time only, if it is nothing but that.
    #[inline(always)]
    pub(crate) fn add_timer(&mut self, ev: Ev, timeout: &timeval) -> Option<c_int> {
        if ev.events() & (IO | EV_SIGNAL) != 0 || ev.has(ACTIVE | FINALIZING) || debug::is_on() {
            return None;
        }
        let after = self.timeout_of(ev, timeout);
        match ev.id() {
            Some(id) => {
                if let Err(refused) = self.engine.set_timer(id, after) {
                    self.release_if_idle(ev, id);
                    return Some(self.refused(ev, refused));
                }
            }
            None => {
                let priority = ev.priority().min((self.priorities - 1) as u8);
                let made = self.engine.create_timer(ev.events() & EV_PERSIST != 0, priority, after);
                if let Err(refused) = made.and_then(|id| self.give_row(ev, id)) {
                    return Some(self.refused(ev, refused));
                }
            }
        }
        if !ev.has(TIMEOUT) {
            ev.change_flags(TIMEOUT, 0);
            self.added += 1;
            self.most.note_added(self.added + self.engine.reactor().due_at_most());
        }
        self.wake();
        Some(0)
    }

    /// Whether an event that differs in EV_ET waits for the same descriptor, which debug mode refuses also where the method
    /// has no edges.
    #[cold]
    fn mixes_triggers(&self, ev: Ev) -> bool {
        let others: Vec<EventId> = self.engine.reactor().on_descriptor(ev.fd()).collect();
        let mut others = others.into_iter().filter_map(|id| self.event_of(id));
        ev.events() & IO != 0
            && !ev.has(INSERTED)
            && others.any(|other| (other.events() ^ ev.events()) & EV_ET != 0)
    }

    #[inline]
    fn try_add(&mut self, ev: Ev, timeout: Option<&timeval>) -> Result<(), Refused> {
        let after = match timeout {
            None => Timeout::Keep,
            Some(timeout) => self.timeout_of(ev, timeout),
        };
        if timeout.is_some() && ev.has(ACTIVE) && ev.res() & EV_TIMEOUT != 0 {
            // Due as if its timeout had run out, by the program's word: as a real one it starts anew instead.
            if let Some(id) = ev.id() {
                self.engine.release(id);
            }
            self.forget(ev);
        }
        if ev.events() & EV_SIGNAL != 0 && !ev.has(INSERTED) {
            self.subscribe(ev.fd())?;
        }
        let id = match ev.id() {
            Some(id) => id,
            None => {
                let spec = self.spec(ev);
                if spec.source == Source::None && timeout.is_none() {
                    self.note_added(ev, false);
                    return Ok(());
                }
                self.create(ev, spec)?
            }
        };
        if let Err(refused) = self.engine.add(id, after) {
            self.add_otherwise(ev, id, after, refused)?;
        }
        if ev.events() & EV_SIGNAL != 0 && !ev.has(INSERTED) {
            self.signal_added(ev.fd());
        }
        self.note_added(ev, timeout.is_some());
        Ok(())
    }

    /// An addition was refused. Where that is for its trigger it gets the one that the descriptor's other events have,
    /// as with libevent, which refuses such a mixture in debug mode only.
    #[cold]
    fn add_otherwise(
        &mut self,
        ev: Ev,
        id: EventId,
        after: Timeout,
        refused: Refused,
    ) -> Result<(), Refused> {
        self.release_if_idle(ev, id);
        if refused != Refused::MixedTriggers || debug::is_on() || ev.id().is_some() {
            return Err(refused);
        }
        let mut spec = self.spec(ev);
        spec.trigger = if spec.trigger == Trigger::Edge { Trigger::Level } else { Trigger::Edge };
        let id = self.create(ev, spec)?;
        let added = self.engine.add(id, after);
        self.release_if_idle(ev, id);
        added
    }

    #[inline(always)]
    fn note_added(&mut self, ev: Ev, timed: bool) {
        let flags = ev.flags();
        let mut now = if ev.events() & (IO | EV_SIGNAL) != 0 { INSERTED } else { 0 };
        now |= if timed { TIMEOUT } else { 0 };
        let new = now & !flags;
        self.added += new.count_ones() as usize;
        ev.set_flags(flags | now);
        if new != 0 {
            self.most.note_added(self.added + self.engine.reactor().due_at_most());
        }
    }

    #[cold]
    fn refused(&mut self, ev: Ev, refused: Refused) -> c_int {
        let errno = match refused {
            Refused::Kernel(errno) => errno,
            Refused::BadDescriptor(_) => Errno(libc::EBADF),
            Refused::NoMemory => Errno(libc::ENOMEM),
            Refused::MixedTriggers => {
                log::warnx(format_args!(
                    "event_add: edge-triggered and level-triggered events on the same descriptor {}",
                    ev.fd()
                ));
                Errno(libc::EINVAL)
            }
            _ => Errno(libc::EINVAL),
        };
        set_errno(errno);
        if ev.events() & EV_SIGNAL != 0 {
            if matches!(refused, Refused::Kernel(_)) {
                log::warn_errno(format_args!("sigaction"));
            }
            return -1;
        }
        if matches!(refused, Refused::Kernel(_) | Refused::BadDescriptor(_)) {
            log::warn_errno(format_args!("event_add: descriptor {} is refused", ev.fd()));
            set_errno(errno);
        }
        -1
    }

    /// event_del, but for the waiting.
    #[inline]
    pub(crate) fn del(&mut self, ev: Ev, even_if_finalizing: bool) -> c_int {
        if ev.has(FINALIZING) && !even_if_finalizing {
            return 0;
        }
        if ev.events() & EV_SIGNAL != 0 {
            stop_calls(ev);
        }
        if let Some(id) = ev.id() {
            self.engine.release(id);
            self.wake();
        } else if ev.has(INSERTED) {
            // It waited for nothing, and kept the loop running all the same.
            self.wake();
        }
        self.forget(ev);
        0
    }

    /// Its slot has been given up: it is neither pending nor active, and may be assigned anew.
    #[inline]
    pub(crate) fn forget(&mut self, ev: Ev) {
        debug::note_added(ev, false);
        let flags = ev.flags();
        ev.set_slot(0);
        self.added -= usize::from(flags & INSERTED != 0) + usize::from(flags & TIMEOUT != 0);
        ev.set_flags(flags & !(INSERTED | TIMEOUT | ACTIVE | ACTIVE_LATER));
        if flags & INSERTED != 0 && ev.events() & EV_SIGNAL != 0 {
            self.signal_removed(ev.fd());
        }
    }

    /// event_remove_timer.
    pub(crate) fn remove_timer(&mut self, ev: Ev) -> c_int {
        if !ev.has(TIMEOUT) {
            return 0;
        }
        let due = ev.id().is_some_and(|id| self.engine.due(id).intersects(Ready::TIMEOUT));
        // One that has run out is no timer any more, but a callback that is due.
        if due && !ev.has(ACTIVE) {
            return 0;
        }
        self.added -= 1;
        ev.change_flags(0, TIMEOUT);
        if let Some(id) = ev.id() {
            self.engine.remove_timer(id);
            if due {
                self.engine.activate(id, Ready::USER);
            }
            self.release_if_idle(ev, id);
        }
        0
    }

    /// Gives up a slot whose event is neither pending nor active any more for the engine.
    pub(crate) fn release_if_idle(&mut self, ev: Ev, id: EventId) {
        if !self.engine.is_pending(id) && self.engine.due(id).is_empty() {
            self.engine.release(id);
            ev.set_slot(0);
        }
    }

    /// event_active.
    pub(crate) fn activate(&mut self, ev: Ev, res: c_short, ncalls: c_short) {
        if ev.has(FINALIZING) {
            return;
        }
        if ev.has(ACTIVE) {
            ev.set_res(ev.res() | res);
            return;
        }
        self.activate_anew(ev, res, ncalls);
    }

    /// The same where nobody has made it active yet.
    pub(crate) fn activate_anew(&mut self, ev: Ev, res: c_short, ncalls: c_short) {
        let id = match ev.id() {
            Some(id) => id,
            None => {
                // Not to wait for anything, so that it cannot be refused; event_add gives it its source (below).
                let spec = self.spec(ev);
                let Ok(id) = self.create(ev, spec) else { return };
                id
            }
        };
        ev.set_res(res);
        ev.change_flags(ACTIVE, ACTIVE_LATER);
        if ev.events() & EV_SIGNAL != 0 {
            ev.set_ncalls(ncalls);
            ev.set_pncalls(0);
        }
        // By EV_TIMEOUT a periodic timer is told early; other reasons have it start anew.
        let early = res & EV_TIMEOUT != 0 && ev.closure() == closure::PERSIST && self.engine.time_out(id);
        if !early {
            self.engine.activate(id, Ready::USER);
        }
        let active = self.engine.reactor().due_at_most();
        self.most.note_active(active);
        self.most.note_added(self.added + active);
        self.wake();
    }
}

/// Stops the calls of a signal's callback that are still to come in its present turn.
pub(crate) fn stop_calls(ev: Ev) {
    if ev.closure() == closure::SIGNAL && ev.pncalls() != 0 {
        let left = ev.pncalls() as *mut c_short;
        // SAFETY: set by `signals::call`, on whose stack it is. It does not touch the event any more once there is nothing left,
        // so the address is taken back here; or the next removal would write where that stack was.
        unsafe { *left = 0 };
        ev.set_pncalls(0);
    }
}
