//! Writing, and finding out whether connecting worked.
//!
//! Traps:
//! (a) The output is frozen for everybody else, and thawed only while bytes leave.
//! (b) The program sees errno, so nothing may come between the call and the event callback that changes it.
//! (c) Writing in the turn in which bytes came spares two waits and two changes to the kernel. But a program that adds more
//!     in each write callback would keep the loop from everything else: so once in a turn, then the kernel is asked.

use super::super::codes::*;
use super::super::lifetime::Held;
use super::super::{Bev, flag};
use crate::base::run::turn_of;
use crate::buffer::{self, pool};
use core::ffi::{c_int, c_short, c_void};
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, End};
use duolu_core::stream::{Direction, Moved, Then};
use duolu_sys::socket::take_error;
use duolu_sys::syscall::set_errno;
use duolu_sys::transfer::{Kind, write_from};
use std::os::fd::BorrowedFd;

/// Bytes were added: begins to write, unless it does already or must not.
pub fn output_grew(bev: Bev) {
    if !bev.enables(EV_WRITE) || bev.write_suspended.get() != 0 || bev.write_event().is_pending() {
        return;
    }
    if bev.has(flag::IN_READ) && !bev.has(flag::CONNECTING) && bev.fd() >= 0 {
        bev.set(flag::WRITE_DUE, true);
    } else if !bev.has(flag::CONNECTING) && bev.fd() >= 0 && bev.writes_in_this_turn() {
        bev.write_event().activate(EV_WRITE);
    } else {
        bev.write_event().add(bev.timeout_write.get());
    }
}

/// The read callback has returned: what it wrote goes out, unless it was freed or disabled meanwhile.
#[inline]
pub fn write_due(bev: Bev) {
    if bev.has(flag::WRITE_DUE) {
        bev.set(flag::WRITE_DUE, false);
        let is_alive = bev.refs().get() > 1; // one is the read handler's
        if is_alive && bev.enables(EV_WRITE) && bev.write_suspended.get() == 0 && bev.output_len() > 0 {
            write_now(bev, bev.fd(), false);
        }
    }
}

pub unsafe extern "C-unwind" fn on_writable(fd: c_int, what: c_short, bev: *mut c_void) {
    // SAFETY: the bufferevent that the event is part of.
    let bev = unsafe { Bev::of(bev.cast()) };
    let Some(_held) = Held::unless_dying(bev) else { return };
    if what == EV_TIMEOUT {
        return fail(bev, TIMEOUT);
    }
    let mut connected = false;
    if bev.has(flag::CONNECTING) {
        match finish_connecting(bev, fd) {
            None => return,
            Some(goes_on) if !goes_on => return,
            Some(_) => connected = true,
        }
    }
    write_now(bev, fd, connected);
}

/// Writes what there is, as far as it may, and calls back.
fn write_now(bev: Bev, fd: c_int, connected: bool) {
    let most = bev.allowance(Direction::Write);
    if bev.write_suspended.get() != 0 {
        return;
    }
    let mut wrote = false;
    if bev.output_len() > 0 {
        let moved = write(bev, fd, most);
        match moved.then {
            _ if moved.bytes > 0 => {
                wrote = true;
                bev.moved(Direction::Write, moved.bytes);
            }
            Then::Failed(errno) => {
                bev.disable(EV_WRITE);
                set_errno(errno); // (b)
                return bev.run_event(WRITING | ERROR, 0);
            }
            _ => return wait_or_not(bev),
        }
    }
    wait_or_not(bev);
    if wrote || !connected {
        bev.trigger(EV_WRITE, 0);
    }
}

/// Waits for the descriptor while there is something left.
fn wait_or_not(bev: Bev) {
    let event = bev.write_event();
    if bev.output_len() == 0 {
        event.del();
    } else if !event.is_inserted() && bev.enables(EV_WRITE) && bev.write_suspended.get() == 0 {
        event.add(bev.timeout_write.get());
    }
}

fn fail(bev: Bev, what: c_short) {
    bev.disable(EV_WRITE);
    bev.run_event(WRITING | what, 0);
}

/// None: still connecting, or it failed and that was said. Otherwise whether to write now.
fn finish_connecting(bev: Bev, fd: c_int) -> Option<bool> {
    let refused = bev.has(flag::REFUSED);
    bev.set(flag::REFUSED, false);
    let outcome = if refused { Err(Errno(libc::ECONNREFUSED)) } else { error_of(fd) };
    if let Err(Errno(libc::EINTR | libc::EINPROGRESS | libc::EAGAIN)) = outcome {
        return None;
    }
    bev.set(flag::CONNECTING, false);
    if let Err(errno) = outcome {
        bev.write_event().del();
        bev.read_event().del();
        set_errno(errno); // (b)
        bev.run_event(ERROR, 0);
        return None;
    }
    bev.run_event(CONNECTED, 0);
    let writes = bev.enables(EV_WRITE) && bev.write_suspended.get() == 0;
    if !writes {
        bev.write_event().del();
    }
    Some(writes)
}

/// What became of a connection.
fn error_of(fd: c_int) -> Result<(), Errno> {
    if fd < 0 {
        return Err(Errno(libc::EBADF));
    }
    // SAFETY: not -1; the program keeps it open as long as it connects, and a closed one is EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    take_error(fd).map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

fn write(bev: Bev, fd: c_int, limit: usize) -> Moved {
    if fd < 0 {
        return Moved { bytes: 0, then: Then::Failed(Errno(libc::EBADF)) };
    }
    // SAFETY: not -1; the program keeps it open as long as it is written to, and a closed one is EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let work = |output: &mut Buffer| {
        output.thaw(End::Front); // (a)
        let moved = pool::with(|pool| {
            let moved = write_from(fd, Kind::Other, output, pool, limit);
            output.give_back(pool); // what waits does not keep a block for a few bytes
            moved
        });
        output.freeze(End::Front);
        moved
    };
    // SAFETY: its own buffer, and `work` calls nobody.
    unsafe { buffer::with(bev.output_at.get(), work) }
}

impl Bev {
    /// (c)
    fn writes_in_this_turn(self) -> bool {
        // SAFETY: the base that its event is assigned to lives.
        let turn = unsafe { turn_of(self.write_event().base()) };
        self.words().wrote_in.replace(turn) != turn
    }
}
