//! io_uring(7) for readiness: one poll request per watched descriptor.
//!
//! Changes are only noted; they ride on the system call that waits. `Edge` is a multishot poll; `OneShot` is a
//! one-shot poll that stays fired; `Level` is a one-shot poll that the next wait arms again, and in a crowd what `hot` says.
//!
//! Traps:
//! (a) A cancelled request still completes, late, maybe after its number belongs to someone else. So each
//!     arming has a number of its own, in the user data; what does not match the slot's arming is dropped.
//! (b) An armed request holds the open file. Closing the descriptor does not close the connection until the
//!     request is cancelled: at the next wait after a Remove, at once by `let_go`, and for all at drop, which waits for it.
//! (c) A cancellation makes completions that nobody wants, and they would end the sleep. So many are known
//!     beforehand, and the wait asks for so many more: at least one for each, which is -ECANCELED of the poll or
//!     -ENOENT of the cancellation.
//! (d) A completion can be older than the wait: it came while callbacks ran, and one of them may have read
//!     what it announces. epoll looks again when asked; so for Level what lies in the queue before the wait is
//!     looked at again, by a request in the same call or in `hot`, and is reported only if it is still so.
//! (e) A multishot poll ends when the completion queue is full (no F_MORE): armed again, which may tell an edge
//!     twice. On a file that cannot be polled (a regular one) it ends at once, every time: not armed again.
//! (f) Poll requests belong to the thread that submitted them and are cancelled when it ends; and its way
//!     through the kernel is what completes them, which may take it until its next timer tick. A wait in
//!     another thread than before opens the ring anew.
//! (g) While polls are armed, a completion may interrupt this thread's other sleeping calls. Most are restarted
//!     by the kernel, but epoll_wait in the same thread may say EINTR.
//! (h) The ring's own descriptor is no use to an outer loop: Level is armed only by a wait. Once `descriptor`
//!     was asked for, changes are submitted at once, each wait arms again before it ends, and an eventfd counts
//!     completions. It may be readable for something that was read since; then a wait finds nothing.
//!
//! Opened with [`Uring::with_transfers`] the same ring moves streams' bytes: `lanes` and `sends`, joined to it in `carry`.

mod carry;
mod hot;
mod lanes;
mod ring;
mod sends;

use super::{ERR, HUP, Unavailable, bits_of, ready_of};
use crate::clock::MonotonicClock;
use crate::syscall;
use crate::syscall::own;
use crate::waker::{eventfd, replace, take_all, write_one};
use duolu_core::{
    Backend, Change, Clock, Errno, Features, Instant, RawFd, Ready, Report, Token, Transfers, Trigger, Watch,
};
use io_uring::{cqueue, opcode, squeue, types};
use lanes::{LANE, Lanes};
use ring::Ring;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// User data of cancellations. No arming has it: numbers of descriptors are below 2^31.
const CANCELLATION: u64 = u64::MAX;

/// The backend `io_uring`. Memory: 24 bytes per number up to the highest and 80 KiB of rings, beside some 200
/// bytes of the kernel's per watched descriptor.
pub struct Uring {
    ring: Ring,
    slots: Vec<Slot>,
    /// Descriptors whose slot is `queued`: to be armed by the next flush if still `Idle`.
    queue: Vec<RawFd>,
    /// Descriptors whose slot is `in_hot`: to be looked at by the next wait.
    hot: Vec<libc::pollfd>,
    /// Looks so far.
    turn: u32,
    /// User data of armings to be cancelled by the next flush.
    cancels: Vec<u64>,
    /// Cancellations pushed since the completion queue was emptied, trap (c).
    unwanted: usize,
    /// Where the last wait was, trap (f); 0 before the first.
    thread: usize,
    /// Trap (h).
    announce: Option<OwnedFd>,
    /// Streams whose bytes the ring moves.
    lanes: Option<Box<Lanes>>,
}

