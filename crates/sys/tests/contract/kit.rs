//! What the lines of the contract are written with.

use duolu_core::{Backend, Change, Interest, Ready, Report, Token, Trigger, Watch};
use duolu_sys::backend::{self, BackendKind};
use duolu_sys::{process, socket};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub const READ: Interest = Interest::READ;
pub const WRITE: Interest = Interest::WRITE;
pub const BOTH: Interest = Interest::READ.with(Interest::WRITE);

/// Long enough for anything that has to happen; nothing waits for it in vain but a failing test.
pub const LONG_NS: u64 = 10_000_000_000;

pub fn open(kind: BackendKind) -> Option<Box<dyn Backend>> {
    match backend::open(kind) {
        Ok(backend) => Some(backend),
        Err(why) if kind == BackendKind::IoUring && std::env::var_os("DUOLU_TEST_NO_URING").is_some() => {
            eprintln!("skipped: {why}");
            None
        }
        Err(why) => panic!("{why}; set DUOLU_TEST_NO_URING=1 to do without"),
    }
}

pub fn token(fd: impl AsFd, generation: u32) -> Token {
    Token::new(fd.as_fd().as_raw_fd(), generation)
}

pub fn watch(interest: Interest, trigger: Trigger) -> Watch {
    Watch { interest, trigger, exclusive: false }
}

/// Adds with trigger Level and gives the token.
pub fn add(backend: &mut dyn Backend, fd: impl AsFd, generation: u32, interest: Interest) -> Token {
    add_with(backend, fd, generation, interest, Trigger::Level)
}

pub fn add_with(
    backend: &mut dyn Backend,
    fd: impl AsFd,
    generation: u32,
    interest: Interest,
    trigger: Trigger,
) -> Token {
    let token = token(fd, generation);
    backend.apply(Change::Add { token, watch: watch(interest, trigger) }).unwrap();
    token
}

pub fn modify(backend: &mut dyn Backend, token: Token, interest: Interest, trigger: Trigger) {
    backend.apply(Change::Modify { token, watch: watch(interest, trigger) }).unwrap();
}

pub fn remove(backend: &mut dyn Backend, token: Token) {
    backend.apply(Change::Remove { token }).unwrap();
}

/// What is ready now, merged by token, in the order of the first report.
pub fn look(backend: &mut dyn Backend) -> Vec<(Token, Ready)> {
    wait(backend, 0)
}

pub fn wait(backend: &mut dyn Backend, timeout_ns: u64) -> Vec<(Token, Ready)> {
    let mut reports: Vec<Report> = Vec::new();
    backend.wait(Some(timeout_ns), &mut reports).unwrap();
    let mut merged: Vec<(Token, Ready)> = Vec::new();
    for report in reports {
        assert!(!report.ready.is_empty(), "an empty report for {:?}", report.token);
        match merged.iter_mut().find(|(token, _)| *token == report.token) {
            Some((_, ready)) => *ready |= report.ready,
            None => merged.push((report.token, report.ready)),
        }
    }
    merged
}

/// Waits until there is a report; a wait may end early.
pub fn wait_for_report(backend: &mut dyn Backend) -> Vec<(Token, Ready)> {
    let end = std::time::Instant::now() + std::time::Duration::from_nanos(LONG_NS);
    while std::time::Instant::now() < end {
        let reports = wait(backend, LONG_NS);
        if !reports.is_empty() {
            return reports;
        }
    }
    panic!("{} reported nothing in {LONG_NS} ns", backend.name());
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    socket::pipe().unwrap()
}

/// Two connected sockets.
pub fn pair() -> (OwnedFd, OwnedFd) {
    socket::socketpair().unwrap()
}

pub fn put(fd: impl AsFd, bytes: &[u8]) {
    assert_eq!(socket::write(fd, bytes).unwrap(), bytes.len());
}

/// Reads everything there is.
pub fn empty(fd: impl AsFd) -> usize {
    let (mut all, mut buffer) = (0, [0; 65536]);
    while let Ok(count @ 1..) = socket::read(&fd, &mut buffer) {
        all += count;
    }
    all
}

/// Writes until it would block.
pub fn fill(fd: impl AsFd) {
    while socket::write(&fd, &[7; 65536]).is_ok() {}
    while socket::write(&fd, &[7]).is_ok() {}
}

pub fn listener() -> TcpListener {
    socket::listen((Ipv4Addr::LOCALHOST, 0).into(), &socket::ListenOptions::default()).unwrap()
}

/// A TCP connection: who connected and who accepted.
pub fn tcp() -> (TcpStream, TcpStream) {
    let listener = listener();
    let near = socket::connect(listener.local_addr().unwrap(), None).unwrap().stream;
    poll_one(&listener, libc::POLLIN, 10_000);
    let far = socket::accept(&listener).unwrap();
    poll_one(&near, libc::POLLOUT, 10_000);
    (near, far)
}

/// What poll(2) says about one descriptor; 0 after `timeout_ms`.
pub fn poll_one(fd: impl AsFd, events: i16, timeout_ms: i32) -> i16 {
    poll_raw(fd.as_fd().as_raw_fd(), events, timeout_ms)
}

pub fn poll_raw(fd: RawFd, events: i16, timeout_ms: i32) -> i16 {
    let mut fds = libc::pollfd { fd, events, revents: 0 };
    loop {
        // SAFETY: one valid pollfd.
        let count = unsafe { libc::poll(&mut fds, 1, timeout_ms) };
        if count >= 0 {
            return fds.revents;
        }
    }
}

/// The same file under a number that no other test, in another thread, gets when this one closes it.
pub fn private(fd: OwnedFd) -> OwnedFd {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    let number = limit() * 6 / 10 + NEXT.fetch_add(1, Ordering::Relaxed);
    let private = socket::dup(&fd, number).unwrap();
    assert_eq!(private.as_raw_fd(), number, "the range for private numbers is in use");
    private
}

/// RLIMIT_NOFILE, raised as far as it goes, but no more than the tests need.
pub fn limit() -> i32 {
    process::raise_descriptor_limit().unwrap().soft.min(20_000) as i32
}

/// Held by tests that need thousands of descriptors.
pub fn many() -> MutexGuard<'static, ()> {
    static MANY: Mutex<()> = Mutex::new(());
    MANY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts the file of `new` under the number of `old`, which is closed by that.
pub fn take_number(old: &OwnedFd, new: OwnedFd) {
    // SAFETY: both are open and stay owned by who owns them.
    assert!(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } >= 0);
}

/// A regular file with a few bytes, without a name.
pub fn file() -> OwnedFd {
    // SAFETY: a terminated name. A memfd is a regular file to poll(2) and epoll(7).
    let fd = unsafe { libc::memfd_create(c"duolu-test".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: just created.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    put(&fd, b"bytes");
    fd
}

/// A forked child has copies of all descriptors of all tests, and what a test closes meanwhile does not end: so
/// tests that fork run alone.
static FORKS: RwLock<()> = RwLock::new(());

pub fn beside_others() -> RwLockReadGuard<'static, ()> {
    FORKS.read().unwrap_or_else(PoisonError::into_inner)
}

pub fn alone() -> RwLockWriteGuard<'static, ()> {
    FORKS.write().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` in a child and says whether it came through. A panic in it is told on stderr.
pub fn in_child(body: impl FnOnce()) -> bool {
    // SAFETY: the tests' children allocate, which glibc makes safe across fork, and leave by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: our own child.
    while unsafe { libc::waitpid(child, &mut status, 0) } != child {}
    status == 0
}
