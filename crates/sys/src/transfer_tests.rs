//! Unit tests of `transfer`, on real sockets, pipes and files.

use super::*;
use crate::socket;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

const BLOCK: usize = 16 * 1024;

fn pool() -> Pool {
    Pool::new(BLOCK, 8)
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = socket::socketpair().expect("descriptors");
    (a.into(), b.into())
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let a = TcpStream::connect(listener.local_addr().expect("a port")).expect("it listens");
    let (b, _) = listener.accept().expect("it connects");
    socket::set_nonblocking(&a, true).expect("a socket");
    socket::set_nonblocking(&b, true).expect("a socket");
    (a, b)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

fn all(buffer: &Buffer) -> Vec<u8> {
    let mut into = vec![0; buffer.len()];
    assert_eq!(buffer.copy_out(0, &mut into), Ok(buffer.len()));
    into
}

fn moved(bytes: usize, then: Then) -> Moved {
    Moved { bytes, then }
}

/// A file without a name.
fn file_of(bytes: &[u8]) -> File {
    let name = c"duolu-transfer".as_ptr();
    // SAFETY: a name that ends in NUL.
    let fd = syscall!(unsafe { libc::memfd_create(name, libc::MFD_CLOEXEC) }).expect("a file in memory");
    let mut file = File::from(crate::syscall::own(fd));
    file.write_all(bytes).expect("room");
    file
}

#[test]
fn a_read_says_what_it_got_and_what_the_next_would_find() {
    let (a, mut b) = pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK), moved(0, Then::Blocked));
    b.write_all(b"hello").expect("room");
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, 2), moved(2, Then::More));
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK), moved(3, Then::Blocked));
    b.write_all(b"!").expect("room");
    drop(b);
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK), moved(1, Then::Blocked));
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK), moved(0, Then::End));
    assert_eq!(all(&buffer), b"hello!");
    buffer.verify();
}

#[test]
fn much_is_read_at_once_into_blocks_that_come_back() {
    let (a, mut b) = pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    let sent = pattern(3 * BLOCK + 100);
    b.write_all(&sent).expect("room for 48 KiB");
    let whole = read_into(&a, Kind::Socket, &mut buffer, &mut pool, 4 * BLOCK);
    assert_eq!(whole, moved(sent.len(), Then::Blocked));
    assert!(all(&buffer) == sent, "the same bytes");
    assert_eq!(buffer.drain_into(usize::MAX, &mut pool), Ok(sent.len()));
    assert_eq!(pool.len(), 4);
    // What the socket has beyond the limit stays there.
    b.write_all(&sent).expect("room");
    assert_eq!(read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK + 1), moved(BLOCK + 1, Then::More));
    buffer.verify();
}

#[test]
fn a_pipe_is_read_and_written_too() {
    let (reader, writer) = socket::pipe().expect("descriptors");
    let (mut input, mut output, mut pool) = (Buffer::new(), Buffer::new(), pool());
    output.append(b"through ").unwrap();
    output.append_vec(b"a pipe".to_vec()).unwrap();
    assert_eq!(write_from(&writer, Kind::Other, &mut output, &mut pool, usize::MAX), moved(14, Then::More));
    assert_eq!(read_into(&reader, Kind::Other, &mut input, &mut pool, BLOCK), moved(14, Then::Blocked));
    assert_eq!(all(&input), b"through a pipe");
    drop(writer);
    assert_eq!(read_into(&reader, Kind::Other, &mut input, &mut pool, BLOCK), moved(0, Then::End));
}

#[test]
fn a_full_socket_takes_a_part_and_then_nothing() {
    let (a, b) = pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    let sent = pattern(4_000_000);
    buffer.append_vec(sent.clone()).unwrap();
    let mut taken = 0;
    loop {
        let moved = write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX);
        taken += moved.bytes;
        if moved.then == Then::Blocked {
            break;
        }
    }
    assert!(taken > 0 && taken < sent.len());
    let again = write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX);
    assert_eq!(again, moved(0, Then::Blocked));
    assert_eq!(buffer.len(), sent.len() - taken);
    let mut received = vec![0; taken];
    (&b).read_exact(&mut received).expect("what was taken");
    assert!(received == sent[..taken]);
}

#[test]
fn many_pieces_go_in_order_and_up_to_the_limit() {
    let (a, b) = pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    let sent = pattern(100 * 40);
    for part in sent.chunks(100) {
        buffer.append_vec(part.to_vec()).unwrap();
    }
    assert_eq!(write_from(&a, Kind::Socket, &mut buffer, &mut pool, 150), moved(150, Then::More));
    while write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX).then == Then::More {}
    assert!(buffer.is_empty());
    let mut received = vec![0; sent.len()];
    (&b).read_exact(&mut received).expect("all of it");
    assert_eq!(received, sent);
}

