//! Calling back: one pass over what is due.
//!
//! While a callback runs the lock is not held and nothing is borrowed: it may free its event, its base's other events, or
//! throw.

use super::control::TIMED;
use super::rows::{Row, Rows};
use super::{Base, NOBODY, deferred, event_base, finalize, signals};
use crate::event::Ev;
use crate::event::ev::{
    ACTIVE, ACTIVE_LATER, EV_ET, EV_PERSIST, EV_TIMEOUT, INIT, INSERTED, IO, TIMEOUT, closure,
};
use crate::layout::event;
use crate::lock;
use core::ffi::{c_int, c_short, c_void};
use duolu_core::{Active, EventId, Instant, Ready};
use duolu_sys::prefetch::prefetch_at;
use libc::timeval;

/// A reason as libevent writes it.
#[inline(always)]
pub(super) fn what(ready: Ready) -> c_short {
    let bits = ready.bits();
    // READ, WRITE, TIMEOUT, CLOSED, SIGNAL.
    ((bits & 1) << 1 | bits & 4 | bits >> 12 & 1 | bits >> 6 & 0x80 | bits >> 11 & 8) as c_short
}

/// The same for what a descriptor alone tells.
#[inline(always)]
fn io_what(ready: Ready) -> c_short {
    let bits = ready.bits();
    ((bits & 1) << 1 | bits & 4 | bits >> 6 & 0x80) as c_short
}

/// What an event is told of its descriptor; `edges`: EV_ET where the method has them.
#[inline(always)]
fn io_res(ev: Ev, ready: Ready, edges: c_short) -> c_short {
    io_what(ready) | ev.events() & edges
}

const _: () = assert!(Ready::READ.bits() == 1 && Ready::WRITE.bits() == 4);
const _: () = assert!(Ready::TIMEOUT.bits() == 1 << 12 && Ready::PEER_CLOSED.bits() == 0x80 << 6);
const _: () = assert!(Ready::SIGNAL.bits() == 8 << 11);

/// Hands out what is due until it is time to ask the kernel again. Says whether a callback of the program's was called.
///
/// # Safety
/// The lock is held, and no reference to the base lives.
pub(super) unsafe fn pass(base: Base) -> bool {
    // SAFETY: the caller's; so for every `get` below: no reference outlives its line into a callback.
    let this = unsafe { base.get() };
    let mut until = Instant::MAX;
    if let Some(ns) = this.dispatch.interval_ns {
        this.engine.forget_now();
        until = this.engine.now().saturating_add_nanos(ns);
        this.interrupt |= TIMED;
    }
    let mut told = false;
    loop {
        // SAFETY: as above.
        let this = unsafe { base.get() };
        if this.engine.has_reports() {
            // SAFETY: as above; the lock does not change.
            let over = unsafe {
                if this.lock.is_null() {
                    tell_words::<false>(base, until, &mut told)
                } else {
                    tell_words::<true>(base, until, &mut told)
                }
            };
            if over {
                return true;
            }
            // SAFETY: as above.
            let this = unsafe { base.get() };
            let (rows, edges) = (&this.rows, this.method.edges);
            if let Some((index, ready)) =
                this.engine.next_lent(|index, ready| word::of(rows, edges, index, ready))
            {
                // SAFETY: only a program's event waits for a descriptor without being internal.
                let ev = unsafe { rows.event(index) };
                told = true;
                // SAFETY: as above.
                unsafe {
                    let res = io_res(ev, ready, edges);
                    if ev.events() & EV_PERSIST != 0 {
                        call_plain::<true>(base, ev, res);
                    } else {
                        call_lent::<true>(base, ev, res);
                    }
                    if base.get().interrupt != 0 && base.get().is_over(until, 0) {
                        return true;
                    }
                }
                continue;
            }
        }
        // SAFETY: as above.
        let this = unsafe { base.get() };
        this.touch_ahead();
        let Some(active) = this.engine.next_active() else { return told };
        let row = this.rows.get(active.id.index());
        told |= !matches!(row, Row::Signals | Row::Waker);
        // SAFETY: as above.
        let priority = unsafe { deliver(base, row, active) };
        // SAFETY: as above.
        let this = unsafe { base.get() };
        if this.interrupt != 0 && this.is_over(until, priority) {
            return told;
        }
    }
}

