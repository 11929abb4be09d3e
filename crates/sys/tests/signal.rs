//! Signals, in a process of their own: handlers are the whole process's.

use duolu_sys::signal::{SignalError, SignalHub};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test at a time: dispositions and getpid are the process's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raise(signo: i32) {
    // SAFETY: the signals used here are caught or ignored.
    assert_eq!(unsafe { libc::raise(signo) }, 0);
}

fn send(pid: i32, signo: i32) {
    // SAFETY: ourselves or our own child.
    assert_eq!(unsafe { libc::kill(pid, signo) }, 0);
}

fn readable(hub: &SignalHub, timeout_ms: i32) -> bool {
    let mut fds = libc::pollfd { fd: hub.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    loop {
        // SAFETY: one valid pollfd.
        match unsafe { libc::poll(&mut fds, 1, timeout_ms) } {
            -1 => {}
            count => return count == 1,
        }
    }
}

fn taken(hub: &SignalHub) -> Vec<(i32, u32)> {
    let mut all = Vec::new();
    hub.take(|signo, count| all.push((signo, count)));
    all
}

fn handler_of(signo: i32) -> usize {
    // SAFETY: all zeroes are a valid sigaction; the call only asks.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signo, std::ptr::null(), &mut current), 0);
        current.sa_sigaction
    }
}

/// Runs `body` in a child and gives its exit code.
fn in_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child runs `body`, which makes system calls and touches its own copies, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let code = body();
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: our own child. EINTR cannot come: SA_RESTART.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status), "the child was ended by signal {}", libc::WTERMSIG(status));
    libc::WEXITSTATUS(status)
}

#[test]
fn every_hub_gets_every_arrival_it_asked_for() {
    let _alone = alone();
    let hubs = [SignalHub::new().unwrap(), SignalHub::new().unwrap(), SignalHub::new().unwrap()];
    hubs[0].subscribe(libc::SIGUSR1).unwrap();
    hubs[0].subscribe(libc::SIGUSR1).unwrap();
    hubs[1].subscribe(libc::SIGUSR1).unwrap();
    hubs[1].subscribe(libc::SIGUSR2).unwrap();
    for _ in 0..5 {
        raise(libc::SIGUSR1);
    }
    raise(libc::SIGUSR2);
    assert!(readable(&hubs[0], 0) && readable(&hubs[1], 0) && !readable(&hubs[2], 0));
    assert_eq!(taken(&hubs[0]), [(libc::SIGUSR1, 5)]);
    assert_eq!(taken(&hubs[1]), [(libc::SIGUSR1, 5), (libc::SIGUSR2, 1)]);
    assert_eq!(taken(&hubs[2]), []);
    assert!(!readable(&hubs[0], 0) && taken(&hubs[0]).is_empty(), "taken once");
    raise(libc::SIGUSR1);
    assert!(readable(&hubs[0], 0), "and again on the next");
    assert_eq!(taken(&hubs[0]), [(libc::SIGUSR1, 1)]);
}

#[test]
fn signals_from_the_lowest_to_the_highest() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    let all: Vec<i32> = (1..=64).filter(|&signo| hub.subscribe(signo).is_ok()).collect();
    for signo in [1, 2, 15, 34, 63, 64] {
        assert!(all.contains(&signo), "{signo}");
    }
    for &signo in &all {
        raise(signo);
    }
    assert_eq!(taken(&hub), all.iter().map(|&signo| (signo, 1)).collect::<Vec<_>>());
}

#[test]
fn the_former_disposition_comes_back_with_the_last_to_leave() {
    let _alone = alone();
    // SAFETY: SIG_IGN is async-signal-safe.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
    let (first, second) = (SignalHub::new().unwrap(), SignalHub::new().unwrap());
    first.subscribe(libc::SIGHUP).unwrap();
    second.subscribe(libc::SIGHUP).unwrap();
    assert!(![libc::SIG_IGN, libc::SIG_DFL].contains(&handler_of(libc::SIGHUP)));
    first.unsubscribe(libc::SIGHUP);
    first.unsubscribe(libc::SIGHUP);
    raise(libc::SIGHUP);
    assert_eq!((taken(&first), taken(&second)), (vec![], vec![(libc::SIGHUP, 1)]));
    drop(second);
    assert_eq!(handler_of(libc::SIGHUP), libc::SIG_IGN);
}

#[test]
fn a_handler_that_someone_installed_since_is_left_alone() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    hub.subscribe(libc::SIGWINCH).unwrap();
    // SAFETY: SIG_IGN is async-signal-safe.
    unsafe { libc::signal(libc::SIGWINCH, libc::SIG_IGN) };
    hub.unsubscribe(libc::SIGWINCH);
    assert_eq!(handler_of(libc::SIGWINCH), libc::SIG_IGN);
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGWINCH, libc::SIG_DFL) };
}