#[test]
fn a_file_goes_between_bytes_by_sendfile() {
    let (a, mut b) = tcp_pair();
    socket::set_nonblocking(&b, false).expect("a socket");
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    let content = pattern(100_000);
    buffer.append(b"head").unwrap();
    buffer.append_file(Arc::new(SharedFile(file_of(&content))), 10, 99_000).unwrap();
    buffer.append(b"tail").unwrap();
    let expected = [b"head", &content[10..99_010], b"tail"].concat();
    let mut received = vec![0; expected.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| b.read_exact(&mut received).expect("all of it"));
        while !buffer.is_empty() {
            let moved = write_from(&a, Kind::Socket, &mut buffer, &mut pool, 30_000);
            assert!(moved.bytes <= 30_000 && !matches!(moved.then, Then::Failed(_) | Then::End), "{moved:?}");
            std::thread::yield_now();
        }
    });
    assert!(received == expected);
}

/// A file whose descriptor sendfile(2) refuses.
struct NoSendfile(Vec<u8>);

impl FileRegion for NoSendfile {
    fn fd(&self) -> RawFd {
        -1
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let got = rest.len().min(into.len());
        into[..got].copy_from_slice(&rest[..got]);
        Ok(got)
    }
}

#[test]
fn what_sendfile_refuses_is_read_and_sent() {
    let (a, b) = pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    let content = pattern(20_000);
    buffer.append_file(Arc::new(NoSendfile(content.clone())), 0, content.len()).unwrap();
    while !buffer.is_empty() {
        let moved = write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX);
        assert_eq!(moved.then, Then::More);
    }
    let mut received = vec![0; content.len()];
    (&b).read_exact(&mut received).expect("all of it");
    assert!(received == content);
}

#[test]
fn a_file_that_became_shorter_is_an_error_and_not_a_loop() {
    let (a, _b) = tcp_pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    for file in
        [Arc::new(SharedFile(file_of(b"short"))) as Arc<dyn FileRegion>, Arc::new(NoSendfile(vec![1; 5]))]
    {
        buffer.append_file(file, 0, 9).unwrap();
        assert_eq!(write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX), moved(5, Then::More));
        let end = write_from(&a, Kind::Socket, &mut buffer, &mut pool, usize::MAX);
        assert_eq!(end, moved(0, Then::Failed(Errno(libc::EIO))));
        buffer.drain(4).unwrap();
    }
}

#[test]
fn a_reset_is_an_error_both_ways_and_no_signal() {
    let (a, b) = tcp_pair();
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    socket::set_linger(&b, Some(0)).expect("a socket");
    drop(b); // RST
    let reset = read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK);
    assert_eq!(reset, moved(0, Then::Failed(Errno(libc::ECONNRESET))));
    buffer.append(b"x").unwrap();
    let broken = write_from(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK);
    assert_eq!(broken, moved(0, Then::Failed(Errno(libc::EPIPE))));
    assert_eq!(buffer.len(), 1, "what was not sent stays");
}

static INTERRUPTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn on_signal(_: i32) {
    INTERRUPTED.fetch_add(1, Ordering::Relaxed);
}

/// EINTR: a thread that waits in a read is sent signals, without SA_RESTART, and the read goes on.
#[test]
fn an_interrupted_call_is_made_again() {
    let (a, mut b) = pair();
    socket::set_nonblocking(&a, false).expect("a socket");
    // SAFETY: all zeroes are a valid sigaction: no flags (no SA_RESTART), an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
    // SAFETY: the handler only adds to an atomic; nobody else in these tests uses SIGUSR2.
    syscall!(unsafe { libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()) }).expect("a handler");
    // SAFETY: pthread_self has no conditions.
    let reader = unsafe { libc::pthread_self() } as usize;
    let done = AtomicBool::new(false);
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while INTERRUPTED.load(Ordering::Relaxed) < 20 {
                // SAFETY: the thread waits for this scope's end, so it is alive.
                unsafe { libc::pthread_kill(reader as libc::pthread_t, libc::SIGUSR2) };
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            assert!(!done.load(Ordering::Relaxed), "the read has ended by itself");
            b.write_all(b"at last").expect("room");
        });
        let outcome = read_into(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK);
        done.store(true, Ordering::Relaxed);
        assert_eq!(outcome, moved(7, Then::Blocked));
    });
}

#[test]
fn an_empty_output_asks_nothing() {
    let (a, _b): (OwnedFd, OwnedFd) = socket::socketpair().expect("descriptors");
    let (mut buffer, mut pool) = (Buffer::new(), pool());
    assert_eq!(write_from(&a, Kind::Socket, &mut buffer, &mut pool, BLOCK), moved(0, Then::Blocked));
}
