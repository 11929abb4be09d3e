//! A network of one's own: a network namespace with nothing in it but a loopback, whose every packet can be seen.
//! Nothing of the machine changes, and it is gone with the last process and socket in it.
//!
//! Traps:
//! (a) unshare(CLONE_NEWNET) moves the *calling thread* only, and needs CAP_SYS_ADMIN. Whoever lacks it gets it in a user
//!     namespace of his own, which only a process with one thread may make (unshare(2)), and which some
//!     distributions allow but leave without capabilities: so the whole way is tried in a child first, for there is no
//!     way back.
//! (b) A new loopback is down, and its addresses do not exist until it is up.
//! (c) gid_map may be written only after setgroups is denied (user_namespaces(7)).

use crate::capture::{Capture, Ways};
use crate::process::{Ended, Fork, exit_now, fork_alone, wait};
use crate::syscall;
use crate::syscall::{io_error, own};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The loopback's name.
pub const LOOPBACK: &str = "lo";

/// Moves the calling thread into a new network whose loopback is up. What it opened before stays where it was. Beside
/// root, whoever may make user namespaces may do this; such a process then is root in its own namespace only.
///
/// # Errors
/// EPERM: neither is allowed. Unsupported: not root, and the process has other threads (trap a).
pub fn enter_new_network() -> io::Result<()> {
    if try_in_child(false).is_ok() {
        return enter(false);
    }
    try_in_child(true)?;
    enter(true)
}

/// The same once more, for a thread that has entered one already: as good as free.
pub fn enter_next_network() -> io::Result<()> {
    enter(false)
}

/// Trap (a).
fn try_in_child(as_user: bool) -> io::Result<()> {
    match fork_alone()? {
        Fork::Parent(child) => match wait(child)? {
            Ended::Code(0) => Ok(()),
            Ended::Code(errno) => Err(io::Error::from_raw_os_error(errno)),
            Ended::Signal(_) => Err(io::Error::from_raw_os_error(libc::EPERM)),
        },
        Fork::Child => {
            let tried = enter(as_user).and_then(|()| Capture::open(Ways::Arriving));
            let errno = tried.err().map(|error| error.raw_os_error().unwrap_or(libc::EPERM));
            exit_now(errno.unwrap_or(0) & 0xff)
        }
    }
}

fn enter(as_user: bool) -> io::Result<()> {
    // SAFETY: no arguments, no memory.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let user = if as_user { libc::CLONE_NEWUSER } else { 0 };
    // SAFETY: integers only; this thread's descriptors stay valid.
    syscall!(unsafe { libc::unshare(libc::CLONE_NEWNET | user) }).map_err(io_error)?;
    if as_user {
        // Trap (c).
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    }
    bring_up(LOOPBACK) // trap (b)
}

/// Brings an interface up.
pub fn bring_up(interface: &str) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    ask_interface(libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS filled in the flags.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    ask_interface(libc::SIOCSIFFLAGS, &mut request)
}

/// An interface's MTU: the largest IP packet that fits on its link, bytes.
pub fn mtu(interface: &str) -> io::Result<u32> {
    let mut request = interface_request(interface)?;
    ask_interface(libc::SIOCGIFMTU, &mut request)?;
    // SAFETY: SIOCGIFMTU filled in the MTU.
    Ok(unsafe { request.ifr_ifru.ifru_mtu }.unsigned_abs())
}

/// Sets an interface's MTU. EINVAL: less or more than its kind allows. EPERM: not our network.
pub fn set_mtu(interface: &str, bytes: u32) -> io::Result<()> {
    let mut request = interface_request(interface)?;
    request.ifr_ifru.ifru_mtu = i32::try_from(bytes).unwrap_or(i32::MAX);
    ask_interface(libc::SIOCSIFMTU, &mut request)
}

pub(crate) fn interface_request(interface: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeroes are an empty name and no value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// netdevice(7): any socket of this network asks.
pub(crate) fn ask_interface(what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    let socket = any_socket()?;
    // SAFETY: the calls above pass requests that read or write an ifreq, and nothing else.
    syscall!(unsafe { libc::ioctl(socket.as_raw_fd(), what as _, request as *mut libc::ifreq) })
        .map(drop)
        .map_err(io_error)
}

fn any_socket() -> io::Result<OwnedFd> {
    // SAFETY: integers only.
    syscall!(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
        .map(own)
        .map_err(io_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_asked_and_nothing_else_answers() {
        assert!(mtu(LOOPBACK).unwrap() >= 1500);
        assert_eq!(mtu("no-such-if").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(mtu("a-name-that-is-too-long").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_thread_gets_a_network_of_its_own_and_sees_its_packets() {
        if std::env::var_os("DUOLU_TEST_NO_NETNS").is_some_and(|v| v == "1") {
            return;
        }
        // enter_new_network() wants a single thread to try in a child; as root the thread may just go.
        std::thread::spawn(|| {
            enter(false).expect("this test needs a network namespace; DUOLU_TEST_NO_NETNS=1 does without it");
            let capture = Capture::open(Ways::Arriving).expect("a packet socket");
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("its own loopback is up");
            set_mtu(LOOPBACK, 1500).expect("its own loopback may change");
            assert_eq!(mtu(LOOPBACK).unwrap(), 1500);
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut packet = [0; 256];
            let mut seen = 0;
            while let Some(bytes) = capture.next(&mut packet).unwrap() {
                assert_eq!((packet[0] >> 4, packet[9]), (4, 6), "IPv4, TCP");
                assert!(bytes >= 40);
                seen += 1;
            }
            assert_eq!(seen, 3, "the handshake, each packet once");
            assert_eq!(capture.missed().unwrap(), 0);
            drop(client);
        })
        .join()
        .unwrap();
    }
}