/// Most callbacks come this way: few instructions for each, as each is between two system calls of the program's, where the
/// processor has nothing else to do meanwhile. True: the pass is over.
///
/// # Safety
/// As `pass`; `LOCKED`: the base has a lock.
#[inline(always)]
unsafe fn tell_words<const LOCKED: bool>(base: Base, until: Instant, told: &mut bool) -> bool {
    // SAFETY: the caller's: no reference outlives its line into a callback. The engine gives a word back only as long as the
    // event is what it was. The words stay where they are until the next wait, which no callback can bring about: a loop
    // refuses to run inside itself.
    unsafe {
        loop {
            // Which report is next is kept here, as is where the words are: the processor need not look that up first.
            let (mut next, words) = base.get().engine.known_words();
            let std::ops::Range { start: mut at, end } = words.as_ptr_range();
            while at < end && word::is_known(*at) {
                let word = *at;
                (at, next) = (at.add(1), next + 1);
                debug_assert!(word::is_true(base, word));
                *told = true;
                base.get().engine.handed_out(next);
                call_plain::<LOCKED>(base, word::persistent(word), word::res(word));
                if base.get().interrupt != 0 && base.get().is_over(until, 0) {
                    return true;
                }
                if !base.get().engine.is_next(next) {
                    break;
                }
            }
            loop {
                let Some(word) = base.get().engine.next_word() else { return false };
                debug_assert!(word::is_true(base, word));
                *told = true;
                let is_brief = word::is_brief(word);
                if is_brief {
                    call_lent::<LOCKED>(base, word::brief(word), word::res(word));
                } else {
                    call_plain::<LOCKED>(base, word::persistent(word), word::res(word));
                }
                if base.get().interrupt != 0 && base.get().is_over(until, 0) {
                    return true;
                }
                if !is_brief {
                    break; // The words after it may be known.
                }
            }
        }
    }
}

/// What is known of a callback when its event is told the same as before: the event's address, what it is told, and in the
/// lowest bit whether the event waits once.
mod word {
    use super::{Base, EV_PERSIST, Ev, Ready, Row, Rows, event, io_res};
    use core::ffi::c_short;

    /// Programs' addresses are no longer: on Linux only who asks for it in mmap's hint has longer ones.
    const ADDRESS: u32 = 48;

    pub fn of(rows: &Rows, edges: c_short, index: usize, ready: Ready) -> Option<u64> {
        // SAFETY: only a program's event waits for a descriptor without being internal.
        let ev = unsafe { rows.event(index) };
        let address = ev.as_ptr() as u64;
        let told = io_res(ev, ready, edges) as u16;
        let brief = u64::from(ev.events() & EV_PERSIST == 0);
        (address >> ADDRESS == 0).then_some(address | u64::from(told) << ADDRESS | brief)
    }

    #[inline(always)]
    pub fn res(word: u64) -> c_short {
        (word >> ADDRESS) as c_short
    }

    /// As the engine looks at it.
    #[inline(always)]
    pub fn is_known(word: u64) -> bool {
        !is_brief(word)
    }

    #[inline(always)]
    pub fn is_brief(word: u64) -> bool {
        word & 1 != 0
    }

    /// Whether the engine still has that event.
    ///
    /// # Safety
    /// The lock is held, and the word is true.
    pub unsafe fn is_true(base: Base, word: u64) -> bool {
        // SAFETY: the caller's.
        let (rows, ev) = unsafe { (&base.get().rows, brief(word)) };
        ev.id().is_some_and(|id| matches!(rows.get(id.index()), Row::Event(whose) if whose == ev))
    }

    /// # Safety
    /// The event is what it was when the word was made, and does not wait once.
    #[inline(always)]
    pub unsafe fn persistent(word: u64) -> Ev {
        let free = u64::BITS - ADDRESS;
        // SAFETY: the caller's.
        unsafe { Ev::of((word << free >> free) as *mut event) }
    }

    /// # Safety
    /// The same, but it waits once.
    #[inline(always)]
    pub unsafe fn brief(word: u64) -> Ev {
        // SAFETY: the caller's; events lie at even addresses.
        unsafe { persistent(word & !1) }
    }
}

impl event_base {
    /// Where many timers are due each event is a wait for memory, so the waits are had together. Some of them may be gone by now:
    /// nothing is read of them here.
    #[inline(always)]
    fn touch_ahead(&mut self) {
        for at in self.engine.due_batch() {
            if let Row::Event(ev) = self.rows.get(*at as usize) {
                let event = ev.as_ptr().cast_const().cast::<u8>();
                // What is looked at of its 128 bytes, wherever a line begins.
                for offset in [0, 56, 104] {
                    prefetch_at(event.wrapping_add(offset));
                }
            }
        }
    }

    /// Whether the pass ends after a callback of this priority.
    #[cold]
    fn is_over(&mut self, until: Instant, priority: u8) -> bool {
        if self.interrupt & !TIMED != 0 {
            return true;
        }
        if priority < self.dispatch.from_priority {
            return false;
        }
        self.engine.forget_now();
        self.engine.now() >= until
    }

