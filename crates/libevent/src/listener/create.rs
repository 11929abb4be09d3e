//! Making listeners.

use super::{
    BIND_IPV6ONLY, CLOSE_ON_EXEC, Callback, DEFERRED_ACCEPT, DISABLED, REUSEABLE, REUSEABLE_PORT, THREADSAFE,
    accept, evconnlistener, event_assign,
};
use crate::layout::Socket;
use crate::util::sockets::set_option;
use crate::{event_base, lock, mem};
use core::ffi::{c_int, c_short, c_uint, c_void};
use core::ptr::{addr_of_mut, null_mut};
use duolu_core::Errno;
use duolu_sys::syscall::{last_errno, set_errno};
use libc::sockaddr;

/// EV_READ | EV_PERSIST.
const READS: c_short = 0x02 | 0x10;
/// Connections that wait to be accepted, where the program has no wish.
const BACKLOG: c_int = 128;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_new(
    base: *mut event_base,
    callback: Option<Callback>,
    arg: *mut c_void,
    flags: c_uint,
    backlog: c_int,
    fd: Socket,
) -> *mut evconnlistener {
    // 0: it listens already.
    let backlog = if backlog < 0 { BACKLOG } else { backlog };
    // SAFETY: a number, which is refused if it is no socket.
    if backlog > 0 && unsafe { libc::listen(fd, backlog) } < 0 {
        return null_mut();
    }
    // SAFETY: all zeroes are a listener: no callbacks, no lock, events that are not assigned.
    let this = unsafe { mem::zeroed::<evconnlistener>() };
    if this.is_null() {
        return this;
    }
    // SAFETY: fresh, and nobody else's until it is returned.
    unsafe {
        (*this).base = base;
        (*this).fd = fd;
        (*this).callback = callback;
        (*this).arg = arg;
        (*this).flags = flags;
        (*this).enabled = flags & DISABLED == 0;
        if flags & THREADSAFE != 0 {
            (*this).lock = lock::new(true);
            if (*this).lock.is_null() && lock::enabled() {
                mem::free(this.cast());
                set_errno(Errno(libc::ENOMEM));
                return null_mut();
            }
        }
        let assigned = event_assign(
            addr_of_mut!((*this).readable),
            base,
            fd,
            READS,
            Some(accept::readable),
            this.cast(),
        ) == 0
            && event_assign(addr_of_mut!((*this).rested), base, -1, 0, Some(accept::rested), this.cast())
                == 0;
        let begun = assigned && (!(*this).enabled || callback.is_none() || accept::resume(this) == 0);
        if !begun {
            let errno = last_errno();
            lock::free((*this).lock, true);
            mem::free(this.cast());
            set_errno(errno);
            return null_mut();
        }
    }
    this
}

/// A socket as the flags say, bound.
///
/// # Safety
/// `address` is null or has `length` bytes.
unsafe fn bound(flags: c_uint, address: *const sockaddr, length: c_int) -> Result<Socket, Errno> {
    let exec = if flags & CLOSE_ON_EXEC != 0 { libc::SOCK_CLOEXEC } else { 0 };
    // SAFETY: the caller's; numbers otherwise.
    unsafe {
        let family = address.as_ref().map_or(libc::AF_UNSPEC, |address| address.sa_family.into());
        let fd =
            duolu_sys::syscall!(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | exec, 0))?;
        let options = [
            (true, libc::SOL_SOCKET, libc::SO_KEEPALIVE),
            (flags & REUSEABLE != 0, libc::SOL_SOCKET, libc::SO_REUSEADDR),
            (flags & REUSEABLE_PORT != 0, libc::SOL_SOCKET, libc::SO_REUSEPORT),
            (flags & DEFERRED_ACCEPT != 0, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
            (flags & BIND_IPV6ONLY != 0, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ];
        let set =
            options.iter().all(|(wanted, level, option)| !wanted || set_option(fd, *level, *option) == 0);
        let length = libc::socklen_t::try_from(length).unwrap_or(0);
        if set && libc::bind(fd, address, length) == 0 {
            return Ok(fd);
        }
        let errno = last_errno();
        libc::close(fd);
        Err(errno)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evconnlistener_new_bind(
    base: *mut event_base,
    callback: Option<Callback>,
    arg: *mut c_void,
    flags: c_uint,
    backlog: c_int,
    address: *const sockaddr,
    length: c_int,
) -> *mut evconnlistener {
    if backlog == 0 {
        set_errno(Errno(libc::EINVAL));
        return null_mut();
    }
    // SAFETY: what the header asks; a descriptor that was just made is nobody else's.
    unsafe {
        match bound(flags, address, length) {
            Ok(fd) => {
                let this = evconnlistener_new(base, callback, arg, flags, backlog, fd);
                if this.is_null() {
                    let errno = last_errno();
                    libc::close(fd);
                    set_errno(errno);
                }
                this
            }
            Err(errno) => {
                set_errno(errno);
                null_mut()
            }
        }
    }
}
