//! epoll(7), the default.
//!
//! Traps:
//! (a) epoll watches the open file, not the number. If a descriptor is closed while a copy of it (dup, a
//!     forked child) stays open, the kernel goes on reporting it, and no call can remove it any more:
//!     EPOLL_CTL_DEL wants the number. Where that may have happened (`suspect`), every report is checked against
//!     the table of watches; if a stranger comes, the whole epoll is built anew: the only way to be rid of it.
//!     That costs a call for each watch, and edges are told again: where it happened, or edges are watched, whoever closes
//!     descriptors is asked to have them `let_go` of before.
//! (b) If the number was closed and reopened behind our back, EPOLL_CTL_MOD says ENOENT and the right thing is
//!     ADD. If the same token goes on, an orphan of the old file could not be told from the new: build anew.
//! (c) Regular files and directories are refused with EPERM, for every operation. They are kept in a [`Poll`]
//!     of their own, which is asked without waiting and says what poll(2) says: always ready.
//! (d) epoll_wait(2) has milliseconds. Rounded down a short timeout would be 0 and spin until the deadline, so
//!     it is rounded up; 0 stays 0. epoll_pwait2(2) (Linux 5.11) has nanoseconds; where it is missing (ENOSYS;
//!     EPERM from an old container's seccomp filter) that is found out once.
//! (e) A rebuilt epoll is another file. A loop that has our descriptor embedded would go on watching the dead
//!     one; so `descriptor` gives a second epoll with ours inside, and that one stays until `reinit`.
//! (f) A disarmed one-shot must not come back to life when the epoll is built anew, and it cannot be added
//!     silently: HUP and ERR come unasked. It is left out, and the table remembers that.
//! (g) EPOLLEXCLUSIVE is refused (EINVAL) by EPOLL_CTL_MOD, from and to, and together with RDHUP, PRI or ONESHOT.
//!     It is only a wish: where it cannot be had the watch goes without.

use super::{IN, OUT, Poll, bits_of};
use crate::syscall;
use crate::syscall::{own, timespec_of};
use crate::waker::{eventfd, write_one};
use duolu_core::{Backend, Change, Errno, Features, Interest, RawFd, Ready, Report, Token, Trigger, Watch};
use std::mem::{MaybeUninit, offset_of};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Room for this many reports at first; doubled whenever a wait fills it, up to `MAX_EVENTS`.
const FIRST_EVENTS: usize = 128;
/// 4,096 x 12 bytes. What does not fit comes with the next wait; the kernel takes turns fairly.
const MAX_EVENTS: usize = 4096;

/// The backend `epoll`. Memory: 8 bytes per number up to the highest, beside the kernel's own.
#[derive(Debug)]
pub struct Epoll {
    epoll: OwnedFd,
    /// By number: to check reports (trap (a)) and to build anew.
    watched: Vec<Option<Watched>>,
    /// How many of `watched` are one-shots; their disarming has to be noted, trap (f).
    one_shots: usize,
    /// Regular files, trap (c). Each is in `watched` too, as `Outside`.
    files: Poll,
    /// So many reports are taken in one wait.
    room: usize,
    /// A registration may have outlived its number, trap (a).
    suspect: bool,
    /// It had to be built anew, or edges are watched, trap (a).
    careful: bool,
    /// Whether epoll_pwait2 is there, trap (d).
    has_pwait2: bool,
    /// Trap (e).
    front: Option<Front>,
    /// Regular files are refused, as the kernel does, instead of trap (c).
    refuses_files: bool,
    /// A failure to build anew has been logged; not again at each wait.
    complained: bool,
}

/// A row: the number is its place.
#[derive(Clone, Copy, Debug)]
struct Watched {
    /// The token's.
    generation: u32,
    watch: Watch,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The kernel's epoll has it.
    InKernel,
    /// So it has, but it is a one-shot that has been reported.
    Disarmed,
    /// A regular file, a disarmed one-shot that was left out when the epoll was built anew, or let go of.
    Outside,
}

impl Watched {
    fn new(token: Token, watch: Watch, state: State) -> Self {
        Watched { generation: token.generation(), watch, state }
    }

    fn in_kernel(&self) -> bool {
        self.state != State::Outside
    }
}

const _: () = assert!(size_of::<Option<Watched>>() == 8);

/// What an outer loop watches: an epoll with ours inside, and an eventfd that is set while regular files are
/// watched, which no epoll can have inside.
#[derive(Debug)]
struct Front {
    epoll: OwnedFd,
    always: Option<OwnedFd>,
}