/// What is known of a number.
#[derive(Clone, Copy, Debug)]
struct Slot {
    token: Token,
    /// Number of the arming that is, or was last, in the kernel: trap (a).
    arming: u32,
    /// Edge: where this wait's report is, so that two edges of one descriptor make one report. Level: in which turn a
    /// look found it ready last.
    mark: u32,
    watch: Watch,
    state: State,
    /// In `queue`.
    queued: bool,
    /// In `hot`.
    in_hot: bool,
    /// Whether the request of a Level is, or is to be, one that stays.
    multishot: bool,
    /// Hot: so many looks in a row found nothing. Multishot: so many in a row found it ready.
    count: u8,
}

const _: () = assert!(size_of::<Slot>() == 24);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Unwatched,
    /// To be armed.
    Idle,
    /// The kernel has a request with the slot's arming.
    Armed,
    /// Has no request: looked at by every wait.
    Hot,
    /// Watched, but silent until the next Modify.
    Fired,
}

const EMPTY: Slot = Slot {
    token: Token::from_bits(0),
    arming: 0,
    mark: 0,
    watch: Watch { interest: duolu_core::Interest::NONE, trigger: Trigger::Level, exclusive: false },
    state: State::Unwatched,
    queued: false,
    in_hot: false,
    multishot: false,
    count: 0,
};

impl fmt::Debug for Uring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uring").field("slots", &self.slots.len()).field("queue", &self.queue).finish()
    }
}

impl Uring {
    /// Opens a ring, or says why this machine gives none.
    pub fn new() -> Result<Self, Unavailable> {
        Uring::on(Ring::open(false)?)
    }

    fn on(ring: Ring) -> Result<Self, Unavailable> {
        Ok(Uring {
            ring,
            slots: Vec::new(),
            queue: Vec::new(),
            hot: Vec::new(),
            turn: 0,
            cancels: Vec::new(),
            unwanted: 0,
            thread: 0,
            announce: None,
            lanes: None,
        })
    }

    fn set(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        let number = usize::try_from(token.fd()).map_err(|_| Errno(libc::EBADF))?;
        if number >= self.slots.len() {
            self.slots.resize(number + 1, EMPTY);
        }
        self.disarm(number);
        let slot = &mut self.slots[number];
        (slot.token, slot.watch, slot.state) = (token, watch, State::Idle);
        (slot.multishot, slot.count) = (false, 0);
        if slot.in_hot && self.can_be_hot(number) {
            self.slots[number].state = State::Hot;
        } else {
            self.enqueue(number);
        }
        Ok(())
    }

    fn unset(&mut self, fd: RawFd) {
        if let Ok(number) = usize::try_from(fd)
            && number < self.slots.len()
        {
            self.disarm(number);
            self.slots[number].state = State::Unwatched;
        }
    }

    /// Whatever the kernel has or had for this number is nobody's from now on.
    fn disarm(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        if slot.state == State::Armed {
            self.cancels.push(user_data(number, slot.arming));
        }
        slot.arming = slot.arming.wrapping_add(1);
    }

    fn enqueue(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        if !slot.queued {
            slot.queued = true;
            self.queue.push(number as RawFd);
        }
    }

    /// Pushes what was put off. What cannot be pushed stays for the next time.
    fn flush(&mut self) -> Result<(), Errno> {
        self.flush_cancels()?;
        // First come, first armed: so reports keep their order from turn to turn.
        let mut queue = std::mem::take(&mut self.queue);
        let mut done = 0;
        let outcome = queue.iter().try_for_each(|&fd| self.arm(fd).inspect(|()| done += 1));
        queue.drain(..done);
        self.queue = queue;
        outcome?;
        if self.lanes.is_some() { self.flush_lanes() } else { Ok(()) }
    }

    fn flush_cancels(&mut self) -> Result<(), Errno> {
        while let Some(&arming) = self.cancels.last() {
            let cancel = opcode::PollRemove::new(arming).build().user_data(CANCELLATION);
            self.ring.push(&cancel.flags(squeue::Flags::SKIP_SUCCESS))?;
            self.cancels.pop();
            self.unwanted += 1;
        }
        Ok(())
    }

