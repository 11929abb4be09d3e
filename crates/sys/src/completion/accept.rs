//! Listeners: accepting many with one request, and what to do when there is no place for more.
//!
//! Traps:
//! (a) When the ring's file table is full, the kernel has already taken the connection out of the queue: it is
//!     dropped, and its client sees it closed. So near the end of the table we accept one at a time, and at the
//!     end not at all: who waits in the listen queue loses nothing.
//! (b) Out of descriptors (EMFILE, ENFILE) the connection stays in the queue, and asking again at once would
//!     fail at once: rest for [`REST`] first, and say so once a second at most.
//! (c) A listener that several rings accept on wakes one waiter for each connection, always the first in its line,
//!     and a request for many never leaves its place: the first ring would get all of them. A request for one
//!     goes to the end of the line when it is made again: the rings take turns (`Config::accept_in_turn`).
//! (d) Some kernels answer EAGAIN for a listener that is non-blocking instead of waiting: wait with a poll.

use super::Uring;
use super::tags::{Op, Tag};
use crate::syscall;
use duolu_core::Errno;
use duolu_core::completion::{ListenerId, Report};
use io_uring::cqueue;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long to rest when out of descriptors: 20 attempts a second cost nothing, and whoever waits is served
/// within 100 ms of the first free descriptor.
const REST: Duration = Duration::from_millis(50);

/// Where the kernel has no more than this many free places in the ring's table, connections are accepted one
/// at a time: a usual listen queue may be accepted by one request before we can stop it.
const HEADROOM: u32 = 4096;

/// So many of those requests for one at a time, so that a burst does not cost a turn each.
const MAX_ONES: u32 = 16;

/// So many where several rings take turns: few, so that the turns are short.
const ONES_IN_TURN: u32 = 4;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Accepting {
    /// Nothing asked.
    No,
    /// One request for all that come.
    Many,
    /// As `Many`, and its end has been asked for.
    Ending,
    /// Requests for one each, `Listener::ones` of them.
    One,
    /// Waiting for somebody to come (trap (d)).
    Polling,
    /// Out of descriptors until then (trap (b)).
    Resting(Instant),
    /// No place in the table (trap (a)).
    Full,
}

pub(super) struct Listener {
    fd: OwnedFd,
    accepting: Accepting,
    ones: u32,
    stopping: bool,
}

/// The listeners of a ring.
#[derive(Default)]
pub(super) struct Listeners {
    all: Vec<Option<Listener>>,
    /// How many are `Resting` or `Full`: none, as a rule, and then nobody looks.
    idle: u32,
    /// Requests for one that are with the kernel: each may need a place.
    ones: u32,
    last_word: Option<Instant>,
}

impl Listeners {
    pub(super) fn add(&mut self, fd: OwnedFd) -> ListenerId {
        // Each answer at once, not with the next one: accepted connections inherit it from the listener, and
        // on a connection in the ring's table it could not be set by a plain call. Not for unix sockets,
        // which refuse.
        let one: libc::c_int = 1;
        // SAFETY: four readable bytes.
        unsafe {
            let (value, len) = ((&raw const one).cast(), size_of::<libc::c_int>() as _);
            libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, value, len)
        };
        self.all.push(Some(Listener { fd, accepting: Accepting::No, ones: 0, stopping: false }));
        ListenerId(self.all.len() as u32 - 1)
    }

    /// Whether there has never been one.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// When to look again at the earliest.
    pub(super) fn next_try(&self) -> Option<Instant> {
        if self.idle == 0 {
            return None;
        }
        let resting = self.all.iter().flatten().filter_map(|listener| match listener.accepting {
            Accepting::Resting(until) => Some(until),
            _ => None,
        });
        resting.min()
    }
}

impl Uring {
    /// Free places for connections, as far as we know.
    pub(super) fn room(&self) -> u32 {
        if self.ring.direct {
            self.table.saturating_sub(self.conns.live() + self.listeners.ones)
        } else {
            u32::MAX
        }
    }

    fn set_accepting(&mut self, at: u32, to: Accepting) {
        let Some(Some(listener)) = self.listeners.all.get_mut(at as usize) else { return };
        let idle = |state| u32::from(matches!(state, Accepting::Resting(_) | Accepting::Full));
        self.listeners.idle = self.listeners.idle + idle(to) - idle(listener.accepting);
        listener.accepting = to;
    }

    /// Asks for connections, as many as there is room for.
    pub(super) fn arm_listener(&mut self, at: u32) {
        let Some(Some(listener)) = self.listeners.all.get(at as usize) else { return };
        let fd = listener.fd.as_raw_fd();
        if listener.stopping {
            self.end_listener(at, None);
            return;
        }
        let room = self.room();
        let (to, many) = match room {
            // The last places are promised to requests that are with the kernel; it is full when they are done.
            0 if listener.ones > 0 => (Accepting::One, false),
            0 => (Accepting::Full, false),
            _ if room <= HEADROOM || self.config.accept_in_turn => (Accepting::One, false),
            _ => (Accepting::Many, true),
        };
        self.set_accepting(at, to);
        if to == Accepting::Full {
            if !self.role.in_rings {
                self.word(
                    at,
                    "every place in the ring's file table is taken: raise RLIMIT_NOFILE (ulimit -n)",
                );
            }
            return;
        }
        let tag = Tag::new(Op::Accept, at, 0);
        if many {
            self.ring.accept(fd, true, tag);
            return;
        }
        let most = if self.config.accept_in_turn { ONES_IN_TURN } else { MAX_ONES };
        while let Some(Some(listener)) = self.listeners.all.get_mut(at as usize)
            && listener.ones < most
            && self.room() > 0
        {
            self.count_one(at, true);
            self.ring.accept(fd, false, tag);
        }
    }

