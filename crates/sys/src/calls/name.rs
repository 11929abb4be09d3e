//! A system call's name by its number, for those that a thread sleeps in.

/// The name as in the man pages; `None` for a call that nobody here sleeps in. Numbers differ between machines.
pub fn name_of(number: i64) -> Option<&'static str> {
    let known = COMMON.iter().chain(OLDER).find(|(of, _)| *of == number);
    known.map(|(_, name)| *name)
}

/// On every machine.
const COMMON: &[(libc::c_long, &str)] = &[
    (libc::SYS_read, "read"),
    (libc::SYS_readv, "readv"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_write, "write"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_accept, "accept"),
    (libc::SYS_accept4, "accept4"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_pselect6, "pselect6"),
    (libc::SYS_ppoll, "ppoll"),
    (libc::SYS_epoll_pwait, "epoll_pwait"),
    (libc::SYS_epoll_pwait2, "epoll_pwait2"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
    (libc::SYS_futex, "futex"),
    (libc::SYS_nanosleep, "nanosleep"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep"),
    (libc::SYS_wait4, "wait4"),
];

/// What younger architectures never had: there the C library makes the other ones of these.
#[cfg(target_arch = "x86_64")]
const OLDER: &[(libc::c_long, &str)] =
    &[(libc::SYS_select, "select"), (libc::SYS_poll, "poll"), (libc::SYS_epoll_wait, "epoll_wait")];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[(libc::c_long, &str)] = &[];
