//! What is missing on this machine is found out, told in one line, and done without.
//!
//! A seccomp filter in a child plays the older kernel and the stricter container.

use duolu_core::{Backend, Change, Interest, Report, Token, Trigger, Watch};
use duolu_sys::backend::{self, BackendKind, Epoll};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Runs `body` in a child in which the system call `number` fails with `errno`.
fn without(number: libc::c_long, errno: i32, body: impl FnOnce()) {
    // SAFETY: the child allocates, which glibc makes safe across fork, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            forbid(number as u32, errno as u32);
            body();
        }));
        // SAFETY: ends the child.
        unsafe { libc::_exit(i32::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: our own child.
    while unsafe { libc::waitpid(child, &mut status, 0) } != child {}
    assert_eq!(status, 0, "see the child's panic above");
}

/// seccomp(2): load the number; if it is `number` fail with `errno`, else allow.
fn forbid(number: u32, errno: u32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its header outlive the call, which copies them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter), 0);
    }
}

/// One event comes through.
fn assert_works(backend: &mut dyn Backend) {
    let (reader, writer) = duolu_sys::socket::pipe().unwrap();
    let token = Token::new(reader.as_raw_fd(), 1);
    let watch = Watch { interest: Interest::READ, trigger: Trigger::Level, exclusive: false };
    backend.apply(Change::Add { token, watch }).unwrap();
    duolu_sys::socket::write(&writer, b"x").unwrap();
    let mut reports: Vec<Report> = Vec::new();
    backend.wait(Some(1_000_000_000), &mut reports).unwrap();
    assert_eq!(reports.len(), 1);
}

#[test]
fn io_uring_forbidden_falls_back_to_epoll_and_says_why() {
    for (errno, name) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS"), (libc::EACCES, "EACCES")] {
        without(libc::SYS_io_uring_setup, errno, || {
            let mut choice = backend::choose(Some(BackendKind::IoUring), &[]).unwrap();
            assert_eq!(choice.kind, BackendKind::Epoll);
            let line = choice.fallback.unwrap();
            let begin = format!("io_uring is not available (io_uring_setup: {name}; ");
            assert!(line.starts_with(&begin) && line.ends_with("): using epoll"), "{line}");
            assert!(!line.contains('\n'));
            assert_works(&mut *choice.backend);
        });
    }
}

#[test]
fn io_uring_half_forbidden_is_found_out_when_it_is_opened() {
    without(libc::SYS_io_uring_enter, libc::EPERM, || {
        let line = backend::open(BackendKind::IoUring).err().unwrap().to_string();
        assert_eq!(line, "io_uring is not available (io_uring_enter: EPERM; a seccomp filter blocks it)");
    });
}

/// Streams by completions: what is missing for them takes nothing else away.
#[test]
fn without_completions_streams_stay_on_readiness_and_it_says_why() {
    let begin = "streams are not moved by completions: ";
    let told = |preferred, avoid: &[BackendKind]| {
        let mut choice = backend::choose_completing(preferred, avoid).unwrap();
        assert!(!choice.backend.features().transfers && choice.backend.transfers().is_none());
        assert_works(&mut *choice.backend);
        let line = choice.readiness.unwrap();
        assert!(line.starts_with(begin) && !line.contains('\n'), "{line}");
        (choice.kind, line[begin.len()..].to_owned())
    };
    // The ring can be had, its buffers cannot.
    for (errno, name) in [(libc::EPERM, "EPERM"), (libc::EINVAL, "EINVAL")] {
        without(libc::SYS_io_uring_register, errno, || {
            let (kind, why) = told(Some(BackendKind::IoUring), &[]);
            assert_eq!(kind, BackendKind::IoUring, "for readiness it is good enough");
            let begin = format!("io_uring is not available (IORING_REGISTER_PBUF_RING: {name}; ");
            assert!(why.starts_with(&begin), "{why}");
            assert_eq!(told(None, &[]).0, BackendKind::Epoll);
        });
    }
    without(libc::SYS_io_uring_setup, libc::EPERM, || {
        let (kind, why) = told(None, &[]);
        assert_eq!(kind, BackendKind::Epoll);
        assert!(why.starts_with("io_uring is not available (io_uring_setup: EPERM; "), "{why}");
    });
    let (kind, why) = told(Some(BackendKind::Poll), &[]);
    assert_eq!((kind, &why[..]), (BackendKind::Poll, "poll was preferred, and only io_uring can"));
    let (kind, why) = told(None, &[BackendKind::IoUring]);
    assert_eq!((kind, &why[..]), (BackendKind::Epoll, "only io_uring can, and it is to be avoided"));
}

#[test]
fn without_epoll_comes_poll() {
    without(libc::SYS_epoll_create1, libc::EMFILE, || {
        let mut choice = backend::choose(None, &[]).unwrap();
        assert_eq!(choice.kind, BackendKind::Poll);
        assert_eq!(
            choice.fallback.as_deref(),
            Some(
                "epoll is not available (epoll_create1: EMFILE; this process is out of descriptors, \
                 raise RLIMIT_NOFILE): using poll"
            )
        );
        assert_works(&mut *choice.backend);
    });
}

#[test]
fn epoll_does_without_nanoseconds() {
    for errno in [libc::ENOSYS, libc::EPERM] {
        without(libc::SYS_epoll_pwait2, errno, || {
            let mut epoll = Epoll::new().unwrap();
            let start = Instant::now();
            epoll.wait(Some(1_500_000), &mut Vec::new()).unwrap();
            assert!(start.elapsed() >= Duration::from_micros(1_500));
            assert!(!epoll.features().nanosecond_timeout, "and says so");
            assert_works(&mut epoll);
        });
    }
}

#[test]
fn completions_forbidden_say_why() {
    use duolu_sys::completion::{Config, Uring};
    for (number, call) in
        [(libc::SYS_io_uring_setup, "io_uring_setup"), (libc::SYS_io_uring_enter, "io_uring_enter")]
    {
        for (errno, name, why) in [
            (libc::EPERM, "EPERM", "io_uring is forbidden here: see the sysctl kernel.io_uring_disabled"),
            (libc::ENOSYS, "ENOSYS", "this kernel is built without io_uring"),
        ] {
            without(number, errno, || {
                let line = Uring::new(Config::default()).unwrap_err().to_string();
                assert!(line.starts_with(&format!("io_uring is not available: {why}")), "{line}");
                assert!(line.contains(&format!("({call}: {name}")) && !line.contains('\n'), "{line}");
            });
        }
    }
}