    fn count_one(&mut self, at: u32, more: bool) {
        let Some(Some(listener)) = self.listeners.all.get_mut(at as usize) else { return };
        let step = |n: &mut u32| *n = if more { *n + 1 } else { n.saturating_sub(1) };
        step(&mut listener.ones);
        step(&mut self.listeners.ones);
    }

    pub(super) fn accept_done(&mut self, tag: Tag, result: i32, more: bool) {
        let at = tag.slot();
        let listener = self.listeners.all.get(at as usize).and_then(Option::as_ref);
        let accepting = listener.map_or(Accepting::No, |listener| listener.accepting);
        if accepting == Accepting::One {
            self.count_one(at, false);
        }
        if result >= 0 {
            self.accepted(at, result as u32);
            if more {
                if accepting == Accepting::Many && self.room() <= HEADROOM {
                    self.set_accepting(at, Accepting::Ending);
                    self.ring.cancel(tag);
                }
                return;
            }
        }
        let ones =
            self.listeners.all.get(at as usize).and_then(Option::as_ref).map_or(0, |listener| listener.ones);
        if ones > 0 {
            // The last of them says how it goes on, unless one has gone well.
            if result >= 0 && !self.is_stopping(at) {
                self.arm_listener(at);
            }
            return;
        }
        self.set_accepting(at, Accepting::No);
        match -result {
            libc::EAGAIN => {
                let fd = self.listeners.all[at as usize].as_ref().map(|listener| listener.fd.as_raw_fd());
                self.set_accepting(at, Accepting::Polling);
                self.ring.poll(fd.unwrap_or(-1), false, Tag::new(Op::AcceptReady, at, 0));
            }
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM => self.rest(at, Errno(-result)),
            libc::EBADF | libc::EINVAL | libc::ENOTSOCK | libc::EOPNOTSUPP | libc::EACCES | libc::EPERM => {
                self.end_listener(at, Some(Errno(-result)));
            }
            // Accepted, cancelled by us, or the connection died in the queue (ECONNABORTED and whatever
            // else accept(2) passes on from the network).
            _ => self.arm_listener(at),
        }
    }

    fn accepted(&mut self, at: u32, slot: u32) {
        self.counters.accepted += 1;
        match self.conns.open(slot) {
            Some(conn) => self.inbox.push_back(Report::Accepted { listener: ListenerId(at), conn }),
            None => log::error!("io_uring: the kernel gave slot {slot} to two connections"),
        }
    }

    /// Trap (b).
    fn rest(&mut self, at: u32, errno: Errno) {
        self.counters.accept_rests += 1;
        self.set_accepting(at, Accepting::Resting(Instant::now() + REST));
        self.word(at, &format!("cannot accept ({}), trying again every 50 ms", syscall::describe(errno)));
    }

    /// One line a second at most.
    fn word(&mut self, at: u32, what: &str) {
        let now = Instant::now();
        if self.listeners.last_word.is_none_or(|last| now - last >= Duration::from_secs(1)) {
            self.listeners.last_word = Some(now);
            log::warn!("listener {at}: {what}");
        }
    }

    /// Tries again where the time has come.
    pub(super) fn retry_listeners(&mut self) {
        if self.listeners.idle == 0 {
            return;
        }
        let now = Instant::now();
        for at in 0..self.listeners.all.len() {
            let accepting = self.listeners.all[at].as_ref().map(|listener| listener.accepting);
            let due = match accepting {
                Some(Accepting::Resting(until)) => until <= now,
                Some(Accepting::Full) => self.room() > 0,
                _ => false,
            };
            if due {
                self.arm_listener(at as u32);
            }
        }
    }

    /// Whether some listener does not accept at this moment for want of room or descriptors.
    pub(super) fn has_idle_listeners(&self) -> bool {
        self.listeners.idle > 0
    }

    /// Whether it does not accept because no place is free.
    pub(super) fn is_full(&self, id: ListenerId) -> bool {
        let listener = self.listeners.all.get(id.0 as usize).and_then(Option::as_ref);
        listener.is_some_and(|listener| listener.accepting == Accepting::Full)
    }

    pub(super) fn stop_listener(&mut self, id: ListenerId) {
        let Some(Some(listener)) = self.listeners.all.get_mut(id.0 as usize) else { return };
        if std::mem::replace(&mut listener.stopping, true) {
            return;
        }
        match listener.accepting {
            Accepting::Many | Accepting::One => self.ring.cancel(Tag::new(Op::Accept, id.0, 0)),
            Accepting::Polling => self.ring.cancel(Tag::new(Op::AcceptReady, id.0, 0)),
            Accepting::Ending => {}
            Accepting::No | Accepting::Resting(_) | Accepting::Full => self.end_listener(id.0, None),
        }
    }

    fn is_stopping(&self, at: u32) -> bool {
        self.listeners.all.get(at as usize).and_then(Option::as_ref).is_some_and(|listener| listener.stopping)
    }

    fn end_listener(&mut self, at: u32, errno: Option<Errno>) {
        self.set_accepting(at, Accepting::No);
        if let Some(Some(_)) = self.listeners.all.get_mut(at as usize).map(Option::take) {
            self.inbox.push_back(Report::Unlistened { listener: ListenerId(at), errno });
        }
    }

    pub(super) fn accept_ready(&mut self, tag: Tag) {
        self.arm_listener(tag.slot());
    }
}

/// Whether more completions of the same request follow.
pub(super) fn more(entry: &cqueue::Entry) -> bool {
    cqueue::more(entry.flags())
}
