//! Unit tests of `socket`.

use super::*;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV6};

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn wait_for(fd: impl AsFd, events: i16) {
    let mut fds = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid pollfd.
    assert_eq!(unsafe { libc::poll(&mut fds, 1, 10_000) }, 1, "nothing happened in ten seconds");
}

fn connected() -> (TcpStream, TcpStream) {
    let listener = listen(loopback(), &ListenOptions::default()).unwrap();
    let connecting = connect(listener.local_addr().unwrap(), None).unwrap();
    wait_for(&connecting.stream, libc::POLLOUT);
    take_error(&connecting.stream).unwrap();
    wait_for(&listener, libc::POLLIN);
    (connecting.stream, accept(&listener).unwrap())
}

fn flags(fd: impl AsFd) -> (bool, bool) {
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: no memory is passed.
    let (status, descriptor) = unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD)) };
    (status & libc::O_NONBLOCK != 0, descriptor & libc::FD_CLOEXEC != 0)
}

#[test]
fn everything_is_nonblocking_and_closed_on_exec() {
    let listener = listen(loopback(), &ListenOptions::default()).unwrap();
    assert_eq!(accept(&listener).unwrap_err().kind(), ErrorKind::WouldBlock);
    let (near, far) = connected();
    let ((a, b), (reader, writer)) = (socketpair().unwrap(), pipe().unwrap());
    let event = eventfd().unwrap();
    let all =
        [listener.as_fd(), near.as_fd(), far.as_fd(), a.as_fd(), b.as_fd(), reader.as_fd(), writer.as_fd()];
    for fd in all.into_iter().chain([event.as_fd()]) {
        assert_eq!(flags(fd), (true, true), "{fd:?}");
    }
    set_nonblocking(&near, false).unwrap();
    assert_eq!(flags(&near), (false, true));
}

#[test]
fn bytes_go_both_ways_in_one_piece_and_in_many() {
    let (near, far) = connected();
    assert_eq!(send(&near, b"hello").unwrap(), 5);
    wait_for(&far, libc::POLLIN);
    let mut buffer = [MaybeUninit::uninit(); 16];
    assert_eq!(recv_uninit(&far, &mut buffer).unwrap(), 5);
    // SAFETY: the first five were received.
    let received: Vec<u8> = buffer[..5].iter().map(|byte| unsafe { byte.assume_init() }).collect();
    assert_eq!(received, b"hello");
    assert_eq!(recv(&far, &mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);

    assert_eq!(send_vectored(&far, &[IoSlice::new(b"one "), IoSlice::new(b"two")]).unwrap(), 7);
    wait_for(&near, libc::POLLIN);
    let (mut first, mut second) = ([0; 3], [0; 10]);
    let mut into = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(recv_vectored(&near, &mut into).unwrap(), 7);
    assert_eq!((&first, &second[..4]), (b"one", &b" two"[..]));

    shutdown(&near, Shutdown::Write).unwrap();
    wait_for(&far, libc::POLLIN);
    assert_eq!(recv(&far, &mut [0; 4]).unwrap(), 0);
}

#[test]
fn a_reset_connection_is_an_error_and_no_signal() {
    let (near, far) = connected();
    set_linger(&far, Some(0)).unwrap();
    drop(far);
    wait_for(&near, libc::POLLIN);
    assert_eq!(take_error(&near).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // With SIGPIPE at its default, in a child, so that the test would see the signal.
    // SAFETY: the child makes system calls only and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above.
        unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let piped = matches!(send(&near, b"x"), Err(e) if e.raw_os_error() == Some(libc::EPIPE))
                && matches!(send_vectored(&near, &[IoSlice::new(b"x")]), Err(e) if e.raw_os_error() == Some(libc::EPIPE));
            libc::_exit(if piped { 0 } else { 1 });
        }
    }
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0, "ended by a signal or without EPIPE");
}

#[test]
fn a_refused_connect_is_told_by_so_error() {
    let gone = listen(loopback(), &ListenOptions::default()).unwrap().local_addr().unwrap();
    let error = connect(gone, None).and_then(|connecting| {
        wait_for(&connecting.stream, libc::POLLOUT);
        take_error(&connecting.stream)
    });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn the_source_address_is_taken() {
    let listener = listen(loopback(), &ListenOptions::default()).unwrap();
    let source: SocketAddr = (Ipv4Addr::new(127, 0, 0, 7), 0).into();
    let connecting = connect(listener.local_addr().unwrap(), Some(source)).unwrap();
    wait_for(&listener, libc::POLLIN);
    let (_stream, peer) = accept_from(&listener).unwrap();
    assert_eq!(peer, connecting.stream.local_addr().unwrap());
    assert_eq!(peer.ip(), source.ip());
}

#[test]
fn ipv6_addresses_survive_the_way_there_and_back() {
    let address: SocketAddr = "[::1]:0".parse().unwrap();
    let Ok(listener) = listen(address, &ListenOptions { only_v6: Some(true), ..Default::default() }) else {
        // A machine without IPv6: at least the conversion.
        let full: SocketAddr = SocketAddrV6::new("fe80::1".parse().unwrap(), 77, 5, 9).into();
        assert_eq!(Address::of(&full).to_std().unwrap(), full);
        return;
    };
    let connecting = connect(listener.local_addr().unwrap(), None).unwrap();
    wait_for(&listener, libc::POLLIN);
    assert_eq!(accept_from(&listener).unwrap().1, connecting.stream.local_addr().unwrap());
}

#[test]
fn two_listeners_share_a_port_only_with_reuse_port() {
    let shared = ListenOptions { reuse_port: true, ..Default::default() };
    let first = listen(loopback(), &shared).unwrap();
    let address = first.local_addr().unwrap();
    assert_eq!(listen(address, &ListenOptions::default()).unwrap_err().kind(), ErrorKind::AddrInUse);
    listen(address, &shared).unwrap();
}

#[test]
fn buffers_and_nodelay_are_set() {
    let (near, _far) = connected();
    set_nodelay(&near, true).unwrap();
    assert!(near.nodelay().unwrap());
    set_recv_buffer(&near, 20_000).unwrap();
    set_send_buffer(&near, 30_000).unwrap();
    assert_eq!(buffers(&near).unwrap(), (40_000, 60_000), "trap (d): doubled");
}

#[test]
fn a_copy_gets_a_number_as_high_as_asked() {
    let (reader, writer) = pipe().unwrap();
    let copy = dup(&writer, 3000).unwrap();
    assert!(copy.as_raw_fd() >= 3000);
    assert_eq!(write(&copy, b"abc").unwrap(), 3);
    assert_eq!(read(&reader, &mut [0; 9]).unwrap(), 3);
}