impl Epoll {
    /// Opens an empty epoll. Fails with EMFILE, ENFILE or ENOMEM.
    pub fn new() -> Result<Self, Errno> {
        Ok(Epoll {
            epoll: create()?,
            watched: Vec::new(),
            one_shots: 0,
            files: Poll::new(),
            room: FIRST_EVENTS,
            suspect: false,
            careful: false,
            has_pwait2: true,
            front: None,
            refuses_files: false,
            complained: false,
        })
    }

    /// The same, but an addition of a regular file is refused with EPERM, as by epoll_ctl(2) itself: for programs that
    /// expect that of epoll and go another way then.
    pub fn refusing_files() -> Result<Self, Errno> {
        Ok(Epoll { refuses_files: true, ..Self::new()? })
    }

    /// The same without epoll_pwait2, as on Linux before 5.11: for the tests of trap (d).
    #[doc(hidden)]
    pub fn with_milliseconds() -> Result<Self, Errno> {
        Ok(Epoll { has_pwait2: false, ..Self::new()? })
    }

    fn slot(&self, fd: RawFd) -> Option<Watched> {
        self.watched.get(usize::try_from(fd).ok()?).copied().flatten()
    }

    /// Room in the table for a descriptor.
    fn make_room(&mut self, fd: RawFd) -> Result<(), Errno> {
        let rows = usize::try_from(fd).map_err(|_| Errno(libc::EBADF))? + 1;
        duolu_core::reserve_table(&mut self.watched, rows).map_err(|_| Errno(libc::ENOMEM))
    }

    /// Puts `new` in the table, which has room, and gives what was there.
    fn put(&mut self, fd: RawFd, new: Option<Watched>) -> Option<Watched> {
        let number = usize::try_from(fd).ok()?;
        if number >= self.watched.len() {
            new?;
            self.watched.resize(number + 1, None);
        }
        let old = std::mem::replace(&mut self.watched[number], new);
        let is_one_shot =
            |slot: Option<Watched>| usize::from(slot.is_some_and(|s| s.watch.trigger == Trigger::OneShot));
        self.one_shots = self.one_shots + is_one_shot(new) - is_one_shot(old);
        old
    }

    fn add(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        self.make_room(token.fd())?;
        match control(&self.epoll, libc::EPOLL_CTL_ADD, token, watch) {
            // A leftover, exclusive or not: trap (g).
            Err(Errno(libc::EEXIST)) => {
                let _ = control(&self.epoll, libc::EPOLL_CTL_DEL, token, watch);
                control(&self.epoll, libc::EPOLL_CTL_ADD, token, watch)?;
            }
            Err(Errno(libc::EPERM)) if !self.refuses_files => return self.set_file(token, watch),
            other => other?,
        }
        self.files.unset(token.fd());
        self.put(token.fd(), Some(Watched::new(token, watch, State::InKernel)));
        self.careful |= watch.trigger == Trigger::Edge;
        Ok(())
    }

    /// Apart from the usual change, which keeps fewer registers for it.
    #[inline(never)]
    fn apply_any(&mut self, change: &Change) -> Result<(), Errno> {
        match *change {
            Change::Add { token, watch } => self.add(token, watch),
            Change::Modify { token, watch } => self.modify(token, watch),
            Change::Remove { token } => {
                self.remove(token);
                Ok(())
            }
        }?;
        self.sync_front()
    }

