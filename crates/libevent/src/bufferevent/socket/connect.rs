//! Connecting: the write event says when it is done.

use super::super::codes::*;
use super::super::lifetime::{Held, Locked};
use super::super::{Bev, Kind, flag, why};
use super::{close, set_fd, start};
use crate::layout::bufferevent;
use crate::util::resolve::{evutil_freeaddrinfo, evutil_getaddrinfo};
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use duolu_core::Errno;
use duolu_sys::syscall::{last_errno, set_errno};
use libc::{sockaddr, socklen_t};

enum Begun {
    /// The write event will say.
    InProgress,
    /// As AF_UNIX does.
    Done,
    Refused,
    Failed,
}

fn begin(fd: c_int, address: *const sockaddr, size: c_int) -> Begun {
    // SAFETY: the caller's address of that size; the kernel checks both.
    if unsafe { libc::connect(fd, address, size as socklen_t) } == 0 {
        return Begun::Done;
    }
    match last_errno() {
        Errno(libc::EINTR | libc::EINPROGRESS) => Begun::InProgress,
        Errno(libc::ECONNREFUSED) => Begun::Refused,
        _ => Begun::Failed,
    }
}

/// True unless it failed at once, with errno.
fn connect(bev: Bev, address: *const sockaddr, size: c_int) -> bool {
    let _held = Held::of(bev);
    let (mut fd, mut made_here) = (bev.fd(), false);
    if fd < 0 {
        if address.is_null() {
            return false;
        }
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        // SAFETY: the caller's address, whose family is looked at; socket(2) takes any number.
        fd = unsafe { libc::socket(c_int::from((*address).sa_family), kind, 0) };
        if fd < 0 {
            return false;
        }
        made_here = true;
    }
    // Without an address the program has called connect(2).
    let begun = if address.is_null() { Begun::InProgress } else { begin(fd, address, size) };
    let errno = last_errno();
    if let Begun::Failed = begun {
        if made_here {
            close(fd);
        }
        set_errno(errno);
        return false;
    }
    set_fd(bev, fd);
    match begun {
        Begun::InProgress => {
            if !start(bev, EV_WRITE) {
                return false;
            }
            bev.set(flag::CONNECTING, true);
        }
        Begun::Done => {
            bev.set(flag::CONNECTING, true);
            bev.trigger(EV_WRITE, DEFER_CALLBACKS);
        }
        Begun::Refused | Begun::Failed => {
            set_errno(errno);
            bev.run_event(ERROR, DEFER_CALLBACKS);
            bev.disable(EV_WRITE | EV_READ);
        }
    }
    true
}

/// With a null address the descriptor connects already. 0: BEV_EVENT_CONNECTED or BEV_EVENT_ERROR will be told.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_socket_connect(
    bev: *mut bufferevent,
    address: *const sockaddr,
    size: c_int,
) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    if bev.kind() == Kind::Socket && connect(bev, address, size) { 0 } else { -1 }
}

/// Without an evdns_base, and there is none yet, this waits for the answer; a numeric address needs none.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_socket_connect_hostname(
    bev: *mut bufferevent,
    _evdns_base: *mut c_void,
    family: c_int,
    name: *const c_char,
    port: c_int,
) -> c_int {
    if ![libc::AF_INET, libc::AF_INET6, libc::AF_UNSPEC].contains(&family) || !(1..=65535).contains(&port) {
        return -1;
    }
    // SAFETY: the caller's bufferevent, and its string.
    let bev = unsafe { Bev::of(bev) };
    let (mut service, mut digits) = ([0u8; 8], port);
    for place in (0..decimal_places(port)).rev() {
        service[place] = b'0' + (digits % 10) as u8;
        digits /= 10;
    }
    let _held = Held::of(bev);
    bev.rare_or_new().dns_error.set(0);
    bev.suspend_write(why::LOOKUP);
    bev.suspend_read(why::LOOKUP);
    // SAFETY: all zeroes are an addrinfo without wishes.
    let mut wishes: libc::addrinfo = unsafe { core::mem::zeroed() };
    wishes.ai_family = family;
    wishes.ai_protocol = libc::IPPROTO_TCP;
    wishes.ai_socktype = libc::SOCK_STREAM;
    let service = CStr::from_bytes_until_nul(&service).unwrap_or_default();
    let mut found = null_mut();
    // SAFETY: strings that end, wishes and room for the answer.
    let error = unsafe { evutil_getaddrinfo(name, service.as_ptr(), &raw const wishes, &raw mut found) };
    resolved(bev, error, found);
    0
}

fn decimal_places(port: c_int) -> usize {
    match port {
        ..10 => 1,
        10..100 => 2,
        100..1000 => 3,
        1000..10_000 => 4,
        _ => 5,
    }
}

/// Goes on with the first address that was found.
fn resolved(bev: Bev, error: c_int, found: *mut libc::addrinfo) {
    bev.resume_write(why::LOOKUP);
    bev.resume_read(why::LOOKUP);
    // SAFETY: null, or a list that is ours to free.
    let first = unsafe { found.as_ref() };
    match first {
        Some(first) if error == 0 => {
            if !connect(bev, first.ai_addr, first.ai_addrlen as c_int) {
                bev.run_event(ERROR, 0);
            }
        }
        _ => {
            bev.rare_or_new().dns_error.set(error);
            bev.run_event(ERROR, 0);
        }
    }
    if !found.is_null() {
        // SAFETY: as above, and not used any more.
        unsafe { evutil_freeaddrinfo(found) };
    }
}

/// EVUTIL_EAI_* of the last lookup.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn bufferevent_socket_get_dns_error(bev: *mut bufferevent) -> c_int {
    // SAFETY: the caller's bufferevent.
    let bev = unsafe { Bev::of(bev) };
    let _locked = Locked::of(bev);
    bev.rare().map_or(0, |rare| rare.dns_error.get())
}