    /// Pushes the poll request of a queued descriptor, unless it was removed since.
    fn arm(&mut self, fd: RawFd) -> Result<(), Errno> {
        let slot = &mut self.slots[fd as usize];
        if slot.state == State::Idle {
            let multi = slot.watch.trigger == Trigger::Edge || slot.multishot;
            let exclusive = if slot.watch.exclusive { libc::EPOLLEXCLUSIVE as u32 } else { 0 };
            let bits = bits_of(slot.watch.interest) | exclusive;
            let poll = opcode::PollAdd::new(types::Fd(fd), bits).multi(multi).build();
            self.ring.push(&poll.user_data(user_data(fd as usize, slot.arming)))?;
            slot.state = State::Armed;
        }
        slot.queued = false;
        Ok(())
    }

    /// Empties the completion queue. `fresh`: what is there was made by the call just now, trap (d).
    fn drain(&mut self, fresh: bool, start: usize, reports: &mut Vec<Report>) {
        while let Some(completion) = self.ring.next() {
            let data = completion.user_data();
            if data & LANE == 0 {
                self.take(&completion, fresh, start, reports);
            } else if data != CANCELLATION {
                self.take_lane(&completion);
            }
        }
        self.unwanted = 0;
    }

    fn take(&mut self, completion: &cqueue::Entry, fresh: bool, start: usize, reports: &mut Vec<Report>) {
        let (number, arming) =
            (completion.user_data() as u32 as usize, (completion.user_data() >> 32) as u32);
        let Some(slot) = self.slots.get_mut(number) else { return };
        if slot.arming != arming || slot.state != State::Armed {
            return;
        }
        if completion.result() < 0 {
            return self.take_error(number, -completion.result(), reports);
        }
        // A wake-up may carry bits that were not asked for.
        let asked = bits_of(slot.watch.interest) | ERR | HUP;
        let ready = ready_of(completion.result() as u32 & asked);
        match slot.watch.trigger {
            _ if ready.is_empty() => {
                if !cqueue::more(completion.flags()) {
                    self.again(number);
                }
            }
            Trigger::Level => {
                let token = slot.token;
                let untold = if cqueue::more(completion.flags()) {
                    self.list(number)
                } else {
                    let untold = !slot.in_hot;
                    self.heat(number);
                    untold
                };
                if fresh && untold {
                    reports.push(Report { token, ready });
                }
            }
            Trigger::OneShot => {
                slot.state = State::Fired;
                reports.push(Report { token: slot.token, ready });
            }
            Trigger::Edge => {
                let token = slot.token;
                match reports.get_mut(slot.mark as usize) {
                    Some(earlier) if slot.mark as usize >= start && earlier.token == token => {
                        earlier.ready |= ready;
                    }
                    _ => {
                        slot.mark = reports.len() as u32;
                        reports.push(Report { token, ready });
                    }
                }
                if !cqueue::more(completion.flags()) {
                    // Trap (e).
                    if can_be_polled(number as RawFd) {
                        self.again(number);
                    } else {
                        self.slots[number].state = State::Fired;
                    }
                }
            }
        }
    }

    /// The request is over; the next flush makes another.
    fn again(&mut self, number: usize) {
        let slot = &mut self.slots[number];
        (slot.state, slot.multishot) = (State::Idle, false);
        slot.arming = slot.arming.wrapping_add(1);
        self.enqueue(number);
    }

    #[cold]
    fn take_error(&mut self, number: usize, errno: i32, reports: &mut Vec<Report>) {
        let token = self.slots[number].token;
        match errno {
            libc::EBADF => {
                self.slots[number].state = State::Unwatched;
                reports.push(Report { token, ready: Ready::INVALID });
            }
            // Not by us: the thread that armed it is gone, trap (f).
            libc::ECANCELED => self.again(number),
            // A file that cannot be polled and is not ready for what was asked: never will be.
            libc::EINVAL => self.slots[number].state = State::Fired,
            libc::ENOMEM | libc::EAGAIN => {
                self.again(number);
                reports.push(Report { token, ready: Ready::ERROR });
            }
            _ => {
                log::warn!("io_uring refuses to poll {token:?}: {}", syscall::describe(Errno(errno)));
                self.slots[number].state = State::Fired;
                reports.push(Report { token, ready: Ready::ERROR });
            }
        }
    }