    /// The most usual change: a level-triggered watch is told again, under another token. False, and nothing done: all else.
    #[inline(always)]
    fn modify_usual(&mut self, token: Token, watch: Watch) -> bool {
        let Some(Some(row)) = self.watched.get_mut(token.fd() as usize) else { return false };
        let usual = Watch { interest: watch.interest, ..Watch::default() };
        if row.state != State::InKernel || row.watch != watch || watch != usual {
            return false;
        }
        // READ and WRITE have the kernel's bits as they are.
        let asked = u32::from(watch.interest.bits());
        let events = if asked & !(IN | OUT) == 0 { asked } else { bits_of(watch.interest) };
        let mut event = libc::epoll_event { events, u64: token.bits() };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` outlives the call.
        let done = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, token.fd(), &mut event) } == 0;
        if done {
            row.generation = token.generation();
        }
        done
    }

    #[inline(never)]
    fn modify(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        let Some(before) = self.slot(token.fd()).filter(Watched::in_kernel) else {
            return self.add(token, watch);
        };
        if exclusive_bit(watch) | exclusive_bit(before.watch) != 0 {
            // Trap (g).
            self.remove(token);
            return self.add(token, watch);
        }
        match control(&self.epoll, libc::EPOLL_CTL_MOD, token, watch) {
            Ok(()) => {
                self.put(token.fd(), Some(Watched::new(token, watch, State::InKernel)));
                self.careful |= watch.trigger == Trigger::Edge;
                return Ok(());
            }
            Err(Errno(libc::ENOENT | libc::EPERM)) => {}
            Err(errno) => {
                if errno.0 == libc::EBADF {
                    self.forget(token.fd());
                    self.suspect = true;
                }
                return Err(errno);
            }
        }
        self.suspect = true;
        self.add(token, watch)?;
        if before.generation == token.generation() {
            // Trap (b).
            self.rebuild();
        }
        Ok(())
    }

    fn remove(&mut self, token: Token) {
        let Some(before) = self.forget(token.fd()).filter(Watched::in_kernel) else { return };
        // Trap (a): ENOENT, EBADF, EPERM: the number means another file by now, or none.
        if control(&self.epoll, libc::EPOLL_CTL_DEL, token, before.watch).is_err() {
            self.suspect = true;
        }
    }

    /// Takes a number out of our own tables.
    fn forget(&mut self, fd: RawFd) -> Option<Watched> {
        self.files.unset(fd);
        self.put(fd, None)
    }

    /// Trap (c). For a file that is always ready "once for each new event" means once.
    fn set_file(&mut self, token: Token, watch: Watch) -> Result<(), Errno> {
        let trigger = if watch.trigger == Trigger::Level { Trigger::Level } else { Trigger::OneShot };
        self.files.set(token, Watch { trigger, ..watch })?;
        self.put(token.fd(), Some(Watched::new(token, watch, State::Outside)));
        Ok(())
    }

    /// Has the kernel write up to `self.room` reports into `room`, which is as long at least.
    #[inline]
    fn sleep(&mut self, timeout_ns: Option<u64>, room: Room<'_>) -> Result<usize, Errno> {
        // For ever, or not at all: the older call does as well.
        let timeout_ms = match timeout_ns {
            None => -1,
            Some(0) => 0,
            Some(ns) => return self.sleep_ns(ns, room),
        };
        wait_ms(&self.epoll, room, self.room, timeout_ms)
    }

    /// Trap (d).
    #[inline(never)]
    fn sleep_ns(&mut self, timeout_ns: u64, room: Room<'_>) -> Result<usize, Errno> {
        if self.has_pwait2 {
            match pwait2(&self.epoll, room, self.room, timeout_ns) {
                Err(Errno(libc::ENOSYS | libc::EPERM)) => self.has_pwait2 = false,
                answer => return answer,
            }
        }
        let timeout_ms = timeout_ns.div_ceil(1_000_000).min(i32::MAX as u64) as i32;
        wait_ms(&self.epoll, room, self.room, timeout_ms)
    }

    /// One system call; the kernel writes the reports where the brain reads them. Written for few instructions:
    /// everything rare is elsewhere.
    #[inline(always)]
    fn wait_for_kernel(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        if reports.try_reserve(self.room).is_err() {
            self.make_do(reports, reports.capacity())?;
        }
        let count = match self.sleep(timeout_ns, reports.spare_capacity_mut()) {
            Ok(count) => count,
            Err(errno) => return not_if_interrupted(errno),
        };
        // SAFETY: the kernel has written `count` of the reserved entries; any bits make a `Report`.
        unsafe { reports.set_len(reports.len() + count) };
        if self.room == count {
            self.room = (2 * count).min(MAX_EVENTS);
        }
        if usize::from(self.suspect) | self.one_shots != 0 {
            self.check(count, reports);
        }
        Ok(())
    }

    /// Without memory for more there are fewer reports at once.
    #[cold]
    fn make_do(&mut self, reports: &[Report], capacity: usize) -> Result<(), Errno> {
        let left = capacity - reports.len();
        if left == 0 {
            return Err(Errno(libc::ENOMEM));
        }
        self.room = left;
        Ok(())
    }

    /// Checks the last `count` reports against the table and drops strangers. If there is one, the epoll is built anew.
    #[cold]
    fn check(&mut self, count: usize, reports: &mut Vec<Report>) {
        let (all, mut earlier) = (reports.len(), reports.len() - count);
        reports.retain(|&Report { token, .. }| {
            if earlier > 0 {
                earlier -= 1;
                return true;
            }
            let Some(Some(slot)) = self.watched.get_mut(token.fd() as usize) else { return false };
            let ours = slot.generation == token.generation();
            if ours && slot.watch.trigger == Trigger::OneShot && slot.in_kernel() {
                slot.state = State::Disarmed;
            }
            ours
        });
        if reports.len() < all {
            self.rebuild();
        }
    }

    /// Trap (a): a new epoll with what the table says. If that fails the old one stays, and so do its strangers:
    /// they are not reported, but they wake us.
    #[cold]
    fn rebuild(&mut self) {
        self.careful = true;
        match self.build() {
            Ok(()) => {
                log::debug!("epoll was built anew, to be rid of a file that outlived its descriptor");
                self.suspect = false;
            }
            Err(errno) if !self.complained => {
                self.complained = true;
                log::warn!(
                    "a file outlived its watched descriptor and keeps waking epoll, which cannot be built anew: {}",
                    syscall::describe(errno)
                );
            }
            Err(_) => {}
        }
    }

    fn build(&mut self) -> Result<(), Errno> {
        let fresh = create()?;
        let mut refused = Vec::new();
        let rows = (0..).zip(&self.watched).filter_map(|(fd, row)| Some((fd, (*row)?)));
        for (fd, slot) in rows.filter(|(_, slot)| slot.state == State::InKernel) {
            let token = Token::new(fd, slot.generation);
            match control(&fresh, libc::EPOLL_CTL_ADD, token, slot.watch) {
                // Invalid: the number of a closed descriptor that the fresh epoll has got just now.
                Err(Errno(libc::EBADF | libc::EPERM | libc::EINVAL)) => refused.push((token, slot.watch)),
                other => other?,
            }
        }
        move_to(&fresh, &self.epoll)?;
        drop(fresh);
        if let Some(front) = &self.front {
            watch_inside(&front.epoll, &self.epoll)?;
        }
        for (token, watch) in refused {
            // Closed, or a regular file by now: the poll of files tells which at the next wait.
            self.set_file(token, watch)?;
        }
        for slot in self.watched.iter_mut().flatten().filter(|slot| slot.state == State::Disarmed) {
            slot.state = State::Outside;
        }
        Ok(())
    }

    /// Trap (c): the regular files first, and sleep only if none is ready.
    #[cold]
    fn wait_with_files(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        let before = reports.len();
        self.files.wait(Some(0), reports)?;
        let none_ready = reports.len() == before;
        for report in &reports[before..] {
            if report.ready.intersects(Ready::INVALID) {
                self.put(report.token.fd(), None);
            }
        }
        self.wait_for_kernel(if none_ready { timeout_ns } else { Some(0) }, reports)?;
        self.sync_front()
    }

    /// Trap (e): regular files keep the front readable.
    fn sync_front(&mut self) -> Result<(), Errno> {
        let Some(front) = &mut self.front else { return Ok(()) };
        if !self.files.has_armed() {
            front.always = None;
        } else if front.always.is_none() {
            let always = eventfd()?;
            write_one(always.as_fd());
            watch_inside(&front.epoll, &always)?;
            front.always = Some(always);
        }
        Ok(())
    }
}

impl Backend for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn features(&self) -> Features {
        Features {
            edge: true,
            exact_edges: true,
            one_shot: true,
            peer_closed: true,
            o_ready: true,
            nanosecond_timeout: self.has_pwait2,
            batched_changes: false,
            embeddable: true,
            exclusive: true,
            transfers: false,
            max_fd: None,
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), Errno> {
        if let Change::Modify { token, watch } = change
            && self.modify_usual(token, watch)
        {
            return Ok(());
        }
        self.apply_any(&change)
    }

    fn holds_files(&self) -> bool {
        self.careful
    }

    /// Trap (a).
    fn let_go(&mut self, fd: RawFd) {
        let Some(row) = self.slot(fd).filter(Watched::in_kernel) else { return };
        let token = Token::new(fd, row.generation);
        if control(&self.epoll, libc::EPOLL_CTL_DEL, token, row.watch).is_ok() {
            self.put(fd, Some(Watched { state: State::Outside, ..row }));
        } else {
            self.suspect = true;
        }
    }

    fn wait(&mut self, timeout_ns: Option<u64>, reports: &mut Vec<Report>) -> Result<(), Errno> {
        if self.files.has_armed() {
            return self.wait_with_files(timeout_ns, reports);
        }
        self.wait_for_kernel(timeout_ns, reports)
    }

    /// After a fork the epoll is shared with the parent: closing our side does not touch the parent's, whereas
    /// an EPOLL_CTL_DEL would.
    fn reinit(&mut self) -> Result<(), Errno> {
        let (has_pwait2, refuses_files, careful) = (self.has_pwait2, self.refuses_files, self.careful);
        let mut fresh = Epoll { has_pwait2, refuses_files, careful, ..Self::new()? };
        move_to(&fresh.epoll, &self.epoll)?;
        core::mem::swap(&mut fresh.epoll, &mut self.epoll);
        *self = fresh;
        Ok(())
    }

    fn descriptor(&mut self) -> Option<RawFd> {
        if self.front.is_none() {
            let front = create().and_then(|epoll| watch_inside(&epoll, &self.epoll).map(|()| epoll));
            self.front = Some(Front { epoll: front.ok()?, always: None });
            self.sync_front().ok()?;
        }
        self.front.as_ref().map(|front| front.epoll.as_raw_fd())
    }
}

/// Puts an epoll under the number that another has, whose end this is: a program that uses numbers of its own choice (dup2)
/// knows which were free when it asked.
fn move_to(fresh: &OwnedFd, old: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed, and both are ours.
    syscall!(unsafe { libc::dup3(fresh.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

fn create() -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    syscall!(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(own)
}

#[inline]
fn control(epoll: &OwnedFd, op: i32, token: Token, watch: Watch) -> Result<(), Errno> {
    let trigger = match watch.trigger {
        Trigger::Level => 0,
        Trigger::Edge => libc::EPOLLET as u32,
        Trigger::OneShot => libc::EPOLLONESHOT as u32,
    };
    let events = bits_of(watch.interest) | trigger | exclusive_bit(watch);
    let mut event = libc::epoll_event { events, u64: token.bits() };
    // SAFETY: `event` outlives the call; before Linux 2.6.9 EPOLL_CTL_DEL wanted one too.
    syscall!(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), op, token.fd(), &mut event) }).map(drop)
}

/// EPOLLEXCLUSIVE where it is asked for and can be had, trap (g).
#[inline]
fn exclusive_bit(watch: Watch) -> u32 {
    let refused = Interest::PEER_CLOSED.with(Interest::URGENT);
    let possible = watch.trigger != Trigger::OneShot && !watch.interest.intersects(refused);
    if watch.exclusive && possible { libc::EPOLLEXCLUSIVE as u32 } else { 0 }
}

fn watch_inside(front: &OwnedFd, inner: &OwnedFd) -> Result<(), Errno> {
    let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
    let (front, inner) = (front.as_raw_fd(), inner.as_raw_fd());
    // SAFETY: `event` outlives the call.
    syscall!(unsafe { libc::epoll_ctl(front, libc::EPOLL_CTL_ADD, inner, &mut event) }).map(drop)
}

/// A signal ends a wait early, and that is all.
#[cold]
fn not_if_interrupted(errno: Errno) -> Result<(), Errno> {
    if errno.0 == libc::EINTR { Ok(()) } else { Err(errno) }
}

/// Where reports are to go.
type Room<'a> = &'a mut [MaybeUninit<Report>];

// The kernel writes reports as they are.
const _: () = assert!(size_of::<Report>() == size_of::<libc::epoll_event>());
const _: () = assert!(offset_of!(Report, ready) == offset_of!(libc::epoll_event, events));
const _: () = assert!(offset_of!(Report, token) == offset_of!(libc::epoll_event, u64));

#[inline(always)]
fn wait_ms(epoll: &OwnedFd, room: Room<'_>, most: usize, timeout_ms: i32) -> Result<usize, Errno> {
    debug_assert!(room.len() >= most);
    let buffer = room.as_mut_ptr().cast();
    // SAFETY: the buffer has room for `most` reports, each of which is an `epoll_event` in memory.
    syscall!(unsafe { libc::epoll_wait(epoll.as_raw_fd(), buffer, most as i32, timeout_ms) })
        .map(|count| count as usize)
}

/// epoll_pwait2 by its number: glibc has a name for it only since 2.35.
fn pwait2(epoll: &OwnedFd, room: Room<'_>, most: usize, timeout_ns: u64) -> Result<usize, Errno> {
    debug_assert!(room.len() >= most);
    let timeout = timespec_of(timeout_ns);
    let (number, epoll, no_mask) = (libc::SYS_epoll_pwait2, epoll.as_raw_fd(), std::ptr::null::<()>());
    let (buffer, timeout_ptr) = (room.as_mut_ptr(), &raw const timeout);
    // SAFETY: as in `wait_ms`; the timeout outlives the call, no signal mask.
    let count = unsafe { libc::syscall(number, epoll, buffer, most, timeout_ptr, no_mask, 0usize) };
    syscall!(count).map(|count| count as usize)
}