    /// What was put off until this turn becomes active, and is part of what may run in it.
    #[cold]
    pub(super) fn begin_later(&mut self) {
        for id in core::mem::take(&mut self.later) {
            self.deferred_now += u32::from(self.engine.exists(id));
            self.engine.activate(id, Ready::USER);
        }
    }
}

/// Calls a persistent event's callback, where being called changes nothing about the event.
///
/// # Safety
/// As `tell_words`; `LOCKED`: the base may have a lock.
#[inline(always)]
unsafe fn call_plain<const LOCKED: bool>(base: Base, ev: Ev, res: c_short) {
    ev.set_res(res);
    let (callback, fd, arg) = (ev.callback(), ev.fd(), ev.arg());
    let Some(callback) = callback else { return };
    // SAFETY: the caller's; the callback is the program's.
    unsafe {
        if LOCKED {
            begin_call(base, ev.as_ptr().cast());
            callback(fd, res, arg);
            end_call(base);
        } else {
            (*base.as_ptr()).current = ev.as_ptr().cast();
            callback(fd, res, arg);
            (*base.as_ptr()).current = NOBODY;
        }
    }
}

/// The event that waited once and is called back now, as long as it was not added again: it keeps its slot for that time
/// ([`duolu_core::Engine::lend`]), but no timeout.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    /// Null: none.
    pub ev: *mut c_void,
    pub slot: u64,
    pub fd: c_int,
    pub events: c_short,
}

impl Lent {
    pub const NONE: Lent = Lent { ev: NOBODY, slot: 0, fd: -1, events: 0 };
}

/// Calls the callback of an event that waited once: it is not pending any more, but keeps its slot until the callback returns,
/// in case that adds it again.
///
/// # Safety
/// As `call_plain`.
#[inline(always)]
unsafe fn call_lent<const LOCKED: bool>(base: Base, ev: Ev, res: c_short) {
    // SAFETY: the caller's; no reference lives into the callback.
    unsafe {
        let this = base.get();
        this.note_lent(ev);
        call_plain::<LOCKED>(base, ev, res);
        base.get().give_up_lent();
    }
}

/// The lock is let go of, and it is known whose callback runs.
///
/// # Safety
/// As `pass`.
#[inline(always)]
pub(super) unsafe fn begin_call(base: Base, whose: *mut c_void) {
    let base = base.as_ptr();
    // SAFETY: the caller's.
    unsafe {
        (*base).current = whose;
        if !(*base).lock.is_null() {
            (*base).in_callback = true;
            lock::release((*base).lock);
        }
    }
}

/// # Safety
/// After `begin_call`.
#[inline(always)]
pub(super) unsafe fn end_call(base: Base) {
    let base = base.as_ptr();
    // SAFETY: the caller's.
    unsafe {
        if (*base).lock.is_null() {
            (*base).current = NOBODY;
        } else {
            end_locked_call(base);
        }
    }
}

unsafe fn end_locked_call(base: *mut event_base) {
    // SAFETY: the caller's; the lock was let go of by `begin_call`.
    unsafe {
        retake(base);
        tell_waiters(base);
    }
}

/// The lock is held again; whose callback runs stays as it is.
///
/// # Safety
/// After `begin_call`.
pub(super) unsafe fn retake(base: *mut event_base) {
    // SAFETY: the caller's; the lock was let go of by `begin_call`.
    unsafe {
        lock::acquire((*base).lock);
        (*base).in_callback = false;
    }
}

/// No callback runs: who waits for that goes on as soon as the lock is let go of.
///
/// # Safety
/// The lock is held.
pub(super) unsafe fn tell_waiters(base: *mut event_base) {
    // SAFETY: the caller's; the lock is held.
    unsafe {
        (*base).current = NOBODY;
        (*base).calls += 1;
        if (*base).waiters > 0 {
            lock::cond_signal((*base).returned, true);
        }
    }
}

/// Calls what is due, and gives its priority.
///
/// # Safety
/// As `pass`.
unsafe fn deliver(base: Base, row: Row, active: Active) -> u8 {
    // SAFETY: the caller's.
    unsafe {
        match row {
            Row::Event(ev) => {
                let priority = ev.priority();
                deliver_event(base, ev, active);
                priority
            }
            Row::Deferred(deferred) => deferred::call(base, deferred),
            Row::Finalizer(finalizer) => finalize::call(base, finalizer),
            Row::Signals => {
                base.get().take_signals();
                0
            }
            Row::Waker => {
                base.get().woken();
                0
            }
        }
    }
}

