//! Between evbuffers and descriptors: evbuffer_read and evbuffer_write, one system call each.

use super::{evbuffer, pool, status, told, with};
use core::ffi::c_int;
use core::mem::MaybeUninit;
use duolu_core::Errno;
use duolu_core::buffer::{BufferError, End, Piece};
use duolu_core::stream::Then;
use duolu_sys::syscall::set_errno;
use duolu_sys::transfer::{Kind, write_from};
use std::os::fd::BorrowedFd;

/// What one evbuffer_read reads at most: libevent's number, which programs that read once per event have come to know.
const MOST: usize = 4096;

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_read(this: *mut evbuffer, fd: c_int, howmuch: c_int) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        with(this, |buffer| {
            if buffer.is_frozen(End::Back) {
                return status::<()>(Err(BufferError::Frozen(End::Back)));
            }
            // Read beside the buffer and copied: this costs less than to ask first how much there is (FIONREAD), and no
            // chunk is larger than what came.
            let mut bytes = [const { MaybeUninit::<u8>::uninit() }; MOST];
            let asked = usize::try_from(howmuch).unwrap_or(MOST).min(MOST);
            let got = libc::read(fd, bytes.as_mut_ptr().cast(), asked);
            let Ok(len) = usize::try_from(got) else { return -1 };
            let bytes = core::slice::from_raw_parts(bytes.as_ptr().cast::<u8>(), len);
            told(buffer.append(bytes)).map_or(-1, |()| len as c_int)
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_write(this: *mut evbuffer, fd: c_int) -> c_int {
    // SAFETY: the header's contract.
    unsafe { evbuffer_write_atmost(this, fd, -1) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn evbuffer_write_atmost(
    this: *mut evbuffer,
    fd: c_int,
    howmuch: isize,
) -> c_int {
    // SAFETY: the header's contract.
    unsafe {
        with(this, |buffer| {
            if buffer.is_frozen(End::Front) {
                return status::<()>(Err(BufferError::Frozen(End::Front)));
            }
            let limit = usize::try_from(howmuch).map_or(buffer.len(), |most| most.min(buffer.len()));
            if limit == 0 {
                return -1; // as libevent has it, with no errno
            }
            if fd < 0 {
                set_errno(Errno(libc::EBADF));
                return -1;
            }
            let file = matches!(buffer.pieces(0).next(), Some(Piece::File(..)));
            // The descriptor may be anything: so it is written to, which on a socket without a reader raises SIGPIPE where
            // that is not ignored, as with libevent.
            let fd = BorrowedFd::borrow_raw(fd);
            let moved =
                pool::with(|pool| write_from(fd, Kind::Other, buffer, pool, limit.min(c_int::MAX as usize)));
            match moved.then {
                _ if moved.bytes > 0 => moved.bytes as c_int,
                Then::Failed(errno) => {
                    set_errno(errno);
                    -1
                }
                // What sendfile(2) would have to wait for is no failure to libevent.
                _ if file => 0,
                _ => {
                    set_errno(Errno(libc::EAGAIN));
                    -1
                }
            }
        })
    }
}