    /// Opens the ring anew and arms everything again, where the old one cannot be used: trap (f), and in a
    /// forked child, where it is the parent's.
    #[cold]
    fn renew(&mut self) -> Result<(), Errno> {
        let forked = self.ring.forked();
        let fresh = Ring::open(self.lanes.is_some()).map_err(|unavailable| {
            log::warn!("{unavailable}");
            Errno(libc::EMFILE)
        })?;
        if !forked {
            self.cancel_all();
            self.quiet_lanes();
        }
        self.ring = fresh;
        self.queue.clear();
        self.hot.clear();
        self.cancels.clear();
        self.unwanted = 0;
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            (slot.queued, slot.in_hot) = (false, false);
            if matches!(slot.state, State::Armed | State::Idle | State::Hot) {
                self.again(number);
            }
        }
        self.renew_lanes();
        if let Some(announce) = &self.announce {
            if forked {
                replace(announce.as_fd(), eventfd()?)?;
            }
            self.ring.announce_to(announce.as_fd())?;
        }
        Ok(())
    }

    /// Trap (b): takes every request back, so that the kernel holds none of the files when this returns.
    fn cancel_all(&mut self) {
        for number in 0..self.slots.len() {
            self.disarm(number);
            if self.slots[number].state == State::Armed {
                self.slots[number].state = State::Idle;
            }
        }
        self.queue.clear();
        if !self.cancels.is_empty() && self.flush().is_ok() {
            let _ = self.ring.enter(0, Some(0));
        }
    }

    /// The wait proper: out with what was put off, sleep, in with what came. False if it slept for nothing but
    /// unwanted completions.
    fn turn(
        &mut self,
        timeout_ns: Option<u64>,
        start: usize,
        reports: &mut Vec<Report>,
    ) -> Result<bool, Errno> {
        self.drain(false, start, reports);
        if !self.hot.is_empty() {
            self.look(start, reports);
        }
        self.flush()?;
        let timeout_ns = if reports.len() > start || self.lanes_due() { Some(0) } else { timeout_ns };
        if reports.len() > start && self.lanes.is_none() && self.ring.is_empty() {
            return Ok(true);
        }
        let mut over = timeout_ns == Some(0);
        match self.ring.enter(1 + self.unwanted, timeout_ns) {
            Ok(()) | Err(Errno(libc::EBUSY)) => {}
            Err(Errno(libc::ETIME | libc::EINTR)) => over = true,
            // Completions were lost for want of memory.
            Err(Errno(libc::EBADR)) => self.renew()?,
            Err(errno) => return Err(errno),
        }
        over |= !self.ring.has_completions();
        self.drain(true, start, reports);
        if self.lanes.is_some() {
            over |= self.press(start, reports)? | self.lanes_due();
        }
        while self.ring.overflowed() {
            self.ring.enter(0, Some(0))?;
            self.drain(true, start, reports);
        }
        Ok(over || reports.len() > start)
    }

    /// Trap (h).
    fn submit_if_announced(&mut self) -> Result<(), Errno> {
        if self.announce.is_none() {
            return Ok(());
        }
        self.flush()?;
        self.ring.submit()
    }
}

impl Backend for Uring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn features(&self) -> Features {
        Features {
            edge: true,
            // A wake-up says of urgent data what every arrival says (the wait queue's key), and each makes a completion.
            exact_edges: false,
            one_shot: true,
            peer_closed: true,
            o_ready: true,
            nanosecond_timeout: true,
            batched_changes: true,
            embeddable: true,
            exclusive: true,
            transfers: self.lanes.is_some(),
            max_fd: None,
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        match change {
            _ if self.lanes.as_ref().is_some_and(|lanes| lanes.has(change.token().fd())) => {
                self.watch_lane(change)
            }
            Change::Add { token, watch } | Change::Modify { token, watch } => self.set(token, watch)?,
            Change::Remove { token } => self.unset(token.fd()),
        }
        if self.ring.forked() { Ok(()) } else { self.submit_if_announced() }
    }

