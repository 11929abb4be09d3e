//! Reading: one call for what is there.
//!
//! Traps:
//! (a) The input is frozen for everybody else, and thawed only while bytes are added.
//! (b) The program sees errno, so nothing may come between the call and the event callback that changes it.
//! (c) Bytes that the callback leaves there do not keep a block, of 16 KiB, unless they fill a good part of it. But they are
//!     not moved where the program may have a pointer to them: then not before the next read, which ends its right to one.

use super::super::codes::*;
use super::super::lifetime::Held;
use super::super::{Bev, flag, why};
use super::write;
use crate::buffer::{self, pool};
use core::ffi::{c_int, c_short, c_void};
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, End};
use duolu_core::stream::{Direction, Moved, Then};
use duolu_sys::syscall::set_errno;
use duolu_sys::transfer::{Kind, read_into};
use std::os::fd::BorrowedFd;

pub unsafe extern "C-unwind" fn on_readable(fd: c_int, what: c_short, bev: *mut c_void) {
    // SAFETY: the bufferevent that the event is part of.
    let bev = unsafe { Bev::of(bev.cast()) };
    let Some(_held) = Held::unless_dying(bev) else { return };
    // With EV_READ as well, bytes came in time.
    if what == EV_TIMEOUT {
        return fail(bev, TIMEOUT);
    }
    let Some(limit) = room(bev) else { return };
    let moved = read(bev, fd, limit);
    match moved.then {
        _ if moved.bytes > 0 => {
            bev.moved(Direction::Read, moved.bytes);
            let reading = Reading::of(bev);
            bev.trigger(EV_READ, 0);
            reading.has_returned();
            tidy(bev);
            write::write_due(bev);
        }
        Then::End => fail(bev, EOF),
        // The write handler finishes connecting, and says it.
        Then::Failed(Errno(libc::ECONNREFUSED)) => bev.set(flag::REFUSED, true),
        Then::Failed(errno) => {
            bev.disable(EV_READ);
            set_errno(errno); // (b)
            bev.run_event(READING | ERROR, 0);
        }
        Then::Blocked | Then::More => {}
    }
}

/// The read callback runs. Where it throws what it has written goes out as ever.
struct Reading(Bev);

impl Reading {
    fn of(bev: Bev) -> Self {
        bev.set(flag::IN_READ, true);
        Reading(bev)
    }

    fn has_returned(self) {
        self.0.set(flag::IN_READ, false);
        core::mem::forget(self);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.set(flag::IN_READ, false);
        if self.0.has(flag::WRITE_DUE) {
            self.0.set(flag::WRITE_DUE, false);
            write::output_grew(self.0);
        }
    }
}

/// (c)
fn tidy(bev: Bev) {
    let input = bev.input_at.get();
    // SAFETY: its own buffer, under the lock; nothing is added or removed.
    unsafe {
        if buffer::len(input) > 0 && !buffer::is_shown(input) {
            buffer::with(input, |input| pool::with(|pool| input.give_back(pool)));
        }
    }
}

fn fail(bev: Bev, what: c_short) {
    bev.disable(EV_READ);
    bev.run_event(READING | what, 0);
}

/// How many bytes to read at most; None while it rests.
fn room(bev: Bev) -> Option<usize> {
    let high = bev.wm_read.get().high;
    let below = match high {
        0 => usize::MAX,
        _ => high.saturating_sub(bev.input_len()),
    };
    if below == 0 {
        bev.suspend_read(why::WATERMARK); // the mark was lowered
        return None;
    }
    let most = below.min(bev.allowance(Direction::Read));
    (bev.read_suspended.get() == 0).then_some(most)
}

fn read(bev: Bev, fd: c_int, limit: usize) -> Moved {
    if fd < 0 {
        return Moved { bytes: 0, then: Then::Failed(Errno(libc::EBADF)) };
    }
    // SAFETY: not -1; the program keeps it open as long as it is read from, and a closed one is EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let input = bev.input_at.get();
    // SAFETY: its own buffer, under the lock.
    let shown = unsafe { buffer::is_shown(input) };
    let work = |input: &mut Buffer| {
        input.thaw(End::Back); // (a)
        let moved = pool::with(|pool| {
            if shown {
                input.give_back(pool); // (c)
            }
            read_into(fd, Kind::Other, input, pool, limit)
        });
        input.freeze(End::Back);
        moved
    };
    // SAFETY: its own buffer, and `work` calls nobody.
    unsafe {
        buffer::forget_shown(input);
        buffer::with(input, work)
    }
}
