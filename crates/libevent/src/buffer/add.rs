//! How a program's bytes come into an evbuffer.

use super::reference::{bytes_of, check};
use super::{Entered, FREED, User, evbuffer, status, told, unobserved, with, with_entered};
use crate::variadic::{Arguments, duolu_vsnprintf};
use core::ffi::{c_char, c_int, c_void};
use core::mem::MaybeUninit;
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, BufferError, End};
use duolu_sys::syscall::set_errno;
use libc::iovec;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add(this: *mut evbuffer, data: *const u8, len: usize) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        match unobserved(this) {
            Some(buffer) if (1..=isize::MAX as usize).contains(&len) && !data.is_null() => {
                let added = status(buffer.append(core::slice::from_raw_parts(data, len)));
                buffer.forget_change(); // nothing has left, so nothing is due
                added
            }
            _ => with_entered(this, |buffer| {
                status(check(len).and_then(|()| buffer.append(bytes_of(data, len))))
            }),
        }
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_prepend(this: *mut evbuffer, data: *const u8, len: usize) -> c_int {
    if len == 0 {
        return 0; // even where it is frozen
    }
    // SAFETY: the header's contract.
    unsafe { with(this, |buffer| status(check(len).and_then(|()| buffer.prepend(bytes_of(data, len))))) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_iovec(
    this: *mut evbuffer,
    vectors: *mut iovec,
    count: c_int,
) -> usize {
    let count = usize::try_from(count).unwrap_or(0);
    let mut added = 0;
    // SAFETY: the header's contract. A callback may free the evbuffer, which has a user here.
    unsafe {
        let _entered = Entered::new(this);
        let _user = User::of(this);
        let lengths = (0..count).map(|at| (*vectors.add(at)).iov_len);
        let total = lengths.fold(0usize, usize::saturating_add);
        if !(*this).buffer.is_frozen(End::Back) && told((*this).buffer.extend(total, 2)).is_none() {
            return 0;
        }
        for at in 0..count {
            let iovec { iov_base, iov_len } = *vectors.add(at);
            // Callbacks are told of each, as by libevent.
            if (*this).flags & FREED != 0 || evbuffer_add(this, iov_base.cast(), iov_len) < 0 {
                break;
            }
            added += iov_len;
        }
    }
    added
}

/// What evbuffer_add_printf comes to: a va_list is a pointer where it is passed on.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn duolu_add_vprintf(
    this: *mut evbuffer,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        match unobserved(this) {
            Some(buffer) => {
                let printed = print(buffer, format, arguments);
                buffer.forget_change();
                printed
            }
            None => with_entered(this, |buffer| print(buffer, format, arguments)),
        }
    }
}

/// A text up to this long is printed beside the buffer and copied, which asks for no more room than it takes.
const SHORT_TEXT: usize = 1024;

/// Prints to the end. The NUL behind the text stays there: whoever looks at all of it as a string finds its end.
unsafe fn print(buffer: &mut Buffer, format: *const c_char, arguments: *mut c_void) -> c_int {
    if buffer.is_frozen(End::Back) {
        return status::<()>(Err(BufferError::Frozen(End::Back)));
    }
    let mut short = [const { MaybeUninit::<u8>::uninit() }; SHORT_TEXT];
    // SAFETY: the caller's format fits its arguments, which are copied because they are used up by being read.
    let length = unsafe { print_at(short.as_mut_ptr().cast(), SHORT_TEXT, format, arguments) };
    let Some(len) = length_of(length) else { return -1 };
    if len >= SHORT_TEXT {
        // SAFETY: as above.
        return told(unsafe { print_long(buffer, format, arguments, len + 1) }).flatten().unwrap_or(-1);
    }
    // SAFETY: the text and its NUL were just written there.
    let text = unsafe { core::slice::from_raw_parts(short.as_ptr().cast(), len + 1) };
    if status(buffer.append_text(text)) == 0 { length } else { -1 }
}

/// Prints into the buffer's room, of `wanted` bytes or more.
#[inline(never)]
unsafe fn print_long(
    buffer: &mut Buffer,
    format: *const c_char,
    arguments: *mut c_void,
    mut wanted: usize,
) -> Result<Option<c_int>, BufferError> {
    loop {
        buffer.expand(wanted)?;
        let piece = buffer.room().enumerate().find(|(_, room)| room.len() >= wanted);
        let Some((at, room)) = piece else { return Err(BufferError::NoMemory) };
        // SAFETY: of `print`.
        let length = unsafe { print_at(room.as_mut_ptr().cast(), room.len(), format, arguments) };
        match length_of(length) {
            Some(len) if len < room.len() => {
                buffer.commit_pieces(at, &[len])?;
                return Ok(Some(length));
            }
            // Another thread has changed what is printed.
            Some(len) => wanted = len + 1,
            None => return Ok(None),
        }
    }
}

unsafe fn print_at(to: *mut c_char, room: usize, format: *const c_char, arguments: *mut c_void) -> c_int {
    // SAFETY: of `print`; `to` has `room` bytes.
    unsafe { duolu_vsnprintf(to, room, format, Arguments::copy(arguments).pass()) }
}

/// None: vsnprintf(3) has failed.
fn length_of(length: c_int) -> Option<usize> {
    usize::try_from(length).map_err(|_| set_errno(Errno(libc::EINVAL))).ok()
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add_vprintf(
    this: *mut evbuffer,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe { duolu_add_vprintf(this, format, arguments) }
}
