//! What is done to sockets. Failures leave errno as the system call set it.

use crate::layout::Socket;
use crate::log;
use core::ffi::{c_int, c_void};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn evutil_socketpair(
    domain: c_int,
    kind: c_int,
    protocol: c_int,
    pair: *mut Socket,
) -> c_int {
    // SAFETY: the caller's array of two, as socketpair(2) has it.
    unsafe { libc::socketpair(domain, kind, protocol, pair) }
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_closesocket(socket: Socket) -> c_int {
    // SAFETY: closes what the caller says is its to close.
    unsafe { libc::close(socket) }
}

/// Adds a flag by one pair of fcntl(2)'s commands; the second call is spared if it is set already.
fn add_flag(socket: Socket, commands: [c_int; 2], names: [&str; 2], flag: c_int) -> c_int {
    let [get, set] = commands;
    // SAFETY: both commands take or give an int; a number that is no descriptor is refused.
    unsafe {
        let flags = libc::fcntl(socket, get);
        if flags < 0 {
            log::warn_errno(format_args!("fcntl({socket}, {})", names[0]));
            return -1;
        }
        if flags & flag == 0 && libc::fcntl(socket, set, flags | flag) < 0 {
            log::warn_errno(format_args!("fcntl({socket}, {})", names[1]));
            return -1;
        }
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_socket_nonblocking(socket: Socket) -> c_int {
    add_flag(socket, [libc::F_GETFL, libc::F_SETFL], ["F_GETFL", "F_SETFL"], libc::O_NONBLOCK)
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_socket_closeonexec(socket: Socket) -> c_int {
    add_flag(socket, [libc::F_GETFD, libc::F_SETFD], ["F_GETFD", "F_SETFD"], libc::FD_CLOEXEC)
}

/// Turns a socket option on.
pub fn set_option(socket: Socket, level: c_int, option: c_int) -> c_int {
    let one: c_int = 1;
    // SAFETY: an int of this frame, with its size.
    unsafe {
        libc::setsockopt(
            socket,
            level,
            option,
            (&raw const one).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_reuseable(socket: Socket) -> c_int {
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR)
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_reuseable_port(socket: Socket) -> c_int {
    set_option(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT)
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_listen_socket_ipv6only(socket: Socket) -> c_int {
    set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY)
}

#[unsafe(no_mangle)]
pub extern "C" fn evutil_make_tcp_listen_socket_deferred(socket: Socket) -> c_int {
    set_option(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT)
}
