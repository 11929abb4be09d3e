//! How bytes leave an evbuffer into the program's memory.

use super::reference::check;
use super::{Entered, FREED, User, evbuffer, pool, release, status, told, unobserved, with_entered};
use crate::layout::evbuffer_ptr;
use crate::mem;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use duolu_core::buffer::{Block, Buffer, BufferError, End, Eol, Line};

/// Drops bytes from the front; blocks go back to the thread's pool.
#[inline(always)]
fn drain(buffer: &mut Buffer, len: usize) -> Result<usize, BufferError> {
    buffer.drain_to(len, pool::BLOCK, put)
}

#[inline(never)]
fn put(block: Block) {
    pool::with(|pool| pool.put(block));
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_drain(this: *mut evbuffer, len: usize) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        match unobserved(this) {
            Some(buffer) => {
                let drained = drain_some(buffer, len);
                buffer.forget_change();
                release(this);
                drained
            }
            None => with_entered(this, |buffer| drain_some(buffer, len)),
        }
    }
}

#[inline(always)]
fn drain_some(buffer: &mut Buffer, len: usize) -> c_int {
    if buffer.is_empty() { 0 } else { status(drain(buffer, len)) }
}

/// Copies up to `len` bytes from position `from` on.
#[inline(always)]
unsafe fn copy_out(buffer: &Buffer, from: usize, data: *mut u8, len: usize) -> Result<usize, BufferError> {
    let len = len.min(buffer.len().saturating_sub(from));
    if len == 0 {
        return Ok(0); // even where it is frozen
    }
    if buffer.is_frozen(End::Front) {
        return Err(BufferError::Frozen(End::Front));
    }
    // SAFETY: writable for what the caller gave as its length, of which this is a part; it is only written to.
    buffer.copy_out(from, unsafe { core::slice::from_raw_parts_mut(data, len) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_remove(this: *mut evbuffer, data: *mut u8, len: usize) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        match unobserved(this) {
            Some(buffer) => {
                let removed = remove(buffer, data, len);
                buffer.forget_change();
                release(this);
                removed
            }
            None => with_entered(this, |buffer| remove(buffer, data, len)),
        }
    }
}

#[inline(always)]
unsafe fn remove(buffer: &mut Buffer, data: *mut u8, len: usize) -> c_int {
    // SAFETY: the caller's memory.
    let removed = unsafe { copy_out(buffer, 0, data, len) }.and_then(|copied| match copied {
        0 => Ok(0),
        copied => drain(buffer, copied),
    });
    told(removed).map_or(-1, |removed| removed as c_int)
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_copyout(this: *mut evbuffer, data: *mut u8, len: usize) -> isize {
    // SAFETY: the header's contract.
    unsafe { evbuffer_copyout_from(this, core::ptr::null(), data, len) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_copyout_from(
    this: *mut evbuffer,
    from: *const evbuffer_ptr,
    data: *mut u8,
    len: usize,
) -> isize {
    // SAFETY: the header's contract.
    unsafe {
        let (from, len) = match from.as_ref().map(|from| usize::try_from(from.pos)) {
            None => (0, len),
            Some(Ok(from)) if len <= (isize::MAX as usize) - from => (from, len),
            Some(_) => return status::<()>(Err(BufferError::TooLong)) as isize,
        };
        let _entered = Entered::new(this);
        told(copy_out(&(*this).buffer, from, data, len)).map_or(-1, |copied| copied as isize)
    }
}

/// An evbuffer_eol_style.
pub(super) fn eol(style: c_int) -> Option<Eol> {
    Some(match style {
        0 => Eol::Any,
        1 => Eol::CrLf,
        2 => Eol::CrLfStrict,
        3 => Eol::Lf,
        4 => Eol::Nul,
        _ => return None,
    })
}

/// Copies a line of `len` bytes into memory of C's, with a NUL behind it.
unsafe fn copy_line(buffer: &Buffer, len: usize) -> *mut c_char {
    if told(check(len.saturating_add(1))).is_none() {
        return null_mut();
    }
    let line = mem::malloc(len + 1).cast::<u8>();
    if !line.is_null() {
        // SAFETY: it was just given so many bytes.
        unsafe {
            if told(copy_out(buffer, 0, line, len)).is_none() {
                mem::free(line.cast());
                return null_mut();
            }
            *line.add(len) = 0;
        }
    }
    line.cast()
}

/// Where the first line ends, if it may leave.
#[inline(always)]
fn find_line(buffer: &mut Buffer, style: c_int) -> Option<Line> {
    if buffer.is_frozen(End::Front) {
        return None;
    }
    let style = eol(style)?;
    told(super::look::loaded(buffer).and_then(|buffer| buffer.find_line(0, style))).flatten()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_readln(
    this: *mut evbuffer,
    len_out: *mut usize,
    style: c_int,
) -> *mut c_char {
    // SAFETY: the header's contract.
    unsafe {
        let Some(buffer) = unobserved(this) else { return read_line_entered(this, len_out, style) };
        let line = find_line(buffer, style);
        if line.is_some_and(|line| buffer.front().len() < line.end + line.eol) {
            // A release hook may be called between the line and its end.
            return read_line_entered(this, len_out, style);
        }
        let text = line.map_or(null_mut(), |line| copy_line(buffer, line.end));
        let gone = line.filter(|_| !text.is_null());
        if let Some(len_out) = len_out.as_mut() {
            *len_out = gone.map_or(0, |line| line.end);
        }
        if let Some(line) = gone {
            told(drain(buffer, line.end + line.eol));
            buffer.forget_change();
            release(this);
        }
        text
    }
}

/// As evbuffer_readln, where somebody is to be told or a lock is to be taken.
#[inline(never)]
unsafe fn read_line_entered(this: *mut evbuffer, len_out: *mut usize, style: c_int) -> *mut c_char {
    // SAFETY: of evbuffer_readln. A callback may free the evbuffer, which has a user here.
    unsafe {
        let entered = Entered::new(this);
        let _user = User::of(this);
        if let Some(len_out) = len_out.as_mut() {
            *len_out = 0;
        }
        let buffer = &mut (*this).buffer;
        let Some(line) = find_line(buffer, style) else { return null_mut() };
        let text = copy_line(buffer, line.end);
        if text.is_null() {
            return text;
        }
        // Told twice, as by libevent: the line leaves, and then its end.
        if line.end > 0 {
            told(drain(buffer, line.end));
            entered.tell();
        }
        if (*this).flags & FREED == 0 {
            told(drain(&mut (*this).buffer, line.eol));
            entered.tell();
        }
        if let Some(len_out) = len_out.as_mut() {
            *len_out = line.end;
        }
        text
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_readline(this: *mut evbuffer) -> *mut c_char {
    // SAFETY: the header's contract.
    unsafe { evbuffer_readln(this, null_mut(), 0) }
}