#[test]
fn bad_numbers_are_refused_with_a_reason() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    assert_eq!(hub.subscribe(0), Err(SignalError::OutOfRange(0)));
    assert_eq!(hub.subscribe(-5), Err(SignalError::OutOfRange(-5)));
    assert_eq!(hub.subscribe(65), Err(SignalError::OutOfRange(65)));
    assert_eq!(hub.subscribe(libc::SIGKILL), Err(SignalError::Uncatchable(9)));
    assert_eq!(hub.subscribe(libc::SIGSTOP), Err(SignalError::Uncatchable(19)));
    assert_eq!(hub.subscribe(libc::SIGSEGV), Err(SignalError::Fault(11)));
    assert!(matches!(hub.subscribe(32), Err(SignalError::Refused(32, _))), "the C library's own");
    assert!(!hub.is_subscribed(32));
    for signo in [i32::MIN, -1, 0, 32, 65, i32::MAX] {
        hub.unsubscribe(signo);
    }
    assert!(SignalError::OutOfRange(65).to_string().contains("1 to 64"));
}

#[test]
fn faults_that_are_sent_arrive_and_real_ones_end_the_program() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    for signo in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
        hub.subscribe_to_any(signo).unwrap();
        raise(signo);
        assert_eq!(taken(&hub), [(signo, 1)]);
    }
    // SAFETY: the child maps a page that it must not touch, and touches it.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: as above; the alarm ends a child that faults for ever.
        unsafe {
            libc::alarm(10);
            let page = libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            page.cast::<u8>().read_volatile();
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: our child, and room for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSEGV, "{status:#x}");
}

#[test]
fn what_came_before_a_pause_is_told_after_it_and_after_leaving_it_is_not() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    for (pauses, expected) in [(true, vec![(libc::SIGUSR1, 2)]), (false, vec![])] {
        hub.subscribe(libc::SIGUSR1).unwrap();
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR1);
        if pauses {
            hub.pause(libc::SIGUSR1)
        } else {
            hub.unsubscribe(libc::SIGUSR1)
        }
        hub.subscribe(libc::SIGUSR1).unwrap();
        assert_eq!(taken(&hub), expected);
        hub.unsubscribe(libc::SIGUSR1);
    }
    hub.subscribe(libc::SIGUSR1).unwrap();
    raise(libc::SIGUSR1);
    hub.pause(libc::SIGUSR1);
    assert_eq!(taken(&hub), [], "nobody waits for it");
}

#[test]
fn a_child_does_not_wake_its_parent_and_after_reinit_hears_its_own() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    hub.subscribe(libc::SIGUSR1).unwrap();
    let number = hub.as_fd().as_raw_fd();
    let code = in_child(|| {
        raise(libc::SIGUSR1);
        let silent = taken(&hub).is_empty();
        hub.reinit().unwrap();
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR1);
        let heard = readable(&hub, 0) && taken(&hub) == [(libc::SIGUSR1, 2)];
        i32::from(!silent) + 2 * i32::from(!heard) + 4 * i32::from(hub.as_fd().as_raw_fd() != number)
    });
    assert_eq!(code, 0);
    assert!(!readable(&hub, 0), "the child's signals woke the parent");
    raise(libc::SIGUSR1);
    assert_eq!(taken(&hub), [(libc::SIGUSR1, 1)]);
}

#[test]
fn a_child_that_drops_the_hub_does_not_hang() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    hub.subscribe(libc::SIGUSR2).unwrap();
    let mut hub = Some(hub);
    let code = in_child(|| {
        drop(hub.take());
        i32::from(handler_of(libc::SIGUSR2) != libc::SIG_DFL)
    });
    assert_eq!(code, 0);
    raise(libc::SIGUSR2);
    assert_eq!(taken(hub.as_ref().unwrap()), [(libc::SIGUSR2, 1)]);
}

/// Real-time signals are queued by the kernel and never merged: so every one of them must be counted, whatever
/// thread the handler runs on and however often hubs come and go meanwhile.
#[test]
fn a_hundred_thousand_signals_are_all_counted() {
    let _alone = alone();
    const EACH: u32 = 50_000;
    let signo = libc::SIGRTMIN() + 3;
    let hub = SignalHub::new().unwrap();
    hub.subscribe(signo).unwrap();
    hub.subscribe(libc::SIGUSR1).unwrap();
    let senders: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    // To this thread itself, so that the kernel's queue cannot overflow.
                    raise(signo);
                }
            })
        })
        .collect();
    let passers_by = std::thread::spawn(move || {
        for _ in 0..500 {
            let passing = SignalHub::new().unwrap();
            passing.subscribe(signo).unwrap();
            taken(&passing);
        }
    });
    let mut counts = BTreeMap::new();
    while counts.get(&signo).copied().unwrap_or(0) < 2 * EACH {
        assert!(readable(&hub, 10_000), "stuck at {counts:?}");
        hub.take(|signo, count| *counts.entry(signo).or_insert(0) += count);
    }
    for sender in senders {
        sender.join().unwrap();
    }
    passers_by.join().unwrap();
    hub.take(|signo, count| *counts.entry(signo).or_insert(0) += count);
    assert_eq!(counts, BTreeMap::from([(signo, 2 * EACH)]));
}

#[test]
fn a_signal_from_another_process_wakes_a_sleeping_loop() {
    let _alone = alone();
    let hub = SignalHub::new().unwrap();
    hub.subscribe(libc::SIGTERM).unwrap();
    let parent = std::process::id() as i32;
    assert_eq!(
        in_child(|| {
            send(parent, libc::SIGTERM);
            0
        }),
        0
    );
    assert!(readable(&hub, 10_000));
    assert_eq!(taken(&hub), [(libc::SIGTERM, 1)]);
}
