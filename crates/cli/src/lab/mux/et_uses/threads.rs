//! Several threads asleep in epoll_wait, one event: how many wake up. Each is seen asleep before, and nobody reads, so
//! that the number depends on the flags alone and not on who is how quick.

use super::super::kit;
use super::super::task::{EPOLL_WAIT, QUIET, Thread};
use crate::lab::stage::PATIENCE;
use duolu_sys::calls::Epoll;
use duolu_sys::calls::flags::{EPOLLET, EPOLLEXCLUSIVE, EPOLLIN, EPOLLONESHOT};
use duolu_sys::socket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads.
pub const THREADS: usize = 4;

/// How they share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// One epoll descriptor, level-triggered.
    OneLevel,
    /// One, edge-triggered.
    OneEdge,
    /// One, EPOLLONESHOT.
    OneShot,
    /// An epoll descriptor each, level-triggered.
    EachLevel,
    /// Each, with EPOLLEXCLUSIVE.
    EachExclusive,
}

impl Sharing {
    /// All.
    pub const ALL: [Sharing; 5] =
        [Sharing::OneLevel, Sharing::OneEdge, Sharing::OneShot, Sharing::EachLevel, Sharing::EachExclusive];

    const fn flags(self) -> i32 {
        EPOLLIN
            | match self {
                Sharing::OneLevel | Sharing::EachLevel => 0,
                Sharing::OneEdge => EPOLLET,
                Sharing::OneShot => EPOLLONESHOT,
                Sharing::EachExclusive => EPOLLEXCLUSIVE,
            }
    }

    /// As people read it.
    pub const fn said(self) -> (&'static str, &'static str) {
        match self {
            Sharing::OneLevel => ("one epoll, LT", "共用一个 epoll，LT"),
            Sharing::OneEdge => ("one epoll, ET", "共用一个 epoll，ET"),
            Sharing::OneShot => ("one epoll, ONESHOT", "共用一个 epoll，ONESHOT"),
            Sharing::EachLevel => ("an epoll each, LT", "各用一个 epoll，LT"),
            Sharing::EachExclusive => ("an epoll each, EXCLUSIVE", "各用一个 epoll，EXCLUSIVE"),
        }
    }

    /// Whether that many may wake up, as epoll(7) and epoll_ctl(2) have it.
    pub const fn allows(self, first: usize, second: usize) -> bool {
        match self {
            Sharing::OneLevel | Sharing::EachLevel => first == THREADS,
            Sharing::OneEdge => first == 1 && second == 2,
            Sharing::OneShot => first == 1 && second == 1,
            // "One or more": in practice one, if all are asleep.
            Sharing::EachExclusive => first >= 1 && first < THREADS,
        }
    }

    /// How many that are, after one event and after two.
    const fn at_least(self) -> (usize, usize) {
        match self {
            Sharing::OneLevel | Sharing::EachLevel => (THREADS, THREADS),
            Sharing::OneEdge | Sharing::EachExclusive => (1, 2),
            Sharing::OneShot => (1, 1),
        }
    }

    const fn each(self) -> bool {
        matches!(self, Sharing::EachLevel | Sharing::EachExclusive)
    }
}

/// How many were awake after one event, and after a second one before anybody had read the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Woken {
    /// How they share.
    pub sharing: Sharing,
    /// After the first.
    pub first: usize,
    /// Together, after the second.
    pub second: usize,
}

/// Which of the two eventfds an event is about.
const NEWS: u64 = 0;
const END: u64 = 1;

/// The experiment.
pub fn wake(sharing: Sharing) -> io::Result<Woken> {
    let (news, end) = (socket::eventfd()?, socket::eventfd()?);
    let shared = Arc::new(watching(sharing, &news, &end)?);
    let woken = Arc::new(AtomicUsize::new(0));
    let mut threads = Vec::new();
    for at in 0..THREADS {
        let own =
            if sharing.each() { Arc::new(watching(sharing, &news, &end)?) } else { Arc::clone(&shared) };
        let woken = Arc::clone(&woken);
        threads.push(Thread::start(&format!("lab-waiter-{at}"), move || wait_once(&own, &woken))?);
    }
    let seen = count(sharing, &threads, &news, &woken);
    kit::raise(&end)?;
    for thread in threads {
        thread.join()??;
    }
    let (first, second) = seen?;
    Ok(Woken { sharing, first, second })
}

fn count(
    sharing: Sharing,
    threads: &[Thread<io::Result<()>>],
    news: impl AsFd,
    woken: &AtomicUsize,
) -> io::Result<(usize, usize)> {
    for thread in threads {
        thread.asleep_in(EPOLL_WAIT)?;
    }
    let (first, second) = sharing.at_least();
    let raise = |expected: usize| -> io::Result<usize> {
        kit::raise(&news)?;
        // One thread wakes the next, which takes its time on a busy machine; who is not to wake gets time to do so, too.
        let deadline = Instant::now() + PATIENCE;
        while woken.load(Ordering::SeqCst) < expected && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(QUIET);
        Ok(woken.load(Ordering::SeqCst))
    };
    Ok((raise(first)?, raise(second)?))
}

fn watching(sharing: Sharing, news: &OwnedFd, end: &OwnedFd) -> io::Result<Epoll> {
    use duolu_sys::calls::Op;
    use std::os::fd::AsRawFd;
    let epoll = Epoll::new()?;
    epoll.control(Op::Add, news.as_raw_fd(), sharing.flags(), NEWS)?;
    epoll.control(Op::Add, end.as_raw_fd(), EPOLLIN, END)?;
    Ok(epoll)
}

/// Waits for the news, counts itself, and works on (nothing) until the end.
fn wait_once(epoll: &Epoll, woken: &AtomicUsize) -> io::Result<()> {
    if kit::told_within(epoll, 10_000)?.contains(&NEWS) {
        woken.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}
