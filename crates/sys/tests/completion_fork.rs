//! A forked child of a process with completion I/O: the ring is the parent's. Whatever the child does with it fails or
//! does nothing; it does not crash, and it does not touch what the parent has under way.

use duolu_sys::completion::{Completion, Config, Report, Uring};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Runs `inside` in a forked child, which then exits with 0.
fn in_child(inside: impl FnOnce()) {
    // SAFETY: one test in this process, so no other thread holds a lock that the child could want; it leaves by _exit.
    match unsafe { libc::fork() } {
        0 => {
            inside();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        child => {
            assert!(child > 0, "fork");
            let mut status = 0;
            // SAFETY: our own child, once; the status outlives the call.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0, "the child crashed or failed");
        }
    }
}

#[test]
fn a_forked_child_can_neither_use_nor_harm_the_ring() {
    if std::env::var_os("DUOLU_TEST_NO_URING").is_some_and(|value| value == "1") {
        return;
    }
    for direct in [true, false] {
        let mut uring = Uring::new(Config { direct, ..Config::default() }).expect("io_uring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        uring.listen(OwnedFd::from(listener)).expect("listening");
        let mut client = TcpStream::connect(address).expect("connected");
        client.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        client.write_all(b"before").expect("written");
        let (conn, chunk) = loop {
            match uring.next_report() {
                Some(Report::Accepted { conn, .. }) => uring.receive(conn),
                Some(Report::Received { conn, chunk, .. }) => break (conn, chunk),
                Some(_) => {}
                None => uring.wait(Some(5_000_000_000)).expect("a turn"),
            }
        };
        assert_eq!(uring.bytes(chunk), b"before");
        in_child(|| {
            assert!(uring.bytes(chunk).is_empty());
            uring.send_chunk(conn, chunk);
            uring.send(conn, b"from the child");
            uring.close(conn);
            assert!(uring.wait(Some(0)).is_err());
            // What the child maps now may lie where the ring was: dropping must leave it alone.
            let fresh = vec![7_u8; 64 << 20];
            // SAFETY: the child leaves by _exit, so the value is not used again.
            drop(unsafe { std::ptr::read(&uring) });
            assert!(fresh.iter().all(|&byte| byte == 7));
        });
        uring.send_chunk(conn, chunk);
        uring.wait(Some(0)).expect("the parent's ring is whole");
        let mut reply = [0; 6];
        client.read_exact(&mut reply).expect("an echo");
        assert_eq!(&reply, b"before", "nothing of the child's");
    }
}