    fn holds_files(&self) -> bool {
        true
    }

    /// Trap (b). A request that has completed holds nothing: in a callback for what was just told there is nothing to do.
    fn let_go(&mut self, fd: RawFd) {
        let armed = |slot: &Slot| slot.state == State::Armed;
        let Some(number) = usize::try_from(fd).ok().filter(|at| self.slots.get(*at).is_some_and(armed))
        else {
            return;
        };
        if self.ring.forked() {
            return;
        }
        self.disarm(number);
        self.slots[number].state = State::Idle;
        self.enqueue(number);
        // What cannot be handed over now goes with the next wait.
        let _ = self.flush_cancels().and_then(|()| self.ring.submit());
    }

    fn wait(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        let here = thread_mark();
        if self.ring.forked() || (self.thread != here && self.thread != 0) {
            self.renew()?;
        }
        self.thread = here;
        if let Some(announce) = &self.announce {
            take_all(announce.as_fd());
        }
        let start = reports.len();
        self.begin_lanes();
        // Only a wait with cancellations may have to sleep twice, trap (c).
        let deadline = match timeout_ns {
            Some(ns) if ns > 0 && !self.cancels.is_empty() => Some(now().saturating_add_nanos(ns)),
            _ => None,
        };
        let mut left_ns = timeout_ns;
        while !self.turn(left_ns, start, reports)? {
            if let Some(deadline) = deadline {
                left_ns = Some(deadline.saturating_nanos_since(now()));
            } else if timeout_ns.is_some() {
                break;
            }
        }
        if let Some(lanes) = &mut self.lanes {
            lanes.report(reports);
            if let Some(announce) = self.announce.as_ref().filter(|_| lanes.are_due()) {
                write_one(announce.as_fd()); // the outer loop must come back for what is not taken
            }
        }
        self.submit_if_announced()
    }

    fn reinit(&mut self) -> Result<(), Errno> {
        self.renew()?;
        self.queue.clear();
        self.hot.clear();
        self.slots.clear();
        if let Some(lanes) = &mut self.lanes {
            lanes.unwatch_all();
        }
        Ok(())
    }

    fn descriptor(&mut self) -> Option<RawFd> {
        if self.ring.forked() {
            self.renew().ok()?;
        }
        if self.announce.is_none() {
            let announce = eventfd().ok()?;
            self.ring.announce_to(announce.as_fd()).ok()?;
            if self.ring.has_completions() {
                write_one(announce.as_fd());
            }
            self.announce = Some(announce);
            self.disarm_multishot();
            self.cool(false, |_| true);
            self.submit_if_announced().ok()?;
        }
        self.announce.as_ref().map(|announce| announce.as_raw_fd())
    }

    fn transfers(&mut self) -> Option<&mut dyn Transfers> {
        if self.lanes.is_some() { Some(self) } else { None }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // In a forked child the requests are the parent's.
        if !self.ring.forked() {
            self.cancel_all();
            self.quiet_lanes();
        }
    }
}

fn user_data(number: usize, arming: u32) -> u64 {
    u64::from(arming) << 32 | number as u64
}

fn now() -> Instant {
    MonotonicClock.now()
}

/// Another number in each living thread.
fn thread_mark() -> usize {
    thread_local!(static MARK: u8 = const { 0 });
    MARK.with(|mark| &raw const *mark as usize)
}

/// Trap (e): whether the file can be polled at all. epoll says EPERM exactly where it cannot (epoll_ctl(2)).
#[cold]
fn can_be_polled(fd: RawFd) -> bool {
    // SAFETY: no memory is passed.
    let Ok(probe) = syscall!(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(own) else {
        return true;
    };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: `event` outlives the call.
    let added = syscall!(unsafe { libc::epoll_ctl(probe.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &mut event) });
    added != Err(Errno(libc::EPERM))
}
