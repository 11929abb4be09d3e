//! Looking at a base's events: event_base_foreach_event, event_base_dump_events, and making active by number.

use super::rows::Row;
use super::{Base, event_base};
use crate::event::Ev;
use crate::event::ev::{
    ACTIVE, ACTIVE_LATER, EV_PERSIST, EV_READ, EV_SIGNAL, EV_TIMEOUT, INIT, INSERTED, INTERNAL, IO, TIMEOUT,
};
use crate::event::names;
use crate::layout::{Socket, event};
use core::ffi::{c_char, c_int, c_short, c_void};
use core::fmt::Write;
use duolu_core::EventId;

type ForEach = Option<unsafe extern "C-unwind" fn(*const event_base, *const event, *mut c_void) -> c_int>;

impl event_base {
    /// The events that are pending or active, the base's own among them; those that wait for a descriptor or signal first.
    pub(super) fn events(&mut self) -> Vec<Ev> {
        let signals = self.signals.as_mut().map(|signals| &raw mut signals.shown);
        let waker = self.waker.as_mut().map(|notifier| &raw mut notifier.shown);
        // SAFETY: they live as long as the base; nobody else writes to them.
        let own: Vec<Ev> = signals.into_iter().chain(waker).map(|shown| unsafe { Ev::of(shown) }).collect();
        own.iter().for_each(|ev| ev.set_base(self));
        // What is lent is not pending, and may be gone.
        self.give_up_lent();
        let rows = self.engine.reactor().ids().map(|id| self.rows.get(id.index()));
        let programs = rows.filter_map(|row| match row {
            Row::Event(ev) => Some(ev),
            _ => None,
        });
        let mut events: Vec<Ev> = own.into_iter().chain(programs).collect();
        events.sort_by_key(|ev| !ev.has(INSERTED));
        events
    }

    pub(super) fn event_of(&self, id: EventId) -> Option<Ev> {
        match self.rows.get(id.index()) {
            Row::Event(ev) => Some(ev),
            _ => None,
        }
    }
}

/// An event that stands for one of the base's own, which libevent shows as well.
pub(super) fn internal(fd: Socket) -> event {
    // SAFETY: zeroes are a value of all its fields.
    let mut shown: event = unsafe { core::mem::zeroed() };
    shown.fd = fd;
    shown.events = EV_READ | EV_PERSIST;
    shown.evcallback.flags = INIT | INSERTED | INTERNAL;
    shown
}

/// The callback must not change the base's events. What it returns, unless 0, ends it.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn event_base_foreach_event(
    base: *mut event_base,
    callback: ForEach,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: null or a base.
    let (Some(base), Some(callback)) = (unsafe { Base::of(base) }, callback) else { return -1 };
    let mut held = base.enter();
    for ev in held.events() {
        // SAFETY: the program's callback; it may only look.
        let result = unsafe { callback(base.as_ptr(), ev.as_ptr(), arg) };
        if result != 0 {
            return result;
        }
    }
    0
}

unsafe extern "C" {
    fn fputs(text: *const c_char, file: *mut libc::FILE) -> c_int;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_dump_events(base: *mut event_base, output: *mut libc::FILE) {
    // SAFETY: null or a base.
    let Some(base) = (unsafe { Base::of(base) }) else { return };
    let mut held = base.enter();
    // Line by line: with a million events all of it may be more memory than there is.
    let mut text = String::with_capacity(512);
    let tell = |text: &mut String| {
        text.push('\0');
        // SAFETY: a C string; the file is the caller's.
        unsafe { fputs(text.as_ptr().cast(), output) };
        text.clear();
    };
    text.push_str("Inserted events:\n");
    let events = held.events();
    for ev in events.iter().filter(|ev| ev.has(INSERTED | TIMEOUT)) {
        held.describe_inserted(&mut text, *ev);
        tell(&mut text);
    }
    text.push_str("Active events:\n");
    for ev in events {
        held.describe_active(&mut text, ev);
        tell(&mut text);
    }
    tell(&mut text);
}

fn kind(ev: Ev) -> &'static str {
    if ev.events() & EV_SIGNAL != 0 { "sig" } else { "fd " }
}

impl event_base {
    fn describe_inserted(&mut self, text: &mut String, ev: Ev) {
        let internal = if ev.has(INTERNAL) { " Internal" } else { "" };
        // Writing to a String does not fail.
        let _ = write!(text, "  {:p} [{} {}]", ev.as_ptr(), kind(ev), ev.fd());
        names::asked(ev.events(), text);
        text.push_str(internal);
        let deadline = ev.id().and_then(|id| self.engine.reactor().deadline(id));
        if let (true, Some(deadline)) = (ev.has(TIMEOUT), deadline) {
            let at = self.wall_time(deadline);
            let _ = write!(text, " Timeout={}.{:06}", at.tv_sec, at.tv_usec);
        }
        text.push('\n');
    }

    fn describe_active(&mut self, text: &mut String, ev: Ev) {
        let res = self.active_as(ev);
        if res == 0 && !ev.has(ACTIVE_LATER) {
            return;
        }
        let priority = ev.priority();
        let _ = write!(text, "  {:p} [{} {}, priority={priority}]", ev.as_ptr(), kind(ev), ev.fd());
        names::told(res, text);
        text.push_str(" active");
        text.push_str(if ev.has(INTERNAL) { " [Internal]" } else { "" });
        text.push_str(if ev.has(ACTIVE_LATER) { " [NextTime]\n" } else { "\n" });
    }
}

/// As if the descriptor were ready for `events`; with EV_TIMEOUT the timeouts of its events are over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_fd(base: *mut event_base, fd: Socket, events: c_short) {
    // SAFETY: null or a base.
    let Some(base) = (unsafe { Base::of(base) }) else { return };
    let mut held = base.enter();
    if events & EV_TIMEOUT != 0 {
        for ev in held.events() {
            if ev.fd() == fd && ev.has(TIMEOUT) {
                held.activate(ev, EV_TIMEOUT, 1);
            }
        }
        return;
    }
    held.give_up_lent();
    let on_fd: Vec<EventId> = held.engine.reactor().on_descriptor(fd).collect();
    for id in on_fd {
        if let Some(ev) = held.event_of(id)
            && ev.events() & events & IO != 0
        {
            held.activate(ev, c_int::from(ev.events() & events & IO) as c_short, 1);
        }
    }
}

/// As if the signal had come once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn event_base_active_by_signal(base: *mut event_base, signo: c_int) {
    // SAFETY: null or a base.
    let Some(base) = (unsafe { Base::of(base) }) else { return };
    let mut held = base.enter();
    held.engine.deliver_signal(signo, 1);
    held.wake();
}

impl event_base {
    /// The event whose callback the loop's thread is in, asked in that thread; else null.
    pub(crate) fn running_event(&self) -> *mut event {
        let elsewhere = !self.lock.is_null() && crate::lock::thread_id() != self.owner;
        if elsewhere { core::ptr::null_mut() } else { self.current.cast() }
    }

    /// Why an event is active; 0 where it is not.
    pub(crate) fn active_as(&mut self, ev: Ev) -> c_short {
        let Some(id) = ev.id() else { return 0 };
        let due = self.engine.due(id);
        let mut res = super::deliver::what(due);
        if ev.has(ACTIVE | ACTIVE_LATER) && (!due.is_empty() || ev.has(ACTIVE_LATER)) {
            res |= ev.res();
        }
        res
    }
}