/// # Safety
/// As `pass`.
unsafe fn deliver_event(base: Base, ev: Ev, active: Active) {
    // SAFETY: the caller's.
    let this = unsafe { base.get() };
    let mut res = EV_TIMEOUT;
    if active.ready != Ready::TIMEOUT {
        res = what(active.ready);
        if res & IO != 0 {
            res |= ev.events() & this.method.edges;
        }
    }
    if ev.has(ACTIVE | ACTIVE_LATER) {
        res |= ev.res();
        ev.change_flags(0, ACTIVE | ACTIVE_LATER);
    } else if res & EV_TIMEOUT != 0 && ev.events() & EV_ET == 0 {
        // A timeout is told alone, as libevent does: programs compare with EV_TIMEOUT. What its descriptor is ready for,
        // level-triggered, is told again; an edge is not.
        res &= !IO;
    }
    if active.released {
        this.engine.let_go();
        if ev.events() & EV_PERSIST != 0 {
            // It waits for nothing that the engine knows; where it was added it still is.
            ev.set_slot(0);
            this.forget_timeout(ev);
        } else {
            this.forget(ev);
        }
    } else if active.ready.intersects(Ready::TIMEOUT) && !this.engine.reactor().is_timed(active.id) {
        // A timeout that does not start anew ends the event.
        this.engine.release(active.id);
        this.forget(ev);
    }
    if ev.closure() >= closure::FINALIZE {
        // SAFETY: the caller's.
        return unsafe { finalize::call_event(base, ev) };
    }
    if ev.closure() == closure::SIGNAL {
        if active.ready.intersects(Ready::SIGNAL) {
            // Beside those that the program asked for.
            let asked = if active.ready.intersects(Ready::USER) { ev.ncalls() } else { 0 };
            ev.set_ncalls(asked.saturating_add(active.count.min(c_short::MAX as u16) as c_short));
        } else if !active.ready.intersects(Ready::USER) {
            ev.set_ncalls(1);
        }
        ev.set_res(res);
        // SAFETY: the caller's.
        return unsafe { signals::call(base, ev, res) };
    }
    // SAFETY: the caller's.
    unsafe { call_plain::<true>(base, ev, res) }
}

impl event_base {
    #[inline(always)]
    fn note_lent(&mut self, ev: Ev) {
        let fd = ev.fd();
        self.engine.lend(fd);
        self.lent = Lent { ev: ev.as_ptr().cast(), slot: ev.slot(), fd, events: ev.events() };
        ev.set_slot(0);
        let flags = ev.flags();
        ev.set_flags(flags & !(INSERTED | TIMEOUT));
        self.added -= 1 + usize::from(flags & TIMEOUT != 0);
    }

    /// Where the callback has not added its event again its slot goes.
    #[inline(always)]
    pub(super) fn give_up_lent(&mut self) {
        if !self.lent.ev.is_null() {
            self.release_lent();
        }
    }

    #[inline(never)]
    fn release_lent(&mut self) {
        self.lent.ev = NOBODY;
        self.engine.release(EventId::from_bits(self.lent.slot));
    }

    /// Whether `ev` is lent and still what it was.
    #[inline(always)]
    pub(crate) fn is_lent(&self, ev: Ev) -> bool {
        ev.as_ptr().cast() == self.lent.ev
            && ev.fd() == self.lent.fd
            && ev.events() == self.lent.events
            // Neither added nor active, so that it has no slot either.
            && ev.flags() == INIT
    }

    /// event_add with a timeout for an event that is lent. False: it must go the long way.
    pub(crate) fn readd_timed(&mut self, ev: Ev, timeout: &timeval) -> bool {
        let after = self.timeout_of(ev, timeout);
        if self.engine.time_lent(EventId::from_bits(self.lent.slot), after).is_err() {
            return false;
        }
        self.readd(ev);
        ev.change_flags(TIMEOUT, 0);
        self.added += 1;
        self.most.note_added(self.added + self.engine.reactor().due_at_most());
        true
    }

    /// event_add for an event that is lent. False: it must go the long way.
    #[inline]
    pub(crate) fn readd(&mut self, ev: Ev) -> bool {
        if !self.is_lent(ev) {
            return false;
        }
        ev.set_slot(self.lent.slot);
        ev.set_flags(INIT | INSERTED);
        self.added += 1;
        self.lent.ev = NOBODY;
        true
    }

    fn forget_timeout(&mut self, ev: Ev) {
        if ev.has(TIMEOUT) {
            self.added -= 1;
            ev.change_flags(0, TIMEOUT);
        }
    }
}
