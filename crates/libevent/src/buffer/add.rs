//! How a program's bytes come into an evbuffer.

use super::reference::{bytes_of, check};
use super::{Entered, FREED, User, evbuffer, status, told, with};
use crate::variadic::{Arguments, duolu_vsnprintf};
use core::ffi::{c_char, c_int, c_void};
use duolu_core::Errno;
use duolu_core::buffer::{Buffer, BufferError, End};
use duolu_sys::syscall::set_errno;
use libc::iovec;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_add(this: *mut evbuffer, data: *const u8, len: usize) -> c_int {
    // SAFETY: the header's contract.
    unsafe { with(this, |buffer| status(check(len).and_then(|()| buffer.append(bytes_of(data, len))))) }
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

/// Room that is asked for before it is known how long the text will be.
const SHORT_TEXT: usize = 64;

/// What evbuffer_add_printf comes to: a va_list is a pointer where it is passed on.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn duolu_add_vprintf(
    this: *mut evbuffer,
    format: *const c_char,
    arguments: *mut c_void,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        with(this, |buffer| {
            if buffer.is_frozen(End::Back) {
                return status::<()>(Err(BufferError::Frozen(End::Back)));
            }
            told(print(buffer, format, arguments)).flatten().unwrap_or(-1)
        })
    }
}

/// Prints into the buffer's room. The NUL behind the text stays there: whoever looks at all of it as a string finds its end.
unsafe fn print(
    buffer: &mut Buffer,
    format: *const c_char,
    arguments: *mut c_void,
) -> Result<Option<c_int>, BufferError> {
    let mut wanted = SHORT_TEXT;
    loop {
        buffer.expand(wanted)?;
        let piece = buffer.room().enumerate().find(|(_, room)| room.len() >= wanted);
        let Some((at, room)) = piece else { return Err(BufferError::NoMemory) };
        // SAFETY: the caller's format fits its arguments, which are copied because they are used up by being read.
        let length = unsafe {
            let mut copy = Arguments::copy(arguments);
            duolu_vsnprintf(room.as_mut_ptr().cast(), room.len(), format, copy.pass())
        };
        match usize::try_from(length) {
            Ok(len) if len < room.len() => {
                buffer.commit_pieces(at, &[len])?;
                return Ok(Some(length));
            }
            Ok(len) => wanted = len + 1,
            Err(_) => {
                set_errno(Errno(libc::EINVAL));
                return Ok(None);
            }
        }
    }
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
