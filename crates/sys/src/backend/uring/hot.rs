//! How `Level` is kept: descriptors that were ready just now are asked again with one poll(2) for all of them.
//!
//! Level means to look again. A one-shot request that is made anew looks too, but costs the kernel several times what
//! a look costs: memory, a place in the file's wait queue, a wake-up, work on the thread's way back, a completion. So,
//! from cold to hot:
//! - few that are ready at a time: one-shot requests, which ride on the wait, so that a turn is one system call;
//! - one of many, now and then: a multishot request that stays, and looks as long as it is ready;
//! - ready in nearly every turn: no request, only looks, and the ring need not be entered for it at all.
//!
//! Traps:
//! (p) What is told must be told once in a wait. Who has no request is told by looks alone; who has a multishot one
//!     is told by its completion unless it is in the list, which says that it was told already or will be.
//! (q) While the thread sleeps everybody must have a request. So a wait with nothing to tell makes them first.
//! (r) EPOLLEXCLUSIVE is about who is woken: not here, where all would look at the same connection.
//! (s) An outer loop looks at the ring and not at the list: trap (h) of the parent. Then one-shot requests it is.

use super::{State, Uring};
use crate::backend::{bits_of, ready_of};
use crate::syscall;
use crate::syscall::retry;
use duolu_core::{Ready, Report, Trigger};

/// So few are better asked by one-shot requests.
const FEW: usize = 4;
/// So many looks in a row may find nothing before it gets a request again.
const MISSES: u8 = 4;
/// So many reports, each at most `GAP` turns after the last, and looking is cheaper than a request that stays.
const STREAK: u8 = 4;
const GAP: u32 = 4;

impl Uring {
    /// The request is over: the descriptor is looked at by the next wait.
    pub(super) fn heat(&mut self, number: usize) {
        if !self.can_be_hot(number) {
            return self.again(number);
        }
        let slot = &mut self.slots[number];
        slot.state = State::Hot;
        slot.arming = slot.arming.wrapping_add(1);
        slot.count = 0;
        self.list(number);
    }

    /// The next wait looks at it. False if it would anyway, or asks in another way.
    pub(super) fn list(&mut self, number: usize) -> bool {
        let slot = &mut self.slots[number];
        if slot.in_hot {
            return false;
        }
        if self.hot.try_reserve(1).is_err() {
            self.disarm(number);
            self.again(number);
            return false;
        }
        slot.in_hot = true;
        self.hot.push(libc::pollfd { fd: number as i32, events: 0, revents: 0 });
        true
    }

    /// Traps (r) and (s).
    pub(super) fn can_be_hot(&self, number: usize) -> bool {
        let watch = self.slots[number].watch;
        watch.trigger == Trigger::Level && !watch.exclusive && self.announce.is_none()
    }

    /// Looks at all that are listed, and reports those that are ready.
    pub(super) fn look(&mut self, start: usize, reports: &mut Vec<Report>) {
        self.turn = self.turn.wrapping_add(1);
        let slots = &mut self.slots;
        let mut stays = false;
        self.hot.retain_mut(|entry| {
            let slot = &mut slots[entry.fd as usize];
            let multishot = slot.state == State::Armed && slot.multishot;
            stays |= multishot;
            slot.in_hot = multishot || slot.state == State::Hot;
            entry.events = bits_of(slot.watch.interest) as i16;
            slot.in_hot
        });
        if self.hot.len() < FEW && !stays {
            return self.cool(false, |_| true);
        }
        let (list, len) = (self.hot.as_mut_ptr(), self.hot.len() as libc::nfds_t);
        // SAFETY: the list outlives the call, which takes no time.
        if retry(|| syscall!(unsafe { libc::poll(list, len, 0) })).is_err() {
            // The list is longer than RLIMIT_NOFILE, or there is no memory.
            self.disarm_multishot();
            return self.cool(false, |_| true);
        }
        for at in 0..self.hot.len() {
            let libc::pollfd { fd, revents, .. } = self.hot[at];
            if revents == 0 {
                let slot = &mut self.slots[fd as usize];
                slot.in_hot = slot.state == State::Hot;
                slot.count += u8::from(slot.in_hot);
            } else {
                self.found(fd as usize, revents, reports);
            }
        }
        let silent = reports.len() == start; // trap (q)
        self.cool(true, |misses| silent || misses > MISSES);
    }

    fn found(&mut self, number: usize, bits: i16, reports: &mut Vec<Report>) {
        let slot = &mut self.slots[number];
        let token = slot.token;
        if bits & libc::POLLNVAL != 0 {
            self.disarm(number);
            self.slots[number].state = State::Unwatched;
            return reports.push(Report { token, ready: Ready::INVALID });
        }
        reports.push(Report { token, ready: ready_of(bits as u16 as u32) });
        if slot.state == State::Hot {
            slot.count = 0;
            return;
        }
        let often = self.turn.wrapping_sub(slot.mark) <= GAP;
        slot.count = if often { slot.count + 1 } else { 0 };
        slot.mark = self.turn;
        if slot.count >= STREAK {
            self.disarm(number);
            let slot = &mut self.slots[number];
            (slot.state, slot.count) = (State::Hot, 0);
        }
    }

    /// Takes out of the list what left it, and makes requests for those whose misses say so.
    pub(super) fn cool(&mut self, multishot: bool, cold: impl Fn(u8) -> bool) {
        let mut hot = std::mem::take(&mut self.hot);
        hot.retain(|entry| {
            let number = entry.fd as usize;
            let slot = &mut self.slots[number];
            if slot.state == State::Hot && cold(slot.count) {
                slot.in_hot = false;
                self.again(number);
                self.slots[number].multishot = multishot;
            } else if slot.state == State::Unwatched {
                slot.in_hot = false;
            }
            self.slots[number].in_hot
        });
        self.hot = hot;
    }

    /// Everybody who has a multishot request for Level gets a one-shot one instead.
    #[cold]
    pub(super) fn disarm_multishot(&mut self) {
        for number in 0..self.slots.len() {
            let slot = &self.slots[number];
            if slot.state == State::Armed && slot.multishot && slot.watch.trigger == Trigger::Level {
                self.disarm(number);
                self.again(number);
            }
        }
    }
}
